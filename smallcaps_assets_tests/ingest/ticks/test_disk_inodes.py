"""A disk with room for bytes and for no more files: told, nothing torn, and continued later."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import LakeError
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import SESSIONS, download_plan, plan_small_lake


@pytest.fixture
def few_files(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 200 inodes, or skip where that is not allowed."""
    folder = tmp_path / "few"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64m,nr_inodes=200", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def take_inodes(folder: Path, left: int) -> list[Path]:
    """Make empty files until as many inodes as wanted are left; return the files."""
    ballast: list[Path] = []
    while True:
        path = folder / f"ballast-{len(ballast)}"
        try:
            path.touch()
        except OSError:
            break
        ballast.append(path)
    for path in ballast[:left]:
        path.unlink()
    return ballast[left:]


def test_inodes_that_run_out_are_told_and_nothing_is_torn(
    market_server: EmulatorServer, few_files: Path
) -> None:
    lakehouse = plan_small_lake(few_files, market_server.url)
    said: list[str] = []
    for left in range(0, 8, 2):
        ballast = take_inodes(few_files, left)
        with pytest.raises(LakeError) as raised:
            download_plan(lakehouse)
        said.append(str(raised.value))
        lakehouse = Lakehouse(lakehouse.settings, clock=lakehouse.clock)
        for path in ballast:
            path.unlink()
        stored = list(lakehouse.sessions.iter_receipts())
        assert [lakehouse.sessions.verify_session(one) for one in stored] == [[]] * len(stored)

    done = download_plan(lakehouse)

    assert any("df -i" in text for text in said), said
    assert done.summary.finished + done.summary.reused == SESSIONS
    assert not list(few_files.rglob(".tmp-*"))
