"""A damaged or lost record of segments: what still proves costs no request, the rest is named."""

from pathlib import Path

import pytest

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.upkeep import repair_and_serve
from smallcaps_assets.operations.tidy.run import tidy_lake
from smallcaps_assets_tests.lakehouse_factories import (
    EMPTY_KEY,
    SESSIONS,
    build_small_lake,
    count_trade_requests,
    download_plan,
    flip_byte,
)


@pytest.fixture
def lakehouse(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a finished lake of segments, all of one record however slow the machine is."""
    made = build_small_lake(tmp_path, market_server.url, commit_interval_s=60)
    market_server.reset()
    return made


def find_record(lakehouse: Lakehouse) -> Path:
    (record,) = (lakehouse.home.lake_dir / "segments").rglob("*.record.parquet")
    return record


def hash_all(lakehouse: Lakehouse) -> dict[str, str]:
    return {receipt.key: receipt.content_hash for receipt in lakehouse.sessions.iter_receipts()}


def audit_when_tidy(lakehouse: Lakehouse) -> set[str]:
    """Return the audits that fail once the part is removed that no record names any more."""
    tidy_lake(lakehouse)
    return {name for name, verdict in audit_lake(lakehouse).items() if not verdict.passed}


def test_a_damaged_record_costs_a_request_for_what_has_no_rows_alone(
    lakehouse: Lakehouse, market_server: EmulatorServer
) -> None:
    hashes = hash_all(lakehouse)
    flip_byte(find_record(lakehouse))
    with pytest.raises(LedgerMismatchError, match="smallcaps repair"):
        download_plan(lakehouse)

    facts = repair_and_serve(lakehouse)

    assert facts.lost == [EMPTY_KEY]
    again = download_plan(lakehouse)
    assert (count_trade_requests(market_server), again.summary.reused) == (1, SESSIONS - 1)
    assert (audit_when_tidy(lakehouse), hash_all(lakehouse)) == (set(), hashes)


def test_a_removed_record_is_made_again_from_its_part(
    lakehouse: Lakehouse, market_server: EmulatorServer
) -> None:
    hashes = hash_all(lakehouse)
    find_record(lakehouse).unlink()

    repair_and_serve(lakehouse)

    lost = lakehouse.ledger.lost_proof().select(key_expression()).to_series()
    assert lost.to_list() == [EMPTY_KEY]
    download_plan(lakehouse)
    assert count_trade_requests(market_server) == 1
    assert (audit_when_tidy(lakehouse), hash_all(lakehouse)) == (set(), hashes)


def test_a_second_repair_finds_nothing_to_move(lakehouse: Lakehouse) -> None:
    flip_byte(find_record(lakehouse))
    first = repair_and_serve(lakehouse)
    download_plan(lakehouse)

    second = repair_and_serve(lakehouse)

    assert first.moved
    assert (second.moved, second.damages, second.lost) == ([], {}, [])


def test_a_lost_ledger_beside_a_damaged_record_is_made_again(
    lakehouse: Lakehouse, market_server: EmulatorServer
) -> None:
    """Nothing remembers what the record said: all of it is asked for again, and named nowhere."""
    hashes = hash_all(lakehouse)
    flip_byte(find_record(lakehouse))
    lakehouse.ledger.close()
    lakehouse.home.ledger_file.unlink()
    fresh = Lakehouse(lakehouse.settings, clock=lakehouse.clock)
    with pytest.raises(LedgerMismatchError, match="smallcaps repair"):
        ensure_indexed(fresh)

    repair_and_serve(fresh)

    assert fresh.ledger.is_indexed
    download_plan(fresh)
    assert count_trade_requests(market_server) > 0
    assert (audit_when_tidy(fresh), hash_all(fresh)) == (set(), hashes)


def test_what_was_rescued_keeps_what_is_known_of_it(lakehouse: Lakehouse) -> None:
    known = {receipt.key: receipt for receipt in lakehouse.sessions.iter_receipts()}
    flip_byte(find_record(lakehouse))

    repair_and_serve(lakehouse)

    for receipt in lakehouse.sessions.iter_receipts():
        assert decode_key(receipt.key) == (receipt.ticker, receipt.session_date)
        for name in ("state", "rows", "volume", "trade_count", "bar_volume", "marks", "requests"):
            assert getattr(receipt, name) == getattr(known[receipt.key], name)
