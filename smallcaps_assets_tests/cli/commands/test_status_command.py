"""`smallcaps status` as a person and a script meet it."""

import datetime as dt
import io
import json
import signal
import sqlite3
import time
from collections.abc import Sequence

import msgspec
import pytest
from rich.console import Console

from smallcaps_assets.cli.screens.status import render_status
from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.operations.status.document import (
    ErrorsPart,
    ForecastPart,
    LastError,
    StatusDocument,
    TickerCoverage,
    YearCoverage,
)
from smallcaps_assets_tests.cli.cli_factories import FAILED, REFUSED, User
from smallcaps_assets_tests.lakehouse_factories import SESSIONS

SIZES = [(80, 23), (100, 39), (132, 50), (60, 15), (40, 10)]
NOW = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)


def draw(status: StatusDocument, width: int = 100, height: int = 60) -> list[str]:
    """Return the lines of a screen, without styles."""
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(render_status(status, width, height))
    return capture.get().splitlines()


def cover_years(count: int) -> list[YearCoverage]:
    return [YearCoverage(year=2003 + n, planned=40, done=40 if n else 7) for n in range(count)]


@pytest.fixture
def seen(filled: User) -> StatusDocument:
    """Return the status of a finished lake."""
    return decode_json(filled.run("status", "--json").out, StatusDocument)


def fill(status: StatusDocument) -> StatusDocument:
    """Return a status in which every part of the screen has something to say."""
    years = cover_years(22)
    tickers = [
        TickerCoverage(ticker=f"TICK{n:03d}", planned=880, done=847, years=years)
        for n in range(200)
    ]
    error = LastError(
        at=NOW,
        ticker="ABCD",
        first_session=NOW.date(),
        last_session=NOW.date(),
        kind="payload",
        message="body cut [after] 12,345 bytes " * 9,
    )
    replace = msgspec.structs.replace
    return replace(
        status,
        told_at=NOW,
        download=replace(
            status.download,
            state="stuck",
            is_running=True,
            is_well=False,
            since=NOW - dt.timedelta(days=2),
            pid=4_194_304,
            host="vm",
            last_commit_at=NOW - dt.timedelta(minutes=12),
            reason="nothing was committed for 12 min: the vendor fails",
            advice="wait",
        ),
        partitions=replace(status.partitions, planned=176_000, left=600, failed=12),
        forecast=ForecastPart(
            left_requests=9,
            left_rows=9,
            run_seconds=4_000,
            plan_seconds=90_000,
            run_done_at=NOW + dt.timedelta(hours=13),
            basis="pace",
            pace_window_s=600,
        ),
        errors=ErrorsPart(
            window_s=3_600,
            failures={"payload": 2},
            retries={"rate_limited": 20, "timed_out": 3},
            last=[error] * 5,
        ),
        coverage=replace(
            status.coverage, years=years, tickers=tickers, tickers_planned=6_405, tickers_done=9
        ),
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_screen_fits_the_terminal(seen: StatusDocument, width: int, height: int) -> None:
    lines = draw(fill(seen), width, height)

    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_screen_of_80_columns_cuts_nothing_but_messages(seen: StatusDocument) -> None:
    cut = [line for line in draw(fill(seen), 80, 23) if line.rstrip().endswith("…")]

    assert [line for line in cut if "payload: body cut" not in line] == []


def test_a_screen_shows_every_year_and_says_how_many_tickers_it_hides(
    seen: StatusDocument,
) -> None:
    lines = draw(fill(seen), 80, 30)

    (head,) = [line for line in lines if line.startswith("% done")]
    assert head.split()[2:] == [f"{year % 100:02d}" for year in range(2003, 2025)]
    assert next(line for line in lines if line.startswith("TICK000")).split()[1:3] == ["17", "ok"]
    hidden = 6_405 - sum(line.startswith("TICK") for line in lines)
    assert lines[-1] == f"and {hidden:,} more; 9 are done"


@pytest.mark.parametrize(
    "words",
    [
        "stuck since 2024-06-01 12:00:00 UTC, last commit 12 min ago, pid 4194304 on vm",
        "why       nothing was committed for 12 min: the vendor fails",
        "do        wait",
        "ETA       1 h 6 min, at 06-04 01:00 UTC (pace of the last 10 min)",
        "plan      1 d 1 h for all of it: this run is a part",
        "failed    last hour: 2 x payload",
        "retried   last hour: 20 x 429, 3 x timeouts",
        "body cut [after] 12,345 bytes",
    ],
)
def test_a_screen_says(seen: StatusDocument, words: str) -> None:
    assert words in "\n".join(draw(fill(seen), 100, 60))


def test_a_screen_of_a_finished_lake_is_short(seen: StatusDocument) -> None:
    lines = draw(seen)

    assert lines[0].startswith("finished, last commit ")
    assert f" {SESSIONS} of {SESSIONS} sessions done, 100.0 %" in lines[1]
    assert not any(line.startswith(("ETA", "failed", "retried", "why")) for line in lines)


def test_status_shows_and_prints_the_same(filled: User) -> None:
    shown = filled.run("status", "--check")
    plain = json.loads(filled.run("status", "--json").out)

    assert (shown.code, shown.err) == (0, "")
    assert f"{SESSIONS} of {SESSIONS} sessions done" in shown.text
    assert (plain["partitions"]["done"], plain["partitions"]["left"]) == (SESSIONS, 0)
    assert plain["stored"]["rows"] == 1451


def test_status_before_the_first_download_foretells_it(user: User) -> None:
    user.run("plan", "--watchlist", "watchlist.csv")

    plain = json.loads(user.run("status", "--json", SMALLCAPS_REQUESTS_PER_MINUTE=3).out)
    shown = user.run("status", SMALLCAPS_REQUESTS_PER_MINUTE=3).text

    assert plain["download"]["state"] == "idle"
    assert (plain["forecast"]["basis"], plain["forecast"]["plan_seconds"]) == ("limit", 60.3)
    assert plain["disk"]["fits"] is True
    assert "run `smallcaps download`" in shown
    assert "1 min 0 s of download left, by the limit of requests at best" in shown


def test_status_after_failures_and_a_refused_key_tells_them(
    user: User, market_server: EmulatorServer
) -> None:
    """L1."""
    market_server.faults = [
        Fault("503", ticker="CON", endpoint="trades"),
        Fault("401", ticker="BCpC", endpoint="trades"),
    ]
    user.run("download", "--watchlist", "watchlist.csv")

    shown, checked = user.run("status"), user.run("status", "--check", "--json")

    plain = json.loads(checked.out)
    assert (shown.code, checked.code) == (0, FAILED)
    assert plain["download"]["state"] == "aborted"
    assert plain["errors"]["failures"]["unauthorized"] == 1
    assert plain["errors"]["retries"]["unavailable"] >= 1
    assert plain["partitions"]["failed"] <= plain["partitions"]["left"]
    assert "key" in shown.text


@pytest.mark.parametrize(
    "options",
    [["--watch", "--json"], ["--stuck-after", "0"], ["--stuck-after", "soon"]],
)
def test_status_refuses_wrong_options(filled: User, options: Sequence[str]) -> None:
    finished = filled.run("status", *options)

    assert (finished.code, finished.out) == (REFUSED, "")


@pytest.mark.slow
def test_status_from_another_shell_watches_a_download_until_it_is_killed(
    user: User, market_server: EmulatorServer
) -> None:
    """L13: a killed download leaves no false "running"; Ctrl-C ends the watching cleanly."""
    user.run("plan", "--watchlist", "watchlist.csv")
    market_server.faults = [Fault("slow", seconds=30.0, endpoint="trades")]
    with user.start("status", "--watch") as watch, user.start("download") as download:
        while read_status(user)["state"] != "running":
            time.sleep(0.2)
        running = read_status(user)
        download.kill()
        download.communicate()
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=30)

    killed = read_status(user)
    assert (running["is_running"], running["pid"]) == (True, download.pid)
    assert (killed["state"], killed["is_running"], killed["pid"]) == ("killed", False, download.pid)
    assert (watch.returncode, err) == (0, "")
    assert f"of {SESSIONS} sessions done" in out


def read_status(user: User) -> dict[str, object]:
    """Return what the status says of the download."""
    download: dict[str, object] = json.loads(user.run("status", "--json").out)["download"]
    return download


def test_status_of_an_older_ledger_without_steps(filled: User) -> None:
    with sqlite3.connect(filled.data_dir / "lake" / "ledger.sqlite") as ledger:
        ledger.execute("DROP TABLE steps")
        ledger.execute("DELETE FROM facts WHERE name = 'pulse'")

    finished = filled.run("status", "--json")

    assert finished.code == 0, finished.err
    assert json.loads(finished.out)["download"]["pid"] is None
