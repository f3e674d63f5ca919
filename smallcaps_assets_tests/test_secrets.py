"""L14: the key occurs nowhere in what a run leaves behind, and the search would find it."""

import base64
import gzip
import os
import sqlite3
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import duckdb
import polars as pl
import psutil
import pytest

from smallcaps_assets_tests.cli.cli_factories import TIMEOUT_S, Finished, User
from smallcaps_assets_tests.cli.homes import list_data_files, list_proofs
from smallcaps_assets_tests.defs.defs_factories import EmulatorProcess
from smallcaps_assets_tests.lakehouse_factories import WATCHLIST_TEXT, open_memory, write_text
from smallcaps_assets_tests.secret_search import find_secret, holds_secret

KEY: Final = "Zk9/plant+ed=Key~7781"
"""Its letters differ in every spelling."""
MARKET: Final = ("--tickers", "4", "--trades-scale", "0.2", "--busy-trades", "0")


def spell_all(key: str) -> str:
    """Return a text that quotes a key in every way a careless server might."""
    header = f"Bearer {key}".encode()
    spellings = (key, quote(key, safe=""), base64.b64encode(header).decode(), header.hex())
    return f"refused: Authorization: Bearer {key}, also known as {', '.join(spellings)}"


def make_echo(ticker: str, status: int, body: str, content_type: str) -> dict[str, object]:
    """Return a fault that answers with the key."""
    return {
        "kind": "response",
        "endpoint": "trades",
        "ticker": ticker,
        "status": status,
        "headers": {"Content-Type": content_type},
        "body": base64.b64encode(body.encode()).decode(),
    }


HTML: Final = f"<html><body>{spell_all(KEY)}</body></html>"
JSON: Final = f'{{"status": "ERROR", "request_id": "{KEY}", "error": "{spell_all(KEY)}"}}'
ECHOES: Final = (
    make_echo("BCPC", 500, HTML, "text/html"),
    make_echo("BCpC", 200, HTML, "text/html"),
    make_echo("CON", 400, JSON, "application/json"),
)
REFUSALS: Final = (
    make_echo("BCPC", 401, JSON, "application/json"),
    make_echo("BCpC", 403, JSON, "application/json"),
    make_echo("CON", 200, JSON, "application/json"),
)


@dataclass
class Witness:
    """What was seen of a user's commands.

    Attributes:
        folder: Everything that they wrote, and what they said.
        codes: Exit codes, in order.
        command_lines: Command lines of the processes and of their children.
    """

    folder: Path
    codes: list[int] = field(default_factory=list)
    command_lines: set[str] = field(default_factory=set)

    def keep(self, finished: Finished) -> None:
        """Write down what a command said."""
        number = len(self.codes)
        self.codes.append(finished.code)
        write_text(self.folder / f"said-{number}.txt", f"{finished.out}\n{finished.err}")


@contextmanager
def watched(process: "subprocess.Popen[str]", seen: set[str]) -> Iterator[None]:
    """Note the command lines of a process and its children while the block runs."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            try:
                family = [psutil.Process(process.pid)]
                family += family[0].children(recursive=True)
                seen.update(" ".join(member.cmdline()) for member in family)
            except psutil.Error:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def run_watched(user: User, witness: Witness, *arguments: str) -> None:
    with user.start(*arguments) as process, watched(process, witness.command_lines):
        out, err = process.communicate(timeout=TIMEOUT_S)
        witness.keep(Finished(process.returncode, out, err))


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    """Return the witness of downloads that plan, fail and resume, audit, status and report."""
    with open_memory() as folder, EmulatorProcess(*MARKET) as vendor:
        write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
        witness = Witness(folder)
        user = User(folder, {"SMALLCAPS_BASE_URL": vendor.url, "POLYGON_API_KEY": KEY})
        vendor.set_faults(*ECHOES)
        run_watched(user, witness, "download", "--watchlist", "watchlist.csv")
        vendor.set_faults(*REFUSALS)
        witness.keep(user.run("download"))
        vendor.set_faults()
        witness.keep(user.run("download"))
        for command in ("audit --deep", "status --json", "report --json", "report --html"):
            witness.keep(user.run(*command.split()))
        witness.keep(user.run("plan", POLYGON_API_KEY=f"{KEY} {KEY}"))
        yield witness


@pytest.mark.slow
def test_the_run_met_what_it_was_meant_to_meet(witness: Witness) -> None:
    said = [(witness.folder / f"said-{number}.txt").read_text() for number in range(2)]

    assert witness.codes == [1, 1, 0, 0, 0, 0, 0, 2]
    assert all(kind in said[0] for kind in ("unavailable", "payload", "bad_request"))
    assert "Bearer ***" in said[0]
    assert "Bearer ***" in said[1]
    assert (witness.folder / "data" / "dagster").is_dir()


@pytest.mark.slow
def test_the_key_is_in_no_file_and_in_nothing_that_was_said(witness: Witness) -> None:
    """L14: data, receipts, ledger, catalog, Dagster's databases and logs, output, errors."""
    names = {path.name for path in witness.folder.rglob("*")}

    assert {"ledger.sqlite", "catalog.duckdb", "runs.db"} <= names
    assert list_data_files(witness.folder)
    assert list_proofs(witness.folder)
    assert find_secret(witness.folder, KEY) == []


@pytest.mark.slow
def test_the_key_is_on_no_command_line(witness: Witness) -> None:
    """L14: other users of the machine can list processes."""
    assert any("smallcaps_assets.cli" in line for line in witness.command_lines)
    assert not any(holds_secret(line.encode(), KEY) for line in witness.command_lines)


# -- the search itself -----------------------------------------------------------------


def insert_row(folder: Path, value: str | bytes) -> None:
    with sqlite3.connect(folder / "runs.db") as connection:
        connection.execute("CREATE TABLE logs (body)")
        connection.execute("INSERT INTO logs VALUES (?)", (value,))
    connection.close()


def make_view(folder: Path) -> None:
    with duckdb.connect(str(folder / "catalog.duckdb")) as catalog:
        catalog.execute(f"CREATE VIEW trades AS SELECT '{KEY}' AS source")


QUOTED: Final = quote(KEY, safe="").replace("%2F", "%2f")
NOTES: Final = pl.DataFrame({"note": [*map(str, range(100)), KEY]})
PLANTS: Final[dict[str, Callable[[Path], object]]] = {
    "text": lambda folder: write_text(folder / "log", f"GET /v3/trades/A?apiKey={KEY}\n"),
    "url": lambda folder: write_text(folder / "log", f"GET /v3/trades/A?apiKey={QUOTED}\n"),
    "hex": lambda folder: write_text(folder / "dump", f"f{KEY.encode().hex().upper()}0"),
    "gzip": lambda folder: (folder / "log").write_bytes(
        b"junk" + gzip.compress(f"key {KEY}".encode())
    ),
    "gzip in gzip": lambda folder: (folder / "log").write_bytes(
        gzip.compress(gzip.compress(KEY.encode()))
    ),
    "sqlite": lambda folder: insert_row(folder, "x" * 4_000 + KEY + "x" * 4_000),
    "packed in sqlite": lambda folder: insert_row(folder, zlib.compress(f"key {KEY}".encode())),
    "parquet": lambda folder: NOTES.write_parquet(folder / "notes", compression="zstd"),
    "parquet metadata": lambda folder: NOTES.head(1).write_parquet(
        folder / "notes", metadata={"run": f"by {KEY}"}
    ),
    "duckdb": make_view,
}
"""Ways in which a key may be written somewhere, each into a folder."""


@pytest.mark.parametrize("name", PLANTS)
def test_the_search_finds_a_planted_key(tmp_path: Path, name: str) -> None:
    assert find_secret(tmp_path, KEY) == []

    PLANTS[name](tmp_path)

    assert find_secret(tmp_path, KEY) != []


@pytest.mark.parametrize("lead", [0, 1, 2, 3])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_the_search_finds_base64_at_every_alignment(
    encode: Callable[[bytes], bytes], lead: int
) -> None:
    assert holds_secret(encode(b"x" * lead + KEY.encode() + b"yy"), KEY)


def test_the_search_finds_a_key_that_sqlite_has_not_folded_in_yet(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE logs (body)")
    connection.execute("INSERT INTO logs VALUES (?)", (KEY,))

    hits = find_secret(tmp_path, KEY)

    connection.close()
    assert any(hit.startswith("runs.db-wal: ") for hit in hits)


def test_the_search_takes_nothing_else_for_the_key(tmp_path: Path) -> None:
    write_text(tmp_path / "log.txt", spell_all("another-key-entirely"))
    (tmp_path / "noise.bin").write_bytes(os.urandom(1_000_000))

    assert find_secret(tmp_path, KEY) == []
