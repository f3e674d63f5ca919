"""Segments that are damaged, foreign or gone, and disks and signals that end a commit.

What a user is told, and what is true afterwards: whatever happened, the same trades at the end.
"""

import datetime as dt
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
import pytest

from smallcaps_assets import Lake
from smallcaps_assets.cli.endings import INTERRUPTED
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.lake.segments.records import encode_record, parse_record
from smallcaps_assets.lake.segments.sealing import NO_SEAL
from smallcaps_assets_tests.cli.cli_factories import FAILED, REFUSED, TIMEOUT_S, User, check_refusal
from smallcaps_assets_tests.cli.homes import count_rows, hash_content
from smallcaps_assets_tests.cli.signalled import start_signalled
from smallcaps_assets_tests.lakehouse_factories import (
    WATCHLIST_TEXT,
    count_trade_requests,
    flip_byte,
    open_memory,
    write_text,
)

pytestmark = pytest.mark.slow

RECORD: Final = ".record.parquet"
PROOF: Final = f"{RECORD},receipt"
"""How a record is called on a disk that knows moments."""

LOOKING: Final = ("audit --deep", "repair", "reindex")
STRAY: Final = "20240402T101530Z-0123456789abcdef.parquet"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder in memory for what is made once."""
    with open_memory() as made:
        yield made


@pytest.fixture(scope="module")
def plan(folder: Path, small_market: Market) -> Path:
    """Return a data folder in which the watchlist is planned, and nothing of it stored."""
    return make_copy(folder, "plan", small_market, "plan --watchlist watchlist.csv")


@pytest.fixture(scope="module")
def two_segments(folder: Path, plan: Path, small_market: Market) -> Path:
    """Return a data folder of two segments, of which the first has the sessions of BCPC."""
    assert plan.is_dir()
    return make_copy(folder, "segments", small_market, "download --tickers BCPC", "download")


def make_copy(folder: Path, name: str, market: Market, *lines: str) -> Path:
    """Run commands in a folder, one after the other, and return a copy of what is there then."""
    write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
    with EmulatorServer(market) as server:
        environment = {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_BASE_URL": server.url}
        maker = User(folder, environment)
        for line in lines:
            finished = maker.run(*line.split())
            assert finished.code == 0, finished.text
    return Path(shutil.copytree(maker.data_dir, folder / name))


@pytest.fixture
def owner(user: User, two_segments: Path) -> User:
    """Return a user who has these two segments."""
    shutil.copytree(two_segments, user.data_dir)
    return user


def list_segments(user: User) -> list[Path]:
    """List the files of segments by their names."""
    return sorted((user.data_dir / "lake" / "segments").rglob("*.parquet"))


def find_record(user: User) -> Path:
    """Find the record of BCPC: segments of one second are in no order by their names."""
    records = (path for path in list_segments(user) if path.name.endswith(RECORD))
    return next(path for path in records if "BCPC" in pl.read_parquet(path)["ticker"].to_list())


def find_part(user: User) -> Path:
    return find_record(user).with_name(find_record(user).name.replace(RECORD, ".parquet"))


def seal_again(path: Path, **changes: object) -> None:
    """Let a record say something else of itself, as if it had been written so."""
    name = path.name.removesuffix(RECORD)
    source = "emulator:seed=1"
    record = parse_record(path.read_bytes(), month=path.parent.name, name=name, source=source)
    header = msgspec.structs.replace(record.header, seal=NO_SEAL, **changes)
    path.write_bytes(encode_record(header, record.entries))


# -- what must not be read ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99}, ("version 99", "update smallcaps-assets")),
        ({"source": "vendor:polygon"}, ("vendor:polygon", "move the file out of the lake")),
    ],
)
def test_a_record_that_is_not_for_this_program(
    owner: User, market_server: EmulatorServer, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    record = find_record(owner)
    seal_again(record, **changes)
    before = {path: path.read_bytes() for path in list_segments(owner)}

    for line in (*LOOKING, "tidy", "catalog", "download --tickers BCPC --again"):
        finished = owner.run(*line.split())
        # A command of its own refuses the lake; a run of Dagster fails.
        code = REFUSED if finished.code == REFUSED else FAILED
        check_refusal(finished, code, record.name.removesuffix(RECORD), *words)
    with pytest.raises(SmallcapsError, match=words[0]):
        Lake(owner.data_dir).trades().collect()

    assert count_trade_requests(market_server) == 0
    assert {path: path.read_bytes() for path in list_segments(owner)} == before


# -- what is damaged ---------------------------------------------------------------------


def cut_part(user: User) -> None:
    find_part(user).write_bytes(find_part(user).read_bytes()[:-100])


def empty_record(user: User) -> None:
    find_record(user).write_bytes(b"")


def swap_parts(user: User) -> None:
    first, last = (path for path in list_segments(user) if not path.name.endswith(RECORD))
    contents = first.read_bytes(), last.read_bytes()
    last.write_bytes(contents[0])
    first.write_bytes(contents[1])


DAMAGES: Final[dict[str, Callable[[User], None]]] = {
    "a part that is gone": lambda user: find_part(user).unlink(),
    "a part with a bit that changed": lambda user: flip_byte(find_part(user)),
    "a part that was cut": cut_part,
    "parts in the place of each other": swap_parts,
    "a record with a bit that changed": lambda user: flip_byte(find_record(user)),
    "a record without a byte": empty_record,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_named_and_healed(
    owner: User,
    owner_content: str,
    market_server: EmulatorServer,
    damage: Callable[[User], None],
) -> None:
    rows = count_rows(owner)
    damage(owner)

    audited = owner.run("audit", "--deep")
    lied = _reads_wrong_rows(owner, rows)
    repaired, downloaded = owner.run("repair"), owner.run("download")
    tidied, again = owner.run("tidy"), owner.run("audit", "--deep")

    check_refusal(audited, FAILED, "BCPC", "2024-01-10")
    assert not lied
    assert [repaired.code, downloaded.code, tidied.code, again.code] == [0, 0, 0, 0], again.text
    assert (hash_content(owner), count_rows(owner)) == (owner_content, rows)
    # What was not hurt is not asked for again: of all there are four ranges.
    assert count_trade_requests(market_server) <= 4
    assert Lake(owner.data_dir).trades().collect().height == rows


def _reads_wrong_rows(user: User, rows: int) -> bool:
    """Say whether a reader sees other rows than there were, without an error."""
    try:
        return Lake(user.data_dir).trades().collect().height != rows
    except SmallcapsError:
        return False


def test_a_part_that_no_record_names(
    owner: User, owner_content: str, market_server: EmulatorServer
) -> None:
    rows = count_rows(owner)
    stray = find_part(owner).with_name(STRAY)
    shutil.copyfile(find_part(owner), stray)

    audited, downloaded = owner.run("audit", "--deep"), owner.run("download")
    seen = Lake(owner.data_dir).trades().collect().height
    tidied, again = owner.run("tidy"), owner.run("audit", "--deep")

    assert (audited.code, "0 orphans are faults, of 1: 1 stray" in audited.text) == (0, True)
    assert (downloaded.code, count_trade_requests(market_server), seen) == (0, 0, rows)
    assert (tidied.code, again.code) == (0, 0), again.text
    assert not stray.exists()
    assert hash_content(owner) == owner_content


# -- a commit that a signal meets --------------------------------------------------------


@pytest.fixture
def planner(user: User, plan: Path) -> User:
    """Return a user who has planned a lake, and has nothing of it."""
    shutil.copytree(plan, user.data_dir)
    return user


@pytest.mark.parametrize(
    ("moment", "name", "number"),
    [
        ("after write", "trades", signal.SIGINT),
        ("after rename", ".parquet", signal.SIGTERM),
        ("after rename", PROOF, signal.SIGINT),
    ],
    ids=["the part is not there yet", "part without record", "record without ledger"],
)
def test_a_signal_inside_a_commit(
    planner: User,
    owner_content: str,
    market_server: EmulatorServer,
    moment: str,
    name: str,
    number: signal.Signals,
) -> None:
    with start_signalled(planner, moment, name, number) as process:
        said, _ = process.communicate(timeout=TIMEOUT_S)
    stored = [path for path in list_segments(planner) if path.name.endswith(RECORD)]
    market_server.reset()
    resumed = planner.run("download")
    asked = count_trade_requests(market_server)
    tidied, audited = planner.run("tidy"), planner.run("audit", "--deep")

    assert (process.returncode, "Traceback" in said) == (INTERRUPTED, False), said
    assert "what is finished stays" in said or "run the same command to go on" in said, said
    assert (resumed.code, tidied.code, audited.code) == (0, 0, 0), resumed.text + audited.text
    assert asked == 0 or not stored
    assert hash_content(planner) == owner_content
    assert not list(planner.data_dir.rglob(".tmp-*"))


@pytest.fixture(scope="module")
def owner_content(folder: Path, two_segments: Path) -> str:
    """Return the content hash of the whole lake."""
    assert two_segments.is_dir()
    return hash_content(User(folder, {"SMALLCAPS_SOURCE": "emulator"}))


BESIDE: Final = ("download", "tidy", "reindex", "repair")
"""Commands that write, each of which is refused while another process may be inside a commit."""


def test_a_download_that_sleeps_between_part_and_record_for_days(
    planner: User, owner_content: str, market_server: EmulatorServer
) -> None:
    with sleeping_download(planner) as process:
        age_segments(planner, days=3)
        for line in BESIDE:
            check_refusal(planner.run(*line.split()), REFUSED, f"pid {process.pid}")
        looked = planner.run("status")
        parts = list_segments(planner)
    market_server.reset()
    again, audited = planner.run("download"), planner.run("audit", "--deep")

    assert looked.code == 0
    assert len(parts) == 1
    assert (process.returncode, again.code, audited.code) == (0, 0, 0), audited.text
    assert count_trade_requests(market_server) == 0
    assert hash_content(planner) == owner_content


def test_an_orphan_of_yesterday_goes_and_is_never_believed(
    planner: User, owner_content: str, market_server: EmulatorServer
) -> None:
    """Killed after the part; a day later the same download sleeps beside a tidy, and goes on."""
    with start_signalled(planner, "after rename", ".parquet", signal.SIGKILL) as process:
        process.communicate(timeout=TIMEOUT_S)
    (orphan,) = list_segments(planner)
    age_segments(planner, hours=25)

    with sleeping_download(planner) as process:
        check_refusal(planner.run("tidy"), REFUSED, f"pid {process.pid}")
    tidied, audited = planner.run("tidy"), planner.run("audit", "--deep")
    market_server.reset()
    again = planner.run("download")

    assert (tidied.code, audited.code, again.code) == (0, 0, 0), audited.text
    assert not orphan.exists()
    assert count_trade_requests(market_server) == 0
    assert hash_content(planner) == owner_content


@contextmanager
def sleeping_download(user: User) -> Iterator["subprocess.Popen[str]"]:
    """Stop a download between its part and its record; it comes to its end after the block."""
    process = start_signalled(user, "after rename", ".parquet", signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=TIMEOUT_S)


def age_segments(user: User, **age: float) -> None:
    """Let time pass for all files of segments."""
    earlier = (dt.datetime.now(dt.UTC) - dt.timedelta(**age)).timestamp()
    for path in list_segments(user):
        os.utime(path, (earlier, earlier))
