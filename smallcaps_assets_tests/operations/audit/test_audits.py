"""Every audit finds what was planted for it, names the session, and leaves the others alone."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake, audit_ledger, recall_verdicts
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    SESSIONS,
    SmallLake,
    publish_plan,
    write_text,
)
from smallcaps_assets_tests.stored_rows import (
    damage_rows,
    find_data_file,
    leave_stray,
    rewrite_session,
    store_off_session,
)

TICKER: Final = "BCPC"
DATE: Final = dt.date(2024, 1, 10)
KEY: Final = "BCPC_2024-01-10"


def failed_audits(verdicts: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if not verdict.passed}


def named_sessions(verdict: Verdict) -> set[tuple[str, dt.date]]:
    """Return the sessions among the offenders; a file of many has none of its own."""
    return set(verdict.offenders.select("ticker", "session_date").drop_nulls().iter_rows())


def test_audit_lake_opens_prints_on_dates_that_are_no_session(lakehouse: Lakehouse) -> None:
    """L17: they are no partition, and damage of them is not tolerated either."""
    saturday = dt.date(2024, 1, 13)
    store_off_session(lakehouse, KEY, saturday)
    whole = audit_lake(lakehouse)
    damage_rows(lakehouse, encode_key(TICKER, saturday))

    damaged = audit_lake(lakehouse)

    assert failed_audits(whole) == set()
    assert named_sessions(damaged["files_are_undamaged"]) == {(TICKER, saturday)}


def reverse_rows(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.reverse()


def move_first_row_a_day_back(trades: pl.DataFrame) -> pl.DataFrame:
    instant = pl.col("sip_timestamp")
    is_first = pl.int_range(pl.len()) == 0
    earlier = instant - pl.duration(days=1, time_unit="ns")
    return trades.with_columns(pl.when(is_first).then(earlier).otherwise(instant))


def raise_prices(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.with_columns(pl.col("price") * 10)


def drop_half(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.gather_every(2)


@pytest.mark.parametrize(
    ("change", "audit"),
    [
        (reverse_rows, "tape_is_in_order"),
        (move_first_row_a_day_back, "timestamps_lie_in_their_day"),
        (raise_prices, "prices_lie_within_the_bar"),
        (drop_half, "volume_matches_the_bar"),
    ],
)
def test_audit_lake_names_a_session_whose_rows_are_wrong(
    lakehouse: Lakehouse, change: Callable[[pl.DataFrame], pl.DataFrame], audit: str
) -> None:
    """L17: rows that agree with what proves them may still be wrong."""
    rewrite_session(lakehouse, KEY, change)

    verdicts = audit_lake(lakehouse)

    assert failed_audits(verdicts) == {audit}
    assert (TICKER, DATE) in named_sessions(verdicts[audit])
    assert verdicts[audit].offenders.row(0, named=True)["session_date"] == DATE


def test_audit_lake_finds_trades_that_are_missing_by_their_count_alone(
    lakehouse: Lakehouse,
) -> None:
    """L23: stored prices and volumes are compared with unadjusted bars."""
    rewrite_session(lakehouse, KEY, drop_half)

    row = audit_lake(lakehouse)["volume_matches_the_bar"].offenders.row(0, named=True)

    assert row["trade_count"] < row["bar_trade_count"]
    assert row["volume"] < row["bar_volume"]


def list_orphans(verdicts: dict[str, Verdict]) -> list[tuple[str, str]]:
    """Return name and kind of the files that belong to nothing."""
    rows = verdicts["no_orphans"].offenders.select("path", "kind").rows()
    return [(Path(path).name, kind) for path, kind in rows]


def test_audit_lake_lists_rows_that_nothing_proves(lakehouse: Lakehouse) -> None:
    """L18: what a killed writer left is never a result, and no fault."""
    path = leave_stray(lakehouse, KEY)

    verdicts = audit_lake(lakehouse)

    assert (list_orphans(verdicts), failed_audits(verdicts)) == ([(path.name, "stray")], set())
    assert lakehouse.ledger.totals().sessions == SESSIONS


def test_audit_lake_lists_files_that_are_none_of_the_lake(lakehouse: Lakehouse) -> None:
    """L18: what an older run left in the folder is listed, and is never a result."""
    write_text(find_data_file(lakehouse, KEY).with_name("trades.csv"), "left over")

    verdicts = audit_lake(lakehouse)

    assert list_orphans(verdicts) == [("trades.csv", "foreign")]
    assert failed_audits(verdicts) == {"no_orphans"}
    assert lakehouse.ledger.totals().sessions == SESSIONS


def test_audit_lake_lists_what_no_plan_asks_for_without_a_fault(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """L18: a session that no plan wants any more is named, and its data stay."""
    write_text(tmp_path / "watchlist.csv", "ticker,date,events\nBCPC,2024-01-10,E6\n")
    publish_plan(lakehouse)

    verdict = audit_lake(lakehouse)["no_orphans"]

    assert verdict.passed
    assert verdict.numbers["unplanned"] == SESSIONS - 3
    assert set(verdict.offenders["kind"]) == {"unplanned"}


def test_audit_ledger_is_red_where_planned_sessions_are_missing(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    write_text(tmp_path / "watchlist.csv", "ticker,date,events\nBCPC,2024-01-16,E6\n")
    publish_plan(lakehouse)
    _, plan = lakehouse.tables.read_plan()
    lakehouse.ledger.record_plan(plan)

    verdicts = audit_ledger(lakehouse)

    missing = verdicts["planned_sessions_are_covered"]
    assert failed_audits(verdicts) == {"planned_sessions_are_covered", "event_windows_are_covered"}
    assert set(missing.offenders["session_date"].dt.day()) == {12, 16, 17}


def test_audit_ledger_is_red_beyond_the_disk_budget(small_lake: SmallLake, tmp_path: Path) -> None:
    lakehouse = small_lake.copy(tmp_path, disk_budget_gb=1e-9)

    verdicts = audit_ledger(lakehouse)

    assert failed_audits(verdicts) == {"size_is_as_planned"}
    assert "exceed the budget" in verdicts["size_is_as_planned"].summary


def test_audit_lake_passes_a_whole_lake_and_reports_every_audit(lakehouse: Lakehouse) -> None:
    verdicts = audit_lake(lakehouse)

    assert failed_audits(verdicts) == set()
    assert set(verdicts) == {audit.name for audit in AUDITS}
    assert verdicts["volume_matches_the_bar"].numbers["volume_residual_ratio"] == 0


def test_recall_verdicts_is_red_before_the_first_one(lakehouse: Lakehouse) -> None:
    verdicts = recall_verdicts(lakehouse)

    assert failed_audits(verdicts) == {audit.name for audit in AUDITS if audit.is_deep}
    assert "smallcaps audit --deep" in verdicts["no_orphans"].summary


def test_recall_verdicts_takes_a_damaged_result_for_none(lakehouse: Lakehouse) -> None:
    audit_lake(lakehouse)
    write_text(lakehouse.layout.last_audit_file, '{"audited_at": "2025-')

    verdicts = recall_verdicts(lakehouse)

    deep = [verdicts[audit.name] for audit in AUDITS if audit.is_deep]
    assert all(verdict.numbers == {"never_audited": 1} for verdict in deep)


def test_recall_verdicts_remembers_verdicts_offenders_and_age(lakehouse: Lakehouse) -> None:
    damage_rows(lakehouse, KEY)
    audit_lake(lakehouse)

    later = Lakehouse(lakehouse.settings, clock=lambda: NOW + dt.timedelta(hours=30))
    verdicts = recall_verdicts(later)

    damages = verdicts["files_are_undamaged"]
    assert failed_audits(verdicts) == {"files_are_undamaged"}
    assert (damages.numbers["audit_age_h"], damages.numbers["sessions_since"]) == (30, 0)
    assert set(damages.offenders["ticker"].drop_nulls()) == {TICKER}
    assert "deep audit of 2025-01-15 17:00 UTC" in damages.summary
