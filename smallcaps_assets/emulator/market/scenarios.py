"""Traps for research, planted in named sessions of a made-up market.

What belongs here: which session gets which trap, and the prints that make it.  What does not: the
market without them (``prints``, ``dressing``), whose rows never change: a trap draws from a stream
of its own, and none is planted unless the configuration asks for it.

A daily bar is built from the planted prints, so bars and prints agree, and no trap changes the
number of prints of a session.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.emulator.market.dressing import SECOND_NS, Hours
from smallcaps_assets.emulator.market.history import Day, History, find_tick
from smallcaps_assets.emulator.market.prints import CODES, Bools, Prints

SPIKE: Final = (6, 5)
"""Level of a spike over the open of the session, as a fraction of whole numbers."""
HALT_NS: Final = 600 * SECOND_NS
LATE_NS: Final = 1_200 * SECOND_NS
REOPENING: Final = "28"

_FROM_TRADES: Final = 100
_ODD_LOT_RATIO: Final = 1.4
_WITHDRAWN_RATIO: Final = 1.5
_TOUCHED: Final = 5
_CANCELLED: Final = 8
_HALT_FROM: Final = 0.3


class Scenario(StrEnum):
    """One trap.

    ``lone_spike``: one print alone reaches the level.  ``out_of_sequence``: all that reach it are
    sold out of sequence.  ``late_spike``: all that reach it are reported late.  ``tie``: prints
    reach it exactly.  ``odd_lots`` and ``withdrawn``: prints far above the market that make no
    price.  ``halt``: ten minutes without any print, ended by a reopening print.
    """

    LONE_SPIKE = "lone_spike"
    OUT_OF_SEQUENCE = "out_of_sequence"
    LATE_SPIKE = "late_spike"
    TIE = "tie"
    ODD_LOTS = "odd_lots"
    WITHDRAWN = "withdrawn"
    HALT = "halt"


_SPIKES: Final = (
    Scenario.LONE_SPIKE,
    Scenario.TIE,
    Scenario.OUT_OF_SEQUENCE,
    Scenario.LATE_SPIKE,
)
_AROUND_PEAK: Final = {0: Scenario.HALT, 1: Scenario.ODD_LOTS, 4: Scenario.WITHDRAWN}
"""Sessions after the height of an episode, and what is planted there."""


def name_scenarios(history: History) -> dict[int, Scenario]:
    """Choose the sessions of a company that get a trap, counted from its first."""
    named = {
        peak + shift: scenario
        for peak in history.peaks
        for shift, scenario in _AROUND_PEAK.items()
        if peak + shift < len(history.days) and _is_lively(history.days[peak + shift])
    }
    spikes = [number for number, day in enumerate(history.days) if _has_lone_spike(day)]
    for place, number in enumerate(spikes):
        wanted = _SPIKES[place % len(_SPIKES)]
        fits = wanted is not Scenario.TIE or _has_exact_level(history.days[number])
        named[number] = wanted if fits else Scenario.LONE_SPIKE
    return named


def plant_prints(prints: Prints, day: Day, scenario: Scenario, rng: np.random.Generator) -> Prints:
    """Change prices, sorts and corrections as a trap asks; times are changed later."""
    price, kind, correction = prints.price.copy(), prints.kind.copy(), prints.correction.copy()
    level = find_level(day)
    reaches = (price >= level) & _select_regular(prints)
    if scenario is Scenario.LONE_SPIKE:
        reaches[np.argmax(reaches & (price == day.high) & (kind == CODES["plain"]))] = False
        price[reaches] = level - find_tick(day.low)
    elif scenario is Scenario.TIE:
        price[reaches] = level
    elif scenario is Scenario.OUT_OF_SEQUENCE:
        kind[reaches] = CODES["out_of_sequence"]
    elif scenario is Scenario.ODD_LOTS:
        rows = _choose(prints, prints.kind == CODES["odd_lot"], rng)
        price[rows] = round(day.high * _ODD_LOT_RATIO)
    elif scenario is Scenario.WITHDRAWN:
        rows = _choose(prints, _is_ordinary(prints, day), rng)
        price[rows] = round(day.high * _WITHDRAWN_RATIO)
        correction[rows] = _CANCELLED
    return replace(prints, price=price, kind=kind, correction=correction)


def plant_tape(tape: pl.DataFrame, day: Day, hours: Hours, scenario: Scenario) -> pl.DataFrame:
    """Change the times of a tape as a trap asks; its order stays.

    Args:
        tape: Columns of a dressed session, in tape order.
        day: The session as decided beforehand.
        hours: Its instants.
        scenario: The trap.
    """
    if scenario is Scenario.HALT:
        return _plant_halt(tape, hours)
    if scenario is Scenario.LATE_SPIKE:
        return _plant_late(tape, hours, find_level(day) / 10_000)
    return tape


def find_level(day: Day) -> int:
    """Find the lowest price that is a spike, units."""
    return -(-day.open * SPIKE[0] // SPIKE[1])


def _plant_halt(tape: pl.DataFrame, hours: Hours) -> pl.DataFrame:
    """Squeeze what follows the begin of the halt into the time that is left after it."""
    start = hours.open + int((hours.close - hours.open) * _HALT_FROM)
    sip = tape["sip_timestamp"]
    inside = sip.is_between(start, hours.close, closed="left")
    if not inside.any():
        return tape
    left = hours.close - start
    # A product of two times is beyond 64 bits, and a float would lose nanoseconds.
    squeezed = [(time - start) * (left - HALT_NS) // left for time in sip.to_list()]
    moved = start + HALT_NS + pl.Series(squeezed, dtype=pl.Int64)
    delay = (moved - sip).zip_with(inside, pl.zeros(tape.height, pl.Int64, eager=True))
    first = pl.int_range(tape.height, eager=True) == int(inside.arg_max() or 0)
    return tape.with_columns(
        sip_timestamp=sip + delay,
        participant_timestamp=tape["participant_timestamp"] + delay,
        trf_timestamp=pl.when(pl.col("trf_timestamp") > 0)
        .then(pl.col("trf_timestamp") + delay)
        .otherwise("trf_timestamp"),
        conditions=pl.when(first & (pl.col("correction") == 0))
        .then(pl.lit(REOPENING))
        .otherwise("conditions"),
    )


def _plant_late(tape: pl.DataFrame, hours: Hours, level: float) -> pl.DataFrame:
    """Let prints at the level have been executed twenty minutes before they were reported."""
    is_late = (pl.col("price") >= level) & pl.col("sip_timestamp").is_between(
        hours.open, hours.close, closed="left"
    )
    executed = pl.col("participant_timestamp")
    return tape.with_columns(pl.when(is_late).then(executed - LATE_NS).otherwise(executed))


def _is_lively(day: Day) -> bool:
    return day.phase == "all" and day.trades >= _FROM_TRADES


def _has_lone_spike(day: Day) -> bool:
    """Say whether the high is a spike and the close is none, so that few prints reach it."""
    level = find_level(day)
    return _is_lively(day) and day.close < level - find_tick(day.low) and day.high >= level


def _has_exact_level(day: Day) -> bool:
    tick = find_tick(day.low)
    return day.open * SPIKE[0] % (SPIKE[1] * tick) == 0


def _select_regular(prints: Prints) -> Bools:
    """Select the prints of the regular phase, and the records about some of them."""
    is_regular = np.ones(len(prints), dtype=np.bool_)
    is_regular[: prints.pre] = False
    after = prints.pre + prints.regular
    is_regular[after : after + prints.post] = False
    return is_regular


def _is_ordinary(prints: Prints, day: Day) -> Bools:
    """Mark plain prints that make neither open, high, low nor close of the bar."""
    inner = (prints.price > day.low) & (prints.price < day.high)
    is_plain: Bools = inner & (prints.kind == CODES["plain"])
    is_plain[: prints.pre + 1] = False
    return is_plain


def _choose(prints: Prints, allowed: Bools, rng: np.random.Generator) -> Sequence[int]:
    """Draw some rows of the regular phase that no record is about."""
    is_free = (prints.correction == 0) & (prints.source < 0)
    rows = np.flatnonzero(allowed & is_free & _select_regular(prints))
    chosen: list[int] = rng.permutation(rows)[:_TOUCHED].tolist()
    return chosen
