"""Facts of stored sessions against their daily bars."""

import datetime as dt
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.conditions import build_daily_bar
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.ticks.quality import (
    label_residuals,
    measure_residual_conditions,
    measure_sessions,
    select_residuals,
)
from smallcaps_assets_tests.core.tape_factories import (
    OPENING_NS,
    SESSION,
    make_bar,
    make_bars,
    make_trades,
    ny,
    read_flat_file,
)

KEY = ["ticker", "session_date"]
GOOD = make_trades({"price": 9.0}, {"price": 11.0, "size": 0.5}, {"price": 10.0})
GOOD_BAR = make_bar(high=11.0, low=9.0, volume=200.5, trade_count=3)


def residual_of(volume: float, bar_volume: float | None) -> tuple[float | None, float | None]:
    facts = pl.DataFrame(
        {
            "volume": [volume],
            "trade_count": [1],
            "bar_volume": [bar_volume],
            "bar_trade_count": [1],
        },
        {"volume": pl.Float64, "trade_count": pl.Int64, "bar_volume": pl.Float64}
        | {"bar_trade_count": pl.Int64},
    )
    labelled = label_residuals(facts).row(0, named=True)
    return labelled["volume_residual"], labelled["volume_residual_ratio"]


def measure_session(trades: pl.DataFrame, bar: Mapping[str, object] | None) -> SimpleNamespace:
    """Return the facts of one session by name, and the conditions of what differs."""
    bars = make_bars(*([bar] if bar else []))
    facts = measure_sessions(trades, bars, (trades if trades.height else bars).head(1))
    conditions = measure_residual_conditions(trades, facts)
    return SimpleNamespace(**facts.row(0, named=True), conditions=conditions)


def test_measure_session_agrees_with_its_bar() -> None:
    facts = measure_session(GOOD, GOOD_BAR)

    assert (facts.rows, facts.unsorted_rows, facts.exact_duplicates) == (3, 0, 0)
    assert (facts.volume, facts.trade_count, facts.high, facts.low) == (200.5, 3, 11.0, 9.0)
    assert (facts.volume_residual, facts.volume_residual_ratio, facts.count_residual) == (0, 0, 0)
    assert (facts.high_low_rows, facts.price_outside_rows, facts.outside_day_rows) == (3, 0, 0)
    assert facts.conditions.is_empty()


def test_measure_session_counts_rows_by_phase() -> None:
    """L7: every phase is there, absent ones as 0."""
    trades = make_trades({"trading_phase": "closed"}, {"trading_phase": "pre_market"}, {})

    facts = measure_session(trades, None)
    assert (facts.pre_market_rows, facts.regular_rows) == (1, 1)
    assert (facts.after_hours_rows, facts.closed_rows) == (0, 1)


@pytest.mark.parametrize(
    "bar",
    [None, *(make_bar(volume=volume, high=math.nan, low=None) for volume in (None, math.nan))],
    ids=["none", "null", "NaN"],
)
def test_measure_session_without_a_usable_bar_compares_nothing(bar: Mapping[str, Any]) -> None:
    """L21: NaN would be greater than everything."""
    facts = measure_session(GOOD, bar)

    assert (facts.bar_volume, facts.price_outside_rows) == (None, 0)
    assert (facts.volume_residual, facts.volume_residual_ratio) == (None, None)
    assert bar or (facts.bar_trade_count, facts.count_residual) == (None, None)


def test_measure_session_compares_a_session_without_trades_too() -> None:
    """L17: an empty session whose bar shows volume lacks everything."""
    facts = measure_session(make_trades(), GOOD_BAR)

    assert (facts.rows, facts.volume, facts.high) == (0, 0.0, None)
    assert (facts.volume_residual, facts.volume_residual_ratio) == (-200.5, 1.0)
    assert facts.count_residual == -3


def test_measure_session_counts_rows_out_of_order() -> None:
    trades = make_trades(
        {"sip_timestamp": OPENING_NS + 1},
        {"sip_timestamp": OPENING_NS},
        {"sip_timestamp": OPENING_NS, "sequence_number": 1},
        {"sip_timestamp": OPENING_NS, "sequence_number": None},
    )

    assert measure_session(trades, None).unsorted_rows == 3


def test_measure_session_counts_exact_duplicates_wherever_they_lie() -> None:
    """L24: equal in every vendor field, and nothing less."""
    row = {"sip_timestamp": OPENING_NS, "sequence_number": 1, "id": "1", "conditions": [37]}
    near = row | {"correction": 8}
    trades = make_trades(row, near, row, {"sip_timestamp": OPENING_NS + 1}, row)

    assert measure_session(trades, None).exact_duplicates == 2


def test_measure_session_counts_rows_outside_their_new_york_day() -> None:
    """L6: a winter evening is inside, the next midnight is not."""
    walls = [
        "2024-03-07 23:59:59",
        "2024-03-08 00:00:00",
        "2024-03-08 23:59:59",
        "2024-03-09 00:00:00",
    ]
    day = {"session_date": dt.date(2024, 3, 8)}

    trades = make_trades(*({"sip_timestamp": ny(wall), **day} for wall in walls))

    assert measure_session(trades, None).outside_day_rows == 2


def test_measure_session_counts_only_prices_that_may_set_high_and_low() -> None:
    trades = make_trades(
        {"price": 11.01},
        {"price": 8.99},
        {"price": 99.0, "conditions": [37]},
        {"price": 11.0 * (1 + 1e-12)},
        {"price": 99.0, "correction": 8},
    )

    facts = measure_session(trades, GOOD_BAR)

    assert (facts.price_outside_rows, facts.high_low_rows) == (2, 3)
    assert (facts.high, facts.low) == (11.01, 8.99)


def test_measure_session_takes_prices_of_a_bar_without_volume_for_none() -> None:
    facts = measure_session(GOOD, make_bar(volume=0.0, high=1.0, low=1.0, trade_count=0))

    assert (facts.price_outside_rows, facts.volume_residual_ratio) == (0, 1.0)


def test_measure_session_lists_the_conditions_of_a_difference() -> None:
    """The bar of the vendor counted a print that the rules leave out."""
    trades = make_trades({"size": 60.0}, {"size": 40.0, "conditions": [15]})

    facts = measure_session(trades, make_bar(volume=100.0, trade_count=2))

    assert (facts.volume_residual, facts.count_residual) == (-40.0, -1)
    assert facts.conditions.select("condition_id", "counted_volume", "excluded_volume").rows() == [
        (None, 60.0, 0.0),
        (15, 0.0, 40.0),
    ]


@pytest.mark.parametrize(
    ("volume", "bar_volume", "expected"),
    [
        (100.0, 100.0, (0.0, 0.0)),
        (0.1 + 0.2, 0.3, (0.0, 0.0)),
        (1e9 + 0.5, 1e9, (0.0, 0.0)),
        (1e9 + 2.0, 1e9, (2.0, 2e-9)),
        (99.0, 100.0, (-1.0, 0.01)),
        (0.0, 0.0, (0.0, 0.0)),
        (5.0, 0.0, (5.0, 1.0)),
        (0.0, 5.0, (-5.0, 1.0)),
        (5.0, None, (None, None)),
    ],
)
def test_label_residuals_leaves_rounding_out(
    volume: float, bar_volume: float | None, expected: tuple[float | None, float | None]
) -> None:
    assert residual_of(volume, bar_volume) == expected


def test_measure_sessions_gives_a_row_for_every_session_asked() -> None:
    trades = make_trades({"ticker": "ZZ"}, {"ticker": "AA"}, {"ticker": "AA"})
    bars = make_bars(
        {"ticker": "AA", "volume": 200.0, "trade_count": 2}, {"ticker": "EMPTY", "volume": 7.0}
    )
    sessions = pl.DataFrame(
        {"ticker": ["ZZ", "EMPTY", "AA", "QUIET"], "session_date": [SESSION] * 4}
    )

    facts = measure_sessions(trades, bars, sessions)

    columns = ["ticker", "rows", "volume", "volume_residual"]
    assert facts.select(columns).rows() == [
        ("AA", 2, 200.0, 0.0),
        ("EMPTY", 0, 0.0, -7.0),
        ("QUIET", 0, 0.0, None),
        ("ZZ", 1, 100.0, None),
    ]


def test_measure_sessions_of_nothing_has_the_columns_of_any_other() -> None:
    nothing = measure_sessions(make_trades(), make_bars(), GOOD.select(KEY).clear())
    something = measure_sessions(GOOD, make_bars(), GOOD.select(KEY).head(1))

    assert nothing.schema == something.schema
    assert nothing.is_empty()


rows = st.lists(
    st.fixed_dictionaries(
        {
            "ticker": st.sampled_from(["AA", "BB", "CC"]),
            "sip_timestamp": st.integers(OPENING_NS, OPENING_NS + 3),
            "sequence_number": st.integers(1, 2),
            "id": st.none(),
            "price": st.sampled_from([9.0, 10.0, 11.0]),
            "size": st.sampled_from([0.1, 0.2, 100.0]),
            "conditions": st.sampled_from([None, [37], [15]]),
        }
    ),
    max_size=25,
)


@given(rows)
def test_measure_sessions_agrees_with_one_session_at_a_time(cases: list[dict[str, object]]) -> None:
    trades = make_trades(*cases)
    bars = make_bars(*({"ticker": ticker, "volume": 100.3} for ticker in ("AA", "CC")))

    table = measure_sessions(trades, bars, trades.select(KEY).unique())

    for facts in table.iter_rows(named=True):
        bar = bars.filter(pl.col("ticker") == facts["ticker"]).to_dicts()
        one = measure_session(
            trades.filter(pl.col("ticker") == facts["ticker"]), next(iter(bar), None)
        )
        for name in ("rows", "unsorted_rows", "exact_duplicates", "trade_count", "high", "low"):
            assert getattr(one, name) == facts[name]
        for name in ("volume", "volume_residual", "price_outside_rows", "count_residual"):
            assert getattr(one, name) == pytest.approx(facts[name])


@given(rows)
def test_measure_sessions_finds_no_difference_to_bars_of_the_same_rules(
    cases: list[dict[str, object]],
) -> None:
    """Bars conserve volume and count, so a lake and bars of one market have residual 0."""
    trades = make_trades(*cases)
    bars = build_daily_bar(trades.lazy()).collect()

    facts = measure_sessions(trades, bars, bars)

    assert select_residuals(facts).is_empty()
    assert facts["price_outside_rows"].sum() == 0
    assert facts["rows"].sum() == trades.height


def test_measure_residual_conditions_looks_only_where_something_differs() -> None:
    trades = make_trades({"ticker": "AA", "conditions": [37]}, {"ticker": "BB", "conditions": [14]})
    bars = make_bars({"ticker": "AA"}, {"ticker": "BB", "volume": 1.0})
    facts = measure_sessions(trades, bars, bars)

    assert measure_residual_conditions(trades, facts)["condition_id"].to_list() == [14]


def test_a_real_day_agrees_with_bars_added_up_row_by_row() -> None:
    """L17: a whole real tape, against sums of plain Python loops."""
    day = read_flat_file("us_stocks_sip/trades_v1/2013/10/2013-10-08.csv.gz")
    totals: dict[str, list[float]] = {}
    for ticker, size, conditions in day.select("ticker", "size", "conditions").iter_rows():
        if not {15, 16, 38} & set(conditions or []):
            totals.setdefault(ticker, []).append(size)
    bars = make_bars(
        *(
            {"ticker": ticker, "session_date": dt.date(2013, 10, 8), "high": None, "low": None}
            | {"volume": sum(sizes), "trade_count": len(sizes)}
            for ticker, sizes in totals.items()
        )
    )

    facts = measure_sessions(label_trades(day, load_calendar()), bars, bars)

    assert facts["rows"].sum() == day.height
    assert select_residuals(facts).is_empty()
    faults = facts.select("unsorted_rows", "exact_duplicates", "outside_day_rows", "closed_rows")
    assert faults.sum().row(0) == (0, 0, 0, 0)
