"""Pictures of events: what prints confirm, and which events pay.

What belongs here: from a table to a figure.  What does not: the tables
(``core.research.events``).
"""

from collections.abc import Sequence
from typing import Final

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smallcaps_assets.plots.style import DARK, EDGE, LIGHT

_SHARES: Final = (
    ("confirmed", DARK, ""),
    ("refuted", LIGHT, "//"),
    ("unknown", "white", "xx"),
)
_OUTCOMES: Final = {
    "profit": (DARK, ""),
    "time": (LIGHT, ""),
    "stop": ("#8c510a", "//"),
    "no_entry": ("white", ".."),
    "no_exit": ("white", "--"),
    "no_target": ("white", "\\\\"),
    "cut": ("white", "xx"),
}


def draw_confirmations(years: pl.DataFrame) -> Figure:
    """Draw the share of spikes and crashes that prints confirm, a column a year.

    Args:
        years: ``event, year, confirmed, refuted, unknown``, at least one row.
    """
    events = years["event"].unique(maintain_order=True).to_list()
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, event in zip(figure.subplots(1, len(events), squeeze=False)[0], events, strict=True):
        _draw_years(axes, years.filter(pl.col("event") == event))
        axes.set_title(event)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(_SHARES))
    figure.suptitle("events of daily bars that at least two live prints confirm")
    return figure


def draw_win_rates(rates: pl.DataFrame) -> Figure:
    """Draw the win rate of each event on its side, with both intervals.

    Args:
        rates: ``schemas_research.WIN_RATES`` with at least one decision.
    """
    rows = rates.filter(pl.col("decisions") > 0)
    places = range(rows.height)
    figure = Figure(figsize=(11, 2.2 + 0.42 * rows.height), layout="constrained")
    axes = figure.subplots()
    _draw_intervals(
        axes, rows, ("wilson_low", "wilson_high"), LIGHT, 7, "Wilson, as if independent"
    )
    _draw_intervals(
        axes, rows, ("clustered_low", "clustered_high"), DARK, 2.5, "drawn by entry session"
    )
    axes.plot(rows["win_rate"], places, "o", color="white", markeredgecolor=EDGE, label="win rate")
    axes.axvline(0.5, color=EDGE, linestyle="--", linewidth=0.8)
    axes.set_yticks(places, [_name_row(row) for row in rows.iter_rows(named=True)])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of decisions with a net return above 0; intervals of 95 %")
    axes.set_title("win rate after costs, on the side of the event")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw_outcomes(labels: pl.DataFrame) -> Figure:
    """Draw what became of the decisions of each event, on its side.

    Args:
        labels: ``schemas_research.LABELS``, at least one row.
    """
    own = labels.filter("is_event_side")
    counted = own.group_by("event", "outcome").len()
    events = sorted(own["event"].unique().to_list(), key=lambda name: int(name[1:].split("_")[0]))
    figure = Figure(figsize=(11, 2.2 + 0.36 * len(events)), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(events)
    for outcome, (colour, hatch) in _OUTCOMES.items():
        counts = _look_up(counted.filter(pl.col("outcome") == outcome), events)
        if any(counts):
            axes.barh(
                events, counts, left=left, color=colour, hatch=hatch, edgecolor=EDGE, label=outcome
            )
            left = [a + b for a, b in zip(left, counts, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("decisions")
    axes.set_title("what became of the decisions of each event, on its side")
    figure.legend(loc="outside lower center", ncols=len(_OUTCOMES))
    return figure


def _draw_years(axes: Axes, years: pl.DataFrame) -> None:
    total = years["confirmed"] + years["refuted"] + years["unknown"]
    names = years["year"].cast(pl.String).to_list()
    below = [0.0] * years.height
    for name, colour, hatch in _SHARES:
        shares = (years[name] / total).to_list()
        bars = axes.bar(
            names, shares, bottom=below, color=colour, hatch=hatch, edgecolor=EDGE, label=name
        )
        if name == "confirmed":
            counts = [f"{count:,}" for count in years[name]]
            axes.bar_label(bars, counts, label_type="center", color="white", weight="bold")
        below = [a + b for a, b in zip(below, shares, strict=True)]
    axes.set_xlabel("year; in the column: confirmed events")
    axes.set_ylabel("share of the events")
    axes.set_ylim(0, 1)


def _draw_intervals(
    axes: Axes, rows: pl.DataFrame, ends: tuple[str, str], colour: str, width: float, label: str
) -> None:
    """Draw one line a row; rows without an interval have none."""
    known = rows.with_row_index("place").drop_nulls(list(ends))
    axes.hlines(
        known["place"].to_numpy(),
        known[ends[0]].to_numpy(),
        known[ends[1]].to_numpy(),
        color=colour,
        linewidth=width,
        label=label,
    )


def _name_row(row: dict[str, object]) -> str:
    side = "" if row["side"] == 1 else ", sold"
    return f"{row['event']}{side}  n = {row['decisions']:,}, {row['sessions']:,} sessions"


def _look_up(counted: pl.DataFrame, events: Sequence[str]) -> list[float]:
    counts = dict(counted.select("event", "len").iter_rows())
    return [float(counts.get(event, 0)) for event in events]
