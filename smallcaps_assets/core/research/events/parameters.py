"""What labels and costs go by: the tables ``[labels]`` and ``[costs]`` of the file of settings.

What belongs here: the values, their defaults and their bounds.  What does not: how they are used
(``labels``, ``costs``, ``win_rates``).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Final, TypeVar

from smallcaps_assets.core.events.rules import EVENT_NAMES, IMPORTED_EVENT
from smallcaps_assets.core.research.information_bars import BarRules
from smallcaps_assets.errors import ConfigError

SECOND_NS: Final = 1_000_000_000
ALL_EVENTS: Final = (IMPORTED_EVENT, *EVENT_NAMES)
SHORT_EVENTS: Final = ("E7_FirstRedDay",)


def _default_sides() -> dict[str, int]:
    return {event: -1 if event in SHORT_EVENTS else 1 for event in ALL_EVENTS}


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How a decision becomes a trade and a label.

    Attributes:
        latency_s: Seconds from what was known to the first possible entry.
        max_wait_s: Seconds after which an entry is given up.
        last_entry_s: Seconds before the close from which on no entry is made.
        exit_before_close_s: Seconds before the close at which time is up.
        multiple: Barrier over volatility.
        lowest_barrier: Least barrier, a return.
        highest_barrier: Greatest barrier, a return.
        notional_usd: Size of a trade, for its costs.
        draws: Draws of the bootstrap of win rates.
        seed: Its seed.
        sides: Side of each event, 1 or -1.
    """

    latency_s: float = 1.0
    max_wait_s: float = 300.0
    last_entry_s: float = 1_800.0
    exit_before_close_s: float = 60.0
    multiple: float = 1.0
    lowest_barrier: float = 0.02
    highest_barrier: float = 0.50
    notional_usd: float = 10_000.0
    draws: int = 2_000
    seed: int = 1
    sides: Mapping[str, int] = field(default_factory=_default_sides)

    @property
    def latency_ns(self) -> int:
        """The latency in nanoseconds."""
        return _count_ns(self.latency_s)

    @property
    def max_wait_ns(self) -> int:
        """The longest wait in nanoseconds."""
        return _count_ns(self.max_wait_s)

    @property
    def last_entry_ns(self) -> int:
        """The time before the close without entries in nanoseconds."""
        return _count_ns(self.last_entry_s)

    @property
    def exit_ns(self) -> int:
        """The time from the vertical barrier to the close in nanoseconds."""
        return _count_ns(self.exit_before_close_s)


@dataclass(frozen=True, slots=True)
class CostRules:
    """What a trade costs.

    Attributes:
        impact: Impact over volatility times root of participation (Y).
        lowest_half_spread: Least half spread, over the price.
        unknown_half_spread: Half spread where too few bars tell.
        penny_half_spread: The same below 1 USD.
        commission_per_share: USD a share.
        lowest_commission: USD a trade.
        highest_commission: Share of the trade; it wins over the lowest.
        sec_fee: Over the proceeds of a sale.
        taf_per_share: USD a share sold.
        highest_taf: USD a sale.
        borrow_rate: A year of 360 days, over the entry of a short.
    """

    impact: float = 1.0
    lowest_half_spread: float = 0.0005
    unknown_half_spread: float = 0.005
    penny_half_spread: float = 0.01
    commission_per_share: float = 0.005
    lowest_commission: float = 1.0
    highest_commission: float = 0.01
    sec_fee: float = 27.8e-6
    taf_per_share: float = 0.000166
    highest_taf: float = 8.30
    borrow_rate: float = 0.5


Rules = TypeVar("Rules", BarRules, LabelRules, CostRules)


def parse_rules(defaults: Rules, overrides: Mapping[str, object], section: str) -> Rules:
    """Put ``overrides`` in the place of defaults.

    Args:
        defaults: The values in force without any.
        overrides: Numbers by name, ``sides`` as a table of 1 and -1 by event, ``kinds`` as a list.
        section: Name of the table of the file, for messages.

    Raises:
        ConfigError: A name is unknown, or a value is not what it should be.
    """
    values = asdict(defaults)
    for name, value in overrides.items():
        if name not in values:
            raise ConfigError(f"[{section}] {name}: unknown; expected one of {', '.join(values)}")
        if name == "sides":
            values[name] = values[name] | _parse_sides(value)
        elif name == "kinds":
            values[name] = _parse_kinds(value)
        else:
            values[name] = _parse_number(f"[{section}] {name}", value, type(values[name]))
    return type(defaults)(**values)


def parse_event(name: str) -> str:
    """Find the full name of an event given in full or by its number (``e6``).

    Raises:
        ConfigError: There is no such event.
    """
    for event in ALL_EVENTS:
        if name.strip().lower() in {event.lower(), event.partition("_")[0].lower()}:
            return event
    raise ConfigError(f"no event {name!r}: expected some of {', '.join(ALL_EVENTS)}, or E1 to E11")


@cache
def _count_ns(seconds: float) -> int:
    """Count whole nanoseconds; labels ask for the same few a hundred thousand times."""
    return round(seconds * SECOND_NS)


def _parse_sides(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"[labels] sides: expected a table such as {{E7 = -1}}, got {value!r}")
    wrong = {name: side for name, side in value.items() if side not in (1, -1)}
    if wrong:
        raise ConfigError(f"[labels] sides: expected 1 or -1, got {wrong}")
    return {parse_event(str(name)): int(side) for name, side in value.items()}


def _parse_kinds(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in value):
        raise ConfigError(f"[bars] kinds: expected a list of texts, got {value!r}")
    return tuple(value)


def _parse_number(name: str, value: object, kind: type[float]) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_whole = kind is not int or isinstance(value, int)
    if is_number and is_whole and math.isfinite(number := float(str(value))) and number >= 0:
        return kind(number)
    word = "whole number" if kind is int else "number"
    raise ConfigError(f"{name}: expected a {word} of at least 0, got {value!r}")
