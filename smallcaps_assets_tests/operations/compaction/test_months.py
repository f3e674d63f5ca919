"""Compaction: which months, exactly once each row, whatever happened before and in between."""

import datetime as dt
import os
from pathlib import Path

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.errors import StorageError
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.compaction.months import (
    Done,
    MonthFacts,
    MonthState,
    judge_months,
    judge_staleness,
)
from smallcaps_assets_tests.ingest.month_lakes import (
    APRIL,
    KEYS,
    MARCH,
    assert_exactly_once,
    assert_same_rows,
    compact,
    fill_month_lake,
    make_month_lake,
    publish_keys,
    quarantine_session,
    read_catalog,
    read_rows,
    store_session,
)
from smallcaps_assets_tests.lakehouse_factories import NOW, flip_byte

pytestmark = pytest.mark.usefixtures("receipt_lakes")


def list_month_files(lakehouse: Lakehouse) -> dict[str, bytes]:
    folder = lakehouse.layout.home.compacted_dir
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def list_facts(lakehouse: Lakehouse, *months: str) -> list[MonthFacts]:
    return judge_months(lakehouse.ledger, lakehouse.store, lakehouse.bounds, months or None)


def judge(lakehouse: Lakehouse, month: str) -> tuple[MonthState, bool]:
    (facts,) = list_facts(lakehouse, month)
    return facts.state, facts.is_stale


@pytest.fixture
def filled(tmp_path: Path) -> Lakehouse:
    return fill_month_lake(tmp_path)


def test_compact_months_writes_what_users_read_before_once(filled: Lakehouse) -> None:
    refresh_catalog(filled)
    before, served = read_rows(filled), read_catalog(filled)

    first, files = compact(filled), list_month_files(filled)
    again = compact(filled)

    assert first == {MARCH: Done.WRITTEN, APRIL: Done.WRITTEN}
    assert again == {MARCH: Done.REUSED, APRIL: Done.REUSED}
    assert list_month_files(filled) == files
    assert read_rows(filled).equals(before)
    assert_same_rows(read_catalog(filled), served)
    assert_exactly_once(filled)


def test_an_incomplete_month_is_left_alone_with_its_reason(tmp_path: Path) -> None:
    lakehouse = make_month_lake(tmp_path)
    for key in KEYS[:-1]:
        store_session(lakehouse, key)

    done = compact(lakehouse)

    assert done == {MARCH: Done.WAITING, APRIL: Done.WRITTEN}
    reason = list_facts(lakehouse, MARCH)[0].reason
    assert reason == "1 planned sessions are not complete (1 planned), first CON_2024-03-18"
    assert_exactly_once(lakehouse)


def test_a_month_that_is_not_over_is_left_alone(tmp_path: Path) -> None:
    key = f"AAAA_{NOW.date() - dt.timedelta(days=5)}"
    lakehouse = make_month_lake(tmp_path, [key])
    store_session(lakehouse, key)

    assert compact(lakehouse) == {key[5:12]: Done.WAITING}
    assert list_facts(lakehouse)[0].reason == "the month is not over"


def test_only_the_months_asked_for_are_compacted(filled: Lakehouse) -> None:
    assert compact(filled, APRIL) == {APRIL: Done.WRITTEN}
    assert judge(filled, MARCH) == (MonthState.DUE, False)
    assert_exactly_once(filled)


def test_a_replaced_session_makes_its_month_stale_and_is_read_at_once(filled: Lakehouse) -> None:
    compact(filled)

    store_session(filled, KEYS[0], rows=9, seed=99)

    assert judge(filled, MARCH) == (MonthState.DUE, True)
    assert_exactly_once(filled)
    refresh_catalog(filled)
    assert read_catalog(filled).height == read_rows(filled).height
    assert compact(filled) == {MARCH: Done.WRITTEN, APRIL: Done.REUSED}
    assert_exactly_once(filled)


def test_a_session_moved_aside_is_read_no_more(filled: Lakehouse) -> None:
    compact(filled)

    quarantine_session(filled, KEYS[1])

    assert judge(filled, MARCH) == (MonthState.INCOMPLETE, True)
    assert_exactly_once(filled)
    refresh_catalog(filled)
    assert read_catalog(filled).height == read_rows(filled).height
    assert compact(filled)[MARCH] is Done.WAITING
    store_session(filled, KEYS[1], seed=7)
    assert compact(filled)[MARCH] is Done.WRITTEN
    assert_exactly_once(filled)


def test_a_session_planned_later_makes_its_month_stale(filled: Lakehouse) -> None:
    compact(filled)
    late = "DDDD_2024-03-20"

    publish_keys(filled, [*KEYS, late])
    assert judge(filled, MARCH) == (MonthState.INCOMPLETE, False)
    store_session(filled, late)

    verdict = judge_staleness(list_facts(filled))
    assert not verdict.passed
    assert verdict.offenders["month"].to_list() == [MARCH]
    assert_exactly_once(filled)
    compact(filled)
    assert judge_staleness(list_facts(filled)).passed
    assert_exactly_once(filled)


def test_a_damaged_session_fails_its_month_alone(filled: Lakehouse) -> None:
    flip_byte(filled.layout.trades_file(*decode_key(KEYS[0])))

    done = compact(filled)

    assert done == {MARCH: Done.FAILED, APRIL: Done.WRITTEN}
    assert filled.store.months.find(MARCH) is None


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    lakehouse = fill_month_lake(tmp_path, changes={"disk_reserve_gb": 1_000_000})

    with pytest.raises(StorageError, match="no room to compact"):
        compact(lakehouse)

    assert list_month_files(lakehouse) == {}


@pytest.mark.parametrize(("pattern", "size"), [("trades-*", 10), ("manifest.json", 2)])
def test_a_month_that_cannot_be_read_falls_back_to_landing_files(
    filled: Lakehouse, pattern: str, size: int
) -> None:
    compact(filled)
    (path,) = filled.layout.home.month_dir(MARCH).glob(pattern)
    os.truncate(path, size)

    assert_exactly_once(filled)
    assert judge(filled, MARCH) == (MonthState.DUE, True)
    assert compact(filled)[MARCH] is Done.WRITTEN
    assert judge(filled, MARCH) == (MonthState.COMPACTED, False)


def test_files_of_an_older_version_go_once_a_catalog_reads_the_new_one(filled: Lakehouse) -> None:
    compact(filled)
    (old,) = filled.layout.home.month_dir(MARCH).glob("trades-*")
    store_session(filled, KEYS[0], seed=99)

    compact(filled)
    assert old.exists()
    compact(filled)

    assert not old.exists()
    assert_exactly_once(filled)
