import datetime as dt
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import (
    TICKER_PREFIX,
    date_folder,
    decode_ticker,
    encode_ticker,
    parse_date_folder,
    parse_ticker_folder,
)

LAYOUT = LakeLayout(Path("data"))
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{d}{n}" for d in ("COM", "LPT") for n in range(10))}

symbols = st.text(
    st.sampled_from('ABCabc019.-+^=:%$ \\*?<>|"\x00é') | st.characters(codec="utf-8"),
    min_size=1,
    max_size=12,
)
odd_symbols = st.sampled_from(
    ["CON", "con", "PRN", "AUX", "NUL", "COM1", "LPT9", "CON.A", "NUL.", "A.", "BRK.A", "BC%70C"]
)
tickers = (symbols | odd_symbols).filter(lambda text: "/" not in text and ".." not in text)


@given(tickers)
def test_a_name_is_plain_on_every_file_system_and_leads_back(ticker: str) -> None:
    name = encode_ticker(ticker)

    assert decode_ticker(name) == ticker
    assert re.fullmatch(r"[A-Z0-9.%-]+", name)
    assert not name.endswith(".")
    assert name.partition(".")[0] not in DEVICES
    assert len(PurePosixPath(name).parts) == len(PureWindowsPath(name).parts) == 1
    assert name not in {".", ".."}


@given(tickers, tickers)
def test_no_two_tickers_share_a_name_where_case_does_not_count(one: str, other: str) -> None:
    assume(one != other)

    assert encode_ticker(one).casefold() != encode_ticker(other).casefold()


@given(st.text(max_size=30))
def test_nothing_in_a_ticker_leaves_the_lake(ticker: str) -> None:
    try:
        name = TICKER_PREFIX + encode_ticker(ticker)
    except DataError:
        return

    assert name != ".."
    assert len(Path(name).parts) == 1


@pytest.mark.parametrize(
    ("ticker", "name"),
    [
        ("ABCD", "ABCD"),
        ("BRK.A", "BRK.A"),
        ("BC-P", "BC-P"),
        ("BCpC", "BC%70C"),
        ("BCPC", "BCPC"),
        ("CON", "%43ON"),
        ("PRN", "%50RN"),
        ("AUX.A", "%41UX.A"),
        ("CONE", "CONE"),
        ("COM7", "%43OM7"),
        ("A.", "A%2E"),
        ("A+B", "A%2BB"),
    ],
)
def test_encode_ticker_gives_the_names_of_the_design(ticker: str, name: str) -> None:
    assert encode_ticker(ticker) == name


@pytest.mark.parametrize("ticker", ["", "A/B", "..", "A..B", "/", "é" * 60, "\ud800"], ids=ascii)
def test_encode_ticker_refuses_what_is_no_name(ticker: str) -> None:
    with pytest.raises(DataError, match="bad ticker"):
        encode_ticker(ticker)


@pytest.mark.parametrize("name", ["abcd", "BC%70c", "%41", "A.", "CON", "", "%FF", "A%2f"])
def test_decode_ticker_refuses_names_it_would_not_give(name: str) -> None:
    with pytest.raises(DataError, match="bad"):
        decode_ticker(name)


@given(st.dates())
def test_parsing_a_folder_undoes_naming_it(date: dt.date) -> None:
    assert parse_date_folder(date_folder(date)) == date
    assert parse_ticker_folder("ticker=BC%70C") == "BCpC"


@pytest.mark.parametrize("name", ["2024-03-15", "date=20240315", "date=2024-3-15", "date=x", "."])
def test_parse_date_folder_refuses_other_names(name: str) -> None:
    with pytest.raises(DataError, match="expected date="):
        parse_date_folder(name)


@pytest.mark.parametrize("name", ["BCPC", "symbol=BCPC", ".staging"])
def test_parse_ticker_folder_refuses_other_names(name: str) -> None:
    with pytest.raises(DataError, match="expected ticker="):
        parse_ticker_folder(name)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (LAYOUT.object_file("segments/2024-03"), "lake/segments/2024-03"),
        (LAYOUT.roots_file, "lake_roots.json"),
        (LAYOUT.identity_file, "lake/lake.json"),
        (LAYOUT.ledger_file, "lake/ledger.sqlite"),
        (LAYOUT.lock_file, "lake/lake.lock"),
        (
            LAYOUT.daily_bars_file("2024-03"),
            "reference/daily_bars/month=2024-03/daily_bars.parquet",
        ),
        (LAYOUT.splits_file, "reference/splits.parquet"),
        (LAYOUT.universe_file, "reference/universe.parquet"),
        (LAYOUT.watchlist_file, "events/watchlist.parquet"),
        (LAYOUT.pilot_watchlist_file, "events/pilot_watchlist.parquet"),
        (LAYOUT.candidate_file(LAYOUT.watchlist_file), "events/watchlist.candidate.parquet"),
        (LAYOUT.plan_file, "plan/plan.parquet"),
        (LAYOUT.plan_record_file, "plan/plan.json"),
        (LAYOUT.plan_candidate_file, "plan/candidate.parquet"),
        (LAYOUT.plan_lock_file, "plan/plan.lock"),
        (LAYOUT.catalog_file, "catalog.duckdb"),
        (LAYOUT.catalog_lock_file, "catalog.lock"),
        (LAYOUT.reports_dir, "reports"),
        (LAYOUT.dagster_dir, "dagster"),
    ],
    ids=str,
)
def test_layout_gives_the_paths_of_the_design(path: Path, expected: str) -> None:
    assert path == Path("data") / expected


@pytest.mark.parametrize("month", ["2024-13", "2024", "2024-03-01", "../x", ""])
def test_daily_bars_file_refuses_what_is_no_month(month: str) -> None:
    with pytest.raises(DataError, match="expected YYYY-MM"):
        LAYOUT.daily_bars_file(month)
