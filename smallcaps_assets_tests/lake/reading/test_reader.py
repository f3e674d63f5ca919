import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import smallcaps_assets
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.schemas import PILOT_WATCHLIST, TRADES, WATCHLIST
from smallcaps_assets_tests.lake.ledger_factories import NOON, make_failure, make_plan
from smallcaps_assets_tests.lake.reader_factories import (
    ALL_PHASES,
    fill_lake,
    find_part,
    make_bars,
    make_pilot,
    make_trades,
    make_watchlist,
    make_window_plan,
    store_sessions,
    store_without_record,
)

A1, A2, A3, B1 = "AAA_2024-03-14", "AAA_2024-03-15", "AAA_2024-03-18", "BCpC_2024-03-15"
SESSIONS = {A1: ALL_PHASES, A2: ("after_hours",), A3: (), B1: ("regular", "regular")}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Return a lake to be read only."""
    return Lake(fill_lake(tmp_path_factory.mktemp("lake"), SESSIONS).data_dir)


def test_trades_gives_every_proven_trade_in_order(filled: Lake) -> None:
    """L3, L11: all trades of all sessions, whatever phases they have."""
    expected = pl.concat([make_trades(key, phases) for key, phases in SESSIONS.items()])

    assert_frame_equal(filled.trades().collect(), expected)


@pytest.mark.parametrize(
    ("tickers", "start", "end", "rows"),
    [
        ("AAA", None, None, 5),
        (["AAA", "BCpC"], "2024-03-15", None, 3),
        (None, None, dt.date(2024, 3, 14), 4),
        (None, dt.date(2024, 3, 15), "2024-03-15", 3),
        (None, dt.datetime(2024, 3, 15, 9, 30, tzinfo=dt.UTC), None, 3),
        ("AAA", "2024-03-18", None, 0),
        (["ZZZ"], None, None, 0),
        ([], None, None, 0),
        ("BCPC", None, None, 0),
    ],
)
def test_trades_selects_tickers_and_sessions_both_ends_included(
    filled: Lake, tickers: str | list[str] | None, start: str, end: str, rows: int
) -> None:
    trades = filled.trades(tickers, start, end).collect()

    assert trades.height == rows
    assert trades.schema == TRADES.schema


@pytest.mark.parametrize(
    ("phases", "rows"), [("regular", 3), (["pre_market", "closed"], 2), ([], 0)]
)
def test_trades_selects_phases(filled: Lake, phases: str | list[str], rows: int) -> None:
    assert filled.trades(phases=phases).collect().height == rows


def test_trades_selects_columns(filled: Lake) -> None:
    trades = filled.trades("BCpC", phases="regular", columns=["size", "ticker"]).collect()

    assert trades.rows() == [(0.5, "BCpC"), (0.5, "BCpC")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phases": "lunch"}, "pre_market"),
        ({"columns": ["prize"]}, "price"),
        ({"start": "15.3.2024"}, "YYYY-MM-DD"),
        ({"end": "yesterday"}, "YYYY-MM-DD"),
    ],
)
def test_trades_refuses_what_does_not_exist(
    filled: Lake, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        filled.trades(**arguments)


def test_trades_shows_no_part_without_a_record(tmp_path: Path) -> None:
    """L18: what a killed run left is there for no reader."""
    layout = fill_lake(tmp_path, {A1: ("regular",)})
    store_without_record(layout, B1)

    assert Lake(tmp_path).trades().collect()["ticker"].to_list() == ["AAA"]


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_trades_refuses_to_leave_a_lost_file_out(tmp_path: Path, damage: str) -> None:
    """L17: missing is never empty."""
    layout = fill_lake(tmp_path, {A1: ("regular",), B1: ("regular",)})
    path = find_part(layout, B1)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(MissingPartitionError, match="1 of 2 files"):
        Lake(tmp_path).trades()
    assert Lake(tmp_path).trades("AAA").collect().height == 1


def test_coverage_and_receipts_come_from_the_ledger(tmp_path: Path) -> None:
    layout = fill_lake(tmp_path, {A1: ("regular",)})
    with Ledger(layout.ledger_file) as ledger:
        ledger.record_plan(make_plan(A1, A2))
        ledger.record_failures([make_failure(A2)])

    lake = Lake(tmp_path)

    assert lake.coverage()["state"].to_list() == ["complete", "failed"]
    assert lake.receipts()["rows"].to_list() == [1]


def test_whole_tables_are_read(tmp_path: Path) -> None:
    tables = TableStore(fill_lake(tmp_path, {}), FileSystem())
    plan, bars = make_window_plan(A1, A2), make_bars(A1, A2, A3)
    record = PlanRecord(plan_hash=hash_plan(plan), sessions=2, tickers=1, created_at=NOON)
    tables.write_plan(plan, record, is_published=True)
    tables.write_daily_bars("2024-03", bars, covered=[], is_closed=True)
    tables.write_table(WATCHLIST, make_watchlist(A1, B1), is_published=True)
    tables.write_table(PILOT_WATCHLIST, make_pilot(A1), is_published=True)

    lake = Lake(str(tmp_path))

    assert_frame_equal(lake.plan(), plan)
    assert_frame_equal(lake.daily_bars("2024-03-15").collect(), bars.tail(2))
    assert_frame_equal(lake.watchlist(), make_watchlist(A1, B1))
    assert_frame_equal(lake.pilot_watchlist(), make_pilot(A1))


def test_a_folder_without_a_lake_or_its_ledger_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="SMALLCAPS_DATA_DIR"):
        Lake(tmp_path)
    LakeLayout(tmp_path).lake_dir.mkdir()

    with pytest.raises(MissingPartitionError, match="download first"):
        Lake(tmp_path).trades()


def test_off_session_trades_are_read_on_request(tmp_path: Path) -> None:
    """P10: prints on a Saturday belong to no session, and lie with those of the month after it."""
    saturday, sunday = "AAA_2024-03-30", "BCpC_2024-03-31"
    layout = fill_lake(tmp_path, {A1: ("regular",)})
    off = {saturday: ("closed",), sunday: ("closed", "closed")}
    store_sessions(layout, off, Tree.OFF_SESSION)

    lake = Lake(layout.data_dir)
    expected = pl.concat([make_trades(key, phases) for key, phases in off.items()])
    assert_frame_equal(lake.off_session_trades().collect(), expected)
    saturdays = lake.off_session_trades("AAA", "2024-03-30", "2024-03-30").collect()
    assert_frame_equal(saturdays, expected.head(1))
    assert lake.off_session_trades(end="2024-03-29").collect().is_empty()
    assert lake.trades().collect().height == 1


def test_duckdb_reads_the_same_rows(filled: Lake) -> None:
    ours = filled.trades("AAA", phases=["regular"]).collect()
    columns = ["sip_timestamp_ns", "price"]

    relation = filled.trades_relation("AAA", phases="regular", columns=columns)

    assert relation.columns == columns
    instants = ours["sip_timestamp"].to_physical().to_list()
    assert sorted(row[0] for row in relation.fetchall()) == sorted(instants)
    assert filled.trades_relation(phases=[]).fetchall() == []
    counted = filled.connect().execute("SELECT count(*) FROM trades")
    assert counted.fetchall() == [(filled.trades().collect().height,)]


def test_duckdb_is_told_what_is_no_column_or_phase(filled: Lake) -> None:
    with pytest.raises(ConfigError, match=r"no column of trades: .'symbol'"):
        filled.trades_relation(columns=["symbol"])
    with pytest.raises(ConfigError, match="no trading phase"):
        filled.trades_relation(phases="lunch")


def test_reading_changes_nothing_on_the_disk(filled: Lake) -> None:
    before = sorted(filled.layout.data_dir.rglob("*"))

    filled.trades().collect()
    filled.coverage()

    assert sorted(filled.layout.data_dir.rglob("*")) == before


def test_lake_is_an_attribute_of_the_package_and_knows_its_path(filled: Lake) -> None:
    assert smallcaps_assets.Lake is Lake
    assert repr(filled) == f"Lake('{filled.layout.data_dir}')"
    with pytest.raises(AttributeError, match="Pond"):
        _ = smallcaps_assets.Pond


def test_importing_the_package_imports_no_library() -> None:
    command = "import sys, smallcaps_assets; print('polars' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    output = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
    )

    assert output.stdout == "False\n"


def test_session_hashes_tell_what_each_proven_session_holds(filled: Lake) -> None:
    hashes = filled.session_hashes("2024-03-15", "2024-03-18")

    assert hashes.columns == ["ticker", "session_date", "rows", "content_hash"]
    assert hashes.drop("content_hash").rows() == [
        ("AAA", dt.date(2024, 3, 15), 1),
        ("AAA", dt.date(2024, 3, 18), 0),
        ("BCpC", dt.date(2024, 3, 15), 2),
    ]
    assert hashes["content_hash"].n_unique() == 3


def test_splits_are_none_where_none_are_on_record(filled: Lake) -> None:
    assert filled.splits().is_empty()


def test_minute_bars_that_were_not_made_are_missed(filled: Lake) -> None:
    with pytest.raises(MissingPartitionError, match="materialize minute_bars"):
        filled.minute_bars()
    assert filled.minute_bars("ZZZ").collect().is_empty()
