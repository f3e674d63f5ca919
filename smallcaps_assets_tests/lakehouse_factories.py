"""Lakehouses on a small emulated market, whole or with a defect planted.

What does not belong here: rows of trades made by hand (``polygon.polygon_factories``).
"""

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import polars as pl
import pytest

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import MarketConfig
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.ingest.reference.daily_bars import due_months, refresh_daily_bars
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import Settings

REPO_ROOT: Final = Path(__file__).parents[1]
MEMORY: Final = Path("/dev/shm")  # noqa: S108  a disk in memory: Dagster on SQLite waits for disks
NOW: Final = dt.datetime(2025, 1, 15, 17, tzinfo=dt.UTC)
"""The time in tests: the whole emulated market is over and published."""

SMALL_MARKET: Final = MarketConfig(tickers=4, busy_trades=0, trades_scale=0.2)
WATCHLIST_TEXT: Final = """ticker,date,events
BCPC,2024-01-10,E6
BCpC,2024-01-09,E6
CON,2024-01-30,E6
"""
"""Three windows of three sessions; on 2024-01-09 nobody traded BCpC."""
SESSIONS: Final = 9
EMPTY_KEY: Final = "BCpC_2024-01-09"


@contextmanager
def open_memory() -> Iterator[Path]:
    """Yield a folder that goes with the block, in memory where there is such a disk."""
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="smallcaps-", dir=memory) as folder:
        yield Path(folder)


def find_shared(name: str) -> Path:
    """Find a file or folder of real data, or skip the test where it is absent."""
    folder = Path(os.environ.get("SMALLCAPS_SHARED", REPO_ROOT.parent / "shared"))
    path = folder / "data" / name
    if not path.exists():
        pytest.skip(f"{path} is not here: set SMALLCAPS_SHARED to the folder of real data")
    return path


def make_settings(folder: Path, url: str, **changes: object) -> Settings:
    """Return settings of a lakehouse that loses no time, whatever the environment says."""
    values: dict[str, object] = {
        "_env_file": None,
        "_env_prefix": "SMALLCAPS_TESTS_",
        "POLYGON_API_KEY": "test-key",
        "data_dir": folder,
        "source": "emulator",
        "base_url": url,
        "requests_per_minute": 0,
        "workers": 2,
        "retries": 1,
        "backoff_base_s": 0.001,
        "commit_interval_s": 0.05,
    }
    return Settings(**cast(dict[str, Any], values | changes))


def make_lakehouse(folder: Path, url: str, **changes: object) -> Lakehouse:
    """Return a lakehouse whose clock stands still; its folder is made, as the commands do."""
    folder.mkdir(parents=True, exist_ok=True)
    return Lakehouse(make_settings(folder, url, **changes), clock=lambda: NOW)


def write_text(path: Path, text: str) -> Path:
    """Write a file and return its path."""
    path.write_text(text, encoding="utf-8")
    return path


def write_bars(path: Path, closes: Mapping[str, Sequence[float]], first: dt.date) -> Path:
    """Write daily bars as CSV: flat bars of 1,000 shares on weekdays from ``first`` on."""
    dates = [first + dt.timedelta(days=day) for day in range(1_000)]
    weekdays = [date for date in dates if date.weekday() < 5]
    rows = [
        (ticker, date, close, close, close, close, 1_000)
        for ticker, prices in closes.items()
        for date, close in zip(weekdays, prices, strict=False)
    ]
    columns = ["ticker", "date", "open", "high", "low", "close", "volume"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(path)
    return path


def refresh_due_bars(lakehouse: Lakehouse) -> None:
    """Store every month of daily bars that is due."""
    for month in refresh_daily_bars(lakehouse, due_months(lakehouse)):
        assert not month.problem


def publish_plan(lakehouse: Lakehouse) -> dict[str, Verdict]:
    """Make watchlist, pilot and plan; return their verdicts."""
    made = {"watchlist": make_watchlist, "pilot": make_pilot, "plan": make_plan}
    return {name: make(lakehouse).verdict for name, make in made.items()}


def planned_keys(lakehouse: Lakehouse) -> list[str]:
    """Return the keys of the published plan, in its order."""
    _, plan = lakehouse.tables.read_plan()
    return plan.select(key_expression()).to_series().to_list()


def download_plan(lakehouse: Lakehouse) -> Backfill:
    """Download the published plan and return the finished backfill."""
    ensure_indexed(lakehouse)
    backfill = Backfill(lakehouse, run_id="test")
    with backfill.held(wait_s=0):
        list(backfill.run(planned_keys(lakehouse)))
    return backfill


def plan_small_lake(folder: Path, url: str, **changes: object) -> Lakehouse:
    """Plan the small watchlist; nothing of it is downloaded."""
    watchlist = write_text(folder / "watchlist.csv", WATCHLIST_TEXT)
    lakehouse = make_lakehouse(folder / "data", url, **{"watchlist": watchlist} | changes)
    refresh_due_bars(lakehouse)
    publish_plan(lakehouse)
    return lakehouse


def build_small_lake(folder: Path, url: str, **changes: object) -> Lakehouse:
    """Plan and download the small watchlist; the whole of it lies in ``folder`` afterwards."""
    lakehouse = plan_small_lake(folder, url, **changes)
    download_plan(lakehouse)
    return lakehouse


@dataclass(frozen=True)
class SmallLake:
    """A finished lake that tests copy, and the address it came from, which answers no more."""

    folder: Path
    url: str

    def copy(self, target: Path, **changes: object) -> Lakehouse:
        """Return a lakehouse of its own with the same content."""
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        values = {"watchlist": target / "watchlist.csv"} | changes
        return make_lakehouse(target / "data", self.url, **values)


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def count_trade_requests(server: EmulatorServer) -> int:
    """Return the requests for trades that a server has seen."""
    return sum(request.path.startswith("/v3/trades/") for request in server.requests)
