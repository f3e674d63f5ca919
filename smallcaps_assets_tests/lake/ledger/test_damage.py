"""A ledger with flipped bits: it is told as damage, and a rebuild heals it."""

import datetime as dt
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.progress.pace import Step, Work
from smallcaps_assets.core.segments.indexing import INDEX_SCHEMA, count_entries
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.ledger.pulse import Pulse
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.writer import Ledger, discard_damaged_ledger
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets_tests.core.segments.segment_factories import frame_records, make_entry
from smallcaps_assets_tests.lake.ledger_factories import (
    NOON,
    forget_stored,
    make_attempt,
    make_failure,
    make_plan,
    make_receipt,
)

MEMORY: Final = Path("/dev/shm")  # noqa: S108  no disk is waited for
KEYS: Final = ("AAA_2024-03-15", "AAA_2024-03-18", "BBB_2024-03-15")
STORED: Final = KEYS[:2]
PARTS: Final = pl.DataFrame({"part": ["p1.parquet"], "bytes": [100], "rows": [2]})
PULSE: Final = Pulse(
    process="1/2",
    pid=1,
    host="here",
    run_id="run",
    started_at=NOON,
    run_started_at=NOON,
    beat_at=NOON,
)
Flips = Sequence[tuple[int, int]]
flips = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=4)


def make_ledger(path: Path) -> Path:
    """Make a ledger that has something in every table, and return its path."""
    with Ledger(path) as ledger:
        rebuild(ledger)
        ledger.record_attempt(make_attempt())
        ledger.record_attempt(make_attempt("BBB", kind="unavailable", message="503, try later"))
        ledger.record_failures([make_failure(KEYS[2])])
        ledger.record_counters("run", {"retry_rate_limited": 3})
        ledger.record_pulse(PULSE, Step(5.0, Work(1, 2, 500)))
        lose_proof(ledger)
    return path


def lose_proof(ledger: Ledger) -> None:
    """Fill the tables of a lake of segments: a record that is there, and one that was."""
    entries = frame_records({"s1": [make_entry()], "s2": [make_entry(ticker="LOST", revision=2)]})
    counted = count_entries(entries, PARTS)
    records = pl.DataFrame(
        [("2024-03", name, "c" * 64, 99, 1, 1, 1, [], ["s0"]) for name in ("s1", "s2")],
        INDEX_SCHEMA,
        orient="row",
    )
    with ledger.indexing(lists_all=False) as index:
        index.add(records, counted.clear(), counted)
        told = records.with_columns(is_lost=pl.col("record") == "s2")
        standing = counted.filter(pl.col("segment") == "s1")
        index.replace("2024-03", told, standing, rivals=standing)


def rebuild(ledger: Ledger) -> None:
    ledger.record_plan(make_plan(*KEYS))
    forget_stored(ledger)
    ledger.record_receipts([make_receipt(key) for key in STORED])


def ask_of_unlisted(ledger: LedgerReader) -> None:
    """Ask every question about sessions without a row."""
    ledger.proven_sessions()
    ledger.plain_sums()
    ledger.plain_sizes()
    ledger.find_unlisted(KEYS)
    for month in [*ledger.plain_months(), "2024-03"]:
        ledger.unlisted_sessions(month)


def ask_everything(ledger: LedgerReader) -> None:
    """Ask every question; what an answer is made of is looked at by those who asked."""
    ledger.missing_keys()
    ledger.stored_sessions()
    ask_of_unlisted(ledger)
    ledger.records(KEYS)
    ledger.states(KEYS)
    ledger.imports(KEYS)
    ledger.imports([])
    ledger.counts()
    ledger.count_commits()
    ledger.totals()
    ledger.activity(NOON - dt.timedelta(days=1000))
    ledger.pulse()
    ledger.recent_steps()
    ledger.recent_sessions()
    ledger.coverage()
    ledger.coverage_by_year()
    ledger.receipts()
    ledger.failed_sessions()
    ledger.recent_errors()
    ledger.runs()
    ledger.attempts_by_hour()
    ledger.newest_commit()
    ledger.month_records()
    ledger.ticker_months()
    ledger.find_proofs(KEYS)
    ledger.find_told(KEYS)
    ledger.two_answers()
    ledger.recall_sessions("2024-03")
    ledger.recall_proofs("2024-03", ledger.lost_proof())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")


@contextmanager
def damaged(content: bytes, places: Sequence[int], flipped: Flips) -> Iterator[Path]:
    """Yield a ledger with bits flipped at some of ``places``."""
    changed = bytearray(content)
    for number, bit in flipped:
        changed[places[number % len(places)]] ^= 1 << bit
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        path = Path(folder) / "ledger.sqlite"
        path.write_bytes(changed)
        yield path


def list_places(content: bytes, *words: bytes) -> list[int]:
    """Return where bytes that are not zero stand in the pages that have one of ``words``."""
    pages = range(0, len(content), 4096)
    chosen = [page for page in pages if any(word in content[page : page + 4096] for word in words)]
    return [at for page in chosen for at in range(page, page + 4096) if content[at]]


def check_damage(path: Path) -> None:
    """Check that damage is told with the remedy or not noticed, and that a rebuild heals it."""
    with suppress(LedgerMismatchError), LedgerReader(path) as reader:
        ask_everything(reader)
    with suppress(LedgerMismatchError), Ledger(path) as ledger:
        ledger.record_receipts([make_receipt(KEYS[0])])
        ledger.record_attempt(make_attempt())

    discard_damaged_ledger(path, FileSystem())
    with Ledger(path) as ledger:
        rebuild(ledger)
        ask_everything(ledger)
        ledger.check()
        assert set(ledger.receipts()["content_hash"]) == {"b" * 64}
        assert ledger.missing_keys()["key"].to_list() == [KEYS[2]]


@pytest.mark.parametrize("words", [(b"CREATE T", b"CREATE I"), (b"",)], ids=["schema", "anywhere"])
@settings(max_examples=60)
@given(flipped=flips)
@example(flipped=[(16, 0)])  # the version for writing, in the header
def test_flipped_bits_are_damage_and_heal(
    whole: Path, words: tuple[bytes, ...], flipped: Flips
) -> None:
    """L31: a bit in the schema made text that is no UTF-8, and every command a traceback."""
    content = whole.read_bytes()

    with damaged(content, list_places(content, *words), flipped) as path:
        check_damage(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET session_date = '2024-03=15' WHERE ticker = 'BBB'",
        "UPDATE sessions SET committed_at = '2024-03-18T12:00:00.000000+0' WHERE ticker = 'AAA'",
        "UPDATE sessions SET state = 'compleue' WHERE ticker = 'AAA'",
        "UPDATE sessions SET rows = x'ff' WHERE ticker = 'AAA'",
        "UPDATE facts SET value = CAST(x'ff' AS TEXT) WHERE name = 'pulse'",
        "UPDATE facts SET value = 7 WHERE name = 'requests'",
        "DELETE FROM facts WHERE name = 'requests'",
        "INSERT INTO facts VALUES ('refused_until', '2024-13-01 2024-03-01T12:00:00.000000+00:00')",
        "INSERT INTO facts VALUES ('refused_until', '2024-02-28')",
        "UPDATE counters SET value = 'many'",
        "UPDATE steps SET sessions = 0.5",
        "ALTER TABLE sessions RENAME COLUMN updated_at TO updaued_at",
        "DROP TRIGGER attempts_are_kept",
        "DROP INDEX counters_by_time",
        "CREATE TABLE imporus (ticker TEXT)",
        "UPDATE months SET parts = '['",
        "UPDATE ticker_months SET red = proven",
        "UPDATE lost_proof SET revision = 'two'",
        "UPDATE two_answers SET revision = 'two'",
    ],
)
def test_a_rebuild_finds_nonsense_that_sqlite_does_not(
    tmp_path: Path, whole: Path, statement: str
) -> None:
    """L31."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(whole.read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()

    assert discard_damaged_ledger(path, FileSystem())
    assert path.with_name("ledger.sqlite.damaged").exists()


def test_a_rebuild_keeps_a_ledger_that_is_whole(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(whole.read_bytes())

    assert not discard_damaged_ledger(path, FileSystem())
