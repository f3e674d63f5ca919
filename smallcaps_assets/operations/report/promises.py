"""What the newest estimate promised of what landed, so that a verdict can be met, and lifted again.

What landed after the newest estimate is held against it.  An estimate that was made by what
landed has nothing after it yet: then each half of what landed is held against what the other
half foretells of it, by the same method.  So a new estimate lifts a verdict where it is better,
and only there.

What does not belong here: making estimates (``ingest.budget.estimates``), and what follows
(``core.progress.expansion``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration, size_expression
from smallcaps_assets.core.budget.purposes import Purpose, Spending
from smallcaps_assets.core.progress.expansion import BEFORE, Basis, Promise
from smallcaps_assets.ingest.budget.calibration import learn_sizes
from smallcaps_assets.ingest.budget.estimate_history import EstimateEntry
from smallcaps_assets.ingest.budget.expectations import KEY, STORED, label_sessions
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.operations.report.history import History

ENOUGH: Final = 30
"""Sessions, or requests, after an estimate that say by themselves how good it was."""
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Promises:
    """What was promised of what landed.

    Attributes:
        metrics: ``success.METRICS`` beside what came, those that are known.
        hours: Hours of the runs that are judged; ``None``: none is timed.
        basis: What they are held against.
    """

    metrics: Mapping[str, Promise] = field(default_factory=dict)
    hours: Promise | None = None
    basis: Basis = BEFORE


def measure_promises(history: History, tables: TableStore, default: Calibration) -> Promises:
    """Hold trades, bytes, requests and hours of what was fetched against what was promised.

    Nothing without an estimate on record, or before anything landed.  Imported sessions cost no
    request and were promised none.  Requests and hours are lacking where the attempts are lost.
    """
    fetched = history.receipts.filter(pl.col("requests") > 0).select(
        *STORED.names(), "committed_timestamp"
    )
    if fetched.is_empty() or not history.estimates:
        return Promises()
    newest = history.estimates[-1]
    is_after = pl.col("committed_timestamp") > newest.made_at
    before, after = fetched.filter(~is_after), fetched.filter(is_after)
    is_learned = before.height > 0
    judged = fetched if after.height < ENOUGH else after
    if is_learned and judged is fetched:
        sums = _foretell_halves(tables, fetched, default)
        basis = _describe_halves(newest, fetched.height)
    else:
        sums = _foretell(tables, judged, before, newest.restore())
        basis = _describe_after(newest, judged.height) if is_learned else BEFORE
    rows, size = judged.select(pl.col("rows", "bytes").sum()).row(0)
    metrics = {"trades": Promise(sums[0], rows), "bytes": Promise(sums[1], size)}
    if (requests := _promise_requests(history, newest, is_learned=is_learned)) is not None:
        metrics["requests"] = requests
    return Promises(metrics, _promise_hours(history, newest), basis)


def _foretell(
    tables: TableStore, sessions: pl.DataFrame, teachers: pl.DataFrame, sizes: Calibration
) -> tuple[float, float]:
    """Foretell the trades and bytes that sessions were to have.

    Args:
        tables: Where bars are.
        sessions: ``ticker, session_date`` and more.
        teachers: ``STORED`` of what had landed before: it shows what shares stand for.
        sizes: What a trade and a file were taken to cost.
    """
    labelled = label_sessions(tables, sessions.select(KEY), teachers.select(STORED.names()))
    rows = pl.col("estimated_rows")
    size = size_expression(
        rows,
        (rows > 0).cast(pl.Int64),
        pl.lit(sizes.bytes_per_trade),
        pl.lit(sizes.file_bytes),
    )
    told = labelled.select(rows=rows.sum(), bytes=size.sum()).row(0)
    return float(told[0] or 0), float(told[1] or 0)


def _foretell_halves(
    tables: TableStore, fetched: pl.DataFrame, default: Calibration
) -> tuple[float, float]:
    """Foretell each half of the sessions from the other one, every second in turn."""
    numbered = fetched.with_row_index("place")
    halves = [numbered.filter(pl.col("place") % 2 == half) for half in (0, 1)]
    told = [
        _foretell(tables, half, other, learn_sizes(default, other))
        for half, other in zip(halves, reversed(halves), strict=True)
        if half.height
    ]
    return sum(rows for rows, _ in told), sum(size for _, size in told)


def _promise_requests(
    history: History, newest: EstimateEntry, *, is_learned: bool
) -> Promise | None:
    """Pair foretold and actual requests of first askings; ``None``: none is on record."""
    after = sum(history.spending_since.get(Purpose.PLAN, ()), start=Spending())
    if after.expected and (after.expected >= ENOUGH or not is_learned):
        return Promise(after.expected * newest.requests_per_page, after.requests)
    halves = history.spending.get(Purpose.PLAN)
    if halves is None:
        return None
    told = halves[0].expected * halves[1].ratio + halves[1].expected * halves[0].ratio
    return Promise(told, halves[0].requests + halves[1].requests)


def _promise_hours(history: History, newest: EstimateEntry) -> Promise | None:
    """Pair hours foretold and taken by the runs since the newest estimate, else by all runs."""
    runs = history.runs
    after = runs.filter(pl.col("first_at") > newest.made_at)
    judged = after if after["seconds"].sum() else runs
    untimed = history.untimed_since if after.height else history.untimed
    if not judged["seconds"].sum() or untimed:
        return None
    costs = newest.restore()
    told = sum(
        costs.predict_seconds(requests, rows, sessions)
        for requests, rows, sessions in judged.select("requests", "rows", "sessions").iter_rows()
    )
    return Promise(told / _HOUR_S, float(judged["seconds"].sum()) / _HOUR_S)


def _describe_after(newest: EstimateEntry, count: int) -> Basis:
    return Basis(
        f"{count:,} sessions that landed after the newest estimate ({_tell(newest.made_at)}, by "
        f"{newest.learned_sessions:,} that had landed) against it",
        BEFORE.remedy,
    )


def _describe_halves(newest: EstimateEntry, count: int) -> Basis:
    return Basis(
        f"the newest estimate ({_tell(newest.made_at)}) was made by what landed, so each half of "
        f"{count:,} sessions is held against what the other half foretells",
        "sessions are too unlike for an estimate: expand by a smaller step, and look at the "
        "tickers that are furthest off below",
    )


def _tell(instant: dt.datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
