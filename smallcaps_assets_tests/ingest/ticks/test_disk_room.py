"""L25: a download ends before the disk is full, says what is lacking, and continues later."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets_tests.ingest.bulky import KEYS, TRADES, BulkySource, make_bulky_lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    Downloaded,
    download,
    find_asked,
    hash_stored,
    serve,
)
from smallcaps_assets_tests.ingest.tmpfs import run_on_tmpfs
from smallcaps_assets_tests.lake.disks import QuotaDisk

RESERVE: Final = 100_000
RESERVE_GB: Final = RESERVE / 1024**3
NO_WORRY: Final = 50_000_000


def download_on(disk: QuotaDisk, folder: Path, server: EmulatorServer, room: int) -> Downloaded:
    """Download on a disk with so much room, the reserve included, and close the ledger."""
    lakehouse = make_bulky_lakehouse(folder, server.url, disk, disk_reserve_gb=RESERVE_GB)
    disk.capacities[folder] = NO_WORRY - disk.free_bytes(folder) + room
    done = download(lakehouse, KEYS)
    lakehouse.ledger.close()
    return done


def hash_undisturbed(folder: Path, server: EmulatorServer) -> Mapping[str, str]:
    lakehouse = make_bulky_lakehouse(folder, server.url, FileSystem())
    download(lakehouse, KEYS)
    return hash_stored(lakehouse)


def test_a_run_stops_before_the_disk_is_full_says_what_is_missing_and_resumes(
    tmp_path: Path,
) -> None:
    with serve(BulkySource(TRADES)) as server:
        truth = hash_undisturbed(tmp_path / "large", server)
        asked = len(find_asked(server))
        disk = QuotaDisk({tmp_path / "small": NO_WORRY})

        stopped = download_on(disk, tmp_path / "small", server, RESERVE + 600_000)
        lowest, stored = disk.lowest, [o.key for o in stopped.outcomes.values() if o.is_green]
        resumed = download_on(disk, tmp_path / "small", server, NO_WORRY)

        assert hash_stored(make_bulky_lakehouse(tmp_path / "small", server.url, disk)) == truth
    assert 3 < len(stored) < 20
    assert disk.refusals == 0
    assert lowest >= RESERVE
    assert not stopped.summary.failures
    assert resumed.summary.reused == len(stored)
    assert len(find_asked(server)) - asked == 20
    text, left = stopped.summary.aborted, len(KEYS) - len(stored)
    assert text.startswith("no room for the next range (ABCD ")
    match = re.search(rf"{left} sessions are missing and need about ([\d.]+) KB more", text)
    assert match is not None
    assert left * 30 < float(match[1]) < left * 50
    assert f"{tmp_path / 'small' / 'lake'} has " in text
    for remedy in ("smallcaps relocate", "DISK_RESERVE_GB", "same command again"):
        assert remedy in text


def test_trades_that_hardly_compress_do_not_fill_the_disk_before_any_is_stored(
    tmp_path: Path,
) -> None:
    """What waits for the rest of its segment is not on the disk yet, and no bar tells its size."""
    with serve(BulkySource(16 * TRADES)) as server:
        disk = QuotaDisk({tmp_path: NO_WORRY})

        stopped = download_on(disk, tmp_path, server, RESERVE + 3_000_000)

    assert stopped.summary.aborted.startswith("no room for the next range")
    assert 0 < stopped.summary.finished < 20
    assert (disk.refusals, disk.lowest >= RESERVE) == (0, True)


def test_a_run_that_finds_no_room_asks_for_nothing(tmp_path: Path) -> None:
    with serve(BulkySource(TRADES)) as server:
        disk = QuotaDisk({tmp_path: NO_WORRY})
        stopped = download_on(disk, tmp_path, server, RESERVE)

        assert server.requests == []
    assert stopped.outcomes == {}
    assert "20 sessions are missing" in stopped.summary.aborted


def test_the_room_in_the_data_folder_counts_too(tmp_path: Path) -> None:
    """Ledger and Dagster grow with each session, wherever its trades go."""
    data, large = tmp_path / "data", tmp_path / "large"
    large.mkdir()
    disk = QuotaDisk({data: NO_WORRY, large: NO_WORRY})
    with serve(BulkySource(TRADES)) as server:
        lakehouse = make_bulky_lakehouse(
            data, server.url, disk, lake=large / "lake", disk_reserve_gb=RESERVE_GB
        )
        disk.capacities[data] = NO_WORRY - disk.free_bytes(data) + RESERVE
        with lakehouse.writing("test", 0.0):
            stopped = download(lakehouse, KEYS)

    assert stopped.outcomes == {}
    assert "no room for the next range" in stopped.summary.aborted


def test_a_disk_that_something_else_fills_ends_the_run_and_keeps_what_is_whole(
    tmp_path: Path,
) -> None:
    class CrowdedDisk(QuotaDisk):
        def write_new(self, path: Path, content: bytes) -> None:
            records = len(list(path.parent.glob("*.record.parquet")))
            if content.startswith(b"PAR1") and records > 1:
                self.capacities[tmp_path / "small"] -= self.free_bytes(path) - 9_000
            super().write_new(path, content)

    with serve(BulkySource(TRADES)) as server:
        truth = hash_undisturbed(tmp_path / "large", server)
        disk = CrowdedDisk({tmp_path / "small": NO_WORRY})
        with pytest.raises(StorageError, match=r"No space left.*free space or move the lake"):
            download_on(disk, tmp_path / "small", server, RESERVE + 600_000)
        lake = tmp_path / "small" / "lake"
        left = [*lake.rglob(".tmp-*"), *lake.glob(".staging/*")]
        calm = QuotaDisk({tmp_path / "small": NO_WORRY})
        stored = hash_stored(make_bulky_lakehouse(tmp_path / "small", server.url, calm))

        resumed = download_on(calm, tmp_path / "small", server, NO_WORRY)
        assert hash_stored(make_bulky_lakehouse(tmp_path / "small", server.url, calm)) == truth
    assert 0 < len(stored) < 20
    assert left == []
    assert resumed.summary.reused == len(stored)


def test_a_real_small_disk_stops_a_run_and_a_larger_one_lets_it_go_on(tmp_path: Path) -> None:
    """L25, on a tmpfs of 4 MB: stop, move to another file system, resume, the same content."""
    with serve(BulkySource(TRADES, id_bytes=512)) as server:
        truth = hash_undisturbed(tmp_path / "truth", server)
        asked = len(find_asked(server))
        place = tmp_path / "small"
        module = "smallcaps_assets_tests.ingest.small_disk"
        facts = run_on_tmpfs("4m", place, module, server.url, str(place), str(tmp_path / "large"))

        assert len(find_asked(server)) - asked == len(KEYS)
    assert facts["aborted"].startswith("no room for the next range (ABCD ")
    assert 5 < facts["stopped_after"] == facts["reused"] < len(KEYS)
    assert facts["free_bytes"] >= 0.05 * 4 * 1024**2
    assert facts["free_after_move"] > 2.5 * 1024**2
    assert facts["hashes"] == truth
