"""The assets of a universe: its queue, and runs that download units."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.defs.assets.universe import UNDER_PARENT_TAG, universe_queue
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START, find_open_backfill
from smallcaps_assets.defs.instance.runs import limit_pool
from smallcaps_assets.defs.instance.units import UNITS_JOB, UNITS_KEY, UNITS_POOL, register_units
from smallcaps_assets.defs.partitions import UNITS_SET
from smallcaps_assets.defs.universe_job import UNIVERSE_JOB
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets_tests.defs.run_factories import (
    Site,
    describe_failures,
    find_failures,
    open_site,
)
from smallcaps_assets_tests.defs.universe_factories import (
    frame_plan,
    list_proven,
    publish_universe,
    read_colours,
)
from smallcaps_assets_tests.lakehouse_factories import count_trade_requests, make_lakehouse

BATCHES = {"BCPC": 1, "CON": 1, "BCpC": 2}
OWED = [
    f"{ticker}_{day}" for ticker in BATCHES for day in ("2024-01-30", "2024-01-31", "2024-02-01")
]
UNITS = ["b001_2024-01", "b001_2024-02", "b002_2024-01", "b002_2024-02"]


@pytest.fixture
def universe(market_server: EmulatorServer, tmp_path: Path) -> Iterator[Site]:
    """Return a site with a registered universe, and nothing else planned or stored."""
    lakehouse = make_lakehouse(tmp_path, market_server.url)
    publish_universe(lakehouse, frame_plan(map(decode_key, OWED), BATCHES))
    ensure_indexed(lakehouse)
    with open_site(lakehouse) as site:
        register_units(site.instance, lakehouse)
        yield site


def download(site: Site, first: str = UNITS[0], last: str = UNITS[-1]) -> dg.ExecuteInProcessResult:
    return site.run_range(UNITS_JOB, first, last)


def test_a_unit_is_one_event_with_what_it_holds(
    universe: Site, market_server: EmulatorServer
) -> None:
    result = download(universe)

    assert result.success
    events = read_events(result)
    assert {event.partition for event in events} == set(UNITS) == list_proven(universe.lakehouse)
    first = next(event for event in events if event.partition == UNITS[0]).metadata
    assert (first["sessions"].value, first["tickers"].value) == (4, 2)
    assert int(str(first["dagster/row_count"].value)) > 0
    assert len(str(first["content_hash"].value)) == 64
    assert len(str(first["owed_hash"].value)) == 16
    requests = sum(int(str(event.metadata["requests"].value)) for event in events)
    assert requests == count_trade_requests(market_server)
    assert read_colours(universe.instance)["MATERIALIZED"] == set(UNITS)


def test_finished_units_stay_green_without_a_request(
    universe: Site, market_server: EmulatorServer
) -> None:
    download(universe)
    before = count_trade_requests(market_server)

    result = download(universe)

    assert result.success
    assert count_trade_requests(market_server) == before
    events = read_events(result)
    assert all(event.metadata["reused"].value is True for event in events)
    assert read_colours(universe.instance)["MATERIALIZED"] == set(UNITS)


def test_units_that_lack_something_are_told_and_fail_the_run_once(
    universe: Site, market_server: EmulatorServer
) -> None:
    market_server.faults = [Fault("500", ticker="CON")]

    result = download(universe)

    assert not result.success
    assert len(find_failures(result)) == 1
    assert "2 of 4 units lack sessions: b001_2024-01 (2), b001_2024-02 (1)" in describe_failures(
        result
    )
    colours = read_colours(universe.instance)
    assert (colours["FAILED"], colours["MATERIALIZED"]) == (set(UNITS[:2]), set(UNITS[2:]))
    chosen = dg.AssetRecordsFilter(UNITS_KEY, asset_partitions=[UNITS[0]])
    (record,) = universe.instance.fetch_observations(chosen, limit=1).records
    assert record.asset_observation is not None
    told = record.asset_observation.metadata
    assert told["open"].value == 2
    assert told["open_keys"].value == ["CON_2024-01-30", "CON_2024-01-31"]

    market_server.faults = []
    assert download(universe, UNITS[0], UNITS[1]).success
    assert read_colours(universe.instance)["MATERIALIZED"] == set(UNITS)


def test_a_run_that_breaks_off_shows_what_it_had_stored(
    universe: Site, market_server: EmulatorServer
) -> None:
    """An outage ends it before all was asked; what is proven is green all the same."""
    market_server.faults = [Fault("401", after=1)]

    result = download(universe)

    assert not result.success
    assert read_colours(universe.instance)["MATERIALIZED"] == list_proven(universe.lakehouse)


def test_units_that_are_not_planned_are_refused(universe: Site) -> None:
    universe.instance.add_dynamic_partitions(UNITS_SET, ["b009_2024-01", "mine"])

    result = download(universe, "b009_2024-01", "mine")

    assert not result.success
    assert "none of 2 units of this run is planned, b009_2024-01 the first" in describe_failures(
        result
    )


def test_runs_of_a_command_go_on_while_it_gives_units(universe: Site) -> None:
    tags = {RANGE_START: UNITS[0], RANGE_END: UNITS[0], UNDER_PARENT_TAG: "true"}
    with universe.lakehouse.giving_units("smallcaps download --universe", 0.0):
        assert universe.run(UNITS_JOB, tags).success


def test_one_click_asks_for_a_backfill_of_what_lacks_once(universe: Site) -> None:
    download(universe, UNITS[0], UNITS[1])

    first, second = universe.run(UNIVERSE_JOB), universe.run(UNIVERSE_JOB)

    assert first.success
    assert second.success
    (backfill,) = universe.instance.get_backfills()
    assert find_open_backfill(universe.instance, UNITS_KEY) == backfill.backfill_id
    assert backfill.asset_backfill_data is not None
    subset = backfill.asset_backfill_data.target_subset.get_partitions_subset(UNITS_KEY)
    assert set(subset.get_partition_keys()) == set(UNITS[2:])


def test_the_queue_registers_and_aligns(universe: Site) -> None:
    grown = [*OWED, "BCpC_2024-02-02"]
    download(universe)
    publish_universe(universe.lakehouse, frame_plan(map(decode_key, grown), BATCHES))

    queued = dg.materialize(
        [universe_queue], instance=universe.instance, resources={"lakehouse": universe.lakehouse}
    )

    assert queued.success

    colours = read_colours(universe.instance)
    assert colours["FAILED"] == {"b002_2024-02"}
    assert colours["MATERIALIZED"] == set(UNITS[:3]) == list_proven(universe.lakehouse)


def test_so_many_runs_of_the_pool_are_at_work_at_once(universe: Site) -> None:
    for limit in (3, 3, 5):
        limit_pool(universe.instance, UNITS_POOL, limit)
        pools = universe.instance.event_log_storage.get_pool_limits()
        assert {pool.name: pool.limit for pool in pools}[UNITS_POOL] == limit


def read_events(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    """Return the units that a run finished, in their order."""
    found = [event for event in result.all_events if event.is_step_materialization]
    return [event.step_materialization_data.materialization for event in found]
