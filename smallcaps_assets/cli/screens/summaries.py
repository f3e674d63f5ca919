"""Words and tables on the screen: what landed, what failed, verdicts, places."""

import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from smallcaps_assets.cli.endings import point_to
from smallcaps_assets.core.figures import format_bytes, format_count
from smallcaps_assets.core.keys import encode_key, key_expression
from smallcaps_assets.core.states import COMPLETE
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lakehouse import Lakehouse

SHOWN_FAILURES = 20


def print_landed(lakehouse: Lakehouse, console: Console) -> None:
    """Print what the lake holds now."""
    totals, counts = lakehouse.ledger.totals(), lakehouse.ledger.counts()
    states = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    console.print(
        f"planned sessions: {states or 'none'}; stored: "
        f"{format_count(totals.sessions, 'session')}, {format_count(totals.rows, 'trade')}, "
        f"{format_bytes(totals.bytes)}, {format_count(totals.requests, 'request')}",
        highlight=False,
    )


def print_revisions(revisions: pl.DataFrame, console: Console) -> None:
    """List the answers that differed from what was stored, the newest first."""
    if revisions.is_empty():
        return
    differ = "answer differs" if revisions.height == 1 else "answers differ"
    title = f"{revisions.height:,} {differ} from what was stored; both are kept"
    where = Column("the other lies in", overflow="fold")
    table = Table("session", "stored", "came", "which counts", where, title=title)
    for row in revisions.head(SHOWN_FAILURES).iter_rows(named=True):
        table.add_row(
            encode_key(row["ticker"], row["session_date"]),
            format_count(row["old_rows"], "trade"),
            format_count(row["new_rows"], "trade"),
            "what came" if row["counts"] == "new" else "what was stored",
            escape(row["folder"]),
        )
    console.print(table)


def print_marks(lakehouse: Lakehouse, keys: Collection[str], console: Console) -> None:
    """Say what daily bars leave open, and name those of some sessions that settled all the same."""
    marks = lakehouse.ledger.marks()
    if not marks:
        return
    listed = ", ".join(f"{count:,} {mark}" for mark, count in marks.items())
    console.print(f"daily bars: {listed}", highlight=False)
    key, worst = key_expression(), pl.max_horizontal("volume_deficit", "count_deficit")
    settled = (
        lakehouse.ledger.deficits()
        .filter(pl.col("state") == COMPLETE, worst > 0)
        .select(key, worst=worst)
        .filter(pl.col("key").is_in(list(keys)))
    )
    if settled.is_empty():
        return
    shown = [f"{name} ({share:.2%})" for name, share in settled.head(SHOWN_FAILURES).iter_rows()]
    more = settled.height - len(shown)
    console.print(
        f"complete although the daily bar has more: {', '.join(shown)}"
        + (f", and {more:,} more: smallcaps audit lists them" if more else ""),
        highlight=False,
        soft_wrap=True,
    )


def print_failures(lakehouse: Lakehouse, console: Console) -> None:
    """List the sessions that stay open, by kind."""
    failed = lakehouse.ledger.failed_sessions()
    if failed.is_empty():
        return
    kinds = failed["error_kind"].value_counts(sort=True)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.iter_rows())
    table = Table("session", "kind", "why", title=f"failed: {listed}")
    for row in failed.head(SHOWN_FAILURES).iter_rows(named=True):
        table.add_row(row["key"], row["error_kind"], escape(str(row["error_message"])))
    console.print(table)
    if failed.height > SHOWN_FAILURES:
        console.print(f"and {failed.height - SHOWN_FAILURES:,} more; smallcaps status lists kinds")
    _print_pointer("operations#kinds-of-failure-and-what-to-do", console)


def print_verdicts(verdicts: Mapping[str, Verdict], console: Console) -> None:
    """Print each check with its verdict, numbers and first offenders."""
    table = Table("check", "verdict", "what was found")
    for name, verdict in verdicts.items():
        bad = "[yellow]look[/]" if verdict.is_warning else "[red]FAILED[/]"
        word = "[green]passed[/]" if verdict.passed else bad
        table.add_row(name, word, escape(verdict.summary))
    console.print(table)
    for name, verdict in verdicts.items():
        if not verdict.passed and verdict.offenders.height:
            _print_offenders(name, verdict, console)
    if not all(verdict.passed for verdict in verdicts.values()):
        _print_pointer("operations#checks-and-what-to-do", console)


def _print_pointer(page: str, console: Console) -> None:
    console.print(point_to(page), highlight=False, soft_wrap=True)


def _print_offenders(name: str, verdict: Verdict, console: Console) -> None:
    found = format_count(verdict.offenders.height, "offender")
    table = Table(*verdict.offenders.columns, title=f"{name}: {found}")
    for row in verdict.offenders.head(SHOWN_FAILURES).iter_rows():
        table.add_row(*(escape(str(value)) for value in row))
    console.print(table)


def print_places(lakehouse: Lakehouse, console: Console) -> None:
    """Print where lake and catalog are, and the next three commands."""
    folder = shlex.quote(shorten(lakehouse.layout.data_dir))
    catalog = shlex.quote(shorten(lakehouse.layout.catalog_file))
    query = "SELECT trading_phase, count(*) AS trades FROM trades GROUP BY ALL"
    python = f'import duckdb; print(duckdb.connect({catalog!r}, read_only=True).sql("{query}"))'
    console.print(f"lake     {shorten(lakehouse.layout.lake_dir)}", highlight=False, soft_wrap=True)
    console.print(f"catalog  {catalog}", highlight=False, soft_wrap=True)
    console.print("next:", highlight=False)
    for text in (
        "make dev                                   # Dagster's UI on http://localhost:3000",
        f"SMALLCAPS_SOURCE=emulator SMALLCAPS_DATA_DIR={folder} {_command()} status",
        f"{sys.executable if _is_foreign() else '.venv/bin/python'} -c {shlex.quote(python)}",
    ):
        console.print(f"  {text}", highlight=False, soft_wrap=True, markup=False)


def shorten(path: Path) -> str:
    """Shorten a path to a relative one where it lies below the working folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _is_foreign() -> bool:
    """Say whether this program runs from another environment than the checkout's own."""
    return not Path(sys.prefix).is_relative_to(Path.cwd())


def _command() -> str:
    return "smallcaps" if _is_foreign() else ".venv/bin/smallcaps"
