from typing import Any

from campaigns.pins import describe, is_flawed

SOUND = {"name": "polars", "version": "2.1.0", "vulns": []}
FLAWED = {
    "name": "requests",
    "version": "2.0.0",
    "vulns": [{"id": "PYSEC-2018-28", "fix_versions": ["2.20.0"]}],
}
UNKNOWN = {"name": "dagster", "skip_reason": "Dependency not found on PyPI"}


def make_report(*pins: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(pins)}


def test_a_vulnerable_version_is_named_with_its_cure() -> None:
    report = make_report(SOUND, FLAWED)

    lines = list(describe(report))

    assert lines[0] == "requests 2.0.0: PYSEC-2018-28, cured by 2.20.0"
    assert lines[1] == "2 of 2 pinned versions were looked up"
    assert is_flawed(report)


def test_what_could_not_be_looked_up_is_no_proof() -> None:
    report = make_report(UNKNOWN, SOUND)

    lines = list(describe(report))

    assert lines[0] == "1 of 2 pinned versions were looked up"
    assert "That proves nothing" in lines[1]
    assert not is_flawed(report)
