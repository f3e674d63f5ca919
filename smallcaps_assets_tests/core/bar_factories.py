"""Daily bars and events for the tests of the core."""

import datetime as dt
import random
from collections.abc import Sequence

import polars as pl

from smallcaps_assets.core.events.rules import detect_events
from smallcaps_assets.schemas import DAILY_BARS, SPLITS
from smallcaps_assets_tests.lakehouse_factories import find_shared

FIRST_DATE = dt.date(2024, 1, 1)

Bar = tuple[float, float, float, float, float]
"""Open, high, low, close, volume."""
Event = tuple[str, dt.date, str]
"""Ticker, date, name."""


def flat(
    price: float, *, bars: int = 1, volume: float = 100, high: float | None = None
) -> list[Bar]:
    """Make equal dojis."""
    return [(price, high or price, price, price, volume)] * bars


def green(price: float, *, volume: float = 100) -> list[Bar]:
    """Make a bar that closes one per cent above its open."""
    return [(price, price * 1.01, price, price * 1.01, volume)]


def red(price: float, *, volume: float = 100) -> list[Bar]:
    """Make a bar that closes one per cent below its open."""
    return [(price, price, price * 0.99, price * 0.99, volume)]


def day(number: int) -> dt.date:
    """Return the date of the bar with that number, from 0."""
    return FIRST_DATE + dt.timedelta(days=number)


def make_bars(
    bars: Sequence[Bar], *, ticker: str = "AAAA", dates: Sequence[dt.date] | None = None
) -> pl.DataFrame:
    """Make a ticker's bars, on consecutive days unless told otherwise."""
    names = ("open", "high", "low", "close", "volume")
    columns = zip(*bars, strict=True) if bars else [[]] * len(names)
    values = {
        name: pl.Series(column, dtype=pl.Float64)
        for name, column in zip(names, columns, strict=True)
    }
    frame = pl.DataFrame(values).with_columns(
        ticker=pl.lit(ticker),
        session_date=pl.Series(
            dates or [day(number) for number in range(len(bars))], dtype=pl.Date
        ),
        vwap=pl.lit(None, dtype=pl.Float64),
        trade_count=pl.lit(None, dtype=pl.Int64),
    )
    return DAILY_BARS.conform(frame)


def make_splits(*splits: tuple[str, dt.date, float, float]) -> pl.DataFrame:
    """Make splits of ticker, date, shares before and shares after."""
    return pl.DataFrame(list(splits), schema=SPLITS.schema, orient="row")


def find_events(bars: pl.DataFrame, splits: pl.DataFrame | None = None) -> list[Event]:
    return detect_events(bars.lazy(), None if splits is None else splits.lazy()).collect().rows()


def find_names(bars: pl.DataFrame, splits: pl.DataFrame | None = None) -> list[str]:
    """Return the names of the events on the last bar."""
    last = bars["session_date"].max()
    return [name for _, date, name in find_events(bars, splits) if date == last]


def make_walk(seed: int, *, ticker: str = "AAAA", bars: int = 40) -> pl.DataFrame:
    """Make a jumpy series in whole cents, with dojis, holes, zero volumes and missing days."""
    rng = random.Random(seed)  # noqa: S311  a seeded walk, no secret
    rows: list[Bar] = []
    dates = [FIRST_DATE]
    close = rng.randint(20, 300)
    for _ in range(bars):
        gaps = [1, 1, 1, 1.1, 0.85, 0.97, 1.05] if 5 < close < 10_000 else [100 / close]
        opened = max(1, round(close * rng.choice(gaps)))
        close = max(1, round(opened * rng.choice([1, 1.03, 1.03, 0.97, 0.97, 1.2, 0.8, 1.5])))
        high = max(opened, close, round(opened * rng.choice([1, 1, 1.2])))
        low = max(1, min(opened, close, round(opened * rng.choice([1, 1, 0.7]))))
        volume = rng.choice([0, 0, 40, 100, 100, 0.25, 500, 2000])
        prices = (opened / 100, high / 100, low / 100, close / 100)
        rows.append(rng.choices([(*prices, volume), _break(prices, rng)], [12, 1])[0])
        dates.append(dates[-1] + dt.timedelta(days=rng.choice([1, 1, 1, 3])))
    return make_bars(rows, ticker=ticker, dates=dates[:bars])


def _break(prices: tuple[float, ...], rng: random.Random) -> Bar:
    """Make a bar that no rule may use."""
    values = [*prices, 100.0]
    values[rng.randrange(5)] = rng.choice([float("nan"), float("inf"), -1.0])
    opened, high, low, close, volume = values
    return opened, high, low, close, volume


def read_shared_bars() -> pl.DataFrame:
    """Read the real bars in place, or skip the test where they are absent."""
    return pl.read_parquet(find_shared("daily_bars.parquet"))
