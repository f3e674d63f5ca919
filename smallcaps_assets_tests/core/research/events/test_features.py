import datetime as dt
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.core.research.events.audits import judge_future
from smallcaps_assets.core.research.events.features import build_event_features, measure_history
from smallcaps_assets.core.research.events.outcomes import build_event_outcomes
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.schemas import DAILY_BARS, SPLITS
from smallcaps_assets.schemas_research import DECISIONS, HALTS, MINUTE_BARS
from smallcaps_assets_tests.core.tape_factories import make_bar

DAY: Final = dt.date(2024, 3, 6)
OPEN: Final = dt.datetime(2024, 3, 6, 14, 30, tzinfo=dt.UTC)
CLOSE: Final = dt.datetime(2024, 3, 7, 1, tzinfo=dt.UTC)


def make_decision(known: dt.datetime = CLOSE, **changes: Any) -> pl.DataFrame:  # noqa: ANN401  cells
    row: dict[str, Any] = {
        "ticker": "ABCD",
        "session_date": DAY,
        "known_timestamp": known,
        "events": ["E2_GapUp"],
        "known_events": ["E1_VolExplosion", "E2_GapUp"],
        "is_intraday": False,
        "entry_session": dt.date(2024, 3, 7),
        "decision_timestamp": CLOSE,
        "known_price": 12.0,
        "sigma": 0.1,
        "day_volume": 100.0,
        "half_spread": 0.001,
        "is_selection_point_in_time": False,
    }
    return pl.DataFrame([row | changes], DECISIONS.schema)


def make_minute(minute: int, close: float, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  cells
    start = OPEN + dt.timedelta(minutes=minute)
    values: dict[str, Any] = dict.fromkeys(MINUTE_BARS.columns, 0.0)
    return values | {
        "ticker": "ABCD",
        "session_date": DAY,
        "minute": start,
        "known_timestamp": start + dt.timedelta(minutes=1),
        "trading_phase": "regular" if minute >= 0 else "pre_market",
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "volume": 100.0,
        "dollar": 100 * close,
        "vwap": close,
        "trade_count": 2,
        "price_count": 2,
        "has_auction_print": False,
        **changes,
    }


def make_bars(*closes: float, last: dt.date = DAY) -> pl.DataFrame:
    """Return daily bars of 100 shares that end on a session, oldest first."""
    dates = load_calendar().dates(dt.date(2024, 1, 2), last)[-len(closes) :]
    rows = [
        make_bar(session_date=date, open=close, high=close * 1.1, low=close * 0.9, close=close)
        for date, close in zip(dates, closes, strict=True)
    ]
    return pl.DataFrame(rows, DAILY_BARS.schema)


def build(
    decision: pl.DataFrame,
    *minutes: dict[str, Any],
    bars: pl.DataFrame | None = None,
    halts: pl.DataFrame | None = None,
) -> dict[str, Any]:
    table = pl.DataFrame(list(minutes), MINUTE_BARS.schema)
    known = make_bars(10.0, 10.0) if bars is None else bars
    history = measure_history(decision, known, SPLITS.empty(), load_calendar())
    pauses = HALTS.empty() if halts is None else halts
    return build_event_features(decision, table, pauses, history).row(0, named=True)


def test_a_day_is_summed_up_to_the_decision() -> None:
    row = build(
        make_decision(),
        make_minute(-10, 10.5, volume=50.0),
        make_minute(0, 11.0, tick_rule_buy_volume=60.0, tick_rule_sell_volume=10.0),
        make_minute(1, 12.1, odd_lot_volume=25.0, trf_volume=50.0),
    )

    assert row["gap"] == pytest.approx(0.1)
    assert (row["dollar_volume"], row["relative_volume"]) == (3_360.0, 2.5)
    assert row["order_imbalance"] == pytest.approx(0.2)
    assert (row["odd_lot_share"], row["trf_share"], row["pre_market_share"]) == (0.1, 0.2, 0.2)
    assert row["distance_from_low"] == pytest.approx(0.1)
    assert (row["minutes_since_open"], row["known_event_count"], row["halts"]) == (390.0, 2, 0.0)


def test_minutes_that_are_not_over_are_not_seen() -> None:
    known = OPEN + dt.timedelta(minutes=1, seconds=59)

    row = build(make_decision(known), make_minute(0, 11.0), make_minute(1, 99.0))

    assert row["session_return"] == 0.0
    assert row["minutes_since_open"] == pytest.approx(1 + 59 / 60)


def test_halts_count_once_they_are_over() -> None:
    rows = [
        ("ABCD", DAY, OPEN, OPEN + dt.timedelta(minutes=minutes), "activity") for minutes in (5, 50)
    ]
    halts = pl.DataFrame(rows, HALTS.schema, orient="row")

    row = build(make_decision(OPEN + dt.timedelta(minutes=20)), make_minute(0, 11.0), halts=halts)

    assert row["halts"] == 1.0


def test_before_the_first_minute_the_print_that_told_makes_the_gap() -> None:
    row = build(make_decision(OPEN))

    assert row["gap"] == pytest.approx(0.2)
    assert (row["session_return"], row["relative_volume"], row["halts"]) == (None, None, None)


def test_the_past_is_that_of_the_20_bars_before() -> None:
    bars = make_bars(*[20.0] * 3, 10.0, 10.0, 10.0, 10.0, 5.0, 99.0)

    row = build(make_decision(), bars=bars)

    assert row["return_5"] == pytest.approx(-1.3862943611198906)
    assert row["distance_from_high_20"] == pytest.approx(-0.75)
    assert row["median_dollar_volume"] == pytest.approx(1_000)


def test_without_bars_before_features_are_null_and_none_is_zero() -> None:
    row = build(make_decision(), bars=DAILY_BARS.empty())

    names = ("gap", "return_5", "distance_from_high_20", "median_dollar_volume")
    assert [row[name] for name in names] == [None] * 4


def test_a_difference_of_the_last_bit_is_seen() -> None:
    whole = pl.DataFrame({"key": [1, 2], "a": [0.1, None], "b": [1.0, 2.0]})
    again = whole.with_columns(b=pl.Series([1.0, 2.0000000000000004]))

    assert judge_future(whole, whole).passed
    verdict = judge_future(whole, again)
    assert (verdict.passed, verdict.offenders["key"].to_list()) == (False, [2])
    assert verdict.summary.startswith("b know")


def list_outcomes(splits: pl.DataFrame, *closes: float) -> list[tuple[Any, ...]]:
    last = load_calendar().shift(DAY, 3)
    outcomes = build_event_outcomes(
        make_decision(), make_bars(*closes, last=last), splits, load_calendar()
    )
    return outcomes.select("offset", "close_return", "volume_ratio").rows()


def test_outcomes_are_on_prices_of_the_event() -> None:
    split = pl.DataFrame([("ABCD", dt.date(2024, 3, 8), 10.0, 1.0)], SPLITS.schema, orient="row")

    found = list_outcomes(split, 12.0, 12.0, 6.0, 240.0, 120.0)

    assert [row[0] for row in found] == [1, 2, 3]
    assert [row[1] for row in found] == pytest.approx([-0.5, 1.0, 0.0])
    assert [row[2] for row in found] == pytest.approx([1.0, 10.0, 10.0])


def test_nothing_is_compared_across_an_unknown_split_or_without_a_bar() -> None:
    unknown = pl.DataFrame([("ABCD", dt.date(2024, 3, 7), None, None)], SPLITS.schema, orient="row")

    assert [row[1] for row in list_outcomes(unknown, *[12.0] * 5)] == [None] * 3
    last = make_bars(12.0)
    outcomes = build_event_outcomes(make_decision(), last, SPLITS.empty(), load_calendar())
    assert outcomes["close_return"].to_list() == [None] * 3
