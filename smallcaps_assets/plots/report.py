"""Pictures of a report: what is covered, what it takes, how good the estimates were, what failed.

What belongs here: from figures to a drawing, in the style of ``style``.  What does not: where
figures come from (``operations.report.publishing``) and the page around them
(``operations.report.page``).

A picture stays readable however large the lake is: beyond some rows the rest is one row.
"""

import datetime as dt
from typing import Final

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter

from smallcaps_assets.core.figures import GB, KB, MB, format_bytes
from smallcaps_assets.core.keys import month_expression
from smallcaps_assets.core.sessions import list_months, session_range
from smallcaps_assets.core.ticks.phases import PHASES
from smallcaps_assets.core.ticks.profile import QUARTER_MIN, QUARTERS
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

MAX_ROWS: Final = 40
"""Tickers of a picture; the others share a row."""
MAX_KINDS: Final = 5
"""Kinds of failures of a picture; the others share a colour."""
_WIDE_RATIO: Final = 500
"""Largest over smallest value, beyond which only powers of ten are labelled."""
WIDTH_IN: Final = 11.0
SIZES: Final = {"GB": GB, "MB": MB, "KB": KB, "bytes": 1}
PHASE_COLOURS: Final = dict(zip(PHASES, ("#fdae61", DARK, "#7b3294", "#cfcfcf"), strict=True))
MAX_TIMES: Final = 8
"""Labels of the axis of time."""
BINS: Final = (
    ("hour", "1h", "%m-%d %H:00", 4),
    ("day", "1d", "%Y-%m-%d", 150),
    ("week", "1w", "%Y-%m-%d", 1_000),
    ("month", "1mo", "%Y-%m", 10**6),
)
"""Bars over time: name, width and label of one, and the longest span of days that each suits."""


def draw_coverage(states: pl.DataFrame) -> Figure:
    """Draw the share of planned sessions that are green, a row a ticker, a column a month.

    Args:
        states: At least one ``ticker``, ``session_date`` and ``is_green``.  Tickers with the most
            missing sessions come first.
    """
    shares, others = _share_months(states)
    months = shares.columns[1:]
    figure = Figure(figsize=(WIDTH_IN, 2.4 + 0.24 * shares.height), layout="constrained")
    axes = figure.subplots()
    grid = shares.select(months).to_numpy().astype(float)
    image = axes.imshow(grid, aspect="auto", cmap=COLOUR_MAP, vmin=0, vmax=1, interpolation="none")
    holes = [
        (column, row)
        for row, values in enumerate(grid)
        for column, value in enumerate(values)
        if value < 1
    ]
    axes.scatter(
        [column for column, _ in holes],
        [row for _, row in holes],
        marker="x",
        s=min(36.0, 3_000 / len(months)),
        color="#ff5a00",
        linewidths=1.2,
    )
    axes.set_yticks(range(shares.height), map(_escape, shares["ticker"]))
    axes.set_ylabel("ticker")
    label_months(axes, months)
    rest = f"; {others:,} more tickers in the last row" if others else ""
    axes.set_title(
        f"share of planned sessions that are stored{rest}\norange cross: some are missing"
    )
    colours = figure.colorbar(image, ax=axes, label="share stored", pad=0.01, aspect=40)
    colours.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def draw_sizes(sizes: pl.DataFrame) -> Figure:
    """Draw the bytes stored of each ticker, the largest first.

    Args:
        sizes: At least one ``ticker``, ``bytes`` and ``sessions``.
    """
    ranked = sizes.sort("bytes", "ticker", descending=[True, False])
    shown = ranked.head(MAX_ROWS)
    rest = ranked.slice(MAX_ROWS)
    if rest.height:
        others = rest.select(
            ticker=pl.lit(f"{rest.height:,} others"),
            bytes=pl.col("bytes").sum(),
            sessions=pl.col("sessions").sum(),
        )
        shown = pl.concat([shown, others.head(1)], how="vertical_relaxed")
    values, unit = scale_values(shown["bytes"].to_list(), SIZES)
    figure = Figure(figsize=(WIDTH_IN, 1.6 + 0.26 * shown.height), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(shown.height), values, color=DARK, edgecolor=EDGE)
    labels = [
        f"{format_bytes(size)} in {sessions:,} sessions"
        for size, sessions in shown.select("bytes", "sessions").iter_rows()
    ]
    axes.bar_label(bars, labels=labels, padding=3, fontsize="small")
    axes.set_yticks(range(shown.height), map(_escape, shown["ticker"]))
    axes.invert_yaxis()
    axes.margins(x=0.25, y=0.01)
    axes.set_ylabel("ticker")
    axes.set_xlabel(f"stored, {unit}")
    axes.xaxis.set_major_formatter(format_count)
    return figure


def draw_reality(by_ticker: pl.DataFrame, tolerance: float) -> Figure:
    """Draw how far what landed is from what was estimated of it: in total, and by ticker.

    Args:
        by_ticker: At least one row of ``EstimateAndReality.by_ticker``.
        tolerance: Distance tolerated, over the estimate.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.6), layout="constrained")
    total, tickers = figure.subplots(1, 2, width_ratios=(2, 3))
    _draw_deviations(total, by_ticker, tolerance)
    sized = by_ticker.filter((pl.col("estimated_bytes") > 0) & (pl.col("bytes") > 0))
    every = [*sized["estimated_bytes"], *sized["bytes"]] or [1]
    _, unit = scale_values(every, SIZES)
    ends = [min(every) / SIZES[unit] / 2, max(every) / SIZES[unit] * 2]
    tickers.plot(ends, ends, color=EDGE, linewidth=1, label="as estimated")
    low, high = ([end * (1 + sign * tolerance) for end in ends] for sign in (-1, 1))
    tickers.fill_between(ends, low, high, color=LIGHT, label=f"within {tolerance:.0%}")
    tickers.scatter(
        sized["estimated_bytes"] / SIZES[unit],
        sized["bytes"] / SIZES[unit],
        color=DARK,
        edgecolor="white",
        zorder=3,
        label="a ticker",
    )
    tickers.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    is_wide = ends[1] > _WIDE_RATIO * ends[0]
    subs = (1.0,) if is_wide else (1.0, 2.0, 5.0)
    for axis in (tickers.xaxis, tickers.yaxis):
        axis.set_major_locator(LogLocator(subs=subs, numticks=8))
        axis.set_major_formatter(format_count)
        axis.set_minor_locator(NullLocator())
    tickers.set_xlabel(f"estimated, {unit}")
    tickers.set_ylabel(f"stored, {unit}")
    tickers.set_title("bytes of each ticker")
    tickers.legend(loc="upper left", frameon=False)
    return figure


def draw_profile(profile: pl.DataFrame, sessions: int) -> Figure:
    """Draw trades of a session by quarter of an hour, New York time, coloured by phase.

    Args:
        profile: At least one row of ``core.profile.PROFILE``.
        sessions: Sessions that it sums.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
    axes = figure.subplots()
    for place, phase in enumerate(PHASES):
        rows = profile.filter(pl.col("trading_phase") == phase)
        if rows.is_empty():
            continue
        axes.bar(
            rows["quarter"].cast(pl.Float64) + 0.5,
            rows["trades"] / sessions,
            width=0.92,
            color=PHASE_COLOURS[phase],
            hatch=HATCHES[place],
            edgecolor=EDGE,
            linewidth=0.5,
            label=f"{phase.replace('_', ' ')}: {rows['trades'].sum():,} trades",
            alpha=0.9,
        )
    axes.set_yscale("log")
    axes.set_xlim(0, QUARTERS)
    per_hour = 60 // QUARTER_MIN
    hours = range(0, 25, 2)
    axes.set_xticks([hour * per_hour for hour in hours], [f"{hour:02}:00" for hour in hours])
    axes.set_xlabel("New York time; a bar is 15 minutes; on early closes phases end earlier")
    axes.set_ylabel("trades of a session, mean (log)")
    axes.yaxis.set_major_formatter(format_count)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=LIGHT)
    figure.legend(loc="outside upper center", ncols=len(PHASES), frameon=False)
    return figure


def draw_failures(attempts: pl.DataFrame) -> Figure:
    """Draw attempts that failed over time, by kind.

    Args:
        attempts: ``hour``, ``kind`` (empty: it succeeded) and ``attempts``; at least one failed.
    """
    first, last = attempts.select(first=pl.col("hour").min(), last=pl.col("hour").max()).row(0)
    name, width, layout, _ = next(one for one in BINS if (last - first).days < one[3])
    starts = _list_starts(first, last, width)
    failed = _name_rare(attempts.filter(pl.col("kind") != "")).with_columns(
        start=pl.col("hour").dt.truncate(width)
    )
    counts = failed.group_by("kind", "start").agg(pl.col("attempts").sum())
    kinds = failed.group_by("kind").agg(pl.col("attempts").sum()).sort("attempts", "kind")
    figure = Figure(figsize=(WIDTH_IN, 3.8), layout="constrained")
    axes = figure.subplots()
    bottom = pl.zeros(starts.height, eager=True)
    for place, (kind, count) in enumerate(kinds.reverse().iter_rows()):
        own = counts.filter(pl.col("kind") == kind)
        heights = starts.join(own, on="start", how="left")["attempts"].fill_null(0)
        axes.bar(
            range(starts.height),
            heights,
            bottom=bottom,
            width=0.9,
            color=COLOUR_MAP(0.15 + 0.7 * place / max(1, kinds.height - 1)),
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor=EDGE,
            linewidth=0.5,
            label=f"{kind}: {count:,}",
        )
        bottom = bottom + heights
    step = -(-starts.height // MAX_TIMES)
    labels = starts["start"].dt.to_string(layout).gather_every(step)
    axes.set_xticks(range(0, starts.height, step), labels)
    axes.set_xlim(-1, starts.height)
    axes.set_ylim(0, 1.08 * max(bottom.to_list()))
    axes.set_xlabel(f"UTC, {name} by {name}, from the first attempt to the last")
    axes.set_ylabel("failed attempts")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _share_months(states: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Measure the share green of each ``ticker`` and month, and how many share the last row."""
    ranked = (
        states.group_by("ticker")
        .agg(missing=(~pl.col("is_green")).sum(), planned=pl.len())
        .sort("missing", "planned", "ticker", descending=[True, True, False])
    )
    shown = ranked["ticker"].head(MAX_ROWS)
    others = ranked.height - len(shown)
    rest = f"{others:,} others"
    is_shown = pl.col("ticker").is_in(shown.implode())
    counted = states.group_by(
        pl.when(is_shown).then("ticker").otherwise(pl.lit(rest)).alias("ticker"),
        month=month_expression(),
    ).agg(share=pl.col("is_green").mean())
    wide = counted.pivot("month", index="ticker", values="share")
    names = list_months(*session_range(states))
    lacking = [pl.lit(None, pl.Float64).alias(name) for name in names if name not in wide.columns]
    order = pl.DataFrame({"ticker": [*shown, *([rest] if others else [])]})
    ordered = order.join(wide, on="ticker", maintain_order="left").with_columns(lacking)
    return ordered.select("ticker", *names), others


def _draw_deviations(axes: Axes, by_ticker: pl.DataFrame, tolerance: float) -> None:
    """Draw the distance of trades, bytes and requests from their estimates, in total."""
    named = {"trades": "rows", "bytes": "bytes", "requests": "requests"}
    sums = by_ticker.select(pl.exclude("ticker").sum()).row(0, named=True)
    known = {
        name: sums[column] / sums[f"estimated_{column}"] - 1
        for name, column in named.items()
        if sums[f"estimated_{column}"]
    }
    bars = axes.bar(list(known), list(known.values()), color=DARK, edgecolor=EDGE, width=0.6)
    axes.bar_label(bars, labels=[f"{value:+.1%}" for value in known.values()], padding=3)
    axes.axhspan(-tolerance, tolerance, color=LIGHT, zorder=0)
    axes.axhline(0, color=EDGE, linewidth=1)
    reach = max([tolerance, *map(abs, known.values())]) * 1.3
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel(f"reality over estimate, less 1 (grey: within {tolerance:.0%})")
    axes.set_title("in total")


def _name_rare(failed: pl.DataFrame) -> pl.DataFrame:
    """Give the kinds beyond the most frequent ones one name."""
    ranked = failed.group_by("kind").agg(pl.col("attempts").sum()).sort("attempts", "kind")
    common = ranked.reverse()["kind"].head(MAX_KINDS)
    kind = pl.when(pl.col("kind").is_in(common.implode())).then("kind").otherwise(pl.lit("others"))
    return failed.with_columns(kind.alias("kind"))


def _list_starts(first: dt.datetime, last: dt.datetime, width: str) -> pl.DataFrame:
    """List in the column ``start`` every bin from the first attempt to the last."""
    ends = pl.Series("start", [first, last]).dt.truncate(width)
    return pl.datetime_range(ends[0], ends[1], width, eager=True).alias("start").to_frame()


def _escape(ticker: str) -> str:
    """Escape a ticker for matplotlib, which else takes dollars for formulas."""
    return ticker.replace("$", r"\$")
