import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from smallcaps_assets.core.research.minute_bars import (
    build_minute_bars,
    judge_sums,
    prepare_prints,
    sum_prints,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, make_trades, ny
from smallcaps_assets_tests.research_factories import (
    make_hand_trades,
    read_oracle,
    read_real_trades,
)

MINUTE_NS = 60_000_000_000


def build(trades: pl.DataFrame) -> pl.DataFrame:
    return build_minute_bars(prepare_prints(trades, load_calendar())[0])


def build_rows(*rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    return build(make_trades(*rows)).to_dicts()


def test_hand_made_trades_make_the_known_bars() -> None:
    expected = read_oracle("bars/hand_trades_expected.json")["minute_bars"]

    bars = build(make_hand_trades())

    opened = dt.datetime(2024, 3, 15, 13, 30, tzinfo=dt.UTC)
    assert bars["minute"].to_list() == [opened + dt.timedelta(minutes=m) for m in (0, 1, 3)]
    for bar, known in zip(bars.to_dicts(), expected, strict=True):
        assert {name: bar[name] for name in known if name != "minute"} == pytest.approx(
            {name: value for name, value in known.items() if name != "minute"}, rel=1e-12
        )


def test_a_minute_is_half_open_and_known_at_its_end() -> None:
    bars = build_rows(
        {"sip_timestamp": OPENING_NS + MINUTE_NS - 1}, {"sip_timestamp": OPENING_NS + MINUTE_NS}
    )

    assert [bar["trade_count"] for bar in bars] == [1, 1]
    assert [bar["known_timestamp"] - bar["minute"] for bar in bars] == [dt.timedelta(minutes=1)] * 2


def test_what_only_counts_makes_no_price() -> None:
    (odd,) = build_rows({"price": 9.0, "size": 5.0, "conditions": [37]})
    (sold,) = build_rows({"price": 9.0, "conditions": [32]})

    assert [odd[name] for name in ("open", "high", "low", "close")] == [None] * 4
    assert (odd["volume"], odd["odd_lot_volume"], odd["vwap"], odd["price_count"]) == (5, 5, 9, 0)
    assert (sold["open"], sold["high"], sold["low"], sold["close"]) == (None, 9.0, 9.0, None)


def test_minutes_without_volume_prints_have_no_row() -> None:
    assert build_rows({"conditions": [16]}, {"correction": 8}) == []
    assert build_rows() == []


def test_a_print_of_no_shares_is_counted_and_has_no_vwap() -> None:
    (bar,) = build_rows({"size": 0.0})

    assert (bar["trade_count"], bar["volume"], bar["vwap"]) == (1, 0.0, None)


def test_extreme_prices_and_sizes_keep_their_sums() -> None:
    (bar,) = build_rows(
        {"price": 0.0001, "size": 1e9}, {"price": 0.0002, "size": 1e-6}, {"price": 1e5, "size": 1}
    )

    assert bar["volume"] == pytest.approx(1e9 + 1.000001, abs=1e-6)
    assert (bar["low"], bar["high"]) == (0.0001, 1e5)


def test_the_closing_auction_lies_after_hours() -> None:
    close = ny("2024-03-15 16:00:07")
    (bar,) = build_rows(
        {
            "sip_timestamp": close,
            "trading_phase": "after_hours",
            "conditions": [8],
            "size": 500.0,
        }
    )

    assert (bar["trading_phase"], bar["has_auction_print"]) == ("after_hours", True)
    assert (bar["auction_volume"], bar["tick_rule_buy_volume"]) == (500.0, 0.0)


def test_flow_and_variance_of_a_minute() -> None:
    (bar,) = build_rows(
        {"price": 10.0, "size": 100.0},
        {"price": 11.0, "size": 200.0, "trf_id": 201},
        {"price": 50.0, "size": 3.0, "conditions": [37]},
        {"price": 10.0, "size": 400.0},
    )

    assert (bar["tick_rule_buy_volume"], bar["tick_rule_sell_volume"]) == (203.0, 400.0)
    assert bar["signed_dollar"] == pytest.approx(2200 + 150 - 4000)
    assert bar["realised_variance"] == pytest.approx(2 * 0.09531017980432493**2)
    assert bar["trf_volume"] == 200.0


def test_one_price_has_no_variance() -> None:
    (bar,) = build_rows({"price": 10.0})

    assert bar["realised_variance"] is None


def test_the_same_minute_of_two_tickers_makes_two_bars() -> None:
    trades = make_trades({"ticker": "ABCD"}, {"ticker": "WXYZ", "sip_timestamp": OPENING_NS})

    assert build(trades)["ticker"].to_list() == ["ABCD", "WXYZ"]


def test_a_session_has_the_same_bars_whatever_lies_beside_it() -> None:
    trades = make_hand_trades()
    other = make_hand_trades().with_columns(ticker=pl.lit("WXYZ"))

    both = build(pl.concat([trades, other]))

    assert both.filter(pl.col("ticker") == "ABCD").equals(build(trades))


@pytest.mark.parametrize("ticker", ["AIG", "IBM"])
def test_real_minutes_sum_to_the_counted_prints_exactly(ticker: str) -> None:
    trades = read_real_trades(ticker)
    prints, _ = prepare_prints(trades, load_calendar())
    regular = build_minute_bars(prints.filter(pl.col("trading_phase") == "regular"))
    counted = sum_prints(trades.filter(pl.col("trading_phase") == "regular").lazy()).collect()

    sums = regular.group_by("session_date").agg(pl.col("volume", "trade_count").sum())

    assert counted.height >= 3
    assert sums.sort("session_date").equals(
        counted.select("session_date", "volume", "trade_count").sort("session_date")
    )
    assert judge_sums(build_minute_bars(prints).lazy(), sum_prints(trades.lazy()).collect()).passed


@pytest.mark.parametrize(
    "damage",
    [
        lambda bars: bars.head(bars.height - 1),
        lambda bars: pl.concat([bars, bars.tail(1)]),
        lambda bars: bars.with_columns(volume=pl.col("volume") * 1.001),
        lambda bars: bars.with_columns(trade_count=pl.col("trade_count") + 1),
        lambda bars: bars.with_columns(ticker=pl.lit("WXYZ")),
        lambda bars: bars.clear(),
    ],
    ids=["lost", "twice", "shares", "count", "ticker", "all lost"],
)
def test_bars_that_do_not_sum_to_their_prints_are_red(damage: Any) -> None:  # noqa: ANN401
    trades = make_hand_trades()
    expected = sum_prints(trades.lazy()).collect()

    assert judge_sums(build(trades).lazy(), expected).passed
    verdict = judge_sums(damage(build(trades)).lazy(), expected)
    assert not verdict.passed
    assert verdict.offenders.height
