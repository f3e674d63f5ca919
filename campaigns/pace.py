"""`make pace`: what `smallcaps status` foretells of a long run, held against what came of it.

A download of 2,000 sessions on the emulator with 3 % faulty answers, watched from another process
as a person would.  Twice: with a vendor that answers alike all the time, and with one that becomes
four times slower when half is done.
"""

import argparse
import datetime as dt
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from smallcaps_assets.core.documents import decode_document
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.status.document import StatusDocument
from smallcaps_assets.settings import load_settings
from smallcaps_assets_tests.defs.defs_factories import MEMORY, EmulatorProcess, Home
from smallcaps_assets_tests.lakehouse_factories import planned_keys

TICKERS: Final = 8
FIRST: Final = dt.date(2023, 1, 3)
SESSIONS: Final = 2_000
FAULTS: Final = ("503", "429", "cut_json", "reset", "html", "cut_gzip")
FAULT_SHARE: Final = 0.03
SLOWER: Final = 4.0
TOLERANCE: Final = 0.25
FIFTH: Final = 0.2
HALF: Final = 0.5
TENTH: Final = 0.1
NEVER: Final = dt.datetime.fromtimestamp(0, dt.UTC)
PAUSE_S: Final = 3.0
NEARLY: Final = 0.9
MARKET: Final = (
    *("--tickers", str(TICKERS), "--from", "2023-01-03", "--to", "2023-12-29"),
    *("--busy-trades", "0", "--trades-scale", "0.05"),
)
SETTINGS: Final = {
    "workers": 4,
    "page_limit": 100,
    "range_max_sessions": 4,
    "range_max_rows": 400,
    "sync_group": 50,
    "sync_interval_s": 2.0,
    "retries": 8,
    "backoff_base_s": 0.2,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a run from outside.

    Attributes:
        status: What `smallcaps status --json` said.
        is_true: Its figures lie between those of the ledger before and after.
    """

    status: StatusDocument
    is_true: bool

    @property
    def at(self) -> dt.datetime:
        """Return when it was."""
        return self.status.told_at

    @property
    def share(self) -> float:
        """Return the share of the sessions that is done."""
        return self.status.partitions.done / self.status.partitions.planned


@dataclass(slots=True)
class Watched:
    """A run that was watched to its end.

    Attributes:
        samples: What was seen, in order.
        begun_at: When the run began, by its own word.
        ended_at: When it ended.
        slowed_at: When the vendor became slower; ``None``: it did not.
        code: Exit code of the download.
    """

    samples: list[Sample] = field(default_factory=list)
    begun_at: dt.datetime = NEVER
    ended_at: dt.datetime = NEVER
    slowed_at: dt.datetime | None = None
    code: int | None = None

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return (self.ended_at - self.begun_at).total_seconds()

    def age_s(self, at: dt.datetime) -> float:
        """Return a moment in seconds of the run."""
        return (at - self.begun_at).total_seconds()

    def find_errors(self, from_s: float) -> list[tuple[float, float]]:
        """Return when and how far forecasts were off, until nine tenths of the run."""
        return [
            (self.age_s(sample.at), foretold / (self.ended_at - sample.at).total_seconds() - 1)
            for sample in self.samples
            if from_s <= self.age_s(sample.at) < NEARLY * self.seconds
            and (foretold := sample.status.forecast.run_seconds) is not None
        ]

    def find_share(self, share: float) -> float:
        """Return when so much was done."""
        return self.age_s(next(s.at for s in self.samples if s.share >= share))


def watch(folder: Path, options: argparse.Namespace, *, slows_down: bool) -> Watched:
    """Download and look at it every few seconds from a process of its own."""
    watched, latency_s = Watched(), options.latency_ms / 1_000
    with EmulatorProcess(*MARKET) as emulator:
        home = Home(folder, emulator.url, SETTINGS)
        folder.mkdir(parents=True)
        _plan(home, options.sessions)
        emulator.set_faults(*_list_faults(latency_s))
        core = {"module": "campaigns.pace"} if options.core else {}
        process = home.start("--download" if options.core else "download", **core)
        while process.poll() is None:
            sample = _look(home)
            watched.samples.append(sample)
            if slows_down and sample.share >= HALF and watched.slowed_at is None:
                emulator.set_faults(*_list_faults(SLOWER * latency_s))
                watched.slowed_at = dt.datetime.now(dt.UTC)
            time.sleep(PAUSE_S)
        output, _ = process.communicate()
        watched.code = process.returncode
        watched.samples.append(_look(home))
    watched.begun_at, watched.ended_at = _read_bounds(home)
    if watched.code:
        sys.stdout.write(output[-2_000:])
    return watched


def download_core() -> int:
    """Download what the settings of this process plan, and say whether all of it came."""
    lakehouse = Lakehouse(load_settings())
    ensure_indexed(lakehouse)
    backfill = Backfill(lakehouse, run_id="pace")
    with backfill.held(wait_s=0):
        outcomes = list(backfill.run(planned_keys(lakehouse)))
    return int(not all(outcome.is_green for outcome in outcomes))


def _plan(home: Home, sessions: int) -> None:
    """Plan as many sessions of every ticker as make the number asked for."""
    market = Market(MarketConfig(tickers=TICKERS))
    last = load_calendar().shift(FIRST, sessions // TICKERS - 1)
    options = ("--tickers", ",".join(market.tickers[:TICKERS]), "--from", str(FIRST))
    planned = home.run("plan", *options, "--to", str(last))
    if planned.code:
        raise SystemExit(planned.output)


def _list_faults(latency_s: float) -> list[str]:
    """Return 3 % of faults of all kinds, and a slow but right answer to everything else."""
    share = FAULT_SHARE / len(FAULTS)
    faults = [
        f"{kind}:endpoint=trades,probability={share},seed={seed}"
        for seed, kind in enumerate(FAULTS)
    ]
    return [*faults, f"slow:endpoint=trades,seconds={latency_s}"]


def _look(home: Home) -> Sample:
    """Look once from a process of its own."""
    before = _read_ledger(home)
    finished = home.run("status", "--json")
    after = _read_ledger(home)
    if finished.code:
        raise SystemExit(finished.output)
    status = decode_document(finished.output, StatusDocument)
    stored = status.stored
    seen = (status.partitions.done, stored.rows, stored.bytes, stored.requests)
    bounds = zip(before, seen, after, strict=True)
    is_true = all(low <= value <= high for low, value, high in bounds)
    return Sample(status, is_true)


def _read_ledger(home: Home) -> tuple[int, int, int, int]:
    """Return green sessions, trades, bytes and requests: none of them ever falls in a run."""
    with LedgerReader(home.lakehouse.layout.ledger_file) as ledger:
        counts, totals = ledger.counts(), ledger.totals()
    done = sum(count for state, count in counts.items() if state in GREEN)
    return done, totals.rows, totals.bytes, totals.requests


def _read_bounds(home: Home) -> tuple[dt.datetime, dt.datetime]:
    """Return when the run began and ended by its own word."""
    with LedgerReader(home.lakehouse.layout.ledger_file) as ledger:
        pulse = ledger.pulse()
    if pulse is None or pulse.ended_at is None:
        raise SystemExit("the download did not say that it ended")
    return pulse.run_started_at, pulse.ended_at


def judge(name: str, watched: Watched) -> tuple[list[str], list[str]]:
    """Return lines that tell what was seen, and what did not hold."""
    from_s = watched.find_share(FIFTH)
    moment = "after a fifth of the sessions"
    if watched.slowed_at is not None:
        from_s = watched.age_s(watched.slowed_at) + TENTH * watched.seconds
        moment = "a tenth of the run after the vendor slowed down"
    errors = watched.find_errors(from_s)
    if not errors:
        return [f"{name}: {watched.seconds:.0f} s"], [f"{name}: too short to be looked at"]
    first, worst = errors[0], max(errors, key=lambda error: abs(error[1]))
    untrue = sum(not sample.is_true for sample in watched.samples)
    off = [error for _, error in errors if abs(error) > TOLERANCE]
    retries = sum(watched.samples[-1].status.errors.retries.values())
    lines = [
        f"{name}: {watched.seconds:.0f} s, {len(watched.samples)} looks, {retries} retries",
        f"  {moment} ({first[0]:.0f} s): off by {first[1]:+.1%}",
        f"  worst from then to nine tenths of the run: {worst[1]:+.1%} at {worst[0]:.0f} s",
        f"  beyond 25 %: {len(off)} of {len(errors)} looks",
        f"  looks whose figures were not the ledger's: {untrue}",
    ]
    problems = [f"{name}: exit code {watched.code}"] if watched.code else []
    problems += [f"{name}: {untrue} looks do not agree with the ledger"] if untrue else []
    if abs(first[1]) > TOLERANCE:
        problems.append(f"{name}: {moment} the forecast is off by {first[1]:+.1%}")
    return lines, problems


def trace(file: Path, name: str, watched: Watched) -> None:
    """Add what each look saw to a file of CSV."""
    with file.open("a", encoding="utf-8") as lines:
        for sample in watched.samples:
            outlook, age_s = sample.status.forecast, watched.age_s(sample.at)
            values = (name, f"{age_s:.1f}", f"{sample.share:.3f}", outlook.run_seconds)
            left = f"{watched.seconds - age_s:.1f}"
            lines.write(",".join(map(str, (*values, left, outlook.pace_window_s))) + "\n")


def main() -> int:
    """Run the campaign; exit code 1 when something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--latency-ms", type=float, default=400.0)
    parser.add_argument("--trace", type=Path, help="file of CSV for what each look saw")
    parser.add_argument("--core", action="store_true", help="leave Dagster out: a busy machine")
    parser.add_argument("--download", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.download:
        return download_core()
    problems: list[str] = []
    scratch = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for name, slows_down in (("an even vendor", False), ("four times slower half way", True)):
            place = Path(folder) / name.replace(" ", "-")
            watched = watch(place, options, slows_down=slows_down)
            if options.trace:
                trace(options.trace, name, watched)
            lines, found = judge(name, watched)
            problems += found
            sys.stdout.write("\n".join([*lines, ""]))
            sys.stdout.flush()
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
