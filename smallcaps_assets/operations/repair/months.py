"""Damaged month files: found, kept as evidence, and rewritten from what is proven.

What belongs here: repair and audit of compacted months. What does not: sessions that are lost with
them (``sessions``, which moves those first), and finding the damage (``lake.months.sessions``).
"""

import datetime as dt
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.errors import DataError, MissingPartitionError, StorageError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.months.sessions import MonthDamage, find_month_damages
from smallcaps_assets.lake.months.store import MonthStore
from smallcaps_assets.lake.sessions.quarantine import EVIDENCE_NAME, quarantine_copies
from smallcaps_assets.lake.storage.disk_errors import is_broken
from smallcaps_assets.lake.store import LakeStore
from smallcaps_assets.operations.compaction.months import judge_months, write_month

logger = logging.getLogger(__name__)

DAMAGE_COLUMNS: Final = pl.Schema(
    {"ticker": pl.String, "session_date": pl.Date, "kind": pl.String, "message": pl.String}
)
"""What is wrong with a session, as audits list it."""


def find_damaged_months(months: MonthStore, workers: int) -> list[MonthDamage]:
    """Read every byte of all compacted months, and return everything that is wrong.

    Raises:
        StorageError: The disk refuses for a reason that is no damage.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="months") as pool:
        found = pool.map(partial(find_month_damages, months), months.list_months())
        return [damage for damages in found for damage in damages]


def frame_month_damages(damages: Sequence[MonthDamage]) -> pl.DataFrame:
    """Frame damages of months by session, as those of landing files.

    A damage that left the rows of every session whole has a row without a ticker.
    """
    rows = [
        (ticker, session_date, damage.kind.value, f"{damage.month}/{damage.file}: {damage.message}")
        for damage in damages
        for ticker, session_date in damage.sessions or [(None, None)]
    ]
    return pl.DataFrame(rows, schema=DAMAGE_COLUMNS, orient="row")


def rebuild_months(
    ledger: LedgerReader,
    store: LakeStore,
    bounds: PlanBounds,
    damages: Sequence[MonthDamage],
    found_at: dt.datetime,
) -> list[Path]:
    """Keep damaged files as evidence, and write their months again; return where they lie now.

    Sessions whose rows are nowhere have to be out of the ledger already.  A month that is not
    complete is written all the same: what it held may lie nowhere else.  One that cannot be
    written, because the ledger is behind the receipts, stays for the next repair.

    Raises:
        StorageError: The disk refuses; the next call continues.
    """
    by_month: dict[str, list[MonthDamage]] = {}
    for damage in damages:
        by_month.setdefault(damage.month, []).append(damage)
    kept = [_keep_evidence(store, found, found_at) for found in by_month.values()]
    for facts in judge_months(ledger, store, bounds, sorted(by_month)):
        try:
            write_month(store, facts, found_at)
        except (DataError, MissingPartitionError) as error:
            logger.warning("month not rewritten month=%s error=%s", facts.month, error)
            continue
        logger.warning("month rewritten month=%s", facts.month)
    return kept


def _keep_evidence(store: LakeStore, damages: Sequence[MonthDamage], found_at: dt.datetime) -> Path:
    """Copy the damaged files of a month to quarantine, as far as they can be read."""
    month = damages[0].month
    evidence = {
        "found_at": found_at,
        "damages": [(damage.file, damage.kind.value, damage.message) for damage in damages],
    }
    contents = {EVIDENCE_NAME: msgspec.json.format(msgspec.json.encode(evidence))}
    root = store.layout.find_month(month) or store.layout.roots[0]
    for damage in damages:
        path = root.month_dir(month) / damage.file
        try:
            if path.is_file():
                contents[path.name] = store.fs.read(path)
        except StorageError as error:
            if not is_broken(error):
                raise
    return quarantine_copies(store.fs, root, root.month_quarantine_folder(month), contents)
