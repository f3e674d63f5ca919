import datetime as dt

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.reference.daily_bars import (
    measure_bars,
    parse_daily_bars,
    select_usable_bars,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import CoverageError, DataError, SchemaError
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.core.bar_factories import (
    day,
    flat,
    make_bars,
    make_walk,
    read_shared_bars,
)

OUTSIDE = pl.DataFrame(
    {
        "ticker": ["B", "A"],
        "date": ["2024-01-02", "2024-01-02"],
        "open": [1, 2],
        "high": [1, 2],
        "low": [1, 2],
        "close": [1, 2],
        "volume": [0, 5],
    }
)


def test_parse_daily_bars_types_and_sorts() -> None:
    bars = parse_daily_bars(OUTSIDE)

    assert bars.schema == DAILY_BARS.schema
    assert bars["ticker"].to_list() == ["A", "B"]
    assert bars.row(0)[1:] == (dt.date(2024, 1, 2), 2.0, 2.0, 2.0, 2.0, 5.0, None, None)


def test_parse_daily_bars_keeps_what_it_wrote() -> None:
    bars = make_walk(1).with_columns(vwap=1.5, trade_count=pl.lit(7, dtype=pl.Int64))

    assert_frame_equal(parse_daily_bars(bars), bars)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ticker": pl.lit("A")}, DataError, "1 keys .* first \\['A 2024-01-02'\\]"),
        ({"ticker": pl.lit("A/B")}, DataError, "bad tickers"),
        ({"ticker": pl.lit(5)}, SchemaError, "ticker as String"),
        ({"date": pl.lit("2002-12-31")}, CoverageError, "before the calendar"),
        ({"date": pl.lit(5)}, SchemaError, "session_date as Date"),
        ({"open": pl.lit("1,5")}, SchemaError, "open as a number .* row 1 .B 2024-01-02"),
        ({"trade_count": pl.lit(0.5)}, SchemaError, "trade_count as a whole number"),
        ({"otc": pl.lit(1)}, SchemaError, "unknown columns \\['otc'\\]"),
        ({"session_date": pl.lit("2024-01-02")}, SchemaError, "got both"),
    ],
    ids=lambda value: None if isinstance(value, dict) else getattr(value, "__name__", str(value)),
)
def test_parse_daily_bars_says_what_is_wrong(
    change: dict[str, pl.Expr], error: type[DataError], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_daily_bars(OUTSIDE.with_columns(**change))


@pytest.mark.parametrize("column", ["ticker", "date", "volume"])
def test_parse_daily_bars_needs_its_columns(column: str) -> None:
    with pytest.raises(SchemaError, match="missing columns"):
        parse_daily_bars(OUTSIDE.drop(column))


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -1.0])
def test_select_usable_bars_drops_what_rules_cannot_use(column: str, value: float | None) -> None:
    bars = make_bars(flat(1)).with_columns(pl.lit(value, dtype=pl.Float64).alias(column))

    assert select_usable_bars(bars.lazy()).collect().is_empty()


def test_select_usable_bars_keeps_zero_volume_but_no_zero_price() -> None:
    bars = make_bars([(1, 1, 1, 1, 0), (1, 1, 0, 1, 5)])

    assert select_usable_bars(bars.lazy()).collect()["volume"].to_list() == [0]


def test_measure_bars_counts_and_shows_offenders() -> None:
    # 2024-01-01 is a holiday
    bars = pl.concat(
        [make_bars([*flat(1), *flat(float("nan"), volume=0)]), make_bars(flat(1), ticker="AAAB")]
    )

    facts = measure_bars(bars, load_calendar())

    assert (facts.rows, facts.tickers, facts.unusable, facts.zero_volume) == (3, 2, 1, 1)
    assert (facts.non_session, facts.first_date, facts.last_date) == (2, day(0), day(1))
    assert facts.offenders.rows() == [
        ("AAAA", day(1), "unusable"),
        ("AAAA", day(0), "no session"),
        ("AAAB", day(0), "no session"),
    ]


def test_measure_bars_shows_a_few_offenders_only() -> None:
    facts = measure_bars(make_bars(flat(-1, bars=300)), load_calendar())

    assert facts.unusable == 300
    assert facts.offenders["problem"].value_counts().sort("problem").rows() == [
        ("no session", 20),
        ("unusable", 20),
    ]


def test_measure_bars_takes_no_bars() -> None:
    facts = measure_bars(DAILY_BARS.empty(), load_calendar())

    assert (facts.rows, facts.first_date, facts.offenders.height) == (0, None, 0)


def test_measure_bars_refuses_dates_after_the_calendar() -> None:
    bars = make_bars(flat(1), dates=[dt.date(2099, 1, 2)])

    with pytest.raises(CoverageError, match="2099-01-02 lies outside the calendar"):
        measure_bars(bars, load_calendar())


def test_measure_bars_finds_the_known_oddities_of_the_real_bars() -> None:
    facts = measure_bars(parse_daily_bars(read_shared_bars()), load_calendar())

    assert (facts.rows, facts.tickers) == (177_531, 400)
    assert (facts.non_session, facts.zero_volume, facts.unusable) == (10, 388, 0)
