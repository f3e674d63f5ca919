"""Reference data of the vendor: daily bars of a date, splits.

What belongs here: wire rows of these endpoints to columns.  What does not: trades, listings
(``listings``), and whether the rows make sense (``core``).
"""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
import polars as pl

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.wire.trades import Int64
from smallcaps_assets.polygon.wire.trail import disbelieve
from smallcaps_assets.schemas import DAILY_BARS, SPLITS

REFERENCE_LIMIT: Final = 1_000
"""Largest page of the reference endpoints."""

SPLITS_PATH: Final = "/v3/reference/splits"


Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=10**13)]
"""Since 1970, up to the year 2286."""


class BarRow(msgspec.Struct, kw_only=True, gc=False):
    """One bar of the grouped endpoint, under the vendor's one-letter names."""

    ticker: str | None = msgspec.field(name="T", default=None)
    open: float = msgspec.field(name="o")
    high: float = msgspec.field(name="h")
    low: float = msgspec.field(name="l")
    close: float = msgspec.field(name="c")
    volume: float = msgspec.field(name="v")
    vwap: float | None = msgspec.field(name="vw", default=None)
    trade_count: Int64 | None = msgspec.field(name="n", default=None)
    end_ms: Milliseconds = msgspec.field(name="t")


class SplitRow(msgspec.Struct, kw_only=True, gc=False):
    """One split."""

    ticker: str | None = None
    execution_date: dt.date
    split_from: float | None = None
    split_to: float | None = None


def fetch_grouped_daily(client: PolygonClient, session_date: dt.date) -> pl.DataFrame:
    """Fetch the unadjusted bars of all tickers on one date.

    Returns:
        The columns of ``schemas.DAILY_BARS``, sorted by ticker, as sent: symbols may be none
        (empty where there was not even that), and keys may come more than once.  Without rows when
        the vendor has none, which is right for a date without trading and wrong for a session.

    Raises:
        VendorError: No whole answer came, or one for another date or with adjusted bars.
    """
    path = f"/v2/aggs/grouped/locale/us/market/stocks/{session_date.isoformat()}"
    query = {"adjusted": "false", "include_otc": "false"}
    pages = client.iter_pages(path, query, row_type=BarRow)
    rows = [row for page in pages for row in page]
    if strange := {_find_date(row.end_ms) for row in rows} - {session_date}:
        message = f"expected bars of {session_date}, got some of {min(strange)}"
        raise disbelieve(message, f"{client.config.base_url}{path}")
    columns = {
        name: [getattr(row, name) for row in rows]
        for name in DAILY_BARS.columns
        if name != "session_date"
    }
    bars = pl.DataFrame({**columns, "session_date": [session_date] * len(rows)}, DAILY_BARS.schema)
    named = bars.with_columns(pl.col("ticker").fill_null(""))
    return DAILY_BARS.conform(named.sort("ticker"))


def fetch_splits(client: PolygonClient, first: dt.date, last: dt.date) -> pl.DataFrame:
    """Fetch the splits executed from ``first`` to ``last``, both included.

    Returns:
        The columns of ``schemas.SPLITS`` sorted by its key, as sent: symbols may be none, and a
        split that the vendor lists twice is there twice.

    Raises:
        VendorError: No whole answer came.
    """
    query = {"execution_date.gte": first.isoformat(), "execution_date.lte": last.isoformat()}
    rows = _fetch_all_splits(client, query)
    columns = {name: [getattr(row, name) for row in rows] for name in SPLITS.columns}
    splits = pl.DataFrame(columns, SPLITS.schema).with_columns(pl.col("ticker").fill_null(""))
    return SPLITS.conform(splits.sort(SPLITS.key))


def _fetch_all_splits(client: PolygonClient, query: Mapping[str, str]) -> list[SplitRow]:
    """Fetch all rows by date; a full last page has to prove that it is the last.

    Raises:
        PayloadError: More rows follow it, so its ``next_url`` was lost.
    """
    limit = {"limit": str(REFERENCE_LIMIT), "sort": "execution_date", "order": "asc"}
    pages = list(client.iter_pages(SPLITS_PATH, {**query, **limit}, row_type=SplitRow))
    rows = [row for page in pages for row in page]
    if pages and len(pages[-1]) == REFERENCE_LIMIT:
        last = rows[-1].execution_date
        known = sum(row.execution_date == last for row in rows)
        rest = {**query, **limit, "execution_date.gte": str(last), "limit": str(known + 1)}
        found = sum(len(page) for page in client.iter_pages(SPLITS_PATH, rest, row_type=SplitRow))
        if found != known:
            message = f"the end is not proven: {known} rows are known for {last}, it has {found}"
            raise disbelieve(message, f"{client.config.base_url}{SPLITS_PATH}")
    return rows


def _find_date(instant_ms: int) -> dt.date:
    return dt.datetime.fromtimestamp(instant_ms / 1000, NEW_YORK).date()
