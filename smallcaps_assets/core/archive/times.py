"""Instants of archives: numbers, texts and dates of unknown unit and zone, made nanoseconds.

What belongs here: what unit and zone a column is in, and what was lost before it was stored.
What does not: other columns (``columns``), the day a row belongs to (``sessions``).

A unit is recognised by magnitude: the years 1990 to 2100 in seconds, milliseconds, microseconds
and nanoseconds do not overlap.  A time without a zone is a guess whatever one does, so it is
read in the zone that puts more rows into the hours they belong to, and said to be a guess.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.archive.findings import Finding, FindingKind
from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.ticks.phases import AFTER_HOURS, PRE_MARKET, REGULAR
from smallcaps_assets.core.ticks.tape import Integers

NS: Final = 10**9
UNITS: Final = {"s": NS, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds of each unit."""

_FIRST_NS: Final = 631_152_000 * NS
_LAST_NS: Final = 4_102_444_800 * NS
"""1990 and 2100: what lies outside is no instant of a trade."""

_FLOAT_STEP_NS: Final = 128
"""Nanoseconds of this century in a 64-bit float are multiples of it."""
_COARSE_SHARE: Final = 0.05
"""Share of rows on a coarser step than a nanosecond from which they did not get there by chance."""

_SHOWN_LETTERS: Final = 40
_NAIVE_FORMAT: Final = "%Y-%m-%d %H:%M:%S%.f"
_OFFSET: Final = r"(?:Z|[+-]\d{2}:?\d{2})$"
_HOURS: Final = {
    PRE_MARKET: (dt.time(4), dt.time(9, 30)),
    REGULAR: (dt.time(9, 30), dt.time(16)),
    AFTER_HOURS: (dt.time(16), dt.time(20)),
}
"""New York times of the phases, but for early closes: enough to tell two zones apart."""


Hours = tuple[dt.time, dt.time]


@dataclass(frozen=True, slots=True)
class Instants:
    """A column of instants as it was understood.

    Attributes:
        values: Nanoseconds since 1970, Int64, null where there is none; ``None``: not understood.
        findings: What is to be said about it; why, where it was not understood.
    """

    values: pl.Series | None
    findings: tuple[Finding, ...] = ()


def parse_instants(column: pl.Series, phase: str | None = None) -> Instants:
    """Parse a column of numbers, texts or times to nanoseconds since 1970.

    0 counts as null, because the vendor's files write it where an instant is unknown.  Rows are
    of the phase that the name of their file says, mostly regular by default.
    """
    name, dtype = column.name, column.dtype
    hours = _HOURS.get(phase or REGULAR, _HOURS[REGULAR])
    if isinstance(dtype, pl.Datetime):
        return _parse_datetimes(column, dtype, hours)
    if dtype.is_integer():
        return _parse_numbers(column.cast(pl.Int64, strict=False), is_float=False)
    if dtype.is_float():
        return _parse_numbers(column.cast(pl.Float64).fill_nan(None), is_float=True)
    if dtype == pl.Null:
        return Instants(pl.Series(name, [None] * column.len(), pl.Int64))
    if dtype in (pl.String, pl.Categorical):
        return _parse_texts(column.cast(pl.String), phase)
    return _refuse(name, f"expected instants, got {dtype}")


def measure_resolution(instants: Integers) -> Iterator[Finding]:
    """Yield a finding where the instants of a file are coarser than the nanoseconds of the tape.

    One in a thousand nanoseconds is a whole microsecond by chance, and all of a small file may
    be: such a file stays unproven, which costs one request.
    """
    if not instants.size:
        return
    share = float((instants % NS != 0).mean())
    if _is_common(instants % NS == 0):
        message = f"{share:.1%} of the rows have a part of a second: the rest was cut off"
        yield Finding(FindingKind.CUT_TO_SECONDS, message)
        return
    for unit in ("ms", "us"):
        is_whole = instants % UNITS[unit] == 0
        if _is_common(is_whole):
            message = f"{is_whole.mean():.1%} of the rows have no digits below the {unit}"
            yield Finding(FindingKind.COARSE_TIMESTAMPS, message)
            return
    if (instants % _FLOAT_STEP_NS == 0).all():
        message = f"every row is a multiple of {_FLOAT_STEP_NS} ns: it was a floating-point number"
        yield Finding(FindingKind.COARSE_TIMESTAMPS, message)


def show_value(column: pl.Series, row: int) -> str:
    """Show a value of a column in a message, cut to what a line takes."""
    value = column[row] if row < column.len() else None
    return "null" if value is None else repr(value)[:_SHOWN_LETTERS]


def _is_common(is_whole: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> bool:
    """Say whether rows on a coarse step are more than chance would put there."""
    count = int(is_whole.sum())
    return count == is_whole.size or count > max(1.0, _COARSE_SHARE * is_whole.size)


def _parse_datetimes(column: pl.Series, dtype: pl.Datetime, hours: Hours) -> Instants:
    numbers = column.to_physical().rename(column.name)
    unit = UNITS[dtype.time_unit or "us"]
    understood = _scale(numbers, unit)
    if understood is None:
        return _refuse(column.name, "expected instants from 1990 to 2100")
    note = _note_type(column.name, dtype, is_same=unit == 1)
    if dtype.time_zone is not None:
        return Instants(understood, note)
    return _read_naive(understood, note, hours)


def _parse_numbers(numbers: pl.Series, *, is_float: bool) -> Instants:
    known = numbers.filter(numbers.is_not_null() & (numbers != 0))
    unit = next((name for name in UNITS if _is_within(known, UNITS[name])), None)
    if unit is None:
        return _refuse(numbers.name, "expected one unit of time, and instants from 1990 to 2100")
    findings = (
        () if unit == "ns" or known.is_empty() else (_note(numbers.name, f"numbers of {unit}"),)
    )
    if is_float:
        message = f"{numbers.name}: floating-point {unit}: nanoseconds are rounded"
        findings = (Finding(FindingKind.LOSSY_TYPES, message),)
        numbers = (numbers * UNITS[unit]).round()
        return Instants(_drop_zeros(numbers.cast(pl.Int64)), findings)
    return Instants(_drop_zeros(numbers * UNITS[unit]), findings)


def _parse_texts(texts: pl.Series, phase: str | None) -> Instants:
    filled = texts.filter(texts.is_not_null() & (texts != ""))
    texts = pl.select(pl.when(texts != "").then(texts).alias(texts.name)).to_series()
    note = (_note(texts.name, "text"),)
    numbers = texts.cast(pl.Int64, strict=False)
    if numbers.count() == filled.len():
        understood = _parse_numbers(numbers, is_float=False)
        return Instants(understood.values, (*note, *understood.findings))
    if 2 * int(filled.str.contains(_OFFSET).sum()) >= filled.len():
        texts = texts.str.replace("^(.{10}) ", "${1}T")
        times = texts.str.to_datetime("%+", time_unit="ns", time_zone="UTC", strict=False)
    else:
        texts = texts.str.replace("T", " ", literal=True)
        times = texts.str.to_datetime(_NAIVE_FORMAT, time_unit="ns", strict=False)
    if times.count() < filled.len():
        # Of numbers and times, those are meant that there are more of.
        read = numbers if numbers.count() > times.count() else times
        row = int((read.is_null() & texts.is_not_null()).arg_true()[0])
        return _refuse(
            texts.name, f"expected instants, got {show_value(texts, row)} in row {row + 1}"
        )
    understood = parse_instants(times, phase)
    return Instants(understood.values, (*note, *understood.findings))


def _read_naive(readings: pl.Series, note: tuple[Finding, ...], hours: Hours) -> Instants:
    """Read times, given as if in UTC, in the zone that puts more rows into their hours."""
    name = readings.name
    times = readings.cast(pl.Datetime("ns"))
    in_utc = times.dt.replace_time_zone("UTC")
    in_new_york = times.dt.replace_time_zone(
        NEW_YORK.key, ambiguous="earliest", non_existent="null"
    )
    fitting = _count_within(in_utc.dt.convert_time_zone(NEW_YORK.key), hours)
    otherwise = _count_within(in_new_york, hours)
    counts = f"{fitting} and {otherwise} of {times.len()} rows fit"
    if fitting > otherwise:
        message = f"{name}: no time zone; as UTC and as New York {counts}: read as UTC"
        return Instants(readings, (*note, Finding(FindingKind.NAIVE_TIMES, message)))
    message = f"{name}: no time zone; as UTC and as New York {counts}: read as New York"
    values = in_new_york.dt.convert_time_zone("UTC").to_physical().rename(name)
    return Instants(values, (*note, Finding(FindingKind.LOCAL_TIMES, message)))


def _count_within(times: pl.Series, hours: Hours) -> int:
    return int(times.dt.time().is_between(*hours, closed="left").sum())


def _scale(numbers: pl.Series, unit: int) -> pl.Series | None:
    known = numbers.filter(numbers.is_not_null() & (numbers != 0))
    return _drop_zeros(numbers * unit) if _is_within(known, unit) else None


def _is_within(known: pl.Series, unit: int) -> bool:
    """Say whether numbers of a unit are instants of a trade; no numbers are."""
    return bool(known.is_between(_FIRST_NS // unit, _LAST_NS // unit).all())


def _drop_zeros(numbers: pl.Series) -> pl.Series:
    return pl.select(pl.when(numbers != 0).then(numbers).alias(numbers.name)).to_series()


def _note(name: str, what: str) -> Finding:
    return Finding(FindingKind.TYPES_DIFFER, f"{name}: expected nanoseconds, got {what}")


def _note_type(name: str, dtype: pl.Datetime, *, is_same: bool) -> tuple[Finding, ...]:
    return () if is_same else (_note(name, str(dtype)),)


def _refuse(name: str, message: str) -> Instants:
    return Instants(None, (Finding(FindingKind.LOSSY_TYPES, f"{name}: {message}"),))
