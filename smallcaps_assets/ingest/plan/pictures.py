"""The pictures of a plan: drawn from what is published, kept as files, shown in the UI.

What belongs here: which pictures there are and where they are kept.  What does not: how one looks
(``plots.plan``, which loads matplotlib: where no picture is drawn, nobody waits for it).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from smallcaps_assets.core.budget.costs import Comparison
from smallcaps_assets.core.budget.pilot import Rung
from smallcaps_assets.core.plan.windows import EventWindow
from smallcaps_assets.ingest.plan.publishing import count_by_event
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.settings import PlanMode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_EVENT: Final = "sessions_by_event"
CALENDAR: Final = "planned_sessions"
COMPARISON: Final = "naive_against_optimised"
LADDER: Final = "pilot_ladder"

Figures = Mapping[str, "Figure | None"]
"""A picture by name; ``None``: the plan has none of this name, and an old one goes."""


def draw_plan(record: PlanRecord, plan: pl.DataFrame) -> Figures:
    """Draw a plan: sessions by event, and the calendar of its tickers."""
    from smallcaps_assets.plots.plan import draw_calendar, draw_events  # noqa: PLC0415  as above

    by_event = count_by_event(plan)
    has_windows = record.mode == PlanMode.EVENT_WINDOWS and by_event.height
    windows = {name: EventWindow(*sides) for name, sides in record.windows.items()}
    return {
        BY_EVENT: draw_events(by_event, windows) if has_windows else None,
        CALENDAR: draw_calendar(plan),
    }


def draw_estimate(comparison: Comparison, ladder: Sequence[Rung]) -> Figures:
    """Draw naive against optimised, and the pilot beside other sizes."""
    from smallcaps_assets.plots.plan import draw_comparison, draw_ladder  # noqa: PLC0415  as above

    return {
        COMPARISON: draw_comparison(comparison),
        LADDER: draw_ladder(ladder) if ladder else None,
    }


def publish_pictures(layout: LakeLayout, fs: FileSystem, figures: Figures) -> dict[str, str]:
    """Write pictures below ``reports/`` and return them as Markdown, by name.

    Raises:
        StorageError: The disk refuses.
    """
    from smallcaps_assets.plots.style import embed, render_figure  # noqa: PLC0415  as above

    shown = {}
    for name, figure in figures.items():
        path = layout.picture_file(name)
        if figure is None:
            fs.remove(path)
            continue
        picture = render_figure(figure)
        fs.publish({path: picture}, root=layout.data_dir)
        shown[name] = embed(picture, name.replace("_", " "))
    return shown
