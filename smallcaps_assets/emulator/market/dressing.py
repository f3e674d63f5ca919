"""The trades of a made-up session in full: times, venues, sequence numbers and ids.

What belongs here: everything about a trade that no daily bar depends on.  What does not: prices,
sizes and conditions (``prints``).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.emulator.market.history import UNITS_PER_USD
from smallcaps_assets.emulator.market.prints import CODES, FRACTION, KINDS, Bools, Ints, Prints
from smallcaps_assets.emulator.tape import TAPE_COLUMNS

SECOND_NS: Final = 1_000_000_000
TRF: Final = 4
"""Exchange of everything reported off exchange."""

_VENUES: Final = np.array([4, 12, 19, 8, 11, 10, 7, 18, 2, 21, 15, 1, 9, 20, 3, 14])
_VENUE_SHARES: Final = np.array([34, 16, 8, 8, 9, 5, 3, 3, 2, 5, 3, 1, 0.5, 1.5, 0.7, 0.3])
_PRIMARY_VENUES: Final = {1: 10, 2: 1, 3: 12}
_TRF_IDS: Final = np.array([201, 201, 201, 202, 202, 203])
_ID_STARTS: Final = {1: 52_983_525_000_000, 4: 71_675_222_000_000, 12: 62_879_131_000_000}
_ID_FAMILIES: Final = {1: 1, 3: 1, 9: 1, 10: 1, 11: 1, 4: 4, 12: 12, 2: 12}
_ID_PREFIXES: Final = {21: "900]:", 20: "9V^"}
_FRACTION_TEXTS: Final = tuple(f"{part / FRACTION:.6f}"[1:].rstrip("0") for part in range(FRACTION))
_DECIMALS: Final = pl.Series([text if len(text) > 1 else ".0" for text in _FRACTION_TEXTS])
_CONDITIONS: Final = pl.Series(list(KINDS.values()))
_NEVER_OFF_EXCHANGE: Final = np.array(
    [code for kind, code in CODES.items() if "sweep" in kind or "official" in kind]
)
_SHARED_TIME_RATIO: Final = 0.12
_LATE_RATIO: Final = 0.007
_OVERNIGHT_LIKELIHOOD: Final = 0.5
_AT_THE_BELL_LIKELIHOOD: Final = 0.1


@dataclass(frozen=True, slots=True)
class Hours:
    """The instants of a session, ns since 1970 UTC.

    Attributes:
        pre_open: Begin of the pre-market.
        open: Begin of the regular phase.
        close: Its end.
        post_close: End of the after-hours.
    """

    pre_open: int
    open: int
    close: int
    post_close: int


@dataclass(frozen=True, slots=True)
class _Venues:
    """Where each trade happened and when it was known where, in drawn order."""

    exchange: Ints
    participant: Ints
    trf_id: Ints
    trf_time: Ints


def dress_prints(
    prints: Prints, hours: Hours, rng: np.random.Generator, *, tape: int, halts: int = 0
) -> pl.DataFrame:
    """Dress the trades as ``TAPE_COLUMNS``, in tape order."""
    times = _draw_times(prints, hours, rng, halts)
    order = np.argsort(times, kind="stable")
    sequence = _number(prints, order, rng)
    venues = _draw_venues(prints, times, hours, rng, tape)
    whole, part = np.divmod(prints.size, FRACTION)
    frame = pl.DataFrame(
        {
            "sip_timestamp": times,
            "participant_timestamp": venues.participant,
            "trf_timestamp": venues.trf_time,
            "sequence_number": sequence,
            "id": _name(venues.exchange, sequence),
            "price": prints.price / UNITS_PER_USD,
            "size": whole,
            "decimal_size": _write_decimals(whole, part, venues.exchange),
            "exchange": venues.exchange,
            "tape": np.full(len(times), tape),
            "trf_id": venues.trf_id,
            "conditions": _CONDITIONS.gather(prints.kind.astype(np.uint32)),
            "correction": prints.correction.astype(np.int64),
        },
        schema=TAPE_COLUMNS,
    )
    return frame[order]


def _draw_times(prints: Prints, hours: Hours, rng: np.random.Generator, halts: int) -> Ints:
    """Draw when the SIP received each trade; some share a nanosecond."""
    pre = _spread(hours.pre_open, hours.open, rng.beta(2, 0.8, prints.pre))
    shares = _skip_halts(np.sort(rng.beta(0.7, 0.7, prints.regular)), halts, rng)
    regular = _spread(hours.open, hours.close, shares)
    post = _spread(hours.close + SECOND_NS, hours.post_close, rng.beta(0.5, 2, prints.post))
    if len(regular) > 1:
        regular[-1] = hours.close + rng.integers(40_000_000, 900_000_000)
    if len(pre) and rng.random() < _OVERNIGHT_LIKELIHOOD:
        pre[0] = hours.pre_open + rng.integers(1_000_000, 31_000_000)
    if len(post) and rng.random() < _AT_THE_BELL_LIKELIHOOD:
        post[-1] = hours.post_close + rng.integers(1_000_000, 9_000_000)
    ordinary = np.concatenate((pre, _share_times(regular, rng), post))
    return np.concatenate((ordinary, _follow(prints, ordinary, rng)))


def _spread(start: int, end: int, shares: npt.NDArray[np.float64]) -> Ints:
    return start + (np.sort(shares) * (end - start - 1)).astype(np.int64)


def _skip_halts(
    shares: npt.NDArray[np.float64], halts: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Move times, as shares of the regular phase, out of halts of 5 to 20 minutes."""
    lengths = rng.uniform(0.013, 0.05, halts)
    starts = np.sort(rng.uniform(0.05, 0.9, halts))
    shares = shares * (1 - lengths.sum())
    for start, length in zip(starts, lengths, strict=True):
        shares = np.where(shares >= start, shares + length, shares)
    return shares


def _share_times(times: Ints, rng: np.random.Generator) -> Ints:
    """Give some trades the time of the one before, as the legs of a sweep have."""
    is_leg = rng.random(len(times)) < _SHARED_TIME_RATIO
    is_leg[-1:] = False
    is_leg[:1] = False
    return np.maximum.accumulate(np.where(is_leg, 0, times)) if len(times) else times


def _follow(prints: Prints, ordinary: Ints, rng: np.random.Generator) -> Ints:
    """Time official prices and records, each after the trade it follows."""
    source = prints.source[len(ordinary) :]
    delay = rng.integers(30 * SECOND_NS, 1_200 * SECOND_NS, len(source))
    first, last = prints.pre, prints.pre + prints.regular - 1
    kind = prints.kind[len(ordinary) :]
    is_official = source < 0
    followed = np.where(kind == CODES["official_open"], first, np.where(is_official, last, source))
    return ordinary[followed] + np.where(is_official, 15_000, delay)


def _number(prints: Prints, order: Ints, rng: np.random.Generator) -> Ints:
    """Number the trades along the tape; a record has the number of its original."""
    sequence = np.empty(len(order), dtype=np.int64)
    sequence[order] = 1_000 + np.cumsum(rng.integers(1, 30, len(order)))
    is_record = prints.source >= 0
    sequence[is_record] = sequence[prints.source[is_record]]
    return sequence


def _draw_venues(
    prints: Prints, times: Ints, hours: Hours, rng: np.random.Generator, tape: int
) -> _Venues:
    exchange = _draw_exchanges(prints, times, hours, rng, tape)
    count = len(exchange)
    is_off = exchange == TRF
    trf_time = times - rng.lognormal(10.6, 0.5, count).astype(np.int64)
    on_exchange = times - rng.lognormal(12.2, 0.5, count).astype(np.int64)
    reported = trf_time - _draw_reporting_lags(times, hours, rng)
    participant = np.where(is_off, reported, on_exchange)
    trf_id = np.where(is_off, _TRF_IDS[rng.integers(0, len(_TRF_IDS), count)], 0)
    is_record = prints.source >= 0
    participant[is_record] = participant[prints.source[is_record]]
    trf_id[is_record] = trf_id[prints.source[is_record]]
    return _Venues(exchange, participant, trf_id, np.where(is_off, trf_time, 0))


def _draw_reporting_lags(times: Ints, hours: Hours, rng: np.random.Generator) -> Ints:
    """Draw how long off-exchange trades waited: milliseconds, some hours, or overnight."""
    lags = rng.lognormal(15.4, 1.3, len(times)).astype(np.int64)
    is_late = rng.random(len(times)) < _LATE_RATIO
    lags = np.where(is_late, rng.integers(11 * SECOND_NS, 3_000 * SECOND_NS, len(times)), lags)
    is_overnight = times < hours.pre_open + SECOND_NS
    overnight = rng.integers(60 * SECOND_NS, 13_000 * SECOND_NS, len(times))
    return np.where(is_overnight, overnight, lags)


def _draw_exchanges(
    prints: Prints, times: Ints, hours: Hours, rng: np.random.Generator, tape: int
) -> Ints:
    """Draw venues: fractions and prices below a cent only off exchange, crosses at home."""
    limits = np.cumsum(_VENUE_SHARES) / _VENUE_SHARES.sum()
    exchange = _VENUES[np.searchsorted(limits[:-1], rng.random(len(prints)))]
    is_sweep = np.isin(prints.kind, _NEVER_OFF_EXCHANGE)
    exchange = np.where(is_sweep & (exchange == TRF), 11, exchange)
    exchange = np.where(_must_be_off_exchange(prints, times, hours), TRF, exchange)
    at_home = ("opening", "closing", "official_open", "official_close")
    is_home = np.isin(prints.kind, [CODES[kind] for kind in at_home])
    exchange = np.where(is_home, _PRIMARY_VENUES[tape], exchange)
    is_record = prints.source >= 0
    exchange[is_record] = exchange[prints.source[is_record]]
    return exchange


def _must_be_off_exchange(prints: Prints, times: Ints, hours: Hours) -> Bools:
    has_fraction = prints.size % FRACTION != 0
    is_sub_penny = (prints.price >= UNITS_PER_USD) & (prints.price % 100 != 0)
    is_overnight = times < hours.pre_open + SECOND_NS
    is_off: Bools = has_fraction | is_sub_penny | (prints.kind == CODES["average"]) | is_overnight
    return is_off


def _name(exchange: Ints, sequence: Ints) -> pl.Series:
    """Make ids unique per exchange: long numbers, short ones, some with punctuation."""
    starts = np.zeros(64, dtype=np.int64)
    for venue, family in _ID_FAMILIES.items():
        starts[venue] = _ID_STARTS[family]
    prefixes = pl.Series([_ID_PREFIXES.get(venue, "") for venue in range(64)])
    numbers = pl.Series(starts[exchange] + sequence).cast(pl.String)
    return prefixes.gather(exchange.astype(np.uint32)) + numbers


def _write_decimals(whole: Ints, part: Ints, exchange: Ints) -> pl.Series:
    """Write exact sizes as text, sent for off-exchange trades and for fractions."""
    texts = pl.Series(whole).cast(pl.String) + _DECIMALS.gather(part.astype(np.uint32))
    is_sent = pl.Series((exchange == TRF) | (part != 0))
    return texts.zip_with(is_sent, pl.Series([None], dtype=pl.String))
