"""What is made from the lake and made again when it is lost: the ledger and the catalog.

Does not belong here: how either is written (``lake.ledger``, ``lake.reading.catalog``).
"""

import logging
from dataclasses import asdict

from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import (
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)


def ensure_indexed(lakehouse: Lakehouse) -> None:
    """Miss a disk that is not mounted; rebuild a ledger that was lost, from receipts and plan.

    Raises:
        LakeError: A receipt cannot be read.
        MissingPartitionError: No plan is published.
        StorageError: A disk of the lake is not mounted.
    """
    _ = lakehouse.layout
    ledger = lakehouse.ledger
    if ledger.is_indexed and ledger.is_compared:
        return
    record_published_plan(lakehouse)
    facts = ledger.reindex(lakehouse.sessions.iter_receipts(), lakehouse.sessions.iter_unproven())
    logger.info("ledger indexed receipts=%d", facts.receipts)


def record_published_plan(lakehouse: Lakehouse) -> None:
    """Tell the ledger of the published plan, which nobody replaces meanwhile.

    Raises:
        MissingPartitionError: No plan is published.
        PartitionConflictError: Another process publishes or registers one for too long.
    """
    _ = lakehouse.tables.read_plan()
    with lakehouse.planning("indexing the plan"):
        _, plan = lakehouse.tables.read_plan()
        lakehouse.ledger.record_plan(plan, lakehouse.tables.read_not_yet_available())


def refresh_catalog(lakehouse: Lakehouse) -> dict[str, Number]:
    """Rebuild the DuckDB catalog and put it in place of the old one; return its facts.

    Raises:
        PartitionConflictError: Another process builds it, and does not come to an end.
    """
    facts = build_catalog(lakehouse.layout, lakehouse.fs)
    return asdict(facts)


def refresh_catalog_if_free(lakehouse: Lakehouse) -> None:
    """Rebuild the catalog likewise, unless another process builds it right now."""
    try:
        build_catalog(lakehouse.layout, lakehouse.fs, wait_s=0.0)
    except PartitionConflictError as error:
        logger.info("catalog left to another process: %s", error)


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
    """Refuse a lake with receipts whose ledger does not know them.

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
            "from the receipts: `smallcaps reindex`"
        )
