"""What tests of use cases work on: a whole lake of nine sessions, theirs to change."""

from pathlib import Path

import pytest

from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import SmallLake


@pytest.fixture
def lakehouse(small_lake: SmallLake, tmp_path: Path) -> Lakehouse:
    return small_lake.copy(tmp_path)
