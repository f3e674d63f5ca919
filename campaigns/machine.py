"""A state machine: any order of plan, download, kill, damage, audit, repair and reindex."""

import contextlib
import random
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from campaigns.damage import delete, edit_receipt, flip_bit, truncate
from campaigns.ground import Ground, Part
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.ingest.repair import repair_lake
from smallcaps_assets.lake.states import GREEN
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan, planned_keys

DAMAGES = (flip_bit, truncate, delete, edit_receipt)


class LakeMachine(RuleBasedStateMachine):
    """The product beside a model that knows which sessions must be stored and which are hurt."""

    ground: ClassVar[Ground]
    examples: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory(dir=self.ground.folder)
        self.folder = Path(self.scratch.name) / "data"
        self.stored: set[str] = set()
        self.hurt: set[str] = set()
        type(self).examples += 1

    @initialize()
    def start(self) -> None:
        """Begin with a planned lake and nothing in it."""
        shutil.copytree(self.ground.planned, self.folder)
        self.lakehouse = self.ground.open(self.folder, workers=1)

    def reopen(self, fs: ScriptedDisk | None = None) -> Lakehouse:
        """Return a lakehouse as a new process would open it."""
        self.lakehouse.ledger.close()
        plain = self.ground.open(self.folder, workers=1)
        self.lakehouse = plain
        if fs is not None:
            self.lakehouse = type(plain)(plain.settings, clock=plain.clock, fs=fs)
        return self.lakehouse

    @rule()
    def download(self) -> None:
        """Fetch what is missing; what is hurt is believed until an audit."""
        download_plan(self.reopen())
        self.stored = set(self.ground.keys)

    @rule(step=st.integers(0, 340))
    def kill(self, step: int) -> None:
        """Die at a step of a download."""
        lakehouse = self.reopen(ScriptedDisk(crash_at=step))
        with contextlib.suppress(Crash):
            download_plan(lakehouse)
        self.reopen()
        receipts = {receipt.key for receipt in self.lakehouse.store.iter_receipts(damages=[])}
        self.stored |= receipts

    @precondition(lambda self: self.stored - self.hurt)
    @rule(seed=st.integers(0, 10_000), number=st.integers(0, 3))
    def damage(self, seed: int, number: int) -> None:
        """Hurt one stored session."""
        rng = random.Random(seed)
        key = rng.choice(sorted(self.stored - self.hurt))
        ticker, date = decode_key(key)
        layout = self.lakehouse.layout
        files = [layout.trades_file(ticker, date), layout.receipt_file(ticker, date)]
        DAMAGES[number](rng.choice([file for file in files if file.exists()]), rng)
        self.hurt.add(key)

    @rule()
    def audit(self) -> None:
        """Find what is hurt, all of it and nothing else."""
        found = set(repair_lake(self.reopen(), is_dry_run=True).keys)
        assert found == self.hurt, (found, self.hurt)

    @rule()
    def repair(self) -> None:
        """Move what is hurt aside: it is missing then."""
        facts = repair_lake(self.reopen())
        assert set(facts.keys) == self.hurt
        self.stored -= self.hurt
        self.hurt.clear()

    @precondition(lambda self: not self.hurt)
    @rule()
    def reindex(self) -> None:
        """Rebuild the ledger from the receipts: it knows the same."""
        lakehouse = self.reopen()
        before = lakehouse.ledger.counts()
        lakehouse.ledger.reindex(lakehouse.store.iter_receipts())
        green = {state: count for state, count in before.items() if state in GREEN}
        after = lakehouse.ledger.counts()
        assert {state: count for state, count in after.items() if state in GREEN} == green

    @invariant()
    def ledger_knows_what_is_stored(self) -> None:
        """Nothing that was stored is forgotten, and nothing is green that is not stored."""
        if not hasattr(self, "lakehouse"):
            return
        states = self.lakehouse.ledger.states(planned_keys(self.lakehouse))
        green = {key for key, state in states.items() if state in GREEN}
        assert green <= self.stored, green - self.stored

    def teardown(self) -> None:
        """Remove the scratch folder."""
        if hasattr(self, "lakehouse"):
            self.lakehouse.ledger.close()
        self.scratch.cleanup()


def run_machine(ground: Ground, examples: int) -> Part:
    """Let Hypothesis drive the machine."""
    part = Part("state machine of plan, download, kill, damage, audit, repair, reindex", "a model")
    LakeMachine.ground = ground
    LakeMachine.examples = 0
    budget = settings(
        max_examples=examples,
        stateful_step_count=8,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run_state_machine_as_test(LakeMachine, settings=budget)
        except AssertionError as error:
            problems.append(str(error)[:500])
    part.check("machine", problems)
    part.cases = LakeMachine.examples
    return part
