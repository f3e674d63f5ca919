"""Patience with one page: which faults are asked again, after which pause, until when.

What does not belong here: what a request is.  tenacity runs the loop; what is ours is that a
pause ends when the client is told to stop, and that waiting for the shared rate costs no
patience, because it is no fault of the page.
"""

import random
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import tenacity

from smallcaps_assets.errors import (
    InterruptedFetchError,
    RateLimitError,
    SmallcapsError,
    VendorError,
)
from smallcaps_assets.polygon.http.config import ClientConfig

Result = TypeVar("Result")

MAX_PAUSE_S: Final = 60.0
"""Longest pause, whatever is asked for: the vendor counts requests by the minute."""

RATE_LIMIT_PATIENCE: Final = 4
"""How much longer than usual the pauses after a 429 are: they have to outlast that minute."""


_JITTER: Final = random.SystemRandom()


class Deadline:
    """When a page has had its time.

    Attributes:
        at_s: Reading of ``time.monotonic``.
    """

    def __init__(self, budget_s: float) -> None:
        self.at_s = time.monotonic() + budget_s

    def extend(self, seconds: float) -> None:
        """Grant time spent waiting for the rate."""
        self.at_s += seconds

    def leaves(self, seconds: float) -> bool:
        """Say whether so much time is left."""
        return time.monotonic() + seconds < self.at_s


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry about to be made.

    Attributes:
        error: The fault behind it.
        attempt: Number of the attempt that failed, from 1.
        pause_s: Pause before the next.
    """

    error: SmallcapsError
    attempt: int
    pause_s: float


def call_patiently(
    call: Callable[[], Result],
    config: ClientConfig,
    *,
    deadline: Deadline,
    stop: threading.Event,
    on_retry: Callable[[Retry], None],
) -> Result:
    """Pass on what ``call`` gives, asking again after transient faults.

    Args:
        call: One attempt.
        config: Number of retries and their pauses.
        deadline: When the page has had its time; an attempt may extend it.
        stop: Ends a pause.
        on_retry: Told of every retry before its pause.

    Raises:
        SmallcapsError: The last fault once retries or budget are spent, or the first that is
            not transient.
        InterruptedFetchError: ``stop`` was set during a pause.
    """

    def tell(state: tenacity.RetryCallState) -> None:
        release_frames(_error_of(state))
        on_retry(Retry(_error_of(state), state.attempt_number, state.upcoming_sleep))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_transient),
        wait=lambda state: choose_pause(_error_of(state), state.attempt_number, config),
        stop=lambda state: (
            state.attempt_number > config.retries or not deadline.leaves(state.upcoming_sleep)
        ),
        sleep=lambda seconds: pause(seconds, stop),
        before_sleep=tell,
        reraise=True,
    )
    return retrying(call)


def choose_pause(error: SmallcapsError, attempt: int, config: ClientConfig) -> float:
    """Choose the seconds to pause: what the vendor asks for, else jittered and exponential."""
    if isinstance(error, VendorError) and error.retry_after_s is not None:
        return min(error.retry_after_s, MAX_PAUSE_S)
    growth = config.backoff_factor ** min(attempt - 1, 50)
    patience = RATE_LIMIT_PATIENCE if isinstance(error, RateLimitError) else 1
    shortest = min(config.backoff_base_s * growth * patience, MAX_PAUSE_S)
    return min(shortest + _JITTER.uniform(0, shortest / 2), MAX_PAUSE_S)


def pause(seconds: float, stop: threading.Event) -> None:
    """Wait, unless told to stop.

    Raises:
        InterruptedFetchError: ``stop`` is set.
    """
    if stop.wait(seconds):
        raise InterruptedFetchError("told to stop during a pause")


def release_frames(error: BaseException) -> None:
    """Let go of what the frames of an error hold, a body of many MiB perhaps.

    An error lives as long as the pause after it and longer, and so would the body that it refuses.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, SmallcapsError) and error.transient


def _error_of(state: tenacity.RetryCallState) -> SmallcapsError:
    """Find the fault behind a retry; the predicate lets only our errors come here."""
    outcome = cast(tenacity.Future, state.outcome)
    return cast(SmallcapsError, outcome.exception())
