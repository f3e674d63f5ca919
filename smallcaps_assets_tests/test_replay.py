"""Real prints of 2013, replayed: every one lands, column by column, in every time zone."""

import datetime as dt
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.ticks.content_hash import hash_lake, hash_trades
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.cli.cli_factories import TIMEOUT_S, Finished, User
from smallcaps_assets_tests.defs.defs_factories import EmulatorProcess
from smallcaps_assets_tests.lakehouse_factories import (
    SmallLake,
    find_shared,
    make_lakehouse,
    open_memory,
    write_text,
)

TICKERS: Final = ("AIG", "IBM")
DATES: Final = [dt.date(2013, 10, day) for day in range(7, 12)]
BEYOND: Final = dt.date(2013, 10, 14)
"""A session of which there is no flat file and no bar."""
PRINTS: Final = 332_732
ASKED: Final = {"UTC": DATES, "Asia/Tokyo": DATES[-1:]}
"""Dates that are downloaded in each time zone, of both tickers."""

INSTANTS: Final = ("sip_timestamp", "participant_timestamp", "trf_timestamp")
COUNTS: Final = ("sequence_number", "exchange", "tape", "trf_id", "correction")
FLAT_SCHEMA: Final = {
    "ticker": pl.String(),
    "conditions": pl.String(),
    "id": pl.String(),
    "price": pl.Float64(),
    "size": pl.Float64(),
    **dict.fromkeys((*INSTANTS, *COUNTS), pl.Int64()),
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Replay:
    """The same prints, downloaded in several time zones from one emulator.

    Attributes:
        folder: Folder of the flat files.
        vendor: The emulator.
        users: Who downloaded, by time zone.
        finished: What their commands said.
    """

    folder: Path
    vendor: EmulatorProcess
    users: dict[str, User]
    finished: dict[str, Finished]

    @property
    def lakehouse(self) -> Lakehouse:
        """Return the lakehouse of the first zone."""
        return self.open("UTC")

    def open(self, zone: str) -> Lakehouse:
        """Return the lakehouse of a zone."""
        data_dir = self.users[zone].data_dir
        return make_lakehouse(data_dir, self.vendor.url, emulator_replay=self.folder)


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    """Return the replay after a download in each time zone, all at once."""
    flat_files = find_shared("us_stocks_sip/trades_v1")
    with open_memory() as root, EmulatorProcess("--replay", str(flat_files)) as vendor:
        yield Replay(flat_files, vendor, *download_all(root, vendor.url, flat_files))


def download_all(
    root: Path, url: str, flat_files: Path
) -> tuple[dict[str, User], dict[str, Finished]]:
    """Download in each time zone, all at once."""
    users = {
        zone: make_user(root / zone.replace("/", "-"), url, flat_files, dates)
        for zone, dates in ASKED.items()
    }
    processes = {
        zone: user.start("download", "--watchlist", "watchlist.csv", TZ=zone)
        for zone, user in users.items()
    }
    said = {zone: process.communicate(timeout=TIMEOUT_S) for zone, process in processes.items()}
    codes = {zone: process.returncode for zone, process in processes.items()}
    return users, {zone: Finished(codes[zone], *said[zone]) for zone in ASKED}


def make_user(folder: Path, url: str, flat_files: Path, dates: Sequence[dt.date]) -> User:
    """Return a user with a watchlist of both tickers on some dates, and of one date beyond."""
    folder.mkdir()
    rows = [f"{ticker},{date}" for ticker in TICKERS for date in dates]
    write_text(folder / "watchlist.csv", "\n".join(["ticker,date", *rows, f"AIG,{BEYOND}", ""]))
    environment = {
        "SMALLCAPS_SOURCE": "emulator",
        "SMALLCAPS_EMULATOR_REPLAY": str(flat_files),
        "SMALLCAPS_BASE_URL": url,
    }
    return User(folder, environment)


@functools.cache
def read_flat_file(folder: Path, date: dt.date) -> pl.DataFrame:
    """Return the rows of a flat file in the order of the file."""
    path = folder / f"{date:%Y/%m}" / f"{date}.csv.gz"
    return pl.read_csv(path, schema_overrides=FLAT_SCHEMA).with_columns(
        pl.col("conditions").fill_null("")
    )


def flatten(trades: pl.DataFrame) -> pl.DataFrame:
    """Return stored trades as a flat file has them: nothing is 0, or an empty text."""
    conditions = pl.col("conditions").cast(pl.List(pl.String)).list.join(",").fill_null("")
    numbers = pl.col(*INSTANTS, *COUNTS).cast(pl.Int64).fill_null(0)
    return trades.select("ticker", conditions, "id", "price", "size", numbers)


def test_every_download_ends_well_and_says_what_could_not_be_proven(replay: Replay) -> None:
    for zone, finished in replay.finished.items():
        complete = len(TICKERS) * len(ASKED[zone])
        assert (finished.code, finished.err) == (0, "")
        assert "without daily bars nothing can be proven" in finished.text
        assert f"{complete} complete, 1 empty_unverified" in finished.text


@pytest.mark.parametrize("date", DATES, ids=str)
@pytest.mark.parametrize("ticker", TICKERS)
def test_every_print_lands_row_by_row_and_column_by_column(
    replay: Replay, ticker: str, date: dt.date
) -> None:
    """L4, L5, L8, L24: ties in tape order, nanoseconds exact, every column of the vendor."""
    expected = read_flat_file(replay.folder, date).filter(ticker=ticker)

    stored = flatten(replay.lakehouse.sessions.read_trades(ticker, date))

    assert stored.height == expected.height > 10_000
    for name in stored.columns:
        assert stored[name].equals(expected[name]), name
    assert stored["sip_timestamp"].n_unique() < stored.height


def test_every_value_is_the_same_in_every_time_zone(replay: Replay) -> None:
    """L5: nothing depends on where the machine stands."""
    contents = {zone: read_all(replay.open(zone)) for zone in ASKED}
    reports = {zone: report_hash(user) for zone, user in replay.users.items()}

    assert sum(trades.height > 0 for trades in contents["UTC"].values()) == 10
    assert sum(trades.height > 0 for trades in contents["Asia/Tokyo"].values()) == len(TICKERS)
    for key, trades in contents["Asia/Tokyo"].items():
        assert_frame_equal(trades, contents["UTC"][key], check_exact=True)
    hashes = {key: hash_trades(trades) for key, trades in contents["UTC"].items()}
    for zone, report in reports.items():
        assert report == hash_lake({key: hashes[key] for key in contents[zone]})


def read_all(lakehouse: Lakehouse) -> dict[str, pl.DataFrame]:
    """Return the trades of all stored sessions, by key, from the disk."""
    store = lakehouse.sessions
    return {
        receipt.key: store.read_trades(receipt.ticker, receipt.session_date)
        for receipt in store.iter_receipts()
    }


def report_hash(user: User) -> str:
    content_hash: str = json.loads(user.run("report", "--json").out)["content_hash"]
    return content_hash


def test_receipts_say_what_was_proven_and_what_was_not(replay: Replay) -> None:
    """L9: no trades and no bar is another state than no trades."""
    store = replay.lakehouse.sessions

    full, empty = store.read_receipt("IBM", DATES[0]), store.read_receipt("AIG", BEYOND)

    assert (full.state, full.source) == ("complete", f"emulator:replay={replay.folder.resolve()}")
    assert (empty.state, empty.rows, empty.bar_volume) == ("empty_unverified", 0, None)
    assert set(full.rows_by_phase) <= {"pre_market", "regular", "after_hours", "closed"}


def test_a_second_download_makes_no_request(replay: Replay) -> None:
    """L9."""
    before = len(replay.vendor.requests)

    finished = replay.users["UTC"].run("download")

    assert finished.code == 0
    assert "nothing is missing" in finished.out
    assert len(replay.vendor.requests) == before > 0


def test_a_deep_audit_finds_nothing_wrong(replay: Replay) -> None:
    finished = replay.users["UTC"].run("audit", "--deep", "--json")

    audit = json.loads(finished.out)
    numbers = {check["name"]: check["numbers"] for check in audit["checks"]}
    assert (finished.code, finished.err, audit["failed"]) == (0, "", [])
    assert replay.lakehouse.ledger.totals().rows == PRINTS
    assert numbers["files_are_undamaged"]["checked"] == 11


@pytest.mark.parametrize(
    ("ticker", "date"),
    [("BCPC", dt.date(2024, 1, 11)), ("CON", dt.date(2024, 1, 30))],
)
def test_prints_after_midnight_utc_stay_on_their_new_york_date(
    small_market: Market, small_lake: SmallLake, tmp_path: Path, ticker: str, date: dt.date
) -> None:
    """L6, L7: after-hours trades of winter end after midnight UTC, and are all kept."""
    expected = small_market.read_trades(ticker, date)

    trades = small_lake.copy(tmp_path).sessions.read_trades(ticker, date)

    is_late = trades["sip_timestamp"].dt.date() > date
    assert trades["sip_timestamp"].cast(pl.Int64).equals(expected["sip_timestamp"])
    assert trades.filter(is_late)["trading_phase"].unique().to_list() == ["after_hours"]
    assert trades["session_date"].unique().to_list() == [date]
