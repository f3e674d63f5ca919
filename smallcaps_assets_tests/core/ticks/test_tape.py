"""Order, cut, seams of the tape."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.core.ticks.tape import (
    SeamOverlap,
    find_seam_overlap,
    label_unsorted,
    locate_sessions,
    read_instants,
    sort_tape,
)
from smallcaps_assets.errors import DataError
from smallcaps_assets_tests.core.tape_factories import (
    OPENING_NS,
    make_tape,
    ny,
    read_flat_file,
)

KEPT = SeamOverlap(rows=0, is_ambiguous=True)
NOTHING = SeamOverlap(rows=0, is_ambiguous=False)
tape_rows = st.lists(
    st.builds(
        lambda step, number, price: {
            "sip_timestamp": OPENING_NS + step,
            "sequence_number": number,
            "price": price,
        },
        step=st.integers(0, 5),
        number=st.one_of(st.none(), st.integers(0, 5)),
        price=st.sampled_from([9.99, 10.0]),
    ),
    max_size=25,
)


def at(ns: int, **values: object) -> dict[str, object]:
    return {"sip_timestamp": OPENING_NS + ns, **values}


def cut_sessions(tape: pl.DataFrame, first: dt.date, last: dt.date) -> dict[dt.date, pl.DataFrame]:
    rows = locate_sessions(read_instants(tape, "sip_timestamp"), first, last)
    return {date: tape[place] for date, place in rows.items()}


def test_label_unsorted_sees_a_step_of_one_nanosecond() -> None:
    """L5: as floats both instants would be one."""
    tape = make_tape(at(0), at(1), at(0), at(0, sequence_number=2))

    assert label_unsorted(tape).tolist() == [False, True, True]


@given(tape_rows)
def test_sort_tape_is_a_stable_sort(rows: list[dict[str, object]]) -> None:
    """L4: rows that share a timestamp all survive, in tape order."""
    tape = make_tape(*rows)
    by_python = sorted(rows, key=lambda row: (row["sip_timestamp"], row["sequence_number"] or 0))

    ordered = sort_tape(tape)

    for name in ("sequence_number", "price"):
        assert ordered[name].to_list() == [row[name] for row in by_python]
    assert sort_tape(ordered) is ordered


def test_locate_sessions_cuts_at_new_york_midnight_on_both_sides_of_dst() -> None:
    """L6: the last hours of a winter evening belong to that day, though UTC has turned."""
    tape = make_tape(
        {"sip_timestamp": ny("2024-03-08 19:30:00")},
        {"sip_timestamp": ny("2024-03-08 23:59:59", 999_999_999)},
        {"sip_timestamp": ny("2024-03-11 00:00:00")},
        {"sip_timestamp": ny("2024-03-11 19:59:59")},
    )

    cuts = cut_sessions(tape, dt.date(2024, 3, 7), dt.date(2024, 3, 12))

    assert {date: cut["sequence_number"].to_list() for date, cut in cuts.items()} == {
        dt.date(2024, 3, 8): [1, 2],
        dt.date(2024, 3, 11): [3, 4],
    }


def test_locate_sessions_gives_dates_that_are_no_sessions_their_own_cut() -> None:
    tape = make_tape({"sip_timestamp": ny("2024-03-16 12:00:00")})

    assert list(cut_sessions(tape, dt.date(2024, 3, 15), dt.date(2024, 3, 18))) == [
        dt.date(2024, 3, 16)
    ]


def test_locate_sessions_of_nothing_is_nothing() -> None:
    assert cut_sessions(make_tape(), dt.date(2024, 3, 15), dt.date(2024, 3, 15)) == {}


@pytest.mark.parametrize("first", ["2024-03-16", "2024-03-14"])
def test_locate_sessions_refuses_rows_outside_instead_of_dropping_them(first: str) -> None:
    day = dt.date.fromisoformat(first)

    with pytest.raises(DataError, match="1 of 1 trades lie outside"):
        cut_sessions(make_tape(at(0)), day, day)


def test_locate_sessions_refuses_rows_out_of_order() -> None:
    with pytest.raises(DataError, match="sort_tape comes first"):
        cut_sessions(make_tape(at(1), at(0)), dt.date(2024, 3, 15), dt.date(2024, 3, 15))


def test_locate_sessions_refuses_reversed_dates() -> None:
    with pytest.raises(DataError, match="first <= last"):
        cut_sessions(make_tape(), dt.date(2024, 3, 15), dt.date(2024, 3, 14))


@given(st.lists(st.integers(0, 12 * 24 * 3600 - 1), max_size=30))
def test_locate_sessions_loses_no_row_and_keeps_each_in_its_day(seconds: list[int]) -> None:
    """The twelve days hold the change to summer time: 287 hours, so the last one may overflow."""
    start_ns, end_ns = day_bounds_ns(dt.date(2024, 3, 4), dt.date(2024, 3, 15))
    instants = sorted(min(start_ns + second * 10**9, end_ns - 1) for second in seconds)
    tape = make_tape(*({"sip_timestamp": instant} for instant in instants))

    cuts = cut_sessions(tape, dt.date(2024, 3, 4), dt.date(2024, 3, 15))

    assert_frame_equal(pl.concat([tape.clear(), *cuts.values()]), tape)
    for date, cut in cuts.items():
        lower, upper = day_bounds_ns(date, date)
        instants_ns = read_instants(cut, "sip_timestamp")
        assert lower <= instants_ns[0] <= instants_ns[-1] < upper


@pytest.mark.parametrize(
    "change",
    [
        {"price": 10.01},
        {"size": 1.0},
        {"id": "other"},
        {"exchange": None},
        {"correction": 12},
        {"conditions": [37]},
        {"participant_timestamp": OPENING_NS + 1},
        {"trf_timestamp": OPENING_NS},
        {"sequence_number": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_find_seam_overlap_needs_equality_in_every_field(change: dict[str, object]) -> None:
    """L4: a shared timestamp makes no repeat."""
    row = at(0, id="1", sequence_number=1, conditions=[12, 37])

    assert find_seam_overlap(make_tape(row), make_tape(row | change)) == NOTHING


A, B, C = (at(0, id=name, sequence_number=place) for place, name in enumerate("abc", start=1))
NEXT = at(1, id="next")


def identify(id_: str | None, number: int | None) -> dict[str, object]:
    return at(0, id=id_, sequence_number=number)


@pytest.mark.parametrize(
    ("earlier", "later", "overlap"),
    [
        pytest.param([], [A], NOTHING, id="first page"),
        pytest.param([A], [], NOTHING, id="last page"),
        pytest.param([A], [NEXT], NOTHING, id="no shared instant"),
        pytest.param([A, NEXT], [A, NEXT], NOTHING, id="starts before the boundary"),
        pytest.param([A, B], [A, C], NOTHING, id="false start"),
        pytest.param([A, B, C], [B, C, NEXT], SeamOverlap(2, is_ambiguous=False), id="longest"),
        pytest.param([A, A], [A, NEXT], KEPT, id="a page itself repeats it"),
        pytest.param(
            [identify(None, 5) | {"price": 11.0}, identify(None, 5)],
            [identify(None, 5)],
            KEPT,
            id="another trade shares the number",
        ),
        *(
            pytest.param(
                [identify(*known)], [identify(*known), NEXT], KEPT, id=f"no identity {known}"
            )
            for known in (
                (None, None),
                ("", 0),
                (None, 1_929_946_249_800_780),
                (None, OPENING_NS),
            )
        ),
        *(
            pytest.param(
                [identify(*known)],
                [identify(*known)],
                SeamOverlap(1, is_ambiguous=False),
                id=f"identity {known}",
            )
            for known in (("7", None), (None, 353_918))
        ),
    ],
)
def test_find_seam_overlap_drops_only_what_has_an_identity(
    earlier: list[dict[str, object]], later: list[dict[str, object]], overlap: SeamOverlap
) -> None:
    assert find_seam_overlap(make_tape(*earlier), make_tape(*later)) == overlap


@given(st.integers(1, 12), st.data())
def test_find_seam_overlap_undoes_any_repeat_at_any_seam(size: int, data: st.DataObject) -> None:
    """Rows in = rows kept + repeats, wherever the page ends and however much it repeats."""
    tape = make_tape(*(at(number // 4) for number in range(size)))
    end = data.draw(st.integers(1, size))
    shared = sum(number // 4 == (end - 1) // 4 for number in range(end))
    repeats = data.draw(st.integers(0, shared))
    following = tape[end - repeats :]

    overlap = find_seam_overlap(tape[:end], following)

    assert_frame_equal(pl.concat([tape[:end], following[overlap.rows :]]), tape)
    assert overlap == SeamOverlap(rows=repeats, is_ambiguous=False)


def test_find_seam_overlap_keeps_the_rows_of_2003() -> None:
    """L24: without ids nothing tells a repeat, so nothing is dropped, and the receipt says so."""
    page = read_flat_file("vendor_samples/polygon_flatfile_rows/2003-09-10_head_tail.csv")
    page = page.filter(pl.col("ticker") == "A")

    assert find_seam_overlap(page, page[-1:]) == KEPT


def test_a_real_day_is_a_sorted_tape_of_one_date() -> None:
    """L4, L7: rows of a millisecond, of every phase, all pass through sort and cut."""
    day = read_flat_file("us_stocks_sip/trades_v1/2013/10/2013-10-07.csv.gz")
    tape = day.filter(pl.col("ticker") == "AIG")

    cuts = cut_sessions(sort_tape(tape), dt.date(2013, 10, 5), dt.date(2013, 10, 9))

    assert list(cuts) == [dt.date(2013, 10, 7)]
    assert tape["sip_timestamp"].n_unique() < tape.height
    assert_frame_equal(cuts[dt.date(2013, 10, 7)], tape)
