"""Where the lake of a data folder lies: in it, or in a folder of its own, on whatever disk.

What belongs here: the way from a data folder and ``SMALLCAPS_LAKE`` to the paths of a lake, and
the refusal of a setting that disagrees with the register.  What does not: the register's file
(``register``), what the lake is bound to (``identity``), moving it (``lake.relocation``).

The register decides: a lake that was moved is found without any setting, and one whose disk is not
mounted is missed and never begun again.
"""

from pathlib import Path
from typing import Final

from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.home.identity import RECEIPTS_FORMAT, read_identity
from smallcaps_assets.lake.home.register import (
    RootRegister,
    home_entry,
    read_register,
    write_register,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem

IGNORED_NAMES: Final = ("lost+found",)
"""What the folder of a new lake may hold, hidden files apart: a fresh file system has it."""


def find_home(data_dir: Path, fs: FileSystem, wanted: Path | None = None) -> LakeLayout:
    """Find the paths of a data folder and of its lake, which need not be there yet.

    Args:
        data_dir: The data folder, absolute.
        fs: The disks.
        wanted: ``SMALLCAPS_LAKE``; the same lake is found there too when it was moved by hand.

    Raises:
        ConfigError: ``wanted`` is another folder than that of the lake, or cannot become one.
        LedgerMismatchError: The register is damaged.
        StorageError: The disk refuses.
    """
    home = recall_home(data_dir, fs, wanted)
    if wanted is None:
        return home
    asked = put_lake(data_dir, wanted)
    if asked == home:
        if not (fs.exists(home.roots_file) or fs.exists(home.identity_file)):
            require_place(home, fs)
        return home
    if not fs.exists(home.identity_file) and _is_lake_of(asked, fs, read_register(home, fs)):
        return asked
    raise ConfigError(_explain_other_place(home, asked, fs))


def recall_home(data_dir: Path, fs: FileSystem, wanted: Path | None = None) -> LakeLayout:
    """Find the paths of a data folder by its register, whatever ``SMALLCAPS_LAKE`` says.

    Args:
        data_dir: The data folder, absolute.
        fs: The disks.
        wanted: Where a lake begins that has no register yet.

    Raises:
        LedgerMismatchError: The register is damaged.
        StorageError: The disk refuses.
    """
    default = LakeLayout(data_dir)
    if not fs.is_folder(data_dir):
        return default if wanted is None else put_lake(data_dir, wanted)
    register = read_register(default, fs)
    if register is not None:
        return put_lake(data_dir, Path(register.lake)) if register.lake else default
    has_lake = fs.exists(default.identity_file)
    return default if has_lake or wanted is None else put_lake(data_dir, wanted)


def put_lake(data_dir: Path, folder: Path) -> LakeLayout:
    """Make the paths of a data folder whose lake lies in ``folder``."""
    default = LakeLayout(data_dir)
    is_default = folder.resolve() == default.index_dir.resolve()
    return default if is_default else LakeLayout(data_dir, place=folder.absolute())


def require_mounted(home: LakeLayout, fs: FileSystem) -> LakeLayout:
    """Demand that the lake of the register lies where it says; one that is not begun may be missed.

    Raises:
        LedgerMismatchError: The register is lost or damaged.
        PartitionConflictError: Another lake lies there.
        StorageError: The lake is not mounted, or the disk refuses.
    """
    register = read_register(home, fs)
    if register is None:
        _refuse_lost_register(home, fs)
        return home
    elsewhere = "if it is mounted elsewhere now, set SMALLCAPS_LAKE to its new path"
    found = read_id(home, fs)
    if found is None:
        raise StorageError(
            f"{home.lake_dir} is gone or empty: expected {home.identity_file} with id "
            f"{register.lake_id}, found none. Nothing was read or written; put the folder back "
            "where it was moved or removed, and where it lies on a disk of its own, mount it there "
            f"again; {elsewhere}"
        )
    if found != register.lake_id:
        raise PartitionConflictError(
            f"{home.lake_dir} is another lake: expected id {register.lake_id}, got {found}; mount "
            f"the right disk there again; {elsewhere}"
        )
    return home


def restore_register(home: LakeLayout, fs: FileSystem) -> None:
    """Make a register again that was lost; hold the lock of the lake.

    Raises:
        LedgerMismatchError: The register is there, and damaged.
        MissingPartitionError: There is no lake.
        StorageError: The disk refuses.
    """
    if read_register(home, fs) is None:
        entry = home_entry(read_identity(home, fs).id)
        write_register(home, fs, RootRegister(roots=(entry,)))


def remember_place(home: LakeLayout, fs: FileSystem) -> None:
    """Write down where a lake lies that was moved by hand; hold its lock.

    Raises:
        StorageError: The disk refuses.
    """
    register = read_register(home, fs)
    if register is not None and register.lake != str(home.place or ""):
        write_register(home, fs, register)


def require_place(home: LakeLayout, fs: FileSystem) -> None:
    """Refuse a folder in which no lake can begin.

    Raises:
        ConfigError: It lies in the data folder or around it, is not empty, or the folder above it
            is not there.
    """
    if home.place is not None:
        refuse_nested_place(home, fs)
        refuse_filled(home, fs)


def refuse_nested_place(home: LakeLayout, fs: FileSystem, *others: Path) -> None:
    """Refuse a folder for a lake in the data folder or another one, around one, or nowhere.

    Args:
        home: Paths with the folder.
        fs: The disks.
        others: More folders that it may not lie in or around.

    Raises:
        ConfigError: It does, or the folder above it is not there.
    """
    folder, data = home.lake_dir, home.data_dir
    real = folder.resolve()
    for other in others if home.place is None else (data, *others):
        if real.is_relative_to(other.resolve()) or other.resolve().is_relative_to(real):
            raise ConfigError(
                f"{folder} and {other} lie in one another: expected a folder for the lake alone, "
                f"or {home.index_dir}"
            )
    if not fs.is_folder(folder.parent):
        raise ConfigError(
            f"expected the folder {folder.parent}, in which {folder.name} is made for the lake, "
            "found none: mount the disk, or make the folder; it is not made for you, because the "
            "disk might not be mounted"
        )


def refuse_lost_place(home: LakeLayout, fs: FileSystem) -> None:
    """Refuse to begin a lake beside a ledger that knows one.

    Raises:
        StorageError: The ledger is there, and neither the lake nor what says where it lies.
    """
    if fs.is_file(home.identity_file) or not fs.is_file(home.ledger_file):
        return
    if read_register(home, fs) is None:
        raise StorageError(
            f"{home.ledger_file} knows a lake, but {home.identity_file} and {home.roots_file} are "
            "gone: mount its disk and set SMALLCAPS_LAKE to its folder, then run `smallcaps "
            "reindex`; to start over, set SMALLCAPS_DATA_DIR to an empty folder"
        )


def refuse_filled(home: LakeLayout, fs: FileSystem, *allowed: str) -> None:
    """Refuse a folder for a lake that holds anything but files of these names.

    Raises:
        ConfigError: It does.
    """
    foreign = [name for name in list_foreign(home, fs) if name not in allowed]
    if foreign:
        raise ConfigError(
            f"{home.lake_dir} is not empty ({', '.join(foreign[:3])}): expected a new folder for "
            "the lake alone"
        )


def list_foreign(home: LakeLayout, fs: FileSystem) -> list[str]:
    """List what lies in the folder of a lake, but for the ledger and the locks of a data folder."""
    own = () if home.place else (home.ledger_file.name, home.lock_file.name)
    names = {entry.name for entry in fs.list_folder(home.lake_dir)} - {*IGNORED_NAMES}
    return sorted(name for name in names if not name.startswith((".", *own)))


def read_id(home: LakeLayout, fs: FileSystem) -> str | None:
    """Read the id of the lake in a folder; ``None``: there is no lake.

    Raises:
        LedgerMismatchError: ``lake.json`` is damaged.
        StorageError: The disk refuses.
    """
    try:
        return read_identity(home, fs).id
    except MissingPartitionError:
        return None


def _refuse_lost_register(home: LakeLayout, fs: FileSystem) -> None:
    """Refuse a lake whose register is gone: it may lie elsewhere by now."""
    if fs.is_file(home.ledger_file) and read_id(home, fs):
        raise LedgerMismatchError(
            f"{home.roots_file} is gone, which says where the lake lies: restore it from a copy; "
            f"or, if {home.lake_dir} is all of the lake, run `smallcaps reindex`, else with "
            "SMALLCAPS_LAKE set to its folder"
        )


def _is_lake_of(home: LakeLayout, fs: FileSystem, register: RootRegister | None) -> bool:
    """Say whether the lake that a register knows lies where ``home`` has it."""
    found = read_id(home, fs)
    return register is not None and found == register.lake_id


def _has_receipts(home: LakeLayout, fs: FileSystem) -> bool:
    try:
        return read_identity(home, fs).format == RECEIPTS_FORMAT
    except MissingPartitionError:
        return False


def _explain_other_place(home: LakeLayout, asked: LakeLayout, fs: FileSystem) -> str:
    told = f"SMALLCAPS_LAKE={asked.lake_dir}, but the lake of {home.data_dir} lies in"
    if _has_receipts(home, fs):
        return (
            f"{told} {home.lake_dir} and is one of receipts, which stays there: `smallcaps import "
            "--lake` takes it over into SMALLCAPS_LAKE"
        )
    return (
        f"{told} {home.lake_dir}: remove SMALLCAPS_LAKE from .env and the environment, because "
        f"{home.roots_file.name} knows the place; `smallcaps relocate {asked.lake_dir}` moves the "
        "lake there; one that you moved yourself is found there once nothing of it lies in the old "
        "place"
    )
