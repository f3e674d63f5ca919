"""One run of the compaction: remove what earlier runs replaced, write months, refresh the catalog.

What belongs here: the order of the steps.  What does not: each of them (``removal``,
``months``, ``ingest.ticks.backfill``).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.ingest.derived import ensure_indexed, refresh_catalog
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.compaction.months import (
    Done,
    MonthOutcome,
    compact_month,
    judge_months,
)
from smallcaps_assets.operations.compaction.removal import RemovalFacts, remove_replaced


class Compaction:
    """One run's work on the months of a lake.

    Attributes:
        failed: Why months could not be compacted, a line each.
        removal: What was removed.
        catalog: Facts of the catalog built at the end; empty until then.
    """

    def __init__(self, lakehouse: Lakehouse, *, run_id: str) -> None:
        self.failed: list[str] = []
        self.removal = RemovalFacts()
        self.catalog: dict[str, Number] = {}
        self._lakehouse = lakehouse
        self._run_id = run_id

    @contextmanager
    def held(self, *, wait_s: float | None) -> Iterator[None]:
        """Hold the lake's lock, as a download does.

        Args:
            wait_s: Longest wait for another holder; ``None`` waits as long as it lives.

        Raises:
            PartitionConflictError: Another process holds it; the message names it.
            StorageError: A root is not mounted.
        """
        with self._lakehouse.writing(f"compaction {self._run_id}", wait_s):
            yield

    def run(self, months: Sequence[str] | None = None) -> Iterator[MonthOutcome]:
        """Yield the outcome of each month; the caller holds the lock.

        Args:
            months: These, ``YYYY-MM``; by default all of which anything is known.

        Raises:
            StorageError: The disk is full or refuses; months yielded before stay compacted.
        """
        lakehouse = self._lakehouse
        ensure_indexed(lakehouse)
        ledger, store = lakehouse.ledger, lakehouse.store
        store.sweep()
        removes_landing = lakehouse.settings.remove_compacted
        self.removal = remove_replaced(ledger, store, removes_landing=removes_landing)
        for facts in judge_months(ledger, store, lakehouse.bounds, months):
            outcome = compact_month(store, facts, lakehouse.clock())
            if outcome.done is Done.FAILED:
                self.failed.append(f"{outcome.month}: {outcome.reason}")
            yield outcome
        self.catalog = refresh_catalog(self._lakehouse)
