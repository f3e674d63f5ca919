"""The pictures of events and labels: drawn from what is stored, kept as files, shown in the UI.

What belongs here: which pictures there are.  What does not: how one looks
(``plots.research.events``, which loads matplotlib: where no picture is drawn, nobody waits for it).
"""

from typing import TYPE_CHECKING

import polars as pl

from smallcaps_assets.research.events import count_years
from smallcaps_assets.research.ground import Ground
from smallcaps_assets.schemas_research import INTRADAY_EVENTS, LABELS, WIN_RATES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture_events(ground: Ground) -> dict[str, str]:
    """Draw what prints confirm; nothing where there is no spike and no crash.

    Raises:
        MissingPartitionError: The table was not made yet.
        StorageError: The disk refuses.
    """
    from smallcaps_assets.plots.research.events import draw_confirmations  # noqa: PLC0415  as above

    years = count_years(ground.read(INTRADAY_EVENTS))
    return publish(ground, {"confirmed_events": draw_confirmations(years)} if years.height else {})


def picture_labels(ground: Ground) -> dict[str, str]:
    """Draw win rates and outcomes by event; nothing where there is no label.

    Raises:
        MissingPartitionError: The tables were not made yet.
        StorageError: The disk refuses.
    """
    from smallcaps_assets.plots.research.events import draw_outcomes, draw_win_rates  # noqa: PLC0415

    rates, labels = ground.read(WIN_RATES), ground.read(LABELS)
    figures: dict[str, Figure] = {}
    if rates.filter(pl.col("decisions") > 0).height:
        figures["win_rates"] = draw_win_rates(rates)
    if labels.height:
        figures["label_outcomes"] = draw_outcomes(labels)
    return publish(ground, figures)


def publish(ground: Ground, figures: "dict[str, Figure]") -> dict[str, str]:
    """Write pictures below ``reports/`` and return them as Markdown, by name.

    Raises:
        StorageError: The disk refuses.
    """
    from smallcaps_assets.plots.style import embed, render_figure  # noqa: PLC0415  as above

    layout, fs = ground.store.layout, ground.store.fs
    shown = {}
    for name, figure in figures.items():
        picture = render_figure(figure)
        fs.make_folders(layout.reports_dir, root=layout.data_dir)
        fs.publish({layout.picture_file(name): picture}, root=layout.data_dir)
        shown[name] = embed(picture, name.replace("_", " "))
    return shown
