import json
import re
from dataclasses import replace

import duckdb
import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    count_trade_requests,
)


def test_plan_says_what_it_costs_and_whether_it_fits(
    user: User, market_server: EmulatorServer
) -> None:

    finished = user.run("plan", "--watchlist", "watchlist.csv")

    assert (finished.code, finished.err) == (0, "")
    assert f"ticker-sessions │ 21 │ {SESSIONS} │ {SESSIONS}" in re.sub(" +", " ", finished.out)
    assert "disk: fits" in finished.out
    assert count_trade_requests(market_server) == 0


def test_download_again_asks_for_nothing(filled: User, market_server: EmulatorServer) -> None:
    """L9: complete and empty sessions are not asked for again."""
    finished = filled.run("download")

    assert (finished.code, finished.err) == (0, "")
    assert "nothing is missing" in finished.out
    assert market_server.requests == []


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
    stored = [name for name in user.list_files() if name.endswith("trades.parquet")]
    assert stored == [
        "lake/trades/ticker=BCPC/date=2024-01-09/trades.parquet",
        "lake/trades/ticker=BCPC/date=2024-01-10/trades.parquet",
    ]
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


def test_audit_names_a_damaged_session_and_fails(filled: User) -> None:
    """L17."""
    name = "lake/trades/ticker=BCPC/date=2024-01-10/trades.parquet"
    (filled.data_dir / name).write_bytes(b"PAR1")

    finished = filled.run("audit", "--deep", "--json")

    audit = json.loads(finished.out)
    check = next(check for check in audit["checks"] if check["name"] == "files_are_undamaged")
    assert (finished.code, audit["passed"], check["passed"]) == (1, False, False)
    assert "sha256" in check["summary"]
    assert check["offenders"][0]["session_date"] == "2024-01-10"


def test_reindex_makes_the_ledger_again(filled: User, market_server: EmulatorServer) -> None:
    before = json.loads(filled.run("report", "--json").out)["content_hash"]
    for file in (filled.data_dir / "lake").glob("ledger.sqlite*"):
        file.unlink()

    finished = filled.run("reindex")

    assert f"{SESSIONS} receipts" in finished.text
    assert json.loads(filled.run("report", "--json").out)["content_hash"] == before
    assert filled.run("download").code == 0
    assert count_trade_requests(market_server) == 0


def test_reindex_moves_a_damaged_ledger_aside(filled: User) -> None:
    ledger = filled.data_dir / "lake" / "ledger.sqlite"
    ledger.with_name("ledger.sqlite-wal").unlink(missing_ok=True)
    ledger.write_bytes(b"not a database, and longer than a header of one hundred bytes" * 9)

    status, finished = filled.run("status"), filled.run("reindex")

    assert status.code == 1
    assert "reindex" in status.err
    assert (finished.code, finished.err) == (0, "")
    assert filled.run("status").code == 0


def test_the_catalog_of_a_download_is_read_by_plain_duckdb(filled: User) -> None:
    with duckdb.connect(str(filled.data_dir / "catalog.duckdb"), read_only=True) as catalog:
        rows = catalog.execute("SELECT count(*), count(DISTINCT ticker) FROM trades").fetchall()

    assert rows == [(1451, 3)]


def test_commands_are_listed_without_being_loaded(user: User) -> None:
    finished = user.run("--help")

    assert finished.code == 0
    assert all(word in finished.out for word in ("plan", "download", "status", "audit", "report"))


@pytest.mark.parametrize("command", ["plan", "download", "status", "audit", "report", "emulator"])
def test_every_command_explains_itself(user: User, command: str) -> None:
    finished = user.run(command, "--help")

    assert finished.code == 0
    assert f"smallcaps {command}" in finished.out


def test_a_process_prints_what_the_command_prints(filled: User) -> None:
    here, process = filled.run("report", "--json"), filled.run_process("report", "--json")

    assert (process.code, process.err) == (0, "")
    assert json.loads(process.out)["content_hash"] == json.loads(here.out)["content_hash"]
