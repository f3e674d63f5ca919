import datetime as dt
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.errors import LakeError, PartitionConflictError, StorageError
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import CatalogFacts, build_catalog
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.segments.parts import PartShape
from smallcaps_assets.lake.storage.files import TEMPORARY_PREFIX, FileSystem
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.schemas import INSTANT, PILOT_WATCHLIST, SPLITS, TABLES, WATCHLIST
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, ScriptedDisk
from smallcaps_assets_tests.lake.ledger_factories import NOON, make_failure, make_plan
from smallcaps_assets_tests.lake.reader_factories import (
    ALL_PHASES,
    Stored,
    begin_lake,
    commit_sessions,
    fill_lake,
    fill_moved_lake,
    find_part,
    make_bars,
    make_pilot,
    make_splits,
    make_trades,
    make_watchlist,
    make_window_plan,
    store_without_record,
)
from smallcaps_assets_tests.lake.segments.lake_of_segments import enter

A1, A2, B1 = "AAA_2024-03-14", "AAA_2024-03-15", "BCpC_2024-03-15"


def query(layout: LakeLayout, statement: str) -> list[tuple[Any, ...]]:
    """Return what plain DuckDB, opened as any reader would, says."""
    with duckdb.connect(str(layout.catalog_file), read_only=True) as connection:
        return connection.sql(statement).fetchall()


def read(layout: LakeLayout, view: str, expression: str = "*") -> list[tuple[Any, ...]]:
    """Return an expression over a view, for each of its rows."""
    with duckdb.connect(str(layout.catalog_file), read_only=True) as connection:
        return connection.table(view).project(expression).fetchall()


def build(layout: LakeLayout) -> CatalogFacts:
    return build_catalog(layout, FileSystem())


SESSIONS = {A1: ALL_PHASES, A2: (), B1: ("regular", "regular")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> LakeLayout:
    """Return a lake with its catalog, to be read only."""
    layout = fill_lake(tmp_path_factory.mktemp("lake"), SESSIONS)
    build(layout)
    return layout


@pytest.fixture
def layout(tmp_path: Path) -> LakeLayout:
    """Return a lake that has no catalog yet."""
    return fill_lake(tmp_path, SESSIONS)


def test_build_catalog_shows_the_trades_of_proven_sessions(built: LakeLayout) -> None:
    rows = query(built, "SELECT ticker, session_date, count(*) FROM trades GROUP BY ALL ORDER BY 1")

    assert rows == [("AAA", dt.date(2024, 3, 14), 4), ("BCpC", dt.date(2024, 3, 15), 2)]


@pytest.mark.parametrize(
    ("view", "rows"),
    [("pre_market_trades", 1), ("regular_trades", 3), ("after_hours_trades", 1), ("trades", 6)],
)
def test_views_of_phases_part_the_trades(built: LakeLayout, view: str, rows: int) -> None:
    """L7: every phase is kept, and told from the others."""
    assert len(read(built, view)) == rows


def test_each_year_with_trades_has_a_view(tmp_path: Path) -> None:
    old = "AAA_2023-12-29"
    layout = fill_lake(tmp_path, {old: ("regular",), "AAA_2022-12-29": (), **SESSIONS})
    build(layout)

    names = query(layout, "SELECT name FROM (SHOW TABLES) WHERE name LIKE 'trades_2%'")

    assert names == [("trades_2023",), ("trades_2024",)]
    assert [len(read(layout, name)) for (name,) in names] == [1, 6]
    assert query(layout, "DESCRIBE trades_2023") == query(layout, "DESCRIBE trades")


def test_views_give_instants_to_the_nanosecond(built: LakeLayout) -> None:
    """L5: the nanoseconds are exact, and the instant is never rounded up."""
    rows = query(
        built,
        "SELECT sip_timestamp_ns, epoch_us(sip_timestamp) FROM trades "
        "WHERE ticker = 'AAA' ORDER BY sip_timestamp_ns LIMIT 1",
    )

    assert rows == [(1_710_406_800_123_456_789, 1_710_406_800_123_456)]


@pytest.mark.parametrize(
    "expression",
    [
        "date_trunc('minute', sip_timestamp)",
        "time_bucket(INTERVAL '5 minutes', sip_timestamp)",
        "sip_timestamp + INTERVAL 1 HOUR",
        "sip_timestamp - TIMESTAMPTZ '2024-03-14 00:00:00+00'",
        "sip_timestamp >= TIMESTAMPTZ '2024-03-14 00:00:00+00'",
        "sip_timestamp AT TIME ZONE 'America/New_York'",
        "extract(hour FROM sip_timestamp)",
        "participant_timestamp IS NULL",
    ],
)
def test_views_let_duckdb_do_arithmetic_on_instants(built: LakeLayout, expression: str) -> None:
    rows = read(built, "trades", expression)

    assert len(rows) == 6
    assert all(value is not None for (value,) in rows)


@pytest.mark.parametrize("name", sorted(TABLES.keys() - {"request_ranges"}))
def test_views_have_the_columns_of_the_contract(built: LakeLayout, name: str) -> None:
    found = [row[0] for row in query(built, f"DESCRIBE {name}")]

    expected = []
    for column, contract in TABLES[name].columns.items():
        expected += [column, f"{column}_ns"] if contract.dtype == INSTANT else [column]
    assert found == expected


def test_empty_views_have_the_types_of_full_ones(built: LakeLayout, tmp_path: Path) -> None:
    empty = LakeLayout(tmp_path / "empty")
    empty.data_dir.mkdir()
    build(empty)

    assert query(empty, "SELECT count(*) FROM trades") == [(0,)]
    assert query(empty, "DESCRIBE trades") == query(built, "DESCRIBE trades")
    assert query(empty, "DESCRIBE receipts") == query(built, "DESCRIBE receipts")


def test_build_catalog_shows_whole_tables(layout: LakeLayout) -> None:
    tables = TableStore(layout, FileSystem())
    bars = make_bars(A1, A2)
    plan = make_window_plan(A1, A2)
    record = PlanRecord(plan_hash=hash_plan(plan), sessions=2, tickers=1, created_at=NOON)
    tables.write_daily_bars("2024-03", bars, covered=[], is_closed=True)
    tables.write_table(WATCHLIST, make_watchlist(A1, B1), is_published=True)
    tables.write_table(PILOT_WATCHLIST, make_pilot(A1), is_published=True)
    tables.write_table(SPLITS, make_splits(A1, A2, B1), is_published=True)
    tables.write_plan(plan, record, is_published=True)

    build(layout)

    names = ("daily_bars", "watchlist", "pilot_watchlist", "splits", "event_window_plan")
    assert [len(read(layout, name)) for name in names] == [2, 2, 1, 3, 2]
    assert read(layout, "daily_bars", "volume, trade_count") == [(100, None), (101, None)]


def test_coverage_shows_each_planned_session_and_its_state(layout: LakeLayout) -> None:
    with Ledger(layout.ledger_file) as ledger:
        ledger.record_plan(make_plan(A1, A2, "AAA_2024-03-18"))
        ledger.record_failures([make_failure("AAA_2024-03-18")])

    build(layout)

    rows = query(layout, "SELECT state, rows, error_kind FROM coverage ORDER BY session_date")
    assert rows == [("complete", 4, None), ("empty", 0, None), ("failed", None, "unavailable")]


def test_receipts_are_a_snapshot_with_instants(built: LakeLayout) -> None:
    rows = query(
        built,
        "SELECT state, rows, committed_timestamp_ns % 1000, committed_timestamp > "
        "TIMESTAMPTZ '2020-01-01 00:00:00+00' FROM receipts ORDER BY ticker, session_date",
    )

    assert rows == [("complete", 4, 0, True), ("empty", 0, 0, True), ("complete", 2, 0, True)]


def test_parts_without_a_record_are_not_visible(layout: LakeLayout) -> None:
    """L18: a part of a killed run is there for no reader."""
    store_without_record(layout, "ZZZ_2024-03-15")

    build(layout)

    assert query(layout, "SELECT DISTINCT ticker FROM trades ORDER BY 1") == [("AAA",), ("BCpC",)]


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_build_catalog_leaves_a_lost_file_out_and_says_so(
    layout: LakeLayout, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """L12: one lost session closes no other one."""
    path = find_part(layout, B1)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])

    with caplog.at_level(logging.WARNING):
        facts = build(layout)

    assert (facts.trades_files, facts.missing_files) == (1, 1)
    assert str(path) in caplog.text
    assert query(layout, "SELECT DISTINCT ticker FROM trades") == [("AAA",)]


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.0, bit=0)  # duckdb.Error
@example(place=0.0155, bit=7)  # RuntimeError: a name that is not UTF-8
def test_a_damaged_footer_closes_no_other_file(layout: LakeLayout, place: float, bit: int) -> None:
    """L12, L55: DuckDB takes the columns of all files from the first one."""
    path = find_part(layout, A1)
    whole = path.read_bytes()
    content = bytearray(whole)
    length = int.from_bytes(content[-8:-4], "little")
    content[len(content) - 8 - length + int(place * length)] ^= 1 << bit
    path.write_bytes(content)

    try:
        facts = build(layout)
    finally:
        path.write_bytes(whole)

    assert facts.trades_files == 2
    assert query(layout, "SELECT count(*) FROM receipts") == [(3,)]


def test_a_lake_whose_only_file_is_damaged_names_it(tmp_path: Path) -> None:
    layout = fill_lake(tmp_path, {A1: ("regular",)})
    path = find_part(layout, A1)
    path.write_bytes(bytes(path.stat().st_size))

    with pytest.raises(LakeError, match=f"{path}.*smallcaps audit --deep"):
        build(layout)


def test_catalog_works_from_any_folder(
    layout: LakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    relative = LakeLayout(Path(tmp_path.name))
    build(relative)

    monkeypatch.chdir("/")

    assert query(layout, "SELECT count(*) FROM trades") == [(6,)]


@pytest.mark.parametrize("name", ["with space's", "a[bc]d", "star*", "100%", "ünï"])
def test_catalog_works_in_folders_of_any_name(tmp_path: Path, name: str) -> None:
    layout = fill_lake(tmp_path / name, {A1: ("regular",), B1: ("regular",)})

    build(layout)

    assert query(layout, "SELECT count(*) FROM trades") == [(2,)]


@pytest.mark.parametrize("name", ["with space's", "a[bc]d*", "100%ü"])
def test_parts_are_read_in_folders_of_any_name(tmp_path: Path, name: str) -> None:
    """Which sessions count of a part is told by its name; links lead to the folder as well."""
    sessions = SESSIONS | {A2: ("regular",)}
    moved = fill_moved_lake(tmp_path / name, sessions)
    (tmp_path / "link").symlink_to(moved.data_dir)
    rows = [("AAA", 5), ("BCpC", 2)]

    for layout in (moved, LakeLayout(tmp_path / "link")):
        build(layout)

        assert query(layout, "SELECT ticker, count(*) FROM trades GROUP BY 1 ORDER BY 1") == rows
        counts = Lake(layout.data_dir).trades().group_by("ticker").len().sort("ticker")
        assert counts.collect().rows() == rows


READ_UNTIL_TOLD = """
import sys
import duckdb

with duckdb.connect(sys.argv[1], read_only=True) as connection:
    for _ in range(2):
        print(connection.sql("SELECT count(*) FROM trades").fetchall()[0][0], flush=True)
        sys.stdin.readline()
"""


def test_build_catalog_while_another_process_reads_the_old_one(layout: LakeLayout) -> None:
    build(layout)
    command = [sys.executable, "-c", READ_UNTIL_TOLD, str(layout.catalog_file)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "6\n"
        fill_lake(layout.data_dir, {A2: ("regular",)})
        build(layout)

        output, _ = reader.communicate("\n\n", timeout=60)

    assert output == "6\n"
    assert query(layout, "SELECT count(*) FROM trades") == [(7,)]


def test_what_stops_a_build_leaves_the_old_catalog_and_no_rest(layout: LakeLayout) -> None:
    """L13: a reader sees a whole catalog at every instant."""
    facts = build(layout)
    assert (facts.trades_files, facts.missing_files, facts.receipts) == (2, 0, 3)
    assert facts.bytes == layout.catalog_file.stat().st_size
    fill_lake(layout.data_dir, {A2: ("regular",)})

    with pytest.raises(StorageError):
        build_catalog(layout, FailingDisk(number=28, fail_at=0))
    layout.watchlist_file.parent.mkdir()
    layout.watchlist_file.write_bytes(b"no parquet at all")
    with pytest.raises(LakeError, match="smallcaps audit"):
        build(layout)
    names = sorted(path.name for path in layout.data_dir.iterdir())
    assert names == ["catalog.duckdb", "catalog.lock", "events", "lake"]
    layout.watchlist_file.unlink()
    for crash_at in range(2):
        with pytest.raises(Crash):
            build_catalog(layout, ScriptedDisk(crash_at=crash_at))

    assert query(layout, "SELECT count(*) FROM trades") == [(6,)]


class BusyDisk(FileSystem):
    """A disk on which another catalog is built just before the first one is put in place."""

    def __init__(self, layout: LakeLayout, other: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.layout = layout
        self.other = other

    def size(self, path: Path) -> int:
        if path.name.startswith(TEMPORARY_PREFIX) and self.other:
            fill_lake(self.layout.data_dir, self.other)
            self.other = {}
            self.layout.catalog_lock_file.unlink()  # nothing keeps the other one out
            build(self.layout)
        return super().size(path)


def test_a_catalog_is_not_replaced_by_one_of_an_older_ledger(layout: LakeLayout) -> None:
    build_catalog(layout, BusyDisk(layout, {A2: ("regular",)}))

    assert query(layout, "SELECT count(*) FROM trades") == [(7,)]


def test_a_catalog_of_a_ledger_that_was_restored_since_is_replaced(layout: LakeLayout) -> None:
    earlier = layout.ledger_file.read_bytes()
    fill_lake(layout.data_dir, {A2: ("regular",)})
    build(layout)
    layout.ledger_file.write_bytes(earlier)

    build(layout)

    assert query(layout, "SELECT sum(rows) FROM receipts") == [(6,)]


def test_of_two_builders_one_waits_or_is_refused(layout: LakeLayout) -> None:
    waiting = threading.Thread(target=build, args=[layout])

    with LakeLock(layout.catalog_lock_file, locks_folder=False).hold("another builder"):
        waiting.start()
        with pytest.raises(PartitionConflictError, match="in use by another builder"):
            build_catalog(layout, FileSystem(), wait_s=0)
        assert not layout.catalog_file.exists()
    waiting.join()

    assert layout.catalog_file.exists()


def test_build_catalog_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unmounted"):
        build(LakeLayout(tmp_path / "unmounted"))
    assert not (tmp_path / "unmounted").exists()


def test_build_catalog_holds_a_thousand_files(tmp_path: Path) -> None:
    """L26: no file is opened to be listed, so that many cost little each."""
    layout = LakeLayout(tmp_path)
    stored = [make_stored(f"A{number:04}_2024-03-14") for number in range(1_000)]
    commit_sessions(begin_lake(layout), stored, PartShape(part_bytes=1, group_rows=1))
    Ledger(layout.ledger_file).close()

    facts = build(layout)

    assert facts.trades_files == 1_000


def make_stored(key: str) -> Stored:
    return Stored(enter(*decode_key(key), rows=1), make_trades(key, ["regular"]))
