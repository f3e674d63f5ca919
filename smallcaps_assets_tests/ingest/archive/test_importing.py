import contextlib
import datetime as dt
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.archive.findings import ArchiveVerdict, FindingKind
from smallcaps_assets.core.archive.sessions import ArchiveFile, classify_file, judge_session
from smallcaps_assets.core.keys import decode_key, encode_key
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.bar_prices import FIGURES
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import ConfigError, StorageError
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.archive.outcomes import Action, ImportedSession
from smallcaps_assets.ingest.derived import index_stored, refresh_catalog
from smallcaps_assets.lake.interchange.archives import Stray
from smallcaps_assets.lake.interchange.export import export_dates, export_session_files
from smallcaps_assets.lake.paths.names import encode_ticker
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.reading.sources import EVERYTHING
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.archive_factories import (
    DEFECTS,
    SESSION,
    TICKER,
    Layout,
    cut_files,
    keep,
    make_bar,
    make_vendor_trades,
    session_folder,
    write_session,
)
from smallcaps_assets_tests.ingest.ingest_factories import hash_stored
from smallcaps_assets_tests.lake.disks import QuotaDisk
from smallcaps_assets_tests.lakehouse_factories import (
    EMPTY_KEY,
    NOW,
    REPO_ROOT,
    SmallLake,
    count_trade_requests,
    download_plan,
    find_shared,
    make_lakehouse,
    make_settings,
    planned_keys,
    publish_plan,
    refresh_due_bars,
)

URL = "http://127.0.0.1:9"
"""A vendor that is never asked."""
KEY = encode_key(TICKER, SESSION)
TICKERS = {name: f"D{number:02}" for number, name in enumerate(DEFECTS)}
"""A ticker for each defect."""


def store_bars(lakehouse: Lakehouse, *bars: dict[str, object]) -> None:
    """Store daily bars of January 2024."""
    rows = pl.DataFrame(bars, DAILY_BARS.schema).sort(DAILY_BARS.key)
    lakehouse.tables.write_daily_bars("2024-01", rows, covered=[SESSION], is_closed=True)


def run_import(
    lakehouse: Lakehouse, folder: Path, *, accept_unproven: bool = False
) -> dict[str, ImportedSession]:
    """Import an archive, and return what became of each session."""
    with lakehouse.writing("test", 0.0):
        found = list(Import(lakehouse, folder, accept_unproven=accept_unproven).run())
    return {session.key: session for session in found if isinstance(session, ImportedSession)}


def find_strays(lakehouse: Lakehouse, folder: Path) -> dict[str, str]:
    """Import an archive, and return what is no session in it."""
    found = Import(lakehouse, folder, is_dry_run=True).run()
    return {stray.name: stray.message for stray in found if isinstance(stray, Stray)}


def list_lake(lakehouse: Lakehouse) -> dict[Path, int]:
    """Return when each file of trades and what proves them was written."""
    files = list(lakehouse.home.lake_dir.rglob("*.parquet"))
    assert files
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture
def lakehouse(tmp_path: Path) -> Iterator[Lakehouse]:
    """Return an empty lakehouse that knows the daily bar of the archived session."""
    lakehouse = make_lakehouse(tmp_path / "data", URL)
    store_bars(lakehouse, make_bar(make_vendor_trades()))
    yield lakehouse
    lakehouse.ledger.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_session(tmp_path / "archive", Layout.DATES, whole_files(Layout.DATES))
    return tmp_path / "archive"


def whole_files(layout: Layout) -> dict[str, pl.DataFrame]:
    return cut_files(layout, make_vendor_trades(), keep)


def cut_to_seconds(layout: Layout) -> dict[str, pl.DataFrame]:
    return cut_files(layout, make_vendor_trades(), DEFECTS["cut_to_seconds"].change)


# -- what becomes of each defect ---------------------------------------------------------


@pytest.fixture(scope="module", params=list(Layout))
def imported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lakehouse, dict[str, ImportedSession]]:
    """Import an archive in which each ticker has a defect, in one layout."""
    folder = tmp_path_factory.mktemp("import")
    lakehouse = make_lakehouse(folder / "data", URL)
    bars = []
    for name, defect in DEFECTS.items():
        trades = make_vendor_trades(defect.rows, ticker=TICKERS[name])
        files = cut_files(request.param, defect.select(trades), defect.change)
        write_session(folder / "archive", request.param, files, TICKERS[name])
        bars.append(make_bar(trades))
    store_bars(lakehouse, *bars)
    return lakehouse, run_import(lakehouse, folder / "archive")


@pytest.mark.parametrize("name", DEFECTS)
def test_import_judges_each_defect_in_both_layouts(
    imported: tuple[Lakehouse, dict[str, ImportedSession]], name: str
) -> None:
    """L4, L5, L6, L7, L24, L33: what others lost or changed is seen, and the session is missing."""
    lakehouse, sessions = imported
    key, defect = encode_key(TICKERS[name], SESSION), DEFECTS[name]

    session = sessions[key]

    assert session.verdict is defect.verdict, session.findings
    assert session.kinds >= {kind.value for kind in defect.kinds}
    assert (lakehouse.sessions.find_receipt(key) is not None) == (
        session.verdict is ArchiveVerdict.PROVEN
    )


def test_document_says_what_becomes_of_each_defect() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (\w+) \|([^|]*)\|$",
        (REPO_ROOT / "docs" / "import.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )

    documented = {name: (verdict, set(re.findall(r"\w+", kinds))) for name, verdict, kinds in rows}

    assert documented == {
        name: (defect.verdict.word, {kind.value for kind in defect.kinds})
        for name, defect in DEFECTS.items()
    }


def test_document_explains_every_finding() -> None:
    page = (REPO_ROOT / "docs" / "import.md").read_text(encoding="utf-8")

    assert [kind for kind in FindingKind if f"`{kind.value}`" not in page] == []


def test_import_keeps_unproven_sessions_apart_and_unusable_ones_out(
    imported: tuple[Lakehouse, dict[str, ImportedSession]],
) -> None:
    lakehouse, sessions = imported

    apart = {receipt.key for receipt in lakehouse.sessions.iter_receipts(tree=Tree.IMPORTED)}

    unproven = {key for key, s in sessions.items() if s.verdict is ArchiveVerdict.UNPROVEN}
    assert apart == unproven
    assert set(lakehouse.ledger.states(unproven).values()) == {states.IMPORTED_UNPROVEN}


def test_proven_session_is_what_the_vendor_sent(lakehouse: Lakehouse, archive: Path) -> None:
    run_import(lakehouse, archive)

    receipt = lakehouse.sessions.read_receipt(TICKER, SESSION)

    assert receipt.is_imported
    assert receipt.archive is not None
    assert not receipt.archive.is_accepted_unproven
    assert lakehouse.sessions.read_trades(TICKER, SESSION).equals(make_vendor_trades())


@pytest.mark.parametrize("day", [7, 8, 9, 10, 11])
@pytest.mark.parametrize("ticker", ["AIG", "IBM"])
def test_real_tape_without_nanoseconds_has_no_other_fault(ticker: str, day: int) -> None:
    """L33: a tape of 2013 as text: venues, conditions and order are real, instants have ms."""
    session_date, calendar = dt.date(2013, 10, day), load_calendar()
    file = find_shared(f"us_stocks_sip/trades_v1/2013/10/{session_date}.csv.gz")
    rows = pl.read_csv(file, infer_schema=False).filter(pl.col("ticker") == ticker)
    parsed = classify_file(ArchiveFile("trades.parquet"), rows, ticker, calendar)
    bar = make_bar(judge_session([parsed], ticker, session_date, None, calendar).trades)

    for decimals in (2, 4, 6):
        rounded = {name: round(bar[name], decimals) for name in FIGURES}
        session = judge_session([parsed], ticker, session_date, bar | rounded, calendar)

        kinds = {finding.kind for finding in session.findings}
        assert kinds - {FindingKind.TYPES_DIFFER} == {FindingKind.COARSE_TIMESTAMPS}
        assert session.trades.height == rows.height


def test_import_finds_a_session_without_its_mark(lakehouse: Lakehouse, archive: Path) -> None:
    (session_folder(archive, Layout.DATES, TICKER, SESSION) / "_SUCCESS").unlink()

    session = run_import(lakehouse, archive)[KEY]

    assert session.kinds == {FindingKind.NO_MARK}
    assert session.verdict is ArchiveVerdict.PROVEN


def test_import_of_a_session_with_one_unreadable_file_is_unproven(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    folder = write_session(tmp_path / "archive", Layout.PHASES, whole_files(Layout.PHASES))
    (folder / "market.parquet").write_bytes(b"PAR1 torn")

    session = run_import(lakehouse, tmp_path / "archive")[KEY]

    assert session.verdict is ArchiveVerdict.UNPROVEN
    assert session.kinds >= {FindingKind.UNREADABLE, FindingKind.VOLUME_DIFFERS}


# -- again, and again --------------------------------------------------------------------


def test_second_import_of_an_archive_does_nothing(lakehouse: Lakehouse, archive: Path) -> None:
    write_session(archive, Layout.DATES, cut_to_seconds(Layout.DATES), "WXYZ")
    write_session(archive, Layout.DATES, {"trades.parquet": pl.DataFrame({"a": [1]})}, "ZZZ")
    first = run_import(lakehouse, archive)
    before = list_lake(lakehouse)

    second = run_import(lakehouse, archive)

    assert [session.action for session in first.values()] == [
        Action.STORED,
        Action.KEPT_APART,
        Action.LEFT,
    ]
    assert [session.action for session in second.values()] == [
        Action.KNOWN,
        Action.UNCHANGED,
        Action.UNCHANGED,
    ]
    assert (
        second[encode_key("WXYZ", SESSION)].findings == first[encode_key("WXYZ", SESSION)].findings
    )
    assert list_lake(lakehouse) == before


@pytest.mark.parametrize(
    ("change", "kind"),
    [(None, FindingKind.NO_BAR), ({"vwap": 1.0}, FindingKind.VWAP_DIFFERS)],
    ids=["it came", "only a price of it changed"],
)
def test_import_looks_again_at_the_daily_bar(
    tmp_path: Path, archive: Path, change: dict[str, float] | None, kind: FindingKind
) -> None:
    lakehouse, bar = make_lakehouse(tmp_path / "data", URL), make_bar(make_vendor_trades())
    if change is not None:
        store_bars(lakehouse, bar | change)
    first = run_import(lakehouse, archive)[KEY]
    store_bars(lakehouse, bar)

    second = run_import(lakehouse, archive)[KEY]

    assert first.kinds == {kind}
    assert (first.action, second.action) == (Action.KEPT_APART, Action.STORED)
    assert lakehouse.ledger.states([KEY]) == {KEY: states.COMPLETE}


def test_import_looks_again_when_a_file_changed(lakehouse: Lakehouse, tmp_path: Path) -> None:
    folder = write_session(tmp_path / "archive", Layout.DATES, cut_to_seconds(Layout.DATES))
    run_import(lakehouse, tmp_path / "archive")
    whole_files(Layout.DATES)["trades.parquet"].write_parquet(folder / "trades.parquet")

    session = run_import(lakehouse, tmp_path / "archive")[KEY]

    assert session.action is Action.STORED


@pytest.mark.parametrize("accept_unproven", [False, True])
def test_import_never_replaces_what_the_lake_has(
    lakehouse: Lakehouse, archive: Path, tmp_path: Path, *, accept_unproven: bool
) -> None:
    run_import(lakehouse, archive)
    before = list_lake(lakehouse)
    write_session(tmp_path / "other", Layout.DATES, cut_to_seconds(Layout.DATES))

    sessions = run_import(lakehouse, tmp_path / "other", accept_unproven=accept_unproven)

    assert sessions[KEY].action is Action.KNOWN
    assert list_lake(lakehouse) == before


def lose_ledger(lakehouse: Lakehouse) -> Lakehouse:
    """Remove the ledger, and open the lake as a new process does."""
    lakehouse.ledger.close()
    lakehouse.layout.ledger_file.unlink()
    return Lakehouse(lakehouse.settings, clock=lakehouse.clock)


def test_import_takes_a_receipt_that_the_ledger_lacks_for_stored(
    lakehouse: Lakehouse, archive: Path
) -> None:
    """A kill between files and ledger leaves it so."""
    run_import(lakehouse, archive)
    fresh = lose_ledger(lakehouse)

    sessions = run_import(fresh, archive)

    assert sessions[KEY].action is Action.KNOWN
    assert fresh.ledger.states([KEY]) == {KEY: states.COMPLETE}


def test_lost_ledger_learns_imported_sessions_from_their_receipts(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    write_session(tmp_path / "archive", Layout.DATES, cut_to_seconds(Layout.DATES))
    first = run_import(lakehouse, tmp_path / "archive")
    fresh = lose_ledger(lakehouse)

    index_stored(fresh)

    assert fresh.ledger.states([KEY]) == {KEY: states.IMPORTED_UNPROVEN}
    assert run_import(fresh, tmp_path / "archive")[KEY].findings == first[KEY].findings


# -- accepted without proof, tried without writing ---------------------------------------


def test_accepted_session_is_stored_and_its_receipt_says_so(
    lakehouse: Lakehouse, tmp_path: Path
) -> None:
    write_session(tmp_path / "archive", Layout.DATES, cut_to_seconds(Layout.DATES))
    run_import(lakehouse, tmp_path / "archive")

    session = run_import(lakehouse, tmp_path / "archive", accept_unproven=True)[KEY]

    receipt = lakehouse.sessions.read_receipt(TICKER, SESSION)
    assert session.action is Action.ACCEPTED
    assert receipt.archive is not None
    assert receipt.archive.is_accepted_unproven
    assert receipt.archive.findings == session.findings
    assert lakehouse.ledger.states([KEY]) == {KEY: states.COMPLETE}


def test_unusable_session_is_not_accepted(lakehouse: Lakehouse, tmp_path: Path) -> None:
    write_session(tmp_path / "archive", Layout.DATES, {"trades.parquet": pl.DataFrame({"a": [1]})})

    session = run_import(lakehouse, tmp_path / "archive", accept_unproven=True)[KEY]

    assert session.action is Action.LEFT


def test_dry_run_says_the_same_and_writes_nothing(tmp_path: Path, archive: Path) -> None:
    lakehouse = make_lakehouse(tmp_path / "data", URL)
    told = []
    for _ in range(2):
        before = sorted(lakehouse.layout.data_dir.rglob("*"))
        found = Import(lakehouse, archive, is_dry_run=True).run()
        told += [session.action for session in found if isinstance(session, ImportedSession)]
        assert sorted(lakehouse.layout.data_dir.rglob("*")) == before
        run_import(lakehouse, archive)

    assert told == [Action.KEPT_APART, Action.UNCHANGED]


def test_import_stops_before_the_disk_is_full_and_goes_on_later(
    tmp_path: Path, archive: Path
) -> None:
    full = make_lakehouse(tmp_path / "data", URL, disk_reserve_gb=1e9)

    with pytest.raises(StorageError, match="run the same import again"):
        run_import(full, archive)
    full.ledger.close()

    roomy = make_lakehouse(tmp_path / "data", URL)
    assert run_import(roomy, archive)[KEY].action is Action.KEPT_APART


def test_import_leaves_the_reserve_whole_whatever_room_is_left(
    tmp_path: Path, archive: Path
) -> None:
    """L25: a record and pages of the ledger's log count too, however few sessions a group has."""
    reserve, plenty = 100_000, 50_000_000
    for room in range(50_000, 200_000, 25_000):  # less is gone when the import begins
        data = tmp_path / f"data{room}"
        data.mkdir()
        disk = QuotaDisk({data: plenty})
        settings = make_settings(data, URL, disk_reserve_gb=reserve / 1024**3)
        lakehouse = Lakehouse(settings, fs=disk, clock=lambda: NOW)
        index_stored(lakehouse)
        disk.capacities[data] = plenty - disk.free_bytes(data) + reserve + room

        with contextlib.suppress(StorageError):
            run_import(lakehouse, archive, accept_unproven=True)

        assert disk.refusals == 0
        assert disk.free_bytes(data) >= reserve, room
        assert lakehouse.sessions.find_receipt(KEY) is not None or room < 150_000


# -- the view, and the download that follows ---------------------------------------------


def count_view(lakehouse: Lakehouse, view: str) -> int:
    refresh_catalog(lakehouse)
    with duckdb.connect(str(lakehouse.layout.catalog_file), read_only=True) as connection:
        return len(connection.table(view).fetchall())


def test_unproven_trades_have_their_own_view(lakehouse: Lakehouse, tmp_path: Path) -> None:
    write_session(tmp_path / "archive", Layout.DATES, cut_to_seconds(Layout.DATES))

    run_import(lakehouse, tmp_path / "archive")

    assert count_view(lakehouse, "imported_trades") == make_vendor_trades().height
    assert count_view(lakehouse, "trades") == 0


@pytest.fixture(params=list(Layout))
def exported(request: pytest.FixtureRequest, small_lake: SmallLake, tmp_path: Path) -> Path:
    """Return an archive of a finished lake, in one layout."""
    source = small_lake.copy(tmp_path / "source")
    export = export_dates if request.param is Layout.DATES else export_session_files
    export(source.layout, source.fs, tmp_path / "archive", EVERYTHING)
    for folder in (tmp_path / "archive").rglob("*=????-??-??"):
        (folder / "_SUCCESS").touch()
    source.ledger.close()
    return tmp_path / "archive"


@pytest.fixture
def planned(small_lake: SmallLake, market_server: EmulatorServer, tmp_path: Path) -> Lakehouse:
    """Return a lakehouse of its own with the small plan and nothing downloaded."""
    shutil.copytree(small_lake.folder, tmp_path / "planned")
    shutil.rmtree(tmp_path / "planned" / "data")
    values = {"watchlist": tmp_path / "planned" / "watchlist.csv"}
    lakehouse = make_lakehouse(tmp_path / "planned" / "data", market_server.url, **values)
    refresh_due_bars(lakehouse)
    publish_plan(lakehouse)
    return lakehouse


def damage(archive: Path, key: str) -> None:
    """Cut the instants of a session to seconds."""
    ticker, session_date = decode_key(key)
    for file in archive.rglob(f"*={session_date}/*.parquet"):
        if file.relative_to(archive).parts[0] == encode_ticker(ticker, is_portable=False):
            rows = pl.read_parquet(file, hive_partitioning=False)
            instants = pl.col("sip_timestamp").dt.truncate("1s")
            rows.with_columns(instants).write_parquet(file)


def drop(archive: Path, key: str) -> None:
    ticker, session_date = decode_key(key)
    for folder in (archive / encode_ticker(ticker, is_portable=False)).rglob(f"*={session_date}"):
        shutil.rmtree(folder)


def test_download_after_an_import_fetches_exactly_what_is_unproven_or_missing(
    planned: Lakehouse,
    exported: Path,
    small_lake: SmallLake,
    market_server: EmulatorServer,
    tmp_path: Path,
) -> None:
    """L10, L18, L24: each session is judged alone, and what is proven is not asked for again."""
    keys = planned_keys(planned)
    unproven, gone = "BCPC_2024-01-09", "CON_2024-01-30"
    damage(exported, unproven)
    drop(exported, gone)
    sessions = run_import(planned, exported)
    market_server.requests.clear()

    download_plan(planned)

    asked = {key for key in keys if sessions.get(key) is None or not sessions[key].is_stored}
    assert asked == {unproven, gone, EMPTY_KEY}
    assert count_trade_requests(market_server) == len(asked)
    assert set(planned.ledger.counts()) <= states.GREEN
    whole = small_lake.copy(tmp_path / "truth")
    assert hash_stored(planned) == hash_stored(whole)
    assert count_view(planned, "imported_trades") == 0


# -- strays and hostile archives ---------------------------------------------------------


def test_import_follows_no_link_out_of_the_archive(
    lakehouse: Lakehouse, archive: Path, tmp_path: Path
) -> None:
    """L18: what does not belong to the archive is listed, and never counted as a result."""
    outside = write_session(tmp_path / "outside", Layout.DATES, whole_files(Layout.DATES), "EVIL")
    (archive / "LINK").symlink_to(tmp_path / "outside" / "EVIL")
    (archive / "DATE").mkdir()
    (archive / "DATE" / f"date={SESSION}").symlink_to(outside)
    (archive / "FILE" / f"date={SESSION}").mkdir(parents=True)
    (archive / "FILE" / f"date={SESSION}" / "trades.parquet").symlink_to(outside / "trades.parquet")

    sessions = run_import(lakehouse, archive)
    strays = find_strays(lakehouse, archive)

    assert list(sessions) == [KEY]
    assert set(strays) == {
        "LINK",
        f"DATE/date={SESSION}",
        f"FILE/date={SESSION}/trades.parquet",
    }
    assert all("symbolic link" in message for message in strays.values())


def test_import_refuses_an_archive_that_overlaps_with_the_lake(lakehouse: Lakehouse) -> None:
    for folder in (lakehouse.layout.data_dir, lakehouse.layout.data_dir.parent):
        with pytest.raises(ConfigError, match="apart from the lake"):
            Import(lakehouse, folder)


def test_import_reads_an_archive_that_is_given_by_a_link(
    lakehouse: Lakehouse, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(archive)

    assert list(run_import(lakehouse, tmp_path / "link")) == [KEY]


def test_import_says_which_session_is_none(lakehouse: Lakehouse, tmp_path: Path) -> None:
    saturday = dt.date(2024, 1, 13)
    folder = tmp_path / "archive"
    write_session(folder, Layout.DATES, whole_files(Layout.DATES), session_date=saturday)
    write_session(folder, Layout.DATES, whole_files(Layout.DATES), session_date=dt.date(1999, 1, 4))

    sessions = run_import(lakehouse, folder)

    assert {session.verdict for session in sessions.values()} == {ArchiveVerdict.UNUSABLE}
    assert all(session.kinds >= {FindingKind.NO_SESSION} for session in sessions.values())
