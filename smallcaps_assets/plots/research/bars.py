"""Pictures of bars: a session with its halts, and how long imbalance bars are.

What belongs here: from tables to a figure.  What does not: the tables (``core.research``).
"""

from typing import Final

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.research.information_bars import LONGEST, SHORTEST
from smallcaps_assets.plots.style import DARK, EDGE, HATCHES, LIGHT

SHOWN_TICKERS: Final = 40
"""Rows of a picture: more of them could not be read."""
NS_AN_HOUR: Final = 3_600_000_000_000


def draw_session(bars: pl.DataFrame, halts: pl.DataFrame) -> Figure:
    """Draw price and signed volume of a session's minutes, with its halts.

    Args:
        bars: ``schemas_research.MINUTE_BARS`` of one session, at least one row.
        halts: ``schemas_research.HALTS`` of it.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    prices, flow = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    opening = bars["minute"].to_physical()[0]
    hours = _measure_hours(bars["minute"], opening)
    priced = bars.with_columns(hour=hours).filter(pl.col("close").is_not_null())
    prices.vlines(priced["hour"], priced["low"], priced["high"], color=LIGHT, linewidth=2)
    prices.plot(priced["hour"], priced["close"], color=DARK, linewidth=1)
    _draw_halts(prices, halts, opening)
    signed = bars["tick_rule_buy_volume"] - bars["tick_rule_sell_volume"]
    flow.bar(hours, signed / 1_000, width=1 / 60, color=DARK)
    flow.axhline(0, color=EDGE, linewidth=0.5)
    prices.set_ylabel("USD; grey: range of the minute")
    flow.set_ylabel("1,000 shares")
    flow.set_title("bought less sold by the tick rule", fontsize="medium")
    flow.set_xlabel(f"hours since {bars['minute'][0]:%H:%M} UTC")
    ticker, date = bars.select("ticker", "session_date").row(0)
    prices.set_title(
        f"{ticker}, {date}: {bars['trade_count'].sum():,} trades in {bars.height:,} minutes, "
        f"{format_count(halts.height, 'halt')}"
    )
    return figure


def draw_bar_lengths(lengths: pl.DataFrame) -> Figure:
    """Draw how long imbalance bars are, over the wanted length, by ticker and kind.

    Args:
        lengths: ``information_bars.measure_bar_lengths``, at least one row.
    """
    tickers = lengths["ticker"].unique(maintain_order=True).head(SHOWN_TICKERS)
    places = {ticker: place for place, ticker in enumerate(tickers)}
    kinds = sorted(lengths["kind"].unique())
    figure = Figure(figsize=(11, 2.2 + 0.28 * len(places)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        rows = lengths.filter(pl.col("kind") == kind, pl.col("ticker").is_in(tickers.implode()))
        axes.barh(
            [places[ticker] + number * height for ticker in rows["ticker"]],
            rows["length_ratio"],
            height=height,
            color=DARK if number == 0 else LIGHT,
            hatch=HATCHES[number],
            edgecolor=EDGE,
            label=kind,
        )
    for bound in (SHORTEST, LONGEST):
        axes.axvline(bound, color=EDGE, linestyle="--")
    axes.axvline(1, color=EDGE, linewidth=0.8)
    axes.set_yticks(range(len(places)), list(places))
    axes.invert_yaxis()
    axes.set_ylabel("ticker, the worst first")
    axes.set_xlabel("mean prints of a bar over those wanted; dashed: bounds of the check")
    figure.legend(loc="outside lower center", ncols=len(kinds), frameon=False)
    return figure


def _measure_hours(instants: pl.Series, opening: int) -> pl.Series:
    return (instants.to_physical() - opening) / NS_AN_HOUR


def _draw_halts(axes: Axes, halts: pl.DataFrame, opening: int) -> None:
    """Shade the halts."""
    starts, ends = (_measure_hours(halts[name], opening) for name in ("start", "end"))
    for start, end in zip(starts, ends, strict=True):
        axes.axvspan(start, end, facecolor="none", edgecolor=EDGE, hatch="//", linewidth=0.5)
