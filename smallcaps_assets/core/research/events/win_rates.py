"""Which events pay: win rates with intervals that know that labels of one session are alike.

What belongs here: the statistics over labels.  What does not: the labels (``labels``).

Every n is a number of decisions.  Wilson's interval takes them for independent and is there for
comparison with published tables; the other one draws whole entry sessions.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.events.rules import EVENT_NAMES, EVENT_ORDER
from smallcaps_assets.core.research.events.labels import (
    CUT,
    NO_ENTRY,
    NO_EXIT,
    NO_TARGET,
    PROFIT,
)
from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.schemas_research import WIN_RATES

ALL_DECISIONS: Final = "all_decisions"
FEWEST_SESSIONS: Final = 20
"""Entry sessions below which nothing is drawn."""
FEWEST_DECISIONS: Final = 30
"""Decisions that an event needs to be chosen by its win rate."""

_Z: Final = 1.959963984540054
_TESTS: Final = len(EVENT_NAMES)
_WITHOUT_RETURN: Final = (CUT, NO_ENTRY, NO_EXIT, NO_TARGET)

Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]


def build_win_rates(labels: pl.DataFrame, rules: LabelRules) -> pl.DataFrame:
    """Measure each event on its side, and all decisions together.

    Args:
        labels: ``schemas_research.LABELS``.
        rules: Draws and seed of the bootstrap.

    Returns:
        ``schemas_research.WIN_RATES``, in E order, all decisions last.
    """
    own = labels.filter("is_event_side").with_columns(pl.col("event").cast(EVENT_ORDER))
    rows = [
        {"event": str(event), "side": group["side"][0], **_measure(group, rules)}
        for (event,), group in own.sort("event", "known_timestamp", "ticker").group_by(
            "event", maintain_order=True
        )
    ]
    corrected = correct_holm([row["p_value"] for row in rows])
    rows = [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]
    every = labels.filter("is_dataset_row").sort("known_timestamp", "ticker")
    rows.append({"event": ALL_DECISIONS, "side": 1, **_measure(every, rules), "p_holm": None})
    return WIN_RATES.conform(pl.DataFrame(rows, schema=WIN_RATES.schema))


def select_events(win_rates: pl.DataFrame, count: int) -> list[str]:
    """Select the events with the highest lower end of the clustered interval, best first.

    Args:
        win_rates: ``schemas_research.WIN_RATES``.
        count: How many at most; those with too few decisions or sessions are left out.
    """
    order = [*map(str, EVENT_ORDER.categories)]
    able = win_rates.filter(
        (pl.col("event") != ALL_DECISIONS)
        & (pl.col("decisions") >= FEWEST_DECISIONS)
        & (pl.col("sessions") >= FEWEST_SESSIONS)
        & pl.col("clustered_low").is_not_null()
    )
    ranked = sorted(
        able.select("event", "clustered_low").iter_rows(),
        key=lambda row: (-row[1], order.index(row[0])),
    )
    return [event for event, _ in ranked[:count]]


def bound_wilson(wins: int, count: int) -> tuple[float, float]:
    """Bound a share of independent trials by Wilson's 95 % interval; ``count`` is above 0."""
    share, square = wins / count, _Z**2 / count
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return middle - half, middle + half


def correct_holm(p_values: Iterable[float | None], tests: int = _TESTS) -> list[float | None]:
    """Correct p values by Holm over a number of tests; unknown ones count as tests.

    Args:
        p_values: In any order; ``None``: unknown.
        tests: Tests that could have been made.
    """
    given = [*p_values]
    known = sorted((p, place) for place, p in enumerate(given) if p is not None)
    corrected: list[float | None] = [None] * len(given)
    reached = 0.0
    for rank, (p, place) in enumerate(known):
        reached = max(reached, min(1.0, (tests - rank) * p))
        corrected[place] = reached
    return corrected


def draw_clusters(groups: npt.NDArray[np.int64], values: Floats, rules: LabelRules) -> Floats:
    """Draw whole groups with replacement, and average each draw, a column for each value.

    Args:
        groups: Group of each row, from 0 on without gaps.
        values: Rows of values, a column each.
        rules: Draws and seed.
    """
    count = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, column, count) for column in values.T], axis=1)
    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    drawn = np.random.default_rng(rules.seed).integers(0, count, (rules.draws, count))
    means: Floats = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)[:, None]
    return means


def _measure(labels: pl.DataFrame, rules: LabelRules) -> Row:
    """Measure the figures of some labels, one a decision."""
    made = labels.drop_nulls("net_return")
    returns = made["net_return"].to_numpy()
    wins = returns > 0
    row = {
        "decisions": made.height,
        "sessions": made["entry_session"].n_unique(),
        "tickers": made["ticker"].n_unique(),
        **{name: labels.filter(pl.col("outcome") == name).height for name in _WITHOUT_RETURN},
        **dict.fromkeys(_RATES),
    }
    if not made.height:
        return row
    low, high = bound_wilson(int(wins.sum()), made.height)
    return row | {
        "profit_share": (made["outcome"] == PROFIT).mean(),
        "win_rate": float(wins.mean()),
        "wilson_low": low,
        "wilson_high": high,
        "mean_net_return": float(returns.mean()),
        "median_net_return": float(np.median(returns)),
        **_draw(made, wins, rules),
        **_leave_out(made, wins),
    }


_RATES: Final = (
    "profit_share",
    "win_rate",
    "wilson_low",
    "wilson_high",
    "clustered_low",
    "clustered_high",
    "lowest_without_a_ticker",
    "highest_without_a_ticker",
    "mean_net_return",
    "median_net_return",
    "p_value",
)


def _draw(made: pl.DataFrame, wins: npt.NDArray[np.bool_], rules: LabelRules) -> Row:
    """Find interval and p value by drawing whole entry sessions."""
    if made["entry_session"].n_unique() < FEWEST_SESSIONS:
        return {}
    groups = made["entry_session"].rank("dense").cast(pl.Int64).to_numpy() - 1
    returns = made["net_return"].to_numpy()
    means = draw_clusters(groups, np.stack([wins.astype(np.float64), returns], axis=1), rules)
    low, high = np.quantile(means[:, 0], [0.025, 0.975])
    not_above = int((means[:, 1] <= 0).sum())
    return {
        "clustered_low": float(low),
        "clustered_high": float(high),
        "p_value": (not_above + 1) / (rules.draws + 1),
    }


def _leave_out(made: pl.DataFrame, wins: npt.NDArray[np.bool_]) -> Row:
    """Find the extremes of the win rate when one ticker is left out."""
    by_ticker = (
        made.with_columns(win=pl.Series(wins)).group_by("ticker").agg(pl.col("win").sum(), pl.len())
    )
    if by_ticker.height == 1:
        return {}
    left_wins = int(wins.sum()) - by_ticker["win"].to_numpy().astype(np.float64)
    rates = left_wins / (made.height - by_ticker["len"].to_numpy())
    return {
        "lowest_without_a_ticker": float(rates.min()),
        "highest_without_a_ticker": float(rates.max()),
    }
