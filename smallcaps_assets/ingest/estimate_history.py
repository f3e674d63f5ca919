"""The estimates that were made, one line each, so that reality can be held against them.

What belongs here: the file of estimates.  What does not: the comparison (``reality``).
"""

import datetime as dt

import msgspec

from smallcaps_assets.core.decoding import DECODER_FAULTS, name_fault
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.ingest.estimating import PlanEstimate
from smallcaps_assets.ingest.lakehouse import Lakehouse


class EstimateEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What was known and promised when a plan was estimated.

    Attributes:
        made_at: When.
        plan_hash: Hash of the plan.
        bytes_per_trade: Stored bytes that grow with the trades.
        file_bytes: Stored bytes of a file whatever its trades.
        ticker_sessions: Sessions of the plan.
        requests: Requests of the whole plan.
        bytes_stored: Bytes of the whole plan.
    """

    made_at: dt.datetime
    plan_hash: str
    bytes_per_trade: float
    file_bytes: float
    ticker_sessions: int
    requests: int
    bytes_stored: int


def record_estimate(lakehouse: Lakehouse, estimate: PlanEstimate) -> EstimateEntry:
    """Add an estimate to the history and return its entry.

    Raises:
        MissingPartitionError: No plan is published.
        StorageError: The disk refuses.
    """
    record, _ = lakehouse.tables.read_plan()
    entry = EstimateEntry(
        made_at=lakehouse.clock(),
        plan_hash=record.plan_hash,
        bytes_per_trade=estimate.calibration.bytes_per_trade,
        file_bytes=estimate.calibration.file_bytes,
        ticker_sessions=estimate.calibrated.ticker_sessions,
        requests=estimate.calibrated.requests,
        bytes_stored=estimate.calibrated.bytes_stored,
    )
    lines = [msgspec.json.encode(one) for one in [*read_estimates(lakehouse), entry]]
    content = b"\n".join([*lines, b""])
    layout = lakehouse.layout
    lakehouse.fs.publish({layout.estimates_file: content}, root=layout.data_dir)
    return entry


def read_estimates(lakehouse: Lakehouse) -> list[EstimateEntry]:
    """Return the estimates that were made, the oldest first.

    Raises:
        LedgerMismatchError: The file was edited or is damaged.
    """
    path = lakehouse.layout.estimates_file
    try:
        lines = lakehouse.fs.read(path).splitlines()
        return [msgspec.json.decode(line, type=EstimateEntry) for line in lines]
    except MissingPartitionError:
        return []
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{path} is no history of estimates ({name_fault(error)}): restore it, or remove it to "
            "begin anew"
        ) from error
