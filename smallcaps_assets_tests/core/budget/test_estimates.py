import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.budget.calibration import Calibration
from smallcaps_assets.core.budget.costs import compare_estimates
from smallcaps_assets.core.budget.estimates import (
    Growth,
    Landed,
    estimate_calibrated,
    estimate_constants,
    estimate_measured,
    estimate_unmerged,
    label_costs,
)
from smallcaps_assets.core.figures import GB, TB, format_share
from smallcaps_assets.core.plan.ranges import plan_request_ranges
from smallcaps_assets.core.plan.windows import EventWindow
from smallcaps_assets.errors import ConfigError, CoverageError
from smallcaps_assets.schemas import REQUEST_RANGES
from smallcaps_assets_tests.core.plan_factories import (
    CALENDAR,
    GOLDEN,
    PROPERTY,
    SESSIONS,
    key_sets,
)

PUBLISHED = json.loads((GOLDEN / "published_estimates" / "published.json").read_text())
FULL, PILOT = PUBLISHED["full"], PUBLISHED["pilot"]

calibrations = st.builds(
    Calibration,
    bytes_per_trade=st.floats(0, 100),
    file_bytes=st.floats(0, 10_000),
    page_limit=st.integers(1, 50_000),
    requests_per_minute=st.floats(0, 6_000),
)
landed = st.builds(
    Landed,
    ticker_sessions=st.integers(1, 10_000),
    rows=st.integers(0, 10**9),
    bytes_stored=st.integers(0, 10**12),
    requests=st.integers(0, 10**6),
)


def make_ranges(*rows: tuple[int, int | None]) -> pl.DataFrame:
    """Make request ranges from their sessions and expected rows."""
    ranges = [
        (f"T{number}", SESSIONS[0], SESSIONS[count - 1], count, expected, count)
        for number, (count, expected) in enumerate(rows)
    ]
    return pl.DataFrame(ranges, schema=REQUEST_RANGES.schema, orient="row")


def test_estimate_constants_gives_the_published_full_market() -> None:
    estimate = estimate_constants(FULL["counts"])

    assert estimate.ticker_sessions == estimate.requests == FULL["ticker_days"]
    assert round(estimate.bytes_raw / TB) == FULL["raw_tb"]
    assert round(estimate.days) == FULL["days"]


def test_estimate_constants_gives_the_published_full_market_naively() -> None:
    """L16: what one window for all events would have cost."""
    estimate = estimate_constants({"E0": FULL["rows"]}, {"E0": EventWindow(3, 3)})

    assert estimate.ticker_sessions == FULL["naive_ticker_days"]
    assert round(estimate.bytes_raw / TB) == FULL["naive_raw_tb"]
    assert round(estimate.days) == FULL["naive_days"]


def test_compare_estimates_gives_the_published_saving() -> None:
    naive = estimate_constants({"E0": FULL["rows"]}, {"E0": EventWindow(3, 3)})
    comparison = compare_estimates(naive, estimate_constants(FULL["counts"]))

    assert round(comparison.saved_ratio * 100, 1) == FULL["saved_percent"]
    assert format_share(comparison.saved_ratio) == "26.1 %"
    assert "20,578,768 - 15,216,009 = 5,362,759 ticker-sessions, 26.1 % less" in (
        comparison.arithmetic
    )


def test_estimate_constants_gives_the_published_pilot() -> None:
    estimate = estimate_constants(PILOT["counts"])

    assert estimate.ticker_sessions == PILOT["ticker_days"]
    assert round(estimate.bytes_raw / GB, 1) == PILOT["raw_gb"]
    assert round(estimate.bytes_stored / GB, 1) == PILOT["stored_gb"]
    assert round(estimate.hours, 2) == PILOT["hours"]
    naive = estimate_constants({"E0": PILOT["rows"]}, {"E0": EventWindow(2, 2)})
    assert round(naive.bytes_stored / GB, 1) == PILOT["our_gb"]  # not the published 528 GB


def test_estimate_constants_shows_its_arithmetic() -> None:
    estimate = estimate_constants({"E1_VolExplosion": 1_200, "E6_MultipleGreenDays": 100})

    assert estimate.arithmetic == (
        "E1 1,200 x 5 + E6 100 x 3 = 6,300 ticker-sessions; x 50 MB = 307.6 GB raw; "
        "x 0.30 = 92.3 GB stored; one request each: 6,300 requests / 100 a minute / 60 = 1.05 hours"
    )


def test_estimate_constants_of_no_event_is_zero() -> None:
    estimate = estimate_constants({})

    assert (estimate.ticker_sessions, estimate.bytes_stored, estimate.hours) == (0, 0, 0)
    assert estimate.arithmetic.startswith("no events = 0 ticker-sessions")


@pytest.mark.parametrize("counts", [{"E99": 1}, {"E1_VolExplosion": -1}])
def test_estimate_constants_refuses_what_it_cannot_count(counts: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected counts of 0 or more"):
        estimate_constants(counts)


@pytest.mark.parametrize(
    ("rows", "requests"), [(0, 1), (1, 1), (50_000, 1), (50_001, 2), (120_000, 3)]
)
def test_label_costs_counts_the_pages_of_a_range(rows: int, requests: int) -> None:
    costs = label_costs(make_ranges((3, rows)), Calibration())

    assert costs["requests"].to_list() == [requests]


def test_estimate_calibrated_multiplies_trades_by_bytes_and_adds_files() -> None:
    ranges = make_ranges((2, 60_000), (3, 500), (1, None))
    calibration = Calibration(
        bytes_per_trade=20, file_bytes=1_000, block_bytes=100, trades_per_session=400
    )

    estimate = estimate_calibrated(ranges, calibration, other_requests=6)

    assert (estimate.ticker_sessions, estimate.requests) == (6, 2 + 1 + 1 + 6)
    assert estimate.bytes_raw == 60_900 * 220
    parts = [(60_000, 2), (500, 3), (400, 1)]
    assert estimate.bytes_stored == pytest.approx(
        sum(calibration.predict_bytes(rows, files) for rows, files in parts), abs=3
    )
    assert estimate.bytes_stored > 60_900 * 20 + 6 * 1_000
    assert estimate.bytes_overhead == 600
    assert estimate.rows == 60_900
    assert estimate.hours == pytest.approx((10 / 100 * 60 + calibration.start_s) / 3_600)


def test_estimate_calibrated_makes_no_file_where_no_trade_is_expected() -> None:
    """L49: an illiquid ticker has days without a trade, and those take no file."""
    ranges = make_ranges((4, 30)).with_columns(expected_files=pl.lit(1, pl.UInt32))

    estimate = estimate_calibrated(ranges, Calibration())

    assert estimate.bytes_stored == pytest.approx(Calibration().predict_bytes(30, 1), abs=1)


def test_estimate_calibrated_counts_the_requests_that_a_page_took() -> None:
    """L49: where the vendor has to be asked more often, a new estimate says so."""
    estimate = estimate_calibrated(make_ranges((2, 60_000)), Calibration(requests_per_page=1.5))

    assert estimate.requests == 3


def test_estimate_calibrated_shows_its_arithmetic() -> None:
    estimate = estimate_calibrated(make_ranges((2, 60_000), (1, None)), Calibration())

    around = (estimate.bytes_stored - 62_700 * 20) / 3
    assert estimate.arithmetic == (
        "62,700 trades expected in 3 ticker-sessions, 1 of them unknown and taken at 2,700 each; "
        "sum over 2 ranges of max(1, trades / 50,000 rounded up) = 3 requests, + 0 for reference "
        f"data; 62,700 x 220 bytes = 13.2 MB raw; 62,700 x 20 bytes + 3 files x {around:,.0f} "
        "bytes of footers and dictionaries = 1.2 MB stored; 3 x 16,384 bytes = 48.0 KB of indices; "
        "3 requests x 0.15 s + 62,700 trades x 4.5 us + 3 sessions x "
        "5 ms, x 1.19 since few requests of a run overlap = 0.9 seconds of work (believed before "
        "anything landed); "
        "3 requests / 100 a minute / 60 = 1.8 seconds; the longer counts; "
        "1 run x 0.3 s to begin and end"
    )


def test_estimate_calibrated_without_a_limit_takes_the_time_of_the_work() -> None:
    """L49: 0.8 seconds were estimated of a download that took forty."""
    calibration = Calibration(
        requests_per_minute=0, request_s=0.1, row_s=1e-5, session_s=0.01, learned_sessions=7
    )

    estimate = estimate_calibrated(make_ranges((1, 50_000 * 60)), calibration)

    assert estimate.hours * 3_600 == pytest.approx(0.3 + 6 + 30 + 0.01)
    assert "as 7 sessions that landed showed" in estimate.arithmetic
    assert "no limit of requests is set" in estimate.arithmetic


@PROPERTY
@given(key_sets, calibrations)
def test_estimate_calibrated_is_additive_and_never_negative(
    sessions: pl.DataFrame, calibration: Calibration
) -> None:
    ranges = plan_request_ranges(sessions, CALENDAR, 700, 5)
    halves = [ranges.filter(pl.col("ticker") == ticker) for ticker in "AB"]

    whole, *parts = (estimate_calibrated(rows, calibration) for rows in (ranges, *halves))

    for name in ("ticker_sessions", "requests", "bytes_raw", "bytes_stored", "bytes_overhead"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts) >= 0
    assert whole.hours <= sum(part.hours for part in parts) * (1 + 1e-9)


def test_estimate_unmerged_sizes_sessions_like_the_planned_ones() -> None:
    planned = estimate_calibrated(make_ranges((2, 60_000), (2, 500)), Calibration())

    naive = estimate_unmerged(12, planned, Calibration(), "3 rows x 4 sessions")

    assert (naive.method, naive.ticker_sessions, naive.requests) == ("calibrated", 12, 12)
    assert naive.bytes_stored == 3 * planned.bytes_stored
    assert naive.bytes_overhead == 3 * planned.bytes_overhead
    assert naive.hours == pytest.approx((12 / 100 * 60 + 0.3) / 3_600)
    assert naive.arithmetic.startswith("3 rows x 4 sessions = 12 ticker-sessions, 3 times those")


def test_estimate_unmerged_of_nothing_planned_is_nothing() -> None:
    planned = estimate_calibrated(make_ranges(), Calibration())

    assert estimate_unmerged(0, planned, Calibration(), "no rows").bytes_on_disk == 0
    with pytest.raises(ConfigError, match="0 sessions or more, got -1"):
        estimate_unmerged(-1, planned, Calibration(), "")


def test_estimate_measured_extends_what_landed() -> None:
    some = Landed(10, rows=1_000, bytes_stored=30_000, requests=20)

    estimate = estimate_measured(100, some, Calibration())

    assert (estimate.method, estimate.requests, estimate.bytes_stored) == ("measured", 200, 300_000)
    assert estimate.bytes_raw == 10_000 * 220
    assert estimate.hours == pytest.approx((200 / 100 * 60 + 0.3) / 3_600)
    assert "10 of 100 ticker-sessions landed with 1,000 trades" in estimate.arithmetic


def test_estimate_measured_takes_the_trades_that_are_expected_where_they_are_known() -> None:
    """The busiest sessions come first in a pilot, so sessions alone would overstate the rest."""
    some = Landed(10, rows=1_000, bytes_stored=30_000, requests=20)

    estimate = estimate_measured(100, some, Calibration(), growth=Growth(4.0, 4.5, 70))

    assert (estimate.rows, estimate.bytes_stored, estimate.requests) == (4_000, 135_000, 70)
    assert estimate.hours == pytest.approx((70 / 100 * 60 + 0.3) / 3_600)


def test_estimate_measured_refuses_to_extend_nothing() -> None:
    with pytest.raises(CoverageError, match="nothing landed yet"):
        estimate_measured(100, Landed(0, 0, 0, 0), Calibration())


@PROPERTY
@given(st.integers(0, 10**7), landed, calibrations)
def test_estimate_measured_is_never_negative_and_what_landed_is_its_own_estimate(
    sessions: int, some: Landed, calibration: Calibration
) -> None:
    estimate = estimate_measured(sessions, some, calibration)
    itself = estimate_measured(some.ticker_sessions, some, calibration)

    assert min(estimate.requests, estimate.bytes_raw, estimate.bytes_stored) >= 0
    assert estimate.hours >= 0
    assert (itself.requests, itself.bytes_stored) == (some.requests, some.bytes_stored)
