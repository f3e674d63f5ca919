"""The same download into receipts and into segments: the same sessions, rows and hashes."""

import datetime as dt
import itertools
from collections.abc import Iterable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.ingest.budget.estimates import estimate_sessions, gather_grounds
from smallcaps_assets.lake.segments.closing import Draft
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.ingest.ingest_factories import (
    SESSIONS,
    download,
    find_asked,
    hash_stored,
    make_keys,
    make_sessions,
    serve,
    write_bars,
)
from smallcaps_assets_tests.ingest.ingest_factories import make_settings as make_vendor_settings
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk
from smallcaps_assets_tests.lakehouse_factories import (
    SmallLake,
    count_trade_requests,
    download_plan,
    flip_byte,
    plan_small_lake,
)

DATES: Final = SESSIONS[:26]
"""January of 2024, and five sessions of February."""
FILES = {"bytes", "sha256", "committed_at", "started_at"}
"""What differs by the format, or from run to run."""


def describe(receipt: Receipt) -> dict[str, object]:
    return {name: getattr(receipt, name) for name in receipt.__struct_fields__ if name not in FILES}


def read_all(lakehouse: Lakehouse) -> dict[str, dict[str, object]]:
    return {receipt.key: describe(receipt) for receipt in lakehouse.sessions.iter_receipts()}


def hash_all(lakehouse: Lakehouse) -> dict[str, str]:
    return {receipt.key: receipt.content_hash for receipt in lakehouse.sessions.iter_receipts()}


@pytest.fixture
def segments(market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a finished lake of one segment, however slow the machine is."""
    planned = plan_small_lake(tmp_path, market_server.url)
    settings = planned.settings.model_copy(update={"commit_interval_s": 600.0})
    lakehouse = Lakehouse(settings, clock=planned.clock)
    download_plan(lakehouse)
    return lakehouse


def test_a_second_download_into_segments_asks_for_nothing(
    segments: Lakehouse, market_server: EmulatorServer
) -> None:
    market_server.reset()

    again = download_plan(segments)

    assert (count_trade_requests(market_server), again.summary.reused) == (0, 9)


def test_what_the_ledger_forgot_is_found_in_the_records(
    segments: Lakehouse, market_server: EmulatorServer
) -> None:
    segments.ledger.close()
    segments.home.ledger_file.unlink()
    market_server.reset()
    fresh = Lakehouse(segments.settings, clock=segments.clock)

    download_plan(fresh)

    assert count_trade_requests(market_server) == 0
    assert fresh.ledger.totals().sessions == 9


@pytest.mark.parametrize("is_record", [True, False])
def test_damage_in_a_segment_is_found_repaired_and_asked_for_again(
    segments: Lakehouse, small_lake: SmallLake, tmp_path: Path, *, is_record: bool
) -> None:
    expected = hash_all(small_lake.copy(tmp_path / "receipts"))
    files = (segments.home.lake_dir / "segments").rglob("*.parquet")
    flip_byte(max(file for file in files if (".record." in file.name) == is_record))
    segments.ledger.close()
    segments = Lakehouse(segments.settings, clock=segments.clock)  # as a new process

    found = audit_lake(segments)["files_are_undamaged"]
    facts = repair_lake(segments)
    download_plan(segments)

    assert not found.passed
    assert facts.keys
    assert audit_lake(segments)["files_are_undamaged"].passed
    assert hash_all(segments) == expected
    assert segments.ledger.missing_keys().is_empty()


def test_a_damaged_record_is_refused_before_the_first_request(
    segments: Lakehouse, market_server: EmulatorServer
) -> None:
    """Without its entries what they replaced would count again."""
    flip_byte(max((segments.home.lake_dir / "segments").rglob("*.record.parquet")))
    for file in segments.home.lake_dir.glob("ledger.sqlite*"):
        file.unlink()
    fresh = Lakehouse(segments.settings, clock=segments.clock)
    market_server.reset()

    with pytest.raises(LedgerMismatchError, match="smallcaps repair"):
        download_plan(fresh)

    assert count_trade_requests(market_server) == 0


@pytest.mark.parametrize(("wait_s", "records"), [(1e-9, 3), (30.0, 1)])
def test_a_segment_holds_what_came_within_the_interval(
    market_server: EmulatorServer, tmp_path: Path, wait_s: float, records: int
) -> None:
    lakehouse = plan_small_lake(tmp_path, market_server.url)
    settings = lakehouse.settings.model_copy(update={"commit_interval_s": wait_s, "workers": 1})

    download_plan(Lakehouse(settings, clock=lakehouse.clock))

    found = list((lakehouse.home.lake_dir / "segments" / "2024-01").glob("*.record.parquet"))
    assert len(found) == records


def open_vendor(folder: Path, server: EmulatorServer, fs: FileSystem | None = None) -> Lakehouse:
    """Return a lake of a vendor that has bars of January."""
    folder.mkdir(exist_ok=True)
    return Lakehouse(make_vendor_settings(folder, server.url), fs=fs or FileSystem())


def list_asked(server: EmulatorServer) -> list[list[dt.date]]:
    """Return the sessions of each range that was asked for."""
    asked = find_asked(server)
    return [[date for date in DATES if first <= date <= last] for _, first, last in asked]


def test_a_chain_crosses_months_as_the_estimate_says(tmp_path: Path) -> None:
    with serve({"ABCD": make_sessions(DATES)}) as server:
        lakehouse = open_vendor(tmp_path, server)
        write_bars(lakehouse, {("ABCD", date): 2 for date in DATES if date.month == 1})
        plan = pl.DataFrame({"ticker": "ABCD", "session_date": DATES})
        estimate = estimate_sessions(plan, gather_grounds(lakehouse, lakehouse.ledger))
        download(lakehouse, make_keys("ABCD", DATES))

    assert list_asked(server) == [DATES]
    assert estimate.requests == 1
    folders = sorted(path.name for path in (lakehouse.home.lake_dir / "segments").iterdir())
    assert folders == ["2024-01", "2024-02"]


def wait_for_all(_: object, closing: Iterable[Future[Draft]]) -> Iterable[Future[Draft]]:
    """Take all months that are being encoded, once they are: a commit has the same steps then."""
    wait(closing)
    return closing


def test_what_a_kill_leaves_of_a_chain_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process ends: what has its record is there, all the rest is one range."""
    monkeypatch.setattr("smallcaps_assets.ingest.ticks.hand.takewhile", wait_for_all)
    keys, left = make_keys("ABCD", DATES), set()
    with serve({"ABCD": make_sessions(DATES)}) as server:
        for crash_at in itertools.count():
            folder = tmp_path / str(crash_at)
            begun = open_vendor(folder, server)
            write_bars(begun, {("ABCD", date): 2 for date in DATES if date.month == 1})
            begun.ledger.close()
            broken = open_vendor(folder, server, ScriptedDisk(crash_at=crash_at))
            try:
                download(broken, keys)
                break
            except Crash:
                broken.ledger.close()
            resumed = open_vendor(folder, server)
            stored = {receipt.session_date for receipt in resumed.sessions.iter_receipts()}
            missing = [date for date in DATES if date not in stored]
            server.reset()
            download(resumed, keys)

            assert list_asked(server) == ([missing] if missing else [])
            assert len(hash_stored(resumed)) == len(DATES)
            left.add(len(missing))

    assert left == {0, 5, len(DATES)}
