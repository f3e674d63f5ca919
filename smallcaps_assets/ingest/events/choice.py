"""Which events are planned alone, by name or by their win rates.

What belongs here: reading the choice from settings and tables of research.  What does not: which
tickers and sessions follow from it (``watchlist``, ``ingest.plan.choosing``).
"""

from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.events.watchlist import narrow_watchlist
from smallcaps_assets.core.research.events.parameters import parse_event
from smallcaps_assets.core.research.events.win_rates import (
    FEWEST_DECISIONS,
    FEWEST_SESSIONS,
    select_events,
)
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas_research import LABELS, WIN_RATES


@dataclass(frozen=True, slots=True)
class EventChoice:
    """The events that are planned alone.

    Attributes:
        events: Their full names, best first; empty: all events.
        chosen_on: Sessions whose win rates chose them, ``YYYY-MM-DD``; a study leaves them out.
    """

    events: tuple[str, ...] = ()
    chosen_on: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, Number]:
        """The choice as facts, none where there is none."""
        facts: dict[str, Number] = {"planned_events": ", ".join(self.events)}
        if self.chosen_on:
            facts["chosen_on"] = f"{self.chosen_on[0]} to {self.chosen_on[-1]}"
        return facts if self.events else {}

    def narrow(self, watchlist: pl.DataFrame) -> pl.DataFrame:
        """Keep the chosen events of ``schemas.WATCHLIST`` alone."""
        return narrow_watchlist(watchlist, self.events) if self.events else watchlist


def choose_events(lakehouse: Lakehouse) -> EventChoice:
    """Choose the events that the settings name.

    Raises:
        ConfigError: An event is unknown, or no win rate can choose one.
        MissingPartitionError: No win rates were measured yet.
    """
    settings = lakehouse.settings
    if settings.plan_events:
        return EventChoice(tuple(map(parse_event, settings.plan_events.split(","))))
    if settings.plan_events_by_win_rate is None:
        return EventChoice()
    store = ResearchStore(lakehouse.home, lakehouse.fs)
    events = select_events(store.scan(WIN_RATES).collect(), settings.plan_events_by_win_rate)
    if not events:
        raise ConfigError(
            f"no event has the {FEWEST_DECISIONS} decisions in {FEWEST_SESSIONS} sessions that a "
            "choice by win rate needs: download and label more, or name events with --events"
        )
    dates = store.scan(LABELS).select(pl.col("session_date").unique().sort()).collect()
    return EventChoice(tuple(events), tuple(map(str, dates["session_date"])))
