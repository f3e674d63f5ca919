"""What Dagster costs per partition: a backfill of thousands of keys, three ways.

The sessions have about 20 trades each and come from an emulator that has rendered them before,
so that little but overhead is left.  Contenders, each a process of its own on a copy of one
planned home, one after another, in turn:

* ``trades``: what ``smallcaps download`` does, from the first look at what is missing to the last
  event, catalog and checks included.
* ``core``: the same sessions by the download core, without Dagster.
* ``bare``: a generator asset on the same instance that yields an empty event per key.
* ``own``: the same, of 300 keys, on Dagster's own event log instead of ours.

The overhead is that of ``trades`` over ``core``.  After ``core``, of which Dagster knows nothing,
``reconcile`` shows it all keys.  The start of the code location is a process that loads it.
"""

import argparse
import datetime as dt
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import dagster as dg
import polars as pl
from measuring import make_row, pick, print_result, run_contender, time_work
from rich.console import Console
from vendor import KEY, serve

from smallcaps_assets.cli.runs.download import run_download
from smallcaps_assets.cli.runs.workplace import QUIET, Workplace, prepare_dagster_home
from smallcaps_assets.core.events.rules import IMPORTED_EVENT
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.instance.queue import register_plan
from smallcaps_assets.defs.instance.reconciliation import reconcile_partitions
from smallcaps_assets.defs.partitions import PLANNED_SET, planned_ticker_sessions
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lake.reading.sources import EVERYTHING
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN, PILOT_WATCHLIST
from smallcaps_assets.settings import load_settings

KEYS, SHORT_KEYS = 3_000, 60
OWN_KEYS = 300
SESSIONS = 250
TRADES = 20
FIRST, LAST = dt.date(2024, 1, 2), dt.date(2024, 12, 31)
MAX_OVERHEAD_MS, MAX_RATIO = 15, 1.3
MS = 1_000


def make_plan(count: int) -> pl.DataFrame:
    """Return a plan of so many sessions."""
    dates = load_calendar().dates(FIRST, LAST)[:SESSIONS]
    tickers = [f"N{TRADES}.{chr(65 + number)}" for number in range(-(-count // len(dates)))]
    keys = pl.DataFrame({"ticker": tickers}).join(
        pl.DataFrame({"session_date": dates}), how="cross"
    )
    return EVENT_WINDOW_PLAN.conform(
        keys.head(count).with_columns(
            events=pl.lit([IMPORTED_EVENT]),
            event_dates=pl.concat_list("session_date"),
            offsets=pl.lit([0], pl.List(pl.Int16)),
        )
    )


def make_home(folder: Path, count: int) -> None:
    """Plan sessions in a new data folder and register them with its instance."""
    home = folder / "dagster"
    home.mkdir(parents=True)
    config = resources.files("smallcaps_assets.cli") / "dagster.yaml"
    (home / "dagster.yaml").write_bytes(config.read_bytes())
    os.environ["SMALLCAPS_DATA_DIR"], os.environ["DAGSTER_HOME"] = str(folder), str(home)
    lakehouse, plan = Lakehouse(load_settings()), make_plan(count)
    pilot = plan.select("ticker", "session_date", "events", event_count=pl.lit(1, pl.UInt32))
    lakehouse.tables.write_table(PILOT_WATCHLIST, pilot, is_published=True)
    record = PlanRecord(
        plan_hash=hash_plan(plan),
        sessions=plan.height,
        tickers=plan["ticker"].n_unique(),
        created_at=lakehouse.clock(),
    )
    lakehouse.tables.write_plan(plan, record, is_published=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        register_plan(instance, lakehouse)
    lakehouse.ledger.close()


def run_trades() -> int:
    """Download through Dagster; return the sessions that are green in the lake."""
    work = Workplace(load_settings())
    run_download(work, EVERYTHING, Console(file=io.StringIO()))
    return work.lakehouse.ledger.totals().sessions


def run_core() -> int:
    """Download without Dagster."""
    lakehouse = Lakehouse(load_settings())
    _, plan = lakehouse.tables.read_plan()
    ensure_indexed(lakehouse)
    backfill = Backfill(lakehouse, run_id="core")
    with backfill.held(wait_s=0):
        return sum(
            outcome.is_green
            for outcome in backfill.run(plan.select(key_expression()).to_series().to_list())
        )


@dg.asset(
    partitions_def=planned_ticker_sessions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    output_required=False,
)
def bare(context: dg.AssetExecutionContext) -> Iterator[dg.AssetMaterialization]:
    """Yield an event per key."""
    for key in context.partition_keys:
        yield dg.AssetMaterialization("bare", partition=key)


def run_own() -> int:
    """Materialize some of the bare asset on Dagster's own event log."""
    config = load_settings().data_dir / "dagster" / "dagster.yaml"
    lines = config.read_text(encoding="utf-8").splitlines(keepends=True)
    start = lines.index("event_log_storage:\n")
    end = next(place for place in range(start + 1, len(lines)) if lines[place].strip() == "")
    config.write_text("".join(lines[:start] + lines[end:]), encoding="utf-8")
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "0"
    return run_bare(OWN_KEYS)


def run_bare(limit: int | None = None) -> int:
    """Materialize the bare asset; return the keys it has."""
    job = dg.Definitions(
        assets=[bare],
        jobs=[dg.define_asset_job("bare_job", [bare])],
        executor=dg.in_process_executor,
    ).resolve_job_def("bare_job")
    prepare_dagster_home(load_settings())
    with dg.DagsterInstance.get() as instance:
        keys = instance.get_dynamic_partitions(PLANNED_SET)[:limit]
        tags = {RANGE_START: keys[0], RANGE_END: keys[-1]}
        job.execute_in_process(instance=instance, tags=tags, run_config=QUIET)
        return len(instance.get_materialized_partitions(dg.AssetKey("bare")))


def run_reconcile() -> int:
    """Show Dagster what the lake holds; return the keys it then shows as stored."""
    work = Workplace(load_settings())
    reconcile_partitions(work.instance, work.lakehouse)
    return len(work.instance.get_materialized_partitions(dg.AssetKey("trades")))


CONTENDERS: dict[str, Callable[[], int]] = {
    "core": run_core,
    "bare": run_bare,
    "trades": run_trades,
    "own": run_own,
    "reconcile": run_reconcile,
}
ROUND = ("core", "bare", "trades", "own")
LOAD = "from smallcaps_assets.definitions import defs; defs.get_repository_def()"


def time_load(folder: Path) -> dict[str, float]:
    """Return what a process takes that loads the code location."""
    started = time.perf_counter()
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    environment = os.environ | {"SMALLCAPS_DATA_DIR": str(folder)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD], env=environment, check=True)
    cpu_s = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
    return {"wall_s": time.perf_counter() - started, "cpu_s": cpu_s}


def compare(template: Path, count: int, repeats: int) -> list[dict[str, object]]:
    """Run the contenders in turn and return the rows of the result."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    loads = [time_load(template) for _ in range(repeats + 1)][1:]
    # The first download, which has the emulator render its answers, is not looked at.
    for name in ("core", *(name for _ in range(repeats) for name in ROUND)):
        folder = template.with_name("run")
        shutil.copytree(template, folder)
        os.environ["SMALLCAPS_DATA_DIR"] = str(folder)
        run = run_contender(Path(__file__), "--contender", name)
        taken[name].append(run | {"events_bytes": measure_events(folder)})
        expected = min(count, OWN_KEYS) if name == "own" else count
        if run["keys"] != expected:
            raise SystemExit(f"{name}: expected {expected} keys, found {run['keys']}")
        if name == "core":
            again = run_contender(Path(__file__), "--contender", "reconcile")
            if again["keys"] != count:
                raise SystemExit(f"reconcile: expected {count} keys, found {again['keys']}")
            taken["reconcile"].append(again)
        # Not removed until all are done: see contenders.
        folder.rename(folder.with_name(f"{name}_{len(taken[name])}"))
    core, bare_runs, ours = taken["core"][1:], taken["bare"], taken["trades"]
    overhead = [(a["wall_s"] - b["wall_s"]) / count * MS for a, b in zip(ours, core, strict=True)]
    cpu = [(a["cpu_s"] - b["cpu_s"]) / count * MS for a, b in zip(ours, core, strict=True)]
    per_bare = [run["wall_s"] / count * MS for run in bare_runs]
    ratio = [a / b for a, b in zip(overhead, per_bare, strict=True)]
    return [
        make_row("partitions", [count], "keys"),
        make_row("trades, wall", pick(ours, "wall_s"), "s"),
        make_row("core, wall", pick(core, "wall_s"), "s"),
        make_row("bare, wall", pick(bare_runs, "wall_s"), "s"),
        make_row("trades, partitions per second", [count / run["wall_s"] for run in ours], "/s"),
        make_row("bare, events per second", [count / run["wall_s"] for run in bare_runs], "/s"),
        make_row("bare, per partition", per_bare, "ms"),
        make_row(
            "bare on Dagster's own event log, per partition",
            [run["wall_s"] / run["keys"] * MS for run in taken["own"]],
            "ms",
        ),
        *(
            make_row(f"{name}, CPU per partition", [r["cpu_s"] / count * MS for r in runs], "ms")
            for name, runs in (("trades", ours), ("core", core), ("bare", bare_runs))
        ),
        make_row(
            "overhead per partition",
            overhead,
            "ms",
            at_most=MAX_OVERHEAD_MS,
            target=f"Dagster overhead per partition, backfill of {count:,}",
        ),
        make_row(
            "overhead over bare",
            ratio,
            "times",
            at_most=MAX_RATIO,
            target="the same against the bare generator (one of the two is asked for)",
        ),
        make_row("overhead per partition, CPU", cpu, "ms"),
        make_row(
            "reconcile after a lost Dagster home, per partition",
            [run["wall_s"] / count * MS for run in taken["reconcile"]],
            "ms",
        ),
        make_row("start of the code location", pick(loads, "wall_s"), "s"),
        make_row("start of the code location, CPU", pick(loads, "cpu_s"), "s"),
        make_row(
            "events of trades, size", [run["events_bytes"] / count for run in ours], "bytes per key"
        ),
        make_row(
            "events of bare, size", [r["events_bytes"] / count for r in bare_runs], "bytes per key"
        ),
    ]


def measure_events(folder: Path) -> int:
    """Return the size of the instance's databases."""
    return sum(path.stat().st_size for path in (folder / "dagster").rglob("*.db*"))


def main() -> None:
    """Compare, or be one of the contenders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS)
    options = parser.parse_args()
    if options.contender:
        work = CONTENDERS[options.contender]
        time_work(lambda: {"keys": work()})
        return
    count = SHORT_KEYS if options.short else KEYS
    with tempfile.TemporaryDirectory() as folder, serve() as url:
        os.environ |= {
            "SMALLCAPS_SOURCE": "vendor",
            "SMALLCAPS_BASE_URL": url,
            "SMALLCAPS_REQUESTS_PER_MINUTE": "0",
            "POLYGON_API_KEY": KEY,
        }
        template = Path(folder) / "template"
        make_home(template, count)
        rows = compare(template, count, 1 if options.short else options.repeats)
    print_result("dagster", "overhead of Dagster per partition of a backfill", rows)


if __name__ == "__main__":
    main()
