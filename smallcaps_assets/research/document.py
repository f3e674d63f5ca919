"""What `smallcaps research --json` says.

What does not belong here: the figures themselves (``labelling``).
"""

import datetime as dt
from typing import Literal

import polars as pl

from smallcaps_assets.core.documents import Document, Part
from smallcaps_assets.research.ground import Ground
from smallcaps_assets.schemas import Table
from smallcaps_assets.schemas_research import DECISIONS, LABELS, WIN_RATES


class WinRate(Part, frozen=True, kw_only=True):
    """One event on its side, after costs; every n is a number of decisions.

    Attributes:
        event: Name of the event; `all_decisions`: every decision, bought, over its longest horizon.
        side: 1: bought first; -1: sold first.
        decisions: Decisions with a return.
        sessions: Entry sessions among them.
        tickers: Tickers among them.
        cut: Decisions without a return, because a session is not proven.
        no_entry: Decisions that found no entry.
        no_exit: Decisions that found no exit.
        no_target: Decisions without a volatility.
        profit_share: Share that reached profit.
        win_rate: Share with a net return above 0.
        wilson_low: Lower end of Wilson's 95 %, as if decisions were independent.
        wilson_high: Its upper end.
        clustered_low: Lower end of 95 % by drawing whole entry sessions; `null` below 20 of them.
        clustered_high: Its upper end.
        lowest_without_a_ticker: Lowest win rate when one ticker is left out.
        highest_without_a_ticker: Highest one.
        mean_net_return: Mean of the net returns, a fraction.
        median_net_return: Their median.
        p_value: Of a mean above 0, one-sided, by the same draws.
        p_holm: The same, corrected by Holm over the 11 events.
    """

    event: str
    side: int
    decisions: int
    sessions: int
    tickers: int
    cut: int
    no_entry: int
    no_exit: int
    no_target: int
    profit_share: float | None
    win_rate: float | None
    wilson_low: float | None
    wilson_high: float | None
    clustered_low: float | None
    clustered_high: float | None
    lowest_without_a_ticker: float | None
    highest_without_a_ticker: float | None
    mean_net_return: float | None
    median_net_return: float | None
    p_value: float | None
    p_holm: float | None


class ResearchDocument(Document, frozen=True, kw_only=True):
    """Which events pay, by what is stored.

    Attributes:
        schema_version: Version of this document.
        is_made: Something was labelled; else there is nothing but the plan to tell of.
        first_session: First session with a decision; `null`: there is none.
        last_session: Last one.
        decisions: Instants at which events could be acted on.
        labels: Labels: one a decision, event and side.
        is_selection_point_in_time: No ranking of tickers used events of a studied session or later.
        planned_events: Events that the plan holds alone; empty: all.
        chosen_on_sessions: Sessions whose win rates chose them; a study leaves those out.
        win_rates: One an event, in E order, and all decisions last.
    """

    schema_version: Literal[1] = 1
    is_made: bool
    first_session: dt.date | None
    last_session: dt.date | None
    decisions: int
    labels: int
    is_selection_point_in_time: bool
    planned_events: tuple[str, ...]
    chosen_on_sessions: int
    win_rates: tuple[WinRate, ...]


def document_research(ground: Ground) -> ResearchDocument:
    """Tell what was decided and labelled, and which events pay.

    Raises:
        MissingPartitionError: No plan is published.
    """
    decisions, labels, rates = (_read(ground, table) for table in (DECISIONS, LABELS, WIN_RATES))
    record = ground.record
    dates = decisions["session_date"].sort().to_list()
    return ResearchDocument(
        is_made=rates.height > 0,
        first_session=dates[0] if dates else None,
        last_session=dates[-1] if dates else None,
        decisions=decisions.height,
        labels=labels.height,
        is_selection_point_in_time=bool(decisions["is_selection_point_in_time"].all()),
        planned_events=record.events,
        chosen_on_sessions=len(record.chosen_on),
        win_rates=tuple(WinRate(**row) for row in rates.iter_rows(named=True)),
    )


def _read(ground: Ground, table: Table) -> pl.DataFrame:
    """Read a table, without rows where it was not made yet."""
    return ground.read(table) if ground.store.read_facts(table) else table.empty()
