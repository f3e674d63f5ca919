"""Processes that die at a chosen moment of a download, as by `kill -9`.

What belongs here: the moments and how they are met.  What does not: what has to hold afterwards
(the tests).  Nothing of the product is changed for it: the disk and the ledger of a lakehouse are
seams, and a command is given a lakehouse of its own.
"""

import multiprocessing as mp
import os
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from rich.console import Console

from smallcaps_assets.cli.runs.download import run_download
from smallcaps_assets.cli.runs.workplace import Workplace
from smallcaps_assets.lake.ledger.months import MonthIndex
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import load_settings
from smallcaps_assets_tests.defs.defs_factories import Home

TRADES: Final = "trades"
PROOF: Final = "receipt"
"""Kinds of files: rows, and what makes them count."""
PROOFS: Final = ("_SUCCESS", ".record.parquet")
"""How the names of the latter end."""


@dataclass(slots=True)
class Fuse:
    """Ends the process, as `kill -9` does, when it meets a moment for the ``count``-th time.

    Attributes:
        moment: ``before`` or ``after`` an operation of the disk or of the ledger, or ``in`` it.
        name: How the file's name ends, or its kind.
        count: Number of the occasion.
    """

    moment: str
    name: str = ""
    count: int = 1

    def __str__(self) -> str:
        return " ".join(filter(None, [self.moment, self.name, str(self.count)]))

    def meet(self, moment: str, name: str = "") -> None:
        """Die here, if this is the moment."""
        if moment != self.moment or not name.endswith(self.name):
            return
        self.count -= 1
        if self.count == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class FatalDisk(FileSystem):
    """A disk during whose operations the process may die."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def write_new(self, path: Path, content: bytes) -> None:
        kind = TRADES if content.startswith(b"PAR1") and b'"seal"' not in content else PROOF
        if self._fuse.moment == "in write":
            super().write_new(path, content[: len(content) // 2])
            self._fuse.meet("in write", kind)
            path.unlink()
        super().write_new(path, content)
        self._fuse.meet("after write", kind)

    def sync_group(self, paths: Iterable[Path]) -> None:
        self._fuse.meet("before sync")
        super().sync_group(paths)
        self._fuse.meet("after sync")

    def rename(self, source: Path, target: Path) -> None:
        kind = PROOF if target.name.endswith(PROOFS) else target.name
        self._fuse.meet("before rename", kind)
        super().rename(source, target)
        self._fuse.meet("after rename", kind)

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._fuse.meet("after make_folder", path.name)


class FatalLedger(Ledger):
    """A ledger during whose operations the process may die."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    def record_receipts(self, receipts: Sequence[Receipt]) -> None:
        self._fuse.meet("before ledger")
        super().record_receipts(receipts)
        self._fuse.meet("after ledger")

    @contextmanager
    def indexing(self, *, lists_all: bool = False) -> Iterator[MonthIndex]:
        self._fuse.meet("before ledger")
        with super().indexing(lists_all=lists_all) as index:
            yield index
        self._fuse.meet("after ledger")


@dataclass(frozen=True)
class FatalLakehouse(Lakehouse):
    """A lakehouse on a fatal disk."""

    fuse: Fuse = field(default_factory=lambda: Fuse("never"))

    @cached_property
    def ledger(self) -> Ledger:
        _ = self.identity
        return FatalLedger(self.layout.ledger_file, self.fuse)


@dataclass(frozen=True)
class FatalWorkplace(Workplace):
    """The workplace of a command that dies."""

    fuse: Fuse = field(default_factory=lambda: Fuse("never"))

    @cached_property
    def lakehouse(self) -> Lakehouse:
        return FatalLakehouse(self.settings, fs=FatalDisk(self.fuse), fuse=self.fuse)


def download_until(environment: Mapping[str, str], fuse: Fuse) -> None:
    """Do what `smallcaps download` does, until the fuse blows."""
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("ignore")
    said = os.open(Path(environment["SMALLCAPS_DATA_DIR"]) / "said.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    work = FatalWorkplace(load_settings(), fuse)
    run_download(work, Selection(), Console(file=StringIO()))


def start_download(home: Home, fuse: Fuse) -> BaseProcess:
    """Start a download that dies when it meets a moment.

    Each is a process of its own.  They are forked from one that has loaded libraries and
    nothing of ours, which saves a second each.
    """
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["dagster", "matplotlib.axes", "rich"])
    process = context.Process(target=download_until, args=(home.environment, fuse))
    process.start()
    return process
