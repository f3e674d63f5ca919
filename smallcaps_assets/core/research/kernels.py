"""Compiled loops over prints: what is sequential, and nothing else.

What belongs here: loops that carry a state from one print to the next, over plain arrays, each
with a plain twin in the tests.  What does not: columns and frames (the modules that call them), and
anything polars says in one expression.  This is the only module that knows numba.  It is loaded
when a kernel is first called, so that the rest works where the extra `[research]` is not installed.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
from importlib.util import find_spec
from typing import Generic, ParamSpec, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from smallcaps_assets.errors import ConfigError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.int8]
Flags: TypeAlias = npt.NDArray[np.bool_]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

HOW_TO_INSTALL = "pip install 'smallcaps-assets[research]'"


def is_installed() -> bool:
    """Say whether the extra is there, without loading it."""
    return find_spec("numba") is not None


class Kernel(Generic[Arguments, Result]):
    """A function that is compiled when it is first called.

    Attributes:
        py_func: The function as it is written, for tests and for reading.
    """

    def __init__(self, py_func: Callable[Arguments, Result]) -> None:
        """Take the function; nothing is compiled yet."""
        self.py_func = py_func
        update_wrapper(self, py_func)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Run the compiled function.

        Raises:
            ConfigError: numba is not installed.
        """
        return self._compiled(*args, **kwargs)

    @cached_property
    def _compiled(self) -> Callable[Arguments, Result]:
        try:
            import numba  # noqa: PLC0415  an extra, and half a second
        except ImportError as error:
            raise ConfigError(f"research needs numba, not found: {HOW_TO_INSTALL}") from error
        # Neither fastmath nor parallel: equal input gives equal bits.
        compiled: Callable[Arguments, Result] = numba.njit(cache=True, nogil=True)(self.py_func)
        return compiled


def jit(function: Callable[Arguments, Result]) -> Kernel[Arguments, Result]:
    """Compile a function on its first call; the result is kept on the disk."""
    return Kernel(function)


@jit
def sign_ticks(
    prices: Floats, sizes: Floats, is_counted: Flags, is_live: Flags, cuts: tuple[Flags, Flags]
) -> Bytes:
    """Sign prints by the tick rule: 1 buyer, -1 seller, 0 nobody knows.

    A live print takes the direction of the last change of live prices; another counted print the
    sign in force.  An auction sets the reference price and has no sign, nor has what follows it
    before the next change.

    Args:
        prices: USD.
        sizes: Shares; a print of 0 shares signs nothing.
        is_counted: Volume prints; the others keep 0.
        is_live: Live prints.
        cuts: Where reference price and sign are forgotten before a print, and which prints are
            auctions.
    """
    is_restart, is_auction = cuts
    signs = np.zeros(prices.size, np.int8)
    reference = np.nan
    sign = 0
    for i in range(prices.size):
        if is_restart[i]:
            reference = np.nan
            sign = 0
        if not is_counted[i]:
            continue
        if is_live[i] and sizes[i] > 0.0:
            if prices[i] > reference:
                sign = 1
            elif prices[i] < reference:
                sign = -1
            reference = prices[i]
        if is_auction[i]:
            sign = 0
        if sizes[i] > 0.0:
            signs[i] = sign
    return signs


SUMMED = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "dollar",
    "trade_count",
    "price_count",
    "tick_rule_buy_volume",
    "tick_rule_sell_volume",
    "signed_dollar",
    "odd_lot_volume",
    "trf_volume",
    "auction_volume",
    "realised_variance",
)
"""Columns of :func:`sum_bars`."""

RANGE_ROLE, PRICE_ROLE, AUCTION_ROLE, TRF_ROLE = 1, 2, 4, 8


@jit
def sum_bars(prices: Floats, sizes: Floats, roles: Bytes, signs: Bytes, lasts: Integers) -> Floats:
    """Sum volume prints to bars, in the order of the tape.

    Args:
        prices: USD.
        sizes: Shares.
        roles: What each print may set besides: the sum of its roles.
        signs: 1 bought, -1 sold, 0 unknown.
        lasts: Last print of each bar; the first bar begins with print 0, each other one behind
            the bar before it.

    Returns:
        One row a bar with the columns :data:`SUMMED`; NaN: no print set it.
    """
    bars = np.zeros((lasts.size, 15))
    first = 0
    for bar in range(lasts.size):
        opened = high = low = close = np.nan
        volume = dollar = bought = sold = signed = odd = trf = auction = variance = 0.0
        priced = 0
        for i in range(first, lasts[bar] + 1):
            price = prices[i]
            size = sizes[i]
            amount = price * size
            role = roles[i]
            volume += size
            dollar += amount
            if signs[i] > 0:
                bought += size
                signed += amount
            elif signs[i] < 0:
                sold += size
                signed -= amount
            if size < 100.0:
                odd += size
            if role & TRF_ROLE:
                trf += size
            if role & AUCTION_ROLE:
                auction += size
            if role & RANGE_ROLE:
                high = price if not high >= price else high
                low = price if not low <= price else low
            if role & PRICE_ROLE:
                if priced == 0:
                    opened = price
                elif price != close:
                    variance += np.log(price / close) ** 2
                close = price
                priced += 1
        bars[bar, 0] = opened
        bars[bar, 1] = high
        bars[bar, 2] = low
        bars[bar, 3] = close
        bars[bar, 4] = volume
        bars[bar, 5] = dollar
        bars[bar, 6] = lasts[bar] + 1 - first
        bars[bar, 7] = priced
        bars[bar, 8] = bought
        bars[bar, 9] = sold
        bars[bar, 10] = signed
        bars[bar, 11] = odd
        bars[bar, 12] = trf
        bars[bar, 13] = auction
        bars[bar, 14] = variance if priced > 1 else np.nan
        first = lasts[bar] + 1
    return bars


THRESHOLD, IMBALANCE, WARM_UP, CAP, SESSION_END = range(5)
"""What closed a bar, in the words of :data:`CLOSED_BY`."""
CLOSED_BY = ("threshold", "imbalance", "warm_up", "cap", "session_end")

CALIBRATION = float(np.sqrt(2.0 / np.pi))
"""Threshold over the mean of the largest running imbalance of a block: in a flow without drift a
bar then has as many prints as a block."""

Cuts: TypeAlias = tuple[Integers, Bytes, Bytes, Floats]
"""Of each bar: its last print, what closed it, doublings; and ``theta``, ``threshold``, ``wanted``
as a row."""


@jit
def cut_plain_bars(values: Floats, firsts: Integers, wanted: Floats, max_bars: int) -> Cuts:
    """Cut sessions where the sum of values reaches what is wanted; nothing is carried over.

    Args:
        values: What each print adds: 1, shares or USD.
        firsts: First print of each session, and the number of all prints.
        wanted: Sum that closes a bar of each session; above 0.
        max_bars: Bars of a session after which the wanted sum doubles, each time.
    """
    lasts = np.empty(values.size, np.int64)
    closed_by = np.empty(values.size, np.int8)
    doublings = np.empty(values.size, np.int8)
    figures = np.empty((values.size, 3))
    bars = 0
    for session in range(wanted.size):
        target = wanted[session]
        total = 0.0
        made = doubled = 0
        for i in range(firsts[session], firsts[session + 1]):
            total += values[i]
            if total >= target or i == firsts[session + 1] - 1:
                lasts[bars] = i
                closed_by[bars] = THRESHOLD if total >= target else SESSION_END
                doublings[bars] = doubled
                figures[bars, 0] = total
                figures[bars, 1] = target
                figures[bars, 2] = target
                bars += 1
                made += 1
                total = 0.0
                if made % max_bars == 0:
                    target *= 2.0
                    doubled += 1
    return (
        lasts[:bars].copy(),
        closed_by[:bars].copy(),
        doublings[:bars].copy(),
        figures[:bars].copy(),
    )


@jit
def cut_imbalance_bars(
    flows: Floats, signs: Bytes, firsts: Integers, wanted: Floats, rules: tuple[float, int, int]
) -> Cuts:
    """Cut sessions where their imbalance reaches what a block of ``wanted`` prints reaches.

    The prints that have a sign fall into blocks of T.  E is the exponential mean, over the
    finished blocks of the session, of the largest running imbalance.  A bar closes at the first
    print at which its own imbalance reaches E times :data:`CALIBRATION`, E as it was before that
    print; before the first block every T prints; and at the latest after ``cap`` times T.

    Args:
        flows: Signed 1, shares or USD of each print.
        signs: 1, -1, or 0: the print belongs to no block.
        firsts: First print of each session, and the number of all prints.
        wanted: T of each session.
        rules: Weight of the newest block, at the least; the cap, in T; bars of a session after
            which T doubles and E begins again, each time.
    """
    weight, cap, max_bars = rules
    lasts = np.empty(flows.size, np.int64)
    closed_by = np.empty(flows.size, np.int8)
    doublings = np.empty(flows.size, np.int8)
    figures = np.empty((flows.size, 3))
    bars = 0
    for session in range(wanted.size):
        target = wanted[session]
        expected = theta = block = largest = 0.0
        count = blocks = signed = made = doubled = 0
        for i in range(firsts[session], firsts[session + 1]):
            theta += flows[i]
            count += 1
            before = expected
            if signs[i] != 0:
                block += flows[i]
                signed += 1
                largest = max(largest, abs(block))
                if signed >= target:
                    blocks += 1
                    expected += max(weight, 1.0 / blocks) * (largest - expected)
                    block = largest = 0.0
                    signed = 0
            if before > 0.0 and abs(theta) >= CALIBRATION * before:
                reason = IMBALANCE
            elif before == 0.0 and count >= target:
                reason = WARM_UP
            elif count >= cap * target:
                reason = CAP
            elif i == firsts[session + 1] - 1:
                reason = SESSION_END
                before = expected
            else:
                continue
            lasts[bars] = i
            closed_by[bars] = reason
            doublings[bars] = doubled
            figures[bars, 0] = theta
            figures[bars, 1] = CALIBRATION * before
            figures[bars, 2] = target
            bars += 1
            made += 1
            theta = 0.0
            count = 0
            if made % max_bars == 0:
                target *= 2.0
                doubled += 1
                expected = block = largest = 0.0
                blocks = signed = 0
    return (
        lasts[:bars].copy(),
        closed_by[:bars].copy(),
        doublings[:bars].copy(),
        figures[:bars].copy(),
    )


@jit
def measure_windows(x: Floats, y: Floats, firsts: Integers, window: int) -> Floats:
    """Measure pairs over the last rows of each session, each row anew.

    A rolling sum would keep the rounding of large values that left it long ago, and its last bits
    would depend on where it began.

    Args:
        x: One value a row; NaN: the pair does not count.
        y: Another one.
        firsts: First row of each session, and the number of all rows.
        window: Rows looked back, the row itself included; never into the session before.

    Returns:
        Of each row: pairs, mean of x, mean of y, sum of squares of x about its mean, and of
        products about the means; NaN without pairs.
    """
    rows = np.full((x.size, 5), np.nan)
    for session in range(firsts.size - 1):
        for i in range(firsts[session], firsts[session + 1]):
            start = max(firsts[session], i + 1 - window)
            count = 0
            sum_x = sum_y = 0.0
            for j in range(start, i + 1):
                if x[j] == x[j] and y[j] == y[j]:
                    count += 1
                    sum_x += x[j]
                    sum_y += y[j]
            rows[i, 0] = count
            if count == 0:
                continue
            mean_x = sum_x / count
            mean_y = sum_y / count
            squares = products = 0.0
            for j in range(start, i + 1):
                if x[j] == x[j] and y[j] == y[j]:
                    squares += (x[j] - mean_x) ** 2
                    products += (x[j] - mean_x) * (y[j] - mean_y)
            rows[i, 1] = mean_x
            rows[i, 2] = mean_y
            rows[i, 3] = squares
            rows[i, 4] = products
    return rows
