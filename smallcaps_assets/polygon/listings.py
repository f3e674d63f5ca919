"""Listings of the vendor: pages that can be continued later, and the details of one.

What belongs here: wire rows of tickers to columns.  What does not: which listings are wanted and
what they mean (``core.reference.listings``), and what a load keeps on the way (``ingest``).
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
import polars as pl

from smallcaps_assets.core.reference.listings import DETAIL_COLUMNS, LISTING_COLUMNS
from smallcaps_assets.errors import BadRequestError
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.reference import REFERENCE_LIMIT
from smallcaps_assets.polygon.wire.trail import MarkedPage, PageMark, disbelieve

LISTINGS_PATH: Final = "/v3/reference/tickers"


class ListingRow(msgspec.Struct, kw_only=True, gc=False):
    """One listing as the list of tickers shows it."""

    ticker: str
    name: str | None = None
    type: str | None = None
    primary_exchange: str | None = None
    active: bool | None = None
    cik: str | None = None
    composite_figi: str | None = None
    share_class_figi: str | None = None
    delisted_utc: dt.datetime | None = None
    last_updated_utc: str | None = None


class DetailsRow(msgspec.Struct, kw_only=True, gc=False):
    """One listing on a date: what the list of tickers does not say."""

    ticker: str
    cik: str | None = None
    composite_figi: str | None = None
    list_date: dt.date | None = None
    market_cap: float | None = None
    share_class_shares_outstanding: float | None = None


class DatedDetails(msgspec.Struct, kw_only=True, gc=False):
    """What the vendor said of a ticker on a date.

    Attributes:
        ticker: The ticker asked for.
        date: The date asked for.
        row: Its answer; ``None``: nothing was listed under the ticker on the date.
    """

    ticker: str
    date: dt.date
    row: DetailsRow | None


def iter_listing_pages(
    client: PolygonClient, *, active: bool, after: PageMark | None = None
) -> Iterator[MarkedPage[ListingRow]]:
    """Yield pages of the stocks that are listed, or of those that no longer are.

    A full last page has to prove that it is the last.  Pages begin ``after`` the mark of the last
    one known.

    Raises:
        VendorError: The list did not come to a proven end; it may go on at the last mark.
    """
    query = {
        "market": "stocks",
        "active": str(active).lower(),
        "limit": str(REFERENCE_LIMIT),
        "sort": "ticker",
        "order": "asc",
    }
    for page in client.iter_marked_pages(LISTINGS_PATH, query, row_type=ListingRow, after=after):
        if page.mark is None and len(page.rows) == REFERENCE_LIMIT:
            _prove_end(client, query, page.rows)
        yield page


def fetch_details(client: PolygonClient, ticker: str, date: dt.date) -> DatedDetails:
    """Fetch what is known of a ticker on a date; nothing, where nothing was listed then.

    Raises:
        VendorError: No answer came, or another refusal than 404.
    """
    path = f"{LISTINGS_PATH}/{quote(ticker, safe='')}"
    try:
        row = client.fetch_item(path, {"date": date.isoformat()}, DetailsRow)
    except BadRequestError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return DatedDetails(ticker=ticker, date=date, row=None)
    if row.ticker != ticker:
        message = f"expected details of {ticker}, got those of {row.ticker}"
        raise disbelieve(message, f"{client.config.base_url}{path}")
    return DatedDetails(ticker=ticker, date=date, row=row)


def frame_listings(rows: Iterable[ListingRow], *, active: bool) -> pl.DataFrame:
    """Frame rows of one of the two lists as ``core.listings.LISTING_COLUMNS``, order kept."""
    listings = [
        (
            row.ticker,
            row.name,
            row.type,
            row.primary_exchange,
            active if row.active is None else row.active,
            row.delisted_utc and row.delisted_utc.date(),
            row.composite_figi,
            row.share_class_figi,
            row.cik,
            row.last_updated_utc,
        )
        for row in rows
    ]
    return pl.DataFrame(listings, LISTING_COLUMNS, orient="row")


def frame_details(answers: Iterable[DatedDetails]) -> pl.DataFrame:
    """Frame answers as ``core.listings.DETAIL_COLUMNS``, order kept."""
    empty = DetailsRow(ticker="")
    rows = [
        (
            answer.ticker,
            answer.date,
            answer.row is not None,
            row.list_date,
            row.market_cap,
            row.share_class_shares_outstanding,
            row.composite_figi,
            row.cik,
        )
        for answer in answers
        for row in (answer.row or empty,)
    ]
    return pl.DataFrame(rows, DETAIL_COLUMNS, orient="row")


def _prove_end(client: PolygonClient, query: dict[str, str], rows: list[ListingRow]) -> None:
    """Ask for the last ticker again: what else there is of it, or after it, was lost.

    Raises:
        PayloadError: More rows follow, so the page's ``next_url`` was lost.
    """
    last = rows[-1].ticker
    known = sum(row.ticker == last for row in rows)
    rest = {**query, "ticker.gte": last, "limit": str(known + 1)}
    found = sum(len(page) for page in client.iter_pages(LISTINGS_PATH, rest, row_type=ListingRow))
    if found != known:
        message = f"the end is not proven: {known} rows are known for {last}, it has {found}"
        raise disbelieve(message, f"{client.config.base_url}{LISTINGS_PATH}")
