"""A whole lake of receipts, taken over month by month; a kill at any point leaves both readable.

What belongs here: the order of steps, and who may use the lake meanwhile.  What does not: what a
month becomes (``months``).

1. The old lake's folder takes a copy of the register of its roots and is renamed to
   ``lake.format1``: one rename undoes it.
2. ``lake.json`` of a new lake, in whatever folder, says that it is being taken over, so nothing
   else opens it, and the register of its data folder knows where it lies.
3. The ledger is copied: what was asked for and failed is known to nobody else.
4. Month after month is stored and, where asked for, removed from the old lake.
5. ``lake.json`` says that it is done.
"""

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.lake.adoption.months import MonthFacts, adopt_month, remove_month
from smallcaps_assets.lake.adoption.old_lake import OldLake
from smallcaps_assets.lake.adoption.old_paths import REGISTER_NAME, OldRoot, find_roots
from smallcaps_assets.lake.home.identity import (
    SEGMENTS_FORMAT,
    LakeIdentity,
    read_identity,
    read_identity_file,
    write_identity,
)
from smallcaps_assets.lake.home.place import require_place
from smallcaps_assets.lake.home.register import RootRegister, home_entry, write_register
from smallcaps_assets.lake.ledger.database import translated_errors
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.storage.files import FileSystem, find_existing, temporary_path
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.upkeep.indexing import refresh_months

OLD_FOLDER: Final = "lake.format1"
"""Name that the folder of a lake of receipts gets beside the new one."""

OWNER: Final = "taking over a lake of receipts"

Progress = Callable[[MonthFacts, int, int], None]
"""Called after each month with what it brought, its number from 1, and how many there are."""


@dataclass(slots=True)
class TakeoverFacts:
    """What a takeover did.

    Attributes:
        months: What each month was taken over with.
        kept: Folders of the old lake that stay although removal was asked for: they are damaged.
        strays: What lay among the sessions of the old lake and belongs to none.
        quarantine: Folders of damaged files of roots other than home; they stay where they are.
        old_folder: Where the old lake lies.
    """

    old_folder: Path
    months: list[MonthFacts] = field(default_factory=list)
    kept: int = 0
    strays: list[Path] = field(default_factory=list)
    quarantine: list[Path] = field(default_factory=list)

    @property
    def damaged(self) -> list[tuple[str, str]]:
        """Key and reason of all that could not be proven."""
        return [damage for month in self.months for damage in month.damaged]

    @property
    def lost(self) -> list[str]:
        """Keys of sessions that counted and have to be asked for again."""
        return [key for month in self.months for key in month.lost]


def take_over(
    home: LakeLayout,
    fs: FileSystem,
    calendar: SessionCalendar,
    old_home: LakeLayout | None = None,
    *,
    removes: bool = False,
    report: Progress = lambda _facts, _number, _count: None,
) -> TakeoverFacts:
    """Take over the lake of a data folder; one that was killed continues.

    Args:
        home: Paths of the data folder, and of the new lake.
        fs: The disks.
        calendar: The sessions.
        old_home: Paths of another data folder, whose lake is taken over; by default that of
            ``home``.
        removes: Remove each month of the old lake as soon as it is proven in the new one.
        report: Told of each month.

    Raises:
        ConfigError: The lake is one of segments already, or cannot begin where it shall.
        DataError: A month does not hold all that was read.
        LedgerMismatchError: The register of its roots is lost, or damaged.
        MissingPartitionError: There is no lake.
        PartitionConflictError: Another process uses a lake, or there is one already.
        StorageError: A disk refuses, or is not mounted; the next call continues.
    """
    old_home = old_home or LakeLayout(home.data_dir)
    identity = _set_aside(home, old_home, fs)
    with LakeLock(home.lock_file, fs).hold(OWNER, 0):
        _begin(home, fs, identity)
        facts = TakeoverFacts(old_home.data_dir / OLD_FOLDER)
        _copy_ledger(home, facts.old_folder, fs)
        lake = SegmentLake(LocalStorage(home.lake_dir, fs), str(identity.source))
        old = _open_old_lake(facts.old_folder, old_home, fs, calendar)
        for held, month, number, count in _iter_months(old):
            told = adopt_month(old, lake, month, held)
            _tell_ledger(home, fs, lake, told)
            if removes:
                facts.kept += remove_month(old, lake, month, held)
            facts.months.append(told)
            report(told, number, count)
        facts.strays = old.strays
        folders = {root.quarantine_dir for root in old.roots} - {old_home.quarantine_dir}
        facts.quarantine = sorted(filter(fs.is_folder, folders))
        write_identity(home, fs, msgspec.structs.replace(identity, adopting=""))
    return facts


def _open_old_lake(
    folder: Path, home: LakeLayout, fs: FileSystem, calendar: SessionCalendar
) -> OldLake:
    """Open a lake of a data folder that was renamed to ``folder``, with all its roots."""
    roots = find_roots(OldRoot(folder, home.quarantine_dir), fs)
    return OldLake(roots, fs, folder / home.ledger_file.name, calendar)


def _set_aside(home: LakeLayout, old: LakeLayout, fs: FileSystem) -> LakeIdentity:
    """Rename the lake of receipts unless that was done; tell what the new one is to say of itself.

    Its lock keeps out whoever works on it, and moves with it.
    """
    aside = old.data_dir / OLD_FOLDER
    known = _read_begun(home, old, fs)
    if known is not None:
        return known
    try:
        identity = read_identity(old, fs)
    except MissingPartitionError:
        return _renew(_read_aside(old, aside, fs), _name_aside(home, old))
    if identity.format == SEGMENTS_FORMAT:
        raise ConfigError(f"{old.lake_dir} is a lake of segments: there is nothing to take over")
    if fs.exists(aside):
        raise PartitionConflictError(
            f"expected one lake in {old.data_dir}, found {old.lake_dir.name} and {aside.name}, "
            "both of receipts: move one of them to another data folder"
        )
    with LakeLock(old.lock_file, fs).hold(OWNER, 0):
        _keep_register(old, fs, identity)
        fs.rename(old.lake_dir, aside)
        fs.sync_folder(old.data_dir)
    return _renew(identity, _name_aside(home, old))


def _keep_register(old: LakeLayout, fs: FileSystem, identity: LakeIdentity) -> None:
    """Copy the register of roots beside the lake, whose folder is about to get another name.

    Raises:
        LedgerMismatchError: It is lost, and with it which other disks have sessions.
    """
    path = old.roots_file
    if fs.is_file(path):
        fs.publish({old.lake_dir / REGISTER_NAME: fs.read(path)}, root=old.lake_dir)
    elif identity.id and fs.is_file(old.ledger_file):
        raise LedgerMismatchError(
            f"{path} is gone, which lists the disks of the lake: restore it from a copy and run "
            "the same command again"
        )


def _read_aside(old: LakeLayout, aside: Path, fs: FileSystem) -> LakeIdentity:
    try:
        return read_identity_file(aside / old.identity_file.name, fs)
    except MissingPartitionError as error:
        raise MissingPartitionError(
            f"expected a data folder with a lake of receipts, in {old.lake_dir} or {aside}, found "
            "none"
        ) from error


def _read_begun(home: LakeLayout, old: LakeLayout, fs: FileSystem) -> LakeIdentity | None:
    """Read what the new lake says of itself; ``None``: it is not begun, and can be."""
    try:
        identity = read_identity(home, fs)
    except MissingPartitionError:
        require_place(home, fs)
        return None
    if identity.adopting == _name_aside(home, old):
        return identity
    if identity.adopting:
        raise PartitionConflictError(
            f"{home.lake_dir} is being taken over from {identity.adopting}, and not from "
            f"{old.data_dir}: finish that first by `smallcaps import --lake`"
        )
    if home.lake_dir == old.lake_dir:
        return None
    if not fs.exists(old.identity_file):
        raise ConfigError(f"{home.lake_dir} is a lake already: there is nothing to take over")
    raise PartitionConflictError(
        f"expected no lake in {home.lake_dir}, to which that of {old.data_dir} is taken over, but "
        "there is one: set SMALLCAPS_DATA_DIR, or SMALLCAPS_LAKE, to a new folder"
    )


def _name_aside(home: LakeLayout, old: LakeLayout) -> str:
    """Name the old lake for the new one: without its folder where that is the data folder."""
    is_own = home.data_dir == old.data_dir
    return OLD_FOLDER if is_own else str(old.data_dir / OLD_FOLDER)


def _renew(identity: LakeIdentity, adopting: str) -> LakeIdentity:
    named = identity.id or uuid.uuid4().hex
    return msgspec.structs.replace(identity, id=named, format=SEGMENTS_FORMAT, adopting=adopting)


def _begin(home: LakeLayout, fs: FileSystem, identity: LakeIdentity) -> None:
    """Make the folder of the new lake, and let it and the register say what it is."""
    fs.make_folders(home.lake_dir, root=find_existing(home.lake_dir))
    write_identity(home, fs, identity)
    write_register(home, fs, RootRegister(roots=(home_entry(identity.id),)))


def _copy_ledger(home: LakeLayout, aside: Path, fs: FileSystem) -> None:
    """Copy the ledger as SQLite does it, whatever its log holds; one that is lost stays lost."""
    source = aside / home.ledger_file.name
    if fs.is_file(home.ledger_file) or not fs.is_file(source):
        return
    temporary = temporary_path(home.index_dir)
    with fs.discarding([temporary]):
        with (
            translated_errors(source),
            closing(sqlite3.connect(source)) as before,
            closing(sqlite3.connect(temporary)) as after,
        ):
            before.backup(after)
        fs.adopt(temporary, home.ledger_file)


def _tell_ledger(home: LakeLayout, fs: FileSystem, lake: SegmentLake, told: MonthFacts) -> None:
    """Record the month, and call what lost its proof quarantined; a lost ledger stays lost."""
    if not fs.is_file(home.ledger_file):
        return
    reasons = dict(told.damaged)
    with Ledger(home.ledger_file) as ledger:
        refresh_months(ledger, lake, [told.month])
        ledger.record_failures(
            [Failure(key, QUARANTINED, "damaged", reasons[key], OWNER) for key in told.lost]
        )


def _iter_months(old: OldLake) -> Iterator[tuple[pl.DataFrame, str, int, int]]:
    """Yield what is held of each month, its name, its number from 1, and how many there are."""
    by_month = old.list_held().partition_by("month", as_dict=True, maintain_order=True)
    for number, ((month,), held) in enumerate(by_month.items(), start=1):
        yield held, str(month), number, len(by_month)
