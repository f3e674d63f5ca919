import dataclasses
import datetime as dt
from typing import Any

import pytest

from smallcaps_assets.core.progress.health import UNWELL, DownloadState, Health, Signs, judge_health

NOW = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
EMPTY = Signs(NOW, left=10, planned=10)


def ago(minutes: float) -> dt.datetime:
    return NOW - dt.timedelta(minutes=minutes)


RUNNING = dataclasses.replace(
    EMPTY,
    holder="run abc (pid 7 on host)",
    is_download=True,
    has_pulse=True,
    is_alive=True,
    beat_at=ago(0.02),
    begun_at=ago(60),
    last_commit_at=ago(0.1),
    last_page_at=ago(0.05),
    stage="fetches",
)
STUCK = dataclasses.replace(RUNNING, last_commit_at=ago(12), last_page_at=ago(12))
ENDED = dataclasses.replace(EMPTY, has_pulse=True, beat_at=ago(9), ended_at=ago(9))

JUST_ENDED = dataclasses.replace(ENDED, outcome="finished", ended_at=ago(0.1), beat_at=ago(0.1))


def judge(signs: Signs, **changes: Any) -> Health:  # noqa: ANN401  any sign
    return judge_health(dataclasses.replace(signs, **changes))


@pytest.mark.parametrize(
    ("signs", "changes", "state"),
    [
        (EMPTY, {}, DownloadState.IDLE),
        (EMPTY, {"planned": 0, "left": 0}, DownloadState.IDLE),
        (EMPTY, {"left": 0}, DownloadState.FINISHED),
        (RUNNING, {}, DownloadState.RUNNING),
        (RUNNING, {"left": 0}, DownloadState.RUNNING),
        (RUNNING, {"is_download": False}, DownloadState.BUSY),
        (STUCK, {}, DownloadState.STUCK),
        (STUCK, {"begun_at": ago(3)}, DownloadState.RUNNING),
        (STUCK, {"stuck_after": dt.timedelta(minutes=15)}, DownloadState.RUNNING),
        (ENDED, {}, DownloadState.KILLED),
        (ENDED, {"outcome": "stopped"}, DownloadState.STOPPED),
        (ENDED, {"outcome": "aborted"}, DownloadState.ABORTED),
        (ENDED, {"outcome": "failed"}, DownloadState.ABORTED),
        (ENDED, {"outcome": "finished"}, DownloadState.INCOMPLETE),
        (ENDED, {"outcome": "finished", "is_alive": True}, DownloadState.INCOMPLETE),
        (JUST_ENDED, {"is_alive": True}, DownloadState.INCOMPLETE),
        (JUST_ENDED, {"has_more": True}, DownloadState.INCOMPLETE),
    ],
)
def test_judge_health_names_the_state(
    signs: Signs, changes: dict[str, Any], state: DownloadState
) -> None:
    assert judge(signs, **changes).state is state


def test_judge_health_of_a_process_between_two_runs() -> None:
    health = judge(JUST_ENDED, is_alive=True, has_more=True)

    assert (health.state, health.reason) == (DownloadState.RUNNING, "between two runs")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"beat_at": ago(5)}, "said nothing for 5 min 0 s"),
        ({"stage": "commits"}, "the disk is slow"),
        ({"stage": "reads"}, "still reads plan"),
        (
            {
                "threads": {"pause": 8},
                "next_retry_s": 42.0,
                "last_fault": "unavailable",
                "last_fault_text": "503",
            },
            "the vendor fails: 8 threads pause, the next retry in 42 s (unavailable: 503)",
        ),
        (
            {"threads": {"answer": 3}, "oldest_answer_s": 31.0, "last_fault": "timed_out"},
            "3 requests wait for an answer, the oldest for 31 s; the last fault was timed_out",
        ),
        ({"threads": {"answer": 1}, "oldest_answer_s": 31.0}, "1 request waits for an answer"),
        ({"last_page_at": ago(0.1), "threads": {"answer": 8}}, "no range is whole yet"),
        ({"threads": {"rate": 8}}, "8 threads wait for the shared rate"),
        ({}, "its threads ask for nothing"),
    ],
)
def test_judge_health_says_why_a_run_is_stuck(changes: dict[str, Any], words: str) -> None:
    health = judge(STUCK, **changes)

    assert health.state is DownloadState.STUCK
    assert health.reason.startswith("nothing was committed for 12 min: ")
    assert words in health.reason
    assert health.advice


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"stage": "reads"}, "reads plan and daily bars"),
        ({"threads": {"pause": 2}, "last_fault": "rate_limited"}, "2 of its threads pause"),
        ({"beat_at": ago(1)}, "no sign of life for 1 min 0 s"),
    ],
)
def test_judge_health_says_what_slows_a_run(changes: dict[str, Any], words: str) -> None:
    health = judge(RUNNING, **changes)

    assert health.state is DownloadState.RUNNING
    assert health.reason.startswith(words)
    assert bool(health.reason) == bool(words)


def test_judge_health_gives_the_reason_of_who_gave_up() -> None:
    """L25: a download that stops before the disk is full says so."""
    health = judge(ENDED, outcome="aborted", reason="no room for the next range")

    assert health.reason == "no room for the next range"
    assert "smallcaps download" in health.advice


def test_only_what_wants_a_person_is_unwell() -> None:
    unwell = {state for state in DownloadState if not Health(state).is_well}

    assert unwell == UNWELL == {"stuck", "aborted", "killed"}
