import datetime as dt
import string
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import encode_key, hash_keys
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.core.states import PLANNED
from smallcaps_assets.defs.instance.queue import (
    drop_foreign_keys,
    register_plan,
    require_registered_plan,
    split_keys,
)
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.ingest.derived import index_stored
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.defs.defs_factories import publish, read_statuses
from smallcaps_assets_tests.defs.run_factories import (
    Site,
    describe_failures,
    open_site,
    read_checks,
)
from smallcaps_assets_tests.lake.disks import PausingDisk
from smallcaps_assets_tests.lakehouse_factories import (
    SESSIONS,
    WATCHLIST_TEXT,
    SmallLake,
    count_trade_requests,
    make_lakehouse,
    planned_keys,
    write_bars,
    write_text,
)
from smallcaps_assets_tests.stored_rows import lose_session

KEYS: Final = ["BCPC_2024-01-10", "BCPC_2024-01-11", "CON_2024-01-30"]


@pytest.fixture
def site(market_server: EmulatorServer, tmp_path: Path) -> Iterator[Site]:
    """Return a site whose watchlist is a file that tests may rewrite."""
    watchlist = write_text(tmp_path / "watchlist.csv", WATCHLIST_TEXT)
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    with open_site(lakehouse) as opened:
        yield opened


@pytest.fixture
def registered(site: Site) -> Site:
    """Return a site whose plan of three keys is registered."""
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    return site


def test_register_plan_makes_the_partition_set_equal_to_the_plan(site: Site) -> None:
    """L10: a larger plan registers only what is new."""
    larger = [KEYS[0], "BRK.A_2024-01-10", KEYS[2]]

    plan_hash = publish(site.lakehouse, KEYS)
    first = register_plan(site.instance, site.lakehouse)
    assert (site.keys, site.lakehouse.ledger.counts()) == (KEYS, {PLANNED: 3})
    assert first.plan_hash == plan_hash == hash_keys(site.keys)
    again = register_plan(site.instance, site.lakehouse)
    publish(site.lakehouse, larger)
    changed = register_plan(site.instance, site.lakehouse)

    counts = [(facts.keys, facts.added, facts.removed) for facts in (first, again, changed)]
    assert counts == [(3, 3, 0), (3, 0, 0), (3, 1, 1)]
    assert sorted(site.keys) == sorted(larger)
    assert set(site.lakehouse.ledger.states(KEYS)) == {KEYS[0], KEYS[2]}


def test_register_plan_shows_what_the_lake_already_has(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    """The lake is the truth: a new instance learns what is stored."""
    lakehouse = small_lake.copy(tmp_path)
    keys = planned_keys(lakehouse)

    with open_site(lakehouse) as site:
        facts = register_plan(site.instance, lakehouse)
        shown = read_statuses(site.instance)["MATERIALIZED"]

    assert facts.marked_green == SESSIONS
    assert shown == set(keys)


def test_register_plan_shows_a_key_that_returns_without_its_data_as_missing(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    keys = planned_keys(lakehouse)
    with open_site(lakehouse) as site:
        register_plan(site.instance, lakehouse)
        publish(lakehouse, keys[1:])
        register_plan(site.instance, lakehouse)
        lose_session(lakehouse, "BCPC_2024-01-09")
        index_stored(lakehouse)
        publish(lakehouse, keys)

        facts = register_plan(site.instance, lakehouse)

        assert (facts.added, facts.marked_missing) == (1, 1)
        assert read_statuses(site.instance)["FAILED"] == {keys[0]}


def list_keys(site: Site, count: int) -> list[str]:
    """Return so many keys, whole tickers but for the last."""
    dates = site.lakehouse.calendar.dates(dt.date(2023, 1, 3), dt.date(2024, 12, 31))
    keys = (encode_key(f"T{number}", date) for number in range(100, 999) for date in dates)
    return list(islice(keys, count))


def test_register_plan_refuses_more_keys_than_dagster_bears(registered: Site) -> None:
    publish(registered.lakehouse, list_keys(registered, MAX_KEYS + 1))

    with pytest.raises(ConfigError, match=r"100,001 .*at most 100,000.*left as they are"):
        register_plan(registered.instance, registered.lakehouse)

    assert registered.keys == KEYS
    with pytest.raises(LedgerMismatchError):
        require_registered_plan(registered.instance, registered.lakehouse)


def test_register_plan_needs_a_plan(site: Site) -> None:
    with pytest.raises(MissingPartitionError, match="smallcaps plan"):
        register_plan(site.instance, site.lakehouse)


@pytest.mark.parametrize("more", [[], ["BRK.A_2024-01-10"], [*KEYS[2:], "CON_2024-01-31"]])
def test_require_registered_plan_refuses_a_plan_that_was_not_registered(
    registered: Site, more: list[str]
) -> None:
    assert require_registered_plan(registered.instance, registered.lakehouse) == hash_keys(KEYS)

    publish(registered.lakehouse, [*KEYS[:2], *more])
    refused = registered.download()

    assert drop_foreign_keys(registered.instance, registered.lakehouse) == []
    assert "materialize download_queue" in describe_failures(refused)
    assert registered.keys == KEYS
    assert not list(registered.lakehouse.sessions.iter_receipts())


def start_registration(site: Site) -> tuple[PausingDisk, threading.Thread]:
    """Start a registration in a thread, which pauses when it has read the published plan."""
    disk = PausingDisk("read", "plan.parquet", number=2)  # once before it takes the lock
    slow = replace(site.lakehouse, fs=disk)
    thread = threading.Thread(target=register_plan, args=[site.instance, slow])
    thread.start()
    assert disk.reached.wait(10)
    return disk, thread


def test_a_plan_published_during_a_registration_waits_for_it(registered: Site) -> None:
    """Its keys were registered, and those of the older plan put in their place afterwards."""
    lakehouse = registered.lakehouse
    disk, thread = start_registration(registered)

    with lakehouse.planning("publishing a plan"):
        plan_hash = publish(lakehouse, KEYS[1:])
    register_plan(registered.instance, lakehouse)
    disk.others_done.set()
    thread.join()

    assert require_registered_plan(registered.instance, lakehouse) == plan_hash
    assert registered.keys == KEYS[1:]
    assert lakehouse.ledger.counts() == {PLANNED: 2}


def test_a_download_waits_for_a_registration_under_way(registered: Site) -> None:
    plan_hash = publish(registered.lakehouse, KEYS[1:])
    _, thread = start_registration(registered)

    found = require_registered_plan(registered.instance, registered.lakehouse)
    thread.join()

    assert found == plan_hash


def test_a_registration_beside_a_plan_that_hangs_is_refused_and_names_it(registered: Site) -> None:
    with (
        LakeLock(registered.lakehouse.layout.plan_lock_file).hold("publishing a plan"),
        pytest.raises(PartitionConflictError, match="in use by publishing a plan"),
        registered.lakehouse.planning("registering the plan", 0.0),
    ):
        pytest.fail("two at once")


foreign_keys = st.lists(
    st.text(string.ascii_letters + string.digits + "_-. ", min_size=1, max_size=20)
    | st.sampled_from(["BCPC_2024-01-12", "BCPC_2024-13-45", "bcpc_2024-01-10", "BCPC", "_"]),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(
    max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(foreign_keys)
def test_keys_added_by_hand_are_left_out_and_then_removed(site: Site, foreign: list[str]) -> None:
    """L48: a typo in the UI's "Add a partition" blocked every download."""
    plan_hash = publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    site.instance.add_dynamic_partitions(PLANNED_SET, foreign)

    assert require_registered_plan(site.instance, site.lakehouse) == plan_hash
    assert split_keys(site.lakehouse, site.keys) == (KEYS, foreign)
    assert drop_foreign_keys(site.instance, site.lakehouse) == foreign
    assert site.keys == KEYS


def test_a_run_skips_keys_added_by_hand_and_fetches_the_others(registered: Site) -> None:
    """L48: the range ends in the typo, and the plan is fetched all the same."""
    registered.instance.add_dynamic_partitions(PLANNED_SET, ["BCPC_2024-01-1O", "con"])

    done = registered.download()

    assert done.success
    assert set(registered.lakehouse.ledger.states(KEYS).values()) == {"complete"}
    assert registered.keys == KEYS
    assert read_statuses(registered.instance)["MATERIALIZED"] == set(KEYS)


def test_a_run_of_nothing_but_keys_added_by_hand_says_so(registered: Site) -> None:
    """L48."""
    registered.instance.add_dynamic_partitions(PLANNED_SET, ["typo"])

    refused = registered.run_range("download_missing", "typo", "typo")

    assert "nothing to fetch: not in the published plan" in describe_failures(refused)
    assert "'typo'" in describe_failures(refused)


def test_keys_added_by_hand_stay_while_a_run_may_hold_them(registered: Site) -> None:
    """L48: a backfill whose key is gone ends as failed, whatever it has fetched."""
    registered.instance.add_dynamic_partitions(PLANNED_SET, ["typo"])
    registered.instance.add_run(dg.DagsterRun(job_name="any", status=dg.DagsterRunStatus.STARTED))

    assert drop_foreign_keys(registered.instance, registered.lakehouse) == []
    assert registered.keys == [*KEYS, "typo"]


# -- through the job -------------------------------------------------------------------


def test_plan_pilot_registers_what_it_publishes(site: Site) -> None:
    result = site.run("plan_pilot")

    assert result.success
    assert site.keys == planned_keys(site.lakehouse)
    assert len(site.keys) == SESSIONS
    publishable = ("watchlist_is_publishable", "pilot_is_publishable", "plan_is_publishable")
    assert all(read_checks(result)[name].passed for name in publishable)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("BCPC,2024-01-10,E99", "name unknown events"),
        ("BCPC,2024-01-15,E6", "weekends and holidays: BCPC 2024-01-15"),
    ],
    ids=["no such event", "no session"],
)
def test_plan_pilot_publishes_nothing_bad_now_or_later(
    site: Site, market_server: EmulatorServer, row: str, words: str
) -> None:
    site.run("plan_pilot")
    before = site.keys
    write_text(
        site.lakehouse.layout.data_dir.parent / "watchlist.csv", f"ticker,date,events\n{row}\n"
    )

    result = site.run("plan_pilot")
    later = site.run_range("download_missing", before[0], before[2])

    summaries = [c.metadata["summary"].value for c in read_checks(result).values() if not c.passed]
    assert not result.success
    assert words in f"{describe_failures(result)} {summaries}"
    assert site.keys == before == planned_keys(site.lakehouse)
    assert later.success
    assert count_trade_requests(market_server) == 1
    assert register_plan(site.instance, site.lakehouse).removed == 0


def test_plan_pilot_publishes_no_empty_watchlist_now_or_later(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    """The check blocks what follows in this run, and nothing is left for a later one."""
    bars = write_bars(tmp_path / "bars.csv", {"ABCD": [1.0] * 20 + [2.0] * 9}, dt.date(2024, 1, 2))
    changes = {"daily_bars": bars, "pilot_min_events": 1}
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, **changes)
    with open_site(lakehouse) as site:
        assert site.run_range("refresh_reference", "2024-01-01", "2024-02-01").success
        assert site.run("plan_pilot").success
        before = site.keys
        write_bars(bars, {"ABCD": [1.0] * 29}, dt.date(2024, 1, 2))
        assert site.run_range("refresh_reference", "2024-01-01", "2024-02-01").success

        result = site.run("plan_pilot")

        check = read_checks(result)["watchlist_is_publishable"]
        assert (result.success, check.passed) == (False, False)
        assert "pilot_watchlist" not in {
            event.step_key for event in result.get_step_success_events()
        }
        assert site.keys == before == planned_keys(lakehouse)
        assert site.run("plan_pilot").success is False
        assert site.keys == before
