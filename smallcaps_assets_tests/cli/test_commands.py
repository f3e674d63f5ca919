import re
from dataclasses import replace

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.cli.homes import list_stored
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, count_trade_requests


def test_plan_says_what_it_costs_and_whether_it_fits(
    user: User, market_server: EmulatorServer
) -> None:

    finished = user.run("plan", "--watchlist", "watchlist.csv")

    assert (finished.code, finished.err) == (0, "")
    assert f"ticker-sessions │ 21 │ {SESSIONS} │ {SESSIONS}" in re.sub(" +", " ", finished.out)
    assert "disk: fits" in finished.out
    assert count_trade_requests(market_server) == 0


def test_download_lists_what_failed_and_resumes_with_it_alone(
    user: User, market_server: EmulatorServer
) -> None:
    """L1: exit code and summary say what failed."""
    market_server.faults = [Fault("cut_json", ticker="CON", endpoint="trades")]

    failed = user.run("download", "--watchlist", "watchlist.csv")
    market_server.reset()
    resumed = user.run("download")

    assert (failed.code, resumed.code) == (1, 0)
    assert "3 payload" in failed.text
    assert "CON_2024-01-30" in failed.out
    assert "see: smallcaps docs operations kinds-of-failure-and-what-to-do" in failed.out
    assert {request.path for request in market_server.requests} == {"/v3/trades/CON"}


def test_download_narrows_to_tickers_and_dates(user: User, market_server: EmulatorServer) -> None:
    user.run("plan", "--watchlist", "watchlist.csv")

    finished = user.run("download", "--tickers", "BCPC,CON", "--to", "2024-01-10")

    assert finished.code == 0, finished.text
    assert list_stored(user) == ["BCPC_2024-01-09", "BCPC_2024-01-10"]
    assert count_trade_requests(market_server) == 1


def test_status_loads_nothing_that_takes_long(filled: User) -> None:
    """L26: a look at a large lake costs no more than the look; loading Dagster takes seconds."""
    environment = dict(filled.environment) | {"PYTHONPROFILEIMPORTTIME": "1"}

    finished = replace(filled, environment=environment).run_process("status")

    imported = {line.split("|")[-1].strip() for line in finished.err.splitlines()}
    heavy = {"dagster", "duckdb", "matplotlib", "pandas", "pyarrow", "requests"}
    assert finished.code == 0
    assert "smallcaps_assets.operations.status.look" in imported
    assert imported & heavy == set()


def test_audit_is_red_until_the_files_were_opened(filled: User) -> None:
    quick = filled.run("audit")
    deep = filled.run("audit", "--deep")
    later = filled.run("audit")

    assert (quick.code, deep.code, later.code) == (1, 0, 0)
    assert "never audited" in quick.text
    assert "see: smallcaps docs operations checks-and-what-to-do" in quick.out
    assert "see:" not in deep.out
    assert "0 damages in 9 sessions checked" in deep.text
