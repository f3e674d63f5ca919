"""Endpoints of bars: all tickers of a date, and one ticker over a range.

What belongs here: the envelope, time stamps and split adjustment of daily bars.  What does not:
how bars come about (the source).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from smallcaps_assets.core.exchange_hours import NEW_YORK
from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.emulator.answers.answer import NEXT_HOST, Payload
from smallcaps_assets.emulator.endpoints.paging import (
    QueryError,
    decode_cursor,
    encode_cursor,
    parse_limit,
)
from smallcaps_assets.emulator.source import Source
from smallcaps_assets.emulator.tape import WireRow

DEFAULT_LIMIT: Final = 5_000
MAX_LIMIT: Final = 50_000

_NS_PER_MS: Final = 1_000_000
_CLOSE: Final = dt.time(16)
_PRICES: Final = ("o", "h", "l", "c", "vw")


def answer_grouped(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with the bars of all tickers on one date; without ``results`` if nothing traded."""
    date = _parse_date(names["date"])
    is_adjusted = query.get("adjusted", "true") != "false"
    splits = source.read_splits() if is_adjusted else ()
    stamp = {"t": _find_close_ms(date)}
    rows = [
        {**adjust_bar(row, splits, row["T"], date), **({} if "t" in row else stamp)}
        for row in source.read_grouped_bars(date)
    ]
    counts = {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": is_adjusted}
    envelope = {**counts, "count": len(rows)} if rows else counts
    results = msgspec.json.encode(rows) if rows else None
    return Payload(results, envelope, first=date, last=date)


def answer_range(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with daily bars of one ticker, stamped with New York midnight."""
    if (names["multiplier"], names["timespan"]) != ("1", "day"):
        raise QueryError("the emulator has daily bars only: expected /range/1/day/")
    ticker, asked = names["ticker"], dict(query)
    if "cursor" in asked:
        asked = decode_cursor(asked["cursor"])
    first, last = _parse_date(names["first"]), _parse_date(names["last"])
    is_adjusted = asked.get("adjusted", "true") != "false"
    splits = source.read_splits() if is_adjusted else ()
    rows = [
        _stamp_bar(adjust_bar(row, splits, ticker, date), date)
        for date, row in source.read_ticker_bars(ticker, first, last)
    ]
    if asked.get("sort", "asc") == "desc":
        rows.reverse()
    limit = parse_limit(asked, default=DEFAULT_LIMIT, maximum=MAX_LIMIT)
    start = int(asked.get("ap", "0"))
    page = rows[start : start + limit]
    counts = {"queryCount": len(page), "resultsCount": len(page), "count": len(page)}
    return Payload(
        msgspec.json.encode(page) if page else None,
        {"ticker": ticker, "adjusted": is_adjusted, **counts},
        next_url=_find_next(names, asked, start + limit) if start + limit < len(rows) else None,
        page=start // limit + 1,
        ticker=ticker,
        first=first,
        last=last,
    )


def adjust_bar(
    bar: WireRow, splits: Sequence[WireRow], ticker: str, date: dt.date
) -> dict[str, Any]:
    """Adjust a bar to today's shares; without splits it stays as it is."""
    ratio = 1.0
    for split in splits:
        if split["ticker"] == ticker and str(split["execution_date"]) > date.isoformat():
            ratio *= split["split_from"] / split["split_to"]
    if ratio == 1:
        return dict(bar)
    prices = {name: round(bar[name] * ratio, 6) for name in _PRICES if name in bar}
    return {**bar, **prices, "v": bar["v"] / ratio}


def _stamp_bar(bar: Mapping[str, Any], date: dt.date) -> dict[str, Any]:
    start_ns, _ = day_bounds_ns(date, date)
    kept = {name: value for name, value in bar.items() if name not in {"T", "t"}}
    return {**kept, "t": start_ns // _NS_PER_MS}


def _find_next(names: Mapping[str, str], asked: Mapping[str, str], start: int) -> str:
    path = "/v2/aggs/ticker/{ticker}/range/1/day/{first}/{last}".format_map(names)
    return f"{NEXT_HOST}{path}?cursor={encode_cursor({**asked, 'ap': start})}"


def _find_close_ms(date: dt.date) -> int:
    return int(dt.datetime.combine(date, _CLOSE, tzinfo=NEW_YORK).timestamp()) * 1_000


def _parse_date(text: str) -> dt.date:
    """Parse a date given as such or in milliseconds."""
    try:
        if text.isdigit():
            return dt.datetime.fromtimestamp(int(text) // 1_000, NEW_YORK).date()
        return dt.date.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"not a date: {text}") from error
