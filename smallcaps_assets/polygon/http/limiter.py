"""One request rate for the whole machine, shared by all threads and processes.

What belongs here: when the next request may leave.  What does not: what happens after a 429
(``retrying``).

The rate is kept by pyrate-limiter's GCRA with a burst of one: requests leave one interval
apart, so that no minute holds more than the rate and none starts with a burst.  Its state is one
number, the time of the next free slot, in a file behind a file lock.  A waiter takes the next
slot as soon as it is near, and sleeps until it comes: waking up a little late loses no slot, and a
killed process takes at most those few with it.  Who wakes up so late that its request could make
one too many in some minute gives the slot up and takes another.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from pyrate_limiter import GCRA, Rate
from pyrate_limiter.abstracts.algorithm import State

from smallcaps_assets.core.vendor import VENDOR_HOSTS
from smallcaps_assets.errors import ConfigError, InterruptedFetchError

MARGIN: Final = 1.01
"""Slots are this much further apart than the rate asks, so that a request that leaves its slot
late never makes one too many in a minute."""

LOOKAHEAD_S: Final = 0.25
"""How near a slot must be to be taken."""

LATE_S: Final = 0.25
"""How late a request may leave its slot.  Where none is later than the margin of a minute, 0.6 s,
no minute holds more requests than the rate; the rest of that is for the way to the vendor."""

LOCK_TIMEOUT_S: Final = 30.0
"""Longest wait for the file lock, which is held for a hundred microseconds."""

MAX_HOLD_S: Final = 60.0
"""Longest time that the vendor may hold all requests."""

_TICKS: Final = 1_000_000
"""Ticks of our clock in a second.  GCRA calls its ticks milliseconds and keeps thousandths of
them; at microseconds, slots 10 ms apart do not lose a tenth to rounding."""

_TICKS_PER_MINUTE: Final = 60 * _TICKS
_LOCK_POLL_S: Final = 0.0005
_WIDTH: Final = 24


class SlotFile:
    """The next free slot, in a file that several processes share.

    Attributes:
        rate: One request per interval, in ticks.
    """

    def __init__(self, file: Path, requests_per_minute: float) -> None:
        interval = max(1, round(_TICKS_PER_MINUTE * MARGIN / requests_per_minute))
        self.rate = Rate(1, interval, burst=1)
        self._file = file
        self._algorithm = GCRA()
        self._lock = FileLock(
            file.with_suffix(".lock"),
            timeout=LOCK_TIMEOUT_S,
            poll_interval=_LOCK_POLL_S,
            fallback_to_soft=False,
        )

    def take(self, now: int, stop: threading.Event) -> tuple[bool, int]:
        """Take the next slot if it is near.

        Args:
            now: Present tick.
            stop: Ends the wait for the file lock.

        Returns:
            Whether the slot is ours, and the ticks until it comes.
        """
        with self._lock.acquire(cancel_check=stop.is_set), self._open() as file:
            state = self._read(file, now)
            state, decision = self._algorithm.step([self.rate], state, now, 1)
            wait = decision.retry_after_ms or 0
            if not decision.allowed and wait <= LOOKAHEAD_S * _TICKS:
                state, decision = self._algorithm.step([self.rate], state, now + wait, 1)
            if decision.allowed:
                _write(file, state)
        return decision.allowed, wait

    def hold(self, now: int, ticks: int, stop: threading.Event) -> None:
        """Let no slot come before so many ticks have passed."""
        with self._lock.acquire(cancel_check=stop.is_set), self._open() as file:
            (slot,) = self._read(file, now)
            _write(file, (max(slot, (now + ticks) * 1000),))

    def _open(self) -> FileIO:
        self._file.touch()
        return self._file.open("r+b", buffering=0)

    def _read(self, file: FileIO, now: int) -> State:
        """Read the state, or begin a fresh one where it cannot be true.

        The clock starts again with the machine, so a slot further away than anyone could have
        taken was written before a restart.
        """
        text = file.read(_WIDTH).decode("ascii", errors="replace")
        furthest = now + round((MAX_HOLD_S + LOOKAHEAD_S) * _TICKS) + 2 * self.rate.interval
        if not text.isdigit() or int(text) > furthest * 1000:
            return self._algorithm.initial([self.rate])
        return self._algorithm.decode([text])


class RequestLimiter:
    """Lets requests to one host leave at a rate that all processes of this machine share.

    A shared file that cannot be written is a ``ConfigError``.
    """

    def __init__(self, requests_per_minute: float, folder: Path, host: str) -> None:
        """Prepare the shared file.

        Args:
            requests_per_minute: The rate; 0 is unlimited and touches no file.
            folder: Where the machine's processes share it.
            host: Host or address of the vendor; its two names share one rate.

        Raises:
            ConfigError: The folder cannot be written.
        """
        self._turn = threading.Lock()
        self._never = threading.Event()
        self._slots: SlotFile | None = None
        if requests_per_minute > 0:
            self._slots = SlotFile(_prepare_file(folder, host), requests_per_minute)

    def acquire(self, stop: threading.Event | None = None) -> float:
        """Wait until the next request may leave.

        Returns:
            The seconds waited.

        Raises:
            InterruptedFetchError: ``stop`` was set.
        """
        stop = stop or self._never
        started = time.monotonic()
        self._pause(0, stop)
        if self._slots is not None:
            self._wait_for_slot(self._slots, stop)
        return time.monotonic() - started

    def hold(self, seconds: float) -> None:
        """Let no process send anything for so long, because the vendor asked for it."""
        if self._slots is None:
            return
        ticks = round(min(seconds, MAX_HOLD_S) * _TICKS)
        with _named_failures(self._never):
            self._slots.hold(_read_clock(), ticks, self._never)

    def _wait_for_slot(self, slots: SlotFile, stop: threading.Event) -> None:
        is_waiting = True
        while is_waiting:
            slot = self._take_slot(slots, stop)
            self._pause(slot - _read_clock(), stop)
            is_waiting = is_too_late(slot, _read_clock())

    def _take_slot(self, slots: SlotFile, stop: threading.Event) -> int:
        """Take a slot and tell its tick; one thread of a process looks at a time."""
        while not self._turn.acquire(timeout=LOOKAHEAD_S):
            self._pause(0, stop)
        try:
            while True:
                now = _read_clock()
                with _named_failures(stop):
                    is_ours, wait = slots.take(now, stop)
                if is_ours:
                    return now + wait
                self._pause(wait - round(LOOKAHEAD_S * _TICKS), stop)
        finally:
            self._turn.release()

    def _pause(self, ticks: int, stop: threading.Event) -> None:
        if stop.wait(max(ticks, 0) / _TICKS):
            raise InterruptedFetchError("told to stop while waiting for the rate")


def is_too_late(slot: int, now: int) -> bool:
    """Say whether a request that leaves now could make one too many in some minute."""
    return now - slot > LATE_S * _TICKS


@contextmanager
def _named_failures(stop: threading.Event) -> Iterator[None]:
    """Give failures of the shared file their names."""
    try:
        yield
    except OSError as error:
        if isinstance(error, Timeout) and stop.is_set():
            raise InterruptedFetchError("told to stop while waiting for the rate") from error
        raise ConfigError(_explain_folder(error)) from error


def _prepare_file(folder: Path, host: str) -> Path:
    """Name the file of a host, in a folder that is there by then."""
    name = (urlsplit(host).hostname if "://" in host else host) or host
    name = "polygon" if name in VENDOR_HOSTS else name
    safe = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in name)
    with _named_failures(threading.Event()):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{safe}.slot"


def _write(file: FileIO, state: State) -> None:
    """Replace the state by one write of fixed length, which no kill can cut in half."""
    file.seek(0)
    file.write(f"{int(state[0]):0{_WIDTH}d}".encode())


def _explain_folder(error: OSError) -> str:
    reason = f"{error.strerror} ({error.filename})" if error.strerror else str(error)
    return (
        f"the request rate cannot be shared: {reason}; set SMALLCAPS_LIMITER_DIR to a folder on "
        "a local disk that can be written"
    )


def _read_clock() -> int:
    """Read the ticks of the clock that no one can set back; all processes read the same one."""
    return time.monotonic_ns() * _TICKS // 1_000_000_000
