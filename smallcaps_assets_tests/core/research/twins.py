"""Plain twins of the compiled loops: the same rules written once more, with lists and ``None``.

They share no line with the kernels, and are read beside ``docs/research.md``.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Bar = tuple[int, float, float, str]
"""Last print, theta, threshold, what closed it."""


def sign_plainly(
    prices: Iterable[float],
    live: Iterable[bool],
    auctions: Iterable[bool],
    restarts: Iterable[bool],
) -> list[int]:
    """Return the sign of each print, all of them counted and of more than 0 shares."""
    signs: list[int] = []
    reference: float | None = None
    sign = 0
    for price, is_live, is_auction, is_restart in zip(
        prices, live, auctions, restarts, strict=True
    ):
        if is_restart:
            reference, sign = None, 0
        if is_live:
            if reference is not None and price != reference:
                sign = 1 if price > reference else -1
            reference = price
        sign = 0 if is_auction else sign
        signs.append(sign)
    return signs


def cut_plainly(values: Sequence[float], wanted: float) -> list[Bar]:
    """Return the plain bars of a session."""
    bars: list[Bar] = []
    total = 0.0
    for place, value in enumerate(values):
        total += value
        if total >= wanted:
            bars.append((place, total, wanted, "threshold"))
            total = 0.0
    is_open = not bars or bars[-1][0] < len(values) - 1
    return [*bars, (len(values) - 1, total, wanted, "session_end")] if is_open and values else bars


@dataclass
class Blocks:
    """The calibration: finished blocks, and the one that is filling."""

    wanted: int
    memory: int = 30
    finished: int = 0
    expected: float = 0.0
    block: list[float] = field(default_factory=list)

    def add(self, flow: float) -> None:
        """Take a print that has a sign."""
        self.block.append(flow)
        if len(self.block) == self.wanted:
            largest = max(map(abs, itertools.accumulate(self.block)))
            self.finished += 1
            weight = max(2 / (self.memory + 1), 1 / self.finished)
            self.expected = weight * largest + (1 - weight) * self.expected
            self.block = []


def cut_imbalance_plainly(
    signs: Sequence[int], values: Sequence[float], wanted: int, cap: int = 10
) -> list[Bar]:
    """Return the imbalance bars of a session."""
    bars: list[Bar] = []
    blocks = Blocks(wanted)
    theta, count = 0.0, 0
    factor = math.sqrt(2 / math.pi)
    for place, (sign, value) in enumerate(zip(signs, values, strict=True)):
        before = blocks.expected
        theta, count = theta + sign * value, count + 1
        if sign:
            blocks.add(sign * value)
        reached = before > 0 and abs(theta) >= factor * before
        if reached or (before == 0 and count >= wanted) or count >= cap * wanted:
            reason = "imbalance" if reached else "cap" if before else "warm_up"
            bars.append((place, theta, factor * before, reason))
            theta, count = 0.0, 0
    if count:
        bars.append((len(signs) - 1, theta, factor * blocks.expected, "session_end"))
    return bars
