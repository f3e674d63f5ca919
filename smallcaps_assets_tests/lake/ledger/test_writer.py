import datetime as dt
import inspect
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.ledger.database import open_database
from smallcaps_assets.lake.ledger.rows import receipt_row
from smallcaps_assets.lake.ledger.sql import schema as ledger_schema
from smallcaps_assets.lake.ledger.sql import statements as ledger_sql
from smallcaps_assets.lake.ledger.writer import Ledger, discard_damaged_ledger, discard_ledger
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets_tests.lake.ledger_factories import (
    NOON,
    forget_stored,
    list_missing,
    make_attempt,
    make_failure,
    make_plan,
    make_receipt,
)

A1, A2, A3, B1 = "AAA_2024-03-14", "AAA_2024-03-15", "AAA_2024-03-18", "BBB_2024-03-15"
C1 = "AAA_2023-12-29"


def act(ledger: Ledger, action: str, *keys: str) -> None:
    """Do one thing to some sessions; ``wait`` plans all but the first, which is not available."""
    match action:
        case "plan":
            ledger.record_plan(make_plan(*keys))
        case "wait":
            ledger.record_plan(make_plan(*keys[1:]), make_plan(*keys[:1]))
        case "complete" | "empty" | "empty_unverified":
            rows = 500 if action == "complete" else 0
            ledger.record_receipts([make_receipt(key, rows=rows, state=action) for key in keys])
        case "failed" | "quarantined":
            ledger.record_failures([make_failure(key, action) for key in keys])
        case _:
            forget_stored(ledger)


@pytest.mark.parametrize(
    ("steps", "missing", "stored", "counts"),
    [
        ([("plan", B1, A2, A1)], [A1, A2, B1], [], {"planned": 3}),
        (
            [("plan", A1, A2), ("complete", A1), ("failed", A2), ("plan", A1, A2)],
            [A2],
            [A1],
            {"complete": 1, "failed": 1},
        ),
        ([("plan", A1, A2), ("complete", A1), ("plan", B1)], [B1], [A1], {"planned": 1}),
        (
            [("plan", A1), ("complete", A1), ("plan", B1), ("plan", A1, B1)],
            [B1],
            [A1],
            {"planned": 1, "complete": 1},
        ),
        (
            [("plan", A1, A2), ("complete", A1, A2), ("plan", A1, A2, A3, B1)],
            [A3, B1],
            [A1, A2],
            {"planned": 2, "complete": 2},
        ),
        ([("wait", A2, A1)], [A1], [], {"planned": 1, "not_yet_available": 1}),
        ([("wait", A2, A1), ("plan", A1, A2)], [A1, A2], [], {"planned": 2}),
        ([("wait", A2, A1), ("plan", A1)], [A1], [], {"planned": 1}),
        (
            [("plan", A1, A2, A3), ("complete", A1), ("empty", A2), ("empty_unverified", A3)],
            [],
            [A1, A2, A3],
            {"complete": 1, "empty": 1, "empty_unverified": 1},
        ),
        (
            [("plan", A1, A2), ("empty", A1), ("failed", A2)],
            [A2],
            [A1],
            {"empty": 1, "failed": 1},
        ),
        ([("plan", A1), ("failed", A1), ("complete", A1)], [], [A1], {"complete": 1}),
        ([("complete", A1), ("failed", A1)], [], [A1], {}),
        ([("plan", A1), ("complete", A1), ("quarantined", A1)], [A1], [], {"quarantined": 1}),
    ],
    ids=[
        *("planned", "planned again", "dropped", "returning", "grown", "held back", "available"),
        *("no longer wanted", "green", "empty is not failed", "failure ended"),
        *("stored stays", "quarantined"),
    ],
)
def test_the_ledger_knows_what_is_missing_and_what_is_stored(
    ledger: Ledger,
    steps: list[tuple[str, ...]],
    missing: list[str],
    stored: list[str],
    counts: dict[str, int],
) -> None:
    """L9: empty is neither failed nor asked again.  L10: a larger plan adds its difference."""
    for action, *keys in steps:
        act(ledger, action, *keys)

    assert list_missing(ledger) == missing
    assert ledger.stored_sessions().select(key_expression()).to_series().to_list() == stored
    assert ledger.counts() == counts
    assert set(ledger.failed_sessions()["key"]) <= set(missing)


def test_record_plan_refuses_a_repeated_key(ledger: Ledger) -> None:
    ledger.record_plan(make_plan(A1))

    with pytest.raises(DataError, match="AAA 2024-03-15"):
        ledger.record_plan(make_plan(A2, A2, B1))

    assert list_missing(ledger) == [A1]


@pytest.mark.parametrize("state", ["complete", "empty", "lost"])
def test_record_failures_refuses_a_state_of_no_failure(ledger: Ledger, state: str) -> None:
    with pytest.raises(DataError, match=state):
        ledger.record_failures([make_failure(A1, state)])


def test_messages_are_kept_short(ledger: Ledger) -> None:
    ledger.record_plan(make_plan(A1))

    ledger.record_failures([make_failure(A1, message="x" * 5000)])
    ledger.record_attempt(make_attempt(kind="payload", message="x" * 5000))

    assert len(ledger.failed_sessions()["error_message"][0]) == 1000
    assert len(ledger.recent_errors()["message"][0]) == 1000


def test_record_attempt_sums_requests_of_success_and_failure(ledger: Ledger) -> None:
    ledger.record_attempt(make_attempt(requests=3))
    ledger.record_attempt(make_attempt(requests=9, kind="unavailable"))

    assert ledger.totals().requests == 12
    assert ledger.recent_errors()["kind"].to_list() == ["unavailable"]


def test_attempts_cannot_be_changed_or_removed(ledger: Ledger) -> None:
    ledger.record_attempt(make_attempt())

    with sqlite3.connect(ledger.path) as other:
        for statement in ("DELETE FROM attempts", "UPDATE attempts SET requests = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(statement)
    other.close()


def test_every_recording_is_counted_and_no_question_is(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        counts = [ledger.count_commits()]
        ledger.record_plan(make_plan(A1))
        ledger.record_receipts([make_receipt(A1)])
        ledger.record_failures([make_failure(A2)])
        counts.append(ledger.count_commits())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.counts()
        counts.append(ledger.count_commits())

    assert counts == [0, 3, 3]


def test_discard_ledger_makes_room_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all" * 100)
    path.with_name("ledger.sqlite-wal").write_bytes(b"log")

    discard_ledger(path, FileSystem())

    with Ledger(path) as ledger:
        ledger.record_receipts([make_receipt(A1)])
        assert ledger.totals().sessions == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ledger.sqlite", "ledger.sqlite.damaged"]


def test_discard_ledger_of_nothing_does_nothing(tmp_path: Path) -> None:
    discard_ledger(tmp_path / "ledger.sqlite", FileSystem())

    assert not discard_damaged_ledger(tmp_path / "ledger.sqlite", FileSystem())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first_damaged_byte", [0, 4096, 40 * 4096])
def test_discard_damaged_ledger_finds_damage_anywhere(
    tmp_path: Path, first_damaged_byte: int
) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.record_receipts([make_receipt(f"T{n}_2024-03-14") for n in range(500)])
    content = bytearray(path.read_bytes())
    content[first_damaged_byte : first_damaged_byte + 300] = b"\xff" * 300
    path.write_bytes(content)

    assert discard_damaged_ledger(path, FileSystem())
    with Ledger(path) as ledger:
        ledger.record_receipts([make_receipt(A1)])
        assert ledger.totals().sessions == 1


actions = st.lists(
    st.tuples(
        st.sampled_from(["wait", "complete", "empty", "failed", "quarantined", "reindex"]),
        st.sets(st.sampled_from([A1, A2, A3, B1, C1]), min_size=1),
    ),
    max_size=8,
)


@settings(max_examples=25)
@given(actions)
def test_tallies_equal_what_counting_finds(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, set[str]]]
) -> None:
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        for action, keys in actions:
            act(ledger, action, *sorted(keys))

        coverage = ledger.coverage().group_by("state").len()
        stored = ledger.stored_sessions()
        assert ledger.counts() == dict(coverage.iter_rows())
        assert ledger.totals().sessions == stored.height
        assert ledger.totals().bytes == stored["bytes"].sum()
        assert set(ledger.missing_keys()["state"]).isdisjoint(GREEN)
        assert read_tallies(ledger.path) == recount(ledger.path)


def read_tallies(path: Path) -> list[tuple[object, ...]]:
    """Return the tallies by year that are not 0, as the triggers keep them."""
    return query(path, "SELECT * FROM tallies_by_year WHERE sessions > 0 ORDER BY 1, 2, 3, 4")


def recount(path: Path) -> list[tuple[object, ...]]:
    return query(
        path,
        """
        SELECT ticker, CAST(strftime('%Y', session_date) AS INTEGER), state, is_planned, count(*),
            total(rows), total(bytes)
        FROM sessions GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        """,
    )


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(open_database(path, is_read_only=True)) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize("module", [ledger_sql, ledger_schema])
def test_statements_and_states_agree_on_what_is_green(module: ModuleType) -> None:
    listed = re.findall(r"IN \(('complete'[^)]*)\)", inspect.getsource(module))

    assert listed
    assert all({word.strip(" '") for word in words.split(",")} == GREEN for words in listed)


def count_steps(connection: sqlite3.Connection, statement: str, parameters: dict[str, Any]) -> int:
    """Return how many instructions SQLite's machine takes for one statement."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    connection.execute(statement, parameters).fetchall()
    connection.set_progress_handler(None, 1)
    return steps


def make_grown_ledger(path: Path, done: int) -> sqlite3.Connection:
    dates = [dt.date(2004, 1, 1) + dt.timedelta(days) for days in range(done)]
    keys = [f"AAA_{date}" for date in dates]
    with Ledger(path) as ledger:
        ledger.record_plan(make_plan(*keys, "ZZZ_2024-03-14"))
        ledger.record_receipts([make_receipt(key) for key in keys])
    return open_database(path, is_read_only=False)


@pytest.mark.parametrize("name", ["RECORD_RECEIPT", "MISSING", "COUNTS", "TOTALS", "RECORDS"])
def test_cost_of_a_session_does_not_grow_with_sessions_done(tmp_path: Path, name: str) -> None:
    """L26: the work of SQLite is the same after 20 sessions and after 2,000."""
    parameters = receipt_row(make_receipt("ZZZ_2024-03-14"), "now", attempts=1)
    parameters |= {"first": "0", "last": "9", "due_on": None, "repeats": 3}
    parameters |= {"keys": '[["ZZZ", "2024-03-14"]]'}

    costs = []
    for done in (20, 2000):
        connection = make_grown_ledger(tmp_path / f"{done}.sqlite", done)
        costs.append(count_steps(connection, getattr(ledger_sql, name), parameters))
        connection.close()

    assert costs[1] <= 1.1 * costs[0]


class Nothing(dict[str, None]):
    """A value of null for every parameter."""

    def __missing__(self, name: str) -> None:
        return None


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (ledger_sql.MISSING, "COVERING INDEX open_sessions"),
        (ledger_sql.select_tickers(ledger_sql.MISSING), "COVERING INDEX open_sessions (ticker=?"),
        (ledger_sql.select_tickers(ledger_sql.STORED), "PRIMARY KEY (ticker=?"),
        (ledger_sql.RECORDS, "PRIMARY KEY (ticker=? AND session_date=?)"),
        (ledger_sql.STATES, "PRIMARY KEY (ticker=? AND session_date=?)"),
        (ledger_sql.ACTIVITY, "attempts_by_time (recorded_at>?)"),
        (ledger_sql.ACTIVITY_COUNTERS, "counters_by_time (recorded_at>?)"),
        (ledger_sql.RECENT_ERRORS, "failed_attempts"),
        (ledger_sql.FAILED, "COVERING INDEX open_sessions"),
    ],
)
def test_statements_search_by_an_index(ledger: Ledger, statement: str, expected: str) -> None:
    """L26: nothing that runs during a download scans what is already done."""
    connection = open_database(ledger.path, is_read_only=True)

    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", Nothing()).fetchall()
    connection.close()

    assert expected in "\n".join(str(row[3]) for row in plan)


def test_record_plan_of_many_sessions_is_quick(ledger: Ledger) -> None:
    dates = pl.date_range(dt.date(2004, 1, 1), dt.date(2004, 12, 31), eager=True)
    tickers = pl.DataFrame({"ticker": [f"T{n}" for n in range(100)]})
    plan = tickers.join(pl.DataFrame({"session_date": dates}), how="cross")

    ledger.record_plan(plan)

    assert ledger.counts() == {"planned": plan.height}
    assert ledger.missing_keys().height == plan.height


def test_clock_default_is_the_present(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record_receipts([make_receipt(A1)])
        activity = ledger.activity(NOON)

    assert activity.last_commit_at is not None
    assert abs(dt.datetime.now(dt.UTC) - activity.last_commit_at) < dt.timedelta(minutes=5)
