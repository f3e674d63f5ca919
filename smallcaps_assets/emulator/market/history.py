"""The daily history of a made-up company: prices, activity, runs and crashes, splits.

What belongs here: what is decided per session, before any trade exists.  What does not: trades
(``prints``).

Prices are whole numbers of 0.0001 USD, so that what is sent is the decimal that was meant.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from smallcaps_assets.emulator.market.listings import PREFERRED, THIN, Company

UNITS_PER_USD: Final = 10_000

_FULL_YEARS: Final = 500
_WARM_UP: Final = 24
_BUSY_HOSTS: Final = 6
_BUSIEST_HOSTS: Final = (0, 1)
_BUSIEST_PEAK: Final = 2
_HALTED_RANK: Final = 2
_HALTED_AFTER: Final = 3
_REVERSION: Final = 0.03
_IDLE_RATIO: Final = 0.12
_PRE_ONLY_RATIO: Final = 0.02
_POST_ONLY_RATIO: Final = 0.03
_HALTING_MOVE: Final = 0.2
_NEWS_HALT_RATIO: Final = 0.004


@dataclass(frozen=True, slots=True)
class Day:
    """One session as decided beforehand.

    Attributes:
        open: First price, units.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        trades: Trades that update volume, about.
        mean_size: Shares of an ordinary trade.
        phase: ``all``, or the only one that trades: ``pre`` or ``post``.
        halts: Trading halts in the regular phase.
    """

    open: int
    high: int
    low: int
    close: int
    trades: int
    mean_size: float
    phase: str = "all"
    halts: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """A split before the open of a session: ``split_from`` shares become ``split_to``."""

    session: int
    split_from: int
    split_to: int

    @property
    def price_ratio(self) -> float:
        """The factor that the price is multiplied by."""
        return self.split_from / self.split_to


@dataclass(frozen=True, slots=True)
class History:
    """All sessions of a company, from its first to its last.

    Attributes:
        days: One per session.
        splits: Its splits.
        peaks: Sessions, counted from its first, where an episode is at its height.
    """

    days: tuple[Day, ...]
    splits: tuple[Split, ...]
    peaks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Activity:
    """How much the market trades.

    Attributes:
        scale: Multiplies the trades of every session.
        busy_trades: Trades of a busy day, about; the two busiest have twice as many.
    """

    scale: float = 1.0
    busy_trades: int = 60_000


_SHAPE = ("gap", "body", "upper", "lower", "activity")
_PUMP: Final = (
    (0.13, 0.26, 0.08, 0.03, 12),
    (0.06, 0.20, 0.10, 0.03, 16),
    (0.12, 0.32, 0.12, 0.03, 22),
    (-0.17, -0.34, 0.02, 0.05, 15),
    (-0.03, -0.08, 0.02, 0.03, 6),
    (-0.02, -0.05, 0.02, 0.03, 4),
    (0.11, 0.13, 0.05, 0.02, 20),
)
_CRASH: Final = (
    (-0.18, -0.36, 0.02, 0.04, 12),
    (-0.02, -0.06, 0.02, 0.03, 6),
    (-0.01, -0.04, 0.02, 0.03, 4),
    (0.11, 0.12, 0.03, 0.02, 14),
)
_BREAKOUT: Final = (
    (0.03, 0.09, 0.02, 0.02, 3),
    (0.03, 0.11, 0.03, 0.02, 5),
    (0.12, 0.24, 0.05, 0.02, 12),
    (-0.02, -0.05, 0.02, 0.03, 5),
)
_EPISODES: Final = (_PUMP, _CRASH, _PUMP, _BREAKOUT, _PUMP)


def build_history(
    company: Company, sessions: int, rng: np.random.Generator, activity: Activity
) -> History:
    """Build the history of ``company`` over so many sessions."""
    shape = _draw_calm_days(company, sessions, rng)
    starts = _place_episodes(company, sessions, rng)
    peaks = tuple(_write_episode(shape, number, start, rng) for number, start in starts)
    splits = _plan_splits(company, sessions, [start for _, start in starts])
    trades = _plan_trades(company, shape[:, 4], rng, activity)
    _plan_busy_days(company, peaks, trades, activity)
    _plan_full_halts(company, peaks, trades)
    days = _walk(company, shape, trades, {split.session: split for split in splits}, rng)
    return History(tuple(days), splits, peaks)


def _draw_calm_days(
    company: Company, sessions: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw one row per session: gap, body, upper and lower shadow, activity."""
    sigma = company.role.volatility
    shape = np.empty((sessions, len(_SHAPE)))
    shape[:, 0] = rng.normal(0, sigma * 0.4, sessions)
    shape[:, 1] = rng.standard_t(5, sessions) * sigma * 0.7
    shape[:, 2:4] = np.abs(rng.normal(0, sigma * 0.5, (sessions, 2)))
    shape[:, 4] = 1.0
    return shape


def _place_episodes(
    company: Company, sessions: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Place the episodes apart from one another: number and first session of each."""
    count = round(company.role.episodes * sessions / _FULL_YEARS)
    if company.role.episodes and sessions > _FULL_YEARS // 4:
        count = max(count, 2)
    if count == 0:
        return []
    room = (sessions - _WARM_UP) // count
    slack = max(1, room - len(_PUMP) - 3)
    return [
        (number, start)
        for number in range(count)
        if (start := _WARM_UP + number * room + int(rng.integers(0, slack))) < sessions
    ]


def _write_episode(
    shape: npt.NDArray[np.float64], number: int, start: int, rng: np.random.Generator
) -> int:
    """Write an episode over calm days and return the session of its height."""
    script = np.array(_EPISODES[number % len(_EPISODES)])[: len(shape) - start]
    strength = np.array([*rng.uniform(0.95, 1.2, 4), rng.uniform(0.9, 1.3)])
    shape[start : start + len(script)] = script * strength
    return start + int(np.argmax(np.abs(script[:, 0]) + np.abs(script[:, 1]) * (script[:, 1] > 0)))


def _plan_splits(company: Company, sessions: int, starts: list[int]) -> tuple[Split, ...]:
    """Plan reverse splits of some runners and forward splits of some others."""
    middle = int(sessions * 0.55)
    while any(start - 3 <= middle <= start + len(_PUMP) + 3 for start in starts):
        middle += 1
    if middle >= sessions or sessions < _WARM_UP:
        return ()
    if company.rank is not None and company.rank % 3 == 1:
        return (Split(middle, 10, 1),)
    if company.number % 7 == 0:
        return (Split(middle, 1, 4),)
    if company.number % 11 == 0:
        return (Split(middle, 2, 3),)
    return ()


def _plan_trades(
    company: Company,
    activity_ratio: npt.NDArray[np.float64],
    rng: np.random.Generator,
    activity: Activity,
) -> npt.NDArray[np.int64]:
    """Plan the trades of each session; thin companies have sessions without any."""
    noise = np.exp(rng.normal(-0.05, 0.35, len(activity_ratio)))
    trades = company.role.trades * activity.scale * noise * activity_ratio**0.75
    if company.role in {THIN, PREFERRED}:
        trades *= rng.random(len(trades)) > _IDLE_RATIO
    return np.asarray(np.round(trades), dtype=np.int64)


def _plan_busy_days(
    company: Company,
    peaks: tuple[int, ...],
    trades: npt.NDArray[np.int64],
    activity: Activity,
) -> None:
    """Make the height of some episodes of the first runners very busy."""
    if company.rank is None or company.rank >= _BUSY_HOSTS:
        return
    if not peaks or not activity.busy_trades:
        return
    share = 0.88 + 0.07 * company.rank
    trades[peaks[0]] = round(activity.busy_trades * share)
    if company.rank in _BUSIEST_HOSTS and len(peaks) > _BUSIEST_PEAK:
        trades[peaks[_BUSIEST_PEAK]] = round(activity.busy_trades * (1.85 + 0.15 * company.rank))


def _plan_full_halts(
    company: Company, peaks: tuple[int, ...], trades: npt.NDArray[np.int64]
) -> None:
    """Halt every fourth runner for a whole session soon after its first height."""
    if company.rank is not None and company.rank % 4 == _HALTED_RANK and peaks:
        trades[peaks[0] + _HALTED_AFTER : peaks[0] + _HALTED_AFTER + 1] = 0


def _walk(
    company: Company,
    shape: npt.NDArray[np.float64],
    trades: npt.NDArray[np.int64],
    splits: dict[int, Split],
    rng: np.random.Generator,
) -> Iterator[Day]:
    """Yield the days, each price drawn back a little to the company's own level."""
    level = company.price or float(rng.uniform(*company.role.prices))
    chances = rng.random((len(shape), 2))
    close = level
    for session, (gap, body, upper, lower, activity_ratio) in enumerate(shape.tolist()):
        if session in splits:
            level *= splits[session].price_ratio
            close *= splits[session].price_ratio
        first = close * (1 + gap)
        pull = math.exp(-_REVERSION * math.log(close / level)) if activity_ratio == 1 else 1
        last = first * (1 + body) * pull
        day = _round_prices(first, last, upper, lower)
        close = day[3] / UNITS_PER_USD
        yield Day(
            *day,
            trades=int(trades[session]),
            mean_size=_size_trades(close, activity_ratio),
            phase=_choose_phase(company, float(chances[session, 0])),
            halts=_count_halts(body, float(chances[session, 1])),
        )


def _round_prices(
    first: float, last: float, upper: float, lower: float
) -> tuple[int, int, int, int]:
    """Round open, high, low and close to units, on the tick of the price."""
    high = max(first, last) * (1 + upper)
    low = min(first, last) * (1 - min(lower, 0.5))
    tick = find_tick(round(low * UNITS_PER_USD))
    prices = [max(tick, round(p * UNITS_PER_USD / tick) * tick) for p in (first, high, low, last)]
    return prices[0], prices[1], prices[2], prices[3]


def find_tick(low: int) -> int:
    """Find the smallest price step, in units: a cent, or 0.0001 USD below one dollar."""
    return 100 if low >= UNITS_PER_USD else 1


def _size_trades(close: float, activity_ratio: float) -> float:
    """Size an ordinary trade in shares: about the same money at any price."""
    return min(2_000.0, max(8.0, 900 / close)) * math.pow(activity_ratio, 0.25)


def _choose_phase(company: Company, chance: float) -> str:
    if company.role is not THIN or chance > _PRE_ONLY_RATIO + _POST_ONLY_RATIO:
        return "all"
    return "pre" if chance < _PRE_ONLY_RATIO else "post"


def _count_halts(body: float, chance: float) -> int:
    if abs(body) > _HALTING_MOVE:
        return 1 + int(chance * 3)
    return int(chance < _NEWS_HALT_RATIO)
