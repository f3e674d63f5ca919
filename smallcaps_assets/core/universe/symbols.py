"""Symbols of a file that a person wrote, one a line or a column of a table.

What belongs here: from text to symbols, and what is wrong with it.  What does not: whether a symbol
is known (``core.events.unknown_tickers``), and reading the file (``ingest.universe``).
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import is_symbol_expression, show_symbol
from smallcaps_assets.errors import DataError

HEADERS: Final = ("ticker", "symbol")
"""Names of the column of symbols, in any case, where the first line names columns."""

_BETWEEN: Final = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True, eq=False)
class Symbols:
    """What a text says.

    Attributes:
        symbols: Each once, sorted.
        repeated: Symbols that stand in it more than once, sorted.
        problems: ``line`` (from 1), ``text`` and ``meant`` (a symbol that may be meant, or null) of
            what is no symbol.
    """

    symbols: tuple[str, ...]
    repeated: tuple[str, ...]
    problems: pl.DataFrame


def parse_symbols(text: str) -> Symbols:
    """Parse symbols that are separated by line ends, blanks, commas or semicolons.

    What follows ``#`` on a line is left out, in a table only whole lines.  Where the first line
    names columns, symbols are what stands in the one called ``ticker`` or ``symbol``.  Case
    matters: ``BCpC`` is a symbol, and ``abcd`` is not.

    Raises:
        DataError: It names columns, and a line is no row of a table.
    """
    found = pl.DataFrame(
        list(_iter_found(text.removeprefix("\ufeff"))),
        {"line": pl.Int64(), "ticker": pl.String()},
        orient="row",
    ).with_columns(pl.col("ticker").str.strip_chars())
    good = found.filter(is_symbol_expression())["ticker"]
    upper = pl.DataFrame({"ticker": found["ticker"].str.to_uppercase()})
    is_meant = upper.select(is_symbol_expression()).to_series()
    bad = found.with_columns(
        meant=pl.when(is_meant).then(upper["ticker"]),
    ).filter(~is_symbol_expression())
    shown = pl.col("ticker").map_elements(show_symbol, return_dtype=pl.String())
    return Symbols(
        tuple(good.unique().sort()),
        tuple(good.filter(good.is_duplicated()).unique().sort()),
        bad.select("line", shown.alias("text"), "meant"),
    )


def _iter_found(text: str) -> Iterator[tuple[int, str]]:
    """Yield number of the line and text of whatever stands where a symbol should."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    filled = [(number, line) for number, line in lines if line and not line.startswith("#")]
    column = _find_column(filled[0][1]) if filled else None
    if column is None:
        for number, line in filled:
            yield from ((number, part) for part in _BETWEEN.split(line.partition("#")[0]) if part)
        return
    table = csv.reader(line for _, line in filled)
    next(table)
    try:
        for cells in table:
            yield filled[table.line_num - 1][0], cells[column] if column < len(cells) else ""
    except csv.Error as error:
        place = filled[table.line_num - 1][0]
        raise DataError(f"line {place} is no row of a table: {error}") from error


def _find_column(line: str) -> int | None:
    """Find the column of symbols in a line that names columns; ``None``: it names none."""
    names = [name.strip().lower() for name in next(csv.reader([line]), [])]
    return next((names.index(name) for name in HEADERS if name in names), None)
