import datetime as dt
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.plan.publication import diff_plans
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.ingest.budget.estimates import estimate_lake
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist
from smallcaps_assets.ingest.plan.choosing import check_choice
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.ingest.reference.daily_bars import wanted_months
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import WATCHLIST
from smallcaps_assets_tests.lakehouse_factories import (
    count_trade_requests,
    download_plan,
    make_lakehouse,
    planned_keys,
    publish_plan,
    refresh_due_bars,
    write_text,
)

ADDRESS: Final = "http://127.0.0.1:9"
"""Nothing listens here."""
HEADER: Final = "ticker,date,events\n"
MANY: Final = "".join(
    f"{ticker},2024-{month:02}-13,E6\n"
    for ticker, months in {"AA": 6, "BB": 4, "CC": 3, "DD": 2, "EE": 1}.items()
    for month in range(2, 2 + months)
)
"""Five tickers with 4, 3, 2, 2 and 1 windows: 13 April and 13 July are Saturdays."""
SESSIONS_MODE: Final = {"plan_mode": "sessions", "plan_tickers": "CON,BCPC"}


def make_planning(folder: Path, rows: str, **changes: object) -> Lakehouse:
    watchlist = write_text(folder / "watchlist.csv", HEADER + rows)
    return make_lakehouse(folder / "data", ADDRESS, **({"watchlist": watchlist} | changes))


def read_plan(lakehouse: Lakehouse) -> pl.DataFrame:
    assert all(verdict.passed for verdict in publish_plan(lakehouse).values())
    return lakehouse.tables.read_plan()[1]


def plan_sessions(folder: Path, url: str, **changes: object) -> Lakehouse:
    lakehouse = make_lakehouse(folder, url, **(SESSIONS_MODE | changes))
    assert make_plan(lakehouse).verdict.passed
    return lakehouse


# -- modes ---------------------------------------------------------------------------------


def test_sessions_of_tickers_need_no_watchlist(tmp_path: Path) -> None:
    days = {"first_session": dt.date(2024, 1, 12), "last_session": dt.date(2024, 1, 16)}

    lakehouse = plan_sessions(tmp_path, ADDRESS, **days)

    record, plan = lakehouse.tables.read_plan()
    assert planned_keys(lakehouse) == [
        "BCPC_2024-01-12",
        "BCPC_2024-01-16",
        "CON_2024-01-12",
        "CON_2024-01-16",
    ]
    assert (record.mode, record.naive_sessions, record.rows_per_event) == ("sessions", 4, {})
    assert plan["events"].list.len().sum() == 0


def test_sessions_end_with_the_newest_and_the_later_ones_wait(tmp_path: Path) -> None:
    days = {"first_session": dt.date(2025, 1, 13), "last_session": dt.date(2025, 1, 17)}

    lakehouse = plan_sessions(tmp_path, ADDRESS, source="vendor", plan_tickers="A", **days)

    assert planned_keys(lakehouse) == ["A_2025-01-13", "A_2025-01-14"]
    waiting = lakehouse.tables.read_not_yet_available()["session_date"]
    assert waiting.dt.day().to_list() == [15, 16, 17]


def test_months_around_and_the_open_month_wait(tmp_path: Path) -> None:
    lakehouse = make_planning(
        tmp_path,
        "A,2025-01-06,E1\n",
        source="vendor",
        plan_mode="event_months",
        plan_months_before=1,
    )

    plan = read_plan(lakehouse)

    waiting = lakehouse.tables.read_not_yet_available()
    assert plan["session_date"].min() == dt.date(2024, 12, 2)
    assert plan["session_date"].max() == dt.date(2025, 1, 14)
    assert waiting["session_date"].max() == dt.date(2025, 1, 31)


MARCH: Final = {"first_session": dt.date(2024, 3, 4), "last_session": dt.date(2024, 3, 8)}


@pytest.mark.parametrize(
    ("changes", "page_limit"),
    [
        ({"plan_mode": "event_windows"}, 50_000),
        ({"plan_mode": "event_windows"}, 7),
        ({"plan_mode": "event_months"}, 100),
        (SESSIONS_MODE | MARCH, 100),
    ],
    ids=lambda value: value["plan_mode"] if isinstance(value, dict) else None,
)
def test_every_mode_ends_in_a_plan_that_downloads_as_estimated(
    market_server: EmulatorServer, tmp_path: Path, changes: dict[str, Any], page_limit: int
) -> None:
    watchlist = write_text(tmp_path / "w.csv", HEADER + "BCPC,2024-03-06,E1\nCON,2024-03-06,E6\n")
    lakehouse = make_lakehouse(
        tmp_path / "data", market_server.url, watchlist=watchlist, page_limit=page_limit, **changes
    )
    refresh_due_bars(lakehouse)
    if changes["plan_mode"] != "sessions":
        make_watchlist(lakehouse)
        make_pilot(lakehouse)
    make_plan(lakehouse)

    estimated = estimate_lake(lakehouse).remaining
    summary = download_plan(lakehouse).summary

    assert (summary.finished, summary.failures.total()) == (estimated.ticker_sessions, 0)
    assert summary.requests == count_trade_requests(market_server)
    # Trades that the bars do not count fill some of the smallest pages.
    tolerated = 0.05 if page_limit < 100 else 0.0
    assert summary.requests == pytest.approx(estimated.requests, rel=tolerated)


def test_modes_ask_for_the_daily_bars_of_their_own_months(tmp_path: Path) -> None:
    days = {"first_session": dt.date(2024, 3, 4), "last_session": dt.date(2024, 4, 8)}
    plain = make_lakehouse(tmp_path / "plain", ADDRESS, **SESSIONS_MODE, **days)
    months = make_planning(
        tmp_path, "A,2024-03-13,E6\n", plan_mode="event_months", plan_months_after=1
    )

    assert wanted_months(plain) == ["2024-03", "2024-04"]
    assert wanted_months(months) == ["2024-03", "2024-04"]
    assert wanted_months(make_planning(tmp_path, "A,2024-03-13,E6\n")) == ["2024-02", "2024-03"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan_tickers": "A,../B"}, "SMALLCAPS_PLAN_TICKERS.*bad ticker"),
        ({"plan_tickers": ", ,"}, "SMALLCAPS_PLAN_TICKERS: expected tickers"),
    ],
)
def test_check_choice_refuses_what_no_plan_can_be_made_with(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    days = {"first_session": dt.date(2024, 3, 4)}
    lakehouse = make_lakehouse(tmp_path, ADDRESS, **(SESSIONS_MODE | days | changes))

    with pytest.raises(ConfigError, match=words):
        check_choice(lakehouse)


def test_modes_around_events_need_a_pilot(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="pilot_watchlist"):
        make_plan(make_planning(tmp_path, MANY))


# -- several watchlists --------------------------------------------------------------------


def test_watchlists_are_united(tmp_path: Path) -> None:
    first = write_text(tmp_path / "first.csv", HEADER + "A,2024-03-13,E1\nB,2024-03-13,E6\n")
    second = write_text(tmp_path / "second.csv", HEADER + "A,2024-03-13,E2\nC,2024-03-13,E6\n")
    lakehouse = make_lakehouse(tmp_path / "data", ADDRESS, watchlist=f"{first},{second}")

    made = make_watchlist(lakehouse)

    rows = lakehouse.tables.read_table(WATCHLIST)
    assert rows["ticker"].to_list() == ["A", "B", "C"]
    assert rows["events"][0].to_list() == ["E1_VolExplosion", "E2_GapUp"]
    numbers = {name: made.numbers[name] for name in ("file", "rows_of_several_files", "rows_kept")}
    assert numbers == {"file": "first.csv, second.csv", "rows_of_several_files": 1, "rows_kept": 4}
    assert made.tables["files"]["rows"].to_list() == [2, 2]


# -- batches -------------------------------------------------------------------------------


def test_batches_partition_the_plan(tmp_path: Path) -> None:
    whole = read_plan(make_planning(tmp_path, MANY))

    parts = [read_plan(make_planning(tmp_path, MANY, batch=f"{n}/3")) for n in (1, 2, 3)]

    together = pl.concat(parts).sort("ticker", "session_date")
    assert_frame_equal(together, whole)
    tickers = [set(part["ticker"]) for part in parts]
    assert tickers == [{"AA"}, {"BB", "EE"}, {"CC", "DD"}]


def test_a_batch_is_recorded_with_what_it_is_a_part_of(tmp_path: Path) -> None:
    lakehouse = make_planning(tmp_path, MANY, batch="1/3,3/3")

    read_plan(lakehouse)

    record, _ = lakehouse.tables.read_plan()
    assert (record.batch, record.tickers) == ("1/3,3/3", 3)
    assert record.batches == {"AA": 1, "BB": 2, "CC": 3, "DD": 3, "EE": 2}
    assert (record.rows_per_event, record.naive_sessions) == ({"E6_MultipleGreenDays": 11}, 11 * 7)
    assert record.facts["whole_ticker_sessions"] == 12 * 3


def test_a_ticker_stays_in_its_batch_while_the_watchlist_grows(tmp_path: Path) -> None:
    read_plan(make_planning(tmp_path, MANY, batch="1/2"))
    more = MANY + "".join(f"EE,2024-{month:02}-20,E6\n" for month in range(1, 13))

    lakehouse = make_planning(tmp_path, more + "FF,2024-03-13,E6\n", batch="2/2")
    read_plan(lakehouse)

    before = {"AA": 1, "BB": 2, "CC": 2, "DD": 1, "EE": 2}
    assert lakehouse.tables.read_plan()[0].batches == before | {"FF": 1}


def test_batches_of_another_division_are_dealt_anew_and_their_overlap_is_counted(
    tmp_path: Path,
) -> None:
    read_plan(make_planning(tmp_path, MANY, batch="1/2"))
    lakehouse = make_planning(tmp_path, MANY, batch="1/3")

    make_watchlist(lakehouse)
    make_pilot(lakehouse)
    made = make_plan(lakehouse)

    assert made.numbers["planned_in_other_batches"] == 1


def test_a_batch_beyond_the_tickers_is_refused(tmp_path: Path) -> None:
    lakehouse = make_planning(tmp_path, MANY, batch="6/6")
    make_watchlist(lakehouse)
    make_pilot(lakehouse)

    with pytest.raises(ConfigError, match="5 tickers, so that batch is empty"):
        make_plan(lakehouse)


def test_batches_are_downloaded_one_by_one(market_server: EmulatorServer, tmp_path: Path) -> None:
    rows = "".join(f"{t},2024-03-06,E6\n" for t in ("BCPC", "BCpC", "CON", "BRK.A"))
    watchlist = write_text(tmp_path / "watchlist.csv", HEADER + rows)
    fetched = []

    for number in (1, 2):
        lakehouse = make_lakehouse(
            tmp_path / "data", market_server.url, watchlist=watchlist, batch=f"{number}/2"
        )
        refresh_due_bars(lakehouse)
        read_plan(lakehouse)
        fetched.append(download_plan(lakehouse).summary.finished)

    whole = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    plan = read_plan(whole)
    assert sum(fetched) == plan.height == 12
    assert estimate_lake(whole).remaining.ticker_sessions == 0
    assert diff_plans(plan, whole.ledger.stored_sessions()).added.is_empty()
