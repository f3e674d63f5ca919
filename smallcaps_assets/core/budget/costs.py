"""A cost as a value: an estimate, two of them compared, and whether one fits the disk.

What belongs here: what an estimate consists of and what is concluded from it.  What does not:
how one is made (``estimates``).
"""

from dataclasses import dataclass
from typing import Final

from smallcaps_assets.core.figures import format_bytes, format_hours, format_share
from smallcaps_assets.errors import ConfigError

DISK_SHARE: Final = 0.8
"""Share of the free bytes that a plan may fill."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted cost of fetching a plan.

    Attributes:
        method: ``constants``, ``calibrated`` or ``measured``.
        ticker_sessions: Sessions to fetch.
        requests: Requests the vendor counts.
        bytes_raw: Bytes as the vendor renders them, before compression.
        bytes_stored: Bytes of the files.
        hours: Time that the work takes, or the request rate where that is slower.
        arithmetic: The whole computation in words and numbers.
        bytes_overhead: Bytes that the file system and the lake's indices add to the files.
        rows: Trades; 0 where nobody counts them.
        runs: Runs that fetch it: what is missing may lie apart.
    """

    method: str
    ticker_sessions: int
    requests: int
    bytes_raw: int
    bytes_stored: int
    hours: float
    arithmetic: str
    bytes_overhead: int = 0
    rows: int = 0
    runs: int = 1

    @property
    def bytes_on_disk(self) -> int:
        """The bytes that the disk must have."""
        return self.bytes_stored + self.bytes_overhead

    @property
    def days(self) -> float:
        """The hours as days."""
        return self.hours / 24


@dataclass(frozen=True, slots=True)
class Comparison:
    """An optimised plan against the naive one.

    Attributes:
        naive: One window for all events, nothing merged.
        optimised: What is planned instead.
        saved_ratio: Share of the ticker-sessions saved.
        arithmetic: The computation in words and numbers.
    """

    naive: Estimate
    optimised: Estimate
    saved_ratio: float
    arithmetic: str


@dataclass(frozen=True, slots=True)
class DiskVerdict:
    """Whether an estimate fits the disk.

    Attributes:
        fits: It does.
        needed_bytes: Files and what the file system adds.
        allowed_bytes: The share of the free bytes that may be used.
        margin_bytes: What is left; negative: what is lacking.
        arithmetic: The computation in words and numbers.
    """

    fits: bool
    needed_bytes: int
    allowed_bytes: int
    margin_bytes: int
    arithmetic: str


def compare_estimates(naive: Estimate, optimised: Estimate) -> Comparison:
    """Tell what an optimised plan saves against the naive one."""
    before, after = naive.ticker_sessions, optimised.ticker_sessions
    saved = 1 - after / before if before else 0.0
    steps = (
        f"{before:,} - {after:,} = {before - after:,} ticker-sessions, {format_share(saved)} less",
        f"{format_bytes(optimised.bytes_raw)} against {format_bytes(naive.bytes_raw)} raw",
        f"{format_hours(optimised.hours)} against {format_hours(naive.hours)}",
    )
    return Comparison(naive, optimised, saved, "; ".join(steps))


def judge_disk(estimate: Estimate, free_bytes: int, share: float = DISK_SHARE) -> DiskVerdict:
    """Judge whether an estimate fits a share of the free bytes.

    Raises:
        ConfigError: The share is not between 0 and 1, or the free bytes are negative.
    """
    if not 0 < share <= 1 or free_bytes < 0:
        raise ConfigError(f"expected 0 < share <= 1 and free bytes, got {share}, {free_bytes}")
    allowed, needed = int(free_bytes * share), estimate.bytes_on_disk
    margin = allowed - needed
    verdict = "fits" if margin >= 0 else "does not fit"
    difference = f"{format_bytes(abs(margin))} {'left' if margin >= 0 else 'lacking'}"
    return DiskVerdict(
        fits=margin >= 0,
        needed_bytes=needed,
        allowed_bytes=allowed,
        margin_bytes=margin,
        arithmetic=(
            f"{format_bytes(needed)} needed, {format_bytes(free_bytes)} free x {share:g} = "
            f"{format_bytes(allowed)} allowed: {verdict}, {difference}"
        ),
    )
