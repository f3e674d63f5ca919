"""`smallcaps compact` as a person types it: through Dagster, again, for one month, refused."""

import pytest

from smallcaps_assets_tests.cli.cli_factories import User

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("receipt_lakes")]


@pytest.fixture
def filled(filled_receipts: User) -> User:
    return filled_receipts


def test_compact_writes_complete_months_and_again_does_nothing(filled: User) -> None:
    listed = filled.run("compact", "--list")
    first = filled.run("compact")
    month = filled.data_dir / "lake" / "compacted_trades" / "month=2024-01"
    before = {path.name: path.stat().st_mtime_ns for path in month.iterdir()}
    again = filled.run("compact", "--month", "2024-01")

    assert (listed.code, first.code, again.code) == (0, 0, 0), first.text
    assert "due" in listed.text
    assert "1 of 1 months are compacted" in first.text
    assert {path.name: path.stat().st_mtime_ns for path in month.iterdir()} == before
    assert filled.run("audit", "--deep").code == 0


def test_compact_refuses_what_is_no_month_and_tells_what_it_waits_for(filled: User) -> None:
    refused = filled.run("compact", "--month", "2024-13")
    nothing = filled.run("compact", "--month", "2025-03")

    assert refused.code == 2
    assert "YYYY-MM" in refused.text
    assert nothing.code == 1
    assert "the month is not over" in nothing.text
