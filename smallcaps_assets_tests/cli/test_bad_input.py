"""Every bad input ends with an exit code, one clear message, no trace and nothing half written."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Final

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.cli.cli_factories import (
    CLOSED_PORT,
    FAILED,
    REFUSED,
    User,
    check_refusal,
)
from smallcaps_assets_tests.cli.homes import list_data_files, list_proofs
from smallcaps_assets_tests.lakehouse_factories import write_text

BAR_COLUMNS: Final = "ticker,date,open,high,low,close,volume"
BAR: Final = "ABCD,2024-01-03,8.5,9,8,8.5,100"
HEADER: Final = "ticker,date,events"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{BAR_COLUMNS},mood\n{BAR},1\n", ("unknown columns ['mood']", "expected")),
        (
            f"{BAR_COLUMNS}\n{BAR.replace('8.5', 'x')}\n",
            ("expected open as a number", "got 'x' in row 1"),
        ),
        (f"{BAR_COLUMNS}\n{BAR.replace('ABCD', '../x')}\n", ("'../x'", "expected 1 to 20 letters")),
        (f"{BAR_COLUMNS}\n{BAR}\n{BAR}\n", ("ABCD", "2024-01-03")),
        (f"{BAR_COLUMNS}\n", ("expected at least one row",)),
        ("", ("expected a header and rows, found an empty file",)),
    ],
    ids=["unknown column", "wrong type", "bad ticker", "repeated row", "no rows", "empty file"],
)
def test_bars_that_break_the_contract(user: User, text: str, words: tuple[str, ...]) -> None:
    bars = write_text(user.folder / "bars.csv", text)

    finished = user.run("plan", SMALLCAPS_DAILY_BARS=bars)

    check_refusal(finished, REFUSED, str(bars), *words)
    assert user.list_files() in ([], ["reference/splits.parquet"])


def test_a_command_of_earlier_names_what_took_its_place(user: User) -> None:
    check_refusal(user.run("compact", "--list"), REFUSED, "run `smallcaps tidy` instead")


def test_bars_in_an_unreadable_file(user: User) -> None:
    bars = user.folder / "bars.parquet"
    bars.write_bytes(b"PAR1 and then something else")

    finished = user.run("plan", SMALLCAPS_DAILY_BARS=bars)

    check_refusal(finished, REFUSED, f"cannot read {bars}", "parquet")


def test_bars_in_a_missing_file(user: User) -> None:
    finished = user.run("plan", SMALLCAPS_DAILY_BARS=user.folder / "nowhere.parquet")

    check_refusal(finished, REFUSED, "expected a file or a folder, found none", "nowhere.parquet")


@pytest.mark.parametrize("command", ["plan", "download"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEADER}\nABCD,2024-01-03,E99_Doom\n", ("E99_Doom", "known are", "E1_VolExplosion")),
        (f"{HEADER}\nA/B,2024-01-03,E1\n", ("'A/B'", "expected 1 to 20 letters")),
        (f"{HEADER}\n..,2024-01-03,E1\n", ("'..'", "expected 1 to 20 letters")),
        (f"{HEADER}\nABCD,03.01.2024,E1\n", ("03.01.2024",)),
        ("symbol,date\nABCD,2024-01-03\n", ("expected columns ticker", "symbol")),
        (f"{HEADER}\n", ("expected at least one row",)),
    ],
    ids=["unknown event", "slash", "dots", "date", "missing column", "empty"],
)
def test_watchlists_that_break_the_contract(
    user: User, command: str, text: str, words: tuple[str, ...]
) -> None:
    watchlist = write_text(user.folder / "bad.csv", text)

    finished = user.run(command, "--watchlist", "bad.csv")

    page = "see: smallcaps docs operations a-file-is-refused"
    check_refusal(finished, REFUSED, str(watchlist), *words, page)
    assert (finished.err.startswith("error: "), finished.out) == (True, "")
    assert user.list_files() == []


def test_a_watchlist_that_is_no_parquet_file(user: User) -> None:
    (user.folder / "bad.parquet").write_bytes(b"ticker,date\nABCD,2024-01-03\n")

    finished = user.run("plan", "--watchlist", "bad.parquet")

    check_refusal(finished, REFUSED, "cannot read", "bad.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[windows]\nE1_VolExplosion = -1\n", ("E1_VolExplosion", "-1", "from 0 to 60")),
        ("[windows]\nE6 = { before = 0, after = 61 }\n", ("E6: bad event window 0, 61",)),
        ("[windows]\nE99_Doom = 1\n", ("'E99_Doom' is unknown", "E1_VolExplosion")),
        ("[thresholds]\ncoverage = 95\n", ("coverage", "95")),
        ("[windows\n", ("events.toml",)),
    ],
    ids=["below 0", "too wide", "unknown event", "threshold", "no toml"],
)
def test_windows_and_thresholds_out_of_range(
    user: User, market_server: EmulatorServer, text: str, words: tuple[str, ...]
) -> None:
    config = write_text(user.folder / "events.toml", text)

    finished = user.run("plan", SMALLCAPS_EVENT_CONFIG=config)

    check_refusal(finished, REFUSED, *words)
    assert (user.list_files(), market_server.requests) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (["download", "--tickers", "../x"], {}, ("--tickers", "'../x'", "expected 1 to 20")),
        (["download", "--tickers", ","], {}, ("expected tickers separated by commas",)),
        (["download", "--from", "2024-02-01", "--to", "2024-01-01"], {}, ("--from <= --to",)),
        (["download", "--from", "january"], {}, ("january", "%Y-%m-%d")),
        (["plan", "--pilot", "-1"], {}, ("-1", "x>=0")),
        (["plan", "--watchlist", "none.csv"], {}, ("none.csv", "does not exist")),
        (["plan", "--wachtlist", "x"], {}, ("--wachtlist", "--watchlist")),
        (["plam"], {}, ("plam", "--help")),
        (["plan"], {"SMALLCAPS_WORKERS": "many"}, ("SMALLCAPS_WORKERS", "integer")),
        (["plan"], {"SMALLCAPS_WORKRES": "3"}, ("did you mean SMALLCAPS_WORKERS",)),
        (["emulator", "--replay", "none"], {}, ("none", "does not exist")),
    ],
)
def test_wrong_usage_and_settings(
    user: User, arguments: list[str], settings: dict[str, str], words: tuple[str, ...]
) -> None:
    finished = user.run(*arguments, **settings)

    check_refusal(finished, REFUSED, *words)
    assert user.list_files() == []


@pytest.mark.parametrize("command", [["plan"], ["download", "--watchlist", "watchlist.csv"]])
def test_no_key_and_no_source(user: User, command: list[str]) -> None:
    nobody = User(user.folder, {})

    finished = nobody.run(*command)

    check_refusal(finished, REFUSED, "no source", "POLYGON_API_KEY", "SMALLCAPS_SOURCE=emulator")
    assert not user.data_dir.exists()


@pytest.mark.parametrize("command", [["plan"], ["download", "--watchlist", "watchlist.csv"]])
def test_no_key_for_the_real_vendor(user: User, command: list[str]) -> None:
    nobody = User(user.folder, {"SMALLCAPS_SOURCE": "vendor"})

    finished = nobody.run(*command)

    check_refusal(finished, REFUSED, "no key for https://api.polygon.io", "set POLYGON_API_KEY")
    assert user.list_files() == []


def test_no_plan_yet(user: User) -> None:
    for command in ("download", "status", "audit", "report"):
        check_refusal(user.run(command), FAILED, "smallcaps plan")
    assert user.list_files() in ([], ["lake/.creation.lock", "lake/lake.json"])


def test_tickers_that_are_not_planned(filled: User, market_server: EmulatorServer) -> None:
    finished = filled.run("download", "--tickers", "BCPC,NOPE")

    check_refusal(finished, REFUSED, "NOPE: not in the published plan", "smallcaps plan")
    assert market_server.requests == []


# -- the vendor refuses ----------------------------------------------------------------


@pytest.fixture
def customer(small_market: Market, user: User) -> Iterator[tuple[User, EmulatorServer]]:
    """Return a customer of a vendor that knows one key, and the vendor."""
    with EmulatorServer(small_market, accepted_keys=["good-key"]) as server:
        environment = {"SMALLCAPS_BASE_URL": server.url, "POLYGON_API_KEY": "good-key"}
        yield User(user.folder, environment), server


def test_a_wrong_key_without_a_watchlist(customer: tuple[User, EmulatorServer]) -> None:
    someone, server = customer

    finished = someone.run("plan", POLYGON_API_KEY="bad-key", SMALLCAPS_FIRST_SESSION="2024-06-03")

    check_refusal(finished, FAILED, "401", "the key was refused", "set POLYGON_API_KEY")
    assert "bad-key" not in finished.text
    assert not any("plan" in name or "watchlist" in name for name in someone.list_files())
    assert len(server.requests) < 30


def test_a_wrong_key_costs_a_download_one_request(customer: tuple[User, EmulatorServer]) -> None:
    someone, server = customer
    someone.run("plan", "--watchlist", "watchlist.csv")
    server.reset()

    finished = someone.run("download", POLYGON_API_KEY="bad-key")

    check_refusal(finished, FAILED, "401", "the key was refused", "set POLYGON_API_KEY")
    assert len(server.requests) <= 2  # as many as there are workers
    assert list_proofs(someone.data_dir) == list_data_files(someone.data_dir) == []
    assert someone.run("download").code == 0


def test_a_plan_without_trades(customer: tuple[User, EmulatorServer]) -> None:
    someone, server = customer
    server.faults = [Fault("not_entitled", endpoint="trades")]

    finished = someone.run("download", "--watchlist", "watchlist.csv")

    check_refusal(finished, FAILED, "not_entitled", "403")
    assert list_proofs(someone.data_dir) == []
    server.reset()
    assert someone.run("download").code == 0


def test_history_that_the_key_is_not_entitled_to(customer: tuple[User, EmulatorServer]) -> None:
    someone, server = customer
    server.faults = [Fault("timeframe", endpoint="trades", before=dt.date(2024, 1, 20))]

    finished = someone.run("download", "--watchlist", "watchlist.csv")

    status = json.loads(someone.run("status", "--json").out)
    check_refusal(finished, FAILED, "6 not_entitled", "larger plan")
    assert status["partitions"]["by_state"] == {"complete": 3, "not_entitled": 6}


def test_a_vendor_that_cannot_be_reached(user: User) -> None:
    someone = User(user.folder, {"SMALLCAPS_BASE_URL": CLOSED_PORT, "POLYGON_API_KEY": "key"})

    finished = someone.run("download", "--watchlist", "watchlist.csv")

    check_refusal(finished, FAILED, "no answer", CLOSED_PORT, "unavailable", "SMALLCAPS_BASE_URL")
    assert list_proofs(someone.data_dir) == []
