import datetime as dt

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.archive.findings import FindingKind
from smallcaps_assets.core.archive.times import UNITS, measure_resolution, parse_instants
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, ny

EXACT = [OPENING_NS + 123_456_789, OPENING_NS + 987_654_321]
UTC_TEXTS = ["2024-03-15T13:30:00.123456789Z", "2024-03-15 09:30:00.987654321-04:00"]


def parse(values: pl.Series | list[object], phase: str | None = None) -> object:
    """Return nanoseconds and kinds of findings."""
    instants = parse_instants(pl.Series("t", values), phase)
    kinds = {finding.kind for finding in instants.findings}
    return None if instants.values is None else instants.values.to_list(), kinds


@pytest.mark.parametrize("unit", UNITS)
def test_parse_instants_tells_the_unit_of_integers_by_their_size(unit: str) -> None:
    numbers = [value // UNITS[unit] for value in EXACT]
    kinds = set() if unit == "ns" else {FindingKind.TYPES_DIFFER}

    assert parse([*numbers]) == ([number * UNITS[unit] for number in numbers], kinds)


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        (pl.Series([str(value) for value in EXACT]), {FindingKind.TYPES_DIFFER}),
        (pl.Series(UTC_TEXTS), {FindingKind.TYPES_DIFFER}),
        (pl.Series(UTC_TEXTS, dtype=pl.Categorical), {FindingKind.TYPES_DIFFER}),
        (pl.Series(EXACT).cast(pl.Datetime("ns", "America/New_York")), set()),
        (pl.Series(EXACT, dtype=pl.UInt64), set()),
    ],
    ids=["numbers as text", "text", "categories", "another zone", "unsigned"],
)
def test_parse_instants_loses_no_nanosecond(column: pl.Series, kinds: set[FindingKind]) -> None:
    """L5: instants are exact, whatever they were written as."""
    assert parse(column) == (EXACT, kinds)


def test_parse_instants_calls_floats_rounded() -> None:
    """L5: nanoseconds that went through floats are off by up to 128."""
    rounded = float(EXACT[0])

    assert parse([rounded, float("nan")]) == ([int(rounded), None], {FindingKind.LOSSY_TYPES})


@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns")])
@pytest.mark.parametrize(
    ("wall", "kind"),
    [
        ("2024-03-15T19:30:00", FindingKind.NAIVE_TIMES),
        ("2024-03-15 15:30", FindingKind.LOCAL_TIMES),
    ],
)
def test_parse_instants_reads_naive_times_where_they_fit(
    wall: str, kind: FindingKind, dtype: pl.Datetime
) -> None:
    """L5: 19:30 is 15:30 in New York when it was UTC; 15:30 is regular only there."""
    instants = parse_instants(pl.Series("t", [dt.datetime.fromisoformat(wall)], dtype))

    assert instants.values is not None
    assert instants.values.to_list() == [ny("2024-03-15 15:30:00")]
    assert instants.findings[-1].kind is kind


def test_parse_instants_reads_naive_texts() -> None:
    texts = ["2024-03-15T19:30:00.000000001", "2024-03-15 19:31:00"]

    assert parse([*texts]) == (
        [ny("2024-03-15 15:30:00", 1), ny("2024-03-15 15:31:00")],
        {FindingKind.TYPES_DIFFER, FindingKind.NAIVE_TIMES},
    )


def test_parse_instants_takes_the_hours_of_the_file_for_naive_times() -> None:
    nine = ny("2024-03-15 09:00:00")
    early = pl.Series([nine]).cast(pl.Datetime("ns"))

    assert parse(early, "pre_market") == ([nine], {FindingKind.NAIVE_TIMES})


def test_parse_instants_takes_zero_and_null_for_unknown() -> None:
    assert parse([0, None, EXACT[0]]) == ([None, None, EXACT[0]], set())
    assert parse([None, None]) == ([None, None], set())
    assert parse(["", str(EXACT[0])]) == ([None, EXACT[0]], {FindingKind.TYPES_DIFFER})


@pytest.mark.parametrize(
    "values",
    [
        [12],
        [EXACT[0], EXACT[0] // 10**9],
        [-EXACT[0]],
        [2**62],
        [True],
        [dt.date(2024, 3, 15)],
        [[EXACT[0]]],
        ["half past nine"],
        ["2024-03-15T09:30:00", "soon"],
        [dt.datetime(1901, 1, 1, tzinfo=dt.UTC)],
    ],
    ids=repr,
)
def test_parse_instants_refuses_what_is_no_instant_of_a_trade(values: list[object]) -> None:
    assert parse(values) == (None, {FindingKind.LOSSY_TYPES})


@pytest.mark.parametrize(
    ("step", "kinds"),
    [
        (10**9, [FindingKind.CUT_TO_SECONDS]),
        (10**6, [FindingKind.COARSE_TIMESTAMPS]),
        (10**3, [FindingKind.COARSE_TIMESTAMPS]),
        (256, [FindingKind.COARSE_TIMESTAMPS]),
        (1, []),
    ],
)
def test_measure_resolution_sees_what_was_cut(step: int, kinds: list[FindingKind]) -> None:
    """L5: timestamps cut to seconds."""
    instants = OPENING_NS + np.arange(1, 200) * 7_919_333_331
    cut = instants // step * step

    assert [finding.kind for finding in measure_resolution(cut)] == kinds


def test_measure_resolution_forgives_chance() -> None:
    instants = OPENING_NS + np.arange(1, 200) * 7_919_333_331
    instants[:3] = OPENING_NS

    assert list(measure_resolution(instants)) == []
    assert list(measure_resolution(instants[:0])) == []


def test_measure_resolution_sees_a_part_that_was_cut() -> None:
    instants = OPENING_NS + np.arange(1, 200) * 7_919_333_331
    instants[:40] = instants[:40] // 10**9 * 10**9

    [finding] = measure_resolution(instants)

    assert finding.kind is FindingKind.CUT_TO_SECONDS
    assert "79.9% of the rows have a part of a second" in finding.message
