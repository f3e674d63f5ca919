import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.errors import DataError, MissingPartitionError, SchemaError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.schemas import INSTANT
from smallcaps_assets.schemas_research import HALTS

MONTH = "2024-03"
FACTS = {"input_hash": "abc", "rows": 2}


def make_halts(*tickers: str) -> pl.DataFrame:
    start = dt.datetime(2024, 3, 15, 14, tzinfo=dt.UTC)
    rows = [
        (ticker, start.date(), start, start + dt.timedelta(minutes=5), "activity")
        for ticker in tickers
    ]
    return pl.DataFrame(rows, HALTS.schema, orient="row")


@pytest.fixture
def store(tmp_path: Path) -> ResearchStore:
    return ResearchStore(LakeLayout(tmp_path), FileSystem())


def list_names(store: ResearchStore) -> list[str]:
    return sorted(path.name for path in store.path(HALTS, MONTH).parent.iterdir())


def test_batches_become_one_file_with_facts(store: ResearchStore) -> None:
    rows = store.write(HALTS, MONTH, [make_halts("AAA"), make_halts("BBB")], FACTS)

    assert rows == 2
    assert store.scan(HALTS, [MONTH]).collect().equals(make_halts("AAA", "BBB"))
    assert store.scan(HALTS, [MONTH]).collect().schema["start"] == INSTANT
    assert store.read_facts(HALTS, MONTH) == FACTS
    assert store.list_months(HALTS) == [MONTH]


def test_equal_rows_and_facts_make_equal_bytes(store: ResearchStore) -> None:
    store.write(HALTS, MONTH, [make_halts("AAA")], FACTS)
    first = store.path(HALTS, MONTH).read_bytes()
    store.write(HALTS, MONTH, [make_halts("AAA")], FACTS)

    assert store.path(HALTS, MONTH).read_bytes() == first


def test_a_month_without_rows_is_a_table(store: ResearchStore) -> None:
    assert store.write(HALTS, MONTH, [], FACTS) == 0
    assert store.scan(HALTS, [MONTH]).collect().equals(HALTS.empty())


def test_a_failure_in_the_middle_leaves_the_old_table(store: ResearchStore) -> None:
    store.write(HALTS, MONTH, [make_halts("AAA")], FACTS)

    def break_off() -> Iterator[pl.DataFrame]:
        yield make_halts("BBB")
        yield make_halts("CCC").drop("evidence")

    with pytest.raises(SchemaError, match="evidence"):
        store.write(HALTS, MONTH, break_off(), {"input_hash": "new"})

    assert store.scan(HALTS, [MONTH]).collect().equals(make_halts("AAA"))
    assert list_names(store) == [f"{MONTH}.parquet"]


def test_what_was_never_made_is_missed_and_never_empty(store: ResearchStore) -> None:
    assert store.read_facts(HALTS, MONTH) == {}
    assert store.list_months(HALTS) == []
    with pytest.raises(MissingPartitionError, match="smallcaps research"):
        store.scan(HALTS, [MONTH])


def test_a_damaged_file_has_no_facts(store: ResearchStore) -> None:
    store.write(HALTS, MONTH, [make_halts("AAA")], FACTS)
    path = store.path(HALTS, MONTH)
    path.write_bytes(path.read_bytes()[:-20])

    assert store.read_facts(HALTS, MONTH) == {}


def test_a_table_of_one_file(store: ResearchStore) -> None:
    store.write(HALTS, None, [make_halts("AAA")], FACTS)

    assert store.scan(HALTS).collect().height == 1
    assert store.path(HALTS).name == "halts.parquet"


@pytest.mark.parametrize("month", ["2024-13", "../x", ""])
def test_only_months_have_files(store: ResearchStore, month: str) -> None:
    with pytest.raises(DataError, match="YYYY-MM"):
        store.path(HALTS, month)
