"""`python -m campaigns.estimates`: estimates held against what came of them, on four journeys.

(a) the demo, with its outage; (b) a pilot downloaded in eight pieces; (c) the same lake with a
damaged file repaired and a plan that grew; (d) real prints, replayed, and a plan by real bars.
Every command is the one that a user types.  Bytes are to be within 10 % each time, requests of
the plan exact, and the verdict has to come back to green.  Time depends on the machine: it is
printed, and nothing fails for it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.progress.pace import FULL_OVERLAP, Work, measure_slowness
from smallcaps_assets.ingest.budget.estimate_history import EstimateEntry
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

Promise = tuple[float, float, float]
"""Bytes, requests and seconds."""

PIECES: Final = 8
TOLERANCE: Final = 0.10
SHARED: Final = Path(os.environ.get("SMALLCAPS_SHARED", REPO_ROOT.parent / "shared"))
"""Folder of real data; its journeys are left out where it is absent."""
REPLAY_SPAN: Final = ("2013-10-07", "2013-10-11")


@dataclass(frozen=True, slots=True)
class Row:
    """An estimate beside what came of it.

    Attributes:
        journey: Which journey, and which part of it.
        estimated: Bytes, requests and seconds before.
        came: The same afterwards; requests are those of the plan.
        others: Requests besides: to resume, to repair, asked again.
        verdict: What the report says at the end.
        is_checked: Its bytes are to be within the tolerance.
    """

    journey: str
    estimated: Promise
    came: Promise
    others: int
    verdict: str
    is_checked: bool = True

    @property
    def deviation(self) -> float:
        """Return how far the estimate of bytes was off, over what came."""
        return self.estimated[0] / self.came[0] - 1 if self.came[0] else 0.0

    def describe(self) -> str:
        """Return the row of the table."""
        (bytes_, requests, seconds), (stored, spent, took) = self.estimated, self.came
        return (
            f"{self.journey:<44} {bytes_ / 1e6:>8.2f} / {stored / 1e6:>8.2f} MB "
            f"({self.deviation:+6.1%})  {requests:>5.0f} / {spent:>5.0f} requests, "
            f"{self.others:>4} others  {seconds:>7.1f} / {took:>7.1f} s  {self.verdict}"
        )


@dataclass(frozen=True, slots=True)
class Journey:
    """A data folder, and the commands that a user types there.

    Attributes:
        folder: The data folder.
        settings: Settings by name.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a command and return what it printed."""
        environment = {name: text for name, text in os.environ.items() if "SMALLCAPS" not in name}
        environment |= {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_DATA_DIR": str(self.folder)}
        environment |= {"SMALLCAPS_REQUESTS_PER_MINUTE": "0", "NO_COLOR": "1"}
        environment |= {f"SMALLCAPS_{name}": text for name, text in self.settings.items()}
        finished = subprocess.run(  # noqa: S603  our own command
            [sys.executable, "-m", "smallcaps_assets.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode not in allowed:
            raise SystemExit(f"{arguments} ended with {finished.returncode}: {finished.stderr}")
        return finished.stdout

    def report(self) -> dict[str, Any]:
        """Return the figures of the report."""
        figures: dict[str, Any] = json.loads(self.run("report", "--json"))
        return figures

    def runs(self) -> list[int]:
        """Return the requests of each run, the oldest first."""
        with LedgerReader(LakeLayout(self.folder).ledger_file) as ledger:
            return ledger.runs()["requests"].to_list()

    def estimates(self) -> list[EstimateEntry]:
        """Return the estimates on record, the oldest first."""
        lines = LakeLayout(self.folder).estimates_file.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=EstimateEntry) for line in lines]


def foretell(costs: Calibration, work: Work, runs: Sequence[int]) -> float:
    """Return the seconds of work that was done in runs of so many requests each."""
    free = replace(costs, start_s=0.0)
    alone = free.predict_seconds(work.requests, work.rows, work.sessions)
    alone /= measure_slowness(work.requests)
    return alone * mean_slowness(runs) + costs.start_s * len(runs)


def mean_slowness(runs: Sequence[int]) -> float:
    """Return how many times longer work takes in runs of so many requests each."""
    return sum(count * measure_slowness(count) for count in runs) / max(sum(runs), 1)


def promise(entry: EstimateEntry, runs: Sequence[int] = (FULL_OVERLAP,)) -> Promise:
    """Return bytes, requests and seconds of an estimate of the whole plan, done in such runs."""
    work = Work(entry.ticker_sessions, entry.requests, entry.rows)
    return entry.bytes_stored, entry.requests, foretell(entry.restore(), work, runs)


def come(figures: Mapping[str, Any]) -> Promise:
    """Return stored bytes, requests of the plan and seconds of a report."""
    hours = figures["download_hours"] or 0.0
    return figures["bytes"], figures["requests_by_purpose"]["plan"], 3_600 * hours


def compare(name: str, entry: EstimateEntry, journey: Journey) -> Row:
    """Return a row of an estimate, for the runs that it took, and the report at the end."""
    figures, runs = journey.report(), journey.runs()
    estimated = promise(entry, runs)
    name = f"{name}, {len(runs)} runs"
    counts = figures["requests_by_purpose"]
    others = sum(count for purpose, count in counts.items() if purpose != "plan")
    return Row(name, estimated, come(figures), others, figures["recommendation"][:60])


def try_demo(folder: Path) -> Iterator[Row]:
    """Journey (a): the demo, whose vendor fails in the middle."""
    journey = Journey(folder)
    journey.run("demo", "--data-dir", str(folder))
    yield compare("(a) demo", journey.estimates()[0], journey)


def try_pieces(folder: Path, tickers: int, seed: int) -> Iterator[Row]:
    """Journeys (b) and (c): a pilot in pieces; a repair; a plan that grew."""
    journey = Journey(folder, {"EMULATOR_SEED": str(seed)})
    journey.run("plan", "--pilot", str(tickers))
    planned = journey.estimates()[0]
    dates = pl.read_parquet(LakeLayout(folder).plan_file, glob=False)["session_date"].sort()
    ends = [dates[dates.len() * piece // PIECES - 1] for piece in range(1, PIECES + 1)]
    journey.run("download", "--to", str(ends[0]), allowed=(0, 1))
    first = journey.report()
    for end in ends[1:]:
        journey.run("download", "--to", str(end), allowed=(0, 1))
    whole = journey.report()
    yield compare(f"(b) {PIECES} pieces, seed {seed}", planned, journey)
    came, began = come(whole), come(first)
    later = journey.runs()[first["runs"] :]
    rest = (first["missing_bytes"], first["missing_requests"], _foretell_rest(first, later))
    after = (came[0] - began[0], came[1] - began[1], came[2] - began[2])
    yield Row(f"(b) its rest, by the first piece, seed {seed}", rest, after, 0, whole["verdict"])
    journey.run("plan", "--pilot", str(tickers))
    journey.run("audit", "--deep", allowed=(0, 1))
    yield compare("(b) planned and audited again", journey.estimates()[-1], journey)
    yield from _repair_and_grow(journey, tickers, whole)


def _foretell_rest(first: Mapping[str, Any], runs: Sequence[int]) -> float:
    """Return the seconds of what the first piece left, done in such runs."""
    begin_s = float(first["run_overhead_s"])
    alone = 3_600 * float(first["missing_hours"]) - begin_s * int(first["missing_runs"])
    alone /= measure_slowness(first["missing_requests"] / first["missing_runs"])
    return alone * mean_slowness(runs) + begin_s * len(runs)


def _repair_and_grow(journey: Journey, tickers: int, before: Mapping[str, Any]) -> Iterator[Row]:
    """Journey (c): damage a file, repair it, and let the plan grow."""
    files = sorted((journey.folder / "lake" / "segments").rglob("*.parquet"))
    files = [file for file in files if not file.name.endswith(".record.parquet")]
    files[len(files) // 2].write_bytes(b"damaged")
    journey.run("audit", "--deep", allowed=(1,))
    journey.run("repair")
    journey.run("download")
    journey.run("plan", "--pilot", str(2 * tickers))
    grown = journey.estimates()[-1]
    costs, requests = grown.restore(), grown.missing_requests
    seconds = costs.predict_seconds(
        requests, grown.missing_rows, grown.missing_sessions, grown.missing_runs
    )
    bytes_ = grown.missing_bytes_on_disk - grown.missing_sessions * costs.block_bytes
    journey.run("download")
    journey.run("audit", "--deep", allowed=(0, 1))
    after = journey.report()
    came, began = come(after), come(before)
    others = sum(after["requests_by_purpose"].values()) - after["requests_by_purpose"]["plan"]
    yield Row(
        "(c) repaired, and what it grew by",
        (bytes_, requests, seconds),
        (came[0] - began[0], came[1] - began[1], came[2] - began[2]),
        others,
        after["recommendation"][:60],
    )


def try_real(folder: Path) -> Iterator[Row]:
    """Journey (d): real prints replayed, and a plan by real bars."""
    if not SHARED.is_dir():
        sys.stdout.write(f"{SHARED} is not here: no journey with real data\n")
        return
    first, last = REPLAY_SPAN
    replay = Journey(folder / "replay", {"EMULATOR_REPLAY": str(SHARED / "data/us_stocks_sip")})
    span = ("--tickers", "AIG,IBM", "--from", first, "--to", last)
    replay.run("plan", *span)
    replay.run("download")
    replay.run("audit", "--deep", allowed=(0, 1))
    yield compare("(d) replay of real prints", replay.estimates()[0], replay)
    replay.run("plan", *span)
    yield compare("(d) planned again by what landed", replay.estimates()[-1], replay)
    bars = Journey(folder / "bars", {"DAILY_BARS": str(SHARED / "data/daily_bars.parquet")})
    bars.run("plan")
    yield Row(
        "(d) plan by real bars alone",
        promise(bars.estimates()[0]),
        (0, 0, 0),
        0,
        "plan",
        is_checked=False,
    )


def main() -> int:
    """Go on the journeys, print the table, and say whether the bytes were as estimated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=15, help="tickers of the pilot")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 7], help="emulated markets")
    parser.add_argument("--only", choices="abd", help="one journey; b holds c")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="estimates-"))
    parts: dict[str, Callable[[], Iterator[Row]]] = {
        "a": lambda: try_demo(scratch / "demo"),
        "b": lambda: (
            row
            for seed in options.seeds
            for row in try_pieces(scratch / f"pieces{seed}", options.tickers, seed)
        ),
        "d": lambda: try_real(scratch / "real"),
    }
    failed = 0
    try:
        for name, part in parts.items():
            for row in part() if options.only in (None, name) else ():
                is_far = row.is_checked and abs(row.deviation) > TOLERANCE
                failed += is_far
                sys.stdout.write(f"{row.describe()}{'  FAR' if is_far else ''}\n")
                sys.stdout.flush()
    finally:
        shutil.rmtree(scratch)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
