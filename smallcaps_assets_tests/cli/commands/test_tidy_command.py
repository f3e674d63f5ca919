"""A lake of receipts taken over into segments and used on, as a person types it."""

import json

import pytest

from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal

pytestmark = pytest.mark.slow


def test_a_lake_is_taken_over_and_used_on(filled_receipts: User) -> None:
    """The same rows, no request, and every command goes on but what makes no sense any more."""
    filled = filled_receipts
    before = Lake(filled.data_dir)
    trades, hashes = before.trades().collect(), before.session_hashes()
    asked = json.loads(filled.run("report", "--json").text)["requests"]

    taken = filled.run("import", "--lake")
    again = filled.run("download")
    assert json.loads(filled.run("report", "--json").text)["requests"] == asked
    codes = {name: filled.run(*name.split()).code for name in GOING_ON}

    assert taken.code == again.code == 0, taken.text + again.text
    assert f"9 sessions with {trades.height:,} trades in 1 month taken over" in taken.text
    assert {name for name, code in codes.items() if code} == set()
    after = Lake(filled.data_dir)
    assert after.trades().collect().equals(trades)
    assert after.session_hashes().equals(hashes)
    check_refusal(filled.run("import", "--lake"), REFUSED, "nothing to take over")
    check_refusal(filled.run("compact"), REFUSED, "`smallcaps tidy` packs them")


GOING_ON = (
    "status",
    "audit --deep",
    "tidy --all",
    "tidy",
    "repair",
    "reindex",
    "reconcile",
    "catalog",
    "report --html",
    "recheck --sample 100%",
    "download --again --from 2024-01-01",
    "export --layout date out",
    "audit --deep",
)


def test_tidy_of_receipts_and_odd_imports_are_refused(filled_receipts: User) -> None:
    user = filled_receipts
    check_refusal(user.run("tidy"), REFUSED, "expected a lake of segments")
    check_refusal(user.run("import", "--lake", "--dry-run"), REFUSED, "--lake goes with")
    check_refusal(user.run("import"), REFUSED, "expected the folder of an archive")
