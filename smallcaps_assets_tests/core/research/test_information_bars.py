import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from smallcaps_assets.core.research.information_bars import (
    IMBALANCE,
    KINDS,
    PLAIN,
    BarRules,
    build_information_bars,
    judge_bar_lengths,
    judge_tiling,
    measure_bar_lengths,
    scale_sessions,
)
from smallcaps_assets.core.research.minute_bars import judge_sums, prepare_prints, sum_prints
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import SPLITS
from smallcaps_assets.schemas_research import INFORMATION_BARS
from smallcaps_assets_tests.core.tape_factories import (
    OPENING_NS,
    SESSION,
    make_bars,
    make_trades,
    ny,
)
from smallcaps_assets_tests.research_factories import SECOND_NS, read_real_trades

ALL = BarRules(kinds=KINDS)


def make_scales(trades: pl.DataFrame, **sizes: float | None) -> pl.DataFrame:
    """Return sizes for every session of trades: 20 prints, 2,000 shares, 20,000 USD."""
    values = {"tick": 20.0, "volume": 2_000.0, "dollar": 20_000.0, "day_volume": 1e5} | sizes
    sessions = trades.select("ticker", "session_date").unique().sort("ticker", "session_date")
    columns = (pl.lit(value, pl.Float64).alias(name) for name, value in values.items())
    return sessions.with_columns(*columns, threshold_source=pl.lit("daily_bars"))


def build(trades: pl.DataFrame, rules: BarRules = ALL, **sizes: float | None) -> pl.DataFrame:
    prints, _ = prepare_prints(trades, load_calendar())
    return build_information_bars(prints, make_scales(trades, **sizes), load_calendar(), rules)


def make_flow(steps: list[int], **values: Any) -> pl.DataFrame:  # noqa: ANN401
    """Return prints a second apart whose price moves by cents."""
    price, rows = 10.0, []
    for number, step in enumerate(steps):
        price = round(price + step / 100, 2)
        rows.append({"price": price, "sip_timestamp": OPENING_NS + number * SECOND_NS, **values})
    return make_trades(*rows)


def make_history(count: int, **values: Any) -> pl.DataFrame:  # noqa: ANN401
    """Return daily bars of the sessions right before ``SESSION``."""
    calendar = load_calendar()
    dates = [calendar.shift(SESSION, -back) for back in range(count, 0, -1)]
    return make_bars(*({"session_date": date, "trade_count": 5_000, **values} for date in dates))


def scale(bars: pl.DataFrame, splits: pl.DataFrame | None = None) -> dict[str, Any]:
    sessions = pl.DataFrame({"ticker": ["ABCD"], "session_date": [SESSION]})
    known = SPLITS.empty() if splits is None else splits
    return scale_sessions(sessions, (bars, known), load_calendar(), BarRules()).to_dicts()[0]


def test_a_bar_is_a_fiftieth_of_the_median_day_before() -> None:
    sized = scale(make_history(20, volume=1e5, vwap=10.5))

    assert (sized["tick"], sized["volume"], sized["dollar"]) == (100.0, 2_000.0, 21_000.0)
    assert (sized["day_volume"], sized["threshold_source"]) == (1e5, "daily_bars")


def test_few_trades_a_day_still_make_bars_of_twenty() -> None:
    assert scale(make_history(20, trade_count=300))["tick"] == 20.0


@pytest.mark.parametrize("count", [0, 4])
def test_without_counts_a_default_is_taken_and_said(count: int) -> None:
    sized = scale(make_history(count))

    assert (sized["tick"], sized["threshold_source"]) == (100.0, "default")
    assert (sized["volume"], sized["dollar"]) == (None, None)


def test_bars_without_counts_still_tell_volume_and_dollars() -> None:
    sized = scale(make_history(20, trade_count=None, volume=1e5))

    assert (sized["tick"], sized["threshold_source"]) == (100.0, "default")
    assert (sized["volume"], sized["dollar"]) == (2_000.0, 20_000.0)


def test_the_session_itself_and_what_lies_too_far_back_tell_nothing() -> None:
    own = make_bars({"trade_count": 10**6})
    far = make_bars(
        *(
            {"session_date": load_calendar().shift(SESSION, -back), "trade_count": 10**6}
            for back in range(41, 61)
        )
    )

    assert scale(pl.concat([own, far]))["threshold_source"] == "default"
    assert scale(pl.concat([own, far, make_history(5)]))["tick"] == 100.0


def test_only_the_last_twenty_usable_bars_count() -> None:
    bars = make_history(30).with_columns(
        trade_count=pl.when(pl.int_range(30) < 10).then(10**6).otherwise("trade_count")
    )
    broken = bars.with_columns(close=pl.when(pl.int_range(30) == 29).then(0.0).otherwise("close"))

    assert scale(bars)["tick"] == 100.0
    assert scale(broken)["tick"] == 100.0


def test_volume_is_on_the_basis_of_the_session() -> None:
    reverse = pl.DataFrame([("ABCD", SESSION, 10.0, 1.0)], SPLITS.schema, orient="row")
    unknown = pl.DataFrame([("ABCD", SESSION, None, None)], SPLITS.schema, orient="row")

    assert scale(make_history(20, volume=1e5), reverse)["day_volume"] == pytest.approx(1e4)
    assert scale(make_history(20, volume=1e5), unknown)["volume"] is None
    assert scale(make_history(20, volume=1e5), unknown)["tick"] == 100.0


@pytest.mark.parametrize("kind", KINDS)
def test_bars_tile_the_regular_phase_and_sum_to_it(kind: str) -> None:
    regular = make_flow([1, -1, 0, 1, 1] * 60)
    closing = ny("2024-03-15 16:00:01")
    late = make_trades({"sip_timestamp": closing, "trading_phase": "after_hours", "size": 1e6})
    trades = pl.concat([regular, late])

    bars = build(trades, BarRules(kinds=(kind,)))

    assert judge_tiling(bars.lazy()).passed
    assert judge_sums(bars.lazy(), sum_prints(regular.lazy()).collect()).passed
    assert bars["bar"].to_list() == list(range(bars.height))
    assert set(bars["closed_by"]) <= {"threshold", "imbalance", "warm_up", "cap", "session_end"}


def test_a_bar_is_known_when_its_last_print_came_or_the_session_closed() -> None:
    bars = build(make_flow([1] * 30), BarRules(kinds=("tick",)))

    assert bars["closed_by"].to_list() == ["threshold", "session_end"]
    assert bars["known_timestamp"][0] == bars["last_timestamp"][0]
    assert bars["known_timestamp"][1] == dt.datetime(2024, 3, 15, 20, tzinfo=dt.UTC)


def test_a_session_of_unknown_size_has_no_plain_bars() -> None:
    trades = make_flow([1] * 30)

    bars = build(trades, volume=None, dollar=None)

    assert set(bars["kind"]) == {"tick", *IMBALANCE}
    assert judge_tiling(bars.lazy()).passed


def test_sessions_of_unknown_size_leave_those_beside_them_alone() -> None:
    trades = make_flow([1, -1] * 50)
    both = pl.concat([trades.with_columns(ticker=pl.lit("AAAA")), trades])
    scales = make_scales(both).with_columns(
        pl.when(pl.col("ticker") == "ABCD").then(pl.col(PLAIN[1:]))
    )
    prints, _ = prepare_prints(both, load_calendar())

    bars = build_information_bars(prints, scales, load_calendar(), ALL)

    assert bars.filter(pl.col("kind") == "dollar").equals(
        build(trades).filter(pl.col("kind") == "dollar")
    )


def test_one_print_and_none_at_all() -> None:
    (bar,) = build(make_flow([0]), BarRules(kinds=("dollar_imbalance",))).to_dicts()

    assert (bar["closed_by"], bar["theta"], bar["threshold"]) == ("session_end", 0.0, 0.0)
    assert build(make_trades()).equals(INFORMATION_BARS.empty())


def test_prints_without_any_sign_make_bars_of_the_wanted_length() -> None:
    bars = build(make_flow([0] * 100), BarRules(kinds=IMBALANCE))

    assert bars["trade_count"].to_list() == [20] * 15
    assert set(bars["closed_by"]) == {"warm_up"}


@pytest.mark.parametrize("kind", ["", "dollars"])
def test_unknown_kinds_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="expected some of tick, volume"):
        BarRules(kinds=(kind,))


def judge(**changes: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return the one row of a table of lengths, judged."""
    sound = {"ticker": "ABCD", "kind": "tick_imbalance", "bars": 100, "length_ratio": 1.0}
    row = sound | {"cap_share": 0.0, "tiny_share": 0.0} | changes
    verdict = judge_bar_lengths(pl.DataFrame([row]))
    return {"passed": verdict.passed, **verdict.numbers}


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"length_ratio": 0.29}, False),
        ({"length_ratio": 3.01}, False),
        ({"cap_share": 0.06}, False),
        ({"tiny_share": 0.06}, False),
        ({"length_ratio": 0.29, "bars": 49}, True),
    ],
)
def test_degenerate_bars_are_red(changes: Mapping[str, Any], *, passed: bool) -> None:
    assert judge(**changes)["passed"] is passed


def test_a_flow_that_never_accumulates_has_no_imbalance_bars() -> None:
    """The rule stays as it is: one print after another closes a bar, and the check says so."""
    lengths = measure_bar_lengths(build(make_flow([1, -1] * 500)).lazy())

    verdict = judge_bar_lengths(lengths)

    assert not verdict.passed
    assert verdict.offenders["tiny_share"].min() > 0.9  # type: ignore[operator]


def test_a_hundred_bars_of_two_prints_are_red() -> None:
    bars = build(make_flow([1] * 400), BarRules(kinds=("volume_imbalance",)))
    tiny = pl.concat([bars.head(1).with_columns(trade_count=pl.lit(2, pl.Int64))] * 100)

    assert not judge_bar_lengths(measure_bar_lengths(tiny.lazy())).passed


def test_defaults_are_not_judged() -> None:
    bars = build(make_flow([1, -1] * 500)).with_columns(threshold_source=pl.lit("default"))

    assert measure_bar_lengths(bars.lazy()).is_empty()


def test_a_bar_that_is_lost_or_doubled_is_red() -> None:
    bars = build(make_flow([1] * 100), BarRules(kinds=("tick",)))

    assert judge_tiling(bars.lazy()).passed
    assert not judge_tiling(bars.filter(pl.col("bar") != 2).lazy()).passed
    assert not judge_tiling(pl.concat([bars, bars.tail(1)]).lazy()).passed
    assert not judge_tiling(bars.with_columns(closed_by=pl.lit("?")).lazy()).passed


@pytest.mark.parametrize("wanted", [50, 200, 600, 1_000])
@pytest.mark.parametrize("ticker", ["AIG", "IBM"])
def test_real_imbalance_bars_are_as_long_as_wanted(ticker: str, wanted: int) -> None:
    trades = read_real_trades(ticker)
    rules = BarRules(kinds=("tick_imbalance", "dollar_imbalance"))

    lengths = measure_bar_lengths(build(trades, rules, tick=float(wanted)).lazy())

    assert lengths.height == 2
    assert lengths["length_ratio"].is_between(0.7, 1.5).all(), lengths
    assert judge_bar_lengths(lengths).passed
