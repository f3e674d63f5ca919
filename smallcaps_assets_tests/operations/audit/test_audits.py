"""Every audit finds what was planted for it, names the session, and leaves the others alone."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lake.paths.root import Tree
from smallcaps_assets.lake.sessions.receipts import FetchFacts
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake, audit_ledger, recall_verdicts
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    SESSIONS,
    SmallLake,
    flip_byte,
    publish_plan,
    rewrite_session,
    write_text,
)

TICKER: Final = "BCPC"
DATE: Final = dt.date(2024, 1, 10)
KEY: Final = "BCPC_2024-01-10"

Plant = Callable[[Lakehouse], object]


def failed_audits(verdicts: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if not verdict.passed}


def named_sessions(verdict: Verdict) -> set[tuple[str, dt.date]]:
    return set(verdict.offenders.select("ticker", "session_date").iter_rows())


def trades_file(lakehouse: Lakehouse) -> Path:
    return lakehouse.layout.trades_file(TICKER, DATE)


def commit_off_session(lakehouse: Lakehouse, date: dt.date) -> Path:
    """Store the trades of a session once more, as prints on a date that is no session."""
    store = lakehouse.store
    receipt = store.read_receipt(TICKER, DATE)
    facts = FetchFacts(**{name: getattr(receipt, name) for name in FetchFacts.__struct_fields__})
    trades = store.read_trades(TICKER, DATE).with_columns(session_date=date)
    store.commit([store.prepare(TICKER, date, trades, facts, tree=Tree.OFF_SESSION)])
    return lakehouse.layout.trades_file(TICKER, date, Tree.OFF_SESSION)


def test_audit_lake_opens_prints_on_dates_that_are_no_session(lakehouse: Lakehouse) -> None:
    """L17: they are no partition, and damage of them is not tolerated either."""
    saturday = dt.date(2024, 1, 13)
    path = commit_off_session(lakehouse, saturday)
    whole = audit_lake(lakehouse)
    path.write_bytes(path.read_bytes()[:-1])

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
    """L17: a file that agrees with its receipt may still hold wrong rows."""
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


def write_orphan(lakehouse: Lakehouse) -> Path:
    folder = lakehouse.layout.session_dir(TICKER, dt.date(2024, 3, 1))
    folder.mkdir()
    (folder / "trades.parquet").write_bytes(trades_file(lakehouse).read_bytes())
    return folder / "trades.parquet"


def write_foreign_file(lakehouse: Lakehouse) -> Path:
    return write_text(trades_file(lakehouse).with_name("trades.csv"), "left over")


def write_foreign_folder(lakehouse: Lakehouse) -> Path:
    folder = lakehouse.layout.tree_dir(Tree.TRADES) / "AAPL"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (write_orphan, "no_receipt"),
        (write_foreign_file, "foreign"),
        (write_foreign_folder, "foreign"),
    ],
)
def test_audit_lake_lists_what_belongs_to_no_receipt(
    lakehouse: Lakehouse, plant: Callable[[Lakehouse], Path], kind: str
) -> None:
    """L18: what an older run left in the folder is listed, and is never a result."""
    path = plant(lakehouse)

    verdicts = audit_lake(lakehouse)

    offenders = verdicts["no_orphans"].offenders
    assert failed_audits(verdicts) == {"no_orphans"}
    assert offenders.select("path", "kind").rows() == [(str(path), kind)]
    assert lakehouse.ledger.totals().sessions == SESSIONS


def test_audit_lake_lists_what_no_plan_asks_for_without_a_fault(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    """L18: a receipt that no plan wants any more is named, and its data stay."""
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
    flip_byte(trades_file(lakehouse))
    audit_lake(lakehouse)

    later = Lakehouse(lakehouse.settings, clock=lambda: NOW + dt.timedelta(hours=30))
    verdicts = recall_verdicts(later)

    damages = verdicts["files_are_undamaged"]
    assert failed_audits(verdicts) == {"files_are_undamaged"}
    assert (damages.numbers["audit_age_h"], damages.numbers["sessions_since"]) == (30, 0)
    assert damages.offenders["ticker"].unique().to_list() == [TICKER]
    assert "deep audit of 2025-01-15 17:00 UTC" in damages.summary
