"""Wire rows, an emulated vendor that serves them, and clients of it that lose no time."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import polars as pl

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.core.ticks.tape import FetchedTrades
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.emulator.tape import Span, Tape, WireRow
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.limiter import RequestLimiter
from smallcaps_assets.polygon.wire.trades import TRADE_COLUMNS

KEY = "sk_live_0123456789abcdef"
SESSION = dt.date(2024, 1, 3)
GTE_NS, LT_NS = day_bounds_ns(SESSION, SESSION)
OPENING_NS = GTE_NS + 34_200 * 10**9
"""09:30 in New York."""

RETRIES = 2

_CONDITIONS = (None, [12, 37], [37], [14, 37, 41])


def make_wire_trade(
    number: int = 0, *, at_ns: int = OPENING_NS, **changes: object
) -> dict[str, Any]:
    """Return a row as the vendor sends it; ``None`` in ``changes`` leaves a field out."""
    is_off_exchange = number % 3 == 0
    row = {
        "conditions": _CONDITIONS[number % 4],
        "exchange": 4 if is_off_exchange else 11,
        "id": f"{number}",
        "participant_timestamp": at_ns - 381_293,
        "price": 5 + number % 7 * 0.25,
        "sequence_number": 1_000 + number * 3,
        "sip_timestamp": at_ns,
        "size": 100 + number % 50,
        "tape": 3,
        "trf_id": 201 if is_off_exchange else None,
        "trf_timestamp": at_ns - 1_001 if is_off_exchange else None,
    }
    return {name: value for name, value in (row | changes).items() if value is not None}


def make_wire_trades(count: int, *, ties: int = 3, **changes: object) -> list[dict[str, Any]]:
    """Return trades of ``SESSION``, ``ties`` of them at each timestamp."""
    return [
        make_wire_trade(number, at_ns=OPENING_NS + number // ties * 1_000_003, **changes)
        for number in range(count)
    ]


def render_page(rows: Sequence[WireRow], **members: object) -> bytes:
    return msgspec.json.encode({"results": rows, "status": "OK", **members})


def make_frame(rows: Sequence[WireRow]) -> pl.DataFrame:
    """Return the columns that rows stand for, without the code under test."""
    columns = {name: [row.get(name) for row in rows] for name in TRADE_COLUMNS}
    columns["ticker"] = ["ABCD"] * len(rows)
    columns["correction"] = [row.get("correction", 0) for row in rows]
    columns["size"] = [float(row.get("decimal_size", row.get("size"))) for row in rows]
    return pl.DataFrame(columns, TRADE_COLUMNS)


class RenderedSource(StaticSource):
    """Trades that are rendered once, because a busy day takes long to render."""

    def __init__(self, trades: Mapping[str, Sequence[WireRow]]) -> None:
        super().__init__()
        self._tapes = {ticker: Tape.from_rows(rows) for ticker, rows in trades.items()}

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        del span
        yield self._tapes[ticker]


@contextmanager
def serve(rows: Sequence[WireRow], *faults: Fault) -> Iterator[EmulatorServer]:
    """Serve the trades of ``ABCD``."""
    with EmulatorServer(StaticSource({"ABCD": rows}), faults) as server:
        yield server


def make_config(url: str, **settings: object) -> ClientConfig:
    """Return a config with pauses of a millisecond."""
    quick = {"api_key": KEY, "retries": RETRIES, "backoff_base_s": 0.001, "backoff_factor": 1.0}
    return ClientConfig(base_url=url, **cast(dict[str, Any], quick | settings))


def make_client(url: str, **settings: object) -> PolygonClient:
    return PolygonClient(make_config(url, **settings), RequestLimiter(0, Path("unused"), url))


def fetch(
    server: EmulatorServer, *, expected_rows: int | None = None, **settings: object
) -> FetchedTrades:
    """Fetch the trades of ``ABCD`` with a client of its own."""
    with make_client(server.url, **settings) as client:
        return client.fetch_trades("ABCD", GTE_NS, LT_NS, expected_rows=expected_rows)
