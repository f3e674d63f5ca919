import datetime as dt

import pytest

from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.errors import ConfigError
from smallcaps_assets_tests.core.plan_factories import CALENDAR

THURSDAY = dt.date(2024, 3, 14)
SATURDAY = dt.date(2024, 3, 16)


def test_plan_bounds_on_dates_that_are_no_session_take_the_sessions_inside() -> None:
    bounds = PlanBounds(SATURDAY, dt.date(2024, 3, 23), CALENDAR)

    assert bounds.first_index == CALENDAR.index_of(dt.date(2024, 3, 18))
    assert bounds.last_available_index == CALENDAR.index_of(dt.date(2024, 3, 22))


def test_plan_bounds_without_limits_are_the_calendar() -> None:
    bounds = PlanBounds(None, THURSDAY, CALENDAR)

    assert (bounds.first_index, bounds.last_index) == (0, CALENDAR.frame.height - 1)


def test_plan_bounds_end_at_the_last_session_wanted() -> None:
    bounds = PlanBounds(None, dt.date(2024, 12, 31), CALENDAR, last=SATURDAY)

    assert bounds.last_available_index == bounds.last_index
    assert bounds.last_index == CALENDAR.index_of(dt.date(2024, 3, 15))


def test_plan_bounds_refuse_an_end_before_the_start() -> None:
    with pytest.raises(ConfigError, match="2024-03-16 and 2024-03-14"):
        PlanBounds(SATURDAY, SATURDAY, CALENDAR, last=THURSDAY)
