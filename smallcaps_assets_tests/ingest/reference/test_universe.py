"""The universe from the vendor, interrupted and resumed, and from files."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
import pytest

from smallcaps_assets.core.reference.universe import TEST_TICKERS
from smallcaps_assets.core.verdicts import MadeTable
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import WireRow
from smallcaps_assets.errors import ConfigError, DataError, MissingPartitionError, VendorError
from smallcaps_assets.ingest.reference.universe import refresh_universe
from smallcaps_assets.ingest.reference.universe_load import DETAILS_PER_PART, LONGEST_LOAD
from smallcaps_assets.lake.tables.load_parts import PartStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import UNIVERSE
from smallcaps_assets_tests.lakehouse_factories import NOW, make_lakehouse, write_text

LISTS: Final = "/v3/reference/tickers"
GONE: Final = {
    "active": False,
    "delisted_utc": "2020-05-06T00:00:00Z",
    "list_date": "2010-01-04",
    "composite_figi": "BBG1",
}
NEW: Final = {"list_date": "2021-01-04", "composite_figi": "BBG2", "market_cap": 3e9}


def make_listing(ticker: str, **changes: object) -> WireRow:
    row = {"ticker": ticker, "market": "stocks", "active": True, "name": f"{ticker} Inc."}
    return row | {"type": "CS", "primary_exchange": "XNAS"} | changes


def make_market(count: int) -> list[WireRow]:
    """Return common stocks, one in four of them delisted."""
    ends = {"active": False, "delisted_utc": "2020-05-06T00:00:00Z"}
    return [
        make_listing(f"T{number:05}", list_date="2010-01-04", **({} if number % 4 else ends))
        for number in range(count)
    ]


def make_funds(count: int) -> list[WireRow]:
    """Return as many listings, of which only twenty pass the filters, so that lists are long."""
    return [
        row if number < 20 else {**row, "type": "FUND"}
        for number, row in enumerate(make_market(count))
    ]


@pytest.fixture
def source() -> StaticSource:
    return StaticSource()


@pytest.fixture
def server(source: StaticSource) -> Iterator[EmulatorServer]:
    with EmulatorServer(source) as server:
        yield server


def open_vendor(folder: Path, server: EmulatorServer, **changes: object) -> Lakehouse:
    """Return a lakehouse that has been closed and opened again, as a new process has it."""
    return make_lakehouse(folder, server.url, source="vendor", **changes)


@pytest.fixture
def lakehouse(tmp_path: Path, server: EmulatorServer) -> Lakehouse:
    return open_vendor(tmp_path, server)


def read_universe(lakehouse: Lakehouse) -> pl.DataFrame:
    return lakehouse.tables.read_table(UNIVERSE)


def list_parts(lakehouse: Lakehouse) -> list[str]:
    layout = lakehouse.layout
    return PartStore(layout.universe_parts_dir, lakehouse.fs, root=layout.data_dir).list_names()


def test_refresh_universe_keeps_both_companies_of_a_ticker(
    source: StaticSource, lakehouse: Lakehouse
) -> None:
    """L22: recycled tickers are two rows, each with its own period and numbers."""
    source.tickers = [make_listing("RC", **GONE), make_listing("RC", **NEW)]

    made = refresh_universe(lakehouse)

    names = ["is_active", "listed_date", "delisted_date", "composite_figi", "is_below_cap"]
    assert read_universe(lakehouse).select(names).rows() == [
        (False, dt.date(2010, 1, 4), dt.date(2020, 5, 6), "BBG1", None),
        (True, dt.date(2021, 1, 4), None, "BBG2", False),
    ]
    assert made.verdict.passed
    assert (made.rows, made.numbers["reused_tickers"]) == (2, 1)


def test_refresh_universe_labels_caps_by_the_date_they_were_asked_for(
    source: StaticSource, lakehouse: Lakehouse
) -> None:
    """L22: a cap is of one date, which is said."""
    source.tickers = [make_listing("A", market_cap=1e9), make_listing("B", **GONE, market_cap=5e8)]

    made = refresh_universe(lakehouse)

    caps = read_universe(lakehouse).select("market_cap_usd", "market_cap_as_of_date").rows()
    assert caps == [(1e9, lakehouse.last_available), (5e8, dt.date(2020, 5, 5))]
    assert made.numbers["as_of"] == str(lakehouse.last_available) == "2025-01-14"


def test_refresh_universe_asks_details_only_of_what_passes_the_filters(
    source: StaticSource, server: EmulatorServer, lakehouse: Lakehouse
) -> None:
    kinds: list[dict[str, object]] = [
        {"type": "ETF"},
        {"primary_exchange": "ARCX"},
        {},
        {"type": None},
    ]
    source.tickers = [make_listing(f"A{n}", **kind) for n, kind in enumerate(kinds)]
    source.tickers += [make_listing("ZVZZT"), make_listing("GONE", **GONE)]

    made = refresh_universe(lakehouse)

    asked = {request.path for request in server.requests} - {LISTS}
    assert asked == {f"{LISTS}/{ticker}" for ticker in ("A2", "A3", "GONE")}
    names = ("other_types", "other_exchanges", "unknown_type", "test_tickers")
    assert [made.numbers[name] for name in names] == [1, 1, 1, 1]


def test_refresh_universe_tolerates_and_counts_details_that_are_not_there(
    source: StaticSource, lakehouse: Lakehouse
) -> None:
    source.tickers = [
        make_listing("A"),
        make_listing("GONE", **(GONE | {"list_date": "2021-01-04"})),
    ]

    made = refresh_universe(lakehouse)

    assert made.numbers["details_not_found"] == 1
    assert read_universe(lakehouse)["listed_date"].null_count() == 2


def test_refresh_universe_publishes_no_survivors(
    source: StaticSource, lakehouse: Lakehouse
) -> None:
    """L22: without delisted listings the old universe stays."""
    source.tickers = [make_listing("A")]

    made = refresh_universe(lakehouse)

    assert not made.verdict.passed
    candidate = lakehouse.layout.candidate_file(lakehouse.layout.universe_file)
    assert pl.read_parquet(candidate)["ticker"].to_list() == ["A"]
    with pytest.raises(MissingPartitionError):
        read_universe(lakehouse)


def test_refresh_universe_goes_on_after_two_interruptions(tmp_path: Path) -> None:
    """L22, L13: a load of hours continues where it stopped, and loses no listing."""
    market = Market(MarketConfig(tickers=8, busy_trades=0, trades_scale=0.1, listings=3_000))
    with EmulatorServer(market) as server:
        for after in (2, 300):
            interrupt(make_lakehouse(tmp_path, server.url), server, after)
        lakehouse = make_lakehouse(tmp_path, server.url)
        made = refresh_universe(lakehouse)

    wanted = [row for row in market.read_listings() if is_wanted(row)]
    assert sorted(read_universe(lakehouse)["composite_figi"]) == sorted(
        row["composite_figi"] for row in wanted
    )
    assert (made.verdict.passed, made.numbers["without_listed_date"]) == (True, 0)
    pages = int(made.numbers["pages_resumed"])
    assert server.stats.by_status[200] == made.rows + pages
    assert int(made.numbers["details_resumed"]) >= 300 - pages - 8
    assert list_parts(lakehouse) == []


def test_refresh_universe_says_how_far_it_is(source: StaticSource, lakehouse: Lakehouse) -> None:
    source.tickers = make_market(420)
    lines: list[str] = []

    refresh_universe(lakehouse, lines.append)

    assert lines[:2] == [
        "universe: 315 listings active, page 1",
        "universe: 105 listings delisted, page 1",
    ]
    assert lines[2] == f"universe: {DETAILS_PER_PART} of 420 details"
    assert lines[-1] == "universe: 420 of 420 details"


def interrupt(lakehouse: Lakehouse, server: EmulatorServer, after: int) -> None:
    """Begin a load that the vendor ends after so many requests."""
    server.faults = [Fault("outage", after=after, requests=9_999)]
    with pytest.raises(VendorError):
        refresh_universe(lakehouse)
    server.faults = []


@pytest.mark.parametrize("damage", ["gap", "text", "early_end", "refused_cursor"])
def test_refresh_universe_fetches_a_list_again_whose_parts_do_not_fit(
    source: StaticSource, server: EmulatorServer, tmp_path: Path, damage: str
) -> None:
    source.tickers = make_funds(4_100)
    interrupt(open_vendor(tmp_path, server), server, after=2)
    folder = open_vendor(tmp_path, server).layout.universe_parts_dir
    if damage == "refused_cursor":
        server.faults = [Fault("400", endpoint="tickers", times=1)]
    else:
        spoil(folder / "active-000001.part", damage)

    made = refresh_universe(open_vendor(tmp_path, server))

    assert read_counts(made) == (4_100, 20, 0)


def read_counts(made: MadeTable) -> tuple[object, ...]:
    """Return listings read, listings kept, and pages that an earlier load had kept."""
    return made.numbers["rows_read"], made.rows, made.numbers["pages_resumed"]


def spoil(part: Path, damage: str) -> None:
    """Damage the first page of a list."""
    if damage == "gap":
        part.unlink()
    elif damage == "text":
        part.write_bytes(part.read_bytes()[:-9])
    else:
        page = msgspec.json.decode(part.read_bytes())
        part.write_bytes(msgspec.json.encode(page | {"cursor": None}))


def test_refresh_universe_does_not_hide_a_refusal_of_the_first_page(
    source: StaticSource, server: EmulatorServer, lakehouse: Lakehouse
) -> None:
    source.tickers = make_market(8)
    server.faults = [Fault("400", endpoint="tickers")]

    with pytest.raises(VendorError):
        refresh_universe(lakehouse)


def test_refresh_universe_forgets_a_load_of_another_week(
    source: StaticSource, server: EmulatorServer, tmp_path: Path
) -> None:
    source.tickers = make_funds(4_100)
    interrupt(open_vendor(tmp_path, server), server, after=2)
    later = Lakehouse(open_vendor(tmp_path, server).settings, clock=lambda: NOW + LONGEST_LOAD)

    made = refresh_universe(later)

    assert read_counts(made) == (4_100, 20, 0)
    assert made.numbers["as_of"] == str(later.last_available) != "2025-01-14"


def test_refresh_universe_resumes_for_the_date_it_began_with(
    source: StaticSource, server: EmulatorServer, tmp_path: Path
) -> None:
    source.tickers = make_market(400)
    interrupt(open_vendor(tmp_path, server), server, after=50)
    tomorrow = NOW + dt.timedelta(days=1)
    later = Lakehouse(open_vendor(tmp_path, server).settings, clock=lambda: tomorrow)

    made = refresh_universe(later)

    assert made.numbers["as_of"] == "2025-01-14"
    assert set(read_universe(later)["ticker"]) == {f"T{number:05}" for number in range(400)}


def test_refresh_universe_changes_no_byte_when_nothing_changed(
    source: StaticSource, lakehouse: Lakehouse
) -> None:
    source.tickers = make_market(40)

    refresh_universe(lakehouse)
    first = lakehouse.layout.universe_file.read_bytes()
    refresh_universe(lakehouse)

    assert lakehouse.layout.universe_file.read_bytes() == first


FILE: Final = """ticker,type,primary_exchange,listed_date,delisted_date,cik
RC,CS,XNAS,2010-01-04,2020-05-06,0000001
RC,CS,XNAS,2021-01-04,,0000002
ETFA,ETF,ARCX,2010-01-04,,
ODD,,,2015-01-02,2014-01-02,
"""


def test_refresh_universe_reads_a_file_and_asks_nobody(tmp_path: Path) -> None:
    file = write_text(tmp_path / "listings.csv", FILE)
    lakehouse = make_lakehouse(tmp_path / "data", "http://127.0.0.1:9", universe=file)

    made = refresh_universe(lakehouse)

    universe = read_universe(lakehouse)
    assert universe["ticker"].to_list() == ["ODD", "RC", "RC"]
    assert universe["cik"].to_list() == [None, "0000001", "0000002"]
    names = ("origin", "rows_read", "other_types", "unknown_type", "reversed_periods")
    assert [made.numbers[name] for name in names] == ["listings.csv", 4, 1, 1, 1]
    assert made.tables["repaired"]["ticker"].to_list() == ["ODD"]


def test_refresh_universe_names_the_file_that_breaks_the_contract(tmp_path: Path) -> None:
    file = write_text(tmp_path / "listings.csv", "ticker,market_cap\nA,5\n")
    lakehouse = make_lakehouse(tmp_path / "data", "http://127.0.0.1:9", universe=file)

    with pytest.raises(DataError, match=r"listings\.csv.*market_cap_as_of_date"):
        refresh_universe(lakehouse)


def test_refresh_universe_refuses_codes_before_it_asks(
    server: EmulatorServer, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="SMALLCAPS_UNIVERSE_TYPES"):
        refresh_universe(open_vendor(tmp_path, server, universe_types="common stock"))

    assert server.requests == []


def is_wanted(row: WireRow) -> bool:
    """Return whether the default filters keep a listing; a made-up ticker is that of a test."""
    is_stock = row.get("type", "CS") == "CS" and row["ticker"] not in TEST_TICKERS
    return is_stock and row["primary_exchange"] in {"XNAS", "XNYS", "XASE"}
