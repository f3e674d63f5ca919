"""What tests of runs share and has to be torn down: folders in memory, the emulator, a site."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smallcaps_assets_tests.defs.defs_factories import EmulatorProcess
from smallcaps_assets_tests.defs.run_factories import Site, open_site
from smallcaps_assets_tests.lakehouse_factories import SmallLake, open_memory


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """Return a folder in memory, where there is such a disk, for all tests of a module."""
    with open_memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorProcess]:
    """Serve the emulated market from a process of its own."""
    with EmulatorProcess() as process:
        yield process


@pytest.fixture
def site(small_lake: SmallLake, tmp_path: Path) -> Iterator[Site]:
    """Return a site whose lake is finished, and whose Dagster was told nothing of it."""
    with open_site(small_lake.copy(tmp_path)) as opened:
        yield opened
