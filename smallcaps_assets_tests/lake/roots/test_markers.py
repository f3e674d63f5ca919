"""Several disks are one lake; one that is not mounted is an error, and never an empty lake."""

import datetime as dt
import shutil
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.interchange.export import export_dates
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.reading.landing_files import list_stored_files
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.roots.identity import open_lake
from smallcaps_assets.lake.roots.markers import forget_root, locate_roots, register_roots
from smallcaps_assets.lake.roots.placement import Placement, measure_free
from smallcaps_assets.lake.roots.register import make_root, read_register
from smallcaps_assets.lake.sessions.damages import Orphan, OrphanKind
from smallcaps_assets_tests.lake.disks import Crash, QuotaDisk, ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION, make_facts, make_tape
from smallcaps_assets_tests.lake.root_factories import (
    SOURCE,
    add_root,
    list_files,
    make_folder,
    make_home,
    move,
    open_store,
    read_lake,
)

FS: Final = ScriptedDisk()


def make_two(folder: Path) -> tuple[LakeLayout, Path]:
    """Return a lake on two disks, and the second."""
    home = make_home(folder / "data")
    add_root(home, folder / "disk" / "lake")
    return home, folder / "disk" / "lake"


def index_lake(home: LakeLayout) -> int:
    """Make the ledger from the receipts, and return how many there are."""
    home.ledger_file.unlink()
    with Ledger(home.ledger_file) as ledger:
        return ledger.reindex(open_store(home).iter_receipts()).receipts


# -- one lake ------------------------------------------------------------------------------


def test_readers_of_all_kinds_see_one_lake(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    rows = sum(receipt.rows for receipt in open_store(home).iter_receipts())

    assert index_lake(home) == 4
    assert Lake(home.data_dir).trades().collect().height == rows
    assert build_catalog(locate_roots(home, FS), FS).trades_files == 3
    assert export_dates(locate_roots(home, FS), FS, tmp_path / "export").units == 3
    with Ledger(home.ledger_file) as ledger:
        files = list_stored_files(locate_roots(home, FS), FS, ledger)
    assert sum(file.path.is_relative_to(disk) for file in files) == 1
    assert all(file.is_there(FS) for file in files)


def test_a_lake_that_is_open_follows_a_move(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    index_lake(home)
    lake = Lake(home.data_dir)
    before = lake.trades().collect()

    move(home, FS, tmp_path / "disk" / "other")

    assert lake.trades().collect().equals(before)
    assert not disk.exists()


def test_sessions_that_are_replaced_stay_on_their_disks(tmp_path: Path) -> None:
    """One commit may be of sessions of two disks."""
    home, disk = make_two(tmp_path)
    store = open_store(home, [disk])
    before = list_files(disk)
    day = SESSION + dt.timedelta(days=14)
    other = make_tape(8, seed=7, ticker="CON", session_date=day)

    store.commit(
        [
            store.prepare("ABCD", SESSION, make_tape(9, seed=7), make_facts()),
            store.prepare("CON", day, other, make_facts()),
        ]
    )

    assert list_files(disk) == before
    assert [store.read_receipt(*key).rows for key in (("ABCD", SESSION), ("CON", day))] == [9, 8]
    assert len(read_lake(home)) == 5


def test_of_two_copies_the_first_counts_and_the_other_is_a_stray(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    place = Path("trades") / "ticker=ABCD" / "date=2024-03-15"
    shutil.copytree(home.lake_dir / place, disk / place)
    store = open_store(home)

    duplicates = [o for o in store.find_orphans(()) if o.kind is OrphanKind.DUPLICATE]

    assert duplicates == [
        Orphan(
            disk / place, OrphanKind.DUPLICATE, "another root, listed before, has this session too"
        )
    ]
    assert len(list(store.iter_receipts())) == 4
    store.quarantine_orphan(disk / place)
    assert (disk / "quarantine" / "orphans").is_dir()
    assert len(read_lake(home)) == 5


def test_damage_goes_to_the_quarantine_of_its_disk(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    session_date = SESSION + dt.timedelta(days=14)

    folder = open_store(home).quarantine("CON", session_date, evidence={"why.txt": b"test"})

    assert folder.is_relative_to(disk / "quarantine")
    assert list_files(folder) == {"why.txt", "trades.parquet", "_SUCCESS"}
    assert len(read_lake(home)) == 4


# -- a disk that is not there --------------------------------------------------------------


def test_a_disk_that_is_not_mounted_is_an_error(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    index_lake(home)
    disk.parent.rename(tmp_path / "unmounted")
    make_folder(disk)

    with pytest.raises(StorageError, match=r"gone or empty: expected .*root\.json .*mount it"):
        Lake(home.data_dir).trades()

    assert list_files(disk) == set()


def test_a_folder_with_the_marker_of_another_root_is_refused(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    add_root(home, tmp_path / "third", seed=3)
    shutil.copy(tmp_path / "third" / "root.json", disk / "root.json")

    with pytest.raises(PartitionConflictError, match="is another root: expected id"):
        locate_roots(home, FS)


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff"], ids=repr)
@pytest.mark.parametrize("name", ["data/lake_roots.json", "disk/lake/root.json"])
def test_a_damaged_register_or_marker_is_refused(tmp_path: Path, name: str, text: bytes) -> None:
    home, _ = make_two(tmp_path)
    (tmp_path / name).write_bytes(text)

    with pytest.raises(LedgerMismatchError, match="is damaged"):
        locate_roots(home, FS)


def test_a_home_that_is_not_mounted_is_missed(tmp_path: Path) -> None:
    home = make_home(tmp_path / "data")
    home.lake_dir.rename(tmp_path / "unmounted")
    make_folder(home.lake_dir)

    with pytest.raises(StorageError, match=r"lake\.json is gone.*there was a lake: mount"):
        open_lake(home, FS, SOURCE)
    with pytest.raises(StorageError, match="is gone or empty"):
        locate_roots(home, FS)


def test_a_register_that_is_lost_is_missed_and_made_again(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    before = read_lake(home)
    home.roots_file.unlink()

    for find in (
        lambda: locate_roots(home, FS),
        lambda: register_roots(home, FS, [disk]),
    ):
        with pytest.raises(LedgerMismatchError, match=r"lake_roots\.json is gone.*reindex"):
            find()

    register_roots(home, FS, [disk], recovers=True)
    assert read_lake(home) == before


def test_a_disk_that_is_mounted_elsewhere_is_found_by_its_marker(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    before = read_lake(home)
    disk.parent.rename(tmp_path / "moved")

    register_roots(home, FS, [tmp_path / "moved" / "lake"])

    assert read_lake(home) == before
    register = read_register(home, FS)
    assert register is not None
    assert len(register.roots) == 2


def test_a_copy_of_a_disk_is_refused_beside_it(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    shutil.copytree(disk, tmp_path / "copy")

    with pytest.raises(ConfigError, match=f"is a copy of {disk}"):
        register_roots(home, FS, [tmp_path / "copy"])


def test_a_disk_that_is_lost_for_good_can_be_forgotten(tmp_path: Path) -> None:
    home, disk = make_two(tmp_path)
    with pytest.raises(ConfigError, match="is mounted and has sessions"):
        forget_root(home, FS, disk)
    shutil.rmtree(disk)

    forget_root(home, FS, disk)

    assert len(read_lake(home)) == 4
    with pytest.raises(ConfigError, match="no root that could be forgotten; registered: lake"):
        forget_root(home, FS, home.lake_dir)


def test_a_data_folder_can_be_moved_with_its_home(tmp_path: Path) -> None:
    home = make_home(tmp_path / "data")
    before = read_lake(home)
    home.data_dir.rename(tmp_path / "elsewhere")

    assert read_lake(LakeLayout(tmp_path / "elsewhere")) == before


def test_a_kill_while_a_root_is_registered_leaves_none_or_one(tmp_path: Path) -> None:
    for crash_at in range(20):
        home = make_home(tmp_path / str(crash_at) / "data")
        disk = make_folder(tmp_path / str(crash_at) / "disk")
        is_ended = True
        try:
            register_roots(home, ScriptedDisk(crash_at=crash_at), [disk])
        except Crash:
            is_ended = False

        assert len(locate_roots(home, FS).roots) in (1, 2)
        register_roots(home, FS, [disk])
        assert len(locate_roots(home, FS).roots) == 2
        if is_ended:
            break
    assert 4 < crash_at < 19


# -- new roots -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "no folder: mount the disk and make the folder"),
        ("data", "lie in one another"),
        ("data/reports", "lie in one another"),
        ("filled", r"not empty \(photos\)"),
    ],
)
def test_a_folder_that_is_no_place_for_a_root_is_refused(
    tmp_path: Path, place: str, message: str
) -> None:
    home = make_home(tmp_path / "data")
    make_folder(tmp_path / "filled" / "photos")
    make_folder(tmp_path / "data" / "reports")

    with pytest.raises(ConfigError, match=message):
        register_roots(home, FS, [tmp_path / place])

    assert len(locate_roots(home, FS).roots) == 1


def test_a_root_on_a_fresh_file_system_is_known_by_whatever_link_was_given(tmp_path: Path) -> None:
    home = make_home(tmp_path / "data")
    make_folder(tmp_path / "disk" / "lost+found")
    make_folder(tmp_path / "disk" / ".Trash-1000")
    (tmp_path / "link").symlink_to(tmp_path / "disk")

    for roots in ([tmp_path / "disk"], [tmp_path / "link", home.lake_dir]):
        register_roots(home, FS, roots)

        assert len(locate_roots(home, FS).roots) == 2


# -- room ----------------------------------------------------------------------------------


def test_new_sessions_go_to_the_first_disk_with_room(tmp_path: Path) -> None:
    small, large = make_root(make_folder(tmp_path / "small")), make_root(tmp_path / "large")
    make_folder(large.folder)

    disk = QuotaDisk({small.folder: 1_000, large.folder: 10_000})
    placement = Placement([small, large], disk)

    assert [placement.choose(size) for size in (950, 951, 9_501)] == [small, large, large]
    assert placement.reserve_bytes(small.folder) == 50


def test_the_reserve_is_the_smaller_of_5_gb_and_5_per_cent_unless_set(tmp_path: Path) -> None:
    root = make_root(tmp_path)

    reserves = [
        Placement([root], QuotaDisk({tmp_path: capacity}), reserve_gb).reserve_bytes(tmp_path)
        for capacity, reserve_gb in ((10**9, None), (10**12, None), (10**12, 0.5))
    ]

    assert reserves == [5 * 10**7, 5 * 1024**3, 1024**3 / 2]


def test_folders_of_one_disk_have_its_room_once(tmp_path: Path) -> None:
    disk = QuotaDisk({tmp_path: 1_000})

    assert measure_free(disk, [tmp_path, tmp_path / "not" / "there"]) == 1_000
