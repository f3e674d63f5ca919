"""A ledger by a clock that stands still, for every test of the ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets_tests.lake.ledger_factories import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", clock=clock) as opened:
        yield opened
