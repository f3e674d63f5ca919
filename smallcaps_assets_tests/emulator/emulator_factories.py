"""Wire rows, a client that follows chains, and a small market for tests of the emulator."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import requests

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.emulator import EmulatorServer

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
    """Return the answer to one request with a key."""
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
    """Return the rows of all pages."""
    return [row for page in pages for row in page]
