"""The event rules once more, bar by bar in exact fractions: slow, and nothing like the product.

Prices are read as the decimals they print as, so thresholds need no tolerance.
"""

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import polars as pl


@dataclass(frozen=True)
class Bar:
    """One usable bar, as traded."""

    date: dt.date
    o: Fraction
    h: Fraction
    l: Fraction  # noqa: E741  the letters are those of the rules
    c: Fraction
    v: Fraction


Splits = Sequence[tuple[dt.date, Fraction]]
"""Date and shares after for one share before."""


def find_reference_events(
    bars: pl.DataFrame, splits: pl.DataFrame | None = None
) -> list[tuple[str, dt.date, str]]:
    """Return the events of all tickers, sorted as the product sorts them."""
    found = []
    for ticker in sorted(set(bars["ticker"])):
        history = _read_bars(bars.filter(pl.col("ticker") == ticker))
        of_ticker = _read_splits(splits, ticker)
        for t in range(len(history)):
            names = _judge(_adjust(history[: t + 1], of_ticker))
            found += [(ticker, history[t].date, name) for name in names]
    return found


def _read_bars(rows: pl.DataFrame) -> list[Bar]:
    kept = []
    for row in rows.sort("session_date").iter_rows(named=True):
        prices = [row[name] for name in ("open", "high", "low", "close")]
        if not all(math.isfinite(price) and price > 0 for price in prices):
            continue
        if math.isfinite(row["volume"]) and row["volume"] >= 0:
            o, h, low, c = (Fraction(repr(price)) for price in prices)
            kept.append(Bar(row["session_date"], o, h, low, c, Fraction(repr(row["volume"]))))
    return kept


def _read_splits(splits: pl.DataFrame | None, ticker: str) -> Splits:
    if splits is None:
        return []
    rows = splits.filter(pl.col("ticker") == ticker).iter_rows(named=True)
    return [
        (row["execution_date"], Fraction(repr(row["split_to"])) / Fraction(repr(row["split_from"])))
        for row in rows
    ]


def _adjust(history: list[Bar], splits: Splits) -> list[Bar]:
    """Restate the bars in shares of the last one."""
    if not splits:
        return history
    today = history[-1].date
    restated = []
    for bar in history:
        ratio = math.prod((r for date, r in splits if bar.date < date <= today), start=Fraction(1))
        o, h, low, c = (price / ratio for price in (bar.o, bar.h, bar.l, bar.c))
        restated.append(Bar(bar.date, o, h, low, c, bar.v * ratio))
    return restated


def _judge(bars: list[Bar]) -> Iterator[str]:
    """Yield the events of the last bar, in E order."""
    t, bar, before = len(bars) - 1, bars[-1], bars[:-1]
    mean = sum(b.v for b in before[-20:]) / 20 if t >= 20 else Fraction(0)
    streak, previous = _find_streaks(bars)
    gap = (bar.o - before[-1].c) / before[-1].c if before else Fraction(0)
    is_first_red = streak[-1:] == [bar] and len(streak) == 1 and bar.c < bar.o
    is_first_green = streak[-1:] == [bar] and len(streak) == 1 and bar.c > bar.o
    rules = {
        "E1_VolExplosion": mean > 0 and bar.v >= 5 * mean,
        "E2_GapUp": gap >= Fraction("0.10"),
        "E3_PriceSpikeIntraday": (bar.h - bar.o) / bar.o >= Fraction("0.20"),
        "E4_Parabolic": any(bar.c / b.o - 1 >= Fraction("0.50") for b in before[-5:]),
        "E5_BreakoutATH": t >= 252 and bar.c > max(b.c for b in before[-252:]),
        "E6_MultipleGreenDays": bar.c > bar.o and len(streak) >= 3,
        "E7_FirstRedDay": is_first_red and len(previous) >= 3 and _run_up(previous) >= 0.5,
        "E8_GapDownViolent": gap <= Fraction("-0.15"),
        "E9_CrashIntraday": (bar.l - bar.o) / bar.o <= Fraction("-0.30"),
        "E10_FirstGreenBounce": is_first_green and len(previous) >= 3,
        "E11_VolumeBounce": is_first_green
        and len(previous) >= 2
        and mean > 0
        and bar.v >= 3 * mean,
    }
    return (name for name, fires in rules.items() if fires)


def _find_streaks(bars: list[Bar]) -> tuple[list[Bar], list[Bar]]:
    """Return the streak that the newest coloured bar is in, and the one before it."""
    coloured = [bar for bar in bars if bar.c != bar.o]
    streaks: list[list[Bar]] = []
    for bar in reversed(coloured):
        if streaks and (streaks[-1][0].c > streaks[-1][0].o) == (bar.c > bar.o):
            streaks[-1].insert(0, bar)
        elif len(streaks) == 2:
            break
        else:
            streaks.append([bar])
    newest = streaks[0] if streaks and bars[-1].c != bars[-1].o else []
    return newest, streaks[1] if len(streaks) == 2 else []


def _run_up(streak: list[Bar]) -> Fraction:
    return (max(bar.h for bar in streak) - streak[0].o) / streak[0].o
