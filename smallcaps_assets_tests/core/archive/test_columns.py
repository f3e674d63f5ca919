from typing import Final

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.archive.columns import (
    VENDOR_TYPES,
    ArchiveRows,
    list_sources,
    parse_archive,
)
from smallcaps_assets.core.archive.findings import FindingKind
from smallcaps_assets.schemas import VENDOR_COLUMNS
from smallcaps_assets_tests.archive_factories import TICKER, make_vendor_trades, rename_short

TRADES = make_vendor_trades(20).select(VENDOR_COLUMNS)


def parse(rows: pl.DataFrame) -> ArchiveRows:
    return parse_archive(rows, TICKER)


def kinds(rows: ArchiveRows) -> set[FindingKind]:
    return {finding.kind for finding in rows.findings}


def test_parse_archive_leaves_the_vendors_own_columns_alone() -> None:
    """An alias beside the vendor's name is no more than noise."""
    others = {"noise": 1, "t": 1, "p": 1.0}

    parsed = parse(TRADES.with_columns(ticker=pl.lit(TICKER), **others))

    assert_frame_equal(parsed.trades, TRADES)
    assert parsed.findings == ()


def test_parse_archive_reads_short_names_and_says_so() -> None:
    parsed = parse(rename_short(TRADES))

    assert_frame_equal(parsed.trades, TRADES)
    assert kinds(parsed) == {FindingKind.RENAMED_COLUMNS}


def test_parse_archive_leaves_ambiguous_columns_out() -> None:
    parsed = parse(TRADES.rename({"trf_id": "r"}).with_columns(trfi=pl.lit(1)))

    assert parsed.trades["trf_id"].null_count() == TRADES.height
    assert kinds(parsed) == {FindingKind.AMBIGUOUS_COLUMNS}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("exchange", pl.col("exchange").cast(pl.Float64)),
        ("exchange", pl.col("exchange").cast(pl.String).cast(pl.Categorical)),
        ("exchange", pl.col("exchange").cast(pl.Decimal(10, 2))),
        ("price", pl.col("price").cast(pl.Decimal(10, 6))),
        ("trf_id", pl.col("trf_id").cast(pl.Float64).fill_null(float("nan"))),
        ("sequence_number", pl.col("sequence_number").cast(pl.UInt64)),
        ("tape", pl.col("tape").cast(pl.String)),
        ("id", pl.col("id").cast(pl.Int64)),
        ("price", pl.col("price").cast(pl.String)),
        ("conditions", pl.col("conditions").cast(pl.List(pl.Int64))),
        ("conditions", pl.col("conditions").cast(pl.List(pl.Float64))),
        ("conditions", pl.col("conditions").cast(pl.List(pl.String))),
        ("conditions", pl.col("conditions").cast(pl.List(pl.String)).list.join(" ")),
        ("conditions", "[" + pl.col("conditions").cast(pl.List(pl.String)).list.join(", ") + "]"),
    ],
)
def test_parse_archive_converts_what_loses_nothing(name: str, values: pl.Expr) -> None:
    """L8: types that differ per file come out as one."""
    parsed = parse(TRADES.with_columns(values.alias(name)))

    assert_frame_equal(parsed.trades, TRADES)
    assert kinds(parsed) <= {FindingKind.TYPES_DIFFER}


def test_parse_archive_reads_arrays_of_conditions() -> None:
    pairs = pl.Series([[12, 37]] * TRADES.height, dtype=pl.Array(pl.Int64, 2))

    parsed = parse(TRADES.with_columns(conditions=pairs))

    assert parsed.trades["conditions"].to_list() == [[12, 37]] * TRADES.height


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exchange", pl.lit("XNAS")),
        ("exchange", pl.lit(4.5)),
        ("exchange", pl.lit(10**9)),
        ("tape", pl.lit(value=True)),
        ("sequence_number", pl.lit(float(2**60))),
        ("id", pl.lit(1.5)),
        ("conditions", pl.lit("@ T")),
        ("conditions", pl.lit(12)),
        ("conditions", pl.concat_list(pl.lit("Form T"))),
        ("participant_timestamp", pl.lit("noon")),
    ],
)
def test_parse_archive_leaves_out_what_it_cannot_convert(name: str, value: pl.Expr) -> None:
    """L8: nothing is cast until it fits."""
    parsed = parse(TRADES.with_columns(value.alias(name)))

    assert parsed.trades[name].null_count() == TRADES.height
    assert kinds(parsed) >= {FindingKind.LOSSY_TYPES}
    assert parsed.is_usable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sip_timestamp", pl.lit("noon")),
        ("price", pl.lit("cheap")),
        ("size", pl.lit(value=False)),
    ],
)
def test_parse_archive_has_no_trades_without_time_price_or_size(name: str, value: pl.Expr) -> None:
    parsed = parse(TRADES.with_columns(value.alias(name)))

    assert not parsed.is_usable
    assert parsed.trades.is_empty()
    assert parsed.trades.schema == VENDOR_TYPES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("price", None),
        ("price", float("inf")),
        ("price", -1.0),
        ("size", None),
        ("size", -5.0),
        ("sip_timestamp", None),
    ],
)
def test_parse_archive_refuses_impossible_trades(name: str, value: float | None) -> None:
    first = pl.int_range(pl.len()) == 0
    broken = pl.when(first).then(pl.lit(value, VENDOR_TYPES[name])).otherwise(name).alias(name)

    parsed = parse(TRADES.with_columns(broken))

    assert not parsed.is_usable
    assert f"{name} in 1" in parsed.findings[-1].message


def test_parse_archive_takes_the_exact_size_where_there_is_one() -> None:
    exact = pl.Series(["0.013374"] + [None] * (TRADES.height - 1))

    parsed = parse(TRADES.with_columns(pl.col("size").floor(), decimal_size=exact))

    assert parsed.trades["size"][:2].to_list() == [0.013374, float(int(TRADES["size"][1]))]


def test_parse_archive_ignores_an_exact_size_that_is_no_number() -> None:
    parsed = parse(TRADES.with_columns(decimal_size=pl.lit("much")))

    assert_frame_equal(parsed.trades, TRADES)


def test_parse_archive_takes_an_absent_correction_for_none_and_says_so() -> None:
    parsed = parse(TRADES.drop("correction"))

    assert parsed.trades["correction"].unique().to_list() == [0]
    assert kinds(parsed) == {FindingKind.MISSING_COLUMNS}


@pytest.mark.parametrize("name", ["participant_timestamp", "sequence_number", "id", "exchange"])
def test_parse_archive_misses_what_the_vendor_always_sends(name: str) -> None:
    """L24: an empty column is no column."""
    parsed = parse(TRADES.with_columns(pl.lit(None).alias(name)))

    assert kinds(parsed) == {FindingKind.MISSING_VALUES}


@pytest.mark.parametrize("name", ["ticker", "symbol", "sym"])
def test_parse_archive_names_another_ticker(name: str) -> None:
    mixed = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("WXYZ")).otherwise(pl.lit(TICKER))

    parsed = parse(TRADES.with_columns(mixed.alias(name)))

    assert kinds(parsed) == {FindingKind.WRONG_TICKER}
    message = parsed.findings[-1].message
    assert (
        message
        == f"expected {TICKER} in {name}, got WXYZ in 1 of {TRADES.height} rows, first in row 1"
    )


def test_parse_archive_takes_a_number_for_no_ticker() -> None:
    assert kinds(parse(TRADES.with_columns(ticker=pl.lit(5)))) == {FindingKind.WRONG_TICKER}


ROW: Final = 7
IS_ROW: Final = pl.int_range(pl.len()) == ROW


@pytest.mark.parametrize(
    ("name", "dtype", "value", "shown"),
    [
        ("price", pl.String, "abc", "price: expected Float64, got String 'abc' in row 8"),
        ("exchange", pl.Int64, 99_999, "exchange: expected Int16, got Int64 99999 in row 8"),
        ("tape", pl.Float64, 1.5, "tape: expected Int8, got Float64 1.5 in row 8"),
        ("sequence_number", pl.String, "x", "expected Int64, got String 'x' in row 8"),
        ("price", pl.Float64, -1.0, "price in 1 (row 8: -1.0)"),
        ("price", pl.Float64, None, "price in 1 (row 8: null)"),
        ("size", pl.Float64, float("inf"), "size in 1 (row 8: inf)"),
        ("sip_timestamp", pl.String, "later", "expected instants, got 'later' in row 8"),
    ],
)
def test_parse_archive_names_row_and_value_of_what_it_refuses(
    name: str, dtype: pl.DataType, value: object, shown: str
) -> None:
    """L33: a refusal that names a value of another row sends its reader to the wrong place."""
    rows = TRADES.with_columns(pl.col("sip_timestamp").dt.to_string("iso:strict"))
    rows = rows if name == "sip_timestamp" else TRADES
    changed = pl.when(IS_ROW).then(pl.lit(value, dtype)).otherwise(pl.col(name).cast(dtype))

    parsed = parse(rows.with_columns(changed.alias(name)))

    assert any(shown in finding.message for finding in parsed.findings), parsed.findings


def test_list_sources_reads_no_other_column() -> None:
    assert list_sources(["noise", "t", "price", "symbol", "decimal_size", "T"]) == [
        "t",
        "price",
        "symbol",
        "decimal_size",
    ]
