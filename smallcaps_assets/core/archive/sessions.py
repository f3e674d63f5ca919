"""Sessions of archives: do the trades of a day agree with their daily bar and with themselves?

What belongs here: the facts of a file and of the session its files make, and the verdict.  What
does not: columns and types (``columns``, ``times``), what trades say against
themselves (``evidence``), files and folders (``lake``), what is done about a verdict
(``ingest``).

Nothing is believed for having the right name.  A session agrees when its shares, trades and prices
are those of its daily bar by the vendor's rules, every column is there in full, instants are exact
to the nanosecond, clocks, phases and conditions fit one another, and trades are told apart by what
the vendor tells them apart by; without a daily bar none does.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from smallcaps_assets.core.archive.columns import VENDOR_TYPES, ArchiveRows, parse_archive
from smallcaps_assets.core.archive.evidence import look_at_clocks, look_at_identity
from smallcaps_assets.core.archive.findings import (
    ArchiveVerdict,
    Finding,
    FindingKind,
    judge_findings,
)
from smallcaps_assets.core.archive.times import NS
from smallcaps_assets.core.sessions import SessionCalendar, day_bounds_ns
from smallcaps_assets.core.ticks.bar_prices import compare_prices
from smallcaps_assets.core.ticks.phases import (
    AFTER_HOURS,
    PRE_MARKET,
    REGULAR,
    label_phases,
    label_trades,
)
from smallcaps_assets.core.ticks.quality import measure_sessions
from smallcaps_assets.core.ticks.tape import read_instants, sort_tape
from smallcaps_assets.schemas import DAILY_BARS, TRADES

PAGE_ROWS: Final = 50_000
"""Trades of a full page: a downloader that lost the way to the next one leaves so many."""

ENOUGH_ROWS: Final = 200
"""Trades among which some share a nanosecond, unless they were dropped by timestamp."""

PRICES_OUTSIDE_SHARE: Final = 0.05
"""Prices outside the daily bar from which they are another scale, not late reports."""

EXPECTED_PHASES: Final = (PRE_MARKET, REGULAR, AFTER_HOURS)
_BAR_VALUES: Final = {
    name: column.dtype for name, column in DAILY_BARS.columns.items() if name not in DAILY_BARS.key
}


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """What the path of an archive's file says.

    Attributes:
        name: The file, relative to the archive.
        phase: Trading phase that its name promises; ``None``: the whole day.
        has_mark: Whether a ``_SUCCESS`` lies beside it, where the layout has one.
    """

    name: str
    phase: str | None = None
    has_mark: bool = True


@dataclass(frozen=True, slots=True)
class FileRows:
    """One file of an archive, classified.

    Attributes:
        rows: Its rows; ``None``: it cannot be read.
    """

    file: ArchiveFile
    rows: pl.DataFrame
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ArchivedSession:
    """One session of an archive with the verdict on it.

    Attributes:
        trades: ``schemas.TRADES`` of the session, in tape order; what lies on other days is not
            in it.
        findings: What is missing or suspicious, files first.
        volume: Shares by the vendor's rules.
    """

    trades: pl.DataFrame
    verdict: ArchiveVerdict
    findings: tuple[Finding, ...]
    volume: float = 0.0
    trade_count: int = 0


def classify_file(
    file: ArchiveFile, rows: pl.DataFrame, ticker: str, calendar: SessionCalendar
) -> FileRows:
    """Parse the rows of a file that should be trades of ``ticker``; note what they say alone."""
    found: list[Finding] = []
    if not file.has_mark:
        found.append(Finding(FindingKind.NO_MARK, "no _SUCCESS beside it: the writer did not end"))
    if rows.is_empty():
        parsed = ArchiveRows(pl.DataFrame(schema=VENDOR_TYPES), ())
        found.append(Finding(FindingKind.EMPTY, "no rows"))
    else:
        parsed = parse_archive(rows, ticker, file.phase)
        found += [*parsed.findings, *_look_at_rows(file, parsed.trades, calendar)]
    located = tuple(Finding(f.kind, f.message, file.name) for f in found)
    return FileRows(file, parsed.trades, located)


def refuse_file(file: ArchiveFile, why: str) -> FileRows:
    """Refuse a file that cannot be read: it has no rows, and a finding says why."""
    finding = Finding(FindingKind.UNREADABLE, why, file.name)
    return FileRows(file, pl.DataFrame(schema=VENDOR_TYPES), (finding,))


def judge_session(
    files: Sequence[FileRows],
    ticker: str,
    session_date: dt.date,
    bar: Mapping[str, object] | None,
    calendar: SessionCalendar,
) -> ArchivedSession:
    """Join the files of a session, one or one a phase, and judge whether they are all of it.

    ``bar`` is its row of ``schemas.DAILY_BARS``; ``None``: none is known.
    """
    findings = [finding for file in files for finding in file.findings]
    is_known = calendar.first <= session_date <= calendar.last
    if not (is_known and calendar.is_session(session_date)):
        message = f"{session_date} is no XNYS session"
        findings.append(Finding(FindingKind.NO_SESSION, message))
        return ArchivedSession(TRADES.empty(), ArchiveVerdict.UNUSABLE, tuple(findings))
    joined = sort_tape(pl.concat([file.rows for file in files]))
    inside, strays = _cut_day(joined, session_date)
    findings += strays
    if inside.is_empty():
        return ArchivedSession(TRADES.empty(), ArchiveVerdict.UNUSABLE, tuple(findings))
    trades = label_trades(inside.select(pl.lit(ticker).alias("ticker"), pl.all()), calendar)
    bars = _frame_bar(trades, bar)
    facts = measure_sessions(trades, bars, trades.select(DAILY_BARS.key).head(1))
    values = facts.row(0, named=True)
    findings += _look_at_facts(values)
    findings += [*look_at_identity(trades), *look_at_clocks(trades, calendar)]
    findings += [*_compare_bar(values), *_compare_prices(trades, bars)]
    return ArchivedSession(
        trades,
        judge_findings(trades.height, findings),
        tuple(findings),
        volume=values["volume"],
        trade_count=values["trade_count"],
    )


def _look_at_rows(
    file: ArchiveFile, trades: pl.DataFrame, calendar: SessionCalendar
) -> Iterator[Finding]:
    """Yield what the number, the order and the phases of a file's rows say."""
    if trades.is_empty():
        return
    if trades.height % PAGE_ROWS == 0:
        message = f"{trades.height} rows are whole pages of {PAGE_ROWS}: more may be missing"
        yield Finding(FindingKind.WHOLE_PAGES, message)
    instants = read_instants(trades, "sip_timestamp")
    if trades.height >= ENOUGH_ROWS and np.unique(instants).size == trades.height:
        message = f"none of {trades.height} rows share a timestamp: such rows were dropped"
        yield Finding(FindingKind.DEDUPLICATED, message)
    if file.phase is not None:
        share = int((label_phases(instants, calendar) == file.phase).sum()) / trades.height
        if share < 0.5:  # noqa: PLR2004  most of the rows
            message = f"{share:.0%} of its rows lie in {file.phase}"
            yield Finding(FindingKind.WRONG_PHASE, message)


def _cut_day(trades: pl.DataFrame, session_date: dt.date) -> tuple[pl.DataFrame, list[Finding]]:
    """Cut trades to the rows on the New York day, and say what is to be said of the others."""
    instants = read_instants(trades, "sip_timestamp")
    start, end = day_bounds_ns(session_date, session_date)
    is_inside = (instants >= start) & (instants < end)
    outside = int((~is_inside).sum())
    if not outside:
        return trades, []
    midnight = dt.datetime(session_date.year, session_date.month, session_date.day, tzinfo=dt.UTC)
    utc_ns = int(midnight.timestamp()) * NS
    is_utc_day = ((instants >= utc_ns) & (instants < utc_ns + 24 * 3600 * NS)).all()
    message = f"{outside} of {trades.height} rows lie outside the New York day {session_date}"
    kind = FindingKind.UTC_DAY if is_utc_day else FindingKind.WRONG_DAY
    return trades.filter(is_inside), [Finding(kind, f"{message}; they are left out")]


def _frame_bar(trades: pl.DataFrame, bar: Mapping[str, object] | None) -> pl.DataFrame:
    key = trades.select(DAILY_BARS.key).head(1)
    values = {name: [(bar or {}).get(name)] for name in _BAR_VALUES}
    return pl.concat([key, pl.DataFrame(values, _BAR_VALUES)], how="horizontal")


def _look_at_facts(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what the rows of the whole session say without any bar."""
    if absent := [phase for phase in EXPECTED_PHASES if not facts[f"{phase}_rows"]]:
        yield Finding(FindingKind.PHASES_ABSENT, f"no trades in {', '.join(absent)}")
    if facts["exact_duplicates"]:
        message = f"{facts['exact_duplicates']} rows repeat an earlier one in every column"
        yield Finding(FindingKind.REPEATED_ROWS, message)


def _compare_bar(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield every difference from the daily bar, or that there is nothing to compare with."""
    if facts["bar_volume"] is None or facts["bar_trade_count"] is None:
        lacking = "daily bar" if facts["bar_volume"] is None else "number of trades in the bar"
        yield Finding(FindingKind.NO_BAR, f"no {lacking} is known: nothing says what is missing")
    if facts["volume_residual"]:
        message = f"{facts['volume']:.10g} shares, the daily bar has {facts['bar_volume']:.10g}"
        yield Finding(FindingKind.VOLUME_DIFFERS, message)
    if facts["count_residual"]:
        message = f"{facts['trade_count']} trades, the daily bar has {facts['bar_trade_count']}"
        yield Finding(FindingKind.COUNT_DIFFERS, message)
    if facts["price_outside_rows"] > PRICES_OUTSIDE_SHARE * facts["high_low_rows"]:
        message = (
            f"{facts['price_outside_rows']} of {facts['high_low_rows']} prices lie outside the "
            f"daily bar's {facts['bar_low']:g} to {facts['bar_high']:g}: another scale"
        )
        yield Finding(FindingKind.PRICES_OUTSIDE, message)


def _compare_prices(trades: pl.DataFrame, bars: pl.DataFrame) -> Iterator[Finding]:
    """Yield the prices of the daily bar that the trades do not make."""
    for row in compare_prices(trades, bars).iter_rows(named=True):
        figure, tape, bar = row["figure"], row["tape_price"], row["bar_price"]
        if bar is None:
            yield Finding(FindingKind.NO_BAR, f"no {figure} in the daily bar is known")
            continue
        kind = FindingKind.VWAP_DIFFERS if figure == "vwap" else FindingKind.PRICES_DIFFER
        yield Finding(kind, f"the trades make {figure} {tape:.10g}, the daily bar has {bar:.10g}")
