import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.schemas import SPLITS
from smallcaps_assets_tests.core.bar_factories import (
    Bar,
    day,
    find_events,
    make_bars,
    make_splits,
    make_walk,
)
from smallcaps_assets_tests.core.event_reference import find_reference_events

walked = settings(max_examples=25)
seeds = st.integers(0, 2**32)
tickers = st.lists(st.sampled_from(["A", "AA", "B", "b", "BRK.A"]), min_size=1, unique=True)
multiples = st.sampled_from([2, 3, 7, 10])


def make_bar(prices: tuple[int, int, int, int], volume: float) -> Bar:
    """Make a bar in whole cents; ``prices`` are open, close and how far high and low lie out."""
    opened, close, above, below = prices
    high, low = max(opened, close) + above, max(1, min(opened, close) - below)
    return opened / 100, high / 100, low / 100, close / 100, volume


cents = st.integers(100, 160)
small_bars = st.lists(
    st.builds(
        make_bar,
        st.tuples(cents, cents, st.integers(0, 30), st.integers(0, 30)),
        st.sampled_from([0.0, 1.0, 100.0]),
    ),
    max_size=12,
)
walks = st.builds(
    lambda seed, names: pl.concat(
        make_walk(seed + place, ticker=ticker, bars=30 + 7 * place)
        for place, ticker in enumerate(names)
    ),
    seeds,
    tickers,
)


@walked
@given(small_bars, small_bars)
def test_short_histories_agree_with_the_reference(first: list[Bar], second: list[Bar]) -> None:
    bars = pl.concat([make_bars(first), make_bars(second, ticker="AAAB")])

    assert find_events(bars) == find_reference_events(bars)


@walked
@given(walks)
def test_walks_agree_with_the_reference(bars: pl.DataFrame) -> None:
    assert find_events(bars) == find_reference_events(bars)


@settings(max_examples=4)
@given(seeds)
def test_histories_of_a_year_agree_with_the_reference(seed: int) -> None:
    bars = pl.concat([make_walk(seed, bars=330), make_walk(seed + 1, ticker="AAAB", bars=300)])

    assert find_events(bars) == find_reference_events(bars)


@walked
@given(walks, st.integers(0, 60), multiples, multiples)
def test_walks_with_splits_agree_with_the_reference(
    bars: pl.DataFrame, date: int, shares_from: int, shares_to: int
) -> None:
    ticker = bars["ticker"][0]
    splits = make_splits(
        (ticker, day(date), shares_from, shares_to), (ticker, day(date + 9), 1, shares_from)
    )

    assert find_events(bars, splits) == find_reference_events(bars, splits)


@walked
@given(walks, st.integers(1, 60))
def test_no_rule_looks_across_an_unknown_split(bars: pl.DataFrame, date: int) -> None:
    """L43: what comes after it is what a ticker would show that was listed on that day."""
    ticker = bars["ticker"][0]
    unknown = pl.DataFrame([(ticker, day(date), None, None)], SPLITS.schema, orient="row")
    is_after = (pl.col("ticker") == ticker) & (pl.col("session_date") >= day(date))

    found = find_events(bars, unknown)

    apart = find_events(bars.filter(~is_after)) + find_events(bars.filter(is_after))
    assert sorted(found) == sorted(apart)


@walked
@given(walks, st.integers(0, 90))
def test_later_bars_change_no_earlier_event(bars: pl.DataFrame, cut: int) -> None:
    """L21: truncation invariance."""
    until = bars.filter(pl.col("session_date") <= day(cut))

    assert find_events(until) == [event for event in find_events(bars) if event[1] <= day(cut)]


@walked
@given(walks)
def test_a_ticker_knows_nothing_of_the_others(bars: pl.DataFrame) -> None:
    """L21: ticker isolation."""
    parts = bars.partition_by("ticker", as_dict=True)

    alone = [event for _, part in sorted(parts.items()) for event in find_events(part)]

    assert find_events(bars) == alone


@walked
@given(walks, seeds)
def test_the_order_of_rows_does_not_matter(bars: pl.DataFrame, seed: int) -> None:
    shuffled = bars.sample(fraction=1.0, shuffle=True, seed=seed)

    assert find_events(shuffled) == find_events(bars)


@walked
@given(walks, st.integers(0, 90), multiples)
def test_a_later_split_changes_no_earlier_event(bars: pl.DataFrame, date: int, shares: int) -> None:
    """L21, L23: prices of the past are never restated with splits of the future."""
    splits = make_splits((bars["ticker"][0], day(date), shares, 1))

    with_split = [event for event in find_events(bars, splits) if event[1] < day(date)]

    assert with_split == [event for event in find_events(bars) if event[1] < day(date)]


@walked
@given(walks, st.integers(0, 90), multiples, st.booleans())
def test_a_split_on_record_hides_no_event_and_makes_none(
    bars: pl.DataFrame,
    date: int,
    shares: int,
    is_reverse: bool,  # noqa: FBT001  Hypothesis gives it by place
) -> None:
    """L23: bars that trade on after a split have the events of the unsplit series."""
    ratio = (shares, 1) if is_reverse else (1, shares)
    splits = make_splits(*((ticker, day(date), *ratio) for ticker in set(bars["ticker"])))
    is_after = pl.col("session_date") >= day(date)
    is_restated = is_after if is_reverse else ~is_after

    assert find_events(scale_bars(bars, is_restated, shares), splits) == find_events(bars)


def scale_bars(bars: pl.DataFrame, which: pl.Expr, shares: int) -> pl.DataFrame:
    """Restate bars as if ``shares`` shares were one."""
    prices = pl.col("open", "high", "low", "close")
    return bars.with_columns(
        pl.when(which).then((prices * 100 * shares).round() / 100).otherwise(prices),
        pl.when(which).then(pl.col("volume") / shares).otherwise(pl.col("volume")),
    )
