"""What a download does, and why it does not get on, from the signs that it gives.

What belongs here: signs in, state and words out, as a pure function.  What does not: how signs are
gathered (``operations.status.look``).
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from smallcaps_assets.core.figures import format_duration

SILENT_S: Final = 30.0
"""A process that says nothing for so long does not run, although it lives."""
BETWEEN_RUNS_S: Final = 60.0
"""So long a process may take from the end of one run to the start of the next."""


class DownloadState(StrEnum):
    """What a download does."""

    IDLE = "idle"
    """Something is planned, and nobody has begun."""
    RUNNING = "running"
    """A process downloads."""
    STUCK = "stuck"
    """A process downloads, and nothing was committed for a while."""
    BUSY = "busy"
    """Another command works on the lake, so that no download can."""
    FINISHED = "finished"
    """Everything planned is complete."""
    INCOMPLETE = "incomplete"
    """The last download came to its end, and sessions are left."""
    STOPPED = "stopped"
    """The last download was stopped by a person."""
    ABORTED = "aborted"
    """The last download gave up before it had asked for everything."""
    KILLED = "killed"
    """The last download ended without a word: killed, or the power failed."""


UNWELL: Final = frozenset({DownloadState.STUCK, DownloadState.ABORTED, DownloadState.KILLED})
"""States that want a person to look."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What can be seen of a download.

    Attributes:
        left: Planned sessions that are not green.
        holder: Who holds the lake; empty: nobody.
        is_download: The holder is a download.
        has_pulse: A download ever said something.
        is_alive: The process that said it lives.
        has_more: It left sessions of the plan to another run.
        outcome: How it ended; empty: it has not said that it did.
        last_commit_at: When anything was last committed.
        stage: ``reads``, ``fetches`` or ``commits``.
        threads: Threads by what they wait for: ``rate``, ``answer``, ``pause``.
        oldest_answer_s: How long the oldest request is waited for.
        next_retry_s: Seconds until a pause ends.
        last_fault: Kind of the newest fault; empty: there was none.
        last_fault_text: What was expected and what came.
        stuck_after: Time without a commit after which a run counts as stuck.
    """

    now: dt.datetime
    left: int
    planned: int
    holder: str = ""
    is_download: bool = False
    has_pulse: bool = False
    is_alive: bool = False
    has_more: bool = False
    outcome: str = ""
    ended_at: dt.datetime | None = None
    reason: str = ""
    beat_at: dt.datetime | None = None
    begun_at: dt.datetime | None = None
    last_commit_at: dt.datetime | None = None
    last_page_at: dt.datetime | None = None
    stage: str = ""
    threads: Mapping[str, int] = field(default_factory=dict)
    oldest_answer_s: float = 0.0
    next_retry_s: float = 0.0
    last_fault: str = ""
    last_fault_text: str = ""
    stuck_after: dt.timedelta = dt.timedelta(minutes=10)

    def age_s(self, instant: dt.datetime | None) -> float:
        """Count the seconds since an instant; 0 where there is none."""
        return 0.0 if instant is None else max(0.0, (self.now - instant).total_seconds())

    @property
    def is_silent(self) -> bool:
        """Say whether the process has said nothing for too long."""
        return self.age_s(self.beat_at) > SILENT_S

    @property
    def idle_s(self) -> float:
        """The seconds since the last commit of the run, or since its start."""
        instants = [instant for instant in (self.last_commit_at, self.begun_at) if instant]
        return self.age_s(max(instants, default=None))


@dataclass(frozen=True, slots=True)
class Health:
    """What a download does, in one word and in a sentence.

    Attributes:
        state: The word.
        reason: Why it is so; empty where the word says all.
        advice: What to do; empty: nothing.
    """

    state: DownloadState
    reason: str = ""
    advice: str = ""

    @property
    def is_well(self) -> bool:
        """Say whether nobody needs to look."""
        return self.state not in UNWELL


def judge_health(signs: Signs) -> Health:
    """Judge what a download does, and why it does not get on."""
    if signs.holder and not signs.is_download:
        return Health(DownloadState.BUSY, f"the lake is in use by {signs.holder}", "wait for it")
    if signs.holder:
        return _judge_running(signs)
    if signs.planned and not signs.left:
        return Health(DownloadState.FINISHED)
    if not signs.has_pulse:
        return Health(DownloadState.IDLE, "nothing was downloaded yet", _START)
    return _judge_ended(signs)


_START: Final = "run `smallcaps download`"
_AGAIN: Final = "run `smallcaps download` again: it continues where it ended"


def _judge_running(signs: Signs) -> Health:
    if signs.idle_s <= signs.stuck_after.total_seconds():
        waits = "; ".join(_explain_waits(signs))
        return Health(DownloadState.RUNNING, waits)
    reason, advice = next(_explain_stop(signs))
    idle = format_duration(signs.idle_s)
    return Health(DownloadState.STUCK, f"nothing was committed for {idle}: {reason}", advice)


def _judge_ended(signs: Signs) -> Health:
    """Judge a download that nobody does any more although sessions are left."""
    if signs.outcome == "finished":
        is_recent = signs.age_s(signs.ended_at) < BETWEEN_RUNS_S
        if signs.is_alive and signs.has_more and is_recent:
            return Health(DownloadState.RUNNING, "between two runs")
        reason = f"{signs.left:,} sessions are left; those that failed say why"
        return Health(DownloadState.INCOMPLETE, reason, _AGAIN)
    if signs.outcome == "stopped":
        return Health(DownloadState.STOPPED, "stopped by a person", _AGAIN)
    if signs.outcome:
        return Health(DownloadState.ABORTED, signs.reason or "it failed", _AGAIN)
    silence = format_duration(signs.age_s(signs.beat_at))
    return Health(
        DownloadState.KILLED,
        f"it ended without a word {silence} ago: killed, or the power failed; nothing is lost",
        _AGAIN,
    )


def _explain_waits(signs: Signs) -> Iterator[str]:
    """Say what slows a run that gets on."""
    if signs.is_silent:
        yield f"no sign of life for {format_duration(signs.age_s(signs.beat_at))}"
    elif signs.stage == "reads":
        yield "reads plan and daily bars"
    elif pausing := signs.threads.get("pause", 0):
        yield f"{pausing} of its threads pause after a fault ({signs.last_fault})"


def _explain_stop(signs: Signs) -> Iterator[tuple[str, str]]:
    """Yield reasons why nothing is committed, with advice, the one that explains most first."""
    if signs.is_silent:
        silence = format_duration(signs.age_s(signs.beat_at))
        reason = f"its process has said nothing for {silence}: suspended (Ctrl-Z), or hanging"
        yield reason, "wake it with `fg`, or end it and run `smallcaps download` again"
    if signs.stage == "commits":
        yield "a commit does not end: the disk is slow, or hangs", "look at the disk"
    if signs.stage == "reads":
        yield "it still reads plan and daily bars", "wait, or look at the load of the machine"
    yield from _explain_vendor(signs)
    if signs.last_page_at is not None and signs.age_s(signs.last_page_at) < SILENT_S:
        yield "pages come, but no range is whole yet: its ranges are large", "wait"
    if waiting := signs.threads.get("rate", 0):
        reason = f"{waiting} threads wait for the shared rate, which others use or the vendor holds"
        yield reason, "wait, or look at SMALLCAPS_REQUESTS_PER_MINUTE"
    yield "its threads ask for nothing", "end it and run `smallcaps download` again"


def _explain_vendor(signs: Signs) -> Iterator[tuple[str, str]]:
    """Yield reasons that lie with the vendor."""
    if pausing := signs.threads.get("pause", 0):
        soon = format_duration(signs.next_retry_s)
        fault = f"{signs.last_fault}: {signs.last_fault_text}"
        reason = f"the vendor fails: {pausing} threads pause, the next retry in {soon} ({fault})"
        yield reason, "wait: it asks again, and gives up by itself"
    if asking := signs.threads.get("answer", 0):
        fault = f"; the last fault was {signs.last_fault}" if signs.last_fault else ""
        if signs.age_s(signs.last_page_at or signs.begun_at) > SILENT_S:
            oldest = format_duration(signs.oldest_answer_s)
            wait = "1 request waits" if asking == 1 else f"{asking:,} requests wait"
            reason = f"{wait} for an answer, the oldest for {oldest}{fault}"
            yield reason, "wait for the time-out, or look at the network"
