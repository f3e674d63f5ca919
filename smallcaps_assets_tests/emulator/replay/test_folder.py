import csv
import datetime as dt
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.replay.folder import Replay
from smallcaps_assets.emulator.source import SourceError
from smallcaps_assets_tests.emulator.emulator_factories import (
    SHARED,
    follow_chain,
    get,
    join_pages,
)

HEADER = (
    "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,"
    "sip_timestamp,size,tape,trf_id,trf_timestamp"
)
DAY = dt.date(2024, 1, 3)
START_NS, _ = day_bounds_ns(DAY, DAY)
REAL = SHARED / "data" / "us_stocks_sip"
FULL = f'A,"14,12",12,4,900]:C,{START_NS + 5},104.00,7,{START_NS + 9},100,1,201,{START_NS + 6}'
BARE = f"A,,0,11,,0,25.4,1930,{START_NS + 9},42700,1,0,0"
FRACTION = f"BApA,,,12,x,0,0.5,1,{START_NS + 1},125.013374,3,,"
WHOLE = f"BApA,,0,12,y,0,157.350000,2,{START_NS + 2},10.000000,3,0,0"


def write_day(folder: Path, *lines: str, date: dt.date = DAY, header: str = HEADER) -> Path:
    path = folder / "us_stocks_sip" / "trades_v1" / f"{date:%Y/%m}" / f"{date}.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode()))
    return path


def serve_rows(folder: Path, ticker: str, **parameters: str | int) -> list[dict[str, Any]]:
    with EmulatorServer(Replay(folder)) as server:
        pages = follow_chain(server, f"/v3/trades/{ticker}", order="asc", **parameters)
    return join_pages(pages)


def test_a_row_is_sent_as_the_vendor_sends_it(tmp_path: Path) -> None:
    write_day(tmp_path, FULL)

    assert serve_rows(tmp_path, "A") == [
        {
            "conditions": [14, 12],
            "correction": 12,
            "exchange": 4,
            "id": "900]:C",
            "participant_timestamp": START_NS + 5,
            "price": 104,
            "sequence_number": 7,
            "sip_timestamp": START_NS + 9,
            "size": 100,
            "tape": 1,
            "trf_id": 201,
            "trf_timestamp": START_NS + 6,
        }
    ]


def test_absent_fields_fractions_ties_and_cases_are_sent_as_the_vendor_does(tmp_path: Path) -> None:
    write_day(tmp_path, FULL, BARE, FRACTION, WHOLE)

    _, bare = rows = serve_rows(tmp_path, "A", limit=1)
    fractions = serve_rows(tmp_path, "BApA")

    assert [row["sequence_number"] for row in rows] == [7, 1930]
    assert not {"conditions", "correction", "trf_id", "trf_timestamp"} & set(bare)
    assert (bare["participant_timestamp"], bare["id"]) == (0, "")
    assert [(row["size"], row["decimal_size"]) for row in fractions] == [
        (125, "125.013374"),
        (10, "10.0"),
    ]
    assert serve_rows(tmp_path, "bapa") == []


def test_days_follow_one_another_and_only_those_asked_for_are_read(tmp_path: Path) -> None:
    write_day(tmp_path, FULL)
    later = DAY + dt.timedelta(days=1)
    write_day(tmp_path, BARE.replace(str(START_NS + 9), str(START_NS + 90_000 * 10**9)), date=later)
    broken = write_day(tmp_path, date=DAY + dt.timedelta(days=2))
    broken.write_bytes(b"not gzip")

    rows = serve_rows(tmp_path, "A", **{"timestamp.lte": str(later), "limit": "1"})
    backward = Replay(tmp_path)

    assert [row["sequence_number"] for row in rows] == [7, 1930]
    assert backward.dates == [DAY, later, DAY + dt.timedelta(days=2)]
    with EmulatorServer(backward) as server:
        assert get(server, "/v3/trades/A").status_code == 500


def test_bars_are_built_from_the_trades(tmp_path: Path) -> None:
    write_day(tmp_path, FULL, BARE, FRACTION, WHOLE)
    replay = Replay(tmp_path)

    bars = replay.read_grouped_bars(DAY)

    assert [bar["T"] for bar in bars] == ["A", "BApA"]
    assert (bars[1]["v"], bars[1]["n"], bars[1]["o"], bars[1]["c"]) == (135.013374, 2, 0.5, 157.35)
    assert replay.read_ticker_bars("A", DAY, DAY) == [(DAY, bars[0])]
    assert replay.read_grouped_bars(DAY + dt.timedelta(days=1)) == ()


def test_tickers_found_are_listed(tmp_path: Path) -> None:
    write_day(tmp_path, FULL, FRACTION)
    replay = Replay(tmp_path)

    assert [row["ticker"] for row in replay.read_listings()] == ["A", "BApA"]
    assert (replay.read_splits(), replay.read_changes("A")) == ((), ())
    assert replay.name == f"replay={tmp_path}"


@pytest.mark.parametrize("depth", ["us_stocks_sip/trades_v1", "us_stocks_sip", "."])
def test_any_folder_above_the_files_will_do(tmp_path: Path, depth: str) -> None:
    write_day(tmp_path, FULL)

    assert Replay(tmp_path / depth).dates == [DAY]


def test_a_folder_without_flat_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no flat files"):
        Replay(tmp_path)


def test_a_file_with_another_name_is_refused(tmp_path: Path) -> None:
    path = write_day(tmp_path, FULL)
    path.rename(path.with_name("january.csv.gz"))

    with pytest.raises(SourceError, match="expected a name like"):
        Replay(tmp_path)


@pytest.mark.parametrize(
    ("lines", "header", "problem"),
    [
        ([FULL], "ticker,price", "missing"),
        ([FULL, FRACTION, BARE], HEADER, "not sorted"),
        ([FULL.replace("104.00", "dear")], HEADER, "no trade"),
    ],
)
def test_a_damaged_file_is_refused(
    tmp_path: Path, lines: list[str], header: str, problem: str
) -> None:
    write_day(tmp_path, *lines, header=header)

    with pytest.raises(SourceError, match=problem):
        Replay(tmp_path).read_trades("A", DAY)


def test_an_empty_file_has_no_tickers(tmp_path: Path) -> None:
    write_day(tmp_path)
    replay = Replay(tmp_path)

    assert replay.read_listings() == []
    assert replay.read_grouped_bars(DAY) == []
    assert replay.read_trades("A", DAY).is_empty()
    assert replay.read_trades("A", DAY + dt.timedelta(days=1)).is_empty()


@pytest.fixture(scope="module")
def real_vendor() -> Iterator[EmulatorServer]:
    if not REAL.exists():
        pytest.skip(f"no flat files in {REAL}")
    with EmulatorServer(Replay(REAL)) as server:
        yield server


@pytest.mark.parametrize("ticker", ["AIG", "IBM"])
def test_real_flat_files_are_served_exactly(real_vendor: EmulatorServer, ticker: str) -> None:
    path = REAL / "trades_v1" / "2013" / "10" / "2013-10-07.csv.gz"
    with gzip.open(path, "rt") as stream:
        expected = [row for row in csv.DictReader(stream) if row["ticker"] == ticker]

    rows = join_pages(
        follow_chain(
            real_vendor, f"/v3/trades/{ticker}", timestamp="2013-10-07", limit=7_000, order="asc"
        )
    )

    numbers = ("sip_timestamp", "participant_timestamp", "sequence_number", "size", "exchange")
    assert [[row[name] for name in numbers] for row in rows] == [
        [int(row[name]) for name in numbers] for row in expected
    ]
    assert [row["price"] for row in rows] == [float(row["price"]) for row in expected]
    assert [",".join(map(str, row.get("conditions", []))) for row in rows] == [
        row["conditions"] for row in expected
    ]
