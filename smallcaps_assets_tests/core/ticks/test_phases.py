"""Trading phases and late reports."""

import datetime as dt
from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.phases import (
    LATE_REPORT_NS,
    PHASES,
    count_phases,
    label_phases,
    label_trades,
)
from smallcaps_assets.errors import CoverageError
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.core.tape_factories import (
    OPENING_NS,
    make_tape,
    ny,
    read_flat_file,
)
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

ANSWERS = REPO_ROOT / "smallcaps_assets_tests" / "golden" / "trading_phases" / "prints.csv"
WEEK_NS = 7 * 24 * 3600 * 10**9


def label(*rows: Mapping[str, object]) -> pl.DataFrame:
    return label_trades(make_tape(*rows), load_calendar())


def test_label_trades_gives_the_labels_worked_out_by_hand() -> None:
    """L6, L7: every phase, both sides of DST, early closes, to the nanosecond."""
    answers = pl.read_csv(ANSWERS).with_columns(pl.col("session_date").str.to_date())
    instants = answers["utc"].str.to_datetime("%Y-%m-%d %H:%M:%S%.9f", time_unit="ns")

    labelled = label(*({"sip_timestamp": ns} for ns in instants.to_physical()))

    columns = ["session_date", "trading_phase"]
    assert_frame_equal(labelled.select(columns), answers.select(columns))


def test_label_trades_returns_the_table_of_trades_in_the_order_given() -> None:
    labelled = label({"sip_timestamp": OPENING_NS + 1}, {"sip_timestamp": OPENING_NS})

    assert labelled.schema == TRADES.schema
    assert labelled["sequence_number"].to_list() == [1, 2]
    assert_frame_equal(labelled, TRADES.conform(labelled))


@pytest.mark.parametrize(
    ("participant", "is_late"),
    [
        (OPENING_NS - LATE_REPORT_NS - 1, True),
        (ny("2024-03-15 00:39:28"), True),
        (OPENING_NS - LATE_REPORT_NS, False),
        (OPENING_NS + 60_000_000_000, False),
        (0, False),
        (None, False),
    ],
)
def test_label_trades_marks_reports_later_than_ten_seconds(
    participant: int | None, *, is_late: bool
) -> None:
    """L5: a nanosecond decides; 1970 and null say nothing."""
    row = {"sip_timestamp": OPENING_NS, "participant_timestamp": participant}

    assert label(row)["is_late_report"].to_list() == [is_late]


def test_label_trades_takes_the_phase_of_the_tape_not_of_the_venue() -> None:
    """A print executed overnight and reported at 04:00 is a late one of the pre-market."""
    row = {"participant_timestamp": ny("2024-03-15 00:39:28")}

    labelled = label(row | {"sip_timestamp": ny("2024-03-15 04:00:06")}).row(0, named=True)

    assert (labelled["trading_phase"], labelled["is_late_report"]) == ("pre_market", True)


@pytest.mark.parametrize("wall", ["2002-12-31 12:00:00", "2200-01-02 12:00:00"])
def test_label_trades_refuses_what_the_calendar_does_not_cover(wall: str) -> None:
    with pytest.raises(CoverageError):
        label({"sip_timestamp": ny(wall)})


def test_label_trades_of_nothing_is_the_empty_table() -> None:
    assert_frame_equal(label(), TRADES.empty())


@given(st.lists(st.integers(0, 3 * WEEK_NS), min_size=1, max_size=50))
def test_label_phases_cuts_each_day_into_runs_in_order(offsets: list[int]) -> None:
    """The cut is monotone: within a day no phase comes back, except `closed` at its end."""
    instants = np.sort(np.array(offsets) + ny("2024-03-01 00:00:00"))
    days = pl.Series(instants).cast(pl.Datetime("ns", "UTC"))
    local = days.dt.convert_time_zone("America/New_York").dt.date()

    phases = pl.DataFrame({"day": local, "phase": label_phases(instants, load_calendar())})

    for _, day in phases.group_by("day", maintain_order=True):
        runs = day["phase"].rle().struct.field("value").to_list()
        open_runs = [phase for phase in runs if phase != "closed"]
        assert open_runs == [phase for phase in PHASES if phase in open_runs]
        assert "closed" not in runs[1:-1]


def test_count_phases_counts_absent_phases_as_zero() -> None:
    trades = label({"sip_timestamp": OPENING_NS}, {"sip_timestamp": ny("2024-03-15 20:00:00")})

    assert count_phases(trades) == {"pre_market": 0, "regular": 1, "after_hours": 0, "closed": 1}


def test_real_prints_run_from_pre_market_to_after_hours() -> None:
    """L7: nothing of a real day is thrown away."""
    path = "vendor_samples/polygon_flatfile_rows/2020-10-08_AAPL_first240_last241.csv"

    labelled = label_trades(read_flat_file(path), load_calendar())

    assert labelled["session_date"].unique().to_list() == [dt.date(2020, 10, 8)]
    assert count_phases(labelled) == {
        "pre_market": 241,
        "regular": 0,
        "after_hours": 240,
        "closed": 0,
    }


def test_real_prints_of_2003_without_participant_times_are_not_late() -> None:
    path = "vendor_samples/polygon_flatfile_rows/2003-09-10_head_tail.csv"

    assert not label_trades(read_flat_file(path), load_calendar())["is_late_report"].any()
