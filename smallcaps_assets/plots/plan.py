"""Pictures of a plan: what is asked for, what it costs, what other sizes would cost.

What belongs here: from numbers to a figure.  What does not: how it looks (``style``), where the
numbers come from and where a picture is kept (``ingest.plan.pictures``).

Readable in black and white and by colour-blind people: lightness grows with the value, neighbours
differ by hatching, bars carry their number, axes carry their unit.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smallcaps_assets.core.budget.costs import Comparison
from smallcaps_assets.core.budget.pilot import Rung
from smallcaps_assets.core.figures import GB, KB, MB, format_bytes
from smallcaps_assets.core.keys import month_expression
from smallcaps_assets.core.plan.windows import EventWindow
from smallcaps_assets.core.sessions import list_months, session_range
from smallcaps_assets.plots.style import (
    COLOUR_MAP,
    DARK,
    EDGE,
    HATCHES,
    LIGHT,
    format_count,
    label_months,
    scale_values,
)

MAX_TICKERS: Final = 40
"""Rows of the calendar: more of them could not be read."""


SIZES: Final = {"GB": GB, "MB": MB, "KB": KB}
TIMES: Final = {"hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600}
"""Units, the largest first, in bytes and in hours."""

_FAR: Final = 1.5
"""Times the longest bar, beyond which a limit is only told."""


def draw_events(sessions: pl.DataFrame, windows: Mapping[str, EventWindow]) -> Figure:
    """Draw the ticker-sessions of each event, coloured by the width of its window.

    Args:
        sessions: ``event, sessions``, in the order to show.
        windows: Windows that the plan was made with.
    """
    widths = [windows[event].size for event in sessions["event"]]
    styles = _style_widths(widths)
    figure = Figure(figsize=(11, 1.6 + 0.32 * sessions.height), layout="constrained")
    axes = figure.subplots()
    placed = sessions.with_columns(width=pl.Series(widths)).with_row_index("place")
    for width, (colour, hatch) in styles.items():
        rows = placed.filter(pl.col("width") == width)
        bars = axes.barh(
            rows["place"],
            rows["sessions"],
            color=colour,
            hatch=hatch,
            edgecolor=EDGE,
            label=f"{width} sessions",
        )
        axes.bar_label(bars, labels=[f"{count:,}" for count in rows["sessions"]], padding=3)
    axes.set_yticks(range(sessions.height), sessions["event"])
    axes.invert_yaxis()
    axes.set_xlabel("planned ticker-sessions; one that several events ask for counts for each")
    axes.set_ylabel("event")
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(format_count)
    figure.legend(title="width of the window", loc="outside right upper", frameon=False)
    return figure


def draw_years(ticker_months: pl.DataFrame) -> Figure:
    """Draw the ticker-months of each year: how many tickers lived in a month of it.

    Args:
        ticker_months: ``year, ticker_months``, in the order to show.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots()
    years = [str(year) for year in ticker_months["year"]]
    bars = axes.bar(years, ticker_months["ticker_months"], color=DARK, edgecolor=EDGE)
    labels = [f"{count:,}" for count in ticker_months["ticker_months"]]
    axes.bar_label(bars, labels=labels, padding=2, fontsize="x-small", rotation=45)
    axes.set_xlabel("year")
    axes.set_ylabel("planned ticker-months")
    axes.margins(y=0.2)
    axes.yaxis.set_major_formatter(format_count)
    return figure


def draw_batches(sessions: pl.DataFrame) -> Figure:
    """Draw the ticker-sessions of each batch: what its units fetch together.

    Args:
        sessions: ``batch, sessions``, in the order to show.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.bar(sessions["batch"], sessions["sessions"], width=1.0, color=LIGHT, edgecolor=EDGE)
    axes.set_xlabel("batch")
    axes.set_ylabel("planned ticker-sessions")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(format_count)
    return figure


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw naive against optimised in three panels: sessions, bytes, time."""
    naive, optimised = comparison.naive, comparison.optimised
    sizes, size_unit = scale_values((naive.bytes_stored, optimised.bytes_stored), SIZES)
    times, time_unit = scale_values((naive.hours, optimised.hours), TIMES)
    panels = {
        "sessions": ("ticker-sessions", (naive.ticker_sessions, optimised.ticker_sessions)),
        "bytes": (f"stored, {size_unit}", sizes),
        "time": (f"{time_unit} of download", times),
    }
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (title, (unit, values)) in zip(
        figure.subplots(1, len(panels)), panels.items(), strict=True
    ):
        bars = axes.bar(
            ("naive", "optimised"),
            values,
            color=(LIGHT, DARK),
            hatch=("//", ""),
            edgecolor=EDGE,
            width=0.6,
        )
        labels = [f"{value:,.4g}" for value in values]
        if title == "time":
            requests = (naive.requests, optimised.requests)
            labels = [f"{text}\n{n:,} requests" for text, n in zip(labels, requests, strict=True)]
        axes.bar_label(bars, labels=labels, padding=2, fontsize="small")
        axes.set_title(title)
        axes.set_ylabel(unit)
        axes.margins(y=0.3)  # room for the numbers of the bars
        axes.yaxis.set_major_formatter(format_count)
    return figure


def draw_ladder(ladder: Sequence[Rung]) -> Figure:
    """Draw what pilots of several sizes cost: sessions, bytes against the disk, time."""
    figure = Figure(figsize=(11, 1.8 + 0.55 * len(ladder)), layout="constrained")
    sessions, sizes, times = figure.subplots(1, 3, sharey=True)
    places = range(len(ladder))
    _draw_rung_sessions(sessions, ladder)
    stored, size_unit = scale_values([rung.verdict.needed_bytes for rung in ladder], SIZES)
    bars = sizes.barh(places, stored, color=DARK, edgecolor=EDGE, height=0.6)
    for bar, rung in zip(bars, ladder, strict=True):
        if not rung.verdict.fits:
            bar.set(facecolor="white", hatch="xx")
    words = ["fits" if rung.verdict.fits else "too much" for rung in ladder]
    labels = [f"{value:,.4g} {word}" for value, word in zip(stored, words, strict=True)]
    _label_rungs(sizes, "bytes on the disk", f"needed, {size_unit}", [(bars, labels)])
    _draw_limit(sizes, ladder[0].verdict.allowed_bytes, SIZES[size_unit], max(stored))
    hours, time_unit = scale_values([rung.hours for rung in ladder], TIMES)
    bars = times.barh(places, hours, color=DARK, edgecolor=EDGE, height=0.6)
    labels = [
        f"{value:,.4g}\n{rung.requests:,} requests"
        for value, rung in zip(hours, ladder, strict=True)
    ]
    _label_rungs(times, "time", f"{time_unit} of download", [(bars, labels)])
    sessions.set_yticks(places, [f"{rung.tickers:,}" for rung in ladder])
    sessions.set_ylabel("tickers of the pilot")
    sessions.invert_yaxis()
    return figure


def draw_calendar(plan: pl.DataFrame) -> Figure:
    """Draw how many sessions of each month are planned, a row a ticker.

    Args:
        plan: At least one ``ticker, session_date``; tickers with the most sessions are shown.
    """
    counts, tickers = _count_months(plan)
    months = counts.columns[1:]
    figure = Figure(figsize=(11, 2.4 + 0.24 * counts.height), layout="constrained")
    axes = figure.subplots()
    grid = counts.select(months).to_numpy().astype(float)
    grid[grid == 0] = float("nan")
    image = axes.imshow(grid, aspect="auto", cmap=COLOUR_MAP, vmin=0, interpolation="nearest")
    axes.set_yticks(range(counts.height), counts["ticker"])
    axes.set_ylabel("ticker")
    label_months(axes, months)
    some = f", the {counts.height} of {tickers:,} tickers with the most of them"
    axes.set_title(f"planned sessions{some if counts.height < tickers else ''}; white: none")
    figure.colorbar(
        image,
        ax=axes,
        label="sessions of the month",
        pad=0.01,
        ticks=MaxNLocator(integer=True),
    )
    return figure


def _style_widths(widths: Sequence[int]) -> dict[int, tuple[tuple[float, ...], str]]:
    """Choose colour and hatch of each width, wider ones darker."""
    distinct = sorted(set(widths))
    steps = max(1, len(distinct) - 1)
    return {
        width: (COLOUR_MAP(0.15 + 0.7 * place / steps), HATCHES[place % len(HATCHES)])
        for place, width in enumerate(distinct)
    }


def _draw_rung_sessions(axes: Axes, ladder: Sequence[Rung]) -> None:
    """Draw sessions asked for beside unique ones."""
    sides = {
        "asked for": ([rung.ticker_sessions for rung in ladder], LIGHT, "//", -0.2),
        "unique": ([rung.unique_ticker_sessions for rung in ladder], DARK, "", 0.2),
    }
    drawn = []
    for label, (values, colour, hatch, shift) in sides.items():
        bars = axes.barh(
            [place + shift for place in range(len(ladder))],
            values,
            height=0.4,
            color=colour,
            hatch=hatch,
            edgecolor=EDGE,
        )
        drawn.append((bars, [f"{value:,} {label}" for value in values]))
    _label_rungs(axes, "sessions", "ticker-sessions", drawn)


def _draw_limit(axes: Axes, allowed_bytes: int, unit: float, highest: float) -> None:
    """Draw what the disk allows; far above the bars it is told in words."""
    allowed = allowed_bytes / unit
    axes.set_title(f"bytes on the disk (allowed: {format_bytes(allowed_bytes)})")
    if allowed <= _FAR * highest:
        axes.axvline(allowed, color=EDGE, linestyle="--", zorder=0.5)


def _label_rungs(
    axes: Axes, title: str, unit: str, drawn: Sequence[tuple[BarContainer, Sequence[str]]]
) -> None:
    """Add title, unit and the numbers of horizontal bars, with room for them."""
    axes.set_title(title)
    axes.set_xlabel(unit)
    for bars, labels in drawn:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.bar_label(bars, labels=labels, padding=3, fontsize="small", bbox=box)
    axes.margins(x=0.6)
    axes.xaxis.set_major_formatter(format_count)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _count_months(plan: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Count sessions by ``ticker``, with a column per month, and how many tickers there are."""
    ranked = plan.group_by("ticker").len().sort("len", "ticker", descending=[True, False])
    labelled = plan.join(ranked.head(MAX_TICKERS), on="ticker", how="semi").select(
        "ticker", month=month_expression()
    )
    counted = labelled.pivot(
        "month", index="ticker", values="month", aggregate_function="len"
    ).fill_null(0)
    names = list_months(*session_range(plan))
    lacking = [pl.lit(0, pl.UInt32).alias(name) for name in names if name not in counted.columns]
    shown = ranked.head(MAX_TICKERS).select("ticker")
    wide = shown.join(counted, on="ticker", maintain_order="left").with_columns(lacking)
    return wide.select("ticker", *names), ranked.height
