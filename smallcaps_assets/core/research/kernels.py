"""Compiled loops over prints: what is sequential, and nothing else.

What belongs here: loops that carry a state from one print to the next, over plain arrays, each
with a plain twin in the tests.  What does not: columns and frames (the modules that call them), and
anything polars says in one expression.  This is the only module that knows numba.  It is loaded
when a kernel is first called, so that the rest works where the extra `[research]` is not installed.
"""

from collections.abc import Callable
from functools import cached_property, update_wrapper
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
