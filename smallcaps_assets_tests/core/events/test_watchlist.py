import datetime as dt
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.events.rules import EVENT_NAMES, IMPORTED_EVENT, detect_events
from smallcaps_assets.core.events.watchlist import (
    WatchlistImport,
    build_watchlist,
    judge_watchlist,
    measure_watchlist,
    parse_watchlist,
)
from smallcaps_assets.core.reference.daily_bars import parse_daily_bars
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import WATCHLIST
from smallcaps_assets_tests.core.bar_factories import read_shared_bars
from smallcaps_assets_tests.lakehouse_factories import find_shared

DATE = dt.date(2024, 1, 2)
names = st.sampled_from([IMPORTED_EVENT, *EVENT_NAMES])
events = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from([DATE, dt.date(2024, 1, 3)]), names),
    min_size=1,
)


def make_rows(*rows: tuple[object, ...], columns: str = "ticker date events") -> pl.DataFrame:
    """Make the rows of a watchlist as a file may hold them."""
    return pl.DataFrame(list(rows), schema=columns.split(), orient="row")


def make_watchlist(*rows: tuple[str, dt.date, list[str], int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=WATCHLIST.schema, orient="row")


def parse_names(events: object) -> list[str]:
    watchlist, _ = parse_watchlist(make_rows(("A", DATE, events)))
    return list(watchlist["events"][0])


def test_build_watchlist_gathers_events_in_e_order() -> None:
    rows = [("B", DATE, "E2_GapUp"), *(("A", DATE, name) for name in reversed(EVENT_NAMES))]
    listed = make_rows(*rows, *rows[:3], columns="ticker session_date event")

    watchlist = WATCHLIST.conform(build_watchlist(listed.lazy()).collect())

    assert watchlist.rows() == [("A", DATE, list(EVENT_NAMES), 11), ("B", DATE, ["E2_GapUp"], 1)]


def test_build_watchlist_of_the_real_bars_keeps_every_event() -> None:
    bars = parse_daily_bars(read_shared_bars())
    counts = json.loads(find_shared("expected_counts.json").read_text())["rows_per_event"]

    watchlist = build_watchlist(detect_events(bars.lazy())).collect()
    facts = measure_watchlist(watchlist, load_calendar())

    assert facts.rows_per_event == {IMPORTED_EVENT: 0} | counts
    assert judge_watchlist(facts) == ()
    assert watchlist["event_count"].sum() == sum(counts.values())


@pytest.mark.parametrize(
    "text",
    ["E2,E10", "E10|E2", "e2_gapup; E10_FirstGreenBounce", "['E2_GapUp', 'e10']", "E2,,E10,E2"],
)
def test_parse_watchlist_reads_names_as_files_write_them(text: str) -> None:
    assert parse_names(text) == ["E2_GapUp", "E10_FirstGreenBounce"]
    assert parse_names(text.strip("[]").replace("'", "").replace(";", ",").replace("|", ",")) == [
        "E2_GapUp",
        "E10_FirstGreenBounce",
    ]


@pytest.mark.parametrize("events", [["E10", " e2_gapup", "", None, "E2"], ["E2_GapUp", "E10"]])
def test_parse_watchlist_reads_lists_of_names(events: list[str | None]) -> None:
    assert parse_names(events) == ["E2_GapUp", "E10_FirstGreenBounce"]


@pytest.mark.parametrize("events", [None, "", " ", "[]", [], [""]], ids=repr)
def test_parse_watchlist_marks_rows_without_events(events: object) -> None:
    assert parse_names(events) == [IMPORTED_EVENT]


@pytest.mark.parametrize("events", ["E12", "E2,E3_Gap", ["E2", "GapUp"]], ids=repr)
def test_parse_watchlist_refuses_unknown_events(events: object) -> None:
    with pytest.raises(DataError, match=r"1 rows name unknown events.*E11_VolumeBounce"):
        parse_names(events)


@pytest.mark.parametrize("column", ["date", "trading_day", "session_date"])
@pytest.mark.parametrize("date", [DATE, "2024-01-02"])
def test_parse_watchlist_needs_no_more_than_a_date(column: str, date: object) -> None:
    watchlist, facts = parse_watchlist(make_rows(("A", date), columns=f"ticker {column}"))

    assert watchlist.rows() == [("A", DATE, [IMPORTED_EVENT], 1)]
    assert facts == WatchlistImport(1, 1, 0, 0, 0, 1, 0, ())


def test_parse_watchlist_merges_and_counts_repeats() -> None:
    rows = make_rows(
        ("A", DATE, "E2,E2,E1", 3),
        ("A", DATE, "E1,E6", None),
        ("B", DATE, "E1", 1),
        ("B", DATE, "E1", 2),
        columns="ticker date events event_count",
    )

    watchlist, facts = parse_watchlist(rows.with_columns(market_cap=1, note=pl.lit("x")))

    assert watchlist["event_count"].to_list() == [3, 1]
    assert (facts.rows_read, facts.rows_kept, facts.repeated_rows) == (4, 2, 2)
    assert facts.repeated_names == 3  # E2 inside a row, E1 across rows, E1 of the equal row
    assert facts.wrong_counts == 1
    assert facts.ignored_columns == ("market_cap", "note")


def test_parse_watchlist_takes_the_partitioned_export() -> None:
    rows = make_rows(
        ("A", True, DATE), ("B", False, DATE), ("B", True, DATE), columns="ticker info_rich date"
    )

    watchlist, facts = parse_watchlist(rows)

    assert watchlist["ticker"].to_list() == ["A", "B"]
    assert (facts.rows_not_wanted, facts.rows_without_events, facts.ignored_columns) == (1, 2, ())


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (make_rows(("A", DATE, "E2")).clear(), DataError, "got none of 0 rows"),
        (make_rows(("A", DATE, False), columns="ticker date info_rich"), DataError, "of 1 rows"),
        (make_rows(("A", DATE, 1), columns="ticker date info_rich"), SchemaError, "info_rich"),
        (
            make_rows(("A", DATE, None), ("A", DATE, True), columns="ticker date info_rich"),
            SchemaError,
            "1 nulls",
        ),
        (make_rows(("A", DATE, DATE), columns="ticker date trading_day"), SchemaError, "one of"),
        (make_rows(("A", "E2"), columns="ticker events"), SchemaError, "one of"),
        (make_rows((DATE, "E2"), columns="date events"), SchemaError, "columns ticker"),
        (make_rows(("A/B", DATE, "E2")), DataError, "A/B"),
        (make_rows(("A", "soon", "E2")), DataError, "soon"),
        (make_rows(("A", DATE, 5)), SchemaError, "events as a list of text or text, got Int64"),
        (make_rows(("A", DATE, "5"), columns="ticker date event_count"), SchemaError, "a number"),
    ],
)
def test_parse_watchlist_says_what_is_wrong(
    rows: pl.DataFrame, error: type[DataError], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse_watchlist(rows)


@given(events)
def test_parse_watchlist_keeps_what_build_watchlist_makes(
    listed: list[tuple[str, dt.date, str]],
) -> None:
    events = make_rows(*listed, columns="ticker session_date event")
    watchlist = WATCHLIST.conform(build_watchlist(events.lazy()).collect())

    parsed, facts = parse_watchlist(watchlist)

    assert_frame_equal(parsed, watchlist)
    assert facts == WatchlistImport(watchlist.height, watchlist.height, 0, 0, 0, 0, 0, ())


@given(events)
def test_parse_watchlist_accounts_for_every_row_and_name(
    listed: list[tuple[str, dt.date, str]],
) -> None:
    watchlist, facts = parse_watchlist(make_rows(*listed))

    assert facts.rows_read == facts.rows_kept + facts.repeated_rows == len(listed)
    assert watchlist["event_count"].sum() + facts.repeated_names == len(listed)
    assert watchlist.height == facts.rows_kept


def test_measure_watchlist_finds_every_problem() -> None:
    watchlist = make_watchlist(
        ("A", DATE, ["E1_VolExplosion", "E2_GapUp"], 2),
        ("A", DATE, ["E2_GapUp"], 1),
        ("B", DATE, ["E12_New"], 1),
        ("C", DATE, [], 0),
        ("D", DATE, ["E2_GapUp"], 2),
        ("E", dt.date(2024, 1, 1), [IMPORTED_EVENT], 1),
        ("F", dt.date(1999, 1, 4), [IMPORTED_EVENT], 1),
    )

    facts = measure_watchlist(watchlist, load_calendar())

    assert (facts.rows, facts.tickers, facts.rows_per_event["E2_GapUp"]) == (7, 6, 3)
    assert (facts.duplicate_keys, facts.unknown_events, facts.wrong_counts) == (1, 2, 1)
    assert facts.non_session == 2
    assert facts.offenders.select("ticker", "problem").rows() == [
        ("A", "duplicate key"),
        ("B", "unknown event"),
        ("C", "unknown event"),
        ("D", "wrong event_count"),
        ("E", "no session"),
        ("F", "no session"),
    ]
    assert len(judge_watchlist(facts)) == 3


def test_judge_watchlist_tolerates_rows_without_a_session() -> None:
    holiday = make_watchlist(("A", dt.date(2024, 1, 1), [IMPORTED_EVENT], 1))

    assert judge_watchlist(measure_watchlist(holiday, load_calendar())) == ()


def test_judge_watchlist_refuses_no_rows() -> None:
    facts = measure_watchlist(WATCHLIST.empty(), load_calendar())

    assert judge_watchlist(facts) == ("expected at least one row, got none",)
