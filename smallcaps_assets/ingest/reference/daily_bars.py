"""Daily bars by month and splits, from the vendor or from files, and the audits of stored bars."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.keys import month_expression, month_of
from smallcaps_assets.core.plan.windows import widest_window
from smallcaps_assets.core.reference.bar_gaps import judge_lives, measure_lives
from smallcaps_assets.core.reference.daily_bars import measure_bars, parse_daily_bars
from smallcaps_assets.core.reference.splits import (
    VendorSplits,
    decide_splits,
    measure_split_like_jumps,
    merge_splits,
    sift_splits,
)
from smallcaps_assets.core.sessions import list_months, month_bounds
from smallcaps_assets.core.verdicts import MadeTable, Number, Verdict
from smallcaps_assets.errors import DataError
from smallcaps_assets.ingest.events.watchlist import read_watchlists
from smallcaps_assets.ingest.proof.vendor_rows import (
    SoundBars,
    fetch_sound_bars,
    fetch_sound_splits,
)
from smallcaps_assets.lake.interchange.input_files import read_parsed
from smallcaps_assets.lake.tables.bar_months import BarOrigin, LeftOut
from smallcaps_assets.lakehouse import WARM_UP_SESSIONS, Lakehouse
from smallcaps_assets.schemas import SPLITS
from smallcaps_assets.settings import EMULATED_FIRST_SESSION, PlanMode

SHOWN_SPLITS = 20
"""Newest splits that the asset's page shows."""


@dataclass(frozen=True, slots=True)
class BarMonth:
    """One month of daily bars, stored.

    Attributes:
        name: ``YYYY-MM``.
        is_closed: Every session of the month is over, published and has bars.
        problem: Why a month that is over is not whole; empty when nothing is wrong.
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
        sessions = lakehouse.calendar.dates(*month_bounds(month))
        if bars is None:
            over = [session for session in sessions if session <= lakehouse.last_available]
            sound = fetch_sound_bars(
                lakehouse.client, over, lakehouse.settings.workers, lakehouse.stop
            )
        else:
            sound = SoundBars(bars.filter(month_expression() == month))
        yield _store_month(lakehouse, month, sessions, sound)


def judge_daily_bars(lakehouse: Lakehouse) -> Verdict:
    """Judge the stored bars: every month that is over is whole; oddities are listed.

    Duplicate keys and wrong types never get here: they are refused, merged or set aside when a
    month is stored.
    """
    months = lakehouse.tables.read_bar_months()
    is_over = [lakehouse.calendar.dates(*month_bounds(m.month))[-1] for m in months]
    broken = [
        month.month
        for month, last in zip(months, is_over, strict=True)
        if not month.is_closed and last <= lakehouse.last_available
    ]
    facts = measure_bars(lakehouse.tables.read_daily_bars().collect(), lakehouse.calendar)
    left_out = [month.left_out for month in months]
    set_aside = sum(month.contradicting for month in left_out)
    numbers: dict[str, Number] = {
        "months": len(months),
        "broken_months": len(broken),
        "rows": facts.rows,
        "tickers": facts.tickers,
        "unusable_bars": facts.unusable,
        "zero_volume_bars": facts.zero_volume,
        "non_session_bars": facts.non_session,
        "bars_set_aside": set_aside,
        "garbage_symbols": sum(month.garbage for month in left_out),
        "repeated_bars": sum(month.repeated for month in left_out),
    }
    summary = (
        f"{len(broken)} of {len(months)} months lack sessions"
        + (f", first {broken[0]}" if broken else "")
        + f"; {facts.unusable} unusable bars and {facts.non_session} on no session are left out"
    )
    if set_aside:
        summary += (
            f"; {set_aside} bars are set aside, because the vendor sent different ones twice: "
            "`smallcaps plan` asks for their months again"
        )
    if numbers["garbage_symbols"]:
        summary += f"; {numbers['garbage_symbols']} rows of the vendor had no ticker for a symbol"
    offenders = pl.concat([*map(_show_left_out, left_out), facts.offenders])
    return Verdict(bool(months) and not broken and not set_aside, summary, numbers, offenders)


def refresh_splits(lakehouse: Lakehouse) -> MadeTable:
    """Store the splits on record; its verdict is about records that contradict one another.

    Raises:
        DataError: A file breaks its contract; the splits stored before stay.
    """
    found, origin = _find_splits(lakehouse)
    path = lakehouse.settings.decided_splits
    decided = SPLITS.empty() if path is None else read_parsed(path, merge_splits)[0]
    splits = decide_splits(found.splits, decided)
    undecided = found.set_aside.join(decided, on=list(SPLITS.key), how="anti")
    lakehouse.tables.write_table(SPLITS, splits, is_published=True)
    reverse = splits.filter(pl.col("split_from") > pl.col("split_to"))
    numbers: dict[str, Number] = {
        "origin": origin,
        "repeated_records": found.repeated,
        "garbage_symbols": found.garbage,
        "contradicting_records": found.set_aside.height,
        "decided_splits": decided.height,
        "unknown_splits": splits["split_to"].null_count(),
        "reverse_splits": reverse.height,
    }
    newest = splits.sort("execution_date", "ticker", descending=[True, False]).head(SHOWN_SPLITS)
    verdict = _judge_splits(undecided, numbers)
    return MadeTable(splits.height, numbers, verdict, {"newest": newest})


def _find_splits(lakehouse: Lakehouse) -> tuple[VendorSplits, str]:
    """Find the splits of the source, nothing decided yet, and where they come from."""
    settings = lakehouse.settings
    nothing = sift_splits(SPLITS.empty())
    if settings.splits is not None:
        splits, repeated = read_parsed(settings.splits, merge_splits)
        return replace(nothing, splits=splits, repeated=repeated), settings.splits.name
    if settings.daily_bars is not None:
        return nothing, "none: daily bars come from a file without splits"
    first, last = bar_range(lakehouse)[0], lakehouse.last_available
    return fetch_sound_splits(lakehouse.client, first, last), "vendor"


def _judge_splits(undecided: pl.DataFrame, numbers: dict[str, Number]) -> Verdict:
    """Judge what the vendor's records leave open."""
    summary = "no records contradict one another"
    if undecided.height:
        keys = undecided.select(SPLITS.key).unique().sort(SPLITS.key)
        ticker, date = keys.row(0)
        summary = (
            f"{undecided.height} records are set aside, because they contradict one another or "
            f"have no ratio, first {ticker} {date}: no rule looks across such a date "
            f"({keys.height} by ticker); write the right split of each into a file for "
            "SMALLCAPS_DECIDED_SPLITS"
        )
    return Verdict(undecided.is_empty(), summary, numbers, undecided)


def _show_left_out(left_out: LeftOut) -> pl.DataFrame:
    rows = [(row.ticker, row.session_date, row.problem) for row in left_out.shown]
    return pl.DataFrame(rows, ["ticker", "session_date", "problem"], orient="row").cast(
        {"ticker": pl.String, "session_date": pl.Date, "problem": pl.String}
    )


def read_bar_file(lakehouse: Lakehouse) -> pl.DataFrame | None:
    """Read the bars of SMALLCAPS_DAILY_BARS, ``None`` when the vendor is the source.

    Raises:
        DataError: The file cannot be read or breaks the contract.
    """
    path = lakehouse.settings.daily_bars
    return None if path is None else read_parsed(path, parse_daily_bars)


def bar_range(lakehouse: Lakehouse) -> tuple[dt.date, dt.date]:
    """Find the first and last date of daily bars that the rules need.

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
    """List the months (``YYYY-MM``) of daily bars that the rules need, oldest first."""
    return list_months(*bar_range(lakehouse))


def due_months(lakehouse: Lakehouse, wanted: Sequence[str] | None = None) -> list[str]:
    """List the months (``YYYY-MM``) of daily bars to refresh, oldest first.

    Those that are wanted are :func:`wanted_months` by default.  A closed month from the vendor is
    final, unless bars of it were set aside, or an earlier version stored what is unsound.  A file
    is read again in whole, because it may have changed.
    """
    if lakehouse.settings.daily_bars is not None:
        return bar_months(lakehouse)
    closed = {
        facts.month
        for facts in lakehouse.tables.read_bar_months()
        if facts.is_closed and not facts.left_out.contradicting
    }
    final = closed.difference(lakehouse.tables.find_unsound_months())
    months = wanted_months(lakehouse) if wanted is None else wanted
    return [month for month in months if month not in final]


def whole_months(lakehouse: Lakehouse) -> list[str]:
    """List the months (``YYYY-MM``) in which any session is wanted and available, oldest first."""
    return _months_between(lakehouse, lakehouse.first_wanted, lakehouse.last_available)


def wanted_months(lakehouse: Lakehouse) -> list[str]:
    """List the months (``YYYY-MM``) of daily bars that the settings ask for, oldest first.

    The rules need the warm-up and all that follows.  With an imported watchlist only the months
    around its events are needed, with plain sessions only their own.
    """
    settings = lakehouse.settings
    if settings.has_rules:
        return bar_months(lakehouse)
    if settings.plan_mode is PlanMode.SESSIONS:
        return whole_months(lakehouse)
    months: set[str] = set()
    for date in _watchlist_dates(lakehouse):
        before, after = _reach(lakehouse, date)
        months |= set(_months_between(lakehouse, before, after))
    return sorted(months)


def _watchlist_dates(lakehouse: Lakehouse) -> list[dt.date]:
    """List the dates of the imported watchlists, each once."""
    watchlist, _ = read_watchlists(lakehouse.settings.watchlist or ())
    return list(watchlist["session_date"].unique())


def _reach(lakehouse: Lakehouse, date: dt.date) -> tuple[dt.date, dt.date]:
    """Find the first and last date that an event may ask for, or more than those."""
    settings, calendar = lakehouse.settings, lakehouse.calendar
    # A slip such as the year 1 or 9999 makes no window; it must not leave the range of dates.
    date = min(max(date, calendar.first), calendar.last)
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
    """List the months with a session that is over, between two dates and inside the bounds."""
    latest = min(last, lakehouse.last_available, lakehouse.settings.last_session or dt.date.max)
    earliest = max(first, lakehouse.calendar.first)
    sessions = lakehouse.calendar.dates(earliest, latest) if earliest <= latest else []
    return sorted({month_of(session) for session in sessions})


def judge_split_jumps(lakehouse: Lakehouse) -> Verdict:
    """Judge overnight jumps that look like a split, after the splits on record were applied.

    Some of them are prices that doubled: each has to be looked at before gaps are believed.
    """
    splits = lakehouse.tables.read_splits()
    columns = ["ticker", "session_date", "open", "high", "low", "close", "volume"]
    bars = lakehouse.tables.read_daily_bars().select(columns).collect()
    jumps = measure_split_like_jumps(bars, splits)
    tickers = jumps["ticker"].n_unique()
    misfits = jumps.drop_nulls("split")
    summary = (
        f"{jumps.height - misfits.height} jumps look like a split and none is on record; "
        f"{splits.height} splits are known, {misfits.height} of them do not fit their prices"
    )
    if misfits.height:
        ticker, date, *_, split, problem = misfits.row(0)
        summary += f", first {ticker} {date}, {split}: {problem}"
    numbers = {
        "split_like_jumps": jumps.height,
        "misfitting_splits": misfits.height,
        "tickers": tickers,
        "splits_on_record": splits.height,
        "bars": bars.height,
    }
    return Verdict(bars.height > 0 and jumps.is_empty(), summary, dict(numbers), jumps)


def judge_bar_lives(lakehouse: Lakehouse) -> Verdict:
    """Judge sessions without a bar within the lives of listings, or of tickers."""
    found = lakehouse.tables.read_universe()
    bars = lakehouse.tables.read_daily_bars().select(pl.col("ticker", "session_date"))
    universe = None if found is None else found[0]
    return judge_lives(measure_lives(bars, universe, lakehouse.calendar), lakehouse.thresholds)


def _store_month(
    lakehouse: Lakehouse, month: str, sessions: Sequence[dt.date], sound: SoundBars
) -> BarMonth:
    """Write one month and say whether it is whole."""
    bars, left_out = sound.bars, sound.left_out
    over = [session for session in sessions if session <= lakehouse.last_available]
    held = set(bars["session_date"].unique())
    lacking = [session for session in over if session not in held]
    is_over = len(over) == len(sessions)
    is_file = lakehouse.settings.daily_bars is not None
    # A file may start or end inside a month; only the vendor owes every session.
    is_closed = is_over and bars.height > 0 and (is_file or not lacking)
    problem = ""
    if is_over and not is_closed:
        lacked = format_count(len(lacking), "session")
        problem = f"{month}: no bars for {lacked}, first {lacking[0]}"
    # Where a key was set aside, a ticker without a bar may have traded.
    covered = [] if is_file else sorted(held - sound.doubtful)
    today = lakehouse.clock().astimezone(dt.UTC).date()
    origin = BarOrigin({} if is_file else dict.fromkeys(held, today), left_out=left_out)
    lakehouse.tables.write_daily_bars(
        month, bars, covered=covered, is_closed=is_closed, origin=origin
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
        "bars_set_aside": left_out.contradicting,
        "garbage_symbols": left_out.garbage,
        "repeated_bars": left_out.repeated,
    }
    return BarMonth(month, bars.height, is_closed, problem, numbers)


def _range_of(bars: pl.DataFrame) -> tuple[dt.date, dt.date]:
    first, last = bars["session_date"].min(), bars["session_date"].max()
    if not isinstance(first, dt.date) or not isinstance(last, dt.date):
        raise DataError("the file of daily bars holds no rows: expected at least one bar")
    return first, last
