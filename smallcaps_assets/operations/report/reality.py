"""Estimate against reality: what was promised of the sessions that landed, and what they are.

Each session is held against the newest estimate that was made before it landed, so an estimate is
never judged by what it learned from.  What does not belong here: making estimates
(``ingest.budget.estimates``).
"""

from collections.abc import Sequence

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration, size_expression
from smallcaps_assets.core.documents import convert_fields
from smallcaps_assets.ingest.budget.estimate_history import EstimateEntry
from smallcaps_assets.ingest.budget.expectations import KEY, STORED, label_sessions
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.operations.report.document import EstimateAndReality, RealityRow
from smallcaps_assets.operations.report.history import History
from smallcaps_assets.schemas import INSTANT

_SUMS = (
    "sessions",
    "estimated_rows",
    "rows",
    "estimated_bytes",
    "bytes",
    "estimated_requests",
    "requests",
)


def measure_reality(
    history: History, plan: pl.DataFrame, tables: TableStore, default: Calibration
) -> EstimateAndReality:
    """Hold what landed against what was estimated of it, by ``default`` before any estimate."""
    landed = history.receipts.join(plan, on=KEY, how="semi")
    # What landed must not teach its own estimate.
    labelled = label_sessions(tables, landed, STORED.to_frame())
    sized = _label_sizes(labelled, history.estimates, default)
    by_cell = _count_sessions(sized).join(
        history.requests_by_cell, on=["ticker", "year"], how="left", validate="1:1"
    )
    return EstimateAndReality(
        total=_sum_up(by_cell)[0],
        by_ticker=_sum_up(by_cell, "ticker"),
        by_year=_sum_up(by_cell, "year"),
    )


def _label_sizes(
    labelled: pl.DataFrame, entries: Sequence[EstimateEntry], default: Calibration
) -> pl.DataFrame:
    """Add ``estimated_bytes`` by the costs that were assumed when each session landed."""
    made = pl.Series([entry.made_at.replace(tzinfo=None) for entry in entries], dtype=pl.Datetime)
    costs = pl.DataFrame(
        {
            "made_at": made.dt.replace_time_zone("UTC").cast(INSTANT),
            "bytes_per_trade": pl.Series([e.bytes_per_trade for e in entries], dtype=pl.Float64),
            "file_bytes": pl.Series([e.file_bytes for e in entries], dtype=pl.Float64),
        }
    ).sort("made_at")
    matched = labelled.sort("committed_timestamp").join_asof(
        costs, left_on="committed_timestamp", right_on="made_at", strategy="backward"
    )
    trades = pl.col("bytes_per_trade").fill_null(default.bytes_per_trade)
    file = pl.col("file_bytes").fill_null(default.file_bytes)
    rows = pl.col("estimated_rows")
    size = size_expression(rows, (rows > 0).cast(pl.Int64), trades, file)
    return matched.with_columns(estimated_bytes=size.ceil().cast(pl.Int64))


def _count_sessions(sized: pl.DataFrame) -> pl.DataFrame:
    """Count sessions, rows and bytes by ticker and year."""
    return sized.group_by("ticker", year=pl.col("session_date").dt.year()).agg(
        pl.len().cast(pl.Int64).alias("sessions"),
        pl.col("estimated_rows", "rows", "estimated_bytes", "bytes").sum(),
    )


def _sum_up(by_cell: pl.DataFrame, *grain: str) -> list[RealityRow]:
    """Sum up by some columns, sorted by them; without any in one row."""
    sums = pl.col(_SUMS).fill_null(0).sum()
    table = by_cell.group_by(grain).agg(sums).sort(grain) if grain else by_cell.select(sums)
    ratio = (pl.col("estimated_bytes") / pl.col("bytes") - 1).fill_nan(None)
    rows = table.with_columns(bytes_error_ratio=ratio.replace(float("inf"), None))
    return convert_fields(rows.to_dicts(), list[RealityRow])
