"""A state machine: any order of commands, kills and damage, against a simple model."""

import contextlib
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import hypothesis.strategies as st
import polars as pl
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from campaigns.damage import delete, edit, find_damaged, flip_bit, truncate
from campaigns.disks import replan
from campaigns.ground import SMALL_WATCHLIST, Ground, Part, hash_sessions
from campaigns.session_files import find_needed, is_parquet
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.errors import LakeError, LedgerMismatchError
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.derived import index_stored
from smallcaps_assets.lake.interchange.export import export_dates, export_session_files
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.moving import move_lake
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import download_plan, planned_keys

DAMAGES = (flip_bit, truncate, delete, edit)
ARCHIVES = ("dates", "phases")
UNPROVABLE = "CON"
"""The ticker whose sessions are cut to seconds in the archives."""
LAST_STEP = 340


class LakeMachine(RuleBasedStateMachine):
    """The product beside a model that knows what is planned, stored and hurt.

    ``stored`` are the sessions whose receipts were written, ``hurt`` those of them that were
    damaged since.  What is stored and not hurt must be the truth at all times.
    """

    ground: ClassVar[Ground]
    truth: ClassVar[dict[str, str]]
    filled: ClassVar[set[str]]
    plans: ClassVar[dict[str, list[str]]]
    examples: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory(dir=self.ground.folder)
        self.folder = Path(self.scratch.name) / "data"
        self.planned = set(self.plans["large"])
        self.stored: set[str] = set()
        self.hurt: set[str] = set()
        self.moves = 0
        self.moves = 0
        type(self).examples += 1

    @initialize()
    def start(self) -> None:
        """Begin with a planned lake and nothing in it."""
        shutil.copytree(self.ground.planned, self.folder)
        self.lakehouse = self.ground.open(self.folder, workers=1)

    def reopen(self, fs: ScriptedDisk | None = None) -> Lakehouse:
        """Return a lakehouse as a new process would open it."""
        self.lakehouse.ledger.close()
        disk = fs or ScriptedDisk()
        self.lakehouse = self.ground.open_on(disk, self.folder, workers=1)
        return self.lakehouse

    def end_at(self, step: int, work: Callable[[Lakehouse], object]) -> None:
        """Do some work and die at a step of it; then look at what is there."""
        open_before = self._find_open()
        with contextlib.suppress(Crash), self._refusing():
            work(self.reopen(ScriptedDisk(crash_at=step)))
        self.reopen()
        self._learn(open_before)

    # -- what users do ---------------------------------------------------------------------

    @rule(name=st.sampled_from(["small", "large"]))
    def plan(self, name: str) -> None:
        """Publish another plan: what is stored stays."""
        files = {"small": SMALL_WATCHLIST, "large": "watchlist.csv"}
        self.lakehouse.ledger.close()
        replan(self.ground, self.folder, self.ground.folder / files[name])
        self.reopen()
        self.planned = set(self.plans[name])

    @rule()
    def download(self) -> None:
        """Fetch what is missing; what is hurt is believed until an audit."""
        open_before = self._find_open()
        missing: set[str] = set()
        with self._refusing():
            download_plan(self.reopen())
            missing = self.planned - self.hurt
        self._learn(open_before)
        assert missing <= self.stored, missing - self.stored

    @rule(step=st.integers(0, LAST_STEP))
    def kill_download(self, step: int) -> None:
        """Die at a step of a download."""
        self.end_at(step, download_plan)

    @rule(name=st.sampled_from(ARCHIVES))
    def import_archive(self, name: str) -> None:
        """Import an archive: what is proven is stored, what is cut to seconds is not."""
        open_before = self._find_open()
        proven: set[str] = set()
        with self._refusing():
            self._import(self.reopen(), name)
            proven = {key for key in self.filled if decode_key(key)[0] != UNPROVABLE} - self.hurt
        self._learn(open_before)
        assert proven <= self.stored, proven - self.stored

    @rule(name=st.sampled_from(ARCHIVES), step=st.integers(0, LAST_STEP // 2))
    def kill_import(self, name: str, step: int) -> None:
        """Die at a step of an import."""
        self.end_at(step, lambda lakehouse: self._import(lakehouse, name))

    @rule()
    def relocate(self) -> None:
        """Move the lake; one that is damaged is refused."""
        with contextlib.suppress(LakeError) if self.hurt else contextlib.nullcontext():
            self._move(self.reopen())
            self.moves += 1
        self.reopen()

    @rule(step=st.integers(0, LAST_STEP // 2))
    def kill_relocate(self, step: int) -> None:
        """Die at a step of a move; the next one goes to the same place."""
        with contextlib.suppress(LakeError) if self.hurt else contextlib.nullcontext():
            self.end_at(step, self._move)
        self.reopen()

    @precondition(lambda self: not self.hurt)
    @rule()
    def reindex(self) -> None:
        """Rebuild the ledger from the records: it knows all that they say."""
        index_stored(self.reopen())
        assert self._find_green() == self.stored, self._find_green() ^ self.stored

    # -- what fate does --------------------------------------------------------------------

    @precondition(lambda self: self._find_vulnerable())
    @rule(seed=st.integers(0, 10_000), number=st.integers(0, len(DAMAGES) - 1))
    def damage(self, seed: int, number: int) -> None:
        """Hurt one stored session, and those that lie with it."""
        rng = random.Random(seed)
        key, harm = rng.choice(self._find_vulnerable()), DAMAGES[number]
        needed = find_needed(self.lakehouse)
        files = sorted(path for path, keys in needed.items() if key in keys and path.exists())
        path = rng.choice([path for path in files if harm is not edit or not is_parquet(path)])
        harm(path, rng)
        self._note_damage(path, needed[path])

    # -- what heals ------------------------------------------------------------------------

    @rule()
    def audit(self) -> None:
        """Find what is hurt, all of it and nothing else."""
        found = set(find_damaged(self.reopen()).sessions)
        assert found == self.hurt, f"found {sorted(found)}, hurt {sorted(self.hurt)}"

    @rule()
    def repair(self) -> None:
        """Move what is hurt aside: it is missing then, unless it could be recognized."""
        found, readable = set(repair_lake(self.reopen()).keys), self._find_readable()
        rescued = self.hurt & readable
        assert found == self.hurt - rescued, f"found {sorted(found)}, hurt {sorted(self.hurt)}"
        self.stored = (self.stored - self.hurt) | readable
        self.hurt.clear()

    @rule(step=st.integers(0, LAST_STEP // 8))
    def kill_repair(self, step: int) -> None:
        """Die at a step of a repair: each session is hurt as before, or aside."""
        self.end_at(step, repair_lake)

    @invariant()
    def what_is_stored_is_the_truth(self) -> None:
        """Nothing stored is forgotten or wrong, and nothing is green that is not stored."""
        if not hasattr(self, "lakehouse"):
            return
        found = hash_sessions(self.lakehouse, [])
        whole = self.stored - self.hurt
        assert whole <= found.keys(), f"lost: {sorted(whole - found.keys())}"
        wrong = [key for key in whole if found[key] != self.truth[key]]
        assert not wrong, f"wrong: {sorted(wrong)}"
        extra = self._find_green() - self.stored
        assert not extra, f"green and not stored: {sorted(extra)}"

    def teardown(self) -> None:
        """Remove the scratch folder."""
        if hasattr(self, "lakehouse"):
            self.lakehouse.ledger.close()
        self.scratch.cleanup()

    # -- the model -------------------------------------------------------------------------

    def _find_green(self) -> set[str]:
        states = self.lakehouse.ledger.states(list(self.truth))
        return {key for key, state in states.items() if state in GREEN}

    def _find_vulnerable(self) -> list[str]:
        """Return stored sessions that the ledger knows: nobody can miss another one."""
        if not hasattr(self, "lakehouse"):
            return []
        return sorted((self.stored & self._find_green()) - self.hurt)

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Let work be refused where a record of many sessions is damaged, and nowhere else."""
        try:
            yield
        except LedgerMismatchError:
            if not self.hurt:
                raise

    def _note_damage(self, path: Path, needed: set[str]) -> None:
        """Note whom the damage of a file hurts; one in a part need not touch all of its rows.

        What the ledger does not know yet is missing without its record, and not lost.
        """
        if not is_parquet(path):
            self.stored -= needed - self._find_green()
            self.hurt |= needed & self._find_green()
            return
        found = find_damaged(self.reopen())
        assert found.names(path), f"silent: {path.name}"
        assert set(found.sessions) <= self.hurt | needed, f"found {sorted(found.sessions)}"
        self.hurt |= found.sessions.keys()

    def _find_readable(self) -> set[str]:
        """Find the sessions that can be believed at sight."""
        return set(hash_sessions(self.lakehouse, []))

    def _find_open(self) -> set[str]:
        """Find hurt sessions that the next download takes for missing: it heals them."""
        return self.hurt - self._find_green() - self._find_readable()

    def _learn(self, open_before: set[str]) -> None:
        """Take over what records say after a command that may write."""
        readable = self._find_readable()
        self.hurt -= open_before & readable
        self.stored |= readable
        self._forget_quarantined(readable)
        self._forget_healed()

    def _forget_quarantined(self, readable: set[str]) -> None:
        """Sessions that neither ledger nor record has any more are missing, and not hurt."""
        gone = self.hurt - self._find_green() - readable
        self.hurt -= gone
        self.stored -= gone

    def _forget_healed(self) -> None:
        """Sessions that were rescued, or asked for again, are hurt no more."""
        sessions = self.lakehouse.sessions
        for receipt in sessions.iter_receipts(damages=[]):
            if receipt.key in self.hurt and not sessions.verify_session(receipt):
                self.hurt.discard(receipt.key)

    def _import(self, lakehouse: Lakehouse, name: str) -> None:
        with lakehouse.writing("machine", 0.0):
            list(Import(lakehouse, self.ground.folder / "archives" / name).run())

    def _move(self, lakehouse: Lakehouse) -> None:
        with lakehouse.lock.hold("machine", 0.0):
            move_lake(lakehouse, Path(self.scratch.name) / f"disk{self.moves}")


def build_archives(ground: Ground) -> None:
    """Export the whole lake in both layouts, one ticker of it cut to seconds."""
    lakehouse = ground.open(ground.folder / "whole")
    for name, export in (("dates", export_dates), ("phases", export_session_files)):
        folder = ground.folder / "archives" / name
        folder.parent.mkdir(exist_ok=True)
        export(lakehouse.layout, lakehouse.fs, folder)
        for file in (folder / UNPROVABLE).rglob("*.parquet"):
            cut = pl.col("sip_timestamp").dt.truncate("1s")
            pl.read_parquet(file, hive_partitioning=False).with_columns(cut).write_parquet(file)
    lakehouse.ledger.close()


def run_machine(ground: Ground, examples: int) -> Part:
    """Let Hypothesis drive the machine."""
    part = Part(
        "state machine: plan, download, kill, corrupt, audit, repair, import, relocate, reindex",
        "what the model says is stored is there and true; damage is found, all and nothing else",
    )
    build_archives(ground)
    whole = ground.open(ground.folder / "whole")
    LakeMachine.ground, LakeMachine.examples = ground, 0
    LakeMachine.truth = {r.key: r.content_hash for r in whole.sessions.iter_receipts()}
    LakeMachine.filled = {r.key for r in whole.sessions.iter_receipts() if r.rows}
    LakeMachine.plans = {"large": list(ground.keys), "small": _plan_small(ground)}
    budget = settings(
        max_examples=examples,
        stateful_step_count=8,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part.check("machine", _drive(budget))
    part.cases = LakeMachine.examples
    return part


def _drive(budget: settings) -> Iterator[str]:
    """Run the machine; yield what failed, with the steps that lead there."""
    try:
        run_state_machine_as_test(LakeMachine, settings=budget)
    except Exception as error:  # noqa: BLE001  whatever ends it is a failure of the campaign
        steps = " ".join(getattr(error, "__notes__", []))
        yield f"{type(error).__name__}: {error} {steps}"[:3_000]


def _plan_small(ground: Ground) -> list[str]:
    folder = ground.copy("small")
    replan(ground, folder, ground.folder / SMALL_WATCHLIST)
    return planned_keys(ground.open(folder))
