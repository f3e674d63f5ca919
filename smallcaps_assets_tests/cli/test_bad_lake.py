"""Disks that refuse, and lakes that must not be written: an exit code, one message, no trace."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.cli.cli_factories import (
    CLOSED_PORT,
    FAILED,
    REFUSED,
    User,
    check_refusal,
)
from smallcaps_assets_tests.cli.homes import list_proofs
from smallcaps_assets_tests.lakehouse_factories import write_text


@pytest.mark.parametrize("command", [["plan"], ["download"]])
def test_a_data_folder_that_is_a_file(user: User, command: list[str]) -> None:
    write_text(user.data_dir, "not a folder")

    finished = user.run(*command, "--watchlist", "watchlist.csv")

    check_refusal(
        finished,
        FAILED,
        f"{user.data_dir}/lake",
        "a part of this path is a file",
        "SMALLCAPS_DATA_DIR",
    )
    assert user.data_dir.read_text(encoding="utf-8") == "not a folder"


@pytest.mark.parametrize(
    "line",
    ["audit", "audit --deep", "catalog", "repair", "reindex", "reconcile", "reconcile --dry-run"],
)
def test_what_looks_after_a_lake_begins_none(user: User, line: str) -> None:
    finished = user.run(*line.split())

    check_refusal(finished, FAILED, f"there is no lake in {user.data_dir} yet", "smallcaps plan")
    assert not user.data_dir.exists()


@pytest.fixture
def tiny_disk(user: User) -> Iterator[Path]:
    """Mount a disk of 8 MiB as the data folder, or skip where that is not allowed."""
    user.data_dir.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", str(user.data_dir)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield user.data_dir
    subprocess.run(["umount", "--lazy", str(user.data_dir)], check=True)


def test_a_full_disk(user: User, tiny_disk: Path) -> None:
    fill_disk(tiny_disk)

    finished = user.run("plan", "--watchlist", "watchlist.csv")

    check_refusal(finished, FAILED, "No space left on device", "free space")
    assert not [name for name in user.list_files() if not name.startswith("ballast")]


def test_a_disk_that_is_full_by_the_time_of_the_download(user: User, tiny_disk: Path) -> None:
    """L25: nothing is green that is not stored, and what is stored is whole."""
    planned = user.run("plan", "--watchlist", "watchlist.csv")
    fill_disk(tiny_disk)

    finished = user.run("download")

    assert planned.code == 0, planned.text
    check_refusal(finished, FAILED, "error", "free space")
    assert list_proofs(tiny_disk) == []
    assert not list(tiny_disk.rglob(".tmp-*"))


def remount_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def test_a_read_only_folder(user: User, tiny_disk: Path) -> None:
    remount_read_only(tiny_disk)

    finished = user.run("plan", "--watchlist", "watchlist.csv")

    check_refusal(finished, FAILED, str(tiny_disk), "Read-only file system", "remount the disk")


def test_a_folder_that_is_read_only_by_the_time_of_the_download(
    user: User, tiny_disk: Path, market_server: EmulatorServer
) -> None:
    # In a process of its own: one that has files open for writing keeps the disk writable.
    user.run_process("plan", "--watchlist", "watchlist.csv")
    market_server.reset()
    before = user.list_files()
    remount_read_only(tiny_disk)

    finished = user.run("download")

    check_refusal(finished, FAILED, str(tiny_disk), "make it writable")
    assert (user.list_files(), market_server.requests) == (before, [])


def fill_disk(folder: Path) -> None:
    """Write files, smaller and smaller ones, until the disk is full."""
    sizes = [1_000_000, 100_000, 10_000, 1_000]
    for number in range(10_000):
        path = folder / f"ballast-{number}"
        try:
            path.write_bytes(bytes(sizes[0]))
        except OSError:
            path.unlink()
            sizes.pop(0)
        if not sizes:
            return


def edit_identity(user: User, **changes: object) -> None:
    path = LakeLayout(user.data_dir).identity_file
    fields = json.loads(path.read_text(encoding="utf-8"))
    write_text(path, json.dumps(fields | changes))


def test_a_lake_of_a_newer_version(filled: User, market_server: EmulatorServer) -> None:
    edit_identity(filled, schema_version=99)

    finished = filled.run("download")

    check_refusal(finished, REFUSED, "version 99", "update smallcaps-assets")
    assert market_server.requests == []


@pytest.mark.parametrize(
    "environment",
    [
        {"SMALLCAPS_SOURCE": "emulator", "SMALLCAPS_EMULATOR_SEED": "2"},
        {"SMALLCAPS_SOURCE": "vendor", "POLYGON_API_KEY": "key"},
        {"POLYGON_API_KEY": "key", "SMALLCAPS_BASE_URL": CLOSED_PORT},
    ],
)
@pytest.mark.parametrize("command", ["plan", "download"])
def test_a_lake_of_another_source(filled: User, environment: dict[str, str], command: str) -> None:
    stranger = User(filled.folder, {"SMALLCAPS_BASE_URL": CLOSED_PORT} | environment)
    before = filled.list_files()

    finished = stranger.run(command, "--watchlist", "watchlist.csv")

    check_refusal(finished, REFUSED, "is bound to emulator:seed=1", "SMALLCAPS_DATA_DIR")
    assert filled.list_files() == before


def test_a_second_download_at_the_same_time(filled: User, market_server: EmulatorServer) -> None:
    with LakeLock(LakeLayout(filled.data_dir).lock_file).hold("run abc"):
        finished = filled.run("download")

    check_refusal(finished, REFUSED, "run abc", f"pid {os.getpid()}", "wait for it, or stop it")
    assert market_server.requests == []


def test_a_plan_that_was_edited(filled: User) -> None:
    plan = LakeLayout(filled.data_dir).plan_record_file
    text = plan.read_text(encoding="utf-8")
    fields = json.loads(text)
    write_text(plan, text.replace(fields["plan_hash"], "0" * 64))

    finished = filled.run("download")

    check_refusal(finished, FAILED, "plan", "smallcaps plan")
