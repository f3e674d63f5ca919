"""Whether daily bars and plan are as new as the newest published session.

What belongs here: the comparison with the exchange calendar, so that no weekend, holiday or early
close makes anything old.  What does not: when it is asked for and by whom (``defs``).
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lakehouse import Lakehouse


def judge_bar_freshness(lakehouse: Lakehouse, grace_h: float) -> Verdict:
    """Judge whether the session published at least ``grace_h`` hours ago has its bars.

    Bars that the rules do not need, or that come from a file, are never old.
    """
    settings = lakehouse.settings
    if settings.daily_bars is not None:
        return Verdict(True, "the bars are those of a file: it decides what is new", {})  # noqa: FBT003  a verdict's first field
    if not settings.has_rules:
        return Verdict(True, "no rule reads the bars: they are fetched around sessions", {})  # noqa: FBT003  a verdict's first field
    months = lakehouse.tables.list_bar_months()
    stored = lakehouse.tables.read_bar_months()[-1:] if months else []
    held = max((date for month in stored for date in month.covered), default=None)
    return _judge(lakehouse, held, expect_session(lakehouse, grace_h), "daily bars end on")


def judge_plan_freshness(lakehouse: Lakehouse, grace_h: float) -> Verdict:
    """Judge whether the plan knows of the session published at least ``grace_h`` hours ago.

    Raises:
        MissingPartitionError: No plan is published.
        LedgerMismatchError: Plan and record differ.
    """
    record, _ = lakehouse.tables.read_plan()
    expected = expect_session(lakehouse, grace_h)
    if waiting := _now_available(record, expected):
        summary = (
            f"{len(waiting)} sessions became available since the plan was made, first "
            f"{waiting[0]}: plan again"
        )
        offenders = pl.DataFrame({"key": waiting})
        return Verdict(False, summary, {"waiting": len(waiting)}, offenders)  # noqa: FBT003  a verdict's first field
    if not lakehouse.settings.has_rules or lakehouse.settings.daily_bars is not None:
        return Verdict(True, "every wanted session that is available is planned", {"waiting": 0})  # noqa: FBT003  a verdict's first field
    known = replace(lakehouse, clock=lambda: record.created_at).last_available
    return _judge(lakehouse, known, expected, "the plan knows sessions up to")


def expect_session(lakehouse: Lakehouse, grace_h: float) -> dt.date:
    """Find the newest wanted session that was published ``grace_h`` hours ago or earlier."""
    earlier = lakehouse.clock() - dt.timedelta(hours=grace_h)
    newest = replace(lakehouse, clock=lambda: earlier).last_available
    return min(newest, lakehouse.settings.last_session or newest)


def _judge(lakehouse: Lakehouse, held: dt.date | None, expected: dt.date, what: str) -> Verdict:
    """Compare the newest session that is held with the one expected."""
    first = held + dt.timedelta(days=1) if held else expected
    lacking = lakehouse.calendar.dates(first, expected) if first <= expected else []
    summary = f"{what} {held or 'no session'}; expected at least {expected}"
    if lacking:
        summary += f": {len(lacking)} sessions behind"
    offenders = pl.DataFrame({"session_date": lacking}, schema={"session_date": pl.Date()})
    return Verdict(not lacking, summary, {"sessions_behind": len(lacking)}, offenders)


def _now_available(record: PlanRecord, newest: dt.date) -> list[str]:
    """List the keys that were not available when the plan was made and are by now."""
    keys: Iterable[str] = record.not_yet_available
    return sorted(key for key in keys if decode_key(key)[1] <= newest)
