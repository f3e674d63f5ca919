"""What a lake holds, and what a trade, a file and a request cost on it.

What belongs here: how the default learns from what landed.  What does not: how many trades a
session holds (``expectations``) and what a plan costs (``estimates``).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration, fit_bytes_per_trade
from smallcaps_assets.core.budget.purposes import Purpose, Spending
from smallcaps_assets.core.progress.pace import ROWS_PER_REQUEST, SESSIONS_PER_REQUEST, measure_pace
from smallcaps_assets.core.segments.indexing import spread_sessions
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.budget.expectations import KEY, STORED
from smallcaps_assets.lake.ledger.reader import LedgerReader

MIN_REQUESTS = 30
"""Requests of the plan that must have been answered before they say what a page takes."""
OWED = pl.Schema({"ticker": pl.String(), "session_date": pl.Date(), "state": pl.String()})


@dataclass(frozen=True, slots=True, eq=False)
class Holdings:
    """What a lake holds, and what that teaches of the rest.

    Attributes:
        costs: What a trade, a file and a request cost on this lake.
        stored: ``STORED`` of the sessions that the ledger lists, planned or not.
        owed: ``ticker, session_date, state`` of planned sessions that are not green.
        beside: Bits of all sessions, a row a month and ticker, where some are not listed.
    """

    costs: Calibration
    stored: pl.DataFrame = field(default_factory=STORED.to_frame)
    owed: pl.DataFrame = field(default_factory=OWED.to_frame)
    beside: pl.DataFrame | None = None

    def find_stored(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Find what is stored of some sessions; ``STORED``, of those not listed in the mean."""
        listed = self.stored.join(sessions, on=KEY, how="semi")
        if self.beside is None:
            return listed
        others = sessions.join(listed, on=KEY, how="anti")
        return pl.concat([listed, spread_sessions(others, self.beside)])


def read_holdings(ledger_file: Path, default: Calibration) -> Holdings:
    """Open the ledger for :func:`gather_holdings`; before the first download nothing is held.

    Nothing is written: a lake that is not there is not made.
    """
    try:
        with LedgerReader(ledger_file) as ledger:
            return gather_holdings(ledger, default)
    except MissingPartitionError:
        return Holdings(default)


def gather_holdings(ledger: LedgerReader, default: Calibration) -> Holdings:
    """Gather what is stored and what has failed, and learn costs from it.

    Args:
        ledger: The ledger, open.
        default: What is believed beforehand, with page size and rate.
    """
    stored = ledger.stored_sessions().select(STORED.names())
    owed = ledger.missing_keys().select(OWED.names())
    landed = pl.concat([stored.select("rows", "bytes"), ledger.plain_sizes()])
    beside = ledger.ticker_months() if landed.height > stored.height else None
    return Holdings(learn_costs(ledger, default, landed), stored, owed, beside)


def learn_costs(ledger: LedgerReader, default: Calibration, landed: pl.DataFrame) -> Calibration:
    """Learn what things cost from what landed, and from what downloads took lately.

    Args:
        ledger: The ledger, open.
        default: What is believed beforehand, with page size and rate.
        landed: ``rows, bytes`` of sessions.
    """
    return _learn_requests(ledger, learn_sizes(default, landed))


def learn_sizes(default: Calibration, landed: pl.DataFrame) -> Calibration:
    """Learn a calibration from the sizes of files that landed.

    Args:
        default: What is believed beforehand.
        landed: ``rows, bytes`` of sessions.
    """
    files = landed.filter(pl.col("rows") > 0)
    if files.is_empty():
        return default
    fit = fit_bytes_per_trade(files["rows"], files["bytes"], default)
    return replace(
        default,
        bytes_per_trade=fit.bytes_per_trade,
        file_bytes=fit.file_bytes,
        learned_sessions=landed.height,
    )


def _learn_requests(ledger: LedgerReader, before: Calibration) -> Calibration:
    """Calibrate by what requests, trades, sessions and runs took lately.

    A pace under a limit of requests says nothing of what is done under another one.
    """
    if not before.learned_sessions:
        return before
    spent = sum(ledger.spending().get(Purpose.PLAN, ()), start=Spending())
    pulse, steps = ledger.pulse(), [step.overlap_fully() for step in ledger.recent_steps()]
    after = before
    if overheads := ledger.recent_overheads():
        after = replace(after, start_s=fmean(overheads))
    if spent.expected >= MIN_REQUESTS:
        after = replace(after, requests_per_page=spent.ratio)
    pace = measure_pace(steps)
    if pulse is None or pace is None:
        return after
    if pulse.requests_per_minute not in (0, before.requests_per_minute):
        return after
    request_s = 1 / pace.cost_per_s
    return replace(
        after,
        request_s=request_s,
        row_s=request_s / ROWS_PER_REQUEST,
        session_s=request_s / SESSIONS_PER_REQUEST,
    )
