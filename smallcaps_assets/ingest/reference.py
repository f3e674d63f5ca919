"""Daily bars by month and splits, from the vendor or from files."""

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import polars as pl

from smallcaps_assets.core.bars import measure_bars, parse_daily_bars
from smallcaps_assets.core.splits import merge_splits
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.core.windows import widest_window
from smallcaps_assets.errors import DataError
from smallcaps_assets.ingest.events import read_watchlists
from smallcaps_assets.ingest.inputs import read_parsed
from smallcaps_assets.ingest.lakehouse import WARM_UP_SESSIONS, Lakehouse
from smallcaps_assets.ingest.made import MadeTable
from smallcaps_assets.lake.bar_months import BarDates
from smallcaps_assets.polygon.reference import fetch_grouped_daily, fetch_splits
from smallcaps_assets.schemas import DAILY_BARS, SPLITS
from smallcaps_assets.settings import EMULATED_FIRST_SESSION, PlanMode

logger = logging.getLogger(__name__)

SHOWN_SPLITS = 20
"""Newest splits that the asset's page shows."""


@dataclass(frozen=True, slots=True)
class BarMonth:
    """One month of daily bars, stored.

    Attributes:
        name: ``YYYY-MM``.
        rows: Bars stored.
        is_closed: Every session of the month is over, published and has bars.
        problem: Why a month that is over is not whole; empty when nothing is wrong.
        numbers: Facts, by name.
    """

    name: str
    rows: int
    is_closed: bool
    problem: str
    numbers: dict[str, Number] = field(default_factory=dict)


def refresh_daily_bars(lakehouse: Lakehouse, months: Sequence[str]) -> Iterator[BarMonth]:
    """Store the bars of ``months`` (``YYYY-MM``) and yield each when it is on disk.

    Raises:
        DataError: The file of bars breaks its contract; nothing of it is stored.
        VendorError: The vendor refuses; the months stored before stay.
    """
    bars = read_bar_file(lakehouse)
    for month in months:
        sessions = month_sessions(lakehouse, month)
        if bars is None:
            frame = _fetch_sessions(lakehouse, sessions)
        else:
            is_month = pl.col("session_date").dt.to_string("%Y-%m") == month
            frame = bars.filter(is_month)
        yield _store_month(lakehouse, month, sessions, frame)


def judge_daily_bars(lakehouse: Lakehouse) -> Verdict:
    """Judge the stored bars: every month that is over is whole; oddities are listed.

    Duplicate keys and wrong types never get here: they are refused when a month is stored.
    """
    months = lakehouse.tables.read_bar_months()
    is_over = [month_sessions(lakehouse, month.month)[-1] for month in months]
    broken = [
        month.month
        for month, last in zip(months, is_over, strict=True)
        if not month.is_closed and last <= lakehouse.last_available
    ]
    facts = measure_bars(lakehouse.tables.read_daily_bars().collect(), lakehouse.calendar)
    numbers: dict[str, Number] = {
        "months": len(months),
        "broken_months": len(broken),
        "rows": facts.rows,
        "tickers": facts.tickers,
        "unusable_bars": facts.unusable,
        "zero_volume_bars": facts.zero_volume,
        "non_session_bars": facts.non_session,
    }
    summary = (
        f"{len(broken)} of {len(months)} months lack sessions"
        + (f", first {broken[0]}" if broken else "")
        + f"; {facts.unusable} unusable bars and {facts.non_session} on no session are left out"
    )
    return Verdict(bool(months) and not broken, summary, numbers, facts.offenders)


def refresh_splits(lakehouse: Lakehouse) -> MadeTable:
    """Store the splits on record.

    Raises:
        DataError: The file, or the vendor's answer, breaks the contract.
    """
    settings = lakehouse.settings
    if settings.splits is not None:
        splits, repeated = read_parsed(settings.splits, merge_splits)
        origin = settings.splits.name
    elif settings.daily_bars is not None:
        splits, repeated = SPLITS.empty(), 0
        origin = "none: daily bars come from a file without splits"
    else:
        first, last = bar_range(lakehouse)[0], lakehouse.last_available
        splits, repeated = merge_splits(fetch_splits(lakehouse.client, first, last))
        origin = "vendor"
    lakehouse.tables.write_table(SPLITS, splits, is_published=True)
    numbers: dict[str, Number] = {"origin": origin, "repeated_records": repeated}
    reverse = splits.filter(pl.col("split_from") > pl.col("split_to"))
    numbers["reverse_splits"] = reverse.height
    newest = splits.sort("execution_date", "ticker", descending=[True, False]).head(SHOWN_SPLITS)
    return MadeTable(splits.height, numbers, Verdict(True, "", {}), {"newest": newest})  # noqa: FBT003  a verdict's first field


def read_bar_file(lakehouse: Lakehouse) -> pl.DataFrame | None:
    """Return the bars of SMALLCAPS_DAILY_BARS, ``None`` when the vendor is the source.

    Raises:
        DataError: The file cannot be read or breaks the contract.
    """
    path = lakehouse.settings.daily_bars
    return None if path is None else read_parsed(path, parse_daily_bars)


def bar_range(lakehouse: Lakehouse) -> tuple[dt.date, dt.date]:
    """Return the first and last date of daily bars that the rules need.

    From a file it is what the file holds; from the vendor it starts 252 sessions before the
    first session wanted.
    """
    bars = read_bar_file(lakehouse)
    if bars is not None:
        return _range_of(bars)
    calendar = lakehouse.calendar
    wanted = calendar.dates(lakehouse.first_wanted, calendar.last)[0]
    index = max(0, calendar.index_of(wanted) - WARM_UP_SESSIONS)
    first = calendar.frame["session_date"][index]
    if lakehouse.is_synthetic:
        first = max(first, EMULATED_FIRST_SESSION)
    last = min(lakehouse.settings.last_session or dt.date.max, lakehouse.last_available)
    return first, last


def bar_months(lakehouse: Lakehouse) -> list[str]:
    """Return the months (``YYYY-MM``) of daily bars that the rules need, oldest first."""
    first, last = bar_range(lakehouse)
    months = pl.date_range(first.replace(day=1), last, "1mo", eager=True)
    return months.dt.to_string("%Y-%m").to_list()


def due_months(lakehouse: Lakehouse) -> list[str]:
    """Return the months (``YYYY-MM``) of daily bars to refresh, oldest first.

    A closed month from the vendor is final.  A file is read again in whole, because it may have
    changed.
    """
    if lakehouse.settings.daily_bars is not None:
        return bar_months(lakehouse)
    closed = {facts.month for facts in lakehouse.tables.read_bar_months() if facts.is_closed}
    return [month for month in wanted_months(lakehouse) if month not in closed]


def wanted_months(lakehouse: Lakehouse) -> list[str]:
    """Return the months (``YYYY-MM``) of daily bars that the settings ask for, oldest first.

    The rules need the warm-up and all that follows.  With an imported watchlist only the months
    around its events are needed, with plain sessions only their own.
    """
    settings = lakehouse.settings
    if settings.has_rules:
        return bar_months(lakehouse)
    if settings.plan_mode is PlanMode.SESSIONS:
        return _months_between(lakehouse, lakehouse.first_wanted, lakehouse.last_available)
    months: set[str] = set()
    for date in _watchlist_dates(lakehouse):
        before, after = _reach(lakehouse, date)
        months |= set(_months_between(lakehouse, before, after))
    return sorted(months)


def _watchlist_dates(lakehouse: Lakehouse) -> list[dt.date]:
    """Return the dates of the imported watchlists, each once."""
    watchlist, _ = read_watchlists(lakehouse.settings.watchlist or ())
    return list(watchlist["session_date"].unique())


def _reach(lakehouse: Lakehouse, date: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first and last date that an event may ask for, or more than those."""
    settings = lakehouse.settings
    if settings.plan_mode is PlanMode.EVENT_MONTHS:
        around = pl.Series([date]).dt.month_start()
        first = around.dt.offset_by(f"-{settings.plan_months_before}mo").item()
        return first, around.dt.offset_by(f"{settings.plan_months_after}mo").dt.month_end().item()
    widest = widest_window(lakehouse.windows)
    return (
        date - dt.timedelta(days=2 * widest.before + 7),
        date + dt.timedelta(days=2 * widest.after + 7),
    )


def _months_between(lakehouse: Lakehouse, first: dt.date, last: dt.date) -> list[str]:
    """Return the months with a session that is over, between two dates and inside the bounds."""
    latest = min(last, lakehouse.last_available, lakehouse.settings.last_session or dt.date.max)
    earliest = max(first, lakehouse.calendar.first)
    sessions = lakehouse.calendar.dates(earliest, latest) if earliest <= latest else []
    return sorted({f"{session:%Y-%m}" for session in sessions})


def month_sessions(lakehouse: Lakehouse, month: str) -> list[dt.date]:
    """Return the sessions of a month, whether over or not."""
    first = dt.date.fromisoformat(f"{month}-01")
    last = (first + dt.timedelta(days=32)).replace(day=1) - dt.timedelta(days=1)
    return lakehouse.calendar.dates(first, last)


def _fetch_sessions(lakehouse: Lakehouse, sessions: Sequence[dt.date]) -> pl.DataFrame:
    """Ask the vendor for the bars of each session that is over, several at once."""
    due = [session for session in sessions if session <= lakehouse.last_available]
    with ThreadPoolExecutor(lakehouse.settings.workers, thread_name_prefix="bars") as pool:
        frames = list(pool.map(lambda day: fetch_grouped_daily(lakehouse.client, day), due))
    return pl.concat([DAILY_BARS.empty(), *frames]).sort(DAILY_BARS.key)


def _store_month(
    lakehouse: Lakehouse, month: str, sessions: Sequence[dt.date], bars: pl.DataFrame
) -> BarMonth:
    """Write one month and say whether it is whole."""
    over = [session for session in sessions if session <= lakehouse.last_available]
    held = set(bars["session_date"].unique())
    lacking = [session for session in over if session not in held]
    is_over = len(over) == len(sessions)
    is_file = lakehouse.settings.daily_bars is not None
    # A file may start or end inside a month; only the vendor owes every session.
    is_closed = is_over and bars.height > 0 and (is_file or not lacking)
    problem = ""
    if is_over and not is_closed:
        problem = f"{month}: no bars for {len(lacking)} sessions, first {lacking[0]}"
    covered = [] if is_file else sorted(held)
    today = lakehouse.clock().astimezone(dt.UTC).date()
    dates = BarDates(dict.fromkeys(covered, today))
    lakehouse.tables.write_daily_bars(
        month, bars, covered=covered, is_closed=is_closed, dates=dates
    )
    if lakehouse.home.ledger_file.is_file():
        lakehouse.ledger.record_unjudged([month])
    facts = measure_bars(bars, lakehouse.calendar)
    numbers: dict[str, Number] = {
        "tickers": facts.tickers,
        "sessions": len(held),
        "sessions_lacking": len(lacking),
        "unusable_bars": facts.unusable,
        "zero_volume_bars": facts.zero_volume,
        "non_session_bars": facts.non_session,
    }
    return BarMonth(month, bars.height, is_closed, problem, numbers)


def _range_of(bars: pl.DataFrame) -> tuple[dt.date, dt.date]:
    first, last = bars["session_date"].min(), bars["session_date"].max()
    if not isinstance(first, dt.date) or not isinstance(last, dt.date):
        raise DataError("the file of daily bars holds no rows: expected at least one bar")
    return first, last
