"""Losing one of ledger, Dagster home and catalog loses nothing; one command makes it again."""

import shutil
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import FAILED, User, check_refusal
from smallcaps_assets_tests.cli.homes import (
    count_rows,
    hash_content,
    list_data_files,
    list_proofs,
    show_partitions,
)
from smallcaps_assets_tests.lakehouse_factories import SESSIONS


def remove_ledger(user: User) -> None:
    for file in (user.data_dir / "lake").glob("ledger.sqlite*"):
        file.unlink()


def damage_ledger(user: User) -> None:
    remove_ledger(user)
    (user.data_dir / "lake" / "ledger.sqlite").write_bytes(b"SQLite format 3\x00" + bytes(4_000))


def remove_home(user: User) -> None:
    shutil.rmtree(user.data_dir / "dagster")


def damage_home(user: User) -> None:
    for file in (user.data_dir / "dagster").rglob("*.db"):
        file.unlink()


def garble_home(user: User, *names: str) -> None:
    """Overwrite the middle of databases of Dagster."""
    for name in names:
        path = user.data_dir / "dagster" / "history" / name
        content = bytearray(path.read_bytes())
        content[200:12_000] = b"\xee" * 11_800
        path.write_bytes(content)


def garble_events(user: User) -> None:
    garble_home(user, "runs/index.db")


def garble_schema(user: User) -> None:
    """Make the text of a table's statement one that is no UTF-8."""
    path = user.data_dir / "lake" / "ledger.sqlite"
    path.write_bytes(
        path.read_bytes().replace(b"CREATE TABLE sessions", b"CREATE TABLE sess\xee\xffns")
    )


def remove_catalog(user: User) -> None:
    (user.data_dir / "catalog.duckdb").unlink()


def damage_catalog(user: User) -> None:
    (user.data_dir / "catalog.duckdb").write_bytes(b"not a database")


@pytest.mark.parametrize(
    ("lose", "command"),
    [
        (remove_ledger, "reindex"),
        (remove_ledger, "download"),
        (damage_ledger, "reindex"),
        (garble_schema, "reindex"),
        (remove_home, "reconcile"),
        (damage_home, "reconcile"),
        (garble_events, "reconcile"),
        (remove_catalog, "catalog"),
        (damage_catalog, "catalog"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_one_command_makes_again_what_was_lost(
    filled: User, market_server: EmulatorServer, lose: object, command: str
) -> None:
    """The lake is the truth: everything else follows from it, without one request."""
    content, rows = hash_content(filled), count_rows(filled)
    assert callable(lose)
    lose(filled)

    made = filled.run(command)

    assert made.code == 0, made.text
    assert hash_content(filled) == content
    assert count_rows(filled) == rows
    assert {status: len(keys) for status, keys in show_partitions(filled).items()} == {
        "MATERIALIZED": SESSIONS
    }
    assert "nothing is missing" in filled.run("download").text
    assert market_server.requests == []


@pytest.mark.parametrize(
    "line", ["status", "download", "audit", "repair", "reconcile", "report", "status --json"]
)
def test_a_garbled_ledger_is_told_as_damage(filled: User, line: str) -> None:
    """L31: it was a traceback of whatever the decoder of texts raises."""
    garble_schema(filled)

    finished = filled.run(*line.split())

    check_refusal(finished, FAILED, "ledger.sqlite", "damaged", "smallcaps reindex")


@pytest.mark.parametrize("command", ["download", "report --html"])
def test_a_garbled_database_of_dagster_is_no_full_disk(filled: User, command: str) -> None:
    """L31: it was told that free space is needed."""
    garble_home(filled, "runs.db")

    finished = filled.run(*command.split())

    check_refusal(finished, FAILED, "runs.db", "damaged", "smallcaps reconcile")
    assert "free space" not in finished.text


def test_only_the_garbled_database_of_dagster_is_made_anew(filled: User) -> None:
    """L31: what the others know stays."""
    garble_home(filled, "runs.db")
    history = filled.data_dir / "dagster" / "history"
    before = (history / "runs" / "index.db").stat().st_ino

    reconciled = filled.run("reconcile")

    assert (reconciled.code, history.joinpath("runs.db.damaged").exists()) == (0, True)
    assert (history / "runs" / "index.db").stat().st_ino == before
    assert filled.run("download").code == 0


def test_an_old_copy_of_the_ledger_is_brought_up_to_date(filled: User) -> None:
    """A restored backup knows less than the lake."""
    ledger = filled.data_dir / "lake" / "ledger.sqlite"
    old = ledger.read_bytes()
    content = hash_content(filled)
    filled.run("download", "--tickers", "CON")
    for file in ledger.parent.glob("ledger.sqlite*"):
        file.unlink()
    ledger.write_bytes(old)

    reindexed = filled.run("reindex")

    assert f"{SESSIONS} sessions indexed" in reindexed.text
    assert hash_content(filled) == content


def test_an_old_copy_of_the_lake_turns_what_it_lacks_red(
    user: User, market_server: EmulatorServer
) -> None:
    """Files are gone that ledger and Dagster remember: two commands, and they are fetched."""
    user.run("download", "--watchlist", "watchlist.csv", "--tickers", "BCPC,BCpC")
    old = {*list_data_files(user.data_dir), *list_proofs(user.data_dir)}
    user.run("download")
    content = hash_content(user)
    for path in {*list_data_files(user.data_dir), *list_proofs(user.data_dir)} - old:
        path.unlink()
    market_server.reset()

    reindexed, reconciled = user.run("reindex"), user.run("reconcile")
    red = show_partitions(user)["FAILED"]
    downloaded = user.run("download")

    assert "6 sessions indexed" in reindexed.text
    assert "3 marked missing" in reconciled.text
    assert red == {f"CON_2024-01-{day}" for day in (29, 30, 31)}
    assert downloaded.code == 0
    assert {request.path for request in market_server.requests} == {"/v3/trades/CON"}
    assert hash_content(user) == content


def test_dry_runs_say_what_would_be_done_and_do_nothing(filled: User) -> None:
    remove_home(filled)
    before = filled.list_files()

    reconciled, reindexed = filled.run("reconcile", "--dry-run"), filled.run("reindex", "--dry-run")

    assert f"{SESSIONS} keys: {SESSIONS} would be registered" in reconciled.text
    assert f"{SESSIONS} shown as stored" in reconciled.text
    assert f"{SESSIONS} sessions would be indexed" in reindexed.text
    assert show_partitions(filled) == {}
    assert set(before) <= set(filled.list_files())


def test_a_copied_data_folder_is_a_lake_of_its_own(filled: User, tmp_path: Path) -> None:
    """Moving house by hand: copy everything but Dagster's home, then reconcile and catalog."""
    copied = User(tmp_path, filled.environment)
    shutil.copytree(filled.data_dir, copied.data_dir, ignore=shutil.ignore_patterns("dagster"))
    content = hash_content(filled)
    shutil.rmtree(filled.data_dir)

    assert copied.run("reconcile").code == 0
    assert copied.run("catalog").code == 0

    assert hash_content(copied) == content
    assert count_rows(copied) > 0
    assert len(show_partitions(copied)["MATERIALIZED"]) == SESSIONS
