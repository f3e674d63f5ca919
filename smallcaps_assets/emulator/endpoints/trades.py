"""The endpoint of trades: ``/v3/trades/{ticker}``.

What belongs here: parameters to payload, and the chain faults of a page.  What does not: paging
itself (``paging``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import msgspec

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.emulator.answers.answer import NEXT_HOST, Payload
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.endpoints.alterations import ALTERATIONS
from smallcaps_assets.emulator.endpoints.paging import (
    Position,
    TradePage,
    TradeQuery,
    read_trade_page,
)
from smallcaps_assets.emulator.source import Source
from smallcaps_assets.emulator.tape import Span

_LAST_SECOND: Final = int(dt.datetime(9999, 1, 1, tzinfo=dt.UTC).timestamp())
_DEFAULT_OVERLAP: Final = 3


def answer_trades(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with one page of a ticker's trades."""
    ticker = names["ticker"]
    asked = TradeQuery.parse(query)

    def redo(fault: Fault) -> Payload:
        read = ALTERATIONS.get(fault.kind, _redo_page)
        return _describe(ticker, asked, read(source, ticker, asked, fault))

    payload = _describe(ticker, asked, read_trade_page(source, ticker, asked))
    return replace(payload, redo=redo)


def _describe(ticker: str, asked: TradeQuery, page: TradePage) -> Payload:
    next_url = None
    if page.next_query is not None:
        next_url = f"{NEXT_HOST}/v3/trades/{quote(ticker)}?cursor={page.next_query.encode_cursor()}"
    first, last = _find_dates(asked.span)
    return Payload(
        results=b"".join((b"[", page.body, b"]")),
        next_url=next_url,
        page=asked.position.page,
        ticker=ticker,
        first=first,
        last=last,
        chain=f"{ticker} {asked.span}",
    )


def _redo_page(source: Source, ticker: str, asked: TradeQuery, fault: Fault) -> TradePage:
    """Redo the page with what is wrong with its place in the chain."""
    if fault.kind == "seam_overlap" and asked.position.page > 1:
        return _overlap_page(source, ticker, asked, fault.rows or _DEFAULT_OVERLAP)
    page = read_trade_page(source, ticker, asked)
    if fault.kind == "looping_cursor":
        return replace(page, next_query=asked)
    if fault.kind == "trailing_cursor" and page.next_query is None:
        return replace(page, next_query=_stand_at_end(asked))
    if fault.kind == "repeated_page" and asked.position.page > 1:
        return replace(_read_page_before(source, ticker, asked), next_query=page.next_query)
    return page


def _overlap_page(source: Source, ticker: str, asked: TradeQuery, rows: int) -> TradePage:
    """Start a page with the last rows of the page before, and end it earlier."""
    before = _decode_rows(_read_page_before(source, ticker, asked))
    repeated = before[-min(rows, asked.limit - 1) :] if asked.limit > 1 else []
    page = read_trade_page(source, ticker, replace(asked, limit=asked.limit - len(repeated)))
    body = b",".join(bytes(row) for row in repeated + _decode_rows(page))
    next_query = page.next_query and replace(page.next_query, limit=asked.limit)
    return replace(page, body=body, next_query=next_query)


def _decode_rows(page: TradePage) -> list[msgspec.Raw]:
    return msgspec.json.decode(b"[" + page.body + b"]", type=list[msgspec.Raw])


def _stand_at_end(asked: TradeQuery) -> TradeQuery:
    """Make the query for the page after the last."""
    span = asked.span
    at_ns = span.gte_ns if span.is_descending else span.lt_ns - 1
    return replace(asked, position=Position(asked.position.page + 1, at_ns, asked.limit**2))


def _read_page_before(source: Source, ticker: str, asked: TradeQuery) -> TradePage:
    """Read the page before, found by walking the chain from its start."""
    page = read_trade_page(source, ticker, replace(asked, position=Position()))
    while page.next_query is not None and page.next_query.position.page < asked.position.page:
        page = read_trade_page(source, ticker, page.next_query)
    return page


def _find_dates(span: Span) -> tuple[dt.date, dt.date]:
    """Find the first and last New York date of a span."""
    last_ns = max(span.gte_ns, span.lt_ns - 1)
    return _find_date(span.gte_ns), _find_date(last_ns)


def _find_date(instant_ns: int) -> dt.date:
    seconds = min(instant_ns // 1_000_000_000, _LAST_SECOND)
    return dt.datetime.fromtimestamp(seconds, NEW_YORK).date()
