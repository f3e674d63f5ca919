import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from polars.testing import assert_frame_equal

from smallcaps_assets.core import states
from smallcaps_assets.core.segments.entries import KEPT, OFF_SESSION, SESSION, WITH_ROWS
from smallcaps_assets.errors import (
    LakeError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.lake.interchange.export import (
    ExportFacts,
    export_dates,
    export_session_files,
)
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.catalog import build_catalog
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.reading.sources import EVERYTHING
from smallcaps_assets.lake.segments.parts import SHAPE, PartShape
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.upkeep.packing import pack_month
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.core.segments.segment_factories import STARTED, key_of, merge_plainly
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.lake.lake_factories import make_tape
from smallcaps_assets_tests.lake.reader_factories import (
    ALL_PHASES,
    IDENTITY,
    Stored,
    begin_lake,
    commit_sessions,
    fill_moved_lake,
    find_part,
    list_files,
    locate_parts,
)
from smallcaps_assets_tests.lake.segments.lake_of_segments import SMALL, enter

THURSDAY, MONDAY = dt.date(2024, 3, 28), dt.date(2024, 4, 1)
SATURDAY: Final = dt.date(2024, 3, 30)
"""Between two months: its prints lie in the later one."""
DATES: Final = {
    THURSDAY: (SESSION, THURSDAY),
    MONDAY: (SESSION, MONDAY),
    SATURDAY: (OFF_SESSION, MONDAY),
}
"""Kind and owner of each date."""
KEYS: Final = ["ticker", "session_date"]


def make_stored(
    ticker: str,
    date: dt.date,
    state: str,
    rows: int,
    seed: int,
    **changes: Any,  # noqa: ANN401  any field
) -> Stored:
    """Return a session, or prints on a date without one, as they are given to a commit."""
    kind, owner = DATES[date]
    height = rows if state in WITH_ROWS else 0
    trades = make_tape(height, seed=seed, ticker=ticker, session_date=date)
    entry = enter(ticker, date, height, state=state, kind=kind, owner=owner, **changes)
    return Stored(entry, trades)


def draw_stored() -> st.SearchStrategy[list[Stored]]:
    """Return a strategy for what one commit stores: no session twice, rows of any answer."""
    stored = st.builds(
        make_stored,
        ticker=st.sampled_from(["ABCD", "BCPC", "BCpC"]),
        date=st.sampled_from(list(DATES)),
        state=st.sampled_from([states.COMPLETE, states.COMPLETE, *sorted(KEPT)]),
        rows=st.integers(1, 9),
        seed=st.integers(1, 99),
        revision=st.integers(1, 3),
        packed=st.integers(0, 1),
        started_at=st.integers(0, 2).map(lambda hours: STARTED + dt.timedelta(hours=hours)),
    )
    return st.lists(stored, min_size=1, max_size=7, unique_by=lambda one: key_of(one.entry))


def expect(told: list[tuple[str, Stored]], state: str, kind: str = SESSION) -> pl.DataFrame:
    """Return the rows of the entries that count, by the words of the rule."""
    records = {name: [one.entry for record, one in told if record == name] for name, _ in told}
    rows = {(name, one.entry): one.trades for name, one in told}
    shown = [
        rows[winner]
        for (_, _, own), winner in sorted(merge_plainly(records).items())
        if winner[1].state == state and own == kind
    ]
    return pl.concat([TRADES.empty(), *shown])


def read_view(layout: LakeLayout, view: str) -> pl.DataFrame:
    """Return what plain DuckDB shows of a view, as far as it tells rows apart."""
    with duckdb.connect(str(layout.catalog_file), read_only=True) as connection:
        return identify(connection.table(view).pl().drop("sip_timestamp"), "sip_timestamp_ns")


def read_folder(folder: Path) -> pl.DataFrame:
    files = [pl.read_parquet(path, hive_partitioning=False) for path in folder.rglob("*.parquet")]
    return pl.concat([TRADES.empty(), *files])


def identify(trades: pl.DataFrame, instant: str = "sip_timestamp") -> pl.DataFrame:
    columns = [*KEYS, pl.col(instant).cast(pl.Int64).alias("instant"), "price", "id"]
    return trades.select(columns).sort(pl.all())


@settings(max_examples=6)
@given(
    commits=st.lists(draw_stored(), min_size=2, max_size=3),
    shape=st.sampled_from([SHAPE, SMALL]),
    export=st.sampled_from([export_dates, export_session_files]),
)
def test_every_reader_gives_the_rows_of_the_entries_that_count(
    commits: list[list[Stored]], shape: PartShape, export: Callable[..., ExportFacts]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = LakeLayout(Path(folder, "data"))
        lake = begin_lake(layout)
        told = [one for stored in commits for one in commit_sessions(lake, stored, shape)]
        Ledger(layout.ledger_file).close()
        build_catalog(layout, ScriptedDisk())
        proven = expect(told, states.COMPLETE)
        reader = Lake(layout.data_dir)

        assert_frame_equal(reader.trades().collect(), proven)
        assert_frame_equal(reader.trades().collect(engine="streaming"), proven)
        april = proven.filter(ticker="BCpC", session_date=MONDAY)
        assert_frame_equal(reader.trades("BCpC", MONDAY, MONDAY).collect(), april)
        relation = reader.trades_relation().pl().drop("sip_timestamp")
        assert_frame_equal(identify(relation, "sip_timestamp_ns"), identify(proven))
        assert_frame_equal(read_view(layout, "trades"), identify(proven))
        imported = expect(told, states.IMPORTED_UNPROVEN)
        assert_frame_equal(read_view(layout, "imported_trades"), identify(imported))
        closed = expect(told, states.COMPLETE, OFF_SESSION)
        assert_frame_equal(reader.off_session_trades().collect(), closed)
        assert export(layout, ScriptedDisk(), Path(folder, "export")).damages == {}
        assert_frame_equal(identify(read_folder(Path(folder, "export"))), identify(proven))


@pytest.fixture
def layout(tmp_path: Path) -> LakeLayout:
    """Return a lake of four sessions in two months, of which two lie in two parts each."""
    sessions = {
        "AAA_2024-03-14": ALL_PHASES,
        "AAA_2024-03-15": ("after_hours",),
        "AAA_2024-04-02": ("regular",),
        "BCpC_2024-03-15": ("regular", "regular"),
    }
    return fill_moved_lake(tmp_path / "data", sessions)


def list_parts(layout: LakeLayout) -> set[Path]:
    return {path for path in list_files(layout, "*.parquet") if ".record." not in path.name}


def test_one_ticker_and_day_opens_one_part(layout: LakeLayout) -> None:
    lake = Lake(layout.data_dir)
    everything = lake.trades().collect()
    part = find_part(layout, "BCpC_2024-03-15")
    for other in list_parts(layout) - {part}:
        other.write_bytes(bytes(other.stat().st_size))

    trades = lake.trades("BCpC", "2024-03-15").collect()

    assert_frame_equal(trades, everything.filter(ticker="BCpC"))
    assert len(lake.trades_relation("BCpC", "2024-03-15").fetchall()) == trades.height


def test_a_damaged_record_never_reads_as_empty(layout: LakeLayout, tmp_path: Path) -> None:
    record = list_files(layout, "*.record.parquet")[0]
    record.write_bytes(record.read_bytes()[:-1])
    disk = FileSystem()

    with pytest.raises(LedgerMismatchError, match="smallcaps repair"):
        Lake(layout.data_dir).trades()
    with pytest.raises(LedgerMismatchError):
        build_catalog(layout, disk)
    with pytest.raises(LedgerMismatchError):
        export_dates(layout, disk, tmp_path / "dest")
    assert not layout.catalog_file.exists()


@pytest.mark.parametrize("damage", ["gone", "cut", "link"])
def test_a_lost_part_is_missed_and_closes_no_other(
    layout: LakeLayout, tmp_path: Path, damage: str
) -> None:
    lost = find_part(layout, "AAA_2024-04-02")
    content = lost.read_bytes()
    lost.unlink()
    if damage == "cut":
        lost.write_bytes(content[:-1])
    elif damage == "link":
        (tmp_path / "outside").write_bytes(content)
        lost.symlink_to(tmp_path / "outside")

    with pytest.raises(MissingPartitionError, match=f"1 of 3 files.*, first {lost}"):
        Lake(layout.data_dir).trades()
    assert build_catalog(layout, FileSystem()).missing_files == 1
    assert read_view(layout, "trades").height == 7
    exported = export_dates(layout, FileSystem(), tmp_path / "dest")
    assert list(exported.damages) == ["AAA_2024-04-02"]
    assert len(list((tmp_path / "dest").rglob("*.parquet"))) == 3


def test_sessions_of_a_lost_record_are_missed_where_the_ledger_remembers_them(
    layout: LakeLayout, tmp_path: Path
) -> None:
    for path in list_files(layout, "*"):
        if path.parent.name == "2024-04":
            path.unlink()

    with pytest.raises(MissingPartitionError, match="1 proven sessions are in no record"):
        Lake(layout.data_dir).trades()
    assert Lake(layout.data_dir).trades(end="2024-03-31").collect().height == 7
    assert build_catalog(layout, FileSystem()).missing_files == 1
    exported = export_dates(layout, FileSystem(), tmp_path / "dest")
    assert list(exported.damages) == ["AAA_2024-04-02"]


class PackingDisk(FileSystem):
    """A disk on which somebody packs a month, and removes its old parts, before a part is seen."""

    def __init__(self, layout: LakeLayout) -> None:
        super().__init__()
        self.layout = layout
        self.is_packed = False

    def size(self, path: Path) -> int:
        if not self.is_packed:
            self.is_packed = True
            old = list_parts(self.layout)
            for month in ("2024-03", "2024-04"):
                pack_month(begin_lake(self.layout), month, is_forced=True)
            for part in old:
                part.unlink()
        return super().size(path)


def test_records_are_read_again_where_a_part_was_packed_meanwhile(layout: LakeLayout) -> None:
    parts = locate_parts(layout, EVERYTHING, PackingDisk(layout))

    assert {part.path for part in parts} == list_parts(layout)
    assert all(part.is_whole for part in parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adopting": "lake.format1"}, "taken over from lake.format1.*smallcaps import --lake"),
        ({"format": 3}, "format 3.*up to 2: update"),
    ],
)
def test_a_lake_that_cannot_be_read_as_a_whole_is_refused(
    layout: LakeLayout, changes: dict[str, object], message: str
) -> None:
    begin_lake(layout, replace(IDENTITY, **changes))

    with pytest.raises(PartitionConflictError, match=message):
        Lake(layout.data_dir).trades()
    with pytest.raises(LakeError):
        build_catalog(layout, FileSystem())
