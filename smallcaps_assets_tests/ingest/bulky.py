"""A vendor whose trades hardly compress, so that few of them fill a disk."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.emulator import StaticSource
from smallcaps_assets.emulator.tape import TAPE_COLUMNS, Span, Tape

OPENING_NS: Final = 34_200 * 10**9
"""09:30 after midnight in New York."""
ID_BYTES: Final = 32
CALENDAR: Final = load_calendar()


class BulkySource(StaticSource):
    """The same number of trades in every session, each with an id of 32 random bytes.

    Attributes:
        count: Trades of a session.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        first, last = (_find_date(ns) for ns in (span.gte_ns, span.lt_ns - 1))
        for session_date in CALENDAR.dates(first, last):
            yield Tape.from_frame(make_bulk(ticker, session_date, self.count))


def make_bulk(ticker: str, session_date: dt.date, count: int) -> pl.DataFrame:
    """Return ``TAPE_COLUMNS`` of a session, always the same."""
    rng = np.random.default_rng([*ticker.encode(), session_date.toordinal()])
    instants = day_bounds_ns(session_date, session_date)[0] + OPENING_NS + np.arange(count) * 10**6
    text = rng.bytes(ID_BYTES * count).hex()
    width = 2 * ID_BYTES
    ids = [text[start : start + width] for start in range(0, len(text), width)]
    numbers = {
        "sip_timestamp": instants,
        "participant_timestamp": instants - 1_000,
        "sequence_number": np.arange(count) + 1,
        "price": 5.0 + rng.integers(0, 100, count) / 100,
        "size": rng.integers(1, 500, count),
        "id": ids,
    }
    constants = {name: pl.lit(0) for name in ("trf_timestamp", "trf_id", "correction")}
    frame = pl.DataFrame(numbers).with_columns(
        exchange=pl.lit(11), tape=pl.lit(3), conditions=pl.lit(""), decimal_size=None, **constants
    )
    return frame.select(pl.col(name).cast(dtype) for name, dtype in TAPE_COLUMNS.items())


def _find_date(instant_ns: int) -> dt.date:
    return (dt.datetime.fromtimestamp(instant_ns // 10**9, dt.UTC) - dt.timedelta(hours=5)).date()
