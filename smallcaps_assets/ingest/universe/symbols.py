"""The symbols of a universe: those of a file, of the listings, or of the daily bars.

What belongs here: where symbols come from, and which of them nothing knows.  What does not: how the
text of a file is read (``core.universe.symbols``), and when they lived (``core.universe.lives``).
"""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.events.unknown_tickers import suggest_symbols
from smallcaps_assets.core.reference.universe import TEST_TICKERS
from smallcaps_assets.core.universe.symbols import Symbols, parse_symbols
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.interchange.input_files import read_text_file
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS, UNIVERSE

SHOWN_LINES: Final = 5
"""Lines of a file that a message names."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenSymbols:
    """The symbols to plan, and what is known of them.

    Attributes:
        origin: ``universe``, ``daily_bars``, or the name of a file.
        symbols: ``ticker``, each once, sorted.
        listings: ``ticker``, ``listed_date``, ``delisted_date`` of their listings.
        bars: Stored daily bars of all tickers between the dates; ``None``: there are none.
        numbers: What was found, by name.
    """

    origin: str
    symbols: pl.DataFrame
    listings: pl.DataFrame
    bars: pl.LazyFrame | None
    numbers: dict[str, Number] = field(default_factory=dict)

    @property
    def own_bars(self) -> pl.LazyFrame | None:
        """The bars of the symbols alone."""
        if self.bars is None:
            return None
        return self.bars.join(self.symbols.lazy(), on="ticker", how="semi")


def choose_symbols(lakehouse: Lakehouse, first: dt.date, last: dt.date) -> ChosenSymbols:
    """Choose the symbols that the settings ask for: of a file, else of listings, else of bars.

    Raises:
        MissingPartitionError: There are neither listings nor bars, and no file is named.
        RefusedFileError: The file cannot be read, has no symbols, or things that are none.
    """
    path = lakehouse.settings.tickers_file
    bars = _scan_bars(lakehouse, first, last)
    found = lakehouse.tables.read_universe()
    listings = UNIVERSE.empty() if found is None else found[0]
    numbers: dict[str, Number] = {}
    if path is not None:
        read = read_symbols(path)
        origin, symbols = path.name, pl.Series("ticker", read.symbols, pl.String())
        numbers["repeated_symbols"] = len(read.repeated)
    elif listings.height:
        origin, symbols = UNIVERSE.name, listings["ticker"].unique()
    elif bars is not None:
        origin, symbols = DAILY_BARS.name, _list_tickers(bars)
    else:
        raise MissingPartitionError(
            "there are no symbols to plan: expected a file of them (--tickers-file), listings "
            "(`smallcaps universe`), or daily bars (`smallcaps plan --universe` fetches them where "
            "it can)"
        )
    named = symbols.sort().to_frame()
    dates = listings.select("ticker", "listed_date", "delisted_date")
    known = dates.join(named, on="ticker", how="semi")
    numbers |= {"symbols": named.height, "listed_symbols": known["ticker"].n_unique()}
    return ChosenSymbols(origin, named, known, bars, numbers)


def read_symbols(path: Path) -> Symbols:
    """Read a file of symbols.

    Raises:
        RefusedFileError: It cannot be read, has no symbols, or things that are none.
    """
    return read_text_file(path, _parse_file)


def find_unknown(lakehouse: Lakehouse, chosen: ChosenSymbols) -> tuple[int, dict[str, str]]:
    """Count the symbols that listings or bars could know, and name those that neither does.

    Returns:
        The count, and by symbol that one which may be meant; empty: none is near.
    """
    found = lakehouse.tables.read_universe()
    if chosen.bars is None and found is None:
        return 0, {}
    unlisted = chosen.symbols.join(chosen.listings, on="ticker", how="anti")["ticker"]
    if unlisted.is_empty():
        return chosen.symbols.height, {}
    listed = set() if found is None else {*found[0]["ticker"]}
    traded = set() if chosen.bars is None else {*_list_tickers(chosen.bars)}
    unknown = {*unlisted} - traded
    return chosen.symbols.height, suggest_symbols(unknown, (listed | traded) - unknown)


def _parse_file(text: str) -> Symbols:
    """Parse a file of symbols.

    Raises:
        DataError: It has none, or things that are no symbols.
    """
    read = parse_symbols(text)
    if read.problems.height:
        shown = [
            f"line {line}: {said!r}" + (f" (did you mean {meant}?)" if meant else "")
            for line, said, meant in read.problems.head(SHOWN_LINES).rows()
        ]
        more = read.problems.height - len(shown)
        raise DataError(
            f"{read.problems.height} texts are no symbols: {'; '.join(shown)}"
            + (f" and {more} more" if more else "")
            + "; expected one symbol a line as the vendor writes it, such as BRK.A: correct them"
        )
    if not read.symbols:
        raise DataError("expected symbols, one a line, found none")
    return read


def _scan_bars(lakehouse: Lakehouse, first: dt.date, last: dt.date) -> pl.LazyFrame | None:
    tables = lakehouse.tables
    if not tables.list_bar_months(first, last):
        return None
    columns = ("ticker", "session_date", "volume", "trade_count")
    return tables.read_daily_bars(first, last).select(columns)


def _list_tickers(bars: pl.LazyFrame) -> pl.Series:
    """List the tickers that have bars; those by which exchanges test their systems are none."""
    tickers = bars.select("ticker").unique().collect(engine="streaming")["ticker"]
    return tickers.filter(~tickers.is_in(list(TEST_TICKERS)))
