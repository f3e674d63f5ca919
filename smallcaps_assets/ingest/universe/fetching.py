"""What one run does with its units of a universe: fetch what lacks, and say how each unit ends.

What belongs here: which sessions are asked for, and when a unit is done.  What does not: asking,
proving and committing (``ingest.ticks``), and what Dagster is told (``defs.assets.universe``).

All sessions that the units of a run lack go into one download, so that chains cross months.  The
plan is read when the run begins, and again when a unit is done: one that grew meanwhile is not.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.core.universe.progress import find_missing, measure_units
from smallcaps_assets.core.universe.units import list_owed
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.ingest.derived import refresh_ledger
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.ticks.outcomes import Outcome
from smallcaps_assets.ingest.universe.standing import (
    choose_units,
    find_resting,
    name_units,
    read_proven,
    read_units,
)
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import UNIVERSE_PLAN

SHOWN_KEYS: Final = 50
"""Open sessions of a unit that are named."""
PROVEN_BEFORE: Final = "proven before"
"""What is said of sessions of a unit that a run did not ask for."""


@dataclass(frozen=True, slots=True)
class UnitEnd:
    """How a unit stands when a run is done with it.

    Attributes:
        unit: Its key.
        tickers: Tickers that owe a session in its month.
        sessions: Sessions that it owes.
        open: Those of them that are not proven.
        open_keys: The first of them.
        states: What became of those that this run asked for, and ``proven before``.
        rows: Trades stored of its tickers in its month.
        bytes: Their size.
        requests: Requests that this run spent since it was done with another unit.
        owed_hash: Hash of what it owes.
        content_hash: Hash of all of its sessions; empty where some lack, or none was asked for.
    """

    unit: str
    tickers: int = 0
    sessions: int = 0
    open: int = 0
    open_keys: tuple[str, ...] = ()
    states: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    requests: int = 0
    owed_hash: str = ""
    content_hash: str = ""

    @property
    def is_green(self) -> bool:
        """Say whether everything that it owes is proven."""
        return self.open == 0


class UnitsDownload:
    """One run's work on some units; the caller holds the lake.

    Attributes:
        units: The units.
        keys: Keys of the sessions that it asks for, once it runs.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        backfill: Backfill,
        units: Sequence[str],
        *,
        is_forced: bool = False,
    ) -> None:
        """Prepare it; nothing is read.

        Args:
            lakehouse: The lake.
            backfill: What asks for sessions; it shares the lake.
            units: Units of the published plan.
            is_forced: Ask for what rests today too.
        """
        self.keys: list[str] = []
        self._lakehouse = lakehouse
        self._backfill = backfill
        self.units = list(units)
        self._is_forced = is_forced
        self._hashes: dict[str, str] = {}
        self._states: dict[str, Counter[str]] = {unit: Counter() for unit in units}
        self._requests = 0
        self._version = ""
        self._plan = UNIVERSE_PLAN.empty()

    def run(self) -> Iterator[UnitEnd]:
        """Yield each unit when this run is done with it, those with nothing to ask for first.

        Raises:
            PartitionConflictError: The lake is bound to another source or a newer version.
            StorageError: The disk refuses; what was committed stays.
        """
        waiting = self._find_waiting()
        self.keys = [key for keys in waiting.values() for key in keys]
        for unit in self.units:
            if unit not in waiting:
                yield self._end(unit)
        homes = {key: unit for unit, keys in waiting.items() for key in keys}
        for outcome in self._backfill.run(self.keys):
            unit = homes[outcome.key]
            self._note(unit, outcome)
            waiting[unit].discard(outcome.key)
            if not waiting[unit]:
                del waiting[unit]
                yield self._end(unit)
        for unit in list(waiting):
            yield self._end(unit)

    def _find_waiting(self) -> dict[str, set[str]]:
        """Find the keys to ask for, by unit; a unit with none has no entry."""
        plan = self._read_plan()
        refresh_ledger(self._lakehouse, sorted(plan["month"].unique()))
        missing = find_missing(plan, read_proven(self._lakehouse, plan))
        resting = find_resting(self._lakehouse, is_forced=self._is_forced)
        asked = name_units(plan, missing.join(resting, on=KEY, how="anti"))
        keys = asked.select("unit", key_expression()).group_by("unit").all()
        return {unit: set(found) for unit, found in keys.iter_rows()}

    def _read_plan(self) -> pl.DataFrame:
        """Read the rows of the units of this run again, where another plan was published since."""
        version = self._lakehouse.tables.identify_universe_plan()
        if version != self._version:
            self._version, self._plan = version, read_units(self._lakehouse, self.units)
        return self._plan

    def _note(self, unit: str, outcome: Outcome) -> None:
        self._states[unit][outcome.state] += 1
        if outcome.is_green:
            self._hashes[outcome.key] = outcome.content_hash

    def _end(self, unit: str) -> UnitEnd:
        """Say how a unit stands by the plan and the ledger of now."""
        plan = choose_units(self._read_plan(), [unit])
        if plan.is_empty():
            return UnitEnd(unit)  # it is planned no more: nothing is owed
        proven = read_proven(self._lakehouse, plan)
        (facts,) = measure_units(plan, proven).iter_rows(named=True)
        stored = proven.join(plan, on=["month", "ticker"], how="semi")
        requests, self._requests = self._requests, self._backfill.summary.requests
        states = dict(sorted(self._states[unit].items()))
        before = facts["owed"] - sum(states.values())
        lacking = find_missing(plan, proven).head(SHOWN_KEYS) if facts["missing"] else None
        return UnitEnd(
            unit,
            tickers=facts["tickers"],
            sessions=facts["owed"],
            open=facts["missing"],
            open_keys=() if lacking is None else tuple(lacking.select(key_expression())["key"]),
            states=states | ({PROVEN_BEFORE: before} if before > 0 else {}),
            rows=int(stored["rows"].sum()),
            bytes=int(stored["bytes"].sum()),
            requests=self._requests - requests,
            owed_hash=facts["owed_hash"],
            content_hash=self._hash(plan) if states and not facts["missing"] else "",
        )

    def _hash(self, plan: pl.DataFrame) -> str:
        """Hash what the sessions of a unit hold; what was proven before is read from its record."""
        keys = list_owed(plan).select(key_expression())["key"].to_list()
        before = [key for key in keys if key not in self._hashes]
        stored = {r.key: r.content_hash for r in self._lakehouse.sessions.find_receipts(before)}
        return hash_lake(
            stored | {key: self._hashes.pop(key) for key in keys if key in self._hashes}
        )
