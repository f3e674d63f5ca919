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

    What follows ``#`` on a line is left out.  Where the first line names columns, symbols are what
    stands in the one called ``ticker`` or ``symbol``.  Case matters: ``BCpC`` is a symbol, and
    ``abcd`` is not.
    """
    found = pl.DataFrame(
        list(_iter_found(text.removeprefix("\ufeff"))),
        {"line": pl.Int64(), "ticker": pl.String()},
        orient="row",
    )
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
    lines = [(number, line.partition("#")[0].strip()) for number, line in _number_lines(text)]
    filled = [(number, line) for number, line in lines if line]
    column = _find_column(filled[0][1]) if filled else None
    if column is None:
        for number, line in filled:
            yield from ((number, part) for part in _BETWEEN.split(line) if part)
        return
    for (number, _), cells in zip(
        filled[1:], csv.reader(line for _, line in filled[1:]), strict=True
    ):
        yield number, cells[column].strip() if column < len(cells) else ""


def _number_lines(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.splitlines(), start=1)


def _find_column(line: str) -> int | None:
    """Find the column of symbols in a line that names columns; ``None``: it names none."""
    names = [name.strip().lower() for name in next(csv.reader([line]), [])]
    return next((names.index(name) for name in HEADERS if name in names), None)
