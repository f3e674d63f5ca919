"""Columns of archives: which is which under what name, and their values in our types.

What belongs here: the way from a frame that some downloader wrote to the vendor's columns of
``schemas.TRADES``, with everything that got lost on that way said aloud.  What does not: instants
(``times``), and whether the rows are all rows (``sessions``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.archive.findings import Finding, FindingKind
from smallcaps_assets.core.archive.times import measure_resolution, parse_instants, show_value
from smallcaps_assets.core.ticks.tape import read_instants
from smallcaps_assets.schemas import INSTANT, TRADES, VENDOR_COLUMNS

VENDOR_TYPES: Final = pl.Schema({name: TRADES.columns[name].dtype for name in VENDOR_COLUMNS})

ALIASES: Final = {
    "sip_timestamp": ("ts", "timestamp", "t"),
    "participant_timestamp": ("y",),
    "trf_timestamp": ("f", "trft"),
    "sequence_number": ("q",),
    "id": ("i",),
    "price": ("p",),
    "size": ("s",),
    "exchange": ("x",),
    "tape": ("z",),
    "trf_id": ("r", "trfi"),
    "conditions": ("c",),
    "correction": ("e",),
}
"""Names of common downloaders, those of the vendor's own short forms, by the vendor's long ones."""

TICKER_NAMES: Final = ("ticker", "symbol", "sym")
EXACT_SIZE: Final = "decimal_size"
"""The vendor's size as text, with its fraction."""

ESSENTIAL: Final = ("sip_timestamp", "price", "size")
"""Without these there is no trade."""
ALWAYS_SENT: Final = ("participant_timestamp", "sequence_number", "id", "exchange")
"""What the vendor sends with every trade."""

_EXACT_FLOAT: Final = 2**53
_CONDITIONS: Final = r"^\s*[\[\(]?\s*(?:\d+(?:[\s,;|]+\d+)*)?\s*[\]\)]?\s*$"
"""Ids as text: ``12,37``, ``[12, 37]``, ``12 37``, or none."""


@dataclass(frozen=True, slots=True)
class ArchiveRows:
    """The rows of one file of an archive, as far as they were understood.

    Attributes:
        trades: The vendor's columns of ``schemas.TRADES``, in the order of the file.
        is_usable: Whether the rows are trades at all; otherwise ``trades`` has none.
    """

    trades: pl.DataFrame
    findings: tuple[Finding, ...]
    is_usable: bool = True


@dataclass(frozen=True, slots=True)
class _Converted:
    """A column in our type; ``values`` is ``None`` where it cannot be."""

    values: pl.Series | None
    findings: tuple[Finding, ...] = ()


def parse_archive(rows: pl.DataFrame, ticker: str, phase: str | None = None) -> ArchiveRows:
    """Parse the rows of a file, of a ticker and perhaps of one phase, to the vendor's columns.

    A column that cannot be converted is left out and counts as missing; a file whose trades have
    no time, price or size is unusable.
    """
    names, findings = _match_columns(rows)
    converted: dict[str, pl.Series] = {}
    for name, source in names.items():
        column = _convert(name, rows[source], phase)
        findings += column.findings
        if column.values is not None:
            converted[name] = column.values.alias(name)
    if EXACT_SIZE in rows.columns and "size" in converted:
        exact = _convert("size", rows[EXACT_SIZE])
        if exact.values is not None:
            both = pl.DataFrame([exact.values.alias("exact"), converted["size"]])
            converted["size"] = both.select(pl.coalesce("exact", "size")).to_series().alias("size")
    findings += list(_find_foreign(rows, ticker))
    if lacking := [name for name in ESSENTIAL if name not in converted]:
        named = ", ".join(lacking)
        findings.append(Finding(FindingKind.BAD_VALUES, f"no trades without {named}"))
        return ArchiveRows(_build({}, 0), tuple(findings), is_usable=False)
    trades = _build(converted, rows.height)
    if bad := list(_find_bad_values(trades)):
        return ArchiveRows(trades.clear(), (*findings, *bad), is_usable=False)
    findings += _find_missing_values(trades, converted)
    findings += measure_resolution(read_instants(trades, "sip_timestamp"))
    return ArchiveRows(trades, tuple(findings))


def list_sources(columns: list[str]) -> list[str]:
    """List those columns of a file that :func:`parse_archive` looks at; the rest is not read."""
    known = {*VENDOR_COLUMNS, *TICKER_NAMES, EXACT_SIZE}
    known.update(alias for aliases in ALIASES.values() for alias in aliases)
    return [column for column in columns if column in known]


def _match_columns(rows: pl.DataFrame) -> tuple[dict[str, str], list[Finding]]:
    """Match each vendor column to its source, and say what is missing, doubtful or renamed."""
    names: dict[str, str] = {}
    missing: list[str] = []
    ambiguous: list[str] = []
    for name, aliases in ALIASES.items():
        present = [alias for alias in (name, *aliases) if alias in rows.columns]
        if not present:
            missing.append(name)
        elif present[0] == name or len(present) == 1:
            names[name] = present[0]
        else:
            ambiguous.append(f"{name} may be any of {', '.join(present)}")
    renamed = [f"{source} is {name}" for name, source in names.items() if source != name]
    found = (
        (FindingKind.MISSING_COLUMNS, missing),
        (FindingKind.AMBIGUOUS_COLUMNS, ambiguous),
        (FindingKind.RENAMED_COLUMNS, renamed),
    )
    return names, [Finding(kind, ", ".join(texts)) for kind, texts in found if texts]


def _convert(name: str, column: pl.Series, phase: str | None = None) -> _Converted:
    """Convert a column to the type of ``name``; the column keeps its own name for messages."""
    dtype = VENDOR_TYPES[name]
    if dtype == INSTANT:
        instants = parse_instants(column, phase)
        values = None if instants.values is None else instants.values.cast(INSTANT)
        return _Converted(values, instants.findings)
    if column.dtype == dtype:
        return _Converted(column)
    if column.dtype == pl.Null:
        return _Converted(column.cast(dtype))
    if column.dtype == pl.Categorical:
        column = column.cast(pl.String)
    return _CONVERTERS[dtype.base_type()](column, dtype)


def _convert_integers(column: pl.Series, dtype: pl.DataType) -> _Converted:
    values = _to_float(column) if not column.dtype.is_integer() else column
    is_whole = values is not None and _is_whole(values)
    if values is None or not is_whole:
        return _leave_out(column, dtype)
    integers = values.cast(dtype, strict=False)
    if integers.null_count() > values.null_count():
        return _leave_out(column, dtype)
    return _note(column, dtype, integers)


def _convert_floats(column: pl.Series, dtype: pl.DataType) -> _Converted:
    """Convert prices or sizes; whole prices and short floats have lost digits, or may have."""
    values = _to_float(column)
    if values is None:
        return _leave_out(column, dtype)
    is_price = column.name in ("price", *ALIASES["price"])
    is_short = column.dtype == pl.Float32 and not _is_whole(values)
    if is_short or (is_price and column.dtype.is_integer()):
        message = f"{column.name}: expected {dtype}, got {column.dtype}: digits are lost"
        return _Converted(values, (Finding(FindingKind.LOSSY_TYPES, message),))
    return _note(column, dtype, values)


def _convert_texts(column: pl.Series, dtype: pl.DataType) -> _Converted:
    if column.dtype.is_integer() or column.dtype == pl.String:
        return _note(column, dtype, column.cast(pl.String))
    return _leave_out(column, dtype)


def _convert_lists(column: pl.Series, dtype: pl.DataType) -> _Converted:
    """Read condition ids from lists of numbers or texts, or from texts that list them."""
    if column.dtype == pl.String:
        if not column.drop_nulls().str.contains(_CONDITIONS).all():
            return _leave_out(column, dtype)
        return _note(column, dtype, column.str.extract_all(r"\d+").cast(dtype, strict=False))
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if not isinstance(column.dtype, pl.List):
        return _leave_out(column, dtype)
    ids = _convert_integers(column.explode().drop_nulls().alias(column.name), pl.Int32())
    if ids.values is None:
        return _leave_out(column, dtype)
    numbers = column.cast(pl.List(pl.Float64), strict=False).cast(dtype, strict=False)
    return _note(column, dtype, numbers.list.drop_nulls())


_CONVERTERS: Final[dict[object, Callable[[pl.Series, pl.DataType], _Converted]]] = {
    pl.Int64: _convert_integers,
    pl.Int16: _convert_integers,
    pl.Int8: _convert_integers,
    pl.Float64: _convert_floats,
    pl.String: _convert_texts,
    pl.List: _convert_lists,
}


def _to_float(column: pl.Series) -> pl.Series | None:
    """Convert numbers or texts of numbers to floats, NaN to null; ``None``: they are neither."""
    if not (column.dtype.is_numeric() or column.dtype == pl.String):
        return None
    if column.dtype == pl.String:
        column = column.replace({"": None})
    values = column.cast(pl.Float64, strict=False)
    return values.fill_nan(None) if values.null_count() == column.null_count() else None


def _is_whole(values: pl.Series) -> bool:
    """Say whether numbers are integers that a float holds exactly."""
    if values.dtype.is_integer():
        return True
    known = values.drop_nulls()
    return bool(((known == known.round()) & (known.abs() < _EXACT_FLOAT)).all())


def _note(column: pl.Series, dtype: pl.DataType, values: pl.Series) -> _Converted:
    message = f"{column.name}: expected {dtype}, got {column.dtype}"
    return _Converted(values, (Finding(FindingKind.TYPES_DIFFER, message),))


def _leave_out(column: pl.Series, dtype: pl.DataType) -> _Converted:
    """Leave all values out, and name the first row with one of another type."""
    rows = _find_unfit(column, dtype).arg_true()
    row = int(rows[0]) if rows.len() else 0
    message = (
        f"{column.name}: expected {dtype}, got {column.dtype} {show_value(column, row)} in row "
        f"{row + 1}: left out"
    )
    return _Converted(None, (Finding(FindingKind.LOSSY_TYPES, message),))


def _find_unfit(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Find where a column has values that are none of a type; everywhere, if no value can be."""
    present = column.is_not_null()
    if isinstance(dtype, pl.List) and column.dtype == pl.String:
        return present & ~column.str.contains(_CONDITIONS).fill_null(value=True)
    if not (dtype.is_numeric() and (column.dtype.is_numeric() or column.dtype == pl.String)):
        return present
    if column.dtype == pl.String:
        present = present & (column != "")
    values = column.cast(pl.Float64, strict=False)
    fits = values.is_not_null()
    if dtype.is_integer():
        fits = fits & (values == values.round()) & values.cast(dtype, strict=False).is_not_null()
    return present & ~fits.fill_null(value=False)


def _build(columns: dict[str, pl.Series], height: int) -> pl.DataFrame:
    """Build the vendor's columns, those that are not there as null; no correction is 0."""
    frame = pl.DataFrame(
        [
            columns.get(name, pl.Series(name, [None], dtype).new_from_index(0, height))
            for name, dtype in VENDOR_TYPES.items()
        ]
    )
    empty_texts = pl.when(pl.col("id") != "").then("id").alias("id")
    return frame.with_columns(empty_texts, pl.col("correction").fill_null(0))


def _find_bad_values(trades: pl.DataFrame) -> Iterator[Finding]:
    """Yield what no trade has: no time, no price, a negative size."""
    broken = {
        "sip_timestamp": pl.col("sip_timestamp").is_null(),
        "price": ~(pl.col("price").is_finite() & (pl.col("price") >= 0)).fill_null(value=False),
        "size": ~(pl.col("size").is_finite() & (pl.col("size") >= 0)).fill_null(value=False),
    }
    found = trades.select(
        is_bad.arg_true().implode().alias(name) for name, is_bad in broken.items()
    )
    places = found.row(0, named=True)
    if bad := {name: rows for name, rows in places.items() if rows}:
        listed = ", ".join(
            f"{name} in {len(rows)} (row {rows[0] + 1}: {show_value(trades[name], rows[0])})"
            for name, rows in bad.items()
        )
        message = f"of {trades.height} rows, null or impossible is {listed}"
        yield Finding(FindingKind.BAD_VALUES, message)


def _find_missing_values(trades: pl.DataFrame, converted: dict[str, pl.Series]) -> list[Finding]:
    """Find what the vendor sends with every trade and some rows lack."""
    counts = trades.select(pl.col(ALWAYS_SENT).null_count()).row(0, named=True)
    lacking = [f"{name} in {n}" for name, n in counts.items() if n and name in converted]
    if not lacking:
        return []
    message = f"of {trades.height} rows, null is {', '.join(lacking)}"
    return [Finding(FindingKind.MISSING_VALUES, message)]


def _find_foreign(rows: pl.DataFrame, ticker: str) -> Iterator[Finding]:
    """Yield a finding where a column of tickers names another one."""
    for name in TICKER_NAMES:
        if name not in rows.columns or rows[name].dtype.is_nested():
            continue
        named = rows[name].cast(pl.String, strict=False)
        foreign = (named != ticker).fill_null(value=False).arg_true()
        if foreign.len():
            shown = ", ".join(sorted(set(named.gather(foreign)))[:3])
            message = (
                f"expected {ticker} in {name}, got {shown} in {foreign.len()} of {rows.height} "
                f"rows, first in row {int(foreign[0]) + 1}"
            )
            yield Finding(FindingKind.WRONG_TICKER, message)
