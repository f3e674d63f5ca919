"""From daily bars, or from a file, to the published watchlist and its pilot."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from smallcaps_assets.core.budget.pilot import rank_pilot
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
from smallcaps_assets.core.reference.splits import measure_split_like_jumps
from smallcaps_assets.core.verdicts import MadeTable, Number, judge_problems
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.ingest.events.outside_universe import compare_with_universe
from smallcaps_assets.ingest.events.pilot import Pilot, frame_ladder, pilot_size, take_pilot
from smallcaps_assets.lake.interchange.input_files import read_parsed
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST

SHOWN_ROWS = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A watchlist before its check.

    Attributes:
        watchlist: ``schemas.WATCHLIST``.
        numbers: Facts about where it comes from, by name.
        tables: Small tables worth showing, by title.
    """

    watchlist: pl.DataFrame
    numbers: dict[str, Number]
    tables: dict[str, pl.DataFrame]


def make_watchlist(lakehouse: Lakehouse) -> MadeTable:
    """Find or import the events, judge them, and publish what passes.

    Raises:
        DataError: The input breaks its contract.
        MissingPartitionError: There are no daily bars to look at.
    """
    return _publish(lakehouse, _find(lakehouse))


def find_watchlist(lakehouse: Lakehouse) -> pl.DataFrame:
    """Return the watchlist that would be published now, and publish nothing.

    Raises:
        DataError: The input breaks its contract.
        MissingPartitionError: There are no daily bars to look at.
    """
    return compare_with_universe(lakehouse, _find(lakehouse).watchlist).watchlist


def make_pilot(lakehouse: Lakehouse) -> MadeTable:
    """Choose the pilot from the published watchlist, and publish it.

    Raises:
        MissingPartitionError: No watchlist is published.
    """
    watchlist = lakehouse.tables.read_table(WATCHLIST)
    min_events, tickers = pilot_size(lakehouse)
    pilot = take_pilot(lakehouse, watchlist)
    numbers: dict[str, Number] = {
        "min_events": min_events,
        "max_tickers": tickers,
        "tickers": pilot.watchlist["ticker"].n_unique(),
        "watchlist_rows": watchlist.height,
    }
    problems = () if pilot.watchlist.height else (_explain_empty(lakehouse, pilot, min_events),)
    verdict = judge_problems(problems, numbers, pl.DataFrame())
    lakehouse.tables.write_table(PILOT_WATCHLIST, pilot.watchlist, is_published=verdict.passed)
    ranking = rank_pilot(watchlist, min_events).head(SHOWN_ROWS)
    tables = {"ranking": ranking, "pilot_ladder": frame_ladder(pilot.ladder)}
    return MadeTable(pilot.watchlist.height, numbers, verdict, tables)


def _explain_empty(lakehouse: Lakehouse, pilot: Pilot, min_events: int) -> str:
    """Return why no ticker was chosen."""
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
    """Return the events by the rules, or of the watchlists that the settings name."""
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
    """Return the union of some watchlists, and what was merged on reading each, by its path.

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


def _publish(lakehouse: Lakehouse, found: _Found) -> MadeTable:
    """Judge a candidate; only one that passes becomes the watchlist."""
    compared = compare_with_universe(lakehouse, found.watchlist)
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
    """Return why a watchlist holds no row."""
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
