"""Partition sets: planned ticker-sessions, and months of daily bars."""

import datetime as dt

import dagster as dg

PLANNED_SET = "planned_ticker_sessions"
"""Name of the dynamic set of ``trades``; a key is ``TICKER_YYYY-MM-DD``."""

MAX_KEYS = 100_000
"""Dagster's advice for one asset; 250,000 keys at once fail on SQLite."""

planned_ticker_sessions = dg.DynamicPartitionsDefinition(name=PLANNED_SET)


def build_months(first: dt.date) -> dg.MonthlyPartitionsDefinition:
    """Return the months from that of ``first`` to the open one, in New York time."""
    return dg.MonthlyPartitionsDefinition(
        start_date=first.replace(day=1).isoformat(), timezone="America/New_York", end_offset=1
    )
