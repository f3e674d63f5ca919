"""Universes of the emulated market: planned, registered, and what Dagster shows of them."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import dagster as dg
import polars as pl
from dagster import AssetPartitionStatus

from smallcaps_assets.core.sessions import load_calendar, month_bounds
from smallcaps_assets.core.universe.progress import PROVEN, measure_units
from smallcaps_assets.core.universe.units import assign_batches
from smallcaps_assets.defs.instance.internals import AssetMaterializationPlannedData
from smallcaps_assets.defs.instance.units import UNITS_JOB, UNITS_KEY, register_units
from smallcaps_assets.defs.partitions import UNITS_SET, universe_units
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.universe.standing import measure_plan
from smallcaps_assets.lake.tables.universe_record import UniverseRecord, hash_units
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import UNIVERSE_PLAN
from smallcaps_assets_tests.defs.defs_factories import Home
from smallcaps_assets_tests.lakehouse_factories import NOW

MARKET: Final = (
    *("--tickers", "12", "--from", "2024-01-02", "--to", "2024-03-28"),
    *("--trades-scale", "0.05", "--busy-trades", "0"),
)
"""Twelve companies and three months."""
MONTHS: Final = ("2024-01", "2024-02")
BATCH: Final = 4
NO_BATCHES: Final[Mapping[str, int]] = MappingProxyType({})


def plan_universe(
    tickers: Iterable[str],
    months: Sequence[str] = MONTHS,
    batches: Mapping[str, int] = NO_BATCHES,
    size: int = BATCH,
) -> pl.DataFrame:
    """Plan whole months of tickers, in batches; those of an earlier plan stay."""
    listed = pl.DataFrame({"ticker": sorted(tickers)}).with_columns(first_month=pl.lit(months[0]))
    assigned = assign_batches(listed, batches, size)
    rows = [
        {"month": month, "ticker": ticker, "batch": assigned[ticker], "owed": owe_month(month)}
        for ticker in listed["ticker"]
        for month in months
    ]
    plan = pl.DataFrame(rows, {name: UNIVERSE_PLAN.schema[name] for name in rows[0]})
    nothing = pl.lit(None, pl.Int64()).alias("expected_rows")
    return UNIVERSE_PLAN.conform(plan.with_columns(nothing).sort(UNIVERSE_PLAN.key))


def frame_plan(sessions: Iterable[tuple[str, dt.date]], batches: Mapping[str, int]) -> pl.DataFrame:
    """Frame the plan that owes these sessions."""
    owed: dict[tuple[str, str], int] = defaultdict(int)
    for ticker, date in sessions:
        owed[f"{date:%Y-%m}", ticker] |= 1 << date.day
    rows = [(month, ticker, batches[ticker], bits, None) for (month, ticker), bits in owed.items()]
    plan = pl.DataFrame(rows, UNIVERSE_PLAN.schema, orient="row")
    return UNIVERSE_PLAN.conform(plan.sort(UNIVERSE_PLAN.key))


def owe_month(month: str) -> int:
    """Return the bits of all sessions of a month."""
    return sum(1 << date.day for date in load_calendar().dates(*month_bounds(month)))


def read_batches(plan: pl.DataFrame) -> dict[str, int]:
    """Return the batch of each ticker of a plan."""
    return dict(plan.select("ticker", "batch").unique().iter_rows())


def publish_universe(lakehouse: Lakehouse, plan: pl.DataFrame) -> None:
    """Publish the plan of a universe, without registering it."""
    units = measure_units(plan, pl.DataFrame(schema=PROVEN))
    months = plan["month"].unique().sort()
    record = UniverseRecord(
        plan_hash=hash_units(units),
        created_at=NOW,
        symbols="tickers.txt",
        first=month_bounds(months[0])[0],
        last=month_bounds(months[-1])[1],
        tickers=plan["ticker"].n_unique(),
        units=units.height,
        ticker_months=plan.height,
        sessions=int(units["owed"].sum()),
        batch_tickers=BATCH,
        batches=read_batches(plan),
    )
    lakehouse.tables.write_universe_plan(plan, record)


def make_universe_home(folder: Path, url: str, plan: pl.DataFrame, **changes: object) -> Home:
    """Return a home in which a universe is planned and registered, and nothing else."""
    home = Home(folder, url, changes)
    folder.mkdir()
    lakehouse = home.lakehouse
    publish_universe(lakehouse, plan)
    ensure_indexed(lakehouse)
    with home.open_instance() as instance:
        register_units(instance, lakehouse)
    lakehouse.ledger.close()
    return home


def read_colours(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """Return the registered units by the status that Dagster shows."""
    units = instance.get_dynamic_partitions(UNITS_SET)
    shown = instance.get_status_by_partition(UNITS_KEY, list(units), universe_units) or {}
    colours: dict[str, set[str]] = {status.value: set() for status in AssetPartitionStatus}
    colours["MISSING"] = set()
    for unit in units:
        status = shown.get(unit)
        colours[status.value if status else "MISSING"].add(unit)
    return colours


def list_proven(lakehouse: Lakehouse) -> set[str]:
    """Return the units of the published plan of which everything owed is proven."""
    _, plan = lakehouse.tables.read_universe_plan()
    return set(measure_plan(lakehouse, plan).filter(pl.col("missing") == 0)["unit"])


def republish(home: Home, plan: pl.DataFrame) -> dict[str, set[str]]:
    """Publish another plan of a home and register it; return what Dagster shows then."""
    lakehouse = home.lakehouse
    publish_universe(lakehouse, plan)
    with home.open_instance() as instance:
        register_units(instance, lakehouse)
        colours = read_colours(instance)
    lakehouse.ledger.close()
    return colours


def begin_run(instance: dg.DagsterInstance, units: Iterable[str], **tags: str) -> dg.DagsterRun:
    """Begin a run that is to download units, as Dagster does."""
    run = instance.add_run(
        dg.DagsterRun(job_name=UNITS_JOB, status=dg.DagsterRunStatus.STARTED, tags=tags)
    )
    for unit in units:
        planned = AssetMaterializationPlannedData(UNITS_KEY, partition=unit)
        event = dg.DagsterEvent.build_asset_materialization_planned_event(
            UNITS_JOB, "universe_trades", planned
        )
        instance.report_dagster_event(event, run.run_id)
    return run
