"""Why a candidate plan is not published, in words that name rows and what to do.

What belongs here: explanations that need the settings, the pilot or the bars.  What does not: the
facts and their bare verdict (``core.plan.ranges``), and the plan itself (``choosing``).
"""

import math
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.plan.batches import assign_batches
from smallcaps_assets.core.plan.publication import PlanFacts, judge_plan
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.ingest.plan.choosing import ChosenSessions, weigh_tickers
from smallcaps_assets.lakehouse import Lakehouse

SHOWN_ROWS: Final = 5
"""Rows that an explanation names."""


def explain_plan(
    lakehouse: Lakehouse, chosen: ChosenSessions, facts: PlanFacts, pilot: pl.DataFrame | None
) -> tuple[str, ...]:
    """Return why a candidate must not be published; nothing when it may.

    Args:
        lakehouse: Its settings say what was asked for.
        chosen: The candidate.
        facts: What it holds.
        pilot: ``schemas.PILOT_WATCHLIST`` it was made of; ``None``: it has no events.
    """
    if facts.rows == 0:
        return (_explain_empty(lakehouse, chosen, pilot),)
    problems = judge_plan(facts)
    return (*problems, _advise(lakehouse, chosen.plan)) if facts.rows > MAX_KEYS else problems


def count_batches(lakehouse: Lakehouse, plan: pl.DataFrame, most: int = MAX_KEYS) -> int:
    """Return a number of batches, each of which holds at most ``most`` ticker-sessions.

    Batches are of about equal bytes, so a batch of many idle tickers may hold more sessions than
    its share; a single ticker is never divided.
    """
    weights = weigh_tickers(lakehouse, plan)
    sessions = plan.group_by("ticker").len()
    count = max(1, math.ceil(plan.height / most))
    while count < sessions.height:
        dealt = assign_batches(sessions, count, weights)
        batches = pl.DataFrame({"ticker": list(dealt), "batch": list(dealt.values())})
        sizes = sessions.join(batches, on="ticker").group_by("batch").agg(pl.col("len").sum())
        if sizes.filter(pl.col("len") > most).is_empty():
            return count
        count = max(count + 1, math.ceil(count * 1.2))
    return max(1, sessions.height)


def _advise(lakehouse: Lakehouse, plan: pl.DataFrame) -> str:
    """Return what to do about a plan that is too large."""
    batch = lakehouse.settings.batch
    if batch:
        parts = f"Take smaller batches than {batch}"
    else:
        count = count_batches(lakehouse, plan)
        parts = (
            f"Plan it in batches: the same command with --batch 1/{count}, then `smallcaps "
            f"download`, then --batch 2/{count} and so on"
        )
    return (
        f"{plan.height:,} ticker-sessions are more than the {MAX_KEYS:,} that one plan may hold; "
        f"nothing was published, and the plan in force stays.  {parts}; or take fewer tickers "
        "(--pilot, SMALLCAPS_PILOT_MIN_EVENTS) or dates (--from, --to). A whole universe needs "
        "partitions of its own (a month of a batch of tickers each), which this version does not "
        "have yet"
    )


def _explain_empty(lakehouse: Lakehouse, chosen: ChosenSessions, pilot: pl.DataFrame | None) -> str:
    """Return why a candidate holds no session."""
    waiting = chosen.not_yet_available.sort("session_date", "ticker")
    if waiting.height:
        return (
            f"none of the {waiting.height:,} sessions asked for is published yet, the first is "
            f"{_name_rows(waiting.head(1))}: the newest published one is "
            f"{lakehouse.last_available}; plan again later, or ask for earlier dates"
        )
    wanted = lakehouse.describe_wanted()
    if pilot is None:
        return f"expected at least one session, got none: {wanted} has no XNYS session"
    is_session = pl.col("session_date").is_in(lakehouse.calendar.frame["session_date"].implode())
    strays = pilot.filter(~is_session)
    if strays.height == pilot.height:
        return (
            f"expected at least one session, got none: no row of the watchlist is dated on an "
            f"XNYS session, but on weekends and holidays: {_name_rows(strays)}"
        )
    return (
        f"expected at least one session, got none: {wanted} holds none of those around the "
        f"{pilot.height:,} rows of the watchlist: {_name_rows(pilot)}; see "
        "SMALLCAPS_FIRST_SESSION and SMALLCAPS_LAST_SESSION, or --from and --to"
    )


def _name_rows(rows: pl.DataFrame) -> str:
    """Return the first rows by ticker and date."""
    names = rows.head(SHOWN_ROWS).select(key_expression()).to_series().str.replace("_", " ")
    more = f" and {rows.height - SHOWN_ROWS:,} more" if rows.height > SHOWN_ROWS else ""
    return ", ".join(names) + more
