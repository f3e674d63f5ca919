import datetime as dt
import gzip
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.interchange.input_files import read_input


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


Rows = dict[str, list[object]]
WHOLE: Final[Rows] = {"ticker": ["AAA"], "info_rich": [True]}


def write_day(root: Path, date: str, rows: Rows | None) -> None:
    """Write a day of a watchlist; ``None``: its folder alone."""
    path = root / f"date={date}" / "watchlist.parquet"
    path.parent.mkdir(parents=True)
    if rows is not None:
        pl.DataFrame(rows).write_parquet(path)


def test_read_input_reads_parquet_as_it_is(tmp_path: Path) -> None:
    rows = pl.DataFrame({"ticker": ["AAA"], "date": [dt.date(2024, 3, 15)], "volume": [7]})
    folder = tmp_path / "date=2020-01-01"
    folder.mkdir()
    rows.write_parquet(folder / "bars.parquet")

    assert read_input(folder / "bars.parquet").equals(rows)


def test_read_input_types_csv_columns_by_all_values(tmp_path: Path) -> None:
    """L8: a column of prices that starts with hundreds of whole numbers keeps its cents."""
    rows = "".join(f"AAA,2024-01-02,{n}\n" for n in range(1, 400))
    path = write(tmp_path / "bars.csv", f"ticker,date,close\n{rows}AAA,2024-01-02,5.01\n")

    bars = read_input(path)

    assert bars.schema == {"ticker": pl.String, "date": pl.String, "close": pl.Float64}
    assert bars["close"][-1] == 5.01


@pytest.mark.parametrize("ticker", ["TRUE", "123", "NAN", "2024-01-02", "1e5", "NA"])
def test_read_input_keeps_tickers_as_text(tmp_path: Path, ticker: str) -> None:
    """L8: no ticker is taken for a number, a date or a truth value."""
    path = write(tmp_path / "watchlist.csv", f"ticker,date\n{ticker},2024-01-02\n")

    assert read_input(path).rows() == [(ticker, "2024-01-02")]


def test_read_input_reads_compressed_csv(tmp_path: Path) -> None:
    path = tmp_path / "Watchlist.CSV.gz"
    path.write_bytes(gzip.compress(b"ticker,trading_day\nAAA,2024-01-02\n"))

    assert read_input(path).rows() == [("AAA", "2024-01-02")]


def test_read_input_reads_a_watchlist_by_date(tmp_path: Path) -> None:
    daily = tmp_path / "export" / "daily"
    write_day(daily, "2024-03-15", {"ticker": ["BBB"], "info_rich": [True]})
    write_day(daily, "2024-03-14", {"ticker": ["AAA", "BBB"], "info_rich": [True, False]})

    expected = [
        ("AAA", True, dt.date(2024, 3, 14)),
        ("BBB", False, dt.date(2024, 3, 14)),
        ("BBB", True, dt.date(2024, 3, 15)),
    ]
    assert read_input(tmp_path / "export").rows() == expected
    assert read_input(daily).rows() == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bars.csv", "", "empty file"),
        ("bars.csv", "ticker,date\n", "at least one row"),
        ("bars.csv", "ticker,date\n\nAAA,2024-01-02,surplus\n", "line 3 has 3 fields, .* has 2"),
        ("bars.csv", 'ticker,date\nAAA,2024-01-02\n"B,2024-01-02\n', "a quote is not closed"),
        ("bars.csv", "ticker,date, date\nAAA,2024-01-02,x\n", "'date' more than once"),
        ("bars.parquet", "no parquet", "cannot read"),
        ("bars.xlsx", "AAA", r"ends in \.parquet or \.csv"),
    ],
)
def test_read_input_says_what_is_wrong_with_a_file(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = write(tmp_path / name, text)

    with pytest.raises(DataError, match=message) as raised:
        read_input(path)

    assert str(path) in str(raised.value)


def test_read_input_refuses_a_cut_parquet_file_and_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    with pytest.raises(DataError, match="found none"):
        read_input(path)
    pl.DataFrame({"ticker": ["AAA"] * 1000}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match="cannot read"):
        read_input(path)


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ({}, "daily/date=YYYY-MM-DD"),
        ({"2024-03-14": WHOLE, "2024-03-15": None}, "found none: .*date=2024-03-15"),
        ({"2024-3-14": WHOLE}, "YYYY-MM-DD"),
        ({"2024-03-14": WHOLE, "2024-03-15": {"ticker": ["AAA"]}}, "differ in their columns"),
        ({"2024-03-14": {"ticker": [], "info_rich": []}}, "at least one row"),
    ],
    ids=["nothing", "no file", "no date", "other columns", "no rows"],
)
def test_read_input_refuses_a_folder_that_is_no_watchlist_by_date(
    tmp_path: Path, days: dict[str, Rows | None], message: str
) -> None:
    for date, rows in days.items():
        write_day(tmp_path, date, rows)

    with pytest.raises(DataError, match=message):
        read_input(tmp_path)


COLUMNS: Final = ("ticker", "date", "close")
ROWS: Final = [("AAA", "2024-01-02", "5.01"), ("BBB", "2024-01-03", "7.5")]


@st.composite
def dialects(draw: st.DrawFn) -> bytes:
    """Draw one table in the bytes of some program: line ends, separators, blanks, blank lines."""
    separator = draw(st.sampled_from([",", ";", "\t"])) + draw(st.sampled_from(["", " "]))
    surplus = draw(st.sampled_from(["", separator]))
    blank = st.lists(st.sampled_from(["", separator * 2 + surplus]), max_size=2)
    lines = draw(st.lists(st.just(""), max_size=2))
    for row in (COLUMNS, *ROWS):
        lines += [separator.join(row) + surplus, *draw(blank)]
    text = draw(st.sampled_from(["", "\ufeff"])) + draw(line_ends).join(lines)
    return text.encode()


line_ends = st.sampled_from(["\n", "\r\n", "\r"])


@given(dialects(), st.sampled_from([".csv", ".csv.gz"]))
def test_read_input_reads_one_table_in_any_dialect(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str
) -> None:
    """L53: blank lines, lines of separators and CR line ends were refused."""
    path = tmp_path_factory.mktemp("dialect") / f"bars{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".csv.gz" else content)

    rows = read_input(path)

    assert tuple(rows.columns) == COLUMNS
    assert [tuple(map(str, row)) for row in rows.rows()] == ROWS


def test_read_input_says_where_a_file_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "listings.csv"
    path.write_bytes("ticker,name\nAAA,A\nBBB,Caf\u00e9\n".encode("latin-1"))
    wide = tmp_path / "wide.csv"
    wide.write_bytes("ticker,date\n".encode("utf-16"))

    with pytest.raises(DataError, match="line 3 is not UTF-8"):
        read_input(path)
    with pytest.raises(DataError, match="UTF-16; save it as UTF-8"):
        read_input(wide)


def test_read_input_takes_columns_of_a_folder_in_any_order_and_more_than_it_needs(
    tmp_path: Path,
) -> None:
    """L53: a column that nobody reads, or another order, refused the whole folder."""
    write_day(tmp_path, "2024-03-14", {"ticker": ["AAA"], "event_count": [1], "gap": ["wide"]})
    write_day(tmp_path, "2024-03-15", {"gap": [0.5], "event_count": [2.0], "ticker": ["BBB"]})

    rows = read_input(tmp_path)

    assert rows.select("ticker", "event_count").rows() == [("AAA", 1.0), ("BBB", 2.0)]
    assert "gap" in rows.columns
