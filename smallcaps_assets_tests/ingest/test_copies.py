"""Copies of a lake that went on separately or were restored: right, or named, and nothing twice."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.derived import ensure_indexed, refresh_catalog
from smallcaps_assets.ingest.proof.recording import record_stored
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.sessions.receipts import FetchFacts
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.upkeep import rebuild_ledger
from smallcaps_assets.operations.status.look import measure_status
from smallcaps_assets_tests.lakehouse_factories import (
    EMPTY_KEY,
    SESSIONS,
    SmallLake,
    count_trade_requests,
    download_plan,
    make_lakehouse,
    plan_small_lake,
    planned_keys,
)

KEY: Final = "BCPC_2024-01-10"


@pytest.fixture
def planned(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a lake of segments of which nothing is downloaded."""
    return plan_small_lake(tmp_path, market_server.url)


def download(lakehouse: Lakehouse, keys: Sequence[str], *, asks_again: bool = False) -> Backfill:
    ensure_indexed(lakehouse)
    backfill = Backfill(lakehouse, run_id="test", asks_again=asks_again)
    with backfill.held(wait_s=0):
        list(backfill.run(keys))
    return backfill


def copy(lakehouse: Lakehouse, folder: Path) -> Lakehouse:
    """Return a copy of a lake, which goes on by itself."""
    shutil.copytree(lakehouse.home.data_dir, folder)
    settings = lakehouse.settings
    return make_lakehouse(folder, settings.base_url, watchlist=settings.watchlist)


def find_segments(lakehouse: Lakehouse) -> Path:
    return lakehouse.home.lake_dir / "segments"


def put_together(target: Lakehouse, source: Lakehouse) -> None:
    """Copy what is not there yet, as `cp -n` does."""
    for file in find_segments(source).rglob("*.parquet"):
        place = find_segments(target) / file.relative_to(find_segments(source))
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            shutil.copy2(file, place)


def restore_segments(lakehouse: Lakehouse, backup: Path) -> None:
    """Lay an older set of records and parts in place of what is there."""
    shutil.rmtree(find_segments(lakehouse))
    shutil.copytree(backup, find_segments(lakehouse))


def hash_all(lakehouse: Lakehouse) -> dict[str, str]:
    return {receipt.key: receipt.content_hash for receipt in lakehouse.sessions.iter_receipts()}


def failed_audits(lakehouse: Lakehouse) -> set[str]:
    return {name for name, verdict in audit_lake(lakehouse).items() if not verdict.passed}


def list_lost(lakehouse: Lakehouse) -> list[str]:
    return lakehouse.ledger.lost_proof().select(key_expression()).to_series().to_list()


def test_two_copies_put_together_ask_for_nothing_that_either_has_proven(
    planned: Lakehouse, market_server: EmulatorServer, small_lake: SmallLake, tmp_path: Path
) -> None:
    keys = planned_keys(planned)
    download(planned, keys[:2])
    other = copy(planned, tmp_path / "other")
    download(planned, keys[2:5])
    download(other, keys[4:8])
    put_together(planned, other)
    market_server.reset()

    assert failed_audits(planned) == {"planned_sessions_are_covered", "event_windows_are_covered"}
    download(planned, keys[:8])
    assert count_trade_requests(market_server) == 0
    download_plan(planned)

    assert count_trade_requests(market_server) == 1
    assert failed_audits(planned) == set()
    assert hash_all(planned) == hash_all(small_lake.copy(tmp_path / "whole"))
    assert planned.ledger.totals().sessions == SESSIONS


@pytest.mark.parametrize("look", [audit_lake, rebuild_ledger, ensure_indexed])
def test_what_a_backup_does_not_have_is_named_and_asked_for_again(
    planned: Lakehouse,
    market_server: EmulatorServer,
    tmp_path: Path,
    look: Callable[[Lakehouse], object],
) -> None:
    keys = planned_keys(planned)
    download(planned, keys[:4])
    shutil.copytree(find_segments(planned), tmp_path / "backup")
    download(planned, keys)
    hashes = hash_all(planned)
    restore_segments(planned, tmp_path / "backup")
    market_server.reset()

    look(planned)

    assert list_lost(planned) == sorted(keys[4:], key=decode_key)
    assert "proofs_are_kept" in failed_audits(planned)
    status = measure_status(planned).stored
    assert (status.lost_proof, status.sessions) == (len(keys) - 4, 4)
    assert {*status.lost_sessions} <= {*keys[4:]}
    again = download(planned, keys)
    assert (again.summary.reused, list_lost(planned)) == (4, [])
    assert failed_audits(planned) == set()
    assert hash_all(planned) == hashes


def test_an_old_ledger_beside_an_old_lake_learns_of_losses_from_a_snapshot(
    planned: Lakehouse, tmp_path: Path
) -> None:
    keys = planned_keys(planned)
    download(planned, keys[:4])
    backup = copy(planned, tmp_path / "backup")
    download(planned, keys)
    snapshots = planned.home.lake_dir / "snapshots"
    shutil.copytree(snapshots, backup.home.lake_dir / "snapshots", dirs_exist_ok=True)

    ensure_indexed(backup)

    assert backup.ledger.month_records()["is_lost"].any()
    assert backup.ledger.totals().sessions == 4
    download(backup, keys)
    assert failed_audits(backup) == set()


def answer_otherwise(lakehouse: Lakehouse, key: str, *, revision: int = 1) -> None:
    """Store another answer about a session: one trade less."""
    ticker, session_date = decode_key(key)
    store = lakehouse.sessions
    receipt = store.read_receipt(ticker, session_date)
    facts = FetchFacts(**{name: getattr(receipt, name) for name in FetchFacts.__struct_fields__})
    trades = store.read_trades(ticker, session_date).slice(1)
    prepared = store.prepare(ticker, session_date, trades, facts)
    renewed = dataclasses.replace(prepared, receipt=replace(prepared.receipt, revision=revision))
    store.commit([renewed])
    record_stored(lakehouse.ledger, store)


def test_two_answers_are_yellow_until_one_of_them_is_confirmed(
    planned: Lakehouse, tmp_path: Path
) -> None:
    download_plan(planned)
    other = copy(planned, tmp_path / "other")
    answer_otherwise(other, KEY)
    put_together(planned, other)

    ensure_indexed(planned)

    told = planned.ledger.two_answers().select(key_expression()).to_series()
    assert told.to_list() == [KEY]
    assert not audit_lake(planned)["answers_agree"].is_failure
    assert failed_audits(planned) == {"answers_agree"}
    assert measure_status(planned).stored.two_answers == 1
    download(planned, [KEY], asks_again=True)
    assert failed_audits(planned) == set()


def test_a_lost_decision_is_asked_for_until_it_is_made_again(
    planned: Lakehouse, market_server: EmulatorServer
) -> None:
    """The second answer is gone with its record; the first one still lies there."""
    download_plan(planned)
    before = {*find_segments(planned).rglob("*.record.parquet")}
    answer_otherwise(planned, KEY, revision=2)
    (second,) = {*find_segments(planned).rglob("*.record.parquet")} - before
    second.unlink()
    market_server.reset()

    again = download_plan(planned)

    assert (count_trade_requests(market_server), again.summary.reused) == (1, SESSIONS - 1)
    assert planned.sessions.read_receipt(*decode_key(KEY)).revision == 2
    assert list_lost(planned) == []
    market_server.reset()
    download_plan(planned)
    assert count_trade_requests(market_server) == 0


def test_a_snapshot_is_kept_of_each_state_and_of_no_state_twice(planned: Lakehouse) -> None:
    keys = planned_keys(planned)
    snapshots = planned.home.lake_dir / "snapshots"
    counts = []
    for span in (keys[:3], keys[:3], keys[:6], keys, keys):
        download(planned, span)
        counts.append(len([*snapshots.glob("*.parquet")]))

    assert counts == [1, 1, 2, 2, 2]
    before = {*snapshots.iterdir()}
    refresh_catalog(planned)
    assert {*snapshots.iterdir()} == before


def test_a_session_without_trades_is_lost_with_its_record_too(planned: Lakehouse) -> None:
    download_plan(planned)
    lake_dir, month = planned.home.lake_dir, EMPTY_KEY[-10:-3]
    for name in planned.ledger.month_records([month])["record"]:
        (lake_dir / record_key(month, name)).unlink()

    ensure_indexed(planned)

    assert EMPTY_KEY in list_lost(planned)
    assert planned.ledger.find_proofs([EMPTY_KEY]) == frozenset()
