"""The trades of a made-up session as far as its daily bar depends on them.

What belongs here: prices, sizes, conditions and corrections, and the bar that follows
from them.  What does not: times, venues and ids (``dressing``).

Everything is vectorised, and nothing but a bar is drawn here: bars of a whole market cost
seconds, while most sessions' trades are never made.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from smallcaps_assets.core.ticks.conditions import CONDITION_RULES, UPDATE_RULES, VALID_CORRECTIONS
from smallcaps_assets.emulator.market.history import UNITS_PER_USD, Day, find_tick

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

FRACTION: Final = 64
"""Sizes are whole numbers of 1/64 share: their sums are exact in floats whatever the order."""
ROUND_LOT: Final = 100

KINDS: Final = {
    "plain": "",
    "sweep": "14,41",
    "exempt": "41",
    "cross": "9",
    "derived": "10,41",
    "prior_reference": "22",
    "odd_lot": "37",
    "odd_sweep": "14,37,41",
    "opening": "9,25",
    "closing": "8,9",
    "official_open": "16",
    "official_close": "15",
    "extended": "12",
    "extended_sweep": "14,12,41",
    "extended_odd": "12,37",
    "extended_odd_sweep": "14,12,37,41",
    "extended_late": "13",
    "out_of_sequence": "32",
    "bunched_sold": "5",
    "average": "2",
    "qualified": "53,41",
    "contingent": "52,41",
    "next_day": "20",
    "variation": "21",
}
"""Sorts of trades and their conditions in the order they are sent."""
CODES: Final = {kind: code for code, kind in enumerate(KINDS)}

_OFFICIAL_FROM: Final = 20
_AMENDED_FROM: Final = 60
_AMENDED_EVERY: Final = 20_000
_REGULAR_MIX: Final = (
    *("plain",) * 46,
    *("sweep",) * 34,
    *("exempt",) * 17,
    *("cross", "derived", "prior_reference"),
)
_EXTENDED_MIX: Final = (*("extended",) * 66, *("extended_sweep",) * 32, *("extended_late",) * 2)
_ODD_JOBS: Final = (
    *("out_of_sequence", "bunched_sold", "average", "qualified"),
    *("contingent", "next_day", "variation"),
)
_ODD_JOB_RATIO: Final = 0.006
_FRACTION_RATIO: Final = 0.02
_BELOW_A_SHARE_RATIO: Final = 0.007
_SUB_PENNY_RATIO: Final = 0.04
_FREE_PRICED: Final = ("average", "qualified", "contingent", "next_day", "variation")
_ODD_TWINS: Final = {
    "plain": "odd_lot",
    "exempt": "odd_lot",
    "cross": "odd_lot",
    "sweep": "odd_sweep",
    "extended": "extended_odd",
    "extended_sweep": "extended_odd_sweep",
}
_AMENDMENTS: Final = ((8, 10, 0.25), (1, 12, 0.20), (7, 11, 0.03))
"""Correction of the original, correction of the record, and how likely a session has one."""
_CORRECTED: Final = 12


def _encode(kinds: tuple[str, ...]) -> Codes:
    return np.array([CODES[kind] for kind in kinds], dtype=np.int8)


def _tabulate(rule: str) -> Bools:
    """Tabulate by code whether all conditions of a sort allow an update."""
    return np.array(
        [
            all(getattr(CONDITION_RULES[int(number)], rule) for number in ids.split(",") if number)
            for ids in KINDS.values()
        ]
    )


_ALLOWS: Final = {rule: _tabulate(rule) for rule in UPDATE_RULES}
_ODD_CODES: Final = _encode(tuple(_ODD_TWINS.get(kind, kind) for kind in KINDS))
_ODD_JOB_CODES: Final = _encode(_ODD_JOBS)
_OFFICIAL_CODES: Final = _encode(("official_open", "official_close"))
_IS_FREE_PRICED: Final = np.isin(np.arange(len(KINDS)), _encode(_FREE_PRICED))
_IS_VALID: Final = np.isin(np.arange(16), VALID_CORRECTIONS)
_MIXES: Final = {True: _encode(_REGULAR_MIX), False: _encode(_EXTENDED_MIX)}


@dataclass(frozen=True, slots=True)
class Prints:
    """Trades of a session: before, in and after the regular phase, then copies.

    Attributes:
        price: Price, units.
        size: Size in 1/64 share.
        kind: Sort, a code of ``KINDS``.
        correction: The vendor's correction indicator.
        source: For a record that cancels or corrects, the row it is about; else -1.
        pre: Rows before the regular phase.
        regular: Rows of the regular phase.
        post: Rows after it.
    """

    price: Ints
    size: Ints
    kind: Codes
    correction: Codes
    source: Ints
    pre: int
    regular: int
    post: int

    def __len__(self) -> int:
        return len(self.price)


def draw_prints(day: Day, rng: np.random.Generator) -> Prints:
    """Draw the trades of ``day``; equal generators give equal trades."""
    pre, regular, post = _count_phases(day)
    is_regular = np.zeros(pre + regular + post, dtype=np.bool_)
    is_regular[pre : pre + regular] = True
    anchors = _choose_anchors(day, regular, rng)
    is_anchor = np.zeros(len(is_regular), dtype=np.bool_)
    is_anchor[pre + np.array(list(anchors), dtype=np.int64)] = True
    size = _draw_sizes(day, is_anchor, rng)
    kind = _draw_kinds(size, is_regular, is_anchor, rng)
    if regular:
        kind[pre + regular - 1], kind[pre] = CODES["closing"], CODES["opening"]
    price = _draw_prices(day, (pre, regular, post), anchors, rng)
    is_free = _IS_FREE_PRICED[kind]
    price[is_free] = _scatter(price[is_free], 0.01, rng)
    ordinary = Prints(
        price=price,
        size=size,
        kind=kind,
        correction=np.zeros(len(price), dtype=np.int8),
        source=np.full(len(price), -1),
        pre=pre,
        regular=regular,
        post=post,
    )
    return _amend(_add_official(ordinary), ~is_anchor & is_regular, day, rng)


def build_bar(prints: Prints) -> dict[str, Any] | None:
    """Build the daily bar as the vendor sends it, or ``None`` if nothing updates volume.

    Where nothing may update a price, all that updates volume does, as in ``core``.
    """
    counted = _IS_VALID[prints.correction] & _ALLOWS["updates_volume"][prints.kind]
    volume = int(prints.size[counted].sum())
    if not counted.any():
        return None
    opening = _select_prices(prints, counted, "updates_open_close")
    extremes = _select_prices(prints, counted, "updates_high_low")
    amount = float(np.dot(prints.price[counted].astype(np.float64), prints.size[counted]))
    bar = {
        "v": volume / FRACTION,
        "o": int(opening[0]) / UNITS_PER_USD,
        "c": int(opening[-1]) / UNITS_PER_USD,
        "h": int(extremes.max()) / UNITS_PER_USD,
        "l": int(extremes.min()) / UNITS_PER_USD,
        "n": int(counted.sum()),
    }
    return {**bar, "vw": round(amount / volume / UNITS_PER_USD, 4)} if volume else bar


def _select_prices(prints: Prints, counted: Bools, rule: str) -> Ints:
    allowed = counted & _ALLOWS[rule][prints.kind]
    return prints.price[allowed if allowed.any() else counted]


def _count_phases(day: Day) -> tuple[int, int, int]:
    if day.phase == "pre":
        return day.trades, 0, 0
    if day.phase == "post":
        return 0, 0, day.trades
    pre, post = int(day.trades * 0.03), int(day.trades * 0.045)
    return pre, day.trades - pre - post, post


def _choose_anchors(day: Day, regular: int, rng: np.random.Generator) -> dict[int, int]:
    """Choose the regular rows that make the bar: row to price."""
    if regular < 4:  # noqa: PLR2004  one row each for open, high, low and close
        prices = [day.open, day.high, day.close][:regular]
        return dict(enumerate([*prices[:-1], day.close] if prices else []))
    inner = regular - 2
    high = int(rng.integers(0, inner))
    low = (high + int(rng.integers(1, inner))) % inner
    return {0: day.open, high + 1: day.high, low + 1: day.low, regular - 1: day.close}


def _draw_sizes(day: Day, is_anchor: Bools, rng: np.random.Generator) -> Ints:
    """Draw sizes in 1/64 share: odd lots, round lots, now and then a fraction of a share."""
    count = len(is_anchor)
    shares = np.maximum(1, day.mean_size * np.exp(rng.normal(-0.5, 1.0, count))).astype(np.int64)
    shares = np.where(shares >= ROUND_LOT, shares // ROUND_LOT * ROUND_LOT, shares)
    shares[is_anchor] = np.maximum(shares[is_anchor], ROUND_LOT)
    chance = rng.random(count)
    fraction = rng.integers(1, FRACTION, count)
    size = shares * FRACTION + np.where(chance < _FRACTION_RATIO, fraction, 0)
    size = np.where(chance < _BELOW_A_SHARE_RATIO, fraction, size)
    return np.where(is_anchor, shares * FRACTION, size)


def _draw_kinds(size: Ints, is_regular: Bools, is_anchor: Bools, rng: np.random.Generator) -> Codes:
    """Draw sorts; a lot below 100 shares has its own, and never makes a price of the bar."""
    pick = rng.integers(0, len(_REGULAR_MIX), len(size))
    kind = np.where(is_regular, _MIXES[True][pick], _MIXES[False][pick])
    kind = np.where(size < ROUND_LOT * FRACTION, _ODD_CODES[kind], kind)
    chance = rng.random(len(size))
    job = (chance / _ODD_JOB_RATIO * len(_ODD_JOBS)).astype(np.int64) % len(_ODD_JOBS)
    kind = np.where((chance < _ODD_JOB_RATIO) & is_regular, _ODD_JOB_CODES[job], kind)
    kind[is_anchor] = CODES["plain"]
    return kind.astype(np.int8)


def _draw_prices(
    day: Day, phases: tuple[int, int, int], anchors: dict[int, int], rng: np.random.Generator
) -> Ints:
    pre, regular, post = phases
    before = _scatter(np.full(pre, day.open), 0.008, rng, tick=find_tick(day.low))
    after = _scatter(np.full(post, day.close), 0.006, rng, tick=find_tick(day.low))
    return np.concatenate((before, _draw_path(day, regular, anchors, rng), after))


def _draw_path(day: Day, count: int, anchors: dict[int, int], rng: np.random.Generator) -> Ints:
    """Draw a walk through the anchors that never leaves the day's range."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    tick = find_tick(day.low)
    rows = np.arange(count)
    fixed = sorted(anchors)
    line = np.interp(rows, fixed, [anchors[row] for row in fixed])
    walk = np.cumsum(rng.normal(0, 0.4 * (day.high - day.low) / np.sqrt(count), count))
    bounce = rng.integers(-1, 2, count)
    price = np.round((line + walk - rows / count * walk[-1]) / tick + bounce) * tick
    chance = rng.random(count)
    price += np.where((chance < _SUB_PENNY_RATIO) & (tick > 1), np.floor(chance * 2_500), 0)
    path: Ints = np.clip(price, day.low, day.high).astype(np.int64)
    path[fixed] = [anchors[row] for row in fixed]
    return path


def _scatter(price: Ints, sigma: float, rng: np.random.Generator, *, tick: int = 1) -> Ints:
    """Scatter prices a little, never below one tick."""
    moved = price * (1 + rng.normal(0, sigma, len(price)))
    return (np.maximum(1, np.round(moved / tick)) * tick).astype(np.int64)


def _add_official(prints: Prints) -> Prints:
    """Add the listing market's official open and close, which update nothing."""
    if prints.regular < _OFFICIAL_FROM:
        return prints
    rows = np.array([prints.pre, prints.pre + prints.regular - 1])
    return _append(prints, rows, _OFFICIAL_CODES, np.zeros(2, dtype=np.int8), source=np.full(2, -1))


def _amend(prints: Prints, may_change: Bools, day: Day, rng: np.random.Generator) -> Prints:
    """Withdraw some trades and add the records that say so."""
    if prints.regular < _AMENDED_FROM:
        return prints
    for original, record, likelihood in _AMENDMENTS:
        count = int(prints.regular // _AMENDED_EVERY + rng.random() + likelihood)
        if count == 0:
            continue
        rows = prints.pre + rng.choice(prints.regular, count, replace=False)
        rows = np.sort(rows[may_change[rows] & (prints.correction[rows] == 0)])
        prints.correction[rows] = original
        kinds = prints.kind[rows]
        if record == _CORRECTED:
            kinds = np.full(len(rows), CODES["out_of_sequence"], dtype=np.int8)
            prints.price[rows] = np.clip(prints.price[rows], day.low, day.high)
        corrections = np.full(len(rows), record, dtype=np.int8)
        prints = _append(prints, rows, kinds, corrections, source=rows)
        if record == _CORRECTED:
            prints.price[rows] += prints.price[rows] // 8 + 1
    return prints


def _append(
    prints: Prints, rows: Ints, kinds: Codes, corrections: Codes, *, source: Ints
) -> Prints:
    """Append copies of ``rows`` to the trades."""
    return Prints(
        price=np.concatenate((prints.price, prints.price[rows])),
        size=np.concatenate((prints.size, prints.size[rows])),
        kind=np.concatenate((prints.kind, kinds)),
        correction=np.concatenate((prints.correction, corrections)),
        source=np.concatenate((prints.source, source)),
        pre=prints.pre,
        regular=prints.regular,
        post=prints.post,
    )
