"""Pages of trades: what a query or a cursor asks for, one page of it, and the next cursor.

What belongs here: bounds, order, limit and the position in a chain.  What does not: HTTP.

A cursor is a query string in base64url without padding, like the vendor's: it names the time of
the last row sent and how many rows of that very time have been sent, so that a chain continues
exactly even where many trades share a nanosecond, and after a restart.
"""

import base64
import binascii
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.emulator.source import TradeHistory
from smallcaps_assets.emulator.tape import Span, Tape

DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 50_000
FOREVER_NS: Final = 2**63 - 1

_BOUNDS: Final = ("timestamp", "timestamp.gte", "timestamp.gt", "timestamp.lte", "timestamp.lt")
_KNOWN: Final = {*_BOUNDS, "order", "limit", "sort"}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class QueryError(Exception):
    """A query that the vendor answers with 400."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a chain stands.

    Attributes:
        page: Number of the page to come, from 1.
        at_ns: Time of the last row sent, or ``None`` at the start.
        sent: Rows of that time already sent.
    """

    page: int = 1
    at_ns: int | None = None
    sent: int = 0


@dataclass(frozen=True, slots=True)
class TradeQuery:
    """One request for trades.

    Attributes:
        span: Bounds and order of the whole chain.
        limit: Rows of a page.
        position: Where this request stands in the chain.
    """

    span: Span
    limit: int
    position: Position = Position()

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Read the parameters of a first request or of a continuation.

        Raises:
            QueryError: The vendor would refuse it.
        """
        if "cursor" in parameters:
            if len(parameters) > 1:
                raise QueryError("cursor cannot be combined with other parameters")
            return cls._parse_cursor(parameters["cursor"])
        if parameters.get("sort", "timestamp") != "timestamp":
            raise QueryError("sort must be one of: timestamp")
        order = parameters.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise QueryError("order must be one of: asc, desc")
        limit = parse_limit(parameters, default=DEFAULT_LIMIT, maximum=MAX_LIMIT)
        gte_ns, lt_ns = _parse_bounds(parameters)
        return cls(Span(gte_ns, lt_ns, is_descending=order == "desc"), limit)

    @classmethod
    def _parse_cursor(cls, cursor: str) -> Self:
        fields = decode_cursor(cursor)
        try:
            span = Span(int(fields["gte"]), int(fields["lt"]), fields["order"] == "desc")
            position = Position(int(fields["page"]), int(fields["at"]), int(fields["as"]))
            return cls(span, int(fields["limit"]), position)
        except (KeyError, ValueError) as error:
            raise QueryError("cursor is not valid") from error

    def encode_cursor(self) -> str:
        """Encode the cursor that asks for this page."""
        return encode_cursor(
            {
                "as": self.position.sent,
                "at": -1 if self.position.at_ns is None else self.position.at_ns,
                "gte": self.span.gte_ns,
                "limit": self.limit,
                "lt": self.span.lt_ns,
                "order": "desc" if self.span.is_descending else "asc",
                "page": self.position.page,
                "sort": "timestamp",
            }
        )


@dataclass(frozen=True, slots=True)
class TradePage:
    """One page.

    Attributes:
        body: Its rows joined by commas.
        rows: Their number.
        next_query: What asks for the next page, or ``None`` on the last.
    """

    body: bytes
    rows: int
    next_query: TradeQuery | None


def read_trade_page(source: TradeHistory, ticker: str, query: TradeQuery) -> TradePage:
    """Read the page that ``query`` asks for."""
    pieces: list[bytes] = []
    missing = query.limit
    position = query.position
    for tape in source.iter_tapes(ticker, _remaining_span(query)):
        low, high = _locate_rest(tape, query)
        if low >= high:
            continue
        if missing == 0:
            return TradePage(b",".join(pieces), query.limit, replace(query, position=position))
        low, high, is_cut = _limit_rows(low, high, missing, query.span)
        pieces.append(tape.cut(low, high, is_descending=query.span.is_descending))
        missing -= high - low
        position = _stand_after(tape, low if query.span.is_descending else high - 1, query)
        if is_cut:
            return TradePage(b",".join(pieces), query.limit, replace(query, position=position))
    return TradePage(b",".join(pieces), query.limit - missing, None)


def encode_cursor(fields: Mapping[str, str | int]) -> str:
    """Encode fields as an opaque cursor."""
    return base64.urlsafe_b64encode(urlencode(fields).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> dict[str, str]:
    """Decode the fields of a cursor.

    Raises:
        QueryError: It is none of ours.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return dict(parse_qsl(text.decode(), keep_blank_values=True, strict_parsing=True))
    except (binascii.Error, ValueError) as error:
        raise QueryError("cursor is not valid") from error


def parse_limit(parameters: Mapping[str, str], *, default: int, maximum: int) -> int:
    """Parse the page size asked for.

    Raises:
        QueryError: It is no number from 1 to ``maximum``.
    """
    text = parameters.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= maximum:
        raise QueryError(f"limit must be a number from 1 to {maximum}")
    return int(text)


def _remaining_span(query: TradeQuery) -> Span:
    """Cut the days that are behind the position off the span."""
    at_ns = query.position.at_ns
    if at_ns is None or at_ns < 0:
        return query.span
    if query.span.is_descending:
        return replace(query.span, lt_ns=at_ns + 1)
    return replace(query.span, gte_ns=at_ns)


def _locate_rest(tape: Tape, query: TradeQuery) -> tuple[int, int]:
    """Locate the rows of a tape that are still to be sent."""
    low, high = tape.locate(_remaining_span(query))
    at_ns = query.position.at_ns
    if at_ns is None:
        return low, high
    first, end = tape.locate(Span(at_ns, at_ns + 1))
    sent = min(query.position.sent, end - first)
    return (low, high - sent) if query.span.is_descending else (low + sent, high)


def _limit_rows(low: int, high: int, limit: int, span: Span) -> tuple[int, int, bool]:
    if high - low <= limit:
        return low, high, False
    return (high - limit, high, True) if span.is_descending else (low, low + limit, True)


def _stand_after(tape: Tape, row: int, query: TradeQuery) -> Position:
    """Find the position once ``row`` is the last one sent."""
    at_ns = int(tape.times[row])
    first, end = tape.locate(Span(at_ns, at_ns + 1))
    sent = end - row if query.span.is_descending else row + 1 - first
    return Position(query.position.page + 1, at_ns, sent)


def _parse_bounds(parameters: Mapping[str, str]) -> tuple[int, int]:
    """Parse the bounds ``[gte, lt)``; a date stands for its whole New York day."""
    if unknown := [
        name for name in parameters if name.startswith("timestamp") and name not in _KNOWN
    ]:
        raise QueryError(f"unknown parameter {unknown[0]}")
    gte_ns, lt_ns = 0, FOREVER_NS
    for name in _BOUNDS:
        if name not in parameters:
            continue
        start, end = _parse_instant(name, parameters[name])
        if name in {"timestamp", "timestamp.gte"}:
            gte_ns = max(gte_ns, start)
        if name == "timestamp.gt":
            gte_ns = max(gte_ns, end)
        if name in {"timestamp", "timestamp.lte"}:
            lt_ns = min(lt_ns, end)
        if name == "timestamp.lt":
            lt_ns = min(lt_ns, start)
    return gte_ns, lt_ns


def _parse_instant(name: str, text: str) -> tuple[int, int]:
    """Parse a date or one nanosecond as its half-open span."""
    try:
        if _DATE.fullmatch(text):
            date = dt.date.fromisoformat(text)
            return day_bounds_ns(date, date)
        if text.isascii() and text.isdigit() and int(text) < FOREVER_NS:
            return int(text), int(text) + 1
    except ValueError as error:
        raise QueryError(f"{name}: not a date: {text}") from error
    raise QueryError(f"{name}: expected YYYY-MM-DD or nanoseconds since 1970, got {text}")
