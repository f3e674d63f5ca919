import dataclasses
import datetime as dt
import threading
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.ingest.budget.calibration import read_holdings
from smallcaps_assets.ingest.budget.estimates import (
    describe_estimate,
    estimate_lake,
    estimate_numbers,
    judge_estimate,
)
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lake.disks import PausingDisk
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    SmallLake,
    download_plan,
    make_lakehouse,
    planned_keys,
    publish_plan,
    write_text,
)

ADDRESS: Final = "http://127.0.0.1:9"
"""Nothing listens here."""
HEADER: Final = "ticker,date,events\n"


def make_planning(folder: Path, rows: str, **changes: object) -> Lakehouse:
    watchlist = write_text(folder / "watchlist.csv", HEADER + rows)
    return make_lakehouse(folder / "data", ADDRESS, **({"watchlist": watchlist} | changes))


def test_make_plan_publishes_the_windows_with_their_hash_and_settings(tmp_path: Path) -> None:
    """L15, L16: windows count sessions, and each event has its own."""
    lakehouse = make_planning(tmp_path, "ABCD,2024-01-16,E6|E1\n")

    verdicts = publish_plan(lakehouse)

    record, plan = lakehouse.tables.read_plan()
    assert all(verdict.passed for verdict in verdicts.values())
    assert plan["session_date"].dt.day().to_list() == [11, 12, 16, 17, 18]
    assert plan["events"].list.len().to_list() == [1, 2, 2, 2, 1]
    assert record.windows["E6_MultipleGreenDays"] == (1, 1)
    assert (record.sessions, record.tickers) == (5, 1)


def test_two_that_publish_at_once_leave_one_plan_with_its_record(tmp_path: Path) -> None:
    """One that pauses before its last step found the rows of the other beside its own record."""
    plain = {"plan_mode": "sessions", "first_session": "2024-01-02", "last_session": "2024-01-31"}
    disk = PausingDisk("rename", "plan.json", number=3)  # one of the first plan, two of the next
    first = make_lakehouse(tmp_path, ADDRESS, plan_tickers="CON", **plain)
    slow = dataclasses.replace(first, fs=disk)
    second = make_lakehouse(tmp_path, ADDRESS, plan_tickers="BCPC", **plain)
    assert make_plan(slow).verdict.passed
    thread = threading.Thread(target=make_plan, args=[slow])
    thread.start()
    assert disk.reached.wait(10)

    make_plan(second)
    disk.others_done.set()
    thread.join()

    record, plan = second.tables.read_plan()
    assert plan["ticker"].unique().to_list() == ["BCPC"]
    assert record.sessions == plan.height


def test_make_plan_takes_windows_and_thresholds_of_a_file(tmp_path: Path) -> None:
    text = "[windows]\nE6_MultipleGreenDays = {before = 0, after = 2}\n"
    config = write_text(tmp_path / "events.toml", text + "[thresholds]\ncoverage = 0.5\n")
    lakehouse = make_planning(tmp_path, "ABCD,2024-01-16,E6\n", event_config=config)

    publish_plan(lakehouse)

    record, plan = lakehouse.tables.read_plan()
    assert plan["session_date"].dt.day().to_list() == [16, 17, 18]
    assert record.windows["E6_MultipleGreenDays"] == (0, 2)
    assert record.thresholds["coverage"] == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[windows]\nE99_Unheard = 1\n", "E99"),
        ("[thresholds]\nmood = 1\n", "mood"),
        ("[window]\n", r"\[windows\]"),
        ("windows = [\n", "events.toml"),
    ],
)
def test_lakehouse_refuses_bad_windows_and_thresholds(
    tmp_path: Path, text: str, words: str
) -> None:
    config = write_text(tmp_path / "events.toml", text)
    lakehouse = make_planning(tmp_path, "ABCD,2024-01-16,E6\n", event_config=config)

    with pytest.raises(ConfigError, match=words):
        publish_plan(lakehouse)


def test_make_plan_keeps_what_is_not_published_yet_for_later(tmp_path: Path) -> None:
    lakehouse = make_planning(tmp_path, "ABCD,2025-01-13,E6|E1\n", source="vendor")

    publish_plan(lakehouse)

    _, plan = lakehouse.tables.read_plan()
    assert plan["session_date"].dt.day().to_list() == [8, 10, 13, 14]
    assert lakehouse.tables.read_not_yet_available().rows() == [("ABCD", dt.date(2025, 1, 15))]


def test_make_plan_publishes_none_that_is_empty_and_keeps_the_old_one(tmp_path: Path) -> None:
    publish_plan(make_planning(tmp_path, "ABCD,2024-01-16,E6\n"))
    lakehouse = make_planning(tmp_path, "ABCD,2024-01-15,E6\n")

    verdict = publish_plan(lakehouse)["plan"]

    assert not verdict.passed
    assert verdict.summary == (
        "expected at least one session, got none: no row of the watchlist is dated on an XNYS "
        "session, but on weekends and holidays: ABCD 2024-01-15"
    )
    assert planned_keys(lakehouse) == ["ABCD_2024-01-12", "ABCD_2024-01-16", "ABCD_2024-01-17"]
    assert lakehouse.layout.plan_candidate_file.is_file()


def test_estimate_plan_needs_a_plan(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="smallcaps plan"):
        estimate_lake(make_lakehouse(tmp_path, ADDRESS))


def test_estimate_plan_has_nothing_left_for_a_finished_lake(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    estimate = estimate_lake(small_lake.copy(tmp_path))

    numbers = estimate_numbers(estimate)
    assert (numbers["ticker_sessions"], numbers["missing_sessions"]) == (SESSIONS, 0)
    assert (numbers["missing_requests"], numbers["missing_bytes"]) == (0, 0)
    assert numbers["naive_ticker_sessions"] == 3 * 7
    assert numbers["request_ranges"] == 3


def test_read_holdings_fits_what_landed(market_server: EmulatorServer, tmp_path: Path) -> None:
    dates = [f"2024-{month:02}-{day:02}" for month, day in ((2, 13), (3, 13), (5, 13), (6, 13))]
    text = HEADER + "".join(f"{ticker},{date},E4\n" for ticker in ("BCPC", "CON") for date in dates)
    watchlist = write_text(tmp_path / "watchlist.csv", text)
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    publish_plan(lakehouse)
    ledger_file, default = lakehouse.layout.ledger_file, lakehouse.default_costs
    before = read_holdings(ledger_file, default).costs

    download_plan(lakehouse)

    after = read_holdings(ledger_file, default).costs
    stored, rows = lakehouse.ledger.stored_sessions(), lakehouse.ledger.totals().rows
    expected = after.predict_bytes(rows, stored.height)
    assert before == default
    assert after != before
    assert expected == pytest.approx(stored["bytes"].sum(), rel=0.05)


def test_judge_estimate_holds_the_whole_plan_against_the_budget(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    estimate = estimate_lake(lakehouse)

    assert judge_estimate(estimate, None).passed
    verdict = judge_estimate(estimate, 1e-9)
    assert not verdict.passed
    assert "exceed the budget of 1e-09 GB" in verdict.summary


def test_describe_estimate_shows_the_arithmetic_of_every_method(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    text = describe_estimate(estimate_lake(small_lake.copy(tmp_path)))

    assert text.count("**") == 2 * 6
    assert "calibrated" in text


def test_the_room_is_known_before_the_folder_is_made(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, ADDRESS)
    settings = lakehouse.settings.model_copy(update={"data_dir": tmp_path / "not" / "yet"})

    planned = dataclasses.replace(lakehouse, settings=settings)
    assert planned.free_space.measure(planned.layout.lake_dir) > 0
