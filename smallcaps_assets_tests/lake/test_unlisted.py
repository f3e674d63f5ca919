"""Sessions without a row in the ledger: nobody can tell by any answer which of them have one."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.segments.indexing import list_sessions, spread_sessions
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.ledger.rows import Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.unlisted import read_receipts, read_unlisted
from smallcaps_assets.lake.upkeep.healing import heal_month
from smallcaps_assets.lake.upkeep.indexing import (
    list_stale_months,
    list_stored,
    record_commit,
    record_plan,
    refresh_months,
    reindex_segments,
)
from smallcaps_assets.lake.upkeep.recalling import recall_entries
from smallcaps_assets_tests.lake.ledger_factories import NOON, make_plan
from smallcaps_assets_tests.lake.segments.lake_of_segments import MONTH
from smallcaps_assets_tests.lake.upkeep.histories import (
    Act,
    commit,
    do,
    keys_of,
    make_memory_lake,
    opened,
)

ALL_KEYS = keys_of("A", "B", "C", "D")


class Wish(NamedTuple):
    """A plan that is registered, or sessions that failed."""

    kind: str
    keys: list[str]


plain_acts = st.builds(
    Act,
    st.sampled_from(["commit", "commit", "commit", "restate", "beside", "pack", "harm", "remove"]),
    st.sampled_from(["A", "B", "AB", "BC", "ABC"]),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([True, True, False]),
)
wishes = st.builds(
    Wish,
    st.sampled_from(["plan", "fail", "quarantine"]),
    st.lists(st.sampled_from(ALL_KEYS), unique=True, min_size=1, max_size=4),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path / "ledger.sqlite") as made:
        yield made


def grant(wish: Wish, ledger: Ledger, lake: SegmentLake) -> None:
    """Do to a ledger what a run does."""
    if wish.kind == "plan":
        record_plan(ledger, lambda: lake, make_plan(*wish.keys))
        return
    state = {"fail": "failed", "quarantine": "quarantined"}[wish.kind]
    if wish.kind == "quarantine":
        list_stored(ledger, lake, wish.keys)
    ledger.record_failures([Failure(key, state, "kind", "why") for key in wish.keys])


def answer(ledger: Ledger, lake: SegmentLake) -> dict[str, Any]:
    """Ask a ledger all that is asked of it, rows apart."""
    return {
        "totals": ledger.totals(),
        "counts": ledger.counts(),
        "proofs": ledger.find_proofs(ALL_KEYS),
        "told": sorted(ledger.find_told(ALL_KEYS)),
        "coverage": ledger.coverage().rows(),
        "years": ledger.coverage_by_year().rows(),
        "missing": ledger.missing_keys().rows(),
        "failed": ledger.failed_sessions().rows(),
        "newest": ledger.newest_commit(),
        "since": ledger.count_committed_since(NOON - dt.timedelta(days=999)),
        "untimed": ledger.count_untimed(),
        "marks": ledger.marks(),
        "deficits": ledger.deficits().rows(),
        "compared": ledger.compared_dates().rows(),
        "settled": ledger.settled_keys(),
        "lost": ledger.lost_keys(),
        "two answers": ledger.two_answers().rows(),
        "bits": ledger.ticker_months().rows(),
        "proven": ledger.proven_sessions().rows(),
        "of a ticker": ledger.proven_sessions(["B"], *[decode_key(ALL_KEYS[0])[1]] * 2).rows(),
        "due": [ledger.is_ask_due(key, NOON.date()) for key in ALL_KEYS],
        "receipts": read_receipts(ledger, lambda: lake).rows(),
        "recalled": sorted(ledger.recall_sessions(MONTH).select("ticker", "session_date").rows()),
    }


@settings(max_examples=25)
@given(st.lists(st.one_of(plain_acts, wishes), min_size=2, max_size=8))
def test_no_answer_tells_which_sessions_have_a_row(history: list[Act | Wish]) -> None:
    lake, storage = make_memory_lake()
    with opened() as full, opened() as lean:
        for event in history:
            if isinstance(event, Wish):
                for ledger, lists_all in ((full, True), (lean, False)):
                    stale = list_stale_months(ledger, lake)
                    refresh_months(ledger, lake, stale, lists_all=lists_all)
                    grant(event, ledger, lake)
                continue
            records = do(event, lake, storage)
            if event.is_recorded:
                record_commit(full, lake, records, lists_all=True)
                record_commit(lean, lake, records)
        for ledger, lists_all in ((full, True), (lean, False)):
            refresh_months(ledger, lake, list_stale_months(ledger, lake), lists_all=lists_all)
            ledger.check()

        assert answer(lean, lake) == answer(full, lake)
        reindex_segments(full, lake, lists_all=True)
        reindex_segments(lean, lake)
        lean.check()
        assert answer(lean, lake) == answer(full, lake)


def test_a_plan_over_stored_sessions_finds_them_done(ledger: Ledger) -> None:
    lake, storage = make_memory_lake()
    record_commit(ledger, lake, [commit(lake, "A", "B"), commit(lake, "C")])
    before = ledger.totals()
    assert ledger.states(ALL_KEYS) == {}
    assert ledger.find_unlisted(ALL_KEYS) == keys_of("A", "B", "C")
    loads: list[str] = []
    storage.before = loads.append

    record_plan(ledger, lambda: lake, make_plan(*keys_of("A", "D")))

    assert loads == ["load"], "the record of C is not read"
    assert ledger.counts() == {"planned": 2, "complete": 1, "empty": 1}
    assert ledger.missing_keys()["key"].to_list() == keys_of("D")
    assert (ledger.totals(), ledger.plain_sums().sessions) == (before, 4)
    record_plan(ledger, lambda: lake, make_plan(*keys_of("B")))
    assert ledger.plain_sums().sessions == 2, "a row stays, whatever is planned"
    assert ledger.totals() == before


def test_a_failed_request_takes_nothing_from_a_session_without_a_row(ledger: Ledger) -> None:
    lake, _ = make_memory_lake()
    record_commit(ledger, lake, [commit(lake, "A")])
    key, other = keys_of("A")[0], keys_of("B")[0]

    ledger.record_failures([Failure(one, "failed", "http", "why") for one in (key, other)])

    assert ledger.states([key, other]) == {other: "failed"}
    assert ledger.find_proofs([key]) == {key}


def test_a_ledger_whose_record_is_silent_says_so(ledger: Ledger) -> None:
    lake, storage = make_memory_lake()
    record_commit(ledger, lake, [commit(lake, "A")])
    storage.objects.clear()
    record_commit(ledger, lake, [])
    with pytest.raises(MissingPartitionError, match="reopen"):
        list_stored(ledger, lake, keys_of("A"))


def test_what_a_damaged_record_said_of_sessions_without_a_row_is_asked_again(
    ledger: Ledger,
) -> None:
    lake, storage = make_memory_lake()
    record = commit(lake, "A")
    record_commit(ledger, lake, [record])
    known = recall_entries(ledger, load_calendar(), MONTH)
    assert known.select("state", "content_hash").rows() == [("complete", "")] * 2
    path = record_key(MONTH, record.header.name)
    del storage.objects[path]
    refresh_months(ledger, lake, [MONTH])
    assert ledger.lost_keys() == keys_of("A")

    healing = heal_month(lake, MONTH, known, [record.header.name])
    refresh_months(ledger, lake, [MONTH])

    assert len(healing.quarantined) == 2
    assert ledger.states(ALL_KEYS) == dict.fromkeys(keys_of("A"), "quarantined")
    assert ledger.totals().sessions == 0


def test_means_stand_for_what_the_ledger_does_not_keep(ledger: Ledger) -> None:
    lake, _ = make_memory_lake()
    record_commit(ledger, lake, [commit(lake, "A")])
    told = read_unlisted(ledger, lake, MONTH)
    assert told.select("ticker", "rows").rows() == [("A", 5), ("A", 0)]

    sessions = make_plan(*keys_of("A", "B"))
    found = spread_sessions(sessions, ledger.ticker_months())

    assert found.select("ticker", "rows").rows() == [("A", 2), ("A", 2)]
    assert ledger.plain_sizes()["rows"].to_list() == [5]


def test_no_day_of_a_month_is_overlooked() -> None:
    days = range(1, 32)
    bits = pl.DataFrame(
        {
            "month": ["2024-03"],
            "ticker": ["A"],
            "record": ["r"],
            "proven": [sum(2**d for d in days)],
        }
    )
    assert list_sessions(bits, "proven")["session_date"].dt.day().to_list() == [*days]
