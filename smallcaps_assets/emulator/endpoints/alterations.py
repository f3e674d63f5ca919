"""Trades that a vendor loses or revises, while nothing about its answer looks wrong.

What belongs here: which rows are missing from a page, and a history with one trade another.  What
does not: faults that a chain of pages shows by itself (``trades``).
"""

import datetime as dt
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np

from smallcaps_assets.core.sessions import date_of_ns, day_bounds_ns
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.endpoints.paging import TradePage, TradeQuery, read_trade_page
from smallcaps_assets.emulator.source import TradeHistory
from smallcaps_assets.emulator.tape import Span, Tape

_DEFAULT_LOST: Final = 3
_SECOND_NS: Final = 1_000_000_000
_LAST_DAY_NS: Final = 9_000_000_000 * _SECOND_NS
"""In 2255: bounds beyond it are left as they are, for nanoseconds end in 2262."""
_CANCELLED: Final = 8


class _Instant(msgspec.Struct):
    """The field that orders rows."""

    sip_timestamp: int


_INSTANTS: Final = msgspec.json.Decoder(list[_Instant])
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def shorten_page(source: TradeHistory, ticker: str, asked: TradeQuery, fault: Fault) -> TradePage:
    """Shorten a page of trades by rows that the vendor has lost; the chain continues."""
    if fault.by == "row":
        return _read_kept_page(source, ticker, asked, fault)
    page = read_trade_page(source, ticker, asked)
    rows = _split_page(page)
    names = [f"{asked.encode_cursor()} {index}".encode() for index in range(len(rows))]
    candidates = [
        name for name, (date, _) in zip(names, rows, strict=True) if fault.date in {None, date}
    ]
    lost = _choose_lost(fault, ticker, candidates)
    kept = [text for name, (_, text) in zip(names, rows, strict=True) if name not in lost]
    return TradePage(b",".join(kept), len(kept), page.next_query)


def _read_kept_page(
    source: TradeHistory, ticker: str, asked: TradeQuery, fault: Fault
) -> TradePage:
    """Read a full page of what is left where the same rows are lost whatever the pages.

    Cursors stand where they would in the honest history, so that honest pages may come between.
    """
    kept: list[bytes] = []
    lost: dict[dt.date, set[bytes]] = {}
    query: TradeQuery | None = asked
    while query is not None and len(kept) < asked.limit:
        page = read_trade_page(source, ticker, replace(query, limit=asked.limit - len(kept)))
        for date, text in _split_page(page):
            if date not in lost:
                lost[date] = _find_lost_rows(source, ticker, date, fault)
            if text not in lost[date]:
                kept.append(text)
        query = page.next_query
    if query is not None:
        position = replace(query.position, page=asked.position.page + 1)
        query = replace(asked, position=position)
    return TradePage(b",".join(kept), len(kept), query)


def _find_lost_rows(source: TradeHistory, ticker: str, date: dt.date, fault: Fault) -> set[bytes]:
    """Find the rows of a New York date that are lost, by their text."""
    if fault.date not in {None, date}:
        return set()
    span = Span(*day_bounds_ns(date, date))
    texts: list[bytes] = []
    for tape in source.iter_tapes(ticker, span):
        low, high = tape.locate(span)
        texts += tape.split_rows()[low:high]
    return _choose_lost(fault, ticker, texts)


def _choose_lost(fault: Fault, ticker: str, names: Sequence[bytes]) -> set[bytes]:
    """Choose so many of the names by their hash; equal ones are lost or kept together."""
    number = _DEFAULT_LOST if fault.rows is None else fault.rows
    if fault.share is not None:
        number = int(fault.share * len(names) + 0.5)
    salt = f"{fault.seed}|{ticker}|".encode()
    ordered = sorted(names, key=lambda name: hashlib.blake2b(salt + name, digest_size=8).digest())
    lost: set[bytes] = set()
    for name, equal in itertools.groupby(ordered):
        count = len(list(equal))
        if count <= number:
            lost.add(name)
            number -= count
    return lost


def _split_page(page: TradePage) -> list[tuple[dt.date, bytes]]:
    """Split a page into its rows: New York date and JSON of each."""
    body = b"[" + page.body + b"]"
    dates = (date_of_ns(row.sip_timestamp) for row in _INSTANTS.decode(body))
    return list(zip(dates, map(bytes, _ROWS.decode(body)), strict=True))


def read_revised_page(
    source: TradeHistory, ticker: str, asked: TradeQuery, fault: Fault
) -> TradePage:
    """Read the page that stands at the place asked for in the revised history."""
    return read_trade_page(RevisedHistory(source, fault), ticker, asked)


ALTERATIONS: Final = {"short_page": shorten_page, "revised_history": read_revised_page}
"""What makes the page of each kind of fault."""


@dataclass(frozen=True, slots=True)
class RevisedHistory:
    """A history in which one trade of each New York date is another than in the honest one.

    Attributes:
        honest: The history that it differs from.
        fault: What was revised, which trade, and on which date.
    """

    honest: TradeHistory
    fault: Fault

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        """Yield the tapes of the span, revised; whole dates, for places count in them."""
        for tape in self.honest.iter_tapes(ticker, _widen(span)):
            yield _revise_tape(tape, self.fault) if tape.times.size else tape


def _widen(span: Span) -> Span:
    """Widen the span to run from midnight to midnight in New York."""
    gte_ns, lt_ns = span.gte_ns, span.lt_ns
    if 0 < gte_ns < _LAST_DAY_NS:
        first = date_of_ns(gte_ns)
        gte_ns, _ = day_bounds_ns(first, first)
    if 0 < lt_ns < _LAST_DAY_NS:
        last = date_of_ns(lt_ns - 1)
        _, lt_ns = day_bounds_ns(last, last)
    return replace(span, gte_ns=gte_ns, lt_ns=lt_ns)


def _revise_tape(tape: Tape, fault: Fault) -> Tape:
    """Revise one trade of each date in a tape of whole dates."""
    dates = [date_of_ns(instant) for instant in tape.times.tolist()]
    texts = tape.split_rows()
    rows: list[tuple[int, bytes]] = []
    for date, members in itertools.groupby(range(len(texts)), key=dates.__getitem__):
        numbers = list(members)
        day = [(int(tape.times[number]), texts[number]) for number in numbers]
        rows += _revise_day(day, fault) if fault.date in {None, date} else day
    rows.sort(key=lambda row: row[0])
    times = np.array([at_ns for at_ns, _ in rows], dtype=np.int64)
    return Tape.from_texts(times, [text for _, text in rows])


def _revise_day(day: list[tuple[int, bytes]], fault: Fault) -> list[tuple[int, bytes]]:
    """Revise, among the rows of one date, the one that the fault names."""
    place = {"first": 0, "middle": len(day) // 2, "last": len(day) - 1}[fault.at]
    at_ns, text = day[place]
    if fault.revision == "removed":
        return [*day[:place], *day[place + 1 :]]
    if fault.revision == "inserted":
        return [*day[: place + 1], _insert(text), *day[place + 1 :]]
    return [*day[:place], (at_ns, _change(text, fault.revision)), *day[place + 1 :]]


def _insert(text: bytes) -> tuple[int, bytes]:
    """Make another trade like the one given, a nanosecond later, with an id of its own."""
    row: dict[str, Any] = msgspec.json.decode(text)
    at_ns = row["sip_timestamp"] + 1
    row |= {"id": f"{row.get('id', '')}i", "sip_timestamp": at_ns}
    return at_ns, msgspec.json.encode(row)


def _change(text: bytes, revision: str) -> bytes:
    """Change a trade to another price or half its size, or cancel it."""
    row: dict[str, Any] = msgspec.json.decode(text)
    if revision == "price":
        row["price"] = round(row["price"] + 0.01, 6)
    elif revision == "correction":
        row["correction"] = _CANCELLED
    else:
        row["size"] = row.get("size", 0) // 2
        row.pop("decimal_size", None)
    return msgspec.json.encode(row)
