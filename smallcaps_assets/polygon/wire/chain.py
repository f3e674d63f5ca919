"""The pages of trades: what makes a chain of pages complete, and what breaks it.

What belongs here: every rule that a page of trades must keep towards the request and towards the
pages before it. What does not: where the next page is (``trail``), sending requests and asking
again (``polygon.client``). A page is first checked, which changes nothing and may be done again,
and then accepted.
"""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.ticks.tape import (
    find_seam_overlap,
    is_overlap_repeated,
    read_instants,
    sort_tape,
)
from smallcaps_assets.polygon.http.config import DEFAULT_MAX_ROWS
from smallcaps_assets.polygon.wire.trades import TRADE_COLUMNS, TradesPage
from smallcaps_assets.polygon.wire.trail import CursorTrail, disbelieve

DELAYED: Final = "DELAYED"
NO_TRADES: Final = pl.DataFrame(schema=TRADE_COLUMNS)

MAX_ROWS_PER_EXPECTED: Final = 4
MAX_ROWS_BEYOND: Final = 50_000
"""A chain may bring so many times the trades that the bars promise, and so many more: bars leave
out what the vendor's rules do not count, and are corrected; an endless chain stays small."""


def bound_rows(expected_rows: int | None, unknown_rows: int) -> int:
    """Bound the rows of an answer by those of the daily bars, where they are known."""
    if expected_rows is None:
        return unknown_rows
    return MAX_ROWS_PER_EXPECTED * expected_rows + MAX_ROWS_BEYOND


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """A page of trades that fits into its chain.

    Attributes:
        trades: Its rows that are new, in the order sent.
        received: Rows it came with.
        cursor: Cursor of the next page, or ``None`` on the last.
        repeats: Rows at its head that equal the last ones known; they count as sent again until
            :meth:`TradesChain.settle_seam` has asked.
        is_ambiguous: Equal rows lie on both sides of its seam, and were kept.
        is_delayed: Its status was DELAYED.
    """

    trades: pl.DataFrame
    repeats: pl.DataFrame
    received: int
    cursor: str | None
    is_ambiguous: bool
    is_delayed: bool


@dataclass(slots=True)
class TradesChain:
    """The trades of one request range, page by page.

    Attributes:
        ticker: Whose trades.
        gte_ns: First nanosecond asked for.
        lt_ns: Nanosecond after the last.
        trail: The way through the pages.
        rows: Rows kept so far.
        repeats: Exact repeats dropped at page seams.
        max_rows: Most rows that are believed; more are an answer without an end.
        is_ambiguous: At some seam equal rows were kept.
        is_delayed: Some page had the status DELAYED.
    """

    ticker: str
    gte_ns: int
    lt_ns: int
    trail: CursorTrail
    max_rows: int = DEFAULT_MAX_ROWS
    rows: int = 0
    repeats: int = 0
    is_ambiguous: bool = False
    is_delayed: bool = False
    _frames: list[pl.DataFrame] = field(default_factory=list)
    _tail: list[pl.DataFrame] = field(default_factory=list)

    @property
    def last_ns(self) -> int:
        """The time of the last row, or of the start of the range if there is none."""
        return _read_last(self._tail[-1]) if self._tail else self.gte_ns

    @property
    def status(self) -> str:
        """The status: ``OK``, or ``DELAYED`` if some page was."""
        return DELAYED if self.is_delayed else "OK"

    def check(self, page: TradesPage) -> CheckedPage:
        """Check a page and find its new rows.

        Raises:
            PayloadError: The page cannot be part of a complete answer: ``results`` are missing,
                rows are out of order or out of bounds, it starts before the end of the page
                before it, its cursor leads back or elsewhere.
        """
        cursor = self.trail.check(page)
        trades = self._check_instants(page.rows, self.last_ns)
        overlap = find_seam_overlap(self._read_tail(trades.height), trades)
        return CheckedPage(
            trades=trades.slice(overlap.rows),
            repeats=trades.head(overlap.rows),
            received=trades.height,
            cursor=cursor,
            is_ambiguous=overlap.is_ambiguous,
            is_delayed=page.status == DELAYED,
        )

    def settle_seam(self, page: CheckedPage, instant: TradesPage) -> CheckedPage:
        """Keep all rows of a page but those that the vendor was shown to repeat.

        A tape may hold a trade twice, and which of its rows a seam separates depends on the page
        limit alone.  So rows are a repeat where the whole of their instant, in one page of its own,
        has each of them once; else they are kept, and the seam is called ambiguous.

        Args:
            page: A checked page with repeats.
            instant: Answer to the request for the chain's last timestamp alone.

        Raises:
            PayloadError: The vendor does not have a row that it sent twice, or the page brings
                nothing new and names a next one.
        """
        rows = instant.rows.filter(read_instants(instant.rows, "sip_timestamp") == self.last_ns)
        is_repeated = is_overlap_repeated(page.repeats, rows)
        if is_repeated is None and instant.next_url is None:
            raise disbelieve("rows sent twice are not there when asked for", self.trail.url)
        if not is_repeated or instant.next_url is not None:
            trades = pl.concat([page.repeats, page.trades])
            return replace(page, trades=trades, repeats=NO_TRADES, is_ambiguous=True)
        if page.trades.is_empty() and page.cursor is not None:
            raise disbelieve(f"page {self.trail.pages + 1} repeats known rows only", self.trail.url)
        return page

    def accept(self, page: CheckedPage) -> None:
        """Add a checked page.

        Raises:
            PayloadError: The answer has become larger than any that can be believed.
        """
        if self.rows + page.trades.height > self.max_rows:
            raise disbelieve(
                f"an answer without an end: {self.rows + page.trades.height} trades on "
                f"{self.trail.pages + 1} pages, at most {self.max_rows} can be believed "
                f"({MAX_ROWS_PER_EXPECTED} times the count of the daily bars and "
                f"{MAX_ROWS_BEYOND} more, or SMALLCAPS_CHAIN_MAX_ROWS without one)",
                self.trail.url,
            )
        self.trail.advance(page.cursor)
        self.rows += page.trades.height
        self.repeats += page.received - page.trades.height
        self.is_ambiguous |= page.is_ambiguous
        self.is_delayed |= page.is_delayed
        if page.trades.height:
            own = _cut_tail(page.trades)
            if self.last_ns != _read_last(own):
                self._tail.clear()
            self._tail.append(own)
            self._frames.append(page.trades)

    def needs_proof(self, page: CheckedPage, limit: int) -> bool:
        """Say whether the end of the answer has to be proven behind a checked page.

        A full page without ``next_url`` may have lost it, and a last page that brings nothing
        new may be a broken one.  Neither happens by chance more than once in a ``limit``.  As
        many rows as the daily bars count prove nothing: bars leave official prices out.
        """
        is_suspicious = page.received == limit or (self.rows > 0 and page.trades.is_empty())
        return page.cursor is None and is_suspicious

    def check_end(self, page: CheckedPage, rest: TradesPage) -> None:
        """Prove that nothing follows a last page.

        Args:
            page: The last page, checked but not yet accepted.
            rest: Answer to the request of :meth:`choose_proof`: everything from the page's last
                timestamp on, with room for one row more than has been seen there.

        Raises:
            PayloadError: Other rows are there, so a ``next_url`` or a page was lost.
        """
        known = pl.concat(self._extend_tail(page.trades))
        found = self._check_instants(rest.rows, _read_last(known))
        is_ambiguous = self.is_ambiguous or page.is_ambiguous
        fewest = 1 if is_ambiguous else known.height
        has_more = found.height > known.height and (
            not self._count_repeats(page) or found.n_unique() > known.n_unique()
        )
        if has_more or found.height < fewest or rest.next_url is not None:
            raise disbelieve(
                f"the end is not proven: {known.height} rows are known from the last timestamp "
                f"on, the vendor has {found.height}{' and more' if rest.next_url else ''}",
                self.trail.url,
            )

    def choose_proof(self, page: CheckedPage) -> tuple[int, int]:
        """Choose where the rest starts that :meth:`check_end` needs, and its largest size."""
        known = self._extend_tail(page.trades)
        rows = sum(part.height for part in known)
        return _read_last(known[-1]), rows + self._count_repeats(page) + 1

    def _read_tail(self, rows: int) -> pl.DataFrame:
        """Read the last rows at the last timestamp, as many as a page could repeat.

        Where a page of trades shares one instant with many before it, all of them are never
        looked at again: each page costs what it brings.
        """
        parts: list[pl.DataFrame] = []
        for part in reversed(self._tail):
            if rows <= 0:
                break
            parts.append(part.tail(rows))
            rows -= part.height
        return pl.concat(parts[::-1]) if parts else NO_TRADES

    def _extend_tail(self, trades: pl.DataFrame) -> list[pl.DataFrame]:
        """Collect all rows at the last timestamp once ``trades`` have followed."""
        if trades.is_empty():
            return self._tail
        own = _cut_tail(trades)
        return [*self._tail, own] if self.last_ns == _read_last(own) else [own]

    def _count_repeats(self, page: CheckedPage) -> int:
        return self.repeats + page.received - page.trades.height

    def collect(self) -> pl.DataFrame:
        """Collect all rows in tape order."""
        if not self._frames:
            return NO_TRADES
        return sort_tape(pl.concat(self._frames, rechunk=True))

    def _check_instants(self, trades: pl.DataFrame, gte_ns: int) -> pl.DataFrame:
        """Pass trades on once their timestamps are in order and from ``gte_ns`` on in bounds."""
        if trades.is_empty():
            return trades
        instants = read_instants(trades, "sip_timestamp")
        if (instants[1:] < instants[:-1]).any():
            raise disbelieve("rows of a page are out of order", self.trail.url)
        if instants[0] < gte_ns:
            raise disbelieve("a page starts before its place in the answer", self.trail.url)
        if instants[-1] >= self.lt_ns:
            raise disbelieve("rows lie after the time asked for", self.trail.url)
        return trades


def _cut_tail(trades: pl.DataFrame) -> pl.DataFrame:
    """Cut out the rows of a page that share its last timestamp."""
    instants = read_instants(trades, "sip_timestamp")
    return trades.slice(int(np.searchsorted(instants, instants[-1])))


def _read_last(trades: pl.DataFrame) -> int:
    return int(read_instants(trades.tail(1), "sip_timestamp")[0])
