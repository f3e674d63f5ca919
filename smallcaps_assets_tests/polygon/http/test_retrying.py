"""L19: patience is bounded, jittered, and does what Retry-After asks."""

import threading
import time

import pytest

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.errors import (
    AuthenticationError,
    InterruptedFetchError,
    PayloadError,
    RateLimitError,
    VendorError,
    VendorUnavailableError,
)
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.retrying import (
    MAX_PAUSE_S,
    Deadline,
    Retry,
    call_patiently,
    choose_pause,
    pause,
)
from smallcaps_assets_tests.polygon.polygon_factories import (
    RETRIES,
    fetch,
    make_config,
    make_wire_trades,
    serve,
)

URL = "https://api.polygon.io/v3/trades/ABCD"


class Failing:
    """Fails so many times, then works."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.times = times
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


def call(failing: Failing, *, budget_s: float = 9, **settings: object) -> tuple[str, list[Retry]]:
    retries: list[Retry] = []
    answer = call_patiently(
        failing,
        make_config(URL, **settings),
        deadline=Deadline(budget_s),
        stop=threading.Event(),
        on_retry=retries.append,
    )
    return answer, retries


def test_a_passing_fault_is_outlasted() -> None:
    answer, retries = call(Failing(PayloadError("cut", url=URL), RETRIES))

    assert answer == "answer"
    assert [retry.attempt for retry in retries] == [1, 2]


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (VendorUnavailableError("down", url=URL, status=503), RETRIES + 1),
        (AuthenticationError("who", url=URL, status=401), 1),
        (ValueError("ours"), 1),
    ],
)
def test_the_last_fault_is_raised_after_bounded_calls(error: Exception, calls: int) -> None:
    failing = Failing(error, 99)

    with pytest.raises(type(error)) as caught:
        call(failing)

    assert caught.value is error
    assert failing.calls == calls


def test_the_budget_ends_patience_before_a_pause_that_would_overrun_it() -> None:
    failing = Failing(PayloadError("cut", url=URL), 99)
    started = time.monotonic()

    with pytest.raises(PayloadError):
        call(failing, budget_s=0.2, backoff_base_s=30)

    assert failing.calls == 1
    assert time.monotonic() - started < 5


def test_waiting_for_the_rate_costs_no_patience() -> None:
    deadline = Deadline(1)

    deadline.extend(100)

    assert deadline.leaves(99)
    assert not deadline.leaves(102)


def test_pauses_grow_and_differ() -> None:
    config = make_config(URL, backoff_base_s=1, backoff_factor=2)
    error = PayloadError("cut", url=URL)

    third = {choose_pause(error, 3, config) for _ in range(20)}

    assert len(third) > 1
    assert 4 <= min(third) <= max(third) <= 6
    assert choose_pause(error, 10_000, config) == MAX_PAUSE_S


def test_pauses_after_429_outlast_the_vendors_minute() -> None:
    config = ClientConfig(base_url=URL, api_key="key")

    pauses = [
        choose_pause(RateLimitError(url=URL), attempt, config)
        for attempt in range(1, config.retries + 1)
    ]

    assert sum(pauses) > 60


@pytest.mark.parametrize(("wish", "seconds"), [(0.0, 0.0), (7.0, 7.0), (3_600.0, MAX_PAUSE_S)])
@pytest.mark.parametrize(
    "error", [RateLimitError(url=URL), VendorUnavailableError("busy", url=URL, status=503)]
)
def test_retry_after_is_honoured_within_a_minute(
    error: VendorError, wish: float, seconds: float
) -> None:
    error.retry_after_s = wish

    assert choose_pause(error, 5, make_config(URL)) == seconds


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_client_waits_as_long_as_it_is_asked_to(status: str) -> None:
    with serve(make_wire_trades(1), Fault(status, times=1, retry_after=0.3)) as server:
        fetch(server)

    first, second = (request.at for request in server.requests)
    assert 0.3 <= second - first < 10


def test_a_wait_longer_than_the_budget_is_an_error_at_once() -> None:
    fault = Fault("429", retry_after=50)

    with serve(make_wire_trades(1), fault) as server, pytest.raises(RateLimitError) as caught:
        fetch(server, retry_budget_s=1)

    assert (caught.value.requests, caught.value.retry_after_s) == (1, 50)


def test_a_pause_ends_when_told_to_stop() -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(InterruptedFetchError):
        pause(60, stop)
