"""When segments close in a download, and what happens to the pool and to an interrupt meanwhile."""

import datetime as dt
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.ingest.derived import refresh_ledger
from smallcaps_assets.ingest.ticks.download import SLICE, Download
from smallcaps_assets.ingest.ticks.fetching import RangeResult
from smallcaps_assets.ingest.ticks.hand import Hand
from smallcaps_assets.ingest.ticks.outcomes import DownloadSummary, Outcome
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.ingest.ticks.workload import Workload
from smallcaps_assets.lake.segments.writer import MOST_BYTES
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import (
    SESSIONS,
    find_asked,
    hash_stored,
    make_keys,
    make_lakehouse,
    make_sessions,
    make_settings,
    serve,
    write_bars,
)
from smallcaps_assets_tests.lake.lake_factories import make_facts, make_tape
from smallcaps_assets_tests.lakehouse_factories import NOW

FAR = 3_600.0
"""Seconds after which nothing of a test closes for its age."""
JANUARY = [date for date in SESSIONS if date.month == 1]
FEBRUARY = [date for date in SESSIONS if date.month == 2]
FRIDAY, MONDAY = dt.date(2024, 1, 5), dt.date(2024, 1, 8)


def begin(lakehouse: Lakehouse, keys: Sequence[str]) -> Generator[Outcome, None, None]:
    """Begin a download of which the test takes the outcomes one by one."""
    refresh_ledger(lakehouse, [])
    yield from Download(lakehouse, run_id="run-1").run(keys)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for another thread, a few seconds at most."""
    end = time.monotonic() + 20
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    assert is_so()


def list_months(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the months of outcomes, each once, in order."""
    return list(dict.fromkeys(f"{decode_key(outcome.key)[1]:%Y-%m}" for outcome in outcomes))


@pytest.mark.parametrize("workers", [1, 4])
def test_a_month_is_stored_when_its_work_is_done(tmp_path: Path, workers: int) -> None:
    """Sessions of January are told before the last range of February was asked for."""
    dates = [*JANUARY[-2:], *FEBRUARY]
    keys = make_keys("ABCD", dates)
    with serve({"ABCD": make_sessions(dates)}) as server:
        lakehouse = make_lakehouse(
            tmp_path, server.url, workers=workers, range_max_sessions=1, commit_interval_s=FAR
        )
        outcomes = begin(lakehouse, keys)
        first = [next(outcomes), next(outcomes)]
        asked = len(find_asked(server))
        rest = list(outcomes)

    assert list_months(first) == ["2024-01"]
    assert asked < len(dates)
    assert list_months([*first, *rest]) == ["2024-01", "2024-02"]
    segments = lakehouse.home.lake_dir / "segments"
    assert Counter(path.parent.name for path in segments.rglob("*.record.parquet")) == {
        "2024-01": 1,
        "2024-02": 1,
    }


def test_the_pool_is_fed_between_slices_of_outcomes(tmp_path: Path) -> None:
    """Whoever hears of outcomes takes time, in which the vendor is asked for more."""
    tickers = [f"T{number}" for number in range(6)]
    dates = [*JANUARY[:20], *FEBRUARY]
    keys = [key for ticker in tickers for key in make_keys(ticker, dates)]
    with serve({ticker: make_sessions(dates, 1) for ticker in tickers}) as server:
        lakehouse = make_lakehouse(
            tmp_path, server.url, workers=1, range_max_sessions=20, commit_interval_s=FAR
        )
        outcomes = begin(lakehouse, keys)
        told = [next(outcomes) for _ in range(SLICE)]
        before = server.stats.requests
        told.append(next(outcomes))
        wait_until(lambda: server.stats.requests > before)
        told += outcomes

    assert sorted(outcome.key for outcome in told) == sorted(keys)


@pytest.mark.parametrize("workers", [1, 3])
def test_who_stops_listening_loses_nothing_that_is_in_hand(tmp_path: Path, workers: int) -> None:
    """An interrupt mostly meets whoever hears of outcomes: what had come is stored all the same."""
    dates = [*JANUARY[-1:], *FEBRUARY]
    with serve({"ABCD": make_sessions(dates)}) as server:
        lakehouse = make_lakehouse(
            tmp_path, server.url, workers=workers, range_max_sessions=1, commit_interval_s=FAR
        )
        outcomes = begin(lakehouse, make_keys("ABCD", dates))
        told = next(outcomes)
        outcomes.close()

    stored = hash_stored(lakehouse)
    assert told.key in stored
    assert make_keys("ABCD", dates[-1:])[0] in stored  # It was asked for first.
    assert lakehouse.ledger.totals().sessions == len(stored)


def test_nothing_is_stored_once_the_lock_is_free(tmp_path: Path) -> None:
    """A download that is collected long after its run may not write into another one's lake."""
    dates = [*JANUARY[-1:], *FEBRUARY]
    with serve({"ABCD": make_sessions(dates)}) as server:
        lakehouse = make_lakehouse(
            tmp_path, server.url, workers=1, range_max_sessions=1, commit_interval_s=FAR
        )
        with lakehouse.writing("a download", 0):
            outcomes = begin(lakehouse, make_keys("ABCD", dates))
            told = next(outcomes)
        outcomes.close()

    assert hash_stored(lakehouse).keys() == {told.key}


class Alarm:
    """Interrupts, as Ctrl-C does, at one of the moments at which disk or clock are used."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise KeyboardInterrupt

    def tell_time(self) -> dt.datetime:
        """Ring, and tell the time."""
        self()
        return NOW


class HeardDisk(FileSystem):
    """A disk that rings before each operation that changes it, and after each rename."""

    def __init__(self, bell: Callable[[], None]) -> None:
        super().__init__(uses_syncfs=False)
        self._bell = bell

    def write_new(self, path: Path, content: bytes) -> None:
        self._bell()
        super().write_new(path, content)

    def rename(self, source: Path, target: Path) -> None:
        self._bell()
        super().rename(source, target)
        self._bell()

    def sync_group(self, paths: Iterable[Path]) -> None:
        self._bell()
        super().sync_group(paths)


class Brought:
    """A hand, and ranges as threads bring them."""

    def __init__(
        self,
        folder: Path,
        pool: ThreadPoolExecutor,
        most_bytes: int = MOST_BYTES,
        alarm: Alarm | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        bell = alarm or Alarm()
        settings = make_settings(folder, "http://127.0.0.1:9", commit_interval_s=FAR)
        self.lakehouse = Lakehouse(settings, fs=HeardDisk(bell), clock=bell.tell_time)
        write_bars(self.lakehouse, {})
        self.workload = Workload(self.lakehouse.calendar, 50_000)
        self.summary = DownloadSummary()
        parts = (self.lakehouse, pool, self.workload, self.summary)
        self.hand = Hand(*parts, most_bytes=most_bytes)

    def plan(self, ticker: str, first: dt.date, last: dt.date) -> RequestRange:
        span = RequestRange(ticker, first, last, None)
        self.workload.add([span])
        return span

    def prepare(self, ticker: str, date: dt.date, rows: int) -> PreparedSession:
        gte_ns, lt_ns = day_bounds_ns(date, date)
        tape = make_tape(rows, ticker=ticker, session_date=date)
        facts = make_facts(gte_ns=gte_ns, lt_ns=lt_ns)
        return self.lakehouse.sessions.prepare(ticker, date, tape, facts)

    def bring(self, span: RequestRange, rows: int = 5) -> None:
        dates = self.lakehouse.calendar.dates(span.first_session, span.last_session)
        sessions = [self.prepare(span.ticker, date, rows) for date in dates]
        self.workload.finish(RangeResult(span))
        self.hand.add(RangeResult(span, sessions=sessions))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def test_a_month_closes_with_its_last_range(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    brought = Brought(tmp_path, pool)
    first, second = (brought.plan(ticker, FRIDAY, FRIDAY) for ticker in ("A", "B"))
    brought.bring(first)
    brought.hand.close_due()
    assert brought.hand.threads == 0

    brought.bring(second)
    brought.hand.close_due()

    assert brought.hand.threads == 1
    assert [receipt.key for receipt in brought.hand.drain()] == [
        *make_keys("A", [FRIDAY]),
        *make_keys("B", [FRIDAY]),
    ]
    assert brought.hand.measure() == (0, 0, 0)


def test_a_chain_is_stored_month_by_month(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    brought = Brought(tmp_path, pool)
    chain = brought.plan("A", JANUARY[-1], FEBRUARY[0])
    later = brought.plan("B", FEBRUARY[0], FEBRUARY[0])
    brought.bring(chain)
    assert brought.hand.measure()[:2] == (2, 2)

    brought.hand.close_due()
    wait_until(lambda: all(future.done() for future in brought.hand.next))

    assert [receipt.session_date for receipt in brought.hand.commit()] == JANUARY[-1:]
    brought.bring(later)
    stored = brought.hand.drain()
    assert [receipt.ticker for receipt in stored] == ["A", "B"]
    assert brought.lakehouse.ledger.totals().sessions == 3


def test_months_are_stored_in_the_order_of_closing(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    """One that is encoded first waits for the older ones: what a kill leaves is the oldest."""
    brought = Brought(tmp_path, pool)
    january = brought.plan("A", JANUARY[0], JANUARY[0])
    february = brought.plan("A", FEBRUARY[0], FEBRUARY[0])
    with brought.lakehouse.client.processor, brought.lakehouse.client.processor:
        for span in (january, february):
            brought.bring(span)
            brought.hand.close_due()
        assert brought.hand.commit() == []

    assert [receipt.session_date for receipt in brought.hand.drain()] == [JANUARY[0], FEBRUARY[0]]


def test_what_threads_have_not_begun_is_encoded_by_the_caller(tmp_path: Path) -> None:
    """Threads that hang on the vendor do not keep an interrupt from storing what is in hand."""
    release = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(release.wait)
        brought = Brought(tmp_path, pool)
        brought.bring(brought.plan("A", JANUARY[0], JANUARY[0]))
        brought.hand.close_due()
        brought.bring(brought.plan("A", FEBRUARY[0], FEBRUARY[0]))

        brought.hand.take_back()
        stored = brought.hand.drain()
        release.set()

    assert [receipt.session_date for receipt in stored] == [JANUARY[0], FEBRUARY[0]]


def test_a_full_hand_takes_no_more_until_something_is_stored(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    """Rows count until they are stored, also while a thread encodes them."""
    brought = Brought(tmp_path, pool, most_bytes=5_000)
    span = brought.plan("A", FRIDAY, FRIDAY)
    assert not brought.hand.is_full

    with brought.lakehouse.client.processor, brought.lakehouse.client.processor:
        brought.bring(span, 100)
        assert brought.hand.is_full
        brought.hand.close_due()
        assert brought.hand.is_full

    assert [receipt.rows for receipt in brought.hand.drain()] == [100]
    assert not brought.hand.is_full


def test_an_interrupt_inside_a_commit_loses_nothing_and_is_told_of_all(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    """Between a record and the ledger too: what is stored is not left for the next run to find."""
    for moment in itertools.count():
        alarm = Alarm()
        brought = Brought(tmp_path / str(moment), pool, alarm=alarm)
        brought.bring(brought.plan("A", FRIDAY, MONDAY))
        brought.hand.close_due()
        wait_until(lambda: all(future.done() for future in brought.hand.next))  # noqa: B023
        alarm.left = moment
        try:
            told = brought.hand.commit()
        except KeyboardInterrupt:
            brought.hand.take_back()
            told = brought.hand.drain()

        assert [receipt.key for receipt in told] == make_keys("A", [FRIDAY, MONDAY]), moment
        assert brought.lakehouse.ledger.totals().sessions == len(told)
        assert hash_stored(brought.lakehouse).keys() == {receipt.key for receipt in told}
        if alarm.left is not None:  # it came after the commit
            break
        brought.lakehouse.ledger.close()

    assert moment > 5
