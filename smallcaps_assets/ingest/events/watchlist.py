"""From daily bars, or from a file, to the published watchlist and its pilot."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from smallcaps_assets.core.budget.costs import DISK_SHARE
from smallcaps_assets.core.budget.pilot import (
    LADDER_SIZES,
    PilotInputs,
    Rung,
    build_ladder,
    choose_pilot,
    list_candidates,
    rank_pilot,
    select_pilot,
)
from smallcaps_assets.core.events.rules import detect_events
from smallcaps_assets.core.events.watchlist import (
    WatchlistFacts,
    WatchlistImport,
    build_watchlist,
    judge_watchlist,
    measure_watchlist,
    merge_watchlists,
    parse_watchlist,
)
from smallcaps_assets.core.figures import GB
from smallcaps_assets.core.reference.splits import measure_split_like_jumps
from smallcaps_assets.core.verdicts import MadeTable, Number, judge_problems
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.ingest.budget.calibration import read_holdings
from smallcaps_assets.ingest.budget.expectations import COUNTS, gather_bars
from smallcaps_assets.ingest.events.choice import choose_events
from smallcaps_assets.ingest.events.outside_universe import Compared, compare_with_universe
from smallcaps_assets.lake.interchange.input_files import read_parsed
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST
from smallcaps_assets.settings import PlanMode

SHOWN_ROWS = 20
DEFAULT_PILOT_TICKERS = 15
DEFAULT_PILOT_MIN_EVENTS = 3
"""Pilot of detected events; an imported watchlist is taken as it is unless a setting says else."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A watchlist before its check.

    Attributes:
        numbers: Facts about where it comes from, by name.
        tables: Small tables worth showing, by title.
    """

    watchlist: pl.DataFrame
    numbers: dict[str, Number]
    tables: dict[str, pl.DataFrame]


@dataclass(frozen=True, slots=True, eq=False)
class Pilot:
    """The chosen part of a watchlist.

    Attributes:
        ladder: What this and other sizes cost, the largest first.
    """

    watchlist: pl.DataFrame
    ladder: tuple[Rung, ...]


def make_watchlist(lakehouse: Lakehouse) -> MadeTable:
    """Find or import the events, judge them, and publish what passes.

    Raises:
        DataError: The input breaks its contract.
        MissingPartitionError: There are no daily bars to look at.
    """
    return _publish(lakehouse, _find(lakehouse))


def find_watchlist(lakehouse: Lakehouse) -> pl.DataFrame:
    """Find the watchlist that would be published now, and publish nothing.

    Raises:
        DataError: The input breaks its contract.
        MissingPartitionError: There are no daily bars to look at.
    """
    return _compare(lakehouse, _find(lakehouse).watchlist).watchlist


def make_pilot(lakehouse: Lakehouse) -> MadeTable:
    """Choose the pilot from the published watchlist, and publish it.

    Raises:
        MissingPartitionError: No watchlist is published.
    """
    watchlist = lakehouse.tables.read_table(WATCHLIST)
    min_events, tickers = pilot_size(lakehouse)
    chosen = choose_events(lakehouse)
    pilot = take_pilot(lakehouse, watchlist)
    numbers: dict[str, Number] = {
        **chosen.numbers,
        "min_events": min_events,
        "max_tickers": tickers,
        "tickers": pilot.watchlist["ticker"].n_unique(),
        "watchlist_rows": watchlist.height,
    }
    problems = () if pilot.watchlist.height else (_explain_empty(lakehouse, pilot, min_events),)
    verdict = judge_problems(problems, numbers, pl.DataFrame())
    lakehouse.tables.write_table(PILOT_WATCHLIST, pilot.watchlist, is_published=verdict.passed)
    ranking = rank_pilot(chosen.narrow(watchlist), min_events).head(SHOWN_ROWS)
    tables = {"ranking": ranking, "pilot_ladder": frame_ladder(pilot.ladder)}
    return MadeTable(pilot.watchlist.height, numbers, verdict, tables)


def pilot_size(lakehouse: Lakehouse) -> tuple[int, int]:
    """Work out the fewest events of a session and the most tickers; 0 is no limit."""
    settings = lakehouse.settings
    is_taken_whole = settings.watchlist is not None
    min_events, tickers = settings.pilot_min_events, settings.pilot_tickers
    if min_events is None:
        has_choice = settings.plan_events or settings.plan_events_by_win_rate
        least = 1 if has_choice else DEFAULT_PILOT_MIN_EVENTS
        min_events = 0 if is_taken_whole else least
    if tickers is None:
        tickers = 0 if is_taken_whole or settings.pilot_budget else DEFAULT_PILOT_TICKERS
    return min_events, tickers


def take_pilot(lakehouse: Lakehouse, watchlist: pl.DataFrame) -> Pilot:
    """Take the pilot of a watchlist by number of tickers, or the largest that fits the budget."""
    min_events, tickers = pilot_size(lakehouse)
    watchlist = choose_events(lakehouse).narrow(watchlist)
    ranked = rank_pilot(watchlist, min_events).height
    if lakehouse.settings.pilot_budget and ranked:
        inputs = _gather_inputs(lakehouse, watchlist, min_events)
        choice = choose_pilot(watchlist, min_events, inputs, most=tickers)
        return Pilot(choice.watchlist, choice.ladder)
    until = lakehouse.settings.plan_rank_until
    pilot = select_pilot(watchlist, min_events, tickers, rank_until=until)
    return Pilot(pilot, _measure_ladder(lakehouse, watchlist, ranked) if ranked else ())


def weigh_sizes(lakehouse: Lakehouse) -> tuple[Rung, ...]:
    """Weigh the pilot of the published watchlist beside other sizes, the largest first.

    Raises:
        MissingPartitionError: No watchlist is published, in a mode that needs one.
    """
    if lakehouse.settings.plan_mode is PlanMode.SESSIONS:
        return ()
    return take_pilot(lakehouse, lakehouse.tables.read_table(WATCHLIST)).ladder


def _measure_ladder(lakehouse: Lakehouse, watchlist: pl.DataFrame, ranked: int) -> tuple[Rung, ...]:
    """Measure what pilots of several sizes cost, the size in force among them, largest first.

    Without a limit the size in force is all tickers.
    """
    min_events, tickers = pilot_size(lakehouse)
    sizes = sorted({*LADDER_SIZES, tickers or ranked}, reverse=True)
    top = select_pilot(watchlist, min_events, max(sizes))
    return build_ladder(top, min_events, _gather_inputs(lakehouse, top, min_events), sizes)


def frame_ladder(ladder: tuple[Rung, ...]) -> pl.DataFrame:
    """Frame a ladder as a table, a row a size."""
    return pl.DataFrame(
        {
            "tickers": [rung.tickers for rung in ladder],
            "watchlist_rows": [rung.rows for rung in ladder],
            "sessions_asked_for": [rung.ticker_sessions for rung in ladder],
            "unique_sessions": [rung.unique_ticker_sessions for rung in ladder],
            "requests": [rung.requests for rung in ladder],
            "bytes_stored": [rung.bytes_stored for rung in ladder],
            "hours": [rung.hours for rung in ladder],
            "fits": [rung.verdict.fits for rung in ladder],
            "verdict": [rung.verdict.arithmetic for rung in ladder],
        }
    )


def _gather_inputs(lakehouse: Lakehouse, watchlist: pl.DataFrame, min_events: int) -> PilotInputs:
    """Gather what the cost of pilots of a watchlist depends on."""
    settings = lakehouse.settings
    holdings = read_holdings(lakehouse.layout.ledger_file, lakehouse.default_costs)
    held = holdings.stored.join(watchlist, on="ticker", how="semi")["bytes"]
    free, share = _find_room(lakehouse, int(held.sum()))
    is_monthly = settings.plan_mode is PlanMode.EVENT_MONTHS
    inputs = PilotInputs(
        windows=lakehouse.windows,
        bounds=lakehouse.bounds,
        bars=COUNTS,
        calibration=holdings.costs,
        free_bytes=free,
        max_rows=settings.range_max_rows,
        max_sessions=settings.range_max_sessions,
        share=share,
        months=(settings.plan_months_before, settings.plan_months_after) if is_monthly else None,
    )
    sessions = list_candidates(watchlist, min_events, inputs)
    bars = gather_bars(lakehouse.tables, sessions, holdings.stored) if sessions.height else COUNTS
    return replace(inputs, bars=bars)


def _find_room(lakehouse: Lakehouse, held_bytes: int) -> tuple[int, float]:
    """Find the bytes there are and the share of them that a pilot may take.

    What the candidates already hold counts as free: a pilot must not shrink while it is fetched.
    """
    room = lakehouse.free_space.measure(lakehouse.layout.lake_dir) + held_bytes
    budget_gb = lakehouse.settings.disk_budget_gb
    if budget_gb is not None and budget_gb * GB < room * DISK_SHARE:
        return int(budget_gb * GB), 1.0
    return room, DISK_SHARE


def _explain_empty(lakehouse: Lakehouse, pilot: Pilot, min_events: int) -> str:
    """Explain why no ticker was chosen."""
    if lakehouse.settings.pilot_budget and pilot.ladder:
        smallest = pilot.ladder[-1]
        return (
            f"not even the first ticker fits the budget: {smallest.tickers} tickers need more, "
            f"{smallest.verdict.arithmetic}: raise SMALLCAPS_DISK_BUDGET_GB or make room"
        )
    watchlist = lakehouse.tables.read_table(WATCHLIST)
    ticker, date, most = (
        watchlist.sort("event_count", descending=True)
        .select("ticker", "session_date", "event_count")
        .row(0)
    )
    return (
        f"no session has {min_events} events, {ticker} has the most on {date}: {most}; lower "
        "SMALLCAPS_PILOT_MIN_EVENTS"
    )


def _find(lakehouse: Lakehouse) -> _Found:
    """Find the events by the rules, or take those of the watchlists that the settings name."""
    paths = lakehouse.settings.watchlist
    return _detect(lakehouse) if paths is None else _import(paths)


def _detect(lakehouse: Lakehouse) -> _Found:
    """Apply the rules to the stored daily bars."""
    if unsound := lakehouse.tables.find_unsound_months():
        raise DataError(
            f"daily_bars: {', '.join(unsound)} hold bars that repeat a ticker and session, or "
            "symbols that are none, stored by an earlier version: run `smallcaps plan`, which "
            "fetches those months again"
        )
    bars = lakehouse.tables.read_daily_bars()
    splits = lakehouse.tables.read_splits()
    watchlist = (
        build_watchlist(detect_events(bars, splits.lazy() if splits.height else None))
        .filter(pl.col("session_date") >= lakehouse.first_wanted)
        .collect()
    )
    if lakehouse.settings.last_session:
        watchlist = watchlist.filter(pl.col("session_date") <= lakehouse.settings.last_session)
    if watchlist.is_empty() and bars.head(1).collect().is_empty():
        raise MissingPartitionError(
            "no daily bars are stored: materialize daily_bars, or set SMALLCAPS_DAILY_BARS"
        )
    jumps = measure_split_like_jumps(bars.collect(), splits)
    return _Found(
        watchlist,
        {"splits_on_record": splits.height, "split_like_jumps": jumps.height},
        {"split_like_jumps": jumps.head(SHOWN_ROWS)},
    )


def read_watchlists(paths: Iterable[Path]) -> tuple[pl.DataFrame, dict[str, WatchlistImport]]:
    """Read the union of some watchlists, and what was merged on reading each, by its path.

    Raises:
        DataError: One of them cannot be read, or its rows break their contract.
    """
    found = {str(path): read_parsed(path, parse_watchlist) for path in paths}
    facts = {path: facts for path, (_, facts) in found.items()}
    return merge_watchlists(*(rows for rows, _ in found.values())), facts


def _import(paths: Sequence[Path]) -> _Found:
    """Read the watchlists that the settings name."""
    watchlist, facts = read_watchlists(paths)
    kept = sum(fact.rows_kept for fact in facts.values())
    numbers: dict[str, Number] = {
        "file": ", ".join(path.name for path in paths),
        "rows_of_several_files": kept - watchlist.height,
    }
    plain = [asdict(fact) for fact in facts.values()]
    for name, value in plain[0].items():
        values = [fact[name] for fact in plain]
        is_text = isinstance(value, tuple)
        numbers[name] = ", ".join(sorted(set().union(*values))) if is_text else sum(values)
    files = pl.DataFrame({"file": list(facts), "rows": [fact.rows_kept for fact in facts.values()]})
    return _Found(watchlist, numbers, {"files": files})


def _compare(lakehouse: Lakehouse, watchlist: pl.DataFrame) -> Compared:
    """Let the published universe have its say."""
    settings, found = lakehouse.settings, lakehouse.tables.read_universe()
    return compare_with_universe(
        watchlist,
        found and found[0],
        settings.outside_universe,
        is_cap_backward=settings.universe_cap_backwards,
    )


def _publish(lakehouse: Lakehouse, found: _Found) -> MadeTable:
    """Judge a candidate; only one that passes becomes the watchlist."""
    compared = _compare(lakehouse, found.watchlist)
    watchlist = compared.watchlist
    facts = measure_watchlist(watchlist, lakehouse.calendar)
    problems = judge_watchlist(facts) if facts.rows else (_explain_no_event(lakehouse, found),)
    verdict = judge_problems(problems, _count(facts), facts.offenders)
    lakehouse.tables.write_table(WATCHLIST, watchlist, is_published=verdict.passed)
    per_event = pl.DataFrame(
        {"event": list(facts.rows_per_event), "rows": list(facts.rows_per_event.values())}
    )
    return MadeTable(
        watchlist.height,
        _count(facts) | found.numbers | compared.numbers,
        compared.remark_on(verdict),
        {"rows_per_event": per_event, "offenders": facts.offenders}
        | found.tables
        | compared.tables,
    )


def _explain_no_event(lakehouse: Lakehouse, found: _Found) -> str:
    """Explain why a watchlist holds no row."""
    wanted = lakehouse.describe_wanted()
    if found.watchlist.height:
        found_rows = f"{found.watchlist.height:,} rows"
        return f"expected at least one row, got none: none of {found_rows} lies in the universe"
    bars = lakehouse.tables.read_daily_bars()
    rows, tickers, first, last = (
        bars.select(
            pl.len(),
            pl.col("ticker").n_unique(),
            first=pl.col("session_date").min(),
            last=pl.col("session_date").max(),
        )
        .collect()
        .row(0)
    )
    return (
        "expected at least one row, got none: the rules E1 to E11 find no event in the daily bars "
        f"from {wanted}: {rows:,} bars of {tickers:,} tickers are stored, {first} to {last}; ask "
        "for other dates (--from, --to), give bars of more sessions (SMALLCAPS_DAILY_BARS), or a "
        "watchlist (--watchlist)"
    )


def _count(facts: WatchlistFacts) -> dict[str, Number]:
    return {
        "rows": facts.rows,
        "tickers": facts.tickers,
        "duplicate_keys": facts.duplicate_keys,
        "unknown_events": facts.unknown_events,
        "wrong_counts": facts.wrong_counts,
        "non_session_rows": facts.non_session,
    }
