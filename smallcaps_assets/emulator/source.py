"""Where the emulator's rows come from: the protocol, and rows handed over by a test.

What belongs here: what any source can be asked for.  What does not: how a market is made up
(``emulator.market.synthetic``) and how flat files are read (``emulator.replay.folder``).
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from smallcaps_assets.emulator.tape import Span, Tape, WireRow


class SourceError(Exception):
    """A source that cannot be read; the message says which file and why."""


class TradeHistory(Protocol):
    """What pages of trades are cut from."""

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        """Yield tapes that hold every trade of ``span`` and perhaps others.

        Tapes do not overlap in time and come in the order of time, or against it.
        """


class Source(TradeHistory, Protocol):
    """A market that can be asked what the vendor is asked.

    Attributes:
        name: Identity of the rows: equal names serve equal rows.
        is_immutable: Rows never change, so answers may be kept.
    """

    @property
    def name(self) -> str:
        """The identity of the rows."""

    @property
    def is_immutable(self) -> bool:
        """Tell whether answers may be kept."""

    def read_grouped_bars(self, session_date: dt.date) -> Sequence[WireRow]:
        """Read the unadjusted bars of a date, sorted by ticker: ``T o h l c v vw n``."""

    def read_ticker_bars(
        self, ticker: str, first: dt.date, last: dt.date
    ) -> Sequence[tuple[dt.date, WireRow]]:
        """Read a ticker's unadjusted bars from ``first`` to ``last``, both included."""

    def read_splits(self) -> Sequence[WireRow]:
        """Read all splits."""

    def read_listings(self) -> Sequence[WireRow]:
        """Read all listings, active or not, with ``list_date`` where it is known."""

    def read_changes(self, ticker: str) -> Sequence[tuple[dt.date, str]]:
        """Read the tickers that a company had and since when, newest first."""


class StaticSource:
    """Rows handed over by a test, served as they are.

    The mappings may be changed while the server runs.

    Attributes:
        trades: Wire rows by ticker; each needs a ``sip_timestamp``, the rest is free.
        bars: Rows of the grouped endpoint by ISO date.
        splits: Rows of the endpoint of splits.
        tickers: Rows of the endpoint of tickers.
        changes: Date and new name of each renaming by ticker, newest first.
    """

    name = "static"
    is_immutable = False

    def __init__(
        self,
        trades: Mapping[str, Sequence[WireRow]] | None = None,
        *,
        bars: Mapping[str, Sequence[WireRow]] | None = None,
        splits: Sequence[WireRow] = (),
        tickers: Sequence[WireRow] = (),
    ) -> None:
        self.trades = dict(trades or {})
        self.bars = dict(bars or {})
        self.splits = list(splits)
        self.tickers = list(tickers)
        self.changes: dict[str, list[tuple[dt.date, str]]] = {}

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        """Yield the rows of the span as one tape."""
        rows = self.trades.get(ticker, ())
        yield Tape.from_rows(
            [row for row in rows if span.gte_ns <= row["sip_timestamp"] < span.lt_ns]
        )

    def read_grouped_bars(self, session_date: dt.date) -> Sequence[WireRow]:
        """Look up the rows given for that date."""
        return self.bars.get(session_date.isoformat(), ())

    def read_ticker_bars(
        self, ticker: str, first: dt.date, last: dt.date
    ) -> Sequence[tuple[dt.date, WireRow]]:
        """Find the ticker's rows among the bars."""
        dates = ((dt.date.fromisoformat(day), rows) for day, rows in sorted(self.bars.items()))
        return [
            (date, row)
            for date, rows in dates
            if first <= date <= last
            for row in rows
            if row["T"] == ticker
        ]

    def read_splits(self) -> Sequence[WireRow]:
        """Pass on the rows given as splits."""
        return self.splits

    def read_listings(self) -> Sequence[WireRow]:
        """Pass on the rows given as tickers."""
        return self.tickers

    def read_changes(self, ticker: str) -> Sequence[tuple[dt.date, str]]:
        """Look up the changes given."""
        return self.changes.get(ticker, ())
