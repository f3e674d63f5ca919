"""Wire rows, a client that follows chains, and a small market for tests of the emulator."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import polars as pl
import requests

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.core.ticks.conditions import build_daily_bar
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.schemas import INSTANT

REPO_ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SMALLCAPS_SHARED", REPO_ROOT.parent / "shared"))
KEY = "sk_live_emulated"
SESSION = dt.date(2024, 1, 3)
OPENING_NS = day_bounds_ns(SESSION, SESSION)[0] + 34_200 * 10**9
"""09:30 in New York."""

Body = dict[str, Any]


def make_wire_trades(count: int, *, ties: int = 1) -> list[Body]:
    """Return trades of ``SESSION``, ``ties`` of them at each nanosecond."""
    return [
        {"sip_timestamp": OPENING_NS + number // ties, "sequence_number": number, "price": 5.01}
        for number in range(count)
    ]


def get(server: EmulatorServer, target: str, **parameters: str | int) -> requests.Response:
    headers = {"Authorization": f"Bearer {KEY}"}
    return requests.get(server.url + target, params=parameters, headers=headers, timeout=10)


def follow_chain(server: EmulatorServer, path: str, **parameters: str | int) -> list[list[Body]]:
    """Return the rows of each page of a chain."""
    body = get(server, path, **parameters).json()
    pages = [body.get("results", [])]
    while "next_url" in body:
        body = get(server, body["next_url"].removeprefix("https://api.polygon.io")).json()
        pages.append(body.get("results", []))
    return pages


def join_pages(pages: list[list[Body]]) -> list[Body]:
    return [row for page in pages for row in page]


def make_core_trades(rows: pl.DataFrame, ticker: str, session_date: dt.date) -> pl.DataFrame:
    """Return ``TAPE_COLUMNS`` as the columns of ``schemas.TRADES`` that a bar needs."""
    ids = pl.col("conditions").str.split(",").list.eval(pl.element().cast(pl.Int32))
    return rows.select(
        ticker=pl.lit(ticker),
        session_date=pl.lit(session_date),
        sip_timestamp=pl.col("sip_timestamp").cast(INSTANT),
        sequence_number="sequence_number",
        price="price",
        size=pl.coalesce(pl.col("decimal_size").cast(pl.Float64), pl.col("size").cast(pl.Float64)),
        conditions=pl.when(pl.col("conditions") != "").then(ids),
        correction=pl.col("correction").cast(pl.Int8),
    )


def build_core_bar(rows: pl.DataFrame) -> Body | None:
    """Return the bar that ``core`` builds of a session's rows, in the vendor's names."""
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "n": "trade_count"}
    bars = build_daily_bar(make_core_trades(rows, "A", SESSION).lazy()).select(**names).collect()
    return bars.row(0, named=True) if bars.height and bars["n"][0] else None
