import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.bar_months import BarMonthFacts, BarMonthStore
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lake.reader_factories import make_bars

FEBRUARY = make_bars("AAA_2024-02-28", "AAA_2024-02-29", "BBB_2024-02-29")
MARCH = make_bars("AAA_2024-03-01", "AAA_2024-03-15")


@pytest.fixture
def store(tmp_path: Path) -> BarMonthStore:
    return BarMonthStore(LakeLayout(tmp_path), FileSystem())


def write(store: BarMonthStore, month: str, bars: pl.DataFrame) -> BarMonthFacts:
    return store.write_daily_bars(month, bars, covered=bars["session_date"], is_closed=True)


def test_write_daily_bars_stores_them_sorted_with_their_facts(store: BarMonthStore) -> None:
    covered = [dt.date(2024, 2, 29), dt.date(2024, 2, 28)]

    facts = store.write_daily_bars("2024-02", FEBRUARY.reverse(), covered=covered, is_closed=False)

    assert_frame_equal(store.read_daily_bars().collect(), FEBRUARY)
    assert store.read_bar_months() == [facts]
    assert facts == BarMonthFacts(
        month="2024-02",
        rows=3,
        is_closed=False,
        sessions=2,
        covered=tuple(sorted(covered)),
        is_sifted=True,
    )


def test_write_daily_bars_twice_changes_no_byte(store: BarMonthStore) -> None:
    path = store.layout.daily_bars_file("2024-02")
    write(store, "2024-02", FEBRUARY)
    before = path.read_bytes()

    write(store, "2024-02", FEBRUARY.reverse())

    assert path.read_bytes() == before


def test_a_month_may_have_no_bars_and_no_file(store: BarMonthStore) -> None:
    store.layout.daily_bars_file("2024-02").parent.mkdir(parents=True)
    assert store.list_bar_months() == []
    assert store.read_daily_bars().collect().schema == DAILY_BARS.schema

    facts = write(store, "2024-02", DAILY_BARS.empty())

    assert (facts.rows, facts.sessions) == (0, 0)
    assert store.read_daily_bars().collect().is_empty()
    assert store.list_bar_months() == ["2024-02"]


@pytest.mark.parametrize(
    ("month", "bars", "error", "message"),
    [
        ("2024-02", MARCH, DataError, "2024-03"),
        ("2024-13", FEBRUARY, DataError, "YYYY-MM"),
        ("2024-02", FEBRUARY.drop("close"), SchemaError, "close"),
    ],
)
def test_write_daily_bars_refuses_what_does_not_belong(
    store: BarMonthStore, month: str, bars: pl.DataFrame, error: type[DataError], message: str
) -> None:
    with pytest.raises(error, match=message):
        write(store, month, bars)

    assert store.list_bar_months() == []


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, 5),
        (dt.date(2024, 2, 29), None, 4),
        (None, dt.date(2024, 2, 29), 3),
        (dt.date(2024, 2, 29), dt.date(2024, 3, 1), 3),
        (dt.date(2024, 4, 1), dt.date(2024, 4, 30), 0),
    ],
)
def test_read_daily_bars_selects_dates_across_months(
    store: BarMonthStore, first: dt.date | None, last: dt.date | None, expected: int
) -> None:
    write(store, "2024-03", MARCH)
    write(store, "2024-02", FEBRUARY)

    bars = store.read_daily_bars(first, last).collect()

    assert bars.height == expected
    assert bars.schema == DAILY_BARS.schema


def test_read_covered_sessions_gives_those_between(store: BarMonthStore) -> None:
    write(store, "2024-02", FEBRUARY)
    write(store, "2024-03", MARCH)

    covered = store.read_covered_sessions(dt.date(2024, 2, 29), dt.date(2024, 3, 1))

    assert covered == {dt.date(2024, 2, 29), dt.date(2024, 3, 1)}


def test_read_bar_months_refuses_what_it_did_not_write(store: BarMonthStore) -> None:
    path = store.layout.daily_bars_file("2024-02")
    path.parent.mkdir(parents=True)
    FEBRUARY.write_parquet(path)
    with pytest.raises(DataError, match="materialize daily_bars again"):
        store.read_bar_months()

    write(store, "2024-02", FEBRUARY)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="is damaged"):
        store.read_bar_months()


@pytest.mark.parametrize("crash_at", range(4))
def test_crash_leaves_the_old_month_or_the_new_one(tmp_path: Path, crash_at: int) -> None:
    """L13: whatever instant the process dies at, a reader sees a whole file."""
    write(BarMonthStore(LakeLayout(tmp_path), FileSystem()), "2024-02", FEBRUARY.head(1))
    disk = ScriptedDisk(crash_at=crash_at)
    with pytest.raises(Crash):
        write(BarMonthStore(LakeLayout(tmp_path), disk), "2024-02", FEBRUARY)

    found = BarMonthStore(LakeLayout(tmp_path), FileSystem()).read_daily_bars().collect()

    assert found.height in {1, FEBRUARY.height}
