"""Homes of downloads: a planned lake, Dagster's instance, and commands run as users run them.

What belongs here: the emulator as a process, folder and environment of a run, and what Dagster
shows.  What does not: processes that die at a chosen moment (``kills``).
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, Self, cast

import dagster as dg
import msgspec
import polars as pl
import requests
from dagster import AssetPartitionStatus

from smallcaps_assets.core.events.rules import IMPORTED_EVENT
from smallcaps_assets.core.keys import decode_key, encode_key
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.defs.partitions import PLANNED_SET, planned_ticker_sessions
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST, TRADES
from smallcaps_assets.settings import Settings
from smallcaps_assets_tests.cli.cli_factories import Finished
from smallcaps_assets_tests.ingest.ingest_factories import hash_stored
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

TICKERS: Final = ("BCPC", "BCpC", "BRK.A", "CON")
"""Tickers of a market of four companies."""
SESSIONS: Final = load_calendar().dates(dt.date(2024, 1, 16), dt.date(2024, 1, 31))
KEYS: Final = [encode_key(ticker, date) for ticker in TICKERS for date in SESSIONS]
"""Keys in the order of the partition set."""

MARKET: Final = (
    *("--tickers", "4", "--from", "2024-01-02", "--to", "2024-03-28"),
    *("--trades-scale", "0.1", "--busy-trades", "0"),
)
PATIENCE_S: Final = 1_200.0
"""Longer than anything takes on a busy machine."""


class EmulatorProcess:
    """The emulator as a process of its own.

    Attributes:
        url: Its address.
    """

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "smallcaps_assets.emulator", "serve"]
        command += options or MARKET
        command += ["--parent-pid", str(os.getpid())]
        self._process = subprocess.Popen(command, cwd=REPO_ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Return the requests for trades so far, in the order of arrival."""
        asked = requests.get(f"{self.url}/_emulator/requests", timeout=10).json()
        return [request for request in asked if request["path"].startswith("/v3/trades/")]

    def count_requests(self) -> int:
        """Return how many requests there were so far, of any kind: quicker than to list them."""
        count: int = self._read_stats()["requests"]
        return count

    def count_faults(self, kind: str) -> int:
        """Return how many requests a kind of fault has hit since the faults were set."""
        hits: int = self._read_stats()["faults"].get(kind, 0)
        return hits

    def _read_stats(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/_emulator/stats", timeout=10)
        stats: dict[str, Any] = answer.json()
        return stats

    def set_faults(self, *faults: str | dict[str, object]) -> None:
        """Put these faults in force, in place of the others."""
        answer = requests.post(f"{self.url}/_emulator/faults", json=list(faults), timeout=10)
        answer.raise_for_status()


def find_asked_keys(asked: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the sessions that requests for trades ask for; later pages of a chain name none."""
    bounds = [(date, *day_bounds_ns(date, date)) for date in SESSIONS]
    return {
        encode_key(request["path"].removeprefix("/v3/trades/"), date)
        for request in asked
        if "timestamp.gte" in request["query"]
        for date, start_ns, end_ns in bounds
        if int(request["query"]["timestamp.gte"]) < end_ns
        and int(request["query"]["timestamp.lt"]) > start_ns
    }


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open Dagster's instance of a folder, with the variable that every command exports."""
    # The place of the event log is read from it.
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        return dg.DagsterInstance.from_config(str(home))
    finally:
        del os.environ["DAGSTER_HOME"]


@dataclass(frozen=True)
class Home:
    """A data folder and the settings that runs in it have.

    Attributes:
        folder: The data folder.
        url: Address of the emulator.
        changes: Settings by name.
    """

    folder: Path
    url: str
    changes: Mapping[str, object] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, object]:
        """Return the settings: small pages, ranges and groups, and little patience."""
        return {
            "data_dir": self.folder,
            "source": "emulator",
            "base_url": self.url,
            "requests_per_minute": 0,
            "workers": 2,
            "page_limit": 40,
            "range_max_sessions": 2,
            "commit_interval_s": 0.1,
            "retries": 1,
            "backoff_base_s": 0.01,
        } | dict(self.changes)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a process at work here, without the settings of ours."""
        foreign = ("SMALLCAPS_", "DAGSTER_", "POLYGON_", "MASSIVE_")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
        named = {f"SMALLCAPS_{name.upper()}": str(value) for name, value in self.values.items()}
        path = os.pathsep.join(filter(None, [str(REPO_ROOT), os.environ.get("PYTHONPATH")]))
        home = {"DAGSTER_HOME": str(self.folder / "dagster"), "DAGSTER_DISABLE_TELEMETRY": "1"}
        return kept | named | home | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}

    @property
    def lakehouse(self) -> Lakehouse:
        """Return a lakehouse of its own in this process."""
        return Lakehouse(Settings(**cast(dict[str, Any], {"_env_file": None} | self.values)))

    @contextmanager
    def open_instance(self) -> Iterator[dg.DagsterInstance]:
        """Open Dagster's instance, made as the commands make it."""
        home = self.folder / "dagster"
        home.mkdir(exist_ok=True)
        config = resources.files("smallcaps_assets.cli") / "dagster.yaml"
        (home / "dagster.yaml").write_bytes(config.read_bytes())
        with open_instance(home) as instance:
            yield instance

    def copy(self, folder: Path, **changes: object) -> "Home":
        """Return a home of its own with the same content."""
        shutil.copytree(self.folder, folder)
        return Home(folder, self.url, changes)

    def run(self, *arguments: str, module: str = "smallcaps_assets.cli") -> Finished:
        """Run a command to its end."""
        process = self.start(*arguments, module=module)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return Finished(process.returncode, output, "")

    def start(
        self, *arguments: str, module: str = "smallcaps_assets.cli"
    ) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, so that a signal reaches it alone."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def report(self) -> dict[str, Any]:
        """Return the figures of `smallcaps report --json`."""
        return msgspec.json.decode(self.run("report", "--json").out, type=dict[str, Any])

    def read_receipts(self) -> dict[str, Receipt]:
        """Return what is known of every stored session, by key; damage of that raises."""
        return {receipt.key: receipt for receipt in self.lakehouse.sessions.iter_receipts()}

    def hash_lake(self) -> str:
        """Return the hash of what is stored, from the files themselves."""
        return hash_lake(hash_stored(self.lakehouse))


def publish(lakehouse: Lakehouse, keys: Iterable[str]) -> str:
    """Publish the plan of these keys, without registering it; return its hash."""
    rows = [
        {
            "ticker": ticker,
            "session_date": date,
            "events": [IMPORTED_EVENT],
            "event_dates": [date],
            "offsets": [0],
        }
        for ticker, date in map(decode_key, keys)
    ]
    plan = pl.DataFrame(rows, EVENT_WINDOW_PLAN.schema).sort(EVENT_WINDOW_PLAN.key)
    pilot = plan.select("ticker", "session_date", "events", event_count=pl.lit(1, pl.UInt32))
    lakehouse.tables.write_table(PILOT_WATCHLIST, pilot, is_published=True)
    record = PlanRecord(
        plan_hash=hash_plan(plan),
        sessions=plan.height,
        tickers=plan["ticker"].n_unique(),
        created_at=lakehouse.clock(),
    )
    return lakehouse.tables.write_plan(plan, record, is_published=True).plan_hash


def make_home(folder: Path, url: str, keys: Iterable[str] = KEYS) -> Home:
    """Return a home in which sessions are planned and registered."""
    home = Home(folder, url)
    folder.mkdir()
    lakehouse = home.lakehouse
    publish(lakehouse, keys)
    with home.open_instance() as instance:
        register_plan(instance, lakehouse)
    lakehouse.ledger.close()
    return home


def read_statuses(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """Return the partition keys of `trades` by the status that Dagster shows."""
    keys = instance.get_dynamic_partitions(PLANNED_SET)
    asset = dg.AssetKey(TRADES.name)
    shown = instance.get_status_by_partition(asset, keys, planned_ticker_sessions) or {}
    statuses: dict[str, set[str]] = {status.value: set() for status in AssetPartitionStatus}
    statuses["MISSING"] = set()
    for key in keys:
        status = shown.get(key)
        statuses[status.value if status else "MISSING"].add(key)
    return statuses


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
