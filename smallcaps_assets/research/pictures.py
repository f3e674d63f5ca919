"""The pictures of events and labels, drawn from what is stored.

What belongs here: which pictures there are.  What does not: how one looks
(``plots.research.events``, which loads matplotlib: where no picture is drawn, nobody waits for it),
and where it is kept (``ingest.plan.pictures``).
"""

from typing import TYPE_CHECKING

import polars as pl

from smallcaps_assets.research.events import count_years
from smallcaps_assets.research.ground import Ground
from smallcaps_assets.schemas_research import INTRADAY_EVENTS, LABELS, WIN_RATES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_events(ground: Ground) -> "dict[str, Figure]":
    """Draw what prints confirm; nothing where there is no spike and no crash.

    Raises:
        MissingPartitionError: The table was not made yet.
    """
    from smallcaps_assets.plots.research.events import draw_confirmations  # noqa: PLC0415  as above

    years = count_years(ground.read(INTRADAY_EVENTS))
    return {"confirmed_events": draw_confirmations(years)} if years.height else {}


def draw_labels(ground: Ground) -> "dict[str, Figure]":
    """Draw win rates and outcomes by event; nothing where there is no label.

    Raises:
        MissingPartitionError: The tables were not made yet.
    """
    from smallcaps_assets.plots.research.events import draw_outcomes, draw_win_rates  # noqa: PLC0415

    rates, labels = ground.read(WIN_RATES), ground.read(LABELS)
    figures: dict[str, Figure] = {}
    if rates.filter(pl.col("decisions") > 0).height:
        figures["win_rates"] = draw_win_rates(rates)
    if labels.height:
        figures["label_outcomes"] = draw_outcomes(labels)
    return figures
