import datetime as dt
import re

import polars as pl
import pytest

from smallcaps_assets.core.parsing import (
    check_columns,
    check_tickers,
    check_unique,
    parse_dates,
    parse_numbers,
)
from smallcaps_assets.errors import DataError, SchemaError

DATE = dt.date(2024, 1, 2)
MIDNIGHT = dt.datetime(2024, 1, 2)  # noqa: DTZ001  naive, as files hold it


def column(*values: object, dtype: pl.DataType | None = None) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


@pytest.mark.parametrize("value", [DATE, "2024-01-02", MIDNIGHT], ids=["date", "text", "midnight"])
def test_parse_dates_reads_dates(value: object) -> None:
    dates = parse_dates(column(value), "x", table="bars")

    assert dates["x"].to_list() == [DATE]
    assert dates.schema == {"x": pl.Date}


@pytest.mark.parametrize(
    "value",
    [None, "", "2024-1-2", "20240102", "2024-02-30", "02/01/2024", MIDNIGHT.replace(hour=4)],
    ids=str,
)
def test_parse_dates_refuses_what_is_no_date(value: object) -> None:
    good = MIDNIGHT if isinstance(value, dt.datetime) else "2024-01-02"

    with pytest.raises(DataError, match=r"1 values of x are no dates, first .* row 2") as raised:
        parse_dates(column(good, value), "x", table="bars")

    assert "bars" in str(raised.value)


@pytest.mark.parametrize("value", [20240102, MIDNIGHT.replace(tzinfo=dt.UTC)], ids=["int", "zone"])
def test_parse_dates_refuses_other_types(value: object) -> None:
    with pytest.raises(SchemaError, match="expected x as Date"):
        parse_dates(column(value), "x", table="bars")


@pytest.mark.parametrize(
    ("frame", "dtype"),
    [
        (column(5, dtype=pl.Int8()), pl.Float64),
        (column(0.5, dtype=pl.Float32()), pl.Float64),
        (column(None, dtype=pl.String()), pl.Float64),
        (column(5, dtype=pl.UInt64()), pl.Int64),
        (column(None, None), pl.Int64),
    ],
)
def test_parse_numbers_widens_numbers(frame: pl.DataFrame, dtype: type[pl.DataType]) -> None:
    numbers = parse_numbers(frame, ["x"], dtype, table="bars")

    assert numbers.schema == {"x": dtype}
    assert numbers["x"].to_list() == frame["x"].to_list()


@pytest.mark.parametrize(
    ("frame", "dtype", "wanted"),
    [
        (column("1.5", "1,5"), pl.Float64, "a number such as 1.5, got '1,5' in row 2; 1 rows"),
        (column("1", "$5", "x"), pl.Float64, "a number such as 1.5, got '$5' in row 2; 2 rows"),
        (column("1_000"), pl.Float64, "a number such as 1.5, got '1_000'"),
        (column(DATE), pl.Float64, "a number such as 1.5, got datetime.date"),
        (column(1.0, 1.5), pl.Int64, "a whole number such as 10, got 1.5 in row 2"),
        (column("10.5"), pl.Int64, "a whole number such as 10, got '10.5'"),
        (column(2.0**60), pl.Int64, "a whole number"),
        (column(float("inf")), pl.Int64, "a whole number"),
    ],
)
def test_parse_numbers_guesses_nothing(
    frame: pl.DataFrame, dtype: type[pl.DataType], wanted: str
) -> None:
    """L8: 0.5 shares must never become 0."""
    with pytest.raises(SchemaError, match=re.escape(f"expected x as {wanted}")):
        parse_numbers(frame, ["x"], dtype, table="bars")


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ([" 1.5", "1e3", "+4", ".5"], pl.Float64, [1.5, 1000.0, 4.0, 0.5]),
        (["NaN", "null", "", "N/A", "None", None], pl.Float64, [None] * 6),
        (["10.0", "10", " 7 ", "nan", "9007199254740993"], pl.Int64, [10, 10, 7, None, 2**53 + 1]),
        ([10.0, float("nan"), None], pl.Int64, [10, None, None]),
    ],
)
def test_parse_numbers_reads_what_other_programs_write(
    given: list[object], dtype: type[pl.DataType], expected: list[float | None]
) -> None:
    """L53: 10.0 in a column of counts, text for unknown, blanks."""
    assert parse_numbers(column(*given), ["x"], dtype, table="bars")["x"].to_list() == expected


def test_check_columns_names_what_is_missing_and_unknown() -> None:
    with pytest.raises(SchemaError, match=r"missing columns \['y'\], unknown columns \['x'\]"):
        check_columns(column(1), required=["y"], allowed=["z"], table="bars")


@pytest.mark.parametrize("tickers", [["A", "../A"], ["A", None], ["A", ""]])
def test_check_tickers_shows_the_first_bad_ones(tickers: list[str | None]) -> None:
    with pytest.raises(DataError, match="bars: 1 bad tickers, first "):
        check_tickers(pl.DataFrame({"ticker": tickers}), table="bars")


def test_check_tickers_refuses_numbers() -> None:
    with pytest.raises(SchemaError, match="expected ticker as String, got Int64"):
        check_tickers(pl.DataFrame({"ticker": [1]}), table="bars")


def test_check_unique_shows_repeated_keys() -> None:
    words = r"1 keys \('x',\) occur more than once, first \['2'\], rows 2 and 3 and 4, .* equal"
    with pytest.raises(DataError, match=words):
        check_unique(column(1, 2, 2, 2), ("x",), table="bars")


def test_check_unique_says_how_rows_of_a_key_differ() -> None:
    rows = column(2, 2).with_columns(y=pl.Series([0.5, 0.7]), z=0)

    with pytest.raises(DataError, match=r"rows 1 and 2, which differ in y \(y is 0.5 and 0.7\)"):
        check_unique(rows, ("x",), table="bars")
