import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.core.events.rules import detect_events
from smallcaps_assets.core.reference.daily_bars import parse_daily_bars
from smallcaps_assets_tests.core.bar_factories import (
    Bar,
    day,
    find_events,
    find_names,
    flat,
    green,
    make_bars,
    make_splits,
    read_shared_bars,
    red,
)
from smallcaps_assets_tests.lakehouse_factories import find_shared

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "events"
YEAR = flat(1.00, bars=252, high=2.00)
TWO_REDS = [*flat(1.00, bars=18), *red(1.00), *red(0.99)]


def test_detect_events_gives_the_events_worked_out_by_hand() -> None:
    """L21: ties, dojis, first-bar streaks, dates and ticker isolation."""
    bars = parse_daily_bars(pl.read_csv(GOLDEN / "bars.csv"))
    expected = pl.read_csv(GOLDEN / "events.csv", try_parse_dates=True)

    events = detect_events(bars.lazy()).collect()

    assert_frame_equal(events, expected)


def test_detect_events_counts_the_real_bars_as_expected() -> None:
    bars = parse_daily_bars(read_shared_bars())
    counts = json.loads(find_shared("expected_counts.json").read_text())

    events = detect_events(bars.lazy()).collect()

    assert dict(events["event"].value_counts().iter_rows()) == counts["rows_per_event"]


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        pytest.param([*flat(1, bars=20), *flat(1, volume=500)], True, id="tie"),
        pytest.param([*flat(1, bars=20), *flat(1, volume=499)], False, id="miss"),
        pytest.param([*flat(1, bars=19), *flat(1, volume=900)], False, id="19 bars before"),
        pytest.param(
            [*flat(1, volume=9e15), *flat(1, bars=20, volume=0.1), *flat(1, volume=0.5)],
            True,
            id="a giant that left the mean leaves no trace",
        ),
    ],
)
def test_e1_compares_with_the_mean_of_the_bars_before(bars: list[Bar], *, expected: bool) -> None:
    """L21: the event's own volume is not in the mean."""
    assert ("E1_VolExplosion" in find_names(make_bars(bars))) is expected


@pytest.mark.parametrize("volume", [0.0, 1e-300, 1e9])
@pytest.mark.parametrize("older", [0.0, 0.1, 0.3, 1e15])
def test_e1_needs_volume_before(volume: float, older: float) -> None:
    """L21: NaN compares as large in polars, so days of no volume fired."""
    bars = [*flat(1, bars=7, volume=older), *flat(1, bars=20, volume=0), *flat(1, volume=volume)]

    assert find_names(make_bars(bars)) == []


def test_e1_counts_usable_bars_only() -> None:
    bars = [*flat(1, bars=10), *flat(float("nan")), *flat(1, bars=9), *flat(1, volume=500)]

    assert find_names(make_bars(bars)) == []
    assert find_names(make_bars([*flat(1), *bars])) == ["E1_VolExplosion"]


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        pytest.param([*YEAR, *flat(1.01)], ["E5_BreakoutATH"], id="above all closes"),
        pytest.param([*YEAR, *flat(1.00)], [], id="equal is not above"),
        pytest.param([*YEAR[1:], *flat(1.01)], [], id="251 bars before"),
        pytest.param([*flat(1.02), *YEAR, *flat(1.01)], ["E5_BreakoutATH"], id="253 bars ago"),
        pytest.param([*flat(1.02), *YEAR[1:], *flat(1.01)], [], id="252 bars ago"),
    ],
)
def test_e5_needs_a_close_strictly_above_a_year(bars: list[Bar], expected: list[str]) -> None:
    assert find_names(make_bars(bars)) == expected


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        pytest.param([*TWO_REDS, *green(0.98, volume=300)], ["E11_VolumeBounce"], id="tie"),
        pytest.param([*TWO_REDS, *green(0.98, volume=299)], [], id="miss"),
        pytest.param([*TWO_REDS[1:], *green(0.98, volume=300)], [], id="19 bars before"),
        pytest.param([*flat(1.0), *TWO_REDS[:-1], *green(1.0, volume=300)], [], id="one red"),
        pytest.param([*TWO_REDS, *flat(0.98, volume=300)], [], id="doji"),
        pytest.param([*TWO_REDS, *green(0.98), *green(0.99, volume=400)], [], id="second green"),
        pytest.param(
            [*TWO_REDS, *red(0.98), *flat(0.97), *green(0.97, volume=500)],
            ["E1_VolExplosion", "E10_FirstGreenBounce", "E11_VolumeBounce"],
            id="in E order",
        ),
    ],
)
def test_e11_is_the_first_green_bar_with_volume(bars: list[Bar], expected: list[str]) -> None:
    assert find_names(make_bars(bars)) == expected


def test_a_split_on_record_is_no_gap() -> None:
    """L23: 1 for 10, and the volume falls to a tenth."""
    bars = make_bars([*flat(0.30, bars=21, volume=1000), *flat(3.00, volume=100)])

    assert "E2_GapUp" in find_names(bars)
    assert find_names(bars, make_splits(("AAAA", day(21), 10, 1))) == []


@pytest.mark.parametrize(("close", "expected"), [(3.00, []), (3.01, ["E5_BreakoutATH"])])
def test_e5_across_a_split_is_not_fooled_by_rounding(close: float, expected: list[str]) -> None:
    bars = make_bars([*flat(0.30, bars=252, volume=1000), *flat(close, volume=100)])

    assert find_names(bars, make_splits(("AAAA", day(252), 10, 1))) == expected


def test_volume_is_adjusted_for_a_split() -> None:
    splits = make_splits(("AAAA", day(20), 10, 1))
    history = flat(0.30, bars=20, volume=1000)

    assert find_names(make_bars([*history, *flat(3, volume=500)]), splits) == ["E1_VolExplosion"]
    assert find_names(make_bars([*history, *flat(3, volume=499)]), splits) == []


def test_a_split_between_bars_counts_from_the_next_bar_on() -> None:
    bars = make_bars([*flat(4.00), *flat(2.00)], dates=[day(0), day(4)])

    assert find_events(bars, make_splits(("AAAA", day(2), 1, 2))) == []
    assert find_names(bars, make_splits(("AAAB", day(2), 1, 2))) == ["E8_GapDownViolent"]
