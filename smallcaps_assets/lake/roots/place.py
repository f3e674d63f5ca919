"""Where the lake of a data folder lies: in it, or in a folder of its own, on whatever disk.

What belongs here: the way from a data folder and ``SMALLCAPS_LAKE`` to the paths of a lake, and
the refusal of a setting that disagrees with the register.  What does not: the register's file
(``register``), whether the lake is there and the right one (``identity``, ``markers``), moving it
(``lake.relocation.whole_lakes``).

The register decides: a lake that was moved is found without any setting, and one whose disk is not
mounted is missed and never begun again.
"""

from pathlib import Path

from smallcaps_assets.errors import ConfigError, MissingPartitionError, StorageError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.roots.identity import RECEIPTS_FORMAT, read_identity
from smallcaps_assets.lake.roots.markers import refuse_filled
from smallcaps_assets.lake.roots.register import RootRegister, read_register, write_register
from smallcaps_assets.lake.storage.files import FileSystem


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
        refuse_filled(fs, home.place)


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


def refuse_receipts_elsewhere(home: LakeLayout, fs: FileSystem) -> None:
    """Refuse a lake of receipts that lies outside of its data folder.

    Raises:
        ConfigError: It does.
    """
    if home.place is not None and _has_receipts(home, fs):
        raise ConfigError(
            f"{home.place} is a lake of receipts, which lies in its data folder and nowhere else: "
            "set SMALLCAPS_LAKE to a new folder, and `smallcaps import --lake DATA_FOLDER` takes "
            "it over"
        )


def _is_lake_of(home: LakeLayout, fs: FileSystem, register: RootRegister | None) -> bool:
    """Say whether the lake that a register knows lies where ``home`` has it."""
    try:
        identity = read_identity(home, fs)
    except MissingPartitionError:
        return False
    return register is not None and identity.id in {entry.id for entry in register.roots}


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
