"""Colours of a universe to which random things happen."""

import random
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.defs.histories import begin_history


@pytest.mark.slow
def test_the_green_set_is_the_proven_set(market_server: EmulatorServer, tmp_path: Path) -> None:
    """Ten steps here, two hundred in the campaign."""
    draw = random.Random(1)  # noqa: S311  repeatable
    with begin_history(tmp_path, market_server, draw) as history:
        problems = [problem for _ in range(10) for problem in history.step()]
        history.queue()

        assert problems + history.find_problems() == []
