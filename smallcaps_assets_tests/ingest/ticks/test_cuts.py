"""However a span of dates is cut into work, the lake that comes of it is one and the same."""

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.ingest.ingest_factories import (
    Rows,
    download,
    hash_rows,
    hash_stored,
    make_keys,
    make_lakehouse,
    make_session,
)
from smallcaps_assets_tests.polygon.polygon_factories import make_wire_trade

SPANS: Final = {
    "spring": (dt.date(2024, 3, 6), dt.date(2024, 4, 4)),
    "autumn": (dt.date(2023, 10, 26), dt.date(2023, 11, 28)),
}
"""A clock change, a holiday at a weekend and a month end each; Good Friday of 2024 is March 29."""
TICKERS: Final = ("ABCD", "BCpC")
CUT_FACTS: Final = {
    *("gte_ns", "lt_ns", "pages", "requests", "run_id", "started_at", "committed_at"),
    *("bytes", "sha256"),
}
"""What a receipt says of the chain that brought a session, and of the file that it lies in."""

Tapes = Mapping[str, Mapping[dt.date, Rows]]


@dataclass(frozen=True)
class Cut:
    """How the work is cut.

    Attributes:
        asked: Keys of one download after the other; one that came is asked for again by nobody.
        most: Sessions of a range.
        rows: Trades of a range.
        page: Trades of a page.
        wait_s: Longest wait of a segment.
    """

    asked: Sequence[Sequence[str]]
    most: int
    rows: int
    page: int
    wait_s: float


def make_day(day: dt.date, count: int) -> Rows:
    """Return trades from the first nanosecond of a New York day to its last one."""
    first_ns, end_ns = day_bounds_ns(day, day)
    early, late = (
        make_wire_trade(900 + n, at_ns=ns, size=100) for n, ns in enumerate((first_ns, end_ns - 1))
    )
    return [early, *make_session(day, count, size=100), late]


@st.composite
def markets(draw: st.DrawFn) -> tuple[str, Tapes]:
    """Draw a span and what some tickers traded on some days of it, closed ones among them."""
    span = draw(st.sampled_from(sorted(SPANS)))
    first, last = SPANS[span]
    days = [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
    busy = st.dictionaries(st.sampled_from(days), st.integers(0, 6), max_size=12)
    tapes = {
        ticker: {day: make_day(day, count) for day, count in sorted(draw(busy).items())}
        for ticker in TICKERS
    }
    return span, tapes


@st.composite
def cuts(draw: st.DrawFn, span: str) -> Cut:
    """Draw a way to cut all sessions of a span into work."""
    dates = load_calendar().dates(*SPANS[span])
    keys = [key for ticker in TICKERS for key in make_keys(ticker, dates)]
    some = draw(st.lists(st.lists(st.sampled_from(keys), unique=True), max_size=2))
    return Cut(
        [*some, draw(st.permutations(keys))],
        most=draw(st.integers(1, 60)),
        rows=draw(st.integers(1, 60)),
        page=draw(st.integers(2, 9)),
        wait_s=draw(st.sampled_from([1e-9, 30.0])),
    )


def store_bars(lakehouse: Lakehouse, span: str, tapes: Tapes) -> None:
    """Store bars of all sessions of a span that count what was traded in them."""
    dates = load_calendar().dates(*SPANS[span])
    rows = [
        {"ticker": ticker, "session_date": date, "trade_count": len(tapes[ticker].get(date, ()))}
        for ticker in TICKERS
        for date in dates
    ]
    prices = {name: pl.lit(5.0) for name in ("open", "high", "low", "close", "vwap")}
    bars = pl.DataFrame(rows).with_columns(volume=pl.col("trade_count") * 100.0, **prices)
    months = bars.with_columns(month=pl.col("session_date").dt.to_string("%Y-%m"))
    for (month,), of_month in (
        months.sort(DAILY_BARS.key).partition_by("month", as_dict=True).items()
    ):
        conformed = of_month.select(
            pl.col(name).cast(dtype) for name, dtype in DAILY_BARS.schema.items()
        )
        covered = [date for date in dates if f"{date:%Y-%m}" == month]
        lakehouse.tables.write_daily_bars(str(month), conformed, covered=covered, is_closed=True)


def tell_all(lakehouse: Lakehouse) -> dict[tuple[str, str], dict[str, object]]:
    """Return what a lake says of each session and closed day, but for how it came."""
    return {
        (tree.value, receipt.key): {
            name: getattr(receipt, name)
            for name in receipt.__struct_fields__
            if name not in CUT_FACTS
        }
        for tree in (Tree.TRADES, Tree.OFF_SESSION)
        for receipt in lakehouse.sessions.iter_receipts(tree=tree)
    }


def run(
    cut: Cut, span: str, tapes: Tapes
) -> tuple[dict[tuple[str, str], dict[str, object]], dict[str, str], dict[str, str]]:
    """Download by one cut; return what the lake says, and hashes of its rows."""
    trades = {
        ticker: [row for rows in days.values() for row in rows] for ticker, days in tapes.items()
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        EmulatorServer(StaticSource(trades)) as server,
    ):
        lakehouse = make_lakehouse(
            Path(folder),
            server.url,
            range_max_sessions=cut.most,
            range_max_rows=cut.rows,
            page_limit=cut.page,
            commit_interval_s=cut.wait_s,
            workers=2,
        )
        store_bars(lakehouse, span, tapes)
        for keys in cut.asked:
            download(lakehouse, keys)
        found = tell_all(lakehouse), hash_stored(lakehouse), hash_closed(lakehouse)
        lakehouse.ledger.close()
    return found


def hash_closed(lakehouse: Lakehouse) -> dict[str, str]:
    receipts = lakehouse.sessions.iter_receipts(tree=Tree.OFF_SESSION)
    return {receipt.key: receipt.content_hash for receipt in receipts}


@settings(max_examples=6)
@given(data=st.data(), market=markets())
def test_any_cut_of_the_work_gives_the_same_entries_rows_and_hashes(
    data: st.DataObject, market: tuple[str, Tapes]
) -> None:
    """Plans, orders, chain and page limits and times of commit do not show."""
    span, tapes = market
    told = [run(data.draw(cuts(span)), span, tapes) for _ in range(2)]

    assert told[0] == told[1]
    _, sessions, closed = told[0]
    rows = {
        key: tapes[ticker].get(date, [])
        for key in (*sessions, *closed)
        for ticker, date in [decode_key(key)]
    }
    assert sessions | closed == {key: hash_rows(trades) for key, trades in rows.items()}
    dates = set(load_calendar().dates(*SPANS[span]))
    assert len(sessions) == len(dates) * len(TICKERS)
    assert {decode_key(key) for key in closed} == {
        (ticker, day) for ticker in TICKERS for day in tapes[ticker] if day not in dates
    }
