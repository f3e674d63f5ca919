"""What the settings in force would change in the published plan; nothing is written.

What belongs here: the plan that would be published now, beside the published one, with the cost of
both sides.  What does not: publishing it (``publishing``).
"""

from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.budget.costs import Estimate
from smallcaps_assets.core.plan.publication import diff_plans
from smallcaps_assets.ingest.budget.estimates import Grounds, estimate_sessions, gather_grounds
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.ingest.events.watchlist import find_watchlist, take_pilot
from smallcaps_assets.ingest.plan.choosing import choose_sessions, judge_choice, read_record
from smallcaps_assets.ingest.reference.daily_bars import due_months
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN
from smallcaps_assets.settings import PlanMode


@dataclass(frozen=True, slots=True)
class Side:
    """Ticker-sessions on one side of a difference.

    Attributes:
        stored_sessions: Those that the lake has: they cost nothing, and stay where they are.
        cost: Calibrated estimate of the others.
    """

    ticker_sessions: int
    tickers: int
    stored_sessions: int
    stored_bytes: int
    cost: Estimate


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What would change if the plan were made again.

    Attributes:
        problems: Why the new plan would not be published; empty: it would.
        unread_months: Months of daily bars that are due and were not read, since nothing is
            fetched; the new plan may find more in them.
    """

    added: Side
    removed: Side
    kept: int
    problems: tuple[str, ...]
    unread_months: int


def measure_change(lakehouse: Lakehouse) -> PlanChange:
    """Measure what planning with the settings in force would add and remove.

    Raises:
        ConfigError: The settings ask for what there is not.
        DataError: A watchlist breaks its contract.
        MissingPartitionError: There are no daily bars for the rules to look at.
    """
    pilot = _choose_pilot(lakehouse)
    chosen = choose_sessions(lakehouse, pilot)
    old = EVENT_WINDOW_PLAN.empty()
    if read_record(lakehouse) is not None:
        old = lakehouse.tables.read_plan()[1]
    difference = diff_plans(old, chosen.plan)
    has_file = lakehouse.settings.daily_bars is not None
    grounds = gather_grounds(lakehouse)
    return PlanChange(
        added=_measure_side(difference.added, grounds),
        removed=_measure_side(difference.removed, grounds),
        kept=difference.kept,
        problems=judge_choice(lakehouse, chosen, pilot)[1],
        unread_months=0 if has_file else len(due_months(lakehouse)),
    )


def _choose_pilot(lakehouse: Lakehouse) -> pl.DataFrame | None:
    """Choose the pilot that would be planned now; ``None``: the mode has no events."""
    if lakehouse.settings.plan_mode is PlanMode.SESSIONS:
        return None
    return take_pilot(lakehouse, find_watchlist(lakehouse)).watchlist


def _measure_side(sessions: pl.DataFrame, grounds: Grounds) -> Side:
    held = grounds.holdings.find_stored(sessions)
    missing = sessions.join(held, on=KEY, how="anti")
    return Side(
        ticker_sessions=sessions.height,
        tickers=sessions["ticker"].n_unique(),
        stored_sessions=held.height,
        stored_bytes=int(held["bytes"].sum()),
        cost=estimate_sessions(missing, grounds),
    )
