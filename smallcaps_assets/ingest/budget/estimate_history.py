"""The estimates that were made, one line each, so that reality can be held against them.

What belongs here: the file of estimates. What does not: the comparison
(``operations.report.reality``).
"""

import datetime as dt
from typing import Final

import msgspec

from smallcaps_assets.core.budget.calibration import (
    DEFAULT_LATENCY_S,
    DEFAULT_ROW_S,
    DEFAULT_SESSION_S,
    Calibration,
)
from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.ingest.budget.estimates import PlanEstimate
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.store import TableStore

COSTS: Final = (
    "bytes_per_trade",
    "file_bytes",
    "requests_per_page",
    "request_s",
    "row_s",
    "session_s",
    "start_s",
    "requests_per_minute",
    "learned_sessions",
)
"""What an entry keeps of a calibration."""


class EstimateEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What was known and promised when a plan was estimated.

    Attributes:
        made_at: When.
        plan_hash: Hash of the plan.
        bytes_per_trade: Stored bytes that grow with the trades.
        file_bytes: Stored bytes of a file with hardly any trade.
        ticker_sessions: Sessions of the plan.
        requests: Requests of the whole plan.
        bytes_stored: Bytes of the whole plan.
        rows: Trades of the whole plan; 0: an earlier version did not tell.
        missing_sessions: Sessions that were missing then; 0: none, or nobody told.
        missing_requests: Requests for them.
        missing_rows: Their trades.
        missing_bytes_on_disk: What they take on the disks.
        missing_runs: Runs that fetch them.
        requests_per_page: Requests that a page takes.
        request_s: Seconds that a download takes for a request.
        row_s: The same for a trade.
        session_s: The same for a session.
        start_s: Seconds of every run besides; 0: an earlier version did not count them.
        requests_per_minute: Limit of requests; 0: there was none.
        learned_sessions: Sessions that landed before and taught it.
    """

    made_at: dt.datetime
    plan_hash: str
    bytes_per_trade: float
    file_bytes: float
    ticker_sessions: int
    requests: int
    bytes_stored: int
    rows: int = 0
    missing_sessions: int = 0
    missing_requests: int = 0
    missing_rows: int = 0
    missing_bytes_on_disk: int = 0
    missing_runs: int = 1
    requests_per_page: float = 1.0
    request_s: float = DEFAULT_LATENCY_S
    row_s: float = DEFAULT_ROW_S
    session_s: float = DEFAULT_SESSION_S
    start_s: float = 0.0
    requests_per_minute: float = 0.0
    learned_sessions: int = 0

    def restore(self) -> Calibration:
        """Restore what was taken to cost what."""
        return Calibration(**{name: getattr(self, name) for name in COSTS})


def record_estimate(
    tables: TableStore, estimate: PlanEstimate, made_at: dt.datetime
) -> EstimateEntry:
    """Add an estimate of the published plan to the history and return its entry.

    Raises:
        MissingPartitionError: No plan is published.
        StorageError: The disk refuses.
    """
    record, _ = tables.read_plan()
    entry = EstimateEntry(
        made_at=made_at,
        plan_hash=record.plan_hash,
        ticker_sessions=estimate.calibrated.ticker_sessions,
        requests=estimate.calibrated.requests,
        bytes_stored=estimate.calibrated.bytes_stored,
        rows=estimate.calibrated.rows,
        missing_sessions=estimate.remaining.ticker_sessions,
        missing_requests=estimate.remaining.requests,
        missing_rows=estimate.remaining.rows,
        missing_bytes_on_disk=estimate.remaining.bytes_on_disk,
        missing_runs=estimate.remaining.runs,
        **{name: getattr(estimate.calibration, name) for name in COSTS},
    )
    lines = [msgspec.json.encode(one) for one in [*read_estimates(tables.layout, tables.fs), entry]]
    content = b"\n".join([*lines, b""])
    layout = tables.layout
    tables.fs.publish({layout.estimates_file: content}, root=layout.data_dir)
    return entry


def read_estimates(layout: LakeLayout, fs: FileSystem) -> list[EstimateEntry]:
    """Read the estimates that were made, the oldest first.

    Raises:
        LedgerMismatchError: The file was edited or is damaged.
    """
    path = layout.estimates_file
    try:
        lines = fs.read(path).splitlines()
        return [decode_json(line, EstimateEntry) for line in lines]
    except MissingPartitionError:
        return []
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{path} is no history of estimates ({name_fault(error)}): restore it, or remove it to "
            "start over"
        ) from error
