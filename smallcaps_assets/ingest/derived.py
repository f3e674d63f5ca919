"""What is made from the lake and made again when it is lost: the ledger and the catalog.

Does not belong here: how either is written (``lake.ledger``, ``lake.reading.catalog``).
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import (
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.upkeep.indexing import (
    Losses,
    keep_snapshot,
    list_stale_months,
    record_plan,
    refresh_months,
    reindex_segments,
)
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReindexFacts:
    """What a rebuild of the ledger found.

    Attributes:
        sessions: Sessions that are stored, whatever their bars say.
        unproven: Sessions that the ledger called stored and of which no record tells.
        lost: Keys of sessions that were proven once, and for which nothing stands any more.
    """

    sessions: int
    unproven: int
    lost: Sequence[str]


def ensure_indexed(lakehouse: Lakehouse) -> None:
    """Miss a disk that is not mounted; rebuild a ledger that was lost, from records and plan.

    Raises:
        LakeError: A record cannot be read.
        MissingPartitionError: No plan is published, neither of event windows nor of a universe.
        StorageError: A disk of the lake is not mounted.
    """
    _ = lakehouse.layout
    ledger = lakehouse.ledger
    if ledger.is_indexed and ledger.is_compared:
        refresh_ledger(lakehouse)
        return
    try:
        record_published_plan(lakehouse)
    except MissingPartitionError:
        if not lakehouse.tables.has_universe_plan():
            raise
    facts = index_stored(lakehouse)
    logger.info("ledger indexed sessions=%d lost=%d", facts.sessions, len(facts.lost))


def index_stored(lakehouse: Lakehouse) -> ReindexFacts:
    """Make what the ledger says of stored sessions equal to what is stored.

    What the ledger knew of records, and the last two snapshots, are witnesses of what is lost.

    Raises:
        LakeError: A record cannot be read; the ledger is unchanged.
    """
    ledger, store = lakehouse.ledger, lakehouse.sessions
    found = reindex_segments(ledger, store.lake)
    lost = _warn_of(found.losses, store, ledger)
    return ReindexFacts(found.sessions, found.unproven, lost)


def refresh_ledger(
    lakehouse: Lakehouse, months: Collection[str] | None = None, *, skips_damaged: bool = False
) -> None:
    """Bring the ledger to what the records say, where they are others.

    Records may have been copied in from another copy of the lake, be gone, or be told to nobody
    because their writer was killed.

    Args:
        lakehouse: The lake.
        months: Only these, whose folders are listed; all by default.
        skips_damaged: Leave the months of damaged records as the ledger knows them.

    Raises:
        LedgerMismatchError: A record is damaged; the ledger keeps what it knew of its month.
        StorageError: The storage refuses.
    """
    ledger, store = lakehouse.ledger, lakehouse.sessions
    stale = list_stale_months(ledger, store.lake, months)
    losses = refresh_months(ledger, store.lake, stale, skips_damaged=skips_damaged)
    _warn_of(losses, store, ledger)


def _warn_of(losses: Losses, store: SegmentStore, ledger: Ledger) -> list[str]:
    """Name what is lost, and let the answers that come settle it; return its keys."""
    store.note_lost(ledger.lost_proof())
    lost = losses.sessions.select(key_expression()).to_series().to_list()
    for key in lost:
        logger.warning("proof lost key=%s", key)
    return lost


def record_published_plan(lakehouse: Lakehouse) -> None:
    """Tell the ledger of the published plan, which nobody replaces meanwhile.

    Raises:
        MissingPartitionError: No plan is published.
        PartitionConflictError: Another process publishes or registers one for too long.
    """
    _ = lakehouse.tables.read_plan()
    with lakehouse.planning("indexing the plan"):
        _, plan = lakehouse.tables.read_plan()
        waiting = lakehouse.tables.read_not_yet_available()
        record_plan(lakehouse.ledger, lambda: lakehouse.sessions.lake, plan, waiting)


def refresh_catalog(lakehouse: Lakehouse) -> dict[str, Number]:
    """Rebuild the DuckDB catalog and put it in place of the old one; return its facts.

    Raises:
        PartitionConflictError: Another process builds it, and does not come to an end.
    """
    facts = build_catalog(lakehouse.layout, lakehouse.fs)
    publish_snapshot(lakehouse)
    return asdict(facts)


def refresh_catalog_if_free(lakehouse: Lakehouse) -> None:
    """Rebuild the catalog likewise, unless another process builds it right now."""
    try:
        build_catalog(lakehouse.layout, lakehouse.fs, wait_s=0.0)
        publish_snapshot(lakehouse)
    except PartitionConflictError as error:
        logger.info("catalog left to another process: %s", error)


def publish_snapshot(lakehouse: Lakehouse) -> None:
    """Keep a witness of the records, as the ledger knows them.

    One that cannot be written because a record is damaged leaves those that are there.

    Raises:
        StorageError: The storage refuses.
    """
    if not lakehouse.home.ledger_file.is_file():
        return
    try:
        keep_snapshot(lakehouse.ledger, lakehouse.sessions.lake)
    except LedgerMismatchError as error:
        logger.warning("snapshot not written: %s", error)


def require_lake(layout: LakeLayout) -> None:
    """Refuse a folder without any trace of a lake: what looks at one would begin it.

    Raises:
        MissingPartitionError: There is none, neither here nor on a disk that is not mounted.
    """
    lake = layout.lake_dir
    if not layout.roots_file.exists() and not (lake.is_dir() and any(lake.iterdir())):
        raise MissingPartitionError(
            f"there is no lake in {layout.data_dir} yet: run `smallcaps plan`"
        )


def require_ledger(lakehouse: Lakehouse) -> None:
    """Refuse a lake with records whose ledger does not know them.

    Raises:
        LedgerMismatchError: The ledger was lost; what is stored would read as missing.
        MissingPartitionError: Nothing was ever planned.
    """
    layout = lakehouse.layout
    if layout.ledger_file.is_file():
        if lakehouse.ledger.is_indexed:
            return
    elif not layout.identity_file.is_file():
        # Asking the store would make a lake.
        raise MissingPartitionError(
            f"nothing is planned in {layout.data_dir} yet: run `smallcaps plan`"
        )
    if next(lakehouse.sessions.iter_receipts(damages=[]), None) is not None:
        raise LedgerMismatchError(
            f"{layout.ledger_file} does not know what is stored: the ledger was lost; rebuild it "
            "from the records: `smallcaps reindex`"
        )
