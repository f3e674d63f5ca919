"""Charts of a plan, as SVG inside Markdown: Dagster's UI shows them without a file.

Readable in black and white: every bar carries its number, panels differ by hatching.
"""

import base64
import io
from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smallcaps_assets.core.figures import GB, KB, MB
from smallcaps_assets.ingest.estimating import PlanEstimate

SIDES = ("naive", "optimised")
COLOURS = ("#bdbdbd", "#225ea8")
HATCHES = ("//", "")
MAX_TICKERS = 40
MAX_LABELLED = 20
"""Tickers whose bars still have room for their numbers."""
SIZES = {"GB": GB, "MB": MB, "KB": KB}
TIMES = {"hours": 1.0, "minutes": 1 / 60, "seconds": 1 / 3600}
"""Units, the largest first, in bytes and in hours."""


def draw_comparison(estimate: PlanEstimate) -> str:
    """Return four panels, naive against optimised: sessions, requests, bytes, hours."""
    naive, optimised = estimate.comparison.naive, estimate.comparison.optimised
    panels = {
        "ticker-sessions": (naive.ticker_sessions, optimised.ticker_sessions),
        "requests": (naive.requests, optimised.requests),
        **_scale("stored, {}", (naive.bytes_stored, optimised.bytes_stored), SIZES),
        **_scale("{} at the request rate", (naive.hours, optimised.hours), TIMES),
    }
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (label, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        _draw_sides(axes, label, values)
    return embed(figure, "naive against optimised")


def draw_tickers(estimate: PlanEstimate) -> str:
    """Return sessions and requests per ticker, the largest first."""
    ranked = (
        estimate.ranges.group_by("ticker")
        .agg(sessions=pl.col("session_count").sum(), ranges=pl.len())
        .sort("sessions", "ticker", descending=[True, False])
        .head(MAX_TICKERS)
    )
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots()
    for column, label, width, style in zip(
        ("sessions", "ranges"), ("sessions", "request ranges"), (0.8, 0.5), range(2), strict=True
    ):
        bars = axes.bar(
            ranked["ticker"],
            ranked[column],
            width=width,
            color=COLOURS[style],
            hatch=HATCHES[style],
            edgecolor="black",
            label=label,
        )
        if ranked.height <= MAX_LABELLED:
            axes.bar_label(bars, padding=2)
    axes.set_ylabel("count")
    axes.set_xlabel("ticker")
    axes.margins(y=0.15)
    axes.tick_params(axis="x", rotation=90)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return embed(figure, "sessions and request ranges per ticker")


def embed(figure: Figure, title: str) -> str:
    """Return a figure as a Markdown image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![{title}](data:image/svg+xml;base64,{text})"


def _scale(
    label: str, values: tuple[float, float], units: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the panel of ``values`` in the largest unit that the greater one reaches."""
    fitting = [name for name, size in units.items() if max(values) >= size]
    name = fitting[0] if fitting else list(units)[-1]
    return {label.format(name): (values[0] / units[name], values[1] / units[name])}


def _draw_sides(axes: Axes, label: str, values: Sequence[float]) -> None:
    bars = axes.bar(SIDES, values, color=COLOURS, hatch=HATCHES, edgecolor="black")
    axes.bar_label(bars, labels=[f"{value:,.4g}" for value in values], padding=2)
    axes.set_ylabel(label)
    axes.margins(y=0.15)
