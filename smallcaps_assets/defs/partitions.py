"""Partition sets: planned ticker-sessions, units of universes, and months of daily bars."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from smallcaps_assets.core.keys import month_of
from smallcaps_assets.core.sessions import month_bounds

PLANNED_SET = "planned_ticker_sessions"
"""Name of the dynamic set of ``trades``; a key is ``TICKER_YYYY-MM-DD``."""

planned_ticker_sessions = dg.DynamicPartitionsDefinition(name=PLANNED_SET)

UNITS_SET = "universe_units"
"""Name of the dynamic set of ``universe_trades``; a key is batch and month: ``b017_2024-03``."""

universe_units = dg.DynamicPartitionsDefinition(name=UNITS_SET)


def build_months(first: dt.date, last: dt.date | None = None) -> dg.MonthlyPartitionsDefinition:
    """Build the months from that of ``first`` on, in New York time.

    Args:
        first: A date of the first month.
        last: A date of the last month; ``None`` ends with the open month, whatever that is.
    """
    end = month_bounds(month_of(last))[1] + dt.timedelta(days=1) if last else None
    return dg.MonthlyPartitionsDefinition(
        start_date=first.replace(day=1).isoformat(),
        end_date=end.isoformat() if end else None,  # exclusive
        timezone="America/New_York",
        end_offset=1,  # the open month; it never goes beyond the end
    )


def month_spans(months: Sequence[str]) -> list[tuple[str, str]]:
    """Join neighbouring months (``YYYY-MM``) into runs: first and last key of each."""
    spans: list[list[str]] = []
    for month in months:
        is_next = spans and _month_number(month) == _month_number(spans[-1][-1]) + 1
        if is_next:
            spans[-1].append(month)
        else:
            spans.append([month])
    return [(f"{span[0]}-01", f"{span[-1]}-01") for span in spans]


def name_months(partition_keys: Sequence[str]) -> list[str]:
    """Name months, ``YYYY-MM``, by Dagster's keys of them."""
    return [key[:7] for key in partition_keys]


def _month_number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7])
