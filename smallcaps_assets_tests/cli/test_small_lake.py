"""A lake on a disk of 80 MB, from the terminal: full, moved, resumed, equal."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.small_lake import TICKERS
from smallcaps_assets_tests.ingest.bulky import BulkySource, hash_bulk
from smallcaps_assets_tests.ingest.ingest_factories import SESSIONS, find_asked
from smallcaps_assets_tests.ingest.tmpfs import run_on_tmpfs

pytestmark = pytest.mark.slow

SOURCE: Final = BulkySource(count=5_000, id_bytes=150)
"""A session has about 0.8 MB, all 123 of them 100 MB."""
MB: Final = 1024**2


def write_bars(path: Path) -> Path:
    """Write daily bars of all sessions with their number of trades."""
    keys = [(ticker, date) for ticker in TICKERS for date in SESSIONS]
    bars = pl.DataFrame(keys, schema=["ticker", "date"], orient="row").with_columns(
        **dict.fromkeys(("open", "high", "low", "close"), pl.lit(5.5)),
        volume=pl.lit(1e6),
        trade_count=pl.lit(SOURCE.count),
    )
    bars.write_csv(path)
    return path


def count_asked(server: EmulatorServer) -> Counter[str]:
    """Return how often each session was asked for."""
    return Counter(
        encode_key(ticker, date)
        for ticker, first, last in find_asked(server)
        for date in SESSIONS
        if first <= date <= last
    )


def read_report(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that `smallcaps report --json` printed."""
    report: dict[str, Any] = json.loads(answer["report"]["output"])
    return report


def test_a_lake_on_80_mb_stops_moves_and_goes_on(tmp_path: Path) -> None:
    """L25: the content is that of a lake that never met a limit, and nothing is fetched twice."""
    keys = [(ticker, date) for ticker in TICKERS for date in SESSIONS]
    truth = hash_lake({encode_key(*key): hash_bulk(*key, SOURCE) for key in keys})
    bars = write_bars(tmp_path / "bars.csv")
    small, large = tmp_path / "small", tmp_path / "large"

    with EmulatorServer(SOURCE) as server:
        module = "smallcaps_assets_tests.cli.small_lake"
        answer = run_on_tmpfs("80m", small, module, server.url, str(small), str(large), str(bars))
        asked = count_asked(server)

    codes = {name: answer[name]["code"] for name in answer}
    assert codes == {"planned": 0, "stopped": 1, "moved": 0, "resumed": 0, "report": 0}, answer
    assert "no room for the next range" in answer["stopped"]["output"]
    # What waits for its segment counts as well.
    assert 4 * MB <= answer["stopped"]["free_bytes"] < 16 * MB
    assert answer["moved"]["free_bytes"] > 60 * MB
    assert read_report(answer)["content_hash"] == truth
    assert asked == Counter({encode_key(*key): 1 for key in keys})
