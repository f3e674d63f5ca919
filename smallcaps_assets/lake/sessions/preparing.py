"""From the trades of a session to its receipt, in memory.

What belongs here: what a ticker-session must be to be stored, and everything its receipt proves.
What does not: making it appear on the disk (``lake.segments.commit``), encodings (``parquet``).
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.states import COMPLETE, EMPTY_STATES, IMPORTED_UNPROVEN
from smallcaps_assets.core.ticks.content_hash import TapeHasher
from smallcaps_assets.core.ticks.tape import Integers, read_instants
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.schemas import SCHEMA_VERSION, TRADES

_EPOCH: Final = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class PreparedSession:
    """A ticker-session ready to be committed.

    Attributes:
        receipt: Its receipt, but for the time of the commit.
        tree: Among what it belongs.
        trades: ``schemas.TRADES`` of it.
    """

    receipt: Receipt
    tree: Tree
    trades: pl.DataFrame


class MeasuredTape:
    """Trades of one ticker, made ready for storing once; each session is then a slice of them.

    What a short session costs is the work per table rather than per row: a range of ten does
    it once.  It is for one thread.  A session keeps its rows: a segment encodes many together.
    """

    def __init__(self, trades: pl.DataFrame, *, source: str) -> None:
        """Make all columns ready.

        Args:
            trades: ``schemas.TRADES``, in tape order.
            source: Source the lake is bound to, for receipts.

        Raises:
            SchemaError: The trades break their contract.
        """
        self._trades = TRADES.conform(trades)
        self._rows = trades.height
        self._source = source
        self._hasher = TapeHasher(trades)
        self._instants = read_instants(trades, "sip_timestamp")
        self._days: Integers = trades["session_date"].cast(pl.Int32).to_numpy()
        self._tickers = trades["ticker"]
        is_of_one = self._rows and (self._tickers == self._tickers[0]).all()
        self._ticker: str | None = self._tickers[0] if is_of_one else None
        phases = trades["trading_phase"].to_arrow().dictionary_encode()
        self._phase_names = [str(name) for name in phases.dictionary.to_pylist()]
        self._phase_codes = phases.indices.to_numpy()

    def prepare(
        self,
        ticker: str,
        session_date: dt.date,
        facts: FetchFacts,
        *,
        rows: slice | None = None,
        tree: Tree = Tree.TRADES,
    ) -> PreparedSession:
        """Measure and hash one session; pure, for worker threads.

        Args:
            ticker: Vendor's symbol.
            session_date: New York date.
            facts: What the fetch knows.
            rows: Where the session lies; all of the tape by default, none where the vendor has
                no trades.
            tree: Among what it belongs.

        Raises:
            DataError: Rows of another session, out of order, or at odds with the state.
        """
        first, last, _ = (rows or slice(0, self._rows)).indices(self._rows)
        self._check(ticker, session_date, facts.state, tree, first, last)
        has_rows = last > first
        receipt = Receipt(
            **msgspec.structs.asdict(facts),
            ticker=ticker,
            session_date=session_date,
            source=self._source,
            schema_version=SCHEMA_VERSION,
            rows=last - first,
            bytes=0,
            sha256=None,
            content_hash=self._hasher.hash(first, last),
            first_sip_timestamp=int(self._instants[first]) if has_rows else None,
            last_sip_timestamp=int(self._instants[last - 1]) if has_rows else None,
            rows_by_phase=self._count_phases(first, last),
            committed_at=facts.started_at,
        )
        return PreparedSession(receipt, tree, self._trades.slice(first, last - first))

    def _check(
        self, ticker: str, date: dt.date, state: str, tree: Tree, first: int, last: int
    ) -> None:
        """Refuse what would be stored under a wrong name, out of order, or in a wrong state."""
        key, rows = encode_key(ticker, date), last - first
        if rows and (self._ticker != ticker or _differs(self._days[first:last], date)):
            raise DataError(f"expected trades of {key} alone, got {self._describe(first, last)}")
        instants = self._instants[first:last]
        if (instants[1:] < instants[:-1]).any():
            raise DataError(f"expected trades of {key} in the order of sip_timestamp")
        filled = IMPORTED_UNPROVEN if tree is Tree.IMPORTED else COMPLETE
        states = {filled} if rows else EMPTY_STATES
        if state not in states:
            raise DataError(
                f"expected a state of {sorted(states)} for {rows} trades of {key}, got {state!r}"
            )

    def _describe(self, first: int, last: int) -> str:
        """Name the first few tickers and dates of some rows."""
        tickers = self._tickers[first:last].unique().sort().to_list()[:3]
        dates = [_EPOCH + dt.timedelta(days=int(day)) for day in np.unique(self._days[first:last])]
        return f"ticker {tickers} and session_date {[*map(str, dates[:3])]}"

    def _count_phases(self, first: int, last: int) -> dict[str, int]:
        counts = np.bincount(self._phase_codes[first:last], minlength=len(self._phase_names))
        named = zip(self._phase_names, counts.tolist(), strict=True)
        return dict(sorted((name, count) for name, count in named if count))


def _differs(days: Integers, date: dt.date) -> bool:
    return bool((days != (date - _EPOCH).days).any())
