"""A lake of format 1 is refused wherever it is met, with the command that takes it over."""

import json
from pathlib import Path

import pytest

from smallcaps_assets.errors import PartitionConflictError
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal

pytestmark = pytest.mark.slow

TAKEOVER = "`smallcaps import --lake`"

COMMANDS = (
    "status",
    "status --json",
    "plan",
    "download",
    "audit",
    "repair --dry-run",
    "tidy",
    "reindex",
    "reconcile",
    "recheck",
    "catalog",
    "report",
    "export --layout date out",
    "relocate elsewhere",
    "import archive",
    "ui --port 43917",
)


@pytest.fixture(params=[{"format": 1}, {}], ids=["format 1", "no format"])
def old(request: pytest.FixtureRequest, filled: User) -> User:
    """Return a user whose lake says that it is of format 1, or says nothing."""
    path = filled.data_dir / "lake" / "lake.json"
    told = json.loads(path.read_bytes())
    del told["format"]
    path.write_text(json.dumps(told | request.param), encoding="utf-8")
    (filled.folder / "archive").mkdir()
    return filled


def test_every_command_refuses_it_and_changes_nothing(old: User) -> None:
    before = list_lake(old.data_dir)
    for line in COMMANDS:
        check_refusal(old.run(*line.split()), REFUSED, str(old.data_dir / "lake"), TAKEOVER)

    assert list_lake(old.data_dir) == before


def list_lake(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "lake").rglob("*"))


def test_readers_refuse_it(old: User) -> None:
    with pytest.raises(PartitionConflictError, match=f"of format 1.*{TAKEOVER}"):
        Lake(old.data_dir).trades()
