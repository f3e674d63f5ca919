"""Reference endpoints: tickers, details, splits, conditions, exchanges, renamings.

What belongs here: filters, order and pages of small lists.  What does not: the rows (the source,
``catalogue``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec

from smallcaps_assets.emulator.answers.answer import NEXT_HOST, Payload
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.endpoints.catalogue import list_conditions, list_exchanges
from smallcaps_assets.emulator.endpoints.paging import (
    QueryError,
    decode_cursor,
    encode_cursor,
    parse_limit,
)
from smallcaps_assets.emulator.source import Source
from smallcaps_assets.emulator.tape import WireRow

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "": lambda value, bound: value == bound,
    "gte": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "lte": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
}
_DETAILS_ONLY: Final = frozenset(
    {"list_date", "market_cap", "sic_description", "share_class_shares_outstanding"}
)
_SPLIT_FILTERS: Final = ("ticker", "execution_date")
_TICKER_FILTERS: Final = ("ticker", "type", "market", "exchange", "cusip", "cik")


class NotFoundError(Exception):
    """Something the vendor answers with 404."""


def answer_tickers(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with a page of listings; ``active`` is true unless asked otherwise."""
    del names
    asked = _resolve_cursor(query)
    wanted = _select_listings(source.read_listings(), asked)
    if text := asked.get("search", "").lower():
        wanted = [r for r in wanted if text in f"{r['ticker']} {r.get('name', '')}".lower()]
    rows = [{k: v for k, v in row.items() if k not in _DETAILS_ONLY} for row in wanted]
    ordered = _sort_rows(rows, asked, default_key="ticker", default_order="asc")
    return _cut_page("/v3/reference/tickers", ordered, asked, default=100)


def answer_details(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with one listing as of a date, today's if none is given."""
    ticker = names["ticker"]
    rows = _find_listings(source, ticker)
    alive = [row for row in rows if _is_listed(row, query.get("date"))]
    if not alive:
        raise NotFoundError("Ticker not found.")
    return Payload(msgspec.json.encode(alive[-1]), ticker=ticker)


def answer_splits(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with a page of splits, newest first unless asked otherwise."""
    del names
    asked = _resolve_cursor(query)
    rows = _filter_rows(source.read_splits(), asked, _SPLIT_FILTERS)
    if "reverse_split" in asked:
        is_reverse = asked["reverse_split"] == "true"
        rows = [row for row in rows if (row["split_from"] > row["split_to"]) == is_reverse]
    ordered = _sort_rows(rows, asked, default_key="execution_date", default_order="desc")
    return _cut_page("/v3/reference/splits", ordered, asked, default=10)


def answer_conditions(
    source: Source, names: Mapping[str, str], query: Mapping[str, str]
) -> Payload:
    """Answer with a page of conditions of trades and quotes."""
    del source, names
    asked = _resolve_cursor(query)
    rows = [
        row
        for row in list_conditions()
        if asked.get("asset_class", "stocks") == row["asset_class"]
        and asked.get("data_type", row["data_types"][0]) in row["data_types"]
        and asked.get("id", str(row["id"])) == str(row["id"])
    ]
    return _cut_page("/v3/reference/conditions", rows, asked, default=10)


def answer_exchanges(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with all exchanges of the asset class asked for."""
    del source, names
    rows = [
        row
        for row in list_exchanges()
        if query.get("asset_class", row["asset_class"]) == row["asset_class"]
        and query.get("locale", row["locale"]) == row["locale"]
    ]
    return Payload(msgspec.json.encode(rows), {"count": len(rows)})


def answer_changes(source: Source, names: Mapping[str, str], query: Mapping[str, str]) -> Payload:
    """Answer with the tickers a company has had."""
    del query
    ticker = names["ticker"]
    listing = next(iter(_find_listings(source, ticker)), None)
    if listing is None:
        raise NotFoundError("Ticker not found.")
    changes = source.read_changes(ticker) or [(listing.get("list_date", "1999-01-04"), ticker)]
    results = {
        "name": listing.get("name", ticker),
        "composite_figi": listing.get("composite_figi", ""),
        "cik": listing.get("cik", ""),
        "events": [
            {"type": "ticker_change", "date": str(date), "ticker_change": {"ticker": name}}
            for date, name in changes
        ],
    }
    return Payload(msgspec.json.encode(results), ticker=ticker)


def _find_listings(source: Source, ticker: str) -> Sequence[WireRow]:
    """Find the listings of a ticker; those of a source that never changes are sorted once."""
    if not source.is_immutable:
        return [row for row in source.read_listings() if row["ticker"] == ticker]
    if source not in _LISTINGS:
        by_ticker: dict[str, list[WireRow]] = {}
        for row in source.read_listings():
            by_ticker.setdefault(row["ticker"], []).append(row)
        _LISTINGS[source] = by_ticker
    return _LISTINGS[source].get(ticker, ())


def _resolve_cursor(query: Mapping[str, str]) -> dict[str, str]:
    """Resolve a cursor to the parameters of the first request, which it repeats."""
    if "cursor" not in query:
        return dict(query)
    if len(query) > 1:
        raise QueryError("cursor cannot be combined with other parameters")
    return decode_cursor(query["cursor"])


def _cut_page(
    path: str, rows: Sequence[WireRow], asked: Mapping[str, str], *, default: int
) -> Payload:
    """Cut one page out of the rows; the cursor says after how many rows it starts."""
    limit = parse_limit(asked, default=default, maximum=1_000)
    start = int(asked.get("ap", "0"))
    page = rows[start : start + limit]

    def lead_to(place: int) -> str:
        cursor = encode_cursor({**asked, "limit": limit, "ap": place})
        return f"{NEXT_HOST}{path}?cursor={cursor}"

    payload = Payload(
        msgspec.json.encode(page),
        {"count": len(page)},
        next_url=lead_to(start + limit) if start + limit < len(rows) else None,
        page=start // limit + 1,
        ticker=asked.get("ticker"),
    )

    def redo(fault: Fault) -> Payload:
        is_loop = fault.kind == "looping_cursor"
        return replace(payload, next_url=lead_to(start)) if is_loop else payload

    return replace(payload, redo=redo)


def _sort_rows(
    rows: Iterable[WireRow], asked: Mapping[str, str], *, default_key: str, default_order: str
) -> list[WireRow]:
    key = asked.get("sort", default_key)
    is_descending = asked.get("order", default_order) == "desc"
    return sorted(rows, key=lambda row: str(row.get(key, "")), reverse=is_descending)


def _filter_rows(
    rows: Iterable[WireRow], asked: Mapping[str, str], names: Sequence[str]
) -> list[WireRow]:
    """Filter the rows by every ``name`` or ``name.gte`` asked for."""
    tests = []
    for parameter, bound in asked.items():
        name, _, operator = parameter.partition(".")
        if name in names and operator in _OPERATORS:
            tests.append((_WIRE_NAMES.get(name, name), _OPERATORS[operator], bound))
    return [
        row
        for row in rows
        if all(name in row and test(row[name], bound) for name, test, bound in tests)
    ]


_WIRE_NAMES: Final = {"exchange": "primary_exchange"}
_LISTINGS: Final[WeakKeyDictionary[Source, dict[str, list[WireRow]]]] = WeakKeyDictionary()


def _select_listings(rows: Iterable[WireRow], asked: Mapping[str, str]) -> list[WireRow]:
    """Select listings by filters, and by ``active`` as of ``date`` if there is one."""
    is_active = asked.get("active", "true") != "false"
    date = asked.get("date")
    kept = _filter_rows(rows, asked, _TICKER_FILTERS)
    if date is None:
        return [row for row in kept if bool(row.get("active", True)) == is_active]
    return [row for row in kept if _was_known(row, date) and _is_listed(row, date) == is_active]


def _was_known(row: WireRow, date: str) -> bool:
    return str(row.get("list_date", "")) <= date


def _is_listed(row: WireRow, date: str | None) -> bool:
    """Tell whether a listing trades on a date, or now."""
    if date is None:
        return bool(row.get("active", True))
    delisted = str(row.get("delisted_utc", "9999"))[:10]
    return _was_known(row, date) and date < delisted
