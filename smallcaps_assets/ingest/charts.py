"""Charts of a plan, as SVG inside Markdown: Dagster's UI shows them without a file.

Readable in black and white: every bar carries its number, panels differ by hatching.
"""

import base64
import io
from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smallcaps_assets.core.figures import GB
from smallcaps_assets.ingest.planning import PlanEstimate

SIDES = ("naive", "optimised")
COLOURS = ("#bdbdbd", "#225ea8")
HATCHES = ("//", "")
MAX_TICKERS = 40


def draw_comparison(estimate: PlanEstimate) -> str:
    """Return three panels, naive against optimised: sessions, requests, hours."""
    naive, optimised = estimate.comparison.naive, estimate.comparison.optimised
    panels = {
        "ticker-sessions": (naive.ticker_sessions, optimised.ticker_sessions),
        "requests": (naive.requests, optimised.requests),
        "stored, GB": (naive.bytes_stored / GB, optimised.bytes_stored / GB),
        "hours at the request rate": (naive.hours, optimised.hours),
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
    axes.bar(ranked["ticker"], ranked["sessions"], color=COLOURS[0], label="sessions")
    axes.bar(
        ranked["ticker"], ranked["ranges"], color=COLOURS[1], label="request ranges", width=0.5
    )
    axes.set_ylabel("count")
    axes.set_xlabel("ticker")
    axes.tick_params(axis="x", rotation=90)
    axes.legend()
    return embed(figure, "sessions and request ranges per ticker")


def embed(figure: Figure, title: str) -> str:
    """Return a figure as a Markdown image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"![{title}](data:image/svg+xml;base64,{text})"


def _draw_sides(axes: Axes, label: str, values: Sequence[float]) -> None:
    bars = axes.bar(SIDES, values, color=COLOURS, hatch=HATCHES, edgecolor="black")
    axes.bar_label(bars, labels=[f"{value:,.4g}" for value in values], padding=2)
    axes.set_ylabel(label)
    axes.margins(y=0.15)
