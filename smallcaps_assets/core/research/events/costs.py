"""What a trade costs: spread, impact, commission, fees, borrowing.

What belongs here: costs of one trade from what was known at its decision.  What does not: the
prints it was made at (``labels``).  The spread is estimated from bars by EDGE (Ardia, Guidotti and
Kroencke, 2024), because there are no quotes.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from smallcaps_assets.core.research.events.parameters import CostRules

SPREAD_BARS: Final = 390
"""Regular minute bars before the decision that tell of the spread: a day of them."""
FEWEST_BARS: Final = 60

_DAYS_PER_YEAR: Final = 360
_FEWEST_FOR_EDGE: Final = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade, in and out, as far as its costs depend on it.

    Attributes:
        side: 1 bought first, -1 sold first.
        shares: Shares of each way.
        entry_price: Print of the entry, USD.
        exit_price: Print of the exit in shares of the entry, USD.
        half_spread: A fraction of the price.
        sigma: Daily volatility.
        participation: Shares over those of a day.
        days: Calendar days from entry to exit.
    """

    side: int
    shares: float
    entry_price: float
    exit_price: float
    half_spread: float
    sigma: float
    participation: float
    days: int


def estimate_edge(bars: Floats) -> float:
    """Estimate the full spread by EDGE, a fraction of the price; NaN where it is undefined.

    Args:
        bars: Rows of bars in order, columns open, high, low and close, USD.
    """
    if len(bars) < _FEWEST_FOR_EDGE:
        return math.nan
    moments = _measure_moments(np.log(bars))
    if moments is None:
        return math.nan
    first, second = moments
    mean_first, mean_second = np.nanmean(first), np.nanmean(second)
    variance_first = np.nanmean(first**2) - mean_first**2
    variance_second = np.nanmean(second**2) - mean_second**2
    total = variance_first + variance_second
    weighted = (
        (variance_second * mean_first + variance_first * mean_second) / total
        if total > 0
        else (mean_first + mean_second) / 2
    )
    return float(np.sqrt(np.abs(weighted)) * (weighted > 0))


def estimate_half_spread(bars: Floats, price: float, rules: CostRules) -> float:
    """Estimate half the spread that a trade has to pay, a fraction of the price.

    Args:
        bars: Open, high, low and close of the last regular minute bars, at most 390.
        price: Price known, USD; NaN: none.
        rules: Bounds, and what holds where too few bars tell.
    """
    is_penny = price < 1
    if len(bars) < FEWEST_BARS:
        return rules.penny_half_spread if is_penny else rules.unknown_half_spread
    tick = 0.0001 if is_penny else 0.01
    candidates = (estimate_edge(bars) / 2, tick / 2 / price, rules.lowest_half_spread)
    return max(value for value in candidates if math.isfinite(value))


def measure_net_return(trade: Trade, rules: CostRules) -> float:
    """Measure profit over the notional of the entry, after all costs."""
    impact = rules.impact * trade.sigma * math.sqrt(trade.participation)
    slip = trade.half_spread + impact
    entry = trade.entry_price * (1 + trade.side * slip)
    exit_ = trade.exit_price * (1 - trade.side * slip)
    gross = trade.side * (exit_ - entry) * trade.shares
    sold = exit_ if trade.side > 0 else entry
    fees = sum(charge_commission(trade.shares, price, rules) for price in (entry, exit_))
    fees += rules.sec_fee * max(0.0, sold) * trade.shares
    fees += min(rules.taf_per_share * trade.shares, rules.highest_taf)
    if trade.side < 0:
        notional = entry * trade.shares
        fees += rules.borrow_rate * notional * max(1, trade.days) / _DAYS_PER_YEAR
    return (gross - fees) / (trade.entry_price * trade.shares)


def charge_commission(shares: float, price: float, rules: CostRules) -> float:
    """Charge the commission of one order, USD; the cap wins over the floor."""
    wanted = max(rules.lowest_commission, rules.commission_per_share * shares)
    return min(wanted, rules.highest_commission * shares * max(0.0, price))


def _measure_moments(logs: Floats) -> tuple[Floats, Floats] | None:
    """Measure the two products of which EDGE weighs the means; ``None``: prices do not move."""
    o, h, low = logs[1:, :3].T
    h1, l1, c1 = logs[:-1, 1], logs[:-1, 2], logs[:-1, 3]
    m, m1 = (h + low) / 2, (h1 + l1) / 2
    r1, r2, r3, r4, r5 = m - o, o - m1, m - c1, c1 - m1, o - c1
    moves = np.where((h != low) | (low != c1), 1.0, 0.0)
    share = moves.mean()
    opens = _share(o != h, moves) + _share(o != low, moves)
    closes = _share(c1 != h1, moves) + _share(c1 != l1, moves)
    if moves.sum() < 2 or opens == 0 or closes == 0:  # noqa: PLR2004  two moves, as published
        return None
    d1 = r1 - r1.mean() / share * moves
    d3 = r3 - r3.mean() / share * moves
    d5 = r5 - r5.mean() / share * moves
    first = -4 / opens * d1 * r2 - 4 / closes * d3 * r4
    second = -4 / opens * d1 * r5 - 4 / closes * d5 * r4
    return first, second


def _share(condition: npt.NDArray[np.bool_], moves: Floats) -> float:
    return float((condition * moves).mean())
