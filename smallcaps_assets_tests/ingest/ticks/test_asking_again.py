"""Sessions that their bars dispute, against a vendor that loses rows; L27 in all of it."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.ticks.disputes import RESIDUAL, SURPLUS, UNPROVEN
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import index_stored
from smallcaps_assets.ingest.proof.judging import open_stored
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    SESSIONS,
    Rows,
    download,
    hash_rows,
    hash_stored,
    list_kept,
    make_keys,
    make_lakehouse,
    make_sessions,
    serve,
    write_bars,
)

WEEK = SESSIONS[4:9]
ROWS = 230
KEYS = make_keys("ABCD", WEEK)
LATER = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
SOON = dt.datetime(2024, 1, 20, 12, tzinfo=dt.UTC)


def open_lake(folder: Path, server: EmulatorServer, at: dt.datetime = LATER) -> Lakehouse:
    lakehouse = make_lakehouse(folder, server.url, clock=lambda: at)
    write_bars(lakehouse, {("ABCD", date): ROWS for date in WEEK})
    return lakehouse


def make_shares(dates: Iterable[dt.date], count: int = ROWS) -> Rows:
    """Return trades of 100 shares, as the bars count them."""
    return make_sessions(dates, count, size=100)


def marks_of(lakehouse: Lakehouse) -> dict[str, str | None]:
    frame = lakehouse.ledger.receipts()
    return {f"{t}_{d}": m for t, d, m in frame.select("ticker", "session_date", "marks").rows()}


@pytest.mark.parametrize("rows", [7, 180])
def test_an_honest_vendor_heals_all_afterwards(tmp_path: Path, rows: int) -> None:
    trades = {"ABCD": make_shares(WEEK)}
    with serve(trades, Fault("short_page", rows=rows, by="row")) as server:
        download(open_lake(tmp_path, server, SOON), KEYS)
    with serve(trades) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: SOON)
        again = download(lakehouse, KEYS)
        server.reset()
        download(lakehouse, KEYS)
        assert server.stats.requests == 0

    assert again.keys_in(states.COMPLETE) == KEYS
    assert set(marks_of(lakehouse).values()) == {None}
    assert hash_stored(lakehouse) == {
        key: hash_rows(make_shares([date])) for key, date in zip(KEYS, WEEK, strict=True)
    }
    assert len(list_kept(lakehouse)) == len(KEYS)
    assert set(lakehouse.ledger.revisions()["counts"]) == {"new"}


def test_an_answer_that_heals_replaces_the_rows_in_the_same_run(tmp_path: Path) -> None:
    fault = Fault("short_page", rows=9, times=1, date=WEEK[3])
    with serve({"ABCD": make_shares(WEEK)}, fault) as server:
        lakehouse = open_lake(tmp_path, server)
        done = download(lakehouse, KEYS)

    assert done.keys_in(states.COMPLETE) == KEYS
    assert lakehouse.ledger.revisions().height == 1
    assert lakehouse.ledger.counts() == {}


def test_a_session_without_a_bar_is_unproven_and_a_surplus_is_noted(tmp_path: Path) -> None:
    dates = [*WEEK[:1], SESSIONS[30]]
    rows = {"ABCD": make_shares(dates), "MORE": make_shares(WEEK[:1], ROWS + 9)}
    with serve(rows) as server:
        lakehouse = open_lake(tmp_path, server)
        write_bars(lakehouse, {("ABCD", WEEK[0]): ROWS, ("MORE", WEEK[0]): ROWS})
        download(lakehouse, make_keys("ABCD", dates) + make_keys("MORE", WEEK[:1]))

    assert list(marks_of(lakehouse).values()) == [UNPROVEN, SURPLUS]  # no row without a mark
    assert lakehouse.ledger.marks() == {UNPROVEN: 1, SURPLUS: 1}


def test_bars_that_come_later_turn_a_stored_session_red_without_a_request(tmp_path: Path) -> None:
    with serve({"ABCD": make_shares(WEEK, ROWS - 7)}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: LATER)
        download(lakehouse, KEYS)
        assert lakehouse.ledger.marks() == {UNPROVEN: 5}
        write_bars(lakehouse, {("ABCD", WEEK[0]): ROWS, ("ABCD", WEEK[1]): ROWS - 7})
        lakehouse.ledger.record_unjudged(["2024-01"])
        before = hash_stored(lakehouse)
        server.reset()
        changed = open_stored(lakehouse).judge_new()
        assert server.stats.requests == 0

    assert changed == [KEYS[0]]
    assert hash_stored(lakehouse) == before
    assert lakehouse.ledger.states(KEYS[:2]) == {KEYS[0]: states.DISPUTED, KEYS[1]: states.COMPLETE}
    assert lakehouse.ledger.marks() == {UNPROVEN: 3}
    assert lakehouse.sessions.read_receipt("ABCD", WEEK[0]).revision == 2


def test_a_lake_of_before_is_judged_by_what_its_receipts_hold(tmp_path: Path) -> None:
    """A receipt with 223 trades beside a bar of 230 was green."""
    with serve({"ABCD": make_shares(WEEK, ROWS - 7)}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: LATER)
        download(lakehouse, KEYS)
        write_bars(lakehouse, {("ABCD", date): ROWS for date in WEEK})
        index_stored(lakehouse)
        again = download_by_run(lakehouse)

    assert again.keys() == set(KEYS)
    assert set(marks_of(lakehouse).values()) == {RESIDUAL}


def download_by_run(lakehouse: Lakehouse) -> dict[str, str]:
    backfill = Backfill(lakehouse, run_id="again")
    with backfill.held(wait_s=0.0):
        return {outcome.key: outcome.state for outcome in backfill.run(KEYS)}


@pytest.mark.parametrize("revision", ["removed", "inserted", "price"])
def test_a_person_asks_again_and_what_changed_is_listed(tmp_path: Path, revision: str) -> None:
    """L28: a green session can be asked for again; both answers stay."""
    trades = {"ABCD": make_shares(WEEK)}
    fault = Fault("revised_history", revision=revision, date=WEEK[1])
    with serve(trades) as server:
        download(open_lake(tmp_path, server), KEYS)
    with serve(trades, fault) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: LATER)
        before = hash_stored(lakehouse)
        done = download(lakehouse, KEYS, asks_again=True)

    listed = lakehouse.ledger.revisions()
    assert done.keys_in(states.COMPLETE) == KEYS
    assert listed.select("ticker", "session_date").rows() == [("ABCD", WEEK[1])]
    counts = "old" if revision == "removed" else "new"
    assert listed["counts"].to_list() == [counts]
    assert len(list_kept(lakehouse)) == 1
    changed = {key for key, value in hash_stored(lakehouse).items() if value != before[key]}
    assert changed == (set() if counts == "old" else {KEYS[1]})
