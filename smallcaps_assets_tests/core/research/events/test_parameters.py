import pytest

from smallcaps_assets.core.research.events.parameters import (
    CostRules,
    LabelRules,
    parse_event,
    parse_rules,
)
from smallcaps_assets.errors import ConfigError


def test_values_of_the_file_replace_the_defaults() -> None:
    rules = parse_rules(LabelRules(), {"latency_s": 2, "sides": {"e9": -1}}, "labels")

    assert rules.latency_ns == 2_000_000_000
    assert (rules.sides["E9_CrashIntraday"], rules.sides["E7_FirstRedDay"]) == (-1, -1)
    assert parse_rules(CostRules(), {}, "costs") == CostRules()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"latency": 1}, r"\[labels\] latency: unknown"),
        ({"latency_s": -1}, "a number of at least 0"),
        ({"latency_s": True}, "a number of at least 0"),
        ({"latency_s": float("nan")}, "a number of at least 0"),
        ({"draws": 1.5}, "a whole number"),
        ({"sides": 1}, "expected a table"),
        ({"sides": {"E1": 2}}, "expected 1 or -1"),
        ({"sides": {"E12": 1}}, "no event 'E12'"),
    ],
)
def test_what_is_not_a_setting_is_refused(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_rules(LabelRules(), overrides, "labels")


def test_events_have_two_names() -> None:
    assert parse_event(" e10 ") == parse_event("E10_FirstGreenBounce") == "E10_FirstGreenBounce"
