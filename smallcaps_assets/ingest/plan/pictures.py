"""The pictures of a plan: drawn from what is published, kept as files, shown in the UI.

What belongs here: which pictures there are and where they are kept.  What does not: how one looks
(``plots.plan``, which loads matplotlib: where no picture is drawn, nobody waits for it).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from smallcaps_assets.core.plan.windows import EventWindow
from smallcaps_assets.ingest.budget.estimates import PlanEstimate
from smallcaps_assets.ingest.events.pilot import take_pilot
from smallcaps_assets.ingest.plan.publishing import count_by_event
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import WATCHLIST
from smallcaps_assets.settings import PlanMode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_EVENT: Final = "sessions_by_event"
CALENDAR: Final = "planned_sessions"
COMPARISON: Final = "naive_against_optimised"
LADDER: Final = "pilot_ladder"

Figures = Mapping[str, "Figure | None"]
"""A picture by name; ``None``: the plan has none of this name, and an old one goes."""


def draw_plan(lakehouse: Lakehouse) -> Figures:
    """Draw the published plan: sessions by event, and the calendar of its tickers.

    Raises:
        MissingPartitionError: No plan is published.
    """
    from smallcaps_assets.plots.plan import draw_calendar, draw_events  # noqa: PLC0415  as above

    record, plan = lakehouse.tables.read_plan()
    by_event = count_by_event(plan)
    has_windows = record.mode == PlanMode.EVENT_WINDOWS and by_event.height
    windows = {name: EventWindow(*sides) for name, sides in record.windows.items()}
    return {
        BY_EVENT: draw_events(by_event, windows) if has_windows else None,
        CALENDAR: draw_calendar(plan),
    }


def draw_estimate(lakehouse: Lakehouse, estimate: PlanEstimate) -> Figures:
    """Draw naive against optimised, and the pilot beside other sizes.

    Raises:
        MissingPartitionError: No watchlist is published, in a mode that needs one.
    """
    from smallcaps_assets.plots.plan import draw_comparison, draw_ladder  # noqa: PLC0415  as above

    is_plain = lakehouse.settings.plan_mode is PlanMode.SESSIONS
    ladder = (
        () if is_plain else take_pilot(lakehouse, lakehouse.tables.read_table(WATCHLIST)).ladder
    )
    return {
        COMPARISON: draw_comparison(estimate.comparison),
        LADDER: draw_ladder(ladder) if ladder else None,
    }


def publish_pictures(lakehouse: Lakehouse, figures: Figures) -> dict[str, str]:
    """Write pictures below ``reports/`` and return them as Markdown, by name.

    Raises:
        StorageError: The disk refuses.
    """
    from smallcaps_assets.plots.style import embed, render_figure  # noqa: PLC0415  as above

    layout, shown = lakehouse.layout, {}
    for name, figure in figures.items():
        path = layout.picture_file(name)
        if figure is None:
            lakehouse.fs.remove(path)
            continue
        picture = render_figure(figure)
        lakehouse.fs.publish({path: picture}, root=layout.data_dir)
        shown[name] = embed(picture, name.replace("_", " "))
    return shown
