"""Estimates side by side: optimised against naive, ours against published.

What belongs here: differences between estimates, in words and numbers.  What does not: the
estimates themselves (``estimates``).
"""

from dataclasses import dataclass

from smallcaps_assets.core.estimates import Estimate
from smallcaps_assets.core.figures import GB, format_bytes, format_hours, format_share


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


def compare_estimates(naive: Estimate, optimised: Estimate) -> Comparison:
    """Return what an optimised plan saves against the naive one."""
    before, after = naive.ticker_sessions, optimised.ticker_sessions
    saved = 1 - after / before if before else 0.0
    steps = (
        f"{before:,} - {after:,} = {before - after:,} ticker-sessions, {format_share(saved)} less",
        f"{format_bytes(optimised.bytes_raw)} against {format_bytes(naive.bytes_raw)} raw",
        f"{format_hours(optimised.hours)} against {format_hours(naive.hours)}",
    )
    return Comparison(naive, optimised, saved, "; ".join(steps))


def compare_published(estimate: Estimate, published_gb: float) -> str:
    """Return our stored size beside a published one, with the arithmetic that led to ours."""
    ours = estimate.bytes_stored / GB
    return (
        f"published: {published_gb:,.1f} GB; its own formula gives {ours:,.1f} GB: "
        f"{estimate.arithmetic}"
    )
