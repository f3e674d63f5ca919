import datetime as dt
import gzip
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.inputs import read_input


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_day(root: Path, date: str, rows: dict[str, list[object]]) -> None:
    path = root / f"date={date}" / "watchlist.parquet"
    path.parent.mkdir(parents=True)
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
        ("bars.csv", "ticker,date\nAAA,2024-01-02,surplus\n", "cannot read"),
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


def test_read_input_refuses_a_cut_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pl.DataFrame({"ticker": ["AAA"] * 1000}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match="cannot read"):
        read_input(path)


def test_read_input_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        read_input(tmp_path / "bars.csv")


def test_read_input_refuses_a_folder_of_other_things(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="daily/date=YYYY-MM-DD"):
        read_input(tmp_path)


def test_read_input_refuses_a_date_without_its_file(tmp_path: Path) -> None:
    write_day(tmp_path, "2024-03-14", {"ticker": ["AAA"], "info_rich": [True]})
    (tmp_path / "date=2024-03-15").mkdir()

    with pytest.raises(DataError, match="date=2024-03-15"):
        read_input(tmp_path)


def test_read_input_refuses_a_folder_of_no_date(tmp_path: Path) -> None:
    write_day(tmp_path, "2024-3-14", {"ticker": ["AAA"], "info_rich": [True]})

    with pytest.raises(DataError, match="YYYY-MM-DD"):
        read_input(tmp_path)


def test_read_input_refuses_files_that_differ_in_their_columns(tmp_path: Path) -> None:
    write_day(tmp_path, "2024-03-14", {"ticker": ["AAA"], "info_rich": [True]})
    write_day(tmp_path, "2024-03-15", {"ticker": ["AAA"]})

    with pytest.raises(DataError, match="differ in their columns"):
        read_input(tmp_path)


def test_read_input_refuses_a_watchlist_by_date_without_rows(tmp_path: Path) -> None:
    write_day(tmp_path, "2024-03-14", {"ticker": [], "info_rich": []})

    with pytest.raises(DataError, match="at least one row"):
        read_input(tmp_path)
