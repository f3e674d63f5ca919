import datetime as dt
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.events.rules import IMPORTED_EVENT
from smallcaps_assets.core.keys import hash_keys
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
from smallcaps_assets.errors import ConfigError, LedgerMismatchError, MissingPartitionError
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import EVENT_WINDOW_PLAN
from smallcaps_assets_tests.defs.defs_factories import publish, read_statuses
from smallcaps_assets_tests.defs.run_factories import (
    Site,
    describe_failures,
    open_site,
    read_checks,
)
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

KEYS: Final = ["BCPC_2024-01-10", "BCPC_2024-01-11", "CON_2024-01-30"]


@pytest.fixture
def site(market_server: EmulatorServer, tmp_path: Path) -> Iterator[Site]:
    """Return a site whose watchlist is a file that tests may rewrite."""
    watchlist = write_text(tmp_path / "watchlist.csv", WATCHLIST_TEXT)
    lakehouse = make_lakehouse(tmp_path / "data", market_server.url, watchlist=watchlist)
    with open_site(lakehouse) as opened:
        yield opened


def test_register_plan_makes_the_partition_set_equal_to_the_plan(site: Site) -> None:
    plan_hash = publish(site.lakehouse, KEYS)

    facts = register_plan(site.instance, site.lakehouse)

    assert site.keys == KEYS
    assert (facts.keys, facts.added, facts.removed) == (3, 3, 0)
    assert facts.plan_hash == plan_hash == hash_keys(site.keys)
    assert site.lakehouse.ledger.counts() == {PLANNED: 3}


def test_register_plan_again_changes_nothing(site: Site) -> None:
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)

    facts = register_plan(site.instance, site.lakehouse)

    assert (facts.added, facts.removed, site.keys) == (0, 0, KEYS)


def test_register_plan_adds_and_removes_the_difference(site: Site) -> None:
    """L10: a larger plan registers only what is new."""
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    publish(site.lakehouse, [KEYS[0], "BRK.A_2024-01-10", KEYS[2]])

    facts = register_plan(site.instance, site.lakehouse)

    assert (facts.added, facts.removed) == (1, 1)
    assert sorted(site.keys) == sorted([KEYS[0], "BRK.A_2024-01-10", KEYS[2]])
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
        lakehouse.layout.receipt_file("BCPC", dt.date(2024, 1, 9)).unlink()
        lakehouse.ledger.reindex(lakehouse.store.iter_receipts())
        publish(lakehouse, keys)

        facts = register_plan(site.instance, lakehouse)

        assert (facts.added, facts.marked_missing) == (1, 1)
        assert read_statuses(site.instance)["FAILED"] == {keys[0]}


def test_register_plan_refuses_more_keys_than_dagster_bears(site: Site) -> None:
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    publish_many(site.lakehouse, MAX_KEYS + 1)

    with pytest.raises(ConfigError, match=r"100,001 .*at most 100,000.*left as they are"):
        register_plan(site.instance, site.lakehouse)

    assert site.keys == KEYS
    with pytest.raises(LedgerMismatchError):
        require_registered_plan(site.instance, site.lakehouse)


def test_register_plan_needs_a_plan(site: Site) -> None:
    with pytest.raises(MissingPartitionError, match="smallcaps plan"):
        register_plan(site.instance, site.lakehouse)


@pytest.mark.parametrize("more", [[], ["BRK.A_2024-01-10"], [*KEYS[2:], "CON_2024-01-31"]])
def test_require_registered_plan_refuses_a_plan_that_was_not_registered(
    site: Site, more: list[str]
) -> None:
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    assert require_registered_plan(site.instance, site.lakehouse) == hash_keys(KEYS)

    publish(site.lakehouse, [*KEYS[:2], *more])
    refused = site.download()

    assert drop_foreign_keys(site.instance, site.lakehouse) == []
    assert "materialize download_queue" in describe_failures(refused)
    assert site.keys == KEYS
    assert not list(site.lakehouse.layout.lake_dir.rglob("_SUCCESS"))


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


def test_a_run_skips_keys_added_by_hand_and_fetches_the_others(site: Site) -> None:
    """L48: the range ends in the typo, and the plan is fetched all the same."""
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    site.instance.add_dynamic_partitions(PLANNED_SET, ["BCPC_2024-01-1O", "con"])

    done = site.download()

    assert done.success
    assert set(site.lakehouse.ledger.states(KEYS).values()) == {"complete"}
    assert site.keys == KEYS
    assert read_statuses(site.instance)["MATERIALIZED"] == set(KEYS)


def test_a_run_of_nothing_but_keys_added_by_hand_says_so(site: Site) -> None:
    """L48."""
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    site.instance.add_dynamic_partitions(PLANNED_SET, ["typo"])

    refused = site.run_range("download_missing", "typo", "typo")

    assert "nothing to fetch: not in the published plan" in describe_failures(refused)
    assert "'typo'" in describe_failures(refused)


def test_keys_added_by_hand_stay_while_a_run_may_hold_them(site: Site) -> None:
    """L48: a backfill whose key is gone ends as failed, whatever it has fetched."""
    publish(site.lakehouse, KEYS)
    register_plan(site.instance, site.lakehouse)
    site.instance.add_dynamic_partitions(PLANNED_SET, ["typo"])
    site.instance.add_run(dg.DagsterRun(job_name="any", status=dg.DagsterRunStatus.STARTED))

    assert drop_foreign_keys(site.instance, site.lakehouse) == []
    assert site.keys == [*KEYS, "typo"]


# -- through the job -------------------------------------------------------------------


def test_plan_pilot_registers_what_it_publishes(site: Site) -> None:
    result = site.run("plan_pilot")

    assert result.success
    assert site.keys == planned_keys(site.lakehouse)
    assert len(site.keys) == SESSIONS
    publishable = ("watchlist_is_publishable", "pilot_is_publishable", "plan_is_publishable")
    assert all(read_checks(result)[name].passed for name in publishable)


def test_plan_pilot_publishes_no_bad_watchlist_now_or_later(
    site: Site, market_server: EmulatorServer
) -> None:
    site.run("plan_pilot")
    before = site.keys
    text = "ticker,date,events\nBCPC,2024-01-10,E99\n"
    write_text(site.lakehouse.layout.data_dir.parent / "watchlist.csv", text)

    result = site.run("plan_pilot")
    later = site.run_range("download_missing", before[0], before[2])

    assert not result.success
    assert "name unknown events" in describe_failures(result)
    assert site.keys == before == planned_keys(site.lakehouse)
    assert later.success
    assert count_trade_requests(market_server) == 1


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


def test_plan_pilot_publishes_no_empty_plan_now_or_later(site: Site) -> None:
    site.run("plan_pilot")
    before = site.keys
    write_text(
        site.lakehouse.layout.data_dir.parent / "watchlist.csv",
        "ticker,date,events\nBCPC,2024-01-15,E6\n",
    )

    result = site.run("plan_pilot")

    check = read_checks(result)["plan_is_publishable"]
    assert (result.success, check.passed) == (False, False)
    assert str(check.metadata["summary"].value).endswith("weekends and holidays: BCPC 2024-01-15")
    assert site.keys == before == planned_keys(site.lakehouse)
    assert register_plan(site.instance, site.lakehouse).removed == 0


def publish_many(lakehouse: Lakehouse, count: int) -> None:
    """Publish a plan of ``count`` sessions."""
    dates = lakehouse.calendar.dates(dt.date(2023, 1, 3), dt.date(2024, 12, 31))
    numbers = range(100, 100 + count // len(dates) + 1)
    tickers = pl.DataFrame({"ticker": [f"T{number}" for number in numbers]})
    event = {"events": [IMPORTED_EVENT], "event_dates": [dates[0]], "offsets": [0]}
    plan = (
        tickers.join(pl.DataFrame({"session_date": dates}), how="cross")
        .head(count)
        .with_columns(*(pl.lit(value).alias(name) for name, value in event.items()))
        .cast(EVENT_WINDOW_PLAN.schema)
    )
    record = PlanRecord(
        plan_hash=hash_plan(plan),
        sessions=plan.height,
        tickers=tickers.height,
        created_at=lakehouse.clock(),
    )
    lakehouse.tables.write_plan(plan, record, is_published=True)
