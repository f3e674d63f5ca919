"""What every part of the campaign stands on: a planned lake, the truth, and what must hold.

A part hands back a :class:`Part`; it never stops at the first failure, because a campaign is
there to count them.
"""

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from smallcaps_assets.core.keys import decode_key, encode_key
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.emulator.http.requestlog import Request
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.lake.sessions.damages import Damage
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import (
    download_plan,
    make_lakehouse,
    planned_keys,
    publish_plan,
    refresh_due_bars,
    write_text,
)

MARKET = MarketConfig(tickers=4, busy_trades=0, trades_scale=0.2)
WATCHLIST = """ticker,date,events
BCPC,2024-01-10,E6
BCPC,2024-02-14,E6
BCPC,2024-03-20,E6
BCpC,2024-01-09,E6
BCpC,2024-02-06,E6
CON,2024-01-30,E6
CON,2024-03-05,E6
CON,2024-04-16,E6
"""
SMALL_WATCHLIST = "small_watchlist.csv"
"""A part of it, as another file."""


@dataclass(slots=True)
class Part:
    """One part of the campaign.

    Attributes:
        name: What was done.
        promise: What must hold after each case.
        cases: Cases tried.
        failures: What did not hold, a line each.
        notes: Figures worth keeping.
        seconds: Time it took.
    """

    name: str
    promise: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)
    notes: str = ""
    seconds: float = 0.0

    def check(self, case: object, problems: Iterable[str]) -> None:
        """Count a case and what did not hold after it."""
        self.cases += 1
        self.failures += [f"{case}: {problem}" for problem in problems]


@dataclass(frozen=True)
class Address:
    """What a child process needs of a server.

    Attributes:
        url: Its address.
        requests: Nothing: only the parent sees them.
    """

    url: str
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True)
class Ground:
    """A planned lake without a download, and what a download of it must give.

    Attributes:
        folder: Scratch space.
        server: The emulated vendor.
        keys: Planned keys.
        truth: Content hash of the whole lake.
    """

    folder: Path
    server: EmulatorServer | Address
    keys: tuple[str, ...]
    truth: str

    @property
    def planned(self) -> Path:
        """Return the planned data folder that cases copy."""
        return self.folder / "planned"

    def copy(self, name: str, source: str = "planned") -> Path:
        """Return a fresh copy of a data folder."""
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.folder / source, target)
        return target

    def open(self, folder: Path, **changes: object) -> Lakehouse:
        """Return a lakehouse in ``folder`` that commits at once: downloads have many steps."""
        values = {"watchlist": self.folder / "watchlist.csv", "commit_interval_s": 1e-9} | changes
        return make_lakehouse(folder, self.server.url, **values)

    def open_on(self, disk: FileSystem, folder: Path, **changes: object) -> Lakehouse:
        """Return a lakehouse whose changes of the disk go through ``disk``."""
        return replace(self.open(folder, **changes), fs=disk)

    def find_problems(self, folder: Path) -> list[str]:
        """Return what is wrong after a crash: before, during and after the same command again."""
        lakehouse = self.open(folder)
        receipts = list(lakehouse.sessions.iter_receipts())
        damages = lakehouse.sessions.verify_sessions(receipts)
        problems = [f"torn: {damage.message}" for damage in damages]
        finished = {receipt.key for receipt in receipts}
        seen = len(self.server.requests)
        download_plan(lakehouse)
        asked = self.asked_keys(seen)
        problems += [f"asked again: {key}" for key in sorted(finished & asked)]
        found = hash_content(lakehouse)
        problems += [] if found == self.truth else [f"content hash {found[:12]}"]
        left = lakehouse.ledger.missing_keys().height
        problems += [f"{left} sessions are missing"] if left else []
        lakehouse.ledger.close()
        return problems

    def asked_keys(self, since: int) -> set[str]:
        """Return the keys of sessions that requests for trades asked for."""
        asked = set()
        for request in self.server.requests[since:]:
            gte, lt = request.query.get("timestamp.gte"), request.query.get("timestamp.lt")
            if gte is None or lt is None:
                continue
            ticker = request.path.rsplit("/", 1)[1]
            for key in self.keys:
                name, date = decode_key(key)
                low, high = day_bounds_ns(date, date)
                if name == ticker and int(gte) <= low and high <= int(lt):
                    asked.add(encode_key(name, date))
        return asked


def build_ground(folder: Path, server: EmulatorServer) -> Ground:
    """Plan a small lake, and download a copy of it undisturbed for the truth."""
    load_calendar()
    write_text(folder / "watchlist.csv", WATCHLIST)
    few = WATCHLIST.splitlines()[:1] + WATCHLIST.splitlines()[1::2]
    write_text(folder / SMALL_WATCHLIST, "\n".join(few) + "\n")
    ground = Ground(folder, server, (), "")
    lakehouse = ground.open(folder / "planned")
    refresh_due_bars(lakehouse)
    publish_plan(lakehouse)
    keys = tuple(planned_keys(lakehouse))
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)
    lakehouse.ledger.close()
    shutil.copytree(folder / "planned", folder / "whole")
    whole = ground.open(folder / "whole")
    download_plan(whole)
    whole.ledger.close()
    return Ground(folder, server, keys, hash_content(whole))


def hash_content(lakehouse: Lakehouse) -> str:
    """Return the content hash of a lake, from its records alone."""
    return hash_lake({r.key: r.content_hash for r in lakehouse.sessions.iter_receipts()})


def hash_sessions(lakehouse: Lakehouse, damages: list[Damage]) -> dict[str, str]:
    """Return the content hash of each session by its record; those unreadable are damages."""
    return {r.key: r.content_hash for r in lakehouse.sessions.iter_receipts(damages=damages)}


def serve_market(config: MarketConfig = MARKET) -> EmulatorServer:
    """Return a server of the emulated market, not started."""
    return EmulatorServer(Market(config))


def timed(run: Callable[[], Part]) -> Part:
    """Run a part and keep its time."""
    started = time.monotonic()
    part = run()
    part.seconds = time.monotonic() - started
    return part


def dates_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Return the sessions between two dates."""
    return load_calendar().dates(first, last)
