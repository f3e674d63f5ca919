"""From decisions to what was seen then, and, apart from it, to what came later.

What belongs here: which bars are read, and the proof that features do not look ahead.  What does
not: the figures themselves (``core.research.events.features``, ``core.research.events.outcomes``).
"""

from collections.abc import Iterator
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import list_session_months
from smallcaps_assets.core.research.events.audits import judge_future, judge_outcomes
from smallcaps_assets.core.research.events.features import build_event_features, measure_history
from smallcaps_assets.core.research.events.outcomes import build_event_outcomes
from smallcaps_assets.core.verdicts import MadeTable, Verdict
from smallcaps_assets.research.ground import INPUT_HASH, KEY, Ground
from smallcaps_assets.schemas_research import (
    DECISIONS,
    EVENT_FEATURES,
    EVENT_OUTCOMES,
    HALTS,
    MINUTE_BARS,
)

VERSION: Final = 1
"""Raised when the same inputs make other rows."""
PROVEN_ROWS: Final = 25
"""Decisions of which each run proves that they know no future."""


def make_event_features(ground: Ground) -> MadeTable:
    """Measure what was known at each decision, and prove it of some.

    Raises:
        MissingPartitionError: No decisions, or no minute bars, were made yet.
    """
    decisions = ground.read(DECISIONS)
    input_hash = _hash(ground, decisions)
    if is_reused := ground.is_current(EVENT_FEATURES, input_hash):
        features = ground.read(EVENT_FEATURES)
    else:
        minutes, halts = _read_minutes(ground, decisions)
        history = measure_history(decisions, ground.bars, ground.splits, ground.calendar)
        features = build_event_features(decisions, minutes, halts, history)
    verdict = prove_no_future(
        ground,
        features,
        decisions.sample(min(PROVEN_ROWS, decisions.height), seed=ground.labels.seed),
    )
    if verdict.passed and not is_reused:
        ground.store.write(EVENT_FEATURES, None, [features], {INPUT_HASH: input_hash})
    nulls = pl.DataFrame(
        {"feature": features.columns, "nulls": [column.null_count() for column in features]}
    )
    return MadeTable(features.height, {"rows": features.height}, verdict, {"nulls": nulls})


def make_event_outcomes(ground: Ground) -> MadeTable:
    """Measure what came after each decision.

    Raises:
        MissingPartitionError: No decisions were made yet.
    """
    decisions = ground.read(DECISIONS)
    outcomes = build_event_outcomes(decisions, ground.bars, ground.splits, ground.calendar)
    verdict = judge_outcomes(outcomes, decisions)
    if verdict.passed:
        facts = {INPUT_HASH: _hash(ground, decisions)}
        ground.store.write(EVENT_OUTCOMES, None, [outcomes], facts)
    returns = pl.col("close_return", "high_return", "low_return")
    summary = outcomes.group_by("offset").agg(
        rows=pl.len(),
        known=pl.col("close_return").count(),
        **{
            f"median_{name}": pl.col(name).median()
            for name in ("close_return", "high_return", "low_return")
        },
    )
    return MadeTable(
        outcomes.height,
        {
            "rows": outcomes.height,
            "without_a_bar": int(outcomes.select(returns.is_null()).sum().row(0)[0]),
        },
        verdict,
        {"by_offset": summary.sort("offset")},
    )


def prove_no_future(ground: Ground, features: pl.DataFrame, decisions: pl.DataFrame) -> Verdict:
    """Make features of some decisions again from data up to each of them, and compare.

    Args:
        ground: The lake.
        features: ``schemas_research.EVENT_FEATURES`` of all decisions.
        decisions: The decisions to prove it of.
    """
    key = list(EVENT_FEATURES.key)
    again = [EVENT_FEATURES.empty(), *_make_cut(ground, decisions)]
    cut = pl.concat(again).sort(key)
    whole = features.join(cut.select(key), on=key, how="semi").sort(key)
    return judge_future(whole, cut)


def _make_cut(ground: Ground, decisions: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the features of each decision from what was final at its instant."""
    minutes, halts = _read_minutes(ground, decisions)
    for decision in decisions.iter_slices(1):
        known = decision["known_timestamp"]
        bars = ground.bars.filter(pl.col("session_date") < decision["session_date"])
        history = measure_history(decision, bars, ground.splits, ground.calendar)
        yield build_event_features(
            decision,
            minutes.filter(pl.col("known_timestamp") <= known),
            halts.filter(pl.col("end") <= known),
            history,
        )


def _read_minutes(ground: Ground, decisions: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Read the minute bars, then the halts, of the sessions of some decisions."""
    sessions = decisions.select(KEY).unique()
    held = ground.sessions.filter(pl.col("rows") > 0).join(sessions, on=KEY, how="semi")
    months = list_session_months(held)
    for table in (MINUTE_BARS, HALTS):
        rows = ground.store.scan(table, months)
        yield rows.join(sessions.lazy(), on=KEY, how="semi", maintain_order="left").collect()


def _hash(ground: Ground, decisions: pl.DataFrame) -> str:
    sessions = ground.sessions.join(decisions.select(KEY), on=KEY, how="semi")
    return ground.hash_inputs(decisions, sessions, ground.bars, ground.splits, VERSION)
