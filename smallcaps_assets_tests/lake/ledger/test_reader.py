import datetime as dt
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Totals
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.schemas import COVERAGE, RECEIPTS
from smallcaps_assets_tests.lake.ledger_factories import (
    NOON,
    Clock,
    list_missing,
    make_attempt,
    make_failure,
    make_plan,
    make_receipt,
)

A1, A2, A3, B1 = "AAA_2024-03-14", "AAA_2024-03-15", "AAA_2024-03-18", "BBB_2024-03-15"


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    ledger.record_plan(make_plan(A1, A2, A3, B1))
    return ledger


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, [A1, A2, A3, B1]),
        ({"tickers": ["BBB", "ZZZ"]}, [B1]),
        ({"tickers": []}, []),
        ({"first": dt.date(2024, 3, 15)}, [A2, A3, B1]),
        ({"last": dt.date(2024, 3, 15)}, [A1, A2, B1]),
        ({"tickers": ["AAA"], "first": dt.date(2024, 3, 15), "last": dt.date(2024, 3, 15)}, [A2]),
    ],
)
def test_missing_keys_selects_tickers_and_sessions(
    ledger: Ledger, selection: dict[str, object], expected: list[str]
) -> None:
    missing = ledger.missing_keys(**selection)  # type: ignore[arg-type]  # by the parameters above

    assert missing["key"].to_list() == expected


def test_missing_keys_says_in_which_state_they_are(ledger: Ledger) -> None:
    ledger.record_failures([make_failure(A1, "not_entitled")])

    row = ledger.missing_keys().row(0)

    assert row == (A1, "AAA", dt.date(2024, 3, 14), "not_entitled")


def test_stored_sessions_selects_tickers_and_sessions(ledger: Ledger) -> None:
    ledger.record_receipts([make_receipt(A1), make_receipt(A2, rows=0), make_receipt(B1)])

    everything = ledger.stored_sessions()
    chosen = ledger.stored_sessions(["AAA"], last=dt.date(2024, 3, 14))

    assert everything["rows"].to_list() == [500, 0, 500]
    assert chosen.rows() == [("AAA", dt.date(2024, 3, 14), 500, 20_000, True)]


def test_states_leaves_out_what_it_does_not_know(ledger: Ledger) -> None:
    odd = "BCpC_2024-03-15"
    ledger.record_receipts([make_receipt(A1), make_receipt(odd)])
    unknown = ["ZZZ_2024-03-15", "BCPC_2024-03-15", "BRK.A_2024-03-15"]

    assert ledger.states([A1, A2, odd, *unknown]) == {
        A1: "complete",
        A2: "planned",
        odd: "complete",
    }
    with pytest.raises(DataError, match="TICKER_YYYY-MM-DD"):
        ledger.states(["AAA"])


@pytest.mark.parametrize(
    ("state", "is_due"),
    [("failed", True), ("not_entitled", True), ("empty_disputed", False), ("quarantined", True)],
)
def test_is_ask_due_after_a_failure_of_today(ledger: Ledger, state: str, *, is_due: bool) -> None:
    ledger.record_failures([make_failure(A1, state)])

    assert ledger.is_ask_due(A1, NOON.date()) is is_due


def test_is_ask_due_is_never_for_a_green_session(ledger: Ledger) -> None:
    """L9: an empty session is never asked for again."""
    ledger.record_receipts([make_receipt(A1, rows=0)])

    assert not ledger.is_ask_due(A1, NOON.date() + dt.timedelta(days=9))
    assert ledger.is_ask_due("ZZZ_2024-03-15", NOON.date())


def test_is_ask_due_three_times_more_for_a_disputed_session(ledger: Ledger, clock: Clock) -> None:
    asked = 0
    for _ in range(20):
        if ledger.is_ask_due(A1, clock.now.date()):
            ledger.record_failures([make_failure(A1, "empty_disputed")])
            asked += 1
        clock.pass_time(hours=12)

    assert asked == 1 + 3


def test_what_was_disputed_by_a_wrong_clock_is_not_waited_for(ledger: Ledger, clock: Clock) -> None:
    today = clock.now.date()
    clock.pass_time(hours=24 * 4_000)
    ledger.record_failures([make_failure(A1, "empty_disputed")])

    assert ledger.is_ask_due(A1, today)
    assert A1 in ledger.missing_keys(due_on=today)["key"].to_list()


def test_missing_keys_due_leaves_out_what_was_disputed_today(ledger: Ledger, clock: Clock) -> None:
    ledger.record_failures([make_failure(A1, "empty_disputed"), make_failure(A2)])
    today = clock.now.date()

    due_today = ledger.missing_keys(["AAA"], due_on=today)["key"].to_list()
    due_tomorrow = ledger.missing_keys(due_on=today + dt.timedelta(days=1))["key"].to_list()

    assert due_today == [A2, A3]
    assert due_tomorrow == [A1, A2, A3, B1]


def test_missing_keys_due_leaves_out_what_was_disputed_often_enough(
    ledger: Ledger, clock: Clock
) -> None:
    for _ in range(4):
        ledger.record_failures([make_failure(A1, "empty_disputed")])
        clock.pass_time(days=1)

    assert ledger.missing_keys(due_on=clock.now.date())["key"].to_list() == [A2, A3, B1]
    assert list_missing(ledger) == [A1, A2, A3, B1]


def test_activity_sums_what_happened_since(ledger: Ledger, clock: Clock) -> None:
    ledger.record_attempt(make_attempt())
    ledger.record_counters("run", {"rate_limited": 5})
    clock.pass_time(minutes=10)
    ledger.record_attempt(make_attempt(sessions=3))
    ledger.record_attempt(make_attempt(sessions=0, rows=0, bytes=0, requests=7, kind="payload"))
    ledger.record_counters("run", {"rate_limited": 2, "reset": 0})

    activity = ledger.activity(clock.now - dt.timedelta(minutes=5))

    assert (activity.sessions, activity.requests) == (3, 2 + 7)
    assert (activity.rows, activity.bytes) == (500, 20_000)
    assert activity.errors == {"payload": 1}
    assert activity.counters == {"rate_limited": 2}
    assert activity.first_at == clock.now


def test_activity_remembers_the_last_commit(ledger: Ledger, clock: Clock) -> None:
    before = ledger.activity(clock.now)
    ledger.record_receipts([make_receipt(A1)])
    clock.pass_time(days=3)

    after = ledger.activity(clock.now)

    assert before.last_commit_at is None
    assert (after.sessions, after.first_at, after.last_commit_at) == (0, None, NOON)


def test_records_tells_what_is_stored_and_what_failed(ledger: Ledger) -> None:
    ledger.record_receipts([make_receipt(A1)])
    ledger.record_failures([make_failure(A2, "empty_disputed", kind="volume")])

    records = ledger.records([A1, A2, "ZZZ_2024-03-15"])

    assert list(records) == [A1, A2]
    assert (records[A1].rows, records[A1].bytes) == (500, 20_000)
    assert records[A1].content_hash == "b" * 64
    assert (records[A2].state, records[A2].error_kind) == ("empty_disputed", "volume")
    assert (records[A2].asked_count, records[A2].last_asked_date) == (1, NOON.date())


def test_coverage_holds_every_planned_session(ledger: Ledger) -> None:
    ledger.record_receipts([make_receipt(A1), make_receipt("ZZZ_2024-03-15")])
    ledger.record_failures([make_failure(A2)])

    coverage = ledger.coverage()

    assert coverage.schema == COVERAGE.schema
    assert coverage.select("state", "rows", "error_kind").rows() == [
        ("complete", 500, None),
        ("failed", None, "unavailable"),
        ("planned", None, None),
        ("planned", None, None),
    ]


def test_coverage_by_year_counts_what_is_done(ledger: Ledger) -> None:
    ledger.record_plan(make_plan(A1, A2, "AAA_2023-12-29", B1))
    ledger.record_receipts([make_receipt(A1)])

    assert ledger.coverage_by_year().rows() == [
        ("AAA", 2023, 1, 0),
        ("AAA", 2024, 2, 1),
        ("BBB", 2024, 1, 0),
    ]


def test_receipts_gives_the_table_of_receipts(ledger: Ledger) -> None:
    ledger.record_receipts([make_receipt(A2, rows=0), make_receipt(A1, is_seam_ambiguous=True)])

    receipts = ledger.receipts()

    assert receipts.schema == RECEIPTS.schema
    assert receipts["state"].to_list() == ["complete", "empty"]
    assert receipts["is_seam_ambiguous"].to_list() == [True, False]
    assert receipts["committed_timestamp"].dt.replace_time_zone(None)[0] == NOON.replace(
        tzinfo=None
    )


def test_answers_of_an_empty_ledger_have_their_columns(tmp_path: Path) -> None:
    with Ledger(tmp_path / "empty.sqlite") as ledger:
        assert ledger.coverage().schema == COVERAGE.schema
        assert ledger.receipts().schema == RECEIPTS.schema
        assert ledger.missing_keys().columns == ["key", "ticker", "session_date", "state"]
        assert ledger.failed_sessions().height == ledger.recent_errors().height == 0
        assert ledger.counts() == {}
        assert ledger.totals() == Totals(sessions=0, rows=0, bytes=0, requests=0)


def test_recent_errors_shows_the_newest_first(ledger: Ledger) -> None:
    for key, kind in ((A1, "payload"), (A2, "unavailable"), (A3, "rate_limited")):
        ledger.record_failures([make_failure(key)])
        ledger.record_attempt(make_attempt(kind=kind))
        ledger.record_attempt(make_attempt())

    assert ledger.recent_errors(2)["kind"].to_list() == ["rate_limited", "unavailable"]
    assert ledger.failed_sessions(2)["key"].to_list() == [A1, A2]


def test_reader_refuses_to_make_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="download first"):
        LedgerReader(tmp_path / "ledger.sqlite")

    assert list(tmp_path.iterdir()) == []


READ_ALL_ALONG = """
import sys
from pathlib import Path
from smallcaps_assets.lake.ledger.reader import LedgerReader

with LedgerReader(Path(sys.argv[1])) as reader:
    seen = set()
    print(reader.counts(), flush=True)
    while reader.counts().get("planned", 0):
        seen.add(reader.totals().sessions % 2)
    print(reader.totals().sessions, seen <= {0})
"""


def test_another_process_reads_whole_transactions_while_one_writes(ledger: Ledger) -> None:
    keys = [f"T{n}_2024-03-15" for n in range(400)]
    ledger.record_plan(make_plan(*keys))
    command = [sys.executable, "-c", READ_ALL_ALONG, str(ledger.path)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "{'planned': 400}\n"
        for one, two in zip(keys[::2], keys[1::2], strict=True):
            ledger.record_receipts([make_receipt(one), make_receipt(two)])
        output, _ = reader.communicate(timeout=60)

    assert output.split() == ["400", "True"]


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    keys = [f"T{n}_2024-03-15" for n in range(40)]
    ledger.record_plan(make_plan(*keys))

    def record(key: str) -> None:
        ledger.record_receipts([make_receipt(key)])
        ledger.counts()

    threads = [threading.Thread(target=record, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ledger.counts() == {"complete": 40}
