"""`smallcaps plan`: its modes, what it prints, and the difference that it only tells."""

import json
from pathlib import Path

import pytest

from smallcaps_assets.cli.commands.plan_command import join_paths
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import FAILED, REFUSED, User, check_refusal
from smallcaps_assets_tests.lakehouse_factories import count_trade_requests, write_text

PICTURES = {
    "naive_against_optimised.png",
    "pilot_ladder.png",
    "planned_sessions.png",
    "sessions_by_event.png",
}
FIVE_DAYS = ["--tickers", "BCPC,CON", "--from", "2024-03-04", "--to", "2024-03-08"]


def list_content(user: User) -> dict[str, bytes]:
    """Return every file below the folder but what SQLite keeps while it is read."""
    return {
        str(path.relative_to(user.folder)): path.read_bytes()
        for path in sorted(user.folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_plan_prints_ladder_and_methods_and_draws_the_pictures(user: User) -> None:
    finished = user.run("plan", "--watchlist", "watchlist.csv")
    by_constants = user.run("plan", "--watchlist", "watchlist.csv", "--by-constants")

    assert (finished.code, by_constants.code) == (0, 0), finished.text
    assert "sizes of the pilot" in finished.out
    assert ["by constants" in one.out for one in (finished, by_constants)] == [False, True]
    assert "one window for all events: 3 rows x 7 sessions" in finished.text
    assert {path.name for path in (user.data_dir / "reports").glob("*.png")} == PICTURES


def test_plan_of_tickers_needs_no_watchlist_and_downloads(
    user: User, market_server: EmulatorServer
) -> None:
    planned = user.run("plan", *FIVE_DAYS)
    downloaded = user.run("download")

    assert (planned.code, downloaded.code) == (0, 0), planned.text + downloaded.text
    assert "2 tickers without a watchlist" in planned.text
    assert "10 complete" in downloaded.text
    assert count_trade_requests(market_server) == 2


def test_diff_of_an_estimate_changes_nothing_and_is_json_on_request(filled: User) -> None:
    before = list_content(filled)

    shown = filled.run("plan", "--diff", *FIVE_DAYS)
    told = filled.run("plan", "--diff", "--json", *FIVE_DAYS)

    assert (shown.code, told.code) == (0, 0), shown.text
    assert "nothing was published" in shown.text
    change = json.loads(told.out)
    assert (change["added"]["ticker_sessions"], change["removed"]["stored_sessions"]) == (10, 9)
    assert list_content(filled) == before


def test_diff_of_a_plan_that_would_be_refused_fails(filled: User) -> None:
    write_text(filled.folder / "other.csv", "ticker,date\nBCPC,2024-01-13\n")

    finished = filled.run("plan", "--diff", "--watchlist", "other.csv")

    assert finished.code == 1
    assert "it would not be published: expected at least one session" in finished.text


def test_plan_unites_watchlists_and_takes_a_batch(user: User) -> None:
    write_text(user.folder / "more.csv", "ticker,date,events\nBRK.A,2024-01-30,E6\n")

    both = ["--watchlist", "watchlist.csv", "--watchlist", "more.csv"]
    finished = user.run("plan", *both, "--batch", "2/4")

    assert finished.code == 0, finished.text
    assert "watchlist 4 rows of 4 tickers" in finished.text
    assert "event_windows, batch 2/4" in finished.text
    assert "3 months" not in finished.text


def test_tickers_that_do_not_exist_are_named_and_counted_apart(user: User) -> None:
    """L38: `con`, `bcpc` and `BRK-A` ended green, 100 % covered, with 0 trades."""
    rows = "".join(f"{ticker},2024-01-30,E6\n" for ticker in ("con", "bcpc", "BRK-A", "CON"))
    write_text(user.folder / "slips.csv", f"ticker,date,events\n{rows}")

    planned = user.run("plan", "--watchlist", "slips.csv")
    downloaded = user.run("download")
    status = json.loads(user.run("status", "--json").out)["coverage"]
    report = json.loads(user.run("report", "--json").out)

    assert (planned.code, downloaded.code) == (0, 0)
    assert "3 of 4 planned tickers have no bar in any planned session (75.00%" in planned.text
    assert "BRK-A: did you mean BRK.A?; bcpc: did you mean BCPC?; con: did you mean CON?" in (
        planned.text
    )
    assert status["tickers_unknown"] == ["BRK-A", "bcpc", "con"]
    assert (status["tickers_planned"], status["tickers_done"]) == (1, 1)
    assert "unknown" in user.run("status").out
    assert "9 of tickers that no daily bar knows" in str(report["criteria"])


def test_plan_by_budget_takes_what_fits(user: User) -> None:
    finished = user.run(
        "plan", "--watchlist", "watchlist.csv", "--budget-gb", "0.00012", "--mode", "event_windows"
    )

    assert finished.code == 0, finished.text
    assert "pilot 3 rows of 3 tickers" not in finished.text
    assert "does not fit" in finished.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget-gb", "0"], "0.0 is not in the range x>0"),
        (["--mode", "windows"], "'windows' is not one of"),
        (["--tickers", "A/B", "--from", "2024-01-02"], "bad ticker 'A/B'"),
        (["--tickers", "A"], "--tickers and --from"),
        (["--tickers", "A", "--watchlist", "watchlist.csv"], "leave out --watchlist"),
        (["--tickers", "A", "--mode", "event_months", "--from", "2024-01-02"], "got event_months"),
        (["--batch", "1/2,2/3"], "batches overlap"),
        (["--batch", "3/2"], "expected a batch such as 2/5"),
        (["--from", "2024-02-01", "--to", "2024-01-02"], "last_session lies before"),
        (["--json"], "add --diff"),
    ],
)
def test_plan_refuses_bad_options_before_any_request(
    user: User, market_server: EmulatorServer, arguments: list[str], words: str
) -> None:
    finished = user.run("plan", *arguments)

    assert (finished.code, words in finished.text) == (2, True), finished.text
    assert market_server.requests == []


def test_join_paths_of_none_is_no_setting(tmp_path: Path) -> None:
    assert join_paths([]) is None
    assert join_paths([tmp_path]) == str(tmp_path)


def test_dates_without_a_session_are_refused_before_anything_is_fetched(user: User) -> None:
    """L53: a plan of a weekend ended in the name of a class of Dagster."""
    dates = ("--from", "2024-01-13", "--to", "2024-01-15")

    for options in (("--tickers", "BCPC"), ("--watchlist", "watchlist.csv"), ()):
        finished = user.run("plan", *options, *dates)

        check_refusal(finished, REFUSED, "2024-01-13 to 2024-01-15 has no XNYS session")
    assert user.list_files() == []


def test_a_watchlist_of_weekends_is_told_by_its_rows(user: User) -> None:
    """L53: whoever reads it knows which rows, and is not sent to report a fault of ours."""
    rows = "ticker,date,events\nBCPC,2024-01-13,E6\nCON,2024-01-15,E6\n"
    write_text(user.folder / "watchlist.csv", rows)

    finished = user.run("plan", "--watchlist", "watchlist.csv")

    check_refusal(finished, FAILED, "dated on an XNYS session", "BCPC 2024-01-13, CON 2024-01-15")
    assert "blocking asset check" not in finished.text


def test_rules_that_find_nothing_are_told_by_the_bars(user: User) -> None:
    """L53."""
    rows = "".join(f"ABCD,2024-01-{day:02},1,1,1,1,100\n" for day in (3, 4, 5))
    write_text(user.folder / "bars.csv", f"ticker,date,open,high,low,close,volume\n{rows}")

    finished = user.run("plan", SMALLCAPS_DAILY_BARS=user.folder / "bars.csv")

    check_refusal(finished, FAILED, "no event in the daily bars", "3 bars of 1 tickers are stored")
    assert "blocking asset check" not in finished.text
