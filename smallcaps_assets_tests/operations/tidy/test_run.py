"""Tidying a lake: few files afterwards, the same rows, and nothing to do the second time."""

import os
from pathlib import Path

import pytest

from smallcaps_assets.core.segments.upkeep import REST_NS
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.tidy.run import tidy_lake
from smallcaps_assets_tests.lakehouse_factories import (
    flip_byte,
    plan_small_lake,
    planned_keys,
)


@pytest.fixture
def lakehouse(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a lake of segments to which every session came by itself."""
    made = plan_small_lake(tmp_path, market_server.url)
    for number, key in enumerate(planned_keys(made)):
        backfill = Backfill(made, run_id=f"run-{number}")
        with backfill.held(wait_s=0):
            list(backfill.run([key]))
    return made


def list_files(lakehouse: Lakehouse) -> dict[str, bytes]:
    files = (lakehouse.home.lake_dir / "segments").rglob("*.parquet")
    return {file.name: file.read_bytes() for file in files}


def read_hashes(lakehouse: Lakehouse) -> dict[str, str]:
    return {receipt.key: receipt.content_hash for receipt in lakehouse.sessions.iter_receipts()}


def rest(lakehouse: Lakehouse) -> None:
    """Let a day pass for all files that are there."""
    for file in (lakehouse.home.lake_dir / "segments").rglob("*.parquet"):
        earlier = file.stat().st_mtime_ns - 2 * REST_NS
        os.utime(file, ns=(earlier, earlier))


def test_a_lake_of_many_small_parts_is_packed_and_freed_a_day_later(lakehouse: Lakehouse) -> None:
    before, hashes = list_files(lakehouse), read_hashes(lakehouse)

    packed = tidy_lake(lakehouse, is_forced=True)
    beside = list_files(lakehouse)
    again = tidy_lake(lakehouse)

    assert packed.packed
    assert before.items() <= beside.items()
    assert (again.packed, again.removed, list_files(lakehouse)) == ([], 0, beside)
    rest(lakehouse)
    freed = tidy_lake(lakehouse)
    assert freed.removed == len(before)
    assert freed.removed_bytes == sum(map(len, before.values()))
    assert read_hashes(lakehouse) == hashes
    assert len(list_files(lakehouse)) == 2 * len(packed.packed)


def test_a_damaged_month_is_left_with_all_its_files(lakehouse: Lakehouse) -> None:
    part = min(
        file
        for file in (lakehouse.home.lake_dir / "segments").rglob("*.parquet")
        if ".record." not in file.name
    )
    flip_byte(part)
    rest(lakehouse)
    before = list_files(lakehouse)

    facts = tidy_lake(lakehouse, is_forced=True)

    assert set(facts.skipped) == {part.parent.name}
    assert before.items() <= list_files(lakehouse).items()
