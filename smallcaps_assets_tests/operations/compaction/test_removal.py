"""Month files as the only home of trades: everything works on, and loss is told one by one."""

from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lake.interchange.export import export_dates, export_session_files
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.compaction.months import Done
from smallcaps_assets.operations.repair.moving import move_lake
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.ingest.month_lakes import (
    APRIL,
    KEYS,
    MARCH,
    REMOVING,
    assert_exactly_once,
    compact,
    fill_month_lake,
    hash_receipts,
    quarantine_session,
    read_catalog,
    read_rows,
    store_session,
)

pytestmark = pytest.mark.usefixtures("receipt_lakes")

MARCH_KEYS = {key for key in KEYS if MARCH in key and not key.startswith("BCPC")}


def list_landing(lakehouse: Lakehouse) -> set[Path]:
    folder = lakehouse.layout.roots[0].folder / "trades"
    return set(folder.rglob("trades.parquet"))


def find_part(lakehouse: Lakehouse, month: str = MARCH) -> Path:
    (part,) = lakehouse.layout.roots[0].month_dir(month).glob("trades-*")
    return part


def flip_bits(path: Path, *places: float) -> None:
    """Flip a bit at some shares of the length of a file."""
    content = bytearray(path.read_bytes())
    for place in places:
        content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def find_damage(lakehouse: Lakehouse) -> pl.DataFrame:
    return audit_lake(lakehouse)["files_are_undamaged"].offenders


@pytest.fixture
def kept(tmp_path: Path) -> Lakehouse:
    """Return a compacted lake that keeps its landing files."""
    lakehouse = fill_month_lake(tmp_path / "data")
    compact(lakehouse)
    return lakehouse


@pytest.fixture
def removed(tmp_path: Path) -> Lakehouse:
    """Return a compacted lake whose landing files are gone."""
    lakehouse = fill_month_lake(tmp_path / "data", changes=REMOVING)
    compact(lakehouse)
    compact(lakehouse)
    return lakehouse


def test_landing_files_go_in_a_run_after_the_one_that_replaced_them(tmp_path: Path) -> None:
    lakehouse = fill_month_lake(tmp_path / "data", changes=REMOVING)
    before = list_landing(lakehouse)

    compact(lakehouse)
    assert list_landing(lakehouse) == before
    compact(lakehouse)

    assert list_landing(lakehouse) == set()
    assert len(hash_receipts(lakehouse)) == len(before)
    assert_exactly_once(lakehouse)


def test_landing_files_stay_while_the_catalog_or_a_damaged_month_needs_them(
    tmp_path: Path,
) -> None:
    lakehouse = fill_month_lake(tmp_path / "data", changes=REMOVING)
    compact(lakehouse)
    before = list_landing(lakehouse)
    lakehouse.home.catalog_file.unlink()

    compact(lakehouse)
    assert list_landing(lakehouse) == before
    flip_bits(find_part(lakehouse), 0.4)
    compact(lakehouse)

    assert len(list_landing(lakehouse)) == len(MARCH_KEYS)


def test_everything_works_without_landing_files(removed: Lakehouse, tmp_path: Path) -> None:
    """Audit, store, reindex and export read month files, and leave them as they are."""
    before = read_rows(removed)

    assert find_damage(removed).is_empty()
    trades = removed.store.read_trades(*decode_key(KEYS[0]))
    assert hash_trades(trades) == hash_receipts(removed)[KEYS[0]]
    removed.ledger.reindex(removed.store.iter_receipts())
    facts = export_dates(removed.layout, removed.fs, tmp_path / "dates")
    again = export_dates(removed.layout, removed.fs, tmp_path / "dates")
    phases = export_session_files(removed.layout, removed.fs, tmp_path / "phases")

    exported = pl.read_parquet(tmp_path / "dates/**/*.parquet", hive_partitioning=False)
    assert exported.sort("ticker", "session_date", maintain_order=True).equals(before)
    assert (facts.damages, phases.damages, again.unchanged) == ({}, {}, facts.units)
    assert read_rows(removed).equals(before)
    assert compact(removed) == {MARCH: Done.REUSED, APRIL: Done.REUSED}


def test_a_stale_month_is_written_anew_from_its_own_files(removed: Lakehouse) -> None:
    store_session(removed, KEYS[0], seed=99)

    assert_exactly_once(removed)
    assert compact(removed)[MARCH] is Done.WRITTEN
    assert_exactly_once(removed)
    assert compact(removed)[MARCH] is Done.REUSED
    assert list_landing(removed) == set()
    assert find_damage(removed).is_empty()


def test_a_flipped_bit_in_a_month_file_names_its_sessions_and_kind(removed: Lakehouse) -> None:
    flip_bits(find_part(removed), 0.1)
    before = find_part(removed).read_bytes()

    damages = find_damage(removed)
    dry = repair_lake(removed, is_dry_run=True)

    named = {f"{ticker}_{date}" for ticker, date in damages.select(TRADES_KEY).rows() if ticker}
    assert named
    assert named <= MARCH_KEYS
    assert "sha256" in damages["kind"].to_list()
    assert dry.months
    assert find_part(removed).read_bytes() == before


TRADES_KEY = ("ticker", "session_date")


def test_a_lost_month_is_its_sessions_missing_again_one_by_one(removed: Lakehouse) -> None:
    find_part(removed).unlink()
    with pytest.raises(MissingPartitionError, match=r"4 of 5 files .* gone or cut"):
        Lake(removed.home.data_dir).trades()

    facts = repair_lake(removed)

    assert set(facts.keys) == MARCH_KEYS
    assert set(removed.ledger.missing_keys()["key"]) == MARCH_KEYS
    assert_exactly_once(removed)
    refresh_catalog(removed)
    assert read_catalog(removed).height == read_rows(removed).height


def test_a_damaged_month_loses_only_what_does_not_prove(removed: Lakehouse) -> None:
    before = hash_receipts(removed)
    flip_bits(find_part(removed), 0.05)

    facts = repair_lake(removed)

    left = hash_receipts(removed)
    assert set(before) - set(left) == set(facts.keys)
    assert_exactly_once(removed)
    assert find_damage(removed).is_empty()


def test_a_damaged_month_with_landing_files_is_written_anew(kept: Lakehouse) -> None:
    good = find_part(kept).read_bytes()
    assert compact(kept)[MARCH] is Done.REUSED
    assert len(list_landing(kept)) == len(KEYS) - 1  # without the setting they stay
    flip_bits(find_part(kept), 0.3, 0.6)

    facts = repair_lake(kept)

    assert facts.keys == []
    assert find_part(kept).read_bytes() == good
    assert [path.name for path in facts.moved[0].glob("trades-*")] == [find_part(kept).name]
    assert find_damage(kept).is_empty()


def test_a_move_takes_months_along(removed: Lakehouse, tmp_path: Path) -> None:
    before = read_rows(removed)
    dest = tmp_path / "elsewhere"

    facts = move_lake(removed, dest)

    assert facts.left == facts.absent == []
    assert read_rows(removed).equals(before)
    assert not removed.home.home.compacted_dir.exists()
    assert find_part(removed).is_relative_to(dest)
    assert find_damage(removed).is_empty()
    assert compact(removed) == {MARCH: Done.REUSED, APRIL: Done.REUSED}


def test_a_session_fetched_again_is_read_from_its_new_file(removed: Lakehouse) -> None:
    quarantine_session(removed, KEYS[0])
    assert_exactly_once(removed)

    store_session(removed, KEYS[0], seed=5)

    assert_exactly_once(removed)
    assert TRADES.conform(read_rows(removed)).height
