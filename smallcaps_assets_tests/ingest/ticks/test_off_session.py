"""Prints on closed days: a weekend or holiday belongs to the session after it."""

import datetime as dt
import errno
import tempfile
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core import states
from smallcaps_assets.core.segments.entries import OFF_SESSION
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import StorageError
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    SESSIONS,
    Rows,
    download,
    find_lost_entries,
    hash_rows,
    hash_stored,
    make_keys,
    make_lakehouse,
    make_session,
    make_sessions,
    make_settings,
    serve,
    write_bars,
)
from smallcaps_assets_tests.lake.disks import FailingDisk

DATES: Final = SESSIONS[2:13]
"""2024-01-04, a Thursday, to 2024-01-19: two weekends, one of them with a holiday."""
FRIDAY: Final = dt.date(2024, 1, 12)
SATURDAY: Final = dt.date(2024, 1, 13)
SUNDAY: Final = dt.date(2024, 1, 14)
HOLIDAY: Final = dt.date(2024, 1, 15)
TUESDAY: Final = dt.date(2024, 1, 16)
CLOSED: Final = [dt.date(2024, 1, 6), dt.date(2024, 1, 7), SATURDAY, SUNDAY, HOLIDAY]


def hash_off_session(lakehouse: Lakehouse) -> dict[str, str]:
    """Return the content hash of the prints of every closed day that is stored."""
    receipts = lakehouse.sessions.iter_receipts(tree=Tree.OFF_SESSION)
    return {receipt.key: receipt.content_hash for receipt in receipts}


def lose_session(lakehouse: Lakehouse, date: dt.date) -> Lakehouse:
    """Return the same lake without a session and without a ledger, so that it is asked for."""
    lakehouse.sessions.quarantine("ABCD", date, evidence={})
    lakehouse.ledger.close()
    lakehouse.layout.ledger_file.unlink()
    return Lakehouse(lakehouse.settings)


def list_kept_days(lakehouse: Lakehouse) -> list[dt.date]:
    """Return the closed days of which prints are kept that do not count, sorted."""
    lost = find_lost_entries(lakehouse).filter(pl.col("kind") == OFF_SESSION)
    return sorted(lost["session_date"])


def expect(rows: dict[dt.date, Rows], dates: list[dt.date]) -> dict[str, str]:
    """Return the content hash of each of the dates that has rows, by key."""
    return {make_keys("ABCD", [day])[0]: hash_rows(rows[day]) for day in dates if rows.get(day)}


@st.composite
def downloads(draw: st.DrawFn) -> list[list[dt.date]]:
    """Draw downloads one after another: sessions of each, in any order, some again."""
    return draw(st.lists(st.lists(st.sampled_from(DATES), min_size=1), min_size=1, max_size=3))


@settings(max_examples=12)
@given(
    busy=st.dictionaries(st.sampled_from([*DATES, *CLOSED]), st.integers(1, 7)),
    asked=downloads(),
    most=st.integers(1, 12),
    limit=st.integers(2, 9),
    sick=st.none() | st.sampled_from(DATES),
)
def test_the_content_does_not_depend_on_how_the_work_is_cut(
    busy: dict[dt.date, int],
    asked: list[list[dt.date]],
    most: int,
    limit: int,
    sick: dt.date | None,
) -> None:
    """L36: whatever the order, the size of ranges and the number of downloads."""
    calendar = load_calendar()
    rows = {day: make_session(day, count) for day, count in busy.items()}
    trades = {"ABCD": [row for day in sorted(rows) for row in rows[day]]}
    faults = [] if sick is None else [Fault("500", date=sick)]
    with tempfile.TemporaryDirectory() as folder, EmulatorServer(StaticSource(trades), faults) as s:
        lakehouse = make_lakehouse(
            Path(folder), s.url, range_max_sessions=most, page_limit=limit, workers=2, retries=0
        )
        for dates in asked:
            download(lakehouse, sorted(make_keys("ABCD", set(dates))))
        s.faults = []
        wanted = sorted({date for dates in asked for date in dates})
        download(lakehouse, make_keys("ABCD", wanted))
        found, off = hash_stored(lakehouse), hash_off_session(lakehouse)
        lakehouse.ledger.close()

    closed = [day for date in wanted for day in calendar.closed_days_before(date)]
    nothing = hash_rows([])
    assert {key: value for key, value in found.items() if value != nothing} == expect(rows, wanted)
    assert off == expect(rows, closed)


def test_a_session_asked_again_brings_its_closed_days_anew(tmp_path: Path) -> None:
    """L36: other prints replace those of before, none remove them, and both are kept aside."""
    keys = make_keys("ABCD", [TUESDAY])
    source = StaticSource({"ABCD": make_sessions([SATURDAY, HOLIDAY, TUESDAY], 3)})
    with serve(source) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        first = download(lakehouse, keys)
        renewed = lose_session(lakehouse, TUESDAY)
        source.trades["ABCD"] = make_sessions([HOLIDAY], 5) + make_sessions([TUESDAY], 3)
        second = download(renewed, keys)

    counts = [(done.summary.rows, done.summary.off_session_rows) for done in (first, second)]
    assert counts == [(3, 6), (3, 5)]
    assert renewed.ledger.totals().rows == 3
    assert hash_off_session(renewed) == {
        make_keys("ABCD", [HOLIDAY])[0]: hash_rows(make_session(HOLIDAY, 5))
    }
    assert list_kept_days(renewed) == [SATURDAY, HOLIDAY]


def test_a_session_that_stays_open_keeps_what_is_stored_of_its_closed_days(tmp_path: Path) -> None:
    """L36: an answer that its bar disputes does not empty the weekend."""
    keys = make_keys("ABCD", [TUESDAY])
    source = StaticSource({"ABCD": make_sessions([SATURDAY, TUESDAY], 3)})
    with serve(source) as server:
        lakehouse = make_lakehouse(tmp_path, server.url)
        write_bars(lakehouse, {("ABCD", TUESDAY): 3})
        download(lakehouse, keys)
        stored = hash_off_session(lakehouse)
        renewed = lose_session(lakehouse, TUESDAY)
        source.trades.clear()
        done = download(renewed, keys)

    assert done.keys_in(states.EMPTY_DISPUTED) == keys
    assert hash_off_session(renewed) == stored


@pytest.mark.parametrize("step", range(12))
def test_no_kill_leaves_a_session_without_its_closed_days(tmp_path: Path, step: int) -> None:
    """L36: a green session is not asked for again, so its closed days are stored before it."""
    keys = make_keys("ABCD", [TUESDAY])
    with serve({"ABCD": make_sessions([SATURDAY, TUESDAY], 3)}) as server:
        make_lakehouse(tmp_path, server.url).ledger.close()
        disk = FailingDisk(number=errno.EIO, fail_at=step)
        broken = Lakehouse(make_settings(tmp_path, server.url), fs=disk)
        try:
            download(broken, keys)
        except StorageError:
            is_stored = bool(list(Lakehouse(broken.settings).sessions.iter_receipts()))
            whole = Lakehouse(broken.settings, fs=FileSystem())
            assert not is_stored or len(hash_off_session(whole)) == 1


def test_closed_days_beyond_the_entitlement_do_not_close_the_session(tmp_path: Path) -> None:
    """L36: a plan of the key that begins on a holiday; days that it does not have are left out."""
    tickers = [f"T{number}" for number in range(4)]
    rows = {ticker: make_sessions([SATURDAY, HOLIDAY, TUESDAY], 2) for ticker in tickers}
    keys = [key for ticker in tickers for key in make_keys(ticker, [FRIDAY, TUESDAY])]
    with serve(rows, Fault("timeframe", before=HOLIDAY)) as server:
        lakehouse = make_lakehouse(tmp_path, server.url, workers=1)
        done = download(lakehouse, keys)

    assert done.keys_in(states.COMPLETE) == [key for key in keys if key.endswith(str(TUESDAY))]
    assert done.keys_in(states.NOT_ENTITLED) == [key for key in keys if key.endswith(str(FRIDAY))]
    off = hash_off_session(lakehouse)
    assert sorted(off) == [key for ticker in tickers for key in make_keys(ticker, [HOLIDAY])]
    receipt = lakehouse.sessions.read_receipt("T3", TUESDAY)
    assert receipt.gte_ns == day_bounds_ns(HOLIDAY, HOLIDAY)[0]
    assert server.stats.requests <= 10
