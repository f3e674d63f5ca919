"""Thresholds and their overrides."""

import math
import re
from dataclasses import asdict

import pytest

from smallcaps_assets.core.verdicts import Thresholds, parse_thresholds
from smallcaps_assets.errors import ConfigError


def test_parse_thresholds_without_overrides_gives_the_defaults() -> None:
    assert asdict(parse_thresholds({})) == {
        "coverage": 0.95,
        "window_coverage": 0.95,
        "size_tolerance": 0.2,
        "volume_residual": 0.001,
        "count_residual": 0.001,
        "session_residual": 0.05,
        "session_deficit": 0.001,
        "missing_bars": 0.05,
        "price_outside": 0.001,
        "unknown_tickers": 0.05,
    }


def test_parse_thresholds_changes_only_what_is_named() -> None:
    assert parse_thresholds({"volume_residual": 0, "coverage": 1}) == Thresholds(
        coverage=1.0, volume_residual=0.0
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("volume_residuals", "did you mean volume_residual?"),
        ("xyz", "expected one of coverage, window_coverage, size_tolerance"),
    ],
)
def test_parse_thresholds_refuses_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown threshold '{name}': {re.escape(hint)}"):
        parse_thresholds({name: 0.5})


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, "0.5", None, True, [0.5]])
def test_parse_thresholds_refuses_what_is_no_ratio(value: object) -> None:
    with pytest.raises(ConfigError, match="threshold coverage: expected a number from 0 to 1"):
        parse_thresholds({"coverage": value})
