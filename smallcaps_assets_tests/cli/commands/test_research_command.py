"""`smallcaps research` as a person types it: through Dagster, again, and before there is a plan."""

import json

import pytest

from smallcaps_assets_tests.cli.cli_factories import User

pytestmark = pytest.mark.slow


def test_research_makes_everything_and_again_makes_nothing(filled: User) -> None:
    before = filled.run("research", "--show")
    first = filled.run("research")
    tables = sorted(filled.data_dir.joinpath("research").rglob("*.parquet"))
    written = {path: path.read_bytes() for path in tables}
    again = filled.run("research")
    told = json.loads(filled.run("research", "--json").out)

    assert (before.code, first.code, again.code) == (0, 0, 0), first.text
    assert "nothing was labelled yet" in before.text
    assert "E6_MultipleGreenDays" in first.text
    assert {path.stem for path in tables} >= {"labels", "win_rates", "decisions", "2024-01"}
    assert {path: path.read_bytes() for path in tables} == written
    assert (told["is_made"], told["labels"]) == (True, 6)


def test_research_before_a_plan_says_what_comes_first(user: User) -> None:
    finished = user.run("research")

    assert finished.code == 1
    assert "smallcaps plan" in finished.text


def test_a_plan_of_an_unknown_event_is_refused(filled: User) -> None:
    finished = filled.run("plan", "--events", "E99")

    assert finished.code == 2
    assert "no event 'E99'" in finished.text


def test_a_plan_by_win_rates_needs_win_rates(filled: User) -> None:
    finished = filled.run("plan", "--events-by-win-rate", "2", "--diff")

    assert finished.code == 1
    assert "smallcaps research" in finished.text
