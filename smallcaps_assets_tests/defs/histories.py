"""Random histories of a universe: plans edited, units downloaded, runs killed, sessions damaged.

After a queue, the end of a run or a reconciliation Dagster's green set equals the proven set, and
every unit that it shows red has a reason.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dagster as dg

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.instance.reconciliation import (
    align_changed,
    end_dead,
    reconcile_partitions,
)
from smallcaps_assets.defs.instance.runs import OWNER_TAG
from smallcaps_assets.defs.instance.units import UNITS_JOB, UNITS_KEY, register_units
from smallcaps_assets.defs.partitions import UNITS_SET
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.universe.fetching import UnitsDownload
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.defs.universe_factories import (
    begin_run,
    frame_plan,
    list_proven,
    publish_universe,
    read_colours,
)
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse

BATCHES: Final = {"BCPC": 1, "BRK.A": 1, "CON": 2, "BCpC": 2}
DAYS: Final = ("2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02", "2024-03-01")
ALL: Final = [f"{ticker}_{day}" for ticker in BATCHES for day in DAYS]
DEAD: Final = "0123456789ab-999999999-1"


@dataclass
class History:
    """A universe to which things happen.

    Attributes:
        draw: Decides what happens next.
        owed: Sessions of the published plan.
        told: What happened, for whoever has to find out why.
    """

    site: Site
    server: EmulatorServer
    draw: random.Random
    owed: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    @property
    def units(self) -> list[str]:
        """Return the registered units."""
        return list(self.site.instance.get_dynamic_partitions(UNITS_SET))

    def step(self) -> list[str]:
        """Let something happen; tell what does not hold, where colours were aligned."""
        happen = self.draw.choices(
            [
                self.edit,
                self.download,
                self.fail,
                self.kill,
                self.damage,
                self.queue,
                self.reconcile,
            ],
            [3, 4, 2, 3, 2, 2, 1],
        )[0]
        self.told.append(happen.__name__)
        return self.find_problems() if happen() else []

    def edit(self) -> bool:
        """Publish another plan, without registering it."""
        change = set(self.draw.sample(ALL, 4))
        self.owed = (self.owed ^ change) or change
        publish_universe(self.site.lakehouse, frame_plan(map(decode_key, self.owed), BATCHES))
        return False

    def queue(self) -> bool:
        register_units(self.site.instance, self.site.lakehouse)
        return True

    def reconcile(self) -> bool:
        reconcile_partitions(self.site.instance, self.site.lakehouse)
        return True

    def download(self) -> bool:
        """Register and download some neighbouring units."""
        self.queue()
        self.site.run(UNITS_JOB, self.choose_span())
        return True

    def fail(self) -> bool:
        """Download while the vendor fails a ticker, or everybody after a while."""
        faults = [Fault("500", ticker=self.draw.choice(list(BATCHES))), Fault("401", after=1)]
        self.server.faults = [self.draw.choice(faults)]
        self.download()
        self.server.faults = []
        return True

    def kill(self) -> bool:
        """Leave a run of a dead process, which had committed some of its units or none."""
        self.queue()
        span = self.choose_span()
        units = self.units
        chosen = units[units.index(span[RANGE_START]) : units.index(span[RANGE_END]) + 1]
        run = begin_run(self.site.instance, chosen, **span, **{OWNER_TAG: DEAD})
        backfill = Backfill(self.site.lakehouse, run_id=run.run_id)
        work = UnitsDownload(self.site.lakehouse, backfill, chosen)
        with backfill.held(wait_s=0, is_shared=True):
            for _ in zip(range(self.draw.randrange(3)), work.run(), strict=False):
                pass
        end_dead(self.site.instance, self.site.lakehouse)
        return True

    def damage(self) -> bool:
        """Quarantine a stored session, as a repair does."""
        lakehouse = self.site.lakehouse
        stored = sorted(lakehouse.ledger.find_proofs(ALL))
        if not stored:
            return False
        key = self.draw.choice(stored)
        lakehouse.sessions.quarantine(*decode_key(key), evidence={})
        record_stored(lakehouse.ledger, lakehouse.sessions)
        lakehouse.ledger.record_failures([Failure(key, QUARANTINED, "sha256", "damaged")])
        align_changed(self.site.instance, lakehouse, [key])
        return False

    def choose_span(self) -> dict[str, str]:
        """Choose the first and the last of some neighbouring units."""
        first, last = sorted(self.draw.choices(range(len(self.units)), k=2))
        return {RANGE_START: self.units[first], RANGE_END: self.units[last]}

    def find_problems(self) -> list[str]:
        """Compare colours and proofs; tell what does not hold, with all that happened."""
        colours, proven = read_colours(self.site.instance), list_proven(self.site.lakehouse)
        green, open_units = colours["MATERIALIZED"], colours["IN_PROGRESS"]
        problems = [f"green and not proven: {unit}" for unit in sorted(green - proven)]
        problems += [f"proven and not green: {unit}" for unit in sorted(proven - green)]
        problems += [f"left under way: {unit}" for unit in sorted(open_units)]
        problems += [
            f"red without a reason: {unit}"
            for unit in sorted(colours["FAILED"])
            if not self.has_reason(unit)
        ]
        return [f"{problem} after {', '.join(self.told)}" for problem in problems]

    def has_reason(self, unit: str) -> bool:
        """Say whether the page of a red unit says why it is red, later than why it was green."""
        chosen = dg.AssetRecordsFilter(UNITS_KEY, asset_partitions=[unit])
        said = self.site.instance.fetch_observations(chosen, limit=1).records
        green = self.site.instance.fetch_materializations(chosen, limit=1).records
        return bool(said) and (not green or said[0].storage_id > green[0].storage_id)


@contextmanager
def begin_history(folder: Path, server: EmulatorServer, draw: random.Random) -> Iterator[History]:
    """Begin the history of a universe of three sessions, registered and not downloaded."""
    lakehouse = make_lakehouse(folder, server.url)
    publish_universe(lakehouse, frame_plan(map(decode_key, ALL[:3]), BATCHES))
    ensure_indexed(lakehouse)
    with open_site(lakehouse) as site:
        register_units(site.instance, lakehouse)
        yield History(site, server, draw, set(ALL[:3]))
