"""Sessions that their bars dispute, against a vendor that loses rows; L27 in all of it."""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.ticks.disputes import DIFFERS, LEAST_BUDGET, RESIDUAL, SURPLUS, UNPROVEN
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.ticks.download import open_stored
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    SESSIONS,
    Rows,
    download,
    hash_rows,
    hash_stored,
    make_keys,
    make_lakehouse,
    make_sessions,
    serve,
    write_bars,
)
from smallcaps_assets_tests.lake.lake_factories import list_revisions

WEEK = SESSIONS[4:9]
ROWS = 230
KEYS = make_keys("ABCD", WEEK)
LATER = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
SOON = dt.datetime(2024, 1, 20, 12, tzinfo=dt.UTC)


def open_lake(folder: Path, server: EmulatorServer, at: dt.datetime = LATER) -> Lakehouse:
    """Return a lake whose bars promise 230 trades in each session of the week."""
    lakehouse = make_lakehouse(folder, server.url, clock=lambda: at)
    write_bars(lakehouse, {("ABCD", date): ROWS for date in WEEK})
    return lakehouse


def make_shares(dates: Iterable[dt.date], count: int = ROWS) -> Rows:
    """Return trades of 100 shares, as the bars count them."""
    return make_sessions(dates, count, size=100)


def marks_of(lakehouse: Lakehouse) -> dict[str, str | None]:
    frame = lakehouse.ledger.receipts()
    return {f"{t}_{d}": m for t, d, m in frame.select("ticker", "session_date", "marks").rows()}


@pytest.mark.parametrize("by", ["page", "row"])
@pytest.mark.parametrize("rows", [1, 7, 60, 180])
def test_a_session_that_lacks_rows_is_never_silently_complete(
    tmp_path: Path, rows: int, by: str
) -> None:
    fault = Fault("short_page", rows=rows, by=by, date=WEEK[2])
    with serve({"ABCD": make_shares(WEEK)}, fault) as server:
        lakehouse = open_lake(tmp_path, server)
        done = download(lakehouse, KEYS)

    whole = [key for key in KEYS if key != KEYS[2]]
    assert set(done.keys_in(states.COMPLETE)) >= set(whole)
    assert [marks_of(lakehouse)[key] for key in whole] == [None] * 4
    if by == "page" or rows > 0.05 * ROWS:
        assert done.keys_in(states.DISPUTED) == [KEYS[2]]
        assert done.summary.failures == {"disputed": 1}
    else:
        assert marks_of(lakehouse)[KEYS[2]] == RESIDUAL


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
    assert len(list_revisions(lakehouse.layout)) == len(KEYS)
    assert set(lakehouse.ledger.revisions()["counts"]) == {"new"}


def test_an_answer_that_heals_replaces_the_rows_in_the_same_run(tmp_path: Path) -> None:
    fault = Fault("short_page", rows=9, times=1, date=WEEK[3])
    with serve({"ABCD": make_shares(WEEK)}, fault) as server:
        lakehouse = open_lake(tmp_path, server)
        done = download(lakehouse, KEYS)

    assert done.keys_in(states.COMPLETE) == KEYS
    assert lakehouse.ledger.revisions().height == 1
    assert lakehouse.ledger.counts() == {}


def test_a_young_session_settles_on_the_third_date_and_a_lost_ledger_asks_no_more(
    tmp_path: Path,
) -> None:
    fault = Fault("short_page", rows=7, by="row", date=WEEK[0])
    with serve({"ABCD": make_shares(WEEK[:1])}, fault) as server:
        days = [SOON + dt.timedelta(days=day) for day in range(3)]
        for at in days:
            lakehouse = open_lake(tmp_path, server, at)
            done = download(lakehouse, KEYS[:1])
            assert done.keys_in(states.COMPLETE) == (KEYS[:1] if at == days[2] else [])
            lakehouse.ledger.close()
            lakehouse.layout.ledger_file.unlink()
        server.reset()
        download(open_lake(tmp_path, server, days[2]), KEYS[:1])
        assert server.stats.requests == 0


def test_a_session_without_a_bar_is_unproven_and_a_surplus_is_noted(tmp_path: Path) -> None:
    dates = [*WEEK[:1], SESSIONS[30]]
    rows = {"ABCD": make_shares(dates), "MORE": make_shares(WEEK[:1], ROWS + 9)}
    with serve(rows) as server:
        lakehouse = open_lake(tmp_path, server)
        write_bars(lakehouse, {("ABCD", WEEK[0]): ROWS, ("MORE", WEEK[0]): ROWS})
        download(lakehouse, make_keys("ABCD", dates) + make_keys("MORE", WEEK[:1]))

    assert list(marks_of(lakehouse).values()) == [None, UNPROVEN, SURPLUS]
    assert lakehouse.ledger.marks() == {UNPROVEN: 1, SURPLUS: 1}


def test_a_person_accepts_what_no_answer_settles(tmp_path: Path) -> None:
    fault = Fault("short_page", rows=60, by="row", date=WEEK[0])
    with serve({"ABCD": make_shares(WEEK)}, fault) as server:
        lakehouse = open_lake(tmp_path, server)
        download(lakehouse, KEYS)
        accepted = download(lakehouse, KEYS, accept_disputed=True)

    assert accepted.keys_in(states.COMPLETE) == KEYS
    receipt = lakehouse.store.read_receipt("ABCD", WEEK[0])
    assert receipt.is_accepted_disputed
    assert receipt.marks == (RESIDUAL,)


def make_year(tickers: int, difference: int) -> tuple[dict, dict]:  # type: ignore[type-arg]
    """Return trades of many tickers in January, and bars that count more."""
    dates = [date for date in SESSIONS if date.month == 1]
    names = [f"T{number}" for number in range(tickers)]
    rows = {name: make_shares(dates, 50) for name in names}
    return rows, {(name, date): 50 + difference for name in names for date in dates}


def test_a_field_that_differs_all_year_is_set_aside_within_the_budget(tmp_path: Path) -> None:
    """Counts are two higher in every session: none is red, and few requests show it."""
    rows, bars = make_year(6, 2)
    keys = [
        key for ticker in rows for key in make_keys(ticker, [d for t, d in bars if t == ticker])
    ]
    with serve(rows) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: LATER)
        write_bars(lakehouse, bars, volume_of=lambda count: (count - 2) * 100.0)
        done = download(lakehouse, keys)
        extra = server.stats.requests - 6

    assert done.keys_in(states.COMPLETE) == sorted(keys)
    assert extra <= LEAST_BUDGET
    assert lakehouse.ledger.marks().keys() <= {RESIDUAL, DIFFERS}
    assert lakehouse.ledger.marks()[DIFFERS] > 60


def test_bars_doubled_on_one_date_are_at_fault_and_thousands_of_sessions_are_not_asked_for(
    tmp_path: Path,
) -> None:
    rows, bars = make_year(25, 0)
    date = WEEK[2]
    doubled = {key: count * (2 if key[1] == date else 1) for key, count in bars.items()}
    keys = [
        key for ticker in rows for key in make_keys(ticker, [d for t, d in bars if t == ticker])
    ]
    with serve(rows) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: LATER)
        write_bars(lakehouse, doubled)
        done = download(lakehouse, keys)
        assert server.stats.requests <= 25 + 3 + 1
        write_bars(lakehouse, bars)
        lakehouse.ledger.record_unjudged(["2024-01"])
        server.reset()
        changed = open_stored(lakehouse).judge_new()
        assert server.stats.requests == 0

    assert sorted(done.keys_in(states.DISPUTED)) == changed
    assert len(changed) == 25
    assert set(lakehouse.ledger.states(keys).values()) == {states.COMPLETE}


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
    assert lakehouse.store.read_receipt("ABCD", WEEK[0]).revision == 2


def test_a_lake_of_before_is_judged_by_what_its_receipts_hold(tmp_path: Path) -> None:
    """A receipt with 223 trades beside a bar of 230 was green."""
    with serve({"ABCD": make_shares(WEEK, ROWS - 7)}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=lambda: LATER)
        download(lakehouse, KEYS)
        write_bars(lakehouse, {("ABCD", date): ROWS for date in WEEK})
        lakehouse.ledger.reindex(lakehouse.store.iter_receipts())
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
    assert len(list_revisions(lakehouse.layout)) == 1
    changed = {key for key, value in hash_stored(lakehouse).items() if value != before[key]}
    assert changed == (set() if counts == "old" else {KEYS[1]})
