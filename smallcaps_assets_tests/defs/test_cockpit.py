"""What the UI says of every asset, check and job: nobody has to guess what a thing is for."""

import re
from typing import Final

import dagster as dg
import pytest

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.defs.lineage import COLUMN_LINEAGE, column_lineage
from smallcaps_assets.schemas import TABLES
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT, SmallLake, make_lakehouse

NAME_LENGTH: Final = 36
"""Characters that fit the pages of the UI."""


@pytest.fixture(scope="module")
def repository(small_lake: SmallLake) -> dg.RepositoryDefinition:
    lakehouse = make_lakehouse(small_lake.folder / "data", small_lake.url)
    return build_definitions(lakehouse).get_repository_def()


def test_every_asset_says_what_it_is(repository: dg.RepositoryDefinition) -> None:
    for key in repository.asset_graph.materializable_asset_keys:
        node = repository.asset_graph.get(key)
        assert node.group_name not in {None, "default"}
        assert node.owners, key
        assert node.kinds, key
        assert 20 < len((node.description or "").splitlines()[0]) < 100, key  # it fits a list
        for word in ("Grain", "Source", "Cadence"):
            assert f"- {word}: " in (node.description or ""), (key, word)


def test_every_table_has_columns_grain_key_and_a_page(repository: dg.RepositoryDefinition) -> None:
    dictionary = (REPO_ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    names = {key.to_user_string() for key in repository.asset_graph.materializable_asset_keys}

    for name in names & TABLES.keys():
        metadata = repository.asset_graph.get(dg.AssetKey(name)).metadata
        assert {column.name for column in metadata["dagster/column_schema"].columns} == set(
            TABLES[name].columns
        )
        assert metadata["grain"] == TABLES[name].grain
        assert metadata["dictionary"].value == f"docs/data-dictionary.md#{name}"
        assert f"\n## {name}\n" in dictionary


@pytest.mark.parametrize("name", COLUMN_LINEAGE)
def test_columns_of_the_lineage_exist_and_come_from_upstream(
    repository: dg.RepositoryDefinition, name: str
) -> None:
    upstream = dg.AssetSelection.assets(name).upstream(include_self=False)
    ancestors = upstream.resolve(repository.asset_graph)

    deps = column_lineage(name)["dagster/column_lineage"].deps_by_column

    assert set(deps) <= set(TABLES[name].columns)
    for dep in [dep for column in deps.values() for dep in column]:
        assert dep.column_name in TABLES[dep.asset_key.to_user_string()].columns
        assert dep.asset_key in ancestors


@pytest.mark.parametrize("name", ["watchlist", "pilot_watchlist", "event_window_plan"])
def test_every_column_of_a_derived_table_has_a_lineage(name: str) -> None:
    assert set(COLUMN_LINEAGE[name]) == set(TABLES[name].columns)


def test_a_column_says_what_it_is_made_of(repository: dg.RepositoryDefinition) -> None:
    metadata = repository.asset_graph.get(dg.AssetKey("watchlist")).metadata

    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}

    assert columns["session_date"].description.endswith("From daily_bars (session_date).")
    assert " and splits (" in columns["events"].description


def test_a_table_from_outside_has_no_lineage() -> None:
    assert column_lineage("daily_bars") == {}


def test_names_are_short_and_checks_say_what_to_do(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph

    for key in graph.asset_check_keys:
        assert len(key.name) <= NAME_LENGTH, key
        assert re.search("(Red|Yellow):", graph.get_check_spec(key).description or ""), key


def test_every_job_and_automation_is_described(repository: dg.RepositoryDefinition) -> None:
    jobs = {job.name: job.description for job in repository.get_all_jobs()}
    sensors = {sensor.name: sensor.description for sensor in repository.sensor_defs}
    schedules = {schedule.name: schedule.description for schedule in repository.schedule_defs}

    described = jobs | sensors | schedules
    assert [name for name, text in described.items() if not (text or name[:2] == "__")] == []


def test_what_spends_requests_is_off_by_default(repository: dg.RepositoryDefinition) -> None:
    on = {
        sensor.name
        for sensor in repository.sensor_defs
        if sensor.default_status is dg.DefaultSensorStatus.RUNNING
    }

    assert on == {"end_runs_of_dead_processes", "watch_freshness", "plan_after_new_session"}
    assert all(
        schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        for schedule in repository.schedule_defs
    )
