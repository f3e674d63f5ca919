"""Known answers and made-up inputs for the tests of research."""

import json
from typing import Any

import pytest

from smallcaps_assets_tests.core.tape_factories import SHARED


def read_oracle(name: str) -> Any:  # noqa: ANN401  JSON
    """Return a known answer; skip the test where they are absent."""
    path = SHARED / "oracles" / name
    if not path.exists():
        pytest.skip(f"known answers are not here: {name}")
    return json.loads(path.read_text(encoding="utf-8"))
