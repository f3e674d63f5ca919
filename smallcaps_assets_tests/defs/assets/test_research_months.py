"""Monthly assets of research in a run of Dagster: green, again, red and left out."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from smallcaps_assets.defs.assets.research_months import open_months
from smallcaps_assets.schemas_research import BAR_FEATURES, INFORMATION_BARS, MINUTE_BARS
from smallcaps_assets_tests.defs.run_factories import Site, open_site, read_checks
from smallcaps_assets_tests.lakehouse_factories import SmallLake

MONTHS = ("2023-12-01", "2024-01-01")
JOB = "make_bars"
AUDIT = {"minute_bars": {"config": {"audit": True}}}
NAMES = [table.name for table in (MINUTE_BARS, INFORMATION_BARS, BAR_FEATURES)]
RANGE = {
    "dagster/asset_partition_range_start": MONTHS[0],
    "dagster/asset_partition_range_end": MONTHS[1],
}


@pytest.fixture
def site(small_lake: SmallLake, tmp_path: Path) -> Iterator[Site]:
    with open_site(small_lake.copy(tmp_path)) as opened:
        yield opened


def read_months(site: Site, name: str) -> dict[str | None, dict[str, Any]]:
    """Return the newest metadata of each partition of an asset."""
    records = site.instance.fetch_materializations(dg.AssetKey(name), limit=100).records
    shown: dict[str | None, dict[str, Any]] = {}
    for record in records:
        event = record.asset_materialization
        assert event is not None
        values: dict[str, Any] = {key: value.value for key, value in event.metadata.items()}
        shown.setdefault(record.partition_key, values)
    return shown


def test_a_run_makes_all_three_tables_and_another_one_nothing(site: Site) -> None:
    result = site.run(JOB, RANGE)

    assert result.success
    checks = read_checks(result)
    assert all(check.passed for check in checks.values())
    assert set(checks) >= {
        "minute_bars_sum_to_their_prints",
        "information_bars_tile_their_sessions",
        "imbalance_bars_are_not_degenerate",
        "bar_features_do_not_look_ahead",
    }
    for name in NAMES:
        months = read_months(site, name)
        assert set(months) == set(MONTHS)
        assert months[MONTHS[0]]["what_happened"] == (
            "the lake has no proven trades of it, so nothing was made"
        )
        assert str(months[MONTHS[1]]["what_happened"]).endswith("rows, made")
        assert len(str(months[MONTHS[1]]["input_hash"])) == 64
    picture = str(read_months(site, "minute_bars")[MONTHS[1]]["busiest_session"])
    assert picture.startswith("![busiest session](data:image/png")

    again = site.run(JOB, RANGE)

    assert again.success
    summary = read_checks(again)["minute_bars_sum_to_their_prints"].metadata["summary"]
    assert summary.value == "no month changed"
    for name in NAMES:
        words = str(read_months(site, name)[MONTHS[1]]["what_happened"])
        assert words.endswith("rows, nothing had changed")


def test_a_month_that_fails_its_check_is_removed_and_stops_what_follows(site: Site) -> None:
    site.run(JOB, RANGE)
    store = open_months(site.lakehouse).ground.store
    bars, facts = (
        store.scan(MINUTE_BARS, ["2024-01"]).collect(),
        store.read_facts(MINUTE_BARS, "2024-01"),
    )
    store.write(MINUTE_BARS, "2024-01", [bars.with_columns(pl.col("volume") + 1)], facts)

    result = site.run(JOB, RANGE, AUDIT)

    assert not read_checks(result)["minute_bars_sum_to_their_prints"].passed
    assert not store.path(MINUTE_BARS, "2024-01").exists()
    assert "bar_features_do_not_look_ahead" not in read_checks(result)
    assert open_months(site.lakehouse).list_stale(MINUTE_BARS) == ["2024-01"]


def test_without_numba_the_code_location_loads_and_says_how_to_get_it(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    code = (
        "import sys\n"
        "sys.modules['numba'] = sys.modules['sklearn'] = None\n"
        "from smallcaps_assets.definitions import defs\n"
        "keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}\n"
        "print(sorted(keys & {'trades', 'minute_bars', 'labels'}))\n"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "SMALLCAPS_DATA_DIR": str(lakehouse.home.data_dir),
        "SMALLCAPS_SOURCE": "emulator",
        "HOME": str(tmp_path),
    }

    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )

    assert ended.stdout.strip() == "['trades']", ended.stderr
    assert "pip install 'smallcaps-assets[research]'" in ended.stderr
