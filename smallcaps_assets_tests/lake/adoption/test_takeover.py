"""A lake of receipts becomes one of segments: nothing lost, nothing asked, from any kill."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.ticks.disputes import UNASKED
from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.adoption.takeover import OLD_FOLDER
from smallcaps_assets.lake.home.identity import LakeSource, open_lake, read_identity
from smallcaps_assets.lake.home.place import put_lake, recall_home
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.upkeep.indexing import list_stale_months
from smallcaps_assets_tests.lake.adoption.old_lakes import (
    ASKING,
    FAILED,
    MAY,
    MONDAY,
    PLANNED,
    QUARANTINED,
    RED,
    SOURCE,
    TUESDAY,
    adopt,
    expect_rows,
    hash_rows,
    list_contents,
    make_old_lake,
    read_winners,
    undo,
)
from smallcaps_assets_tests.lake.disks import Crash, FailingDisk, ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import SESSION


@pytest.fixture
def home(tmp_path: Path) -> LakeLayout:
    return make_old_lake(tmp_path / "data", second_root=tmp_path / "disk")


def pick(winners: pl.DataFrame, ticker: str, date: object = TUESDAY) -> dict[str, object]:
    rows = winners.filter(pl.col("ticker") == ticker, pl.col("session_date") == date)
    return rows.row(0, named=True)


def test_all_rows_are_carried_with_their_hashes(home: LakeLayout) -> None:
    expected = expect_rows(home)

    facts = adopt(home)

    assert hash_rows(home) == expected
    assert facts.damaged == []
    identity = read_identity(home, ScriptedDisk())
    assert (identity.format, identity.adopting) == (2, "")


def test_the_register_of_several_roots_stays_beside_the_old_lake(home: LakeLayout) -> None:
    """What lists them goes with the old lake; the new one has one folder."""
    before = (home.data_dir / "lake_roots.json").read_bytes()

    adopt(home)

    assert (home.data_dir / OLD_FOLDER / "lake_roots.json").read_bytes() == before
    assert b"disk" in before
    assert b"disk" not in (home.data_dir / "lake_roots.json").read_bytes()


def test_a_lost_register_stops_the_takeover(home: LakeLayout) -> None:
    """Without it nobody knows which other disks have sessions."""
    (home.data_dir / "lake_roots.json").unlink()

    with pytest.raises(LedgerMismatchError, match="restore it from a copy"):
        adopt(home)

    assert not (home.data_dir / OLD_FOLDER).exists()


def test_compacted_months_are_read_where_landing_files_were_removed(home: LakeLayout) -> None:
    assert list(home.lake_dir.glob("trades/ticker=COM*/*/trades.parquet")) == []

    adopt(home)

    winners = read_winners(home)
    assert [pick(winners, f"COM{rows}", MAY)["rows"] for rows in (3, 7, 8)] == [3, 7, 8]


@pytest.mark.parametrize("name", ["manifest.json", "sessions-*.parquet", "trades-*.parquet"])
def test_damaged_files_of_a_month_are_named_by_session(home: LakeLayout, name: str) -> None:
    file = next(home.lake_dir.glob(f"compacted_trades/month=2024-05/{name}"))
    file.write_bytes(b"damaged")

    facts = adopt(home)

    compacted = {"COM3_2024-05-06", "COM7_2024-05-06", "COM8_2024-05-06"}
    assert facts.lost
    assert {*facts.lost} <= compacted
    assert {*facts.lost} == {key for key, _ in facts.damaged}
    red = read_winners(home).filter(pl.col("ticker").str.starts_with("COM"), pl.col("rows") == 0)
    assert {*red.select(key_expression()).to_series()} == {*facts.lost}


def test_what_is_known_of_sessions_is_carried(home: LakeLayout) -> None:
    adopt(home)

    winners = read_winners(home)

    disputed = pick(winners, "DISP")
    assert (disputed["state"], disputed["marks"]) == (states.DISPUTED, ["bar_residual"])
    assert disputed["askings"] == [
        {"asked_on": ASKING.asked_on, "page_limit": 50_000, "content_hash": "other"}
    ]
    figures = ("volume", "trade_count", "original_volume", "bar_trade_count", "count_deficit")
    assert [disputed[name] for name in figures] == [90.0, 3, 91.0, 5, 0.4]
    imported = pick(winners, "IMPO")
    assert imported["state"] == states.IMPORTED_UNPROVEN
    assert '"verdict":"unproven"' in str(imported["archive"])


def test_what_only_the_ledger_knows_is_carried(home: LakeLayout) -> None:
    """Its red states become entries, and what failed is as known as before."""
    adopt(home)

    winners = read_winners(home)

    red = pick(winners, "CUTT", SESSION)
    assert (red["state"], len(red["askings"])) == (states.EMPTY_DISPUTED, 1)  # type: ignore[arg-type]
    assert pick(winners, "QUAR", SESSION)["state"] == states.QUARANTINED
    expected = {one.key: one.state for one in (RED, QUARANTINED, FAILED)}
    with LedgerReader(home.ledger_file) as ledger:
        assert ledger.states([*expected, PLANNED]) == expected | {PLANNED: states.PLANNED}


def test_the_ledger_knows_each_month_that_was_taken_over(home: LakeLayout) -> None:
    with LedgerReader(home.ledger_file) as before:
        stored = before.stored_sessions().select(key_expression()).to_series()

    adopt(home)

    lake = SegmentLake(LocalStorage(home.lake_dir, ScriptedDisk()), SOURCE)
    with LedgerReader(home.ledger_file) as ledger:
        assert list_stale_months(ledger, lake) == []
        assert ledger.find_proofs(stored) == {*stored}
        assert ledger.lost_proof().is_empty()


def test_replaced_answers_are_kept_and_do_not_count(home: LakeLayout) -> None:
    adopt(home)

    winners = read_winners(home)

    assert [pick(winners, name)["rows"] for name in ("REVD", "REVK")] == [3, 4]
    assert [pick(winners, name)["revision"] for name in ("REVD", "REVK")] == [2, 3]


def test_a_span_that_began_too_late_is_marked(home: LakeLayout) -> None:
    """A Monday was asked for from its own midnight on, and its Saturday by nobody."""
    adopt(home)

    winners = read_winners(home)

    assert pick(winners, "LATE", MONDAY)["marks"] == [UNASKED]
    assert pick(winners, "ABCD", MONDAY)["marks"] == []


def test_a_takeover_killed_anywhere_continues(tmp_path: Path) -> None:
    """Killed before each of ten operations, from the first to the last, then done again."""
    model = make_old_lake(tmp_path / "model")
    expected, disk = expect_rows(model), ScriptedDisk()
    source = tmp_path / "source"
    shutil.copytree(model.data_dir, source)
    adopt(model, disk, removes=True)
    count = len(disk.operations)
    for crash_at in range(0, count - 1, count // 10):
        home = LakeLayout(tmp_path / f"at-{crash_at}")
        shutil.copytree(source, home.data_dir)
        with pytest.raises(Crash):
            adopt(home, ScriptedDisk(crash_at=crash_at), removes=True)

        facts = adopt(home, removes=True)

        assert hash_rows(home) == expected, crash_at
        assert (facts.damaged, facts.kept) == ([], 0)
        quarantined = read_winners(home).filter(pl.col("state") == states.QUARANTINED)
        assert quarantined["ticker"].to_list() == ["QUAR"]


def test_a_disk_that_refuses_leaves_both_lakes(tmp_path: Path) -> None:
    home = make_old_lake(tmp_path / "data")
    before = list_contents(home.lake_dir)
    with pytest.raises(StorageError):
        adopt(home, FailingDisk(number=28, fail_at=40))

    with pytest.raises(PartitionConflictError, match="being taken over"):
        open_lake(home, ScriptedDisk(), LakeSource("emulator", "seed=1"))
    undo(home)

    after = list_contents(home.lake_dir)
    kept, now = json.loads(after.pop("lake_roots.json")), json.loads(home.roots_file.read_bytes())
    assert [root["id"] for root in kept["roots"]] == [root["id"] for root in now["roots"]]
    assert after == before


def test_removal_frees_the_old_lake_and_keeps_what_is_damaged(tmp_path: Path) -> None:
    home = make_old_lake(tmp_path / "data")
    file = home.lake_dir / "trades/ticker=REVD/date=2024-03-19/trades.parquet"
    file.write_bytes(b"damaged")
    (home.lake_dir / "trades/ticker=REVK/date=2024-03-19/_SUCCESS").write_bytes(b"{}")

    facts = adopt(home, removes=True)

    assert {key for key, _ in facts.damaged} == {"REVD_2024-03-19", "REVK_2024-03-19"}
    winners = read_winners(home)
    assert {pick(winners, name)["state"] for name in ("REVD", "REVK")} == {states.QUARANTINED}
    left = (home.data_dir / OLD_FOLDER).glob("*/*/*/*")
    assert {path.parts[-3] for path in left} == {"ticker=REVD", "ticker=REVK"}
    assert facts.kept == 2
    with LedgerReader(home.ledger_file) as ledger:
        assert {*ledger.states(facts.lost).values()} == {states.QUARANTINED}


def test_a_second_takeover_finds_nothing_to_do(home: LakeLayout) -> None:
    adopt(home)

    with pytest.raises(ConfigError, match="nothing to take over"):
        adopt(home)


def test_a_lake_in_use_is_not_taken_over(home: LakeLayout) -> None:
    with LakeLock(home.lock_file).hold("downloading"), pytest.raises(PartitionConflictError):
        adopt(home)

    assert not (home.data_dir / OLD_FOLDER).exists()


def test_a_root_that_is_not_mounted_stops_the_takeover(home: LakeLayout, tmp_path: Path) -> None:
    expected = expect_rows(home)
    (tmp_path / "disk").rename(tmp_path / "away")
    with pytest.raises(StorageError, match="mount its disk"):
        adopt(home)

    (tmp_path / "away").rename(tmp_path / "disk")
    adopt(home)

    assert hash_rows(home) == expected


@pytest.mark.parametrize("is_other", [False, True], ids=["own data folder", "another one"])
def test_a_lake_is_taken_over_to_another_disk_killed_anywhere(
    tmp_path: Path, *, is_other: bool
) -> None:
    source = make_old_lake(tmp_path / "source")
    expected, ledger = expect_rows(source), source.ledger_file.name
    place, is_ended = tmp_path / "disk" / "lake", False
    for crash_at in range(0, 1_000, 25):
        folder = tmp_path / str(crash_at)
        old = LakeLayout(folder / "old")
        shutil.copytree(source.data_dir, old.data_dir)
        data_dir = folder / "data" if is_other else old.data_dir
        data_dir.mkdir(exist_ok=True)
        place.parent.mkdir(exist_ok=True)
        home = put_lake(data_dir, place)
        is_ended = True
        try:
            adopt(home, ScriptedDisk(crash_at=crash_at), old=old)
        except Crash:
            is_ended = False
            with suppress(ConfigError):  # It was done but for the last sync.
                adopt(home, old=old)

        assert hash_rows(home) == expected, crash_at
        assert recall_home(data_dir, ScriptedDisk()) == home
        assert (data_dir / "lake" / ledger).is_file()
        assert (old.data_dir / OLD_FOLDER / "lake.json").is_file()
        shutil.rmtree(place.parent)
        if is_ended:
            break
    assert is_ended


def test_a_lake_that_is_there_is_not_mixed_with_another(tmp_path: Path) -> None:
    old, other = make_old_lake(tmp_path / "old"), make_old_lake(tmp_path / "other")
    home = LakeLayout(tmp_path / "data")
    home.data_dir.mkdir()
    adopt(home, old=old)

    with pytest.raises(PartitionConflictError, match="expected no lake in"):
        adopt(home, old=other)

    assert not (other.data_dir / OLD_FOLDER).exists()


def test_a_half_taken_lake_is_finished_before_another_is_taken(tmp_path: Path) -> None:
    old, other = make_old_lake(tmp_path / "old"), make_old_lake(tmp_path / "other")
    home = LakeLayout(tmp_path / "data")
    home.data_dir.mkdir()
    with pytest.raises(StorageError):
        adopt(home, FailingDisk(number=28, fail_at=40), old=old)

    for wrong in (other, home):
        with pytest.raises(PartitionConflictError, match="finish that first"):
            adopt(home, old=wrong)


def test_a_folder_without_a_lake_cannot_be_taken_over(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match="expected a data folder with a lake"):
        adopt(LakeLayout(tmp_path))
