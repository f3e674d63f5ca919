import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.events.watchlist import parse_watchlist
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.lake.interchange.export import (
    GROUP_FILES,
    ExportFacts,
    export_dates,
    export_session_files,
    export_watchlist,
)
from smallcaps_assets.lake.interchange.input_files import read_input
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lake.sessions.parquet import encode_trades
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lake.reader_factories import (
    ALL_PHASES,
    fill_lake,
    find_part,
    make_trades,
    make_watchlist,
)

A1, A2, A3, B1 = "AAA_2024-03-14", "AAA_2024-03-15", "AAA_2024-03-18", "BCpC_2024-03-15"
SESSIONS = {A1: ALL_PHASES, A2: ("after_hours",), A3: (), B1: ("regular", "regular")}
DATES = "AAA/date=2024-03-14/trades.parquet"
DAY = "AAA/year=2024/month=03/day=2024-03-14"

Exporter = Callable[..., ExportFacts]
both_layouts = pytest.mark.parametrize("exporter", [export_dates, export_session_files])


@pytest.fixture
def layout(tmp_path: Path) -> LakeLayout:
    return fill_lake(tmp_path / "data", SESSIONS)


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "not yet made" / "export"


def list_files(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_export_dates_writes_each_session_as_a_file(layout: LakeLayout, dest: Path) -> None:
    facts = export_dates(layout, FileSystem(), dest)

    files = list_files(dest)
    assert sorted(files) == [
        "AAA/date=2024-03-14/_SUCCESS",
        "AAA/date=2024-03-14/trades.parquet",
        "AAA/date=2024-03-15/_SUCCESS",
        "AAA/date=2024-03-15/trades.parquet",
        "BC%70C/date=2024-03-15/_SUCCESS",
        "BC%70C/date=2024-03-15/trades.parquet",
    ]
    assert files[DATES] == encode_trades(make_trades(A1))
    assert (facts.units, facts.unchanged, facts.files, facts.damages) == (3, 0, 6, {})
    assert facts.bytes == sum(map(len, files.values()))


def test_export_session_files_parts_the_phases(layout: LakeLayout, dest: Path) -> None:
    """L7, L11: no phase is thrown away or merged with another; a day of one phase is whole."""
    export_session_files(layout, FileSystem(), dest)

    one_phase = dest / "AAA/year=2024/month=03/day=2024-03-15"
    assert sorted(path.name for path in one_phase.iterdir()) == ["_SUCCESS", "afterhours.parquet"]
    assert sorted(path.name for path in (dest / DAY).iterdir()) == [
        "_SUCCESS",
        "afterhours.parquet",
        "closed.parquet",
        "market.parquet",
        "premarket.parquet",
    ]
    market = pl.read_parquet(dest / DAY / "market.parquet", hive_partitioning=False)
    assert_frame_equal(market, make_trades(A1).filter(pl.col("trading_phase") == "regular"))

    exported = pl.concat(
        pl.read_parquet(path, hive_partitioning=False) for path in dest.rglob("*.parquet")
    )
    stored = pl.concat([make_trades(key, phases) for key, phases in SESSIONS.items()])
    keys = ("ticker", "sip_timestamp", "sequence_number")
    assert_frame_equal(exported.sort(keys), stored.sort(keys))


@both_layouts
def test_second_export_writes_nothing(layout: LakeLayout, dest: Path, exporter: Exporter) -> None:
    exporter(layout, FileSystem(), dest)
    disk = ScriptedDisk()

    facts = exporter(layout, disk, dest)

    assert (facts.units, facts.unchanged, facts.files) == (3, 3, 0)
    assert disk.operations == []


@both_layouts
def test_export_selects_tickers_and_sessions(
    layout: LakeLayout, dest: Path, exporter: Exporter
) -> None:
    selection = Selection(tickers=("AAA",), first=dt.date(2024, 3, 15), last=dt.date(2024, 3, 31))

    facts = exporter(layout, FileSystem(), dest, selection)

    assert facts.units == 1
    assert [folder.name for folder in dest.iterdir()] == ["AAA"]


@both_layouts
@pytest.mark.parametrize("crash_at", [3, 6, 9, 12])
def test_export_resumes_after_a_crash(
    layout: LakeLayout, tmp_path: Path, exporter: Exporter, crash_at: int
) -> None:
    """L13: whatever instant it dies at, running it again gives the same files."""
    with pytest.raises(Crash):
        exporter(layout, ScriptedDisk(crash_at=crash_at), tmp_path / "cut")

    exporter(layout, FileSystem(), tmp_path / "cut")
    exporter(layout, FileSystem(), tmp_path / "whole")

    found = list_files(tmp_path / "cut")
    kept = {name: content for name, content in found.items() if ".tmp-" not in name}
    assert kept == list_files(tmp_path / "whole")


def test_export_removes_what_a_dead_export_left(layout: LakeLayout, dest: Path) -> None:
    folder = dest / "AAA/date=2024-03-14"
    folder.mkdir(parents=True)
    left = folder / ".tmp-unknown"
    left.touch()
    os.utime(left, (0, 0))

    export_dates(layout, FileSystem(), dest)

    assert not left.exists()


@both_layouts
def test_export_replaces_a_session_that_changed(
    layout: LakeLayout, dest: Path, tmp_path: Path, exporter: Exporter
) -> None:
    exporter(layout, FileSystem(), dest)
    fill_lake(layout.data_dir, {A1: ("regular",)})

    facts = exporter(layout, FileSystem(), dest)
    exporter(layout, FileSystem(), tmp_path / "fresh")

    assert facts.unchanged == 2
    assert list_files(dest) == list_files(tmp_path / "fresh")


@both_layouts
def test_export_writes_again_what_was_removed(
    layout: LakeLayout, dest: Path, exporter: Exporter
) -> None:
    exporter(layout, FileSystem(), dest)
    before = list_files(dest)
    next(dest.glob("AAA/**/*.parquet")).unlink()

    facts = exporter(layout, FileSystem(), dest)

    assert facts.unchanged == 2
    assert list_files(dest) == before


@both_layouts
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_export_leaves_damaged_sessions_out_and_says_so(
    layout: LakeLayout, dest: Path, exporter: Exporter, damage: str
) -> None:
    """L12: a bad session fails alone."""
    path = find_part(layout, B1)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[::-1])

    facts = exporter(layout, FileSystem(), dest)

    assert list(facts.damages) == [B1]
    assert [folder.name for folder in dest.iterdir()] == ["AAA"]


@pytest.mark.parametrize("name", [".", "lake", "lake/trades", "reference/x", "plan", "dagster"])
@both_layouts
def test_export_never_writes_among_the_files_of_the_lakehouse(
    layout: LakeLayout, exporter: Exporter, name: str
) -> None:
    before = list_files(layout.data_dir)

    with pytest.raises(ConfigError, match="belongs to the lakehouse"):
        exporter(layout, FileSystem(), layout.data_dir / name)

    assert list_files(layout.data_dir) == before
    assert exporter(layout, FileSystem(), layout.data_dir / "export").units == 3


@both_layouts
def test_export_follows_no_link_out_of_its_folder(
    layout: LakeLayout, dest: Path, tmp_path: Path, exporter: Exporter
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    dest.mkdir(parents=True)
    (dest / "AAA").symlink_to(outside)

    with pytest.raises(ConfigError, match="by a link"):
        exporter(layout, FileSystem(), dest)

    assert list(outside.iterdir()) == []


@both_layouts
@pytest.mark.parametrize("ticker", ["CON", "PRN", "BRK.A", "NUL.A"])
def test_export_keeps_names_that_are_none_on_windows_alone(
    tmp_path: Path, exporter: Exporter, ticker: str
) -> None:
    """L53: `PRN` became `%50RN` where no Windows was in sight."""
    layout = fill_lake(tmp_path / "data", {f"{ticker}_2024-03-14": ("regular",)})

    exporter(layout, FileSystem(), tmp_path / "dest")

    assert [folder.name for folder in (tmp_path / "dest").iterdir()] == [ticker]


@pytest.mark.parametrize("ticker", ["CON", "BRK.A", "BCpC", "A-B", "PRN.", "A^B=C"])
def test_export_gives_tickers_names_that_are_safe_anywhere(tmp_path: Path, ticker: str) -> None:
    layout = fill_lake(tmp_path / "data", {f"{ticker}_2024-03-14": ("regular",)})

    export_dates(layout, FileSystem(), tmp_path / "dest", is_portable=True)

    (folder,) = (tmp_path / "dest").iterdir()
    assert folder.name.split(".")[0] not in {"CON", "PRN"}
    assert set(folder.name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-%")


def test_export_of_a_lake_without_a_ledger(tmp_path: Path, dest: Path) -> None:
    with pytest.raises(MissingPartitionError, match="download first"):
        export_dates(LakeLayout(tmp_path), FileSystem(), dest)


def test_export_writes_many_sessions_in_groups(tmp_path: Path, dest: Path) -> None:
    dates = [dt.date(2024, 1, 1) + dt.timedelta(days) for days in range(GROUP_FILES // 2 + 1)]
    layout = fill_lake(tmp_path / "data", {f"AAA_{date}": ("regular",) for date in dates})
    disk = ScriptedDisk()

    facts = export_dates(layout, disk, dest)

    syncs = [name for name, _ in disk.operations if name == "sync_group"]
    assert len(syncs) == 2 * 2
    assert facts.files == GROUP_FILES + 2


def test_export_watchlist_writes_one_file_a_date(layout: LakeLayout, dest: Path) -> None:
    """It is what the import accepts; the same again writes nothing."""
    watchlist = make_watchlist(A1, A2, B1)
    facts = export_watchlist(layout, FileSystem(), dest, watchlist)

    path = dest / "daily/date=2024-03-15/watchlist.parquet"
    second = pl.read_parquet(path, hive_partitioning=False)
    assert second.schema == {"ticker": pl.String, "info_rich": pl.Boolean}
    assert second.rows() == [("AAA", True), ("BCpC", True)]
    assert sorted(list_files(dest)) == [
        "daily/date=2024-03-14/watchlist.parquet",
        "daily/date=2024-03-15/watchlist.parquet",
    ]
    assert (facts.units, facts.files) == (2, 2)
    imported, _ = parse_watchlist(read_input(dest))
    keys = ["ticker", "session_date"]
    assert_frame_equal(imported.select(keys), watchlist.select(keys))

    disk = ScriptedDisk()
    again = export_watchlist(layout, disk, dest, watchlist.reverse())
    assert (again.units, again.unchanged, again.files) == (2, 2, 0)
    assert disk.operations == []


def test_export_watchlist_empties_dates_it_no_longer_has(layout: LakeLayout, dest: Path) -> None:
    """L18: what an older export left is not taken for a part of this one."""
    export_watchlist(layout, FileSystem(), dest, make_watchlist(A1, A2))

    export_watchlist(layout, FileSystem(), dest, make_watchlist(A2))

    assert read_input(dest).select("ticker", "date").rows() == [("AAA", dt.date(2024, 3, 15))]
