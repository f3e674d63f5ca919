"""When what was fetched is committed together."""

import math

import pytest

from smallcaps_assets.lake.sessions.protocol import GroupRules

RULES = GroupRules(sessions=50, rows=1_000, interval_s=30.0, held_bytes=4_096)


@pytest.mark.parametrize(
    ("sessions", "rows", "age_s", "held_bytes", "is_due"),
    [
        (49, 999, 30.0, 4_095, False),
        (50, 0, 0.0, 0, True),
        (0, 1_000, 0.0, 0, True),
        (0, 0, 30.1, 0, True),
        (0, 0, 0.0, 4_096, True),
    ],
    ids=["small", "sessions", "rows", "age", "memory"],
)
def test_a_group_is_committed_once_it_is_large_or_old(
    sessions: int, rows: int, age_s: float, held_bytes: int, *, is_due: bool
) -> None:
    assert RULES.is_due(sessions, rows, age_s, held_bytes) is is_due


def test_memory_bounds_nothing_unless_it_is_told_to() -> None:
    assert not GroupRules(math.inf, math.inf, math.inf).is_due(10**6, 10**9, 10**6, 10**12)
