import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.ticks.bar_prices import FIGURES, PRICES, compare_prices
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.archive_factories import make_bar, make_vendor_trades

TRADES = make_vendor_trades(60)
BAR = make_bar(TRADES)


def compare(trades: pl.DataFrame, **changes: float | None) -> dict[str, float | None]:
    bar = pl.DataFrame([make_bar(TRADES) | changes], DAILY_BARS.schema)
    found = compare_prices(trades, bar)
    return dict(found.select("figure", "bar_price").iter_rows())


@given(st.integers(2, 6), st.floats(0.0001, 5_000), st.integers(1, 12))
def test_bar_of_any_rounding_is_the_same_bar(decimals: int, scale: float, places: int) -> None:
    """L33: sources round to cents, to four decimals or to six; below 1 USD to four at least."""
    trades = TRADES.with_columns((pl.col("price") * scale).round(places))
    bar = make_bar(trades)
    if bar["low"] < 1:
        decimals = max(decimals, 4)
    rounded = {name: round(bar[name], decimals) for name in FIGURES}
    if min(rounded[name] for name in PRICES) < 1:
        rounded = {name: round(bar[name], max(decimals, 4)) for name in FIGURES}

    assert compare(trades, **rounded) == {}


@pytest.mark.parametrize("figure", PRICES)
@pytest.mark.parametrize("cents", [-1, 1])
def test_another_price_is_found_to_the_cent(figure: str, cents: int) -> None:
    changed = round(BAR[figure] + cents / 100, 2)

    assert compare(TRADES, **{figure: changed}) == {figure: changed}


def test_vwap_is_compared_as_far_as_it_was_written_down() -> None:
    exact = BAR["vwap"]

    assert compare(TRADES, vwap=round(exact, 2)) == {}
    assert compare(TRADES, vwap=round(exact, 4)) == {}
    assert list(compare(TRADES, vwap=round(exact, 4) + 0.0002)) == ["vwap"]


def test_figure_that_the_bar_lacks_is_named() -> None:
    assert compare(TRADES, vwap=None, open=float("nan")) == {"vwap": None, "open": None}


def test_bar_without_volume_has_no_prices() -> None:
    assert compare(TRADES, volume=0.0, open=99.0) == {}
