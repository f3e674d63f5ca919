"""What tests of runs share and has to be torn down: folders in memory, the emulator."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallcaps_assets_tests.defs.defs_factories import MEMORY, EmulatorProcess


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """Return a folder in memory, where there is such a disk, for all tests of a module."""
    folder = Path(tempfile.mkdtemp(prefix="smallcaps-", dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    """Serve the emulated market from a process of its own."""
    with EmulatorProcess() as process:
        yield process
