"""What a trade, a file and a request cost on this lake.

What belongs here: the default, and how it learns from what landed.  What does not: how many
trades a session holds (``expectations``) and what a plan costs (``estimates``).
"""

from dataclasses import replace

import polars as pl

from smallcaps_assets.core.budget.calibration import (
    DEFAULT_BYTES_PER_TRADE,
    DEFAULT_LATENCY_S,
    REPLAY_BYTES_PER_TRADE,
    Calibration,
    fit_bytes_per_trade,
)
from smallcaps_assets.core.budget.purposes import Purpose, Spending
from smallcaps_assets.core.progress.pace import ROWS_PER_REQUEST, SESSIONS_PER_REQUEST, measure_pace
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.budget.expectations import read_stored
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.roots.placement import measure_free
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import Source

MIN_REQUESTS = 30
"""Requests of the plan that must have been answered before they say what a page takes."""


def default_calibration(lakehouse: Lakehouse) -> Calibration:
    """Return what things cost before anything has landed."""
    settings = lakehouse.settings
    is_emulated = settings.resolved_source is Source.EMULATOR
    is_replay = is_emulated and settings.emulator_replay is not None
    return Calibration(
        bytes_per_trade=REPLAY_BYTES_PER_TRADE if is_replay else DEFAULT_BYTES_PER_TRADE,
        page_limit=settings.page_limit,
        requests_per_minute=settings.requests_per_minute,
        request_s=DEFAULT_LATENCY_S / settings.workers,
    )


def calibrate(lakehouse: Lakehouse, stored: pl.DataFrame | None = None) -> Calibration:
    """Return what things cost, from this lake as far as it shows.

    Args:
        lakehouse: Its settings give page size and rate, its ledger what requests took.
        stored: As ``expectations.read_stored`` gives it; read when it is not given.
    """
    landed = read_stored(lakehouse) if stored is None else stored
    default = default_calibration(lakehouse)
    return _learn_requests(lakehouse, learn_sizes(default, landed))


def learn_sizes(default: Calibration, landed: pl.DataFrame) -> Calibration:
    """Return a calibration with the sizes of files that landed.

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


def _learn_requests(lakehouse: Lakehouse, before: Calibration) -> Calibration:
    """Return a calibration with what requests, trades and sessions took lately.

    A pace under a limit of requests says nothing of what is done under another one.
    """
    if not before.learned_sessions:
        return before
    try:
        with LedgerReader(lakehouse.layout.ledger_file) as ledger:
            spent = sum(ledger.spending().get(Purpose.PLAN, ()), start=Spending())
            pulse, steps = ledger.pulse(), ledger.recent_steps()
    except MissingPartitionError:
        return before
    after = before
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


def free_bytes(lakehouse: Lakehouse) -> int:
    """Return the free bytes of the disks that take new sessions, before the lake is there as well.

    Raises:
        StorageError: A disk is gone.
    """
    listed = lakehouse.settings.lake_roots
    folders = listed or [root.folder for root in lakehouse.layout.roots]
    return measure_free(lakehouse.fs, folders)
