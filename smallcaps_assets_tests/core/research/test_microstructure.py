import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.research.microstructure import (
    Sessions,
    build_bar_features,
    estimate_abdi_ranaldo,
    estimate_corwin_schultz,
    estimate_roll,
    judge_truncation,
    measure_vpin,
)
from smallcaps_assets.core.research.minute_bars import build_minute_bars, prepare_prints
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.schemas_research import BAR_FEATURES, HALTS
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, make_trades
from smallcaps_assets_tests.research_factories import SECOND_NS, read_oracle

MINUTE_NS = 60 * SECOND_NS
Inputs = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


def make_inputs(minutes: int = 60, day_volume: float | None = 5_000.0, **values: Any) -> Inputs:  # noqa: ANN401
    """Return minute bars, halts and sizes of a session whose price walks by cents."""
    random = np.random.default_rng(5)
    steps = np.cumsum(random.choice([-2, -1, 1, 2], 4 * minutes)) / 100
    rows = [
        {
            "price": round(10 + float(step), 2),
            "size": float(random.choice([10, 100, 300])),
            "sip_timestamp": OPENING_NS + number * 15 * SECOND_NS,
            **values,
        }
        for number, step in enumerate(steps)
    ]
    trades = make_trades(*rows)
    prints, halts = prepare_prints(trades, load_calendar())
    sizes = trades.select("ticker", "session_date").unique()
    return build_minute_bars(prints), halts, sizes.with_columns(day_volume=pl.lit(day_volume))


def read_row(features: pl.DataFrame, minute: int) -> dict[str, Any]:
    return features.row(minute, named=True)


def test_features_of_one_minute_follow_from_its_bars() -> None:
    inputs = make_inputs()
    bars = inputs[0].to_dicts()
    row = read_row(build_bar_features(*inputs), 45)
    window = bars[16:46]
    returns = [math.log(bars[i]["close"] / bars[i - 1]["close"]) for i in range(16, 46)]
    bought = [bar["tick_rule_buy_volume"] - bar["tick_rule_sell_volume"] for bar in bars]
    shares, dollars = ([bar[name] for bar in bars[:46]] for name in ("volume", "dollar"))

    expected = {
        "log_return": returns[-1],
        "minutes_since_trade": 1.0,
        "session_return": math.log(bars[45]["close"] / bars[0]["open"]),
        "vwap_distance": bars[45]["close"] * sum(shares) / sum(dollars) - 1,
        "order_imbalance": bought[45] / bars[45]["volume"],
        "order_imbalance_30": sum(bought[16:46]) / sum(bar["volume"] for bar in window),
        "realised_volatility_30": math.sqrt(sum(value**2 for value in returns)),
        "intensity_30": 4.0,
        "relative_volume": sum(shares) / 5_000,
        "amihud_30": sum(abs(r) / bar["dollar"] for r, bar in zip(returns, window, strict=True))
        / 30,
        "odd_lot_share": bars[45]["odd_lot_volume"] / bars[45]["volume"],
        "trf_share": 0.0,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_slopes_are_those_of_least_squares() -> None:
    inputs = make_inputs()
    bars = inputs[0]
    returns = bars["close"].log().diff().to_numpy()[16:46]
    signed = bars["signed_dollar"].to_numpy()[16:46]
    root = np.sign(signed) * np.sqrt(np.abs(signed))

    row = read_row(build_bar_features(*inputs), 45)

    assert row["kyle_30"] == pytest.approx(np.polyfit(signed, returns, 1)[0])
    assert row["hasbrouck_30"] == pytest.approx((root @ returns) / (root @ root))


def test_impact_equals_the_known_one() -> None:
    known = read_oracle("flow/price_impact_hand.json")
    close, dollar = np.array(known["close"]), np.array(known["dollar"])
    signed = np.array(known["signed_volume"], dtype=float)
    changes, returns = np.diff(close), np.diff(np.log(close))
    sessions = Sessions(np.array([0, 4]))
    root = np.sign(signed[1:]) * np.sqrt(dollar[1:])
    repeated = Sessions(np.array([0, 12]))

    def last(values: np.ndarray) -> float:
        return float(values[-1])

    triple = [np.tile(values, 3) for values in (signed[1:], changes, root, returns)]
    assert math.isnan(last(sessions.slope(signed[1:], changes)))
    assert last(repeated.slope(triple[0], triple[1])) == pytest.approx(
        known["kyle_lambda_with_intercept"], rel=1e-12
    )
    assert last(repeated.slope(triple[0], triple[1], through_origin=True)) == pytest.approx(
        known["kyle_lambda_through_origin"], rel=1e-12
    )
    assert last(repeated.slope(triple[2], triple[3], through_origin=True)) == pytest.approx(
        known["hasbrouck_lambda_log_return_on_signed_sqrt_dollar_through_origin"], rel=1e-12
    )
    illiquidity = np.tile(np.abs(returns) / dollar[1:], 3)
    assert last(repeated.average(illiquidity)) == pytest.approx(
        known["amihud_mean_abs_log_return_per_dollar"], rel=1e-12
    )
    assert dollar.sum() / np.abs(signed).sum() == pytest.approx(known["vwap"])


def test_vpin_equals_the_known_one() -> None:
    known = read_oracle("flow/vpin.json")
    signed = np.array(known["signed_volumes"], dtype=float)

    vpin = measure_vpin(signed, np.abs(signed), known["bucket_volume"], known["window"])

    assert [None if math.isnan(value) else value for value in vpin.tolist()] == pytest.approx(
        known["vpin_after_each"]
    )


def read_simulated() -> pl.DataFrame:
    return pl.read_csv(read_oracle("spreads/bidask_ohlc_first_1000.csv").encode())


def test_spreads_equal_the_known_ones() -> None:
    known = read_oracle("spreads/expected.json")
    bars = read_simulated()
    high, low, close = (bars[name].to_numpy() for name in ("High", "Low", "Close"))
    previous = np.append(np.nan, close[:-1])

    signed = estimate_corwin_schultz(high, low, previous)[1:]
    ungapped = estimate_corwin_schultz(high, low, np.full(high.size, np.nan))[1:]

    returns = np.diff(np.log(close))
    covariance = np.cov(returns[1:], returns[:-1])[0, 1]
    assert signed[:3].tolist() == pytest.approx(known["cs_first_three_signed_gap_adjusted"])
    assert signed.mean() == pytest.approx(known["cs_mean_signed_gap_adjusted"], rel=1e-9)
    assert np.fmax(0, signed).mean() == pytest.approx(known["cs_mean_floored_gap_adjusted"])
    assert ungapped.mean() == pytest.approx(known["cs_mean_signed_no_gap"], rel=1e-9)
    # Bars that touch have a spread of 0, or of a rounding below it.
    assert (signed < -1e-12).mean() <= known["cs_share_negative"] <= (signed < 1e-12).mean()
    assert covariance == pytest.approx(known["roll_cov_log"], rel=1e-9)


def test_five_bars_have_the_known_spreads() -> None:
    known = read_oracle("spreads/five_bars.json")
    high, low, close = np.array(known["high_low_close"]).T

    spreads = estimate_corwin_schultz(high, low, np.full(5, np.nan))[1:]

    assert np.fmax(0, spreads).mean() == pytest.approx(
        known["corwin_schultz_mean_floored_no_gap"], rel=1e-9
    )
    assert estimate_abdi_ranaldo(high, low, close) == pytest.approx(known["abdi_ranaldo"], rel=1e-9)


def test_a_spread_of_roll_is_undefined_where_returns_continue() -> None:
    spreads = estimate_roll(np.array([-0.0001, 0.0, 0.0001]))

    assert spreads[0] == pytest.approx(0.02)
    assert np.isnan(spreads[1:]).all()


def test_windows_forget_large_values_exactly() -> None:
    """A rolling sum would keep their rounding: 1e9 after 1 leaves more than the rest."""
    values = np.array([1e9, *np.arange(1.0, 61.0)])

    means = Sessions(np.array([0, values.size])).average(values)

    assert means[-1] == np.mean(np.arange(31.0, 61.0))


def test_a_regressor_that_does_not_move_has_no_slope() -> None:
    sessions = Sessions(np.array([0, 20]))
    noise = np.arange(20.0)

    assert np.isnan(sessions.slope(np.full(20, 1e9), noise)).all()
    assert np.isnan(sessions.slope(np.zeros(20), noise, through_origin=True)).all()


def test_features_are_null_until_ten_values_are_known() -> None:
    features = build_bar_features(*make_inputs())

    assert features["intensity_30"].is_null().sum() == 9
    assert features["realised_volatility_30"].is_null().sum() == 10
    assert features["roll_spread_30"].head(11).is_null().all()


def test_without_daily_bars_volume_is_relative_to_nothing() -> None:
    features = build_bar_features(*make_inputs(day_volume=None))

    assert features["vpin"].is_null().all()
    assert features["relative_volume"].is_null().all()


def test_minutes_after_a_halt_and_no_halt_before_its_end() -> None:
    bars, _, sizes = make_inputs()
    row = bars.row(0, named=True)
    start, end = (bars["minute"][place] for place in (10, 20))
    halt = (row["ticker"], row["session_date"], start, end, "activity")
    halts = pl.DataFrame([halt], HALTS.schema, orient="row")

    since = build_bar_features(bars, halts, sizes)["minutes_since_halt"].to_list()

    assert since[:19] == [None] * 19
    assert since[19:22] == [0.0, 1.0, 2.0]


def test_a_minute_without_price_has_no_return_and_is_bridged() -> None:
    bars, halts, sizes = make_inputs()
    is_gap = pl.int_range(pl.len()) == 30
    gap = bars.with_columns(
        pl.when(~is_gap).then(pl.col("open", "high", "low", "close", "realised_variance"))
    )

    features = build_bar_features(gap, halts, sizes)

    assert features["log_return"][30] is None
    assert features["log_return"][31] == pytest.approx(
        math.log(bars["close"][31] / bars["close"][29])
    )
    assert features["minutes_since_trade"].to_list()[30:33] == [1.0, 2.0, 1.0]


def test_sessions_do_not_see_each_other() -> None:
    bars, halts, sizes = make_inputs()
    other = bars.with_columns(ticker=pl.lit("WXYZ"))
    both_sizes = pl.concat([sizes, sizes.with_columns(ticker=pl.lit("WXYZ"))])

    both = build_bar_features(pl.concat([bars, other]), halts, both_sizes)

    assert both.filter(pl.col("ticker") == "ABCD").equals(build_bar_features(bars, halts, sizes))
    assert both.height == 120


def test_no_bars_have_no_features() -> None:
    bars, halts, sizes = make_inputs()

    assert build_bar_features(bars.clear(), halts, sizes).equals(BAR_FEATURES.empty())


@pytest.mark.parametrize("minutes", [1, 12, 60])
def test_no_feature_changes_when_later_bars_are_taken_away(minutes: int) -> None:
    inputs = make_inputs(minutes)
    whole = build_bar_features(*inputs)

    for row in range(minutes):
        cut = build_bar_features(inputs[0].head(row + 1), *inputs[1:])
        assert cut.row(row) == whole.row(row)
    assert judge_truncation(whole, *inputs).passed


def test_a_feature_that_looks_one_bar_ahead_is_red() -> None:
    bars, halts, sizes = make_inputs()
    tickers = [f"T{number:02}" for number in range(30)]
    inputs = (
        pl.concat([bars.with_columns(ticker=pl.lit(ticker)) for ticker in tickers]),
        halts,
        pl.concat([sizes.with_columns(ticker=pl.lit(ticker)) for ticker in tickers]),
    )
    features = build_bar_features(*inputs)

    assert judge_truncation(features, *inputs).passed
    for name in ("log_return", "vpin", "amihud_30"):
        ahead = features.with_columns(pl.col(name).shift(-1))
        verdict = judge_truncation(ahead, *inputs)
        assert verdict.offenders["feature"].to_list() == [name]
