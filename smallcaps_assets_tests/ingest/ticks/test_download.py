"""A download against the emulated vendor: what lands, what it costs, what stays open and why."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from smallcaps_assets.core import states
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import PartitionConflictError
from smallcaps_assets.ingest.ticks.download import Download
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    RETRIES,
    SESSIONS,
    Downloaded,
    Rows,
    download,
    find_asked,
    hash_rows,
    hash_stored,
    make_keys,
    make_lakehouse,
    make_session,
    make_sessions,
    serve,
    write_bars,
)
from smallcaps_assets_tests.polygon.polygon_factories import RenderedSource
from smallcaps_assets_tests.vendors import Clock

WEEK = SESSIONS[4:9]
"""Monday to Friday."""
PATIENCE = 1 + RETRIES


def fetch(
    folder: Path,
    rows: Mapping[str, Rows],
    keys: Sequence[str],
    *faults: Fault,
    **changes: Any,  # noqa: ANN401  any setting
) -> tuple[Lakehouse, Downloaded, EmulatorServer]:
    """Download once from a vendor with faults, which then is gone."""
    with serve(rows, *faults) as server:
        lakehouse = make_lakehouse(folder, server.url, **changes)
        done = download(lakehouse, keys)
    return lakehouse, done, server


# -- whole sessions ------------------------------------------------------------------------


def test_busy_days_arrive_whole(tmp_path: Path) -> None:
    """L2, L4: page chains keep every row, and rows that share a timestamp all survive.

    A full last page has to prove that it is the last, whatever the daily bar says: bars leave
    official prices out, so equal counts may be chance.
    """
    counts = {"ONE": 1, "FULL": 50_000, "OVER": 50_001, "BUSY": 120_000}
    rows = {ticker: make_session(WEEK[0], count) for ticker, count in counts.items()}
    keys = [key for ticker in counts for key in make_keys(ticker, WEEK[:1])]

    with serve(RenderedSource(rows)) as server:
        lakehouse = make_lakehouse(tmp_path / "lake", server.url)
        write_bars(lakehouse, {(t, WEEK[0]): count for t, count in counts.items()})
        done = download(lakehouse, keys)

    assert server.stats.by_ticker == {"ONE": 1, "FULL": 2, "OVER": 2, "BUSY": 3}
    assert {key: outcome.rows for key, outcome in done.outcomes.items()} == dict(
        zip(keys, counts.values(), strict=True)
    )
    assert hash_stored(lakehouse) == {
        key: hash_rows(rows[ticker]) for key, ticker in zip(keys, counts, strict=True)
    }


def test_a_range_is_one_chain_cut_into_whole_sessions(tmp_path: Path) -> None:
    rows, keys = {"ABCD": make_sessions(WEEK, 7)}, make_keys("ABCD", WEEK)

    lakehouse, _, server = fetch(tmp_path, rows, keys, page_limit=10)

    assert find_asked(server) == [("ABCD", WEEK[0], WEEK[-1])]
    assert server.stats.requests == 4
    assert hash_stored(lakehouse) == {
        key: hash_rows(make_session(date, 7)) for key, date in zip(keys, WEEK, strict=True)
    }


# -- resume --------------------------------------------------------------------------------


def test_a_second_run_makes_no_request(tmp_path: Path) -> None:
    """L9: complete, empty and unverified sessions are finished."""
    keys = make_keys("ABCD", WEEK) + make_keys("NONE", [WEEK[0], SESSIONS[30]])

    with serve({"ABCD": make_sessions(WEEK)}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        write_bars(lakehouse, {("ABCD", date): 2 for date in WEEK})
        first = download(lakehouse, keys)
        server.reset()
        second = download(lakehouse, keys)

    assert server.stats.requests == 0
    assert first.keys_in(states.EMPTY) == make_keys("NONE", [WEEK[0]])
    assert first.keys_in(states.EMPTY_UNVERIFIED) == make_keys("NONE", [SESSIONS[30]])
    assert second.summary.reused == len(keys)
    assert {o.state for o in second.outcomes.values()} == {o.state for o in first.outcomes.values()}


@pytest.mark.parametrize("seed", range(3))
def test_a_grown_plan_asks_for_the_difference_exactly(tmp_path: Path, seed: int) -> None:
    """L10: sessions before, between, around and after those stored."""
    stored = [date for number, date in enumerate(SESSIONS[:20]) if (number * 7 + seed) % 3]
    with serve({"ABCD": make_sessions(SESSIONS[:25])}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        download(lakehouse, make_keys("ABCD", stored))
        server.reset()
        download(lakehouse, make_keys("ABCD", SESSIONS[:25]))

    asked = [
        date for _, first, last in find_asked(server) for date in SESSIONS if first <= date <= last
    ]
    assert sorted(asked) == sorted(set(SESSIONS[:25]) - set(stored))
    assert len(hash_stored(lakehouse)) == 25


def test_what_only_a_receipt_knows_is_not_asked_for(tmp_path: Path) -> None:
    """The process died after a commit and before the ledger heard of it."""
    with serve({"ABCD": make_sessions(WEEK)}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        download(lakehouse, make_keys("ABCD", WEEK))
        lakehouse.ledger.close()
        lakehouse.layout.ledger_file.unlink()
        server.reset()
        renewed = make_lakehouse(tmp_path, server.url)
        again = download(renewed, make_keys("ABCD", WEEK))

    assert server.stats.requests == 0
    assert again.summary.reused == renewed.ledger.totals().sessions == len(WEEK)


# -- a session fails alone -----------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_a_failing_session_fails_alone(tmp_path: Path, bad: int) -> None:
    """L12: its range is halved until it is alone; what is around it lands."""
    dates = SESSIONS[:8]
    rows, fault = {"ABCD": make_sessions(dates)}, Fault("503", date=dates[bad])

    _, done, server = fetch(tmp_path, rows, make_keys("ABCD", dates), fault)

    assert done.keys_in(states.FAILED) == make_keys("ABCD", [dates[bad]])
    assert len(done.keys_in(states.COMPLETE)) == 7
    assert server.stats.requests == 4 * PATIENCE + 3
    assert done.summary.failures == {"unavailable": 1}


def test_an_odd_page_stops_no_later_day(tmp_path: Path) -> None:
    """L12: a day whose rows have no conditions at all, as a page of its own and in the middle."""
    odd = make_session(WEEK[1], 4, conditions=None)
    rows = make_session(WEEK[0], 4) + odd + make_sessions(WEEK[2:], 4)

    lakehouse, done, _ = fetch(tmp_path, {"ABCD": rows}, make_keys("ABCD", WEEK), page_limit=4)

    assert done.keys_in(states.COMPLETE) == make_keys("ABCD", WEEK)
    assert hash_stored(lakehouse)[make_keys("ABCD", WEEK)[1]] == hash_rows(odd)


@pytest.mark.parametrize(
    "change", [{"price": "5.01"}, {"sequence_number": 1.5}, {"exchange": "Q"}], ids=str
)
def test_a_day_that_breaks_the_contract_fails_alone(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """L12: rows of other types than the vendor's."""
    odd = make_session(WEEK[1], 3, **change)
    rows = make_session(WEEK[0], 3) + odd + make_sessions(WEEK[2:], 3)

    _, done, _ = fetch(tmp_path, {"ABCD": rows}, make_keys("ABCD", WEEK))

    assert done.keys_in(states.COMPLETE) == make_keys("ABCD", [WEEK[0], *WEEK[2:]])
    assert done.outcomes[make_keys("ABCD", WEEK)[1]].kind == "payload"


# -- the vendor is away --------------------------------------------------------------------


def make_many(tickers: int = 10) -> tuple[dict[str, Rows], list[str]]:
    rows = {f"T{number:02d}": make_session(WEEK[0], 2) for number in range(tickers)}
    return rows, [key for ticker in rows for key in make_keys(ticker, WEEK[:1])]


def test_an_outage_ends_the_download_and_leaves_the_rest_missing(tmp_path: Path) -> None:
    rows, keys = make_many()
    with serve(rows, Fault("outage", after=4, requests=10**6)) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, workers=1, outage_after=3)
        done = download(lakehouse, keys)
        asked = server.stats.requests
        server.reset()
        again = download(lakehouse, keys)

    assert "3 ranges in a row, of 3 tickers" in done.summary.aborted
    left = sorted(set(keys) - done.outcomes.keys())
    assert done.summary.unreached == left
    assert f"3 sessions not reached, first {left[0]}" in done.summary.describe()
    assert (done.summary.finished, done.summary.failures) == (4, {"unavailable": 3})
    assert (len(done.outcomes), asked) == (7, 4 + 3 * PATIENCE)
    assert (again.summary.finished, server.stats.requests) == (6, 6)


@pytest.mark.parametrize("workers", [1, 8])
def test_a_ticker_that_always_fails_ends_nothing(tmp_path: Path, workers: int) -> None:
    """L46: all of its ranges and their halves are one ticker that fails, and the rest is done."""
    tickers = ["AAAA", "DFHH", "GGGG", "ZZZZ"]
    dates = SESSIONS[:30]
    rows = {ticker: make_sessions(dates, 1) for ticker in tickers}
    keys = [key for ticker in tickers for key in make_keys(ticker, dates)]
    with serve(rows, Fault("500", ticker="DFHH")) as server:
        lakehouse = make_lakehouse(
            tmp_path, server.url, workers=workers, outage_after=3, range_max_sessions=10
        )
        done = download(lakehouse, keys)
        asked = server.stats.by_ticker["DFHH"]
        again = download(lakehouse, keys)

    sick = make_keys("DFHH", dates)
    assert done.keys_in(states.FAILED) == again.keys_in(states.FAILED) == sick
    assert len(done.keys_in(states.COMPLETE)) == 90
    assert (done.summary.aborted, done.summary.unreached) == ("", [])
    assert "DFHH fails, the rest is done (30 sessions open)" in done.summary.describe()
    assert "DFHH fails, the rest is done" in again.summary.describe()
    assert asked <= (11 + workers) * PATIENCE
    assert server.stats.by_ticker["DFHH"] - asked <= (6 + workers) * PATIENCE


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("sick", [range(1), range(40, 65)], ids=str)
def test_sick_tickers_do_not_keep_a_download_from_the_others(
    tmp_path: Path, sick: range, workers: int
) -> None:
    """L46: one or many, side by side or not, each is asked for, and known ones come last."""
    rows, keys = make_many(100)
    rows["T99"] = make_session(WEEK[0], 9)
    names = [f"T{number:02d}" for number in sick]
    with serve(rows, *(Fault("500", ticker=name) for name in names)) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, workers=workers, outage_after=5)
        first = download(lakehouse, keys)
        before = len(server.requests)
        second = download(lakehouse, [*keys, *make_keys("ZZZZ", WEEK[:1])])
        order = [request.path.rpartition("/")[2] for request in server.requests[before:]]

    failed = [key for name in names for key in make_keys(name, WEEK[:1])]
    assert first.keys_in(states.FAILED) == failed
    assert len(first.keys_in(states.COMPLETE)) == 100 - len(failed)
    assert first.summary.aborted == ""
    assert "the rest is done" in first.summary.describe()
    # Requests of several threads arrive in any order: among the first tickers is what counts.
    assert "ZZZZ" in list(dict.fromkeys(order))[: 2 * workers - 1]
    assert second.keys_in(states.FAILED) == failed
    assert second.summary.aborted == ""


@pytest.mark.parametrize("workers", [1, 8])
def test_a_date_that_fails_for_every_ticker_ends_nothing(tmp_path: Path, workers: int) -> None:
    """L46: each range fails, and each is answered once that date is out of it."""
    tickers = [f"T{number:02d}" for number in range(30)]
    rows = {ticker: make_sessions(WEEK, 1) for ticker in tickers}
    keys = [key for ticker in tickers for key in make_keys(ticker, WEEK)]

    _, done, _ = fetch(tmp_path, rows, keys, Fault("502", date=WEEK[1]), workers=workers)

    assert done.keys_in(states.FAILED) == [key for key in keys if key.endswith(str(WEEK[1]))]
    assert len(done.keys_in(states.COMPLETE)) == 4 * len(tickers)
    assert done.summary.aborted == ""


@pytest.mark.parametrize(("workers", "most"), [(1, 12), (4, 20)])
def test_a_vendor_that_is_down_costs_few_requests(tmp_path: Path, workers: int, most: int) -> None:
    """L46: ranges of many sessions are not cut in parts while nobody is answered."""
    tickers = [f"T{number:02d}" for number in range(50)]
    keys = [key for ticker in tickers for key in make_keys(ticker, SESSIONS[:30])]

    _, done, server = fetch(tmp_path, {}, keys, Fault("503"), workers=workers, outage_after=5)

    assert "tickers, so the rest was not asked for" in done.summary.aborted
    assert server.stats.requests <= most * PATIENCE
    assert done.outcomes.keys() | set(done.summary.unreached) == set(keys)


def test_sessions_that_fail_between_others_are_found_by_later_runs(tmp_path: Path) -> None:
    """L46: where many of a range fail, what is well arrives after some runs."""
    dates = SESSIONS[:32]
    faults = [Fault("500", date=date) for date in dates[::4]]
    keys = make_keys("ABCD", dates)
    with serve({"ABCD": make_sessions(dates, 1)}, *faults) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, workers=1)
        done = [download(lakehouse, keys) for _ in range(3)]

    assert len(done[-1].keys_in(states.FAILED)) == 8
    assert len(done[-1].keys_in(states.COMPLETE)) == 24


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("401", states.FAILED),
        ("not_entitled", states.NOT_ENTITLED),
        ("not_authorized", states.NOT_ENTITLED),
    ],
)
def test_a_refused_key_ends_the_download_at_once(tmp_path: Path, kind: str, state: str) -> None:
    rows, keys = make_many()
    with serve(rows, Fault(kind, times=1)) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, workers=1)
        done = download(lakehouse, keys)
        asked = server.stats.requests
        healed = download(lakehouse, keys)

    assert asked == 1
    assert [outcome.state for outcome in done.outcomes.values()] == [state]
    assert done.summary.aborted
    assert healed.keys_in(states.COMPLETE) == keys


@pytest.mark.parametrize(("workers", "most"), [(1, 30), (8, 120)])
def test_what_the_plan_does_not_reach_back_to_costs_few_requests(
    tmp_path: Path, workers: int, most: int
) -> None:
    """The first session that is open is searched for once, not once per ticker."""
    tickers = [f"T{number:02d}" for number in range(20)]
    dates, begin = SESSIONS[:20], SESSIONS[13]
    keys = [key for ticker in tickers for key in make_keys(ticker, dates)]
    rows = {ticker: make_sessions(dates, 1) for ticker in tickers}

    fault = Fault("timeframe", before=begin)
    _, done, server = fetch(tmp_path, rows, keys, fault, workers=workers)

    closed = [key for key in keys if key[-10:] < begin.isoformat()]
    assert done.keys_in(states.NOT_ENTITLED) == closed
    assert done.keys_in(states.COMPLETE) == [key for key in keys if key not in closed]
    assert done.summary.aborted == ""
    assert server.stats.requests <= most


def test_what_the_vendor_refuses_is_searched_for_once_a_day(tmp_path: Path) -> None:
    clock, keys = Clock(dt.date(2024, 3, 1)), make_keys("ABCD", SESSIONS[:20])
    rows, fault = {"ABCD": make_sessions(SESSIONS[:20], 1)}, Fault("timeframe", before=SESSIONS[13])
    asked = []
    with serve(rows, fault) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=clock)
        for hours in (1, 24, 1):
            before = server.stats.requests
            download(lakehouse, keys)
            asked.append(server.stats.requests - before)
            clock.now += dt.timedelta(hours=hours)
        server.faults = []
        opened = download(lakehouse, keys)

    assert asked[1] == 1 < asked[2]
    assert opened.keys_in(states.COMPLETE) == keys


def test_nothing_is_written_once_the_folder_of_the_lake_is_another(tmp_path: Path) -> None:
    """L40: the download stops, and whoever took the new folder is alone in it."""
    rows, keys = make_many()
    with serve(rows) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, workers=1, commit_interval_s=1e-9)
        folder = lakehouse.home.lake_dir
        with lakehouse.writing("a download", 0):
            outcomes = Download(lakehouse, run_id="run-1").run(keys)
            next(outcomes)
            folder.rename(folder.with_name("aside"))
            folder.mkdir()
            with pytest.raises(PartitionConflictError, match="nothing more is written"):
                list(outcomes)

    assert list(folder.iterdir()) == []


# -- no trades -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticker", "session", "state"),
    [
        ("TRADED", WEEK[0], states.EMPTY_DISPUTED),
        ("HALTED", WEEK[0], states.EMPTY),
        ("ABSENT", WEEK[0], states.EMPTY),
        ("TRADED", SESSIONS[30], states.EMPTY_UNVERIFIED),
    ],
)
def test_no_trades_are_believed_as_far_as_the_bars_agree(
    tmp_path: Path, ticker: str, session: dt.date, state: str
) -> None:
    """L9: an empty day is told from a failure, and from a day nobody can vouch for."""
    with serve({}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        write_bars(lakehouse, {("TRADED", WEEK[0]): 5, ("HALTED", WEEK[0]): 0})
        done = download(lakehouse, make_keys(ticker, [session]))

    assert done.keys_in(state) == make_keys(ticker, [session])
    assert (server.stats.requests, done.summary.requests) == (1, 1)


def test_a_disputed_session_is_asked_for_once_a_day_three_times(tmp_path: Path) -> None:
    clock, key = Clock(dt.date(2024, 3, 1)), make_keys("ABCD", WEEK[:1])
    counts = []
    with serve({}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=clock)
        write_bars(lakehouse, {("ABCD", WEEK[0]): 5})
        for _ in range(6):
            done = [download(lakehouse, key) for _ in range(2)]
            assert done[0].keys_in(states.EMPTY_DISPUTED) == key
            assert done[1].keys_in(states.EMPTY_DISPUTED) == key
            counts.append(server.stats.requests)
            clock.advance()

    assert counts == [1, 2, 3, 4, 4, 4]


def test_a_disputed_session_is_accepted_on_demand_only(tmp_path: Path) -> None:
    key = make_keys("ABCD", WEEK[:1])
    with serve({}) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        write_bars(lakehouse, {("ABCD", WEEK[0]): 5})
        download(lakehouse, key)
        accepted = download(lakehouse, key, accept_empty=True)
        later = download(lakehouse, key)

    receipt = lakehouse.sessions.read_receipt("ABCD", WEEK[0])
    assert accepted.keys_in(states.EMPTY) == later.keys_in(states.EMPTY) == key
    assert receipt.is_accepted_empty
    assert (server.stats.requests, later.summary.reused) == (2, 1)


def test_a_disputed_session_heals_when_the_trades_appear(tmp_path: Path) -> None:
    clock, key = Clock(dt.date(2024, 3, 1)), make_keys("ABCD", WEEK[:1])
    with serve({"ABCD": make_session(WEEK[0], 5)}, Fault("missing_results", times=1)) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, clock=clock)
        write_bars(lakehouse, {("ABCD", WEEK[0]): 5})
        first = download(lakehouse, key)
        clock.advance()
        second = download(lakehouse, key)

    assert first.keys_in(states.EMPTY_DISPUTED) == second.keys_in(states.COMPLETE) == key
