"""The event rules E1 to E11 over daily bars.

Every rule looks backwards only: an event of session t is known at the close of t, and bars or
splits of later sessions change nothing.  What belongs here: the rules and their thresholds.
What does not: what is fetched around an event (``core.plan.windows``) and lists of events
(``watchlist``).
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from smallcaps_assets.core.reference.daily_bars import select_usable_bars
from smallcaps_assets.core.reference.splits import label_split_factor

IMPORTED_EVENT: Final = "E0_Imported"
"""Event of an imported watchlist row that names none."""

EVENT_NAMES: Final = (
    "E1_VolExplosion",
    "E2_GapUp",
    "E3_PriceSpikeIntraday",
    "E4_Parabolic",
    "E5_BreakoutATH",
    "E6_MultipleGreenDays",
    "E7_FirstRedDay",
    "E8_GapDownViolent",
    "E9_CrashIntraday",
    "E10_FirstGreenBounce",
    "E11_VolumeBounce",
)
"""Every event the rules detect, in E order."""

EVENT_ORDER: Final = pl.Enum([IMPORTED_EVENT, *EVENT_NAMES])
"""Type whose sort order is E order; as text E10 would sort before E2."""

VOLUME_WINDOW: Final = 20
"""Bars before an event whose mean volume is its measure."""
BREAKOUT_WINDOW: Final = 252
"""Bars before a breakout that it must exceed; also the warm-up all rules together need."""
PARABOLIC_MAX_BARS: Final = 5
GREEN_STREAK: Final = 3
RED_STREAK: Final = 3
SHORT_RED_STREAK: Final = 2

EXPLOSION_MULTIPLE: Final = 5.0
BOUNCE_MULTIPLE: Final = 3.0
GAP_UP_RATIO: Final = 0.10
SPIKE_RATIO: Final = 0.20
PARABOLIC_RATIO: Final = 0.50
RUN_UP_RATIO: Final = 0.50
GAP_DOWN_RATIO: Final = -0.15
CRASH_RATIO: Final = -0.30

_TOLERANCE: Final = 1e-9
_ROUNDING: Final = 1e-13
_PRICES: Final = ("open", "high", "close")
_HISTORY: Final = ("ticker", "split_era")
"""Bars that may be compared: of one ticker, and with no split of unknown ratio between them."""


def detect_events(bars: pl.LazyFrame, splits: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """Detect every event of the rules in ``schemas.DAILY_BARS``, in any order, each key once.

    Bars that are not usable are dropped first, so "the bar before" is the usable one before.  No
    rule looks back across a split of unknown ratio: a ticker's history starts over there.  Without
    splits the rules run on the bars as they are.

    Returns:
        ``ticker``, ``session_date``, ``event``, sorted by them in E order.
    """
    history = _label_history(label_split_factor(select_usable_bars(bars), splits))
    streaks = _label_streaks(history)
    fired = _select_fired(history, _history_rules()) + _select_fired(streaks, _streak_rules())
    events = pl.concat(fired).sort("ticker", "session_date", "event")
    return events.with_columns(pl.col("event").cast(pl.String))


def _label_history(bars: pl.LazyFrame) -> pl.LazyFrame:
    """Add what the rules compare a bar with; null where the ticker has too few bars before.

    Columns ``adjusted_*`` count splits in; the others hold the bar as it was traded, which is
    all a rule within one bar needs.
    """
    adjusted = bars.with_columns(
        (pl.col(_PRICES) * pl.col("split_factor")).name.prefix("adjusted_"),
        adjusted_volume=pl.col("volume") / pl.col("split_factor"),
    )
    volumes_before = pl.col("adjusted_volume").shift(1)
    return adjusted.with_columns(
        close_before=pl.col("adjusted_close").shift(1).over(_HISTORY),
        mean_volume_before=volumes_before.rolling_mean(VOLUME_WINDOW).over(_HISTORY),
        max_volume_before=volumes_before.rolling_max(VOLUME_WINDOW).over(_HISTORY),
        max_close_before=pl.col("adjusted_close")
        .shift(1)
        .rolling_max(BREAKOUT_WINDOW)
        .over(_HISTORY),
        lowest_open_before=pl.col("adjusted_open")
        .shift(1)
        .rolling_min(PARABOLIC_MAX_BARS, min_samples=1)
        .over(_HISTORY),
    )


def _label_streaks(history: pl.LazyFrame) -> pl.LazyFrame:
    """Keep green and red bars and add their place in a streak and the streak before.

    Dojis are left out beforehand, so that they neither count nor break a streak.  Columns
    ``streak`` (1 at its first bar), ``peak`` and ``base`` (highest high so far and first open of
    the streak); ``*_before`` are those of the bar before, null at a ticker's first bar.
    """
    coloured = history.filter(pl.col("close") != pl.col("open")).with_columns(
        is_green=pl.col("close") > pl.col("open")
    )
    numbered = coloured.with_columns(run=pl.struct(*_HISTORY, "is_green").rle_id())
    measured = numbered.with_columns(
        streak=pl.int_range(1, pl.len() + 1).over("run"),
        peak=pl.col("adjusted_high").cum_max().over("run"),
        base=pl.col("adjusted_open").first().over("run"),
    )
    return measured.with_columns(
        pl.col("streak", "peak", "base").shift(1).over(_HISTORY).name.suffix("_before")
    )


def _history_rules() -> dict[str, pl.Expr]:
    """Make the rules that compare a bar with itself and the bars before it."""
    opened = pl.col("open")
    gap = _move(pl.col("adjusted_open"), pl.col("close_before"))
    # A price that only rounding lifts above an equal one across a split is no breakout.
    ceiling = pl.col("max_close_before") * (1 + _ROUNDING)
    return {
        "E1_VolExplosion": _has_volume(EXPLOSION_MULTIPLE),
        "E2_GapUp": gap >= _inclusive(GAP_UP_RATIO),
        "E3_PriceSpikeIntraday": _move(pl.col("high"), opened) >= _inclusive(SPIKE_RATIO),
        "E4_Parabolic": _move(pl.col("adjusted_close"), pl.col("lowest_open_before"))
        >= _inclusive(PARABOLIC_RATIO),
        "E5_BreakoutATH": pl.col("adjusted_close") > ceiling,
        "E8_GapDownViolent": gap <= _inclusive(GAP_DOWN_RATIO),
        "E9_CrashIntraday": _move(pl.col("low"), opened) <= _inclusive(CRASH_RATIO),
    }


def _streak_rules() -> dict[str, pl.Expr]:
    """Make the rules about streaks; they see green and red bars only."""
    is_green, starts = pl.col("is_green"), pl.col("streak") == 1
    length_before = pl.col("streak_before")
    run_up = _move(pl.col("peak_before"), pl.col("base_before"))
    return {
        "E6_MultipleGreenDays": is_green & (pl.col("streak") >= GREEN_STREAK),
        "E7_FirstRedDay": ~is_green
        & starts
        & (length_before >= GREEN_STREAK)
        & (run_up >= _inclusive(RUN_UP_RATIO)),
        "E10_FirstGreenBounce": is_green & starts & (length_before >= RED_STREAK),
        "E11_VolumeBounce": is_green
        & starts
        & (length_before >= SHORT_RED_STREAK)
        & _has_volume(BOUNCE_MULTIPLE),
    }


def _select_fired(labelled: pl.LazyFrame, rules: Mapping[str, pl.Expr]) -> list[pl.LazyFrame]:
    """Select the events of each rule into a frame of its own."""
    return [
        labelled.filter(rule).select(
            "ticker", "session_date", event=pl.lit(name, dtype=EVENT_ORDER)
        )
        for name, rule in rules.items()
    ]


def _has_volume(multiple: float) -> pl.Expr:
    """Tell whether the volume reaches ``multiple`` times the mean of the bars before.

    That the mean is above zero is read off the largest volume: a running mean over zeros may
    keep a rounding residue.
    """
    is_enough = pl.col("adjusted_volume") >= _inclusive(multiple) * pl.col("mean_volume_before")
    return (pl.col("max_volume_before") > 0) & is_enough


def _move(price: pl.Expr, reference: pl.Expr) -> pl.Expr:
    return (price - reference) / reference


def _inclusive(threshold: float) -> float:
    """Bring the threshold towards zero by the relative tolerance."""
    return threshold * (1 - _TOLERANCE)
