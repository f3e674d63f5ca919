"""How far a download is, from the ledger, the lock and the disk: cheap, and from any process."""

import datetime as dt
from dataclasses import asdict, dataclass

from smallcaps_assets.core.figures import MB
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.calibrating import free_bytes
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.lake.ledger_reader import LedgerReader
from smallcaps_assets.lake.states import GREEN, NOT_YET_AVAILABLE

RATE_WINDOW = dt.timedelta(minutes=5)
ERROR_WINDOW = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Status:
    """One look at a lake.

    Attributes:
        holder: Who downloads now; empty when nobody does.
        counts: Planned sessions by state.
        done: Green ones.
        left: The others, those not yet available left out.
        rows: Trades stored.
        bytes: Bytes stored.
        requests: Requests ever spent.
        free_bytes: Free on the lake's disk.
        window: Span of the rates.
        requests_per_min: Rate of requests.
        rows_per_min: Rate of trades.
        mb_per_min: Rate of stored bytes, MB.
        sessions_per_min: Rate of sessions.
        eta_h: Hours left at that rate; ``None`` when nothing happens or nothing is left.
        errors: Failures of the last hour by kind.
        retries: Retries of the last hour by kind, which cost time and nothing else.
        last_errors: The newest messages.
        last_commit_at: When something was last committed.
        coverage: ``ticker, year, planned, done``.
    """

    holder: str
    counts: dict[str, int]
    done: int
    left: int
    rows: int
    bytes: int
    requests: int
    free_bytes: int
    window: dt.timedelta
    requests_per_min: float
    rows_per_min: float
    mb_per_min: float
    sessions_per_min: float
    eta_h: float | None
    errors: dict[str, int]
    retries: dict[str, int]
    last_errors: list[str]
    last_commit_at: dt.datetime | None
    coverage: list[tuple[str, int, int, int]]

    def plain(self) -> dict[str, object]:
        """Return the status for JSON."""
        return asdict(self) | {"window": self.window.total_seconds()}


def measure_status(lakehouse: Lakehouse) -> Status:
    """Return how far the download is.

    Raises:
        MissingPartitionError: There is no ledger yet.
    """
    try:
        ledger = LedgerReader(lakehouse.layout.ledger_file)
    except MissingPartitionError as error:
        raise MissingPartitionError(
            f"nothing is planned in {lakehouse.layout.data_dir} yet: run `smallcaps plan`"
        ) from error
    with ledger:
        return _measure(lakehouse, ledger)


def _measure(lakehouse: Lakehouse, ledger: LedgerReader) -> Status:
    now = lakehouse.clock()
    counts, totals = ledger.counts(), ledger.totals()
    done = sum(count for state, count in counts.items() if state in GREEN)
    left = sum(counts.values()) - done - counts.get(NOT_YET_AVAILABLE, 0)
    recent = ledger.activity(now - RATE_WINDOW)
    begun = max(recent.first_at, now - RATE_WINDOW) if recent.first_at else now
    minutes = max((now - begun).total_seconds(), 1.0) / 60
    per_min = recent.sessions / minutes
    holder = lakehouse.lock.holder()
    errors = ledger.recent_errors(5)
    hour = ledger.activity(now - ERROR_WINDOW)
    return Status(
        holder=str(holder) if holder else "",
        counts=counts,
        done=done,
        left=left,
        rows=totals.rows,
        bytes=totals.bytes,
        requests=totals.requests,
        free_bytes=free_bytes(lakehouse),
        window=RATE_WINDOW,
        requests_per_min=recent.requests / minutes,
        rows_per_min=recent.rows / minutes,
        mb_per_min=recent.bytes / MB / minutes,
        sessions_per_min=per_min,
        eta_h=left / per_min / 60 if per_min and left else None,
        errors=hour.errors,
        retries=hour.counters,
        last_errors=[
            f"{row['ticker']} {row['first_session']}: {row['kind']}: {row['message']}"
            for row in errors.iter_rows(named=True)
        ],
        last_commit_at=recent.last_commit_at,
        coverage=list(ledger.coverage_by_year().iter_rows()),
    )
