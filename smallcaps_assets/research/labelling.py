"""From decisions to labels, weights and win rates.

What belongs here: which prints are read for which decisions, and the rows that come of it.  What
does not: the walk over prices (``core.research.events.labels``), what a trade costs
(``core.research.events.costs``).
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.research.events.audits import judge_labels
from smallcaps_assets.core.research.events.weights import (
    MinuteClock,
    attribute_returns,
    average_over,
    count_concurrency,
    invert_concurrency,
)
from smallcaps_assets.core.research.events.win_rates import build_win_rates
from smallcaps_assets.core.verdicts import MadeTable, Number
from smallcaps_assets.research.ground import INPUT_HASH, KEY, Ground
from smallcaps_assets.research.labeller import MARKS, Labeller, Row, find_horizon
from smallcaps_assets.schemas import INSTANT
from smallcaps_assets.schemas_research import DECISIONS, LABELS, WIN_RATES

VERSION: Final = 1
"""Raised when the same inputs make other rows."""

_INSTANTS: Final = [name for name, kind in LABELS.schema.items() if kind == INSTANT]
_WEIGHTS: Final = ("concurrency", "uniqueness", "attribution")


def make_labels(ground: Ground) -> MadeTable:
    """Label every decision on both sides, weigh the labels, and measure which events pay.

    Raises:
        MissingPartitionError: No decisions were made yet.
    """
    decisions = ground.read(DECISIONS)
    input_hash = _hash(ground, decisions)
    if is_reused := ground.is_current(WIN_RATES, input_hash):
        labels, rates = ground.read(LABELS), ground.read(WIN_RATES)
    else:
        labels = label_decisions(ground, decisions)
        rates = build_win_rates(labels, ground.labels)
    verdict = judge_labels(labels, decisions)
    if verdict.passed and not is_reused:
        facts = {INPUT_HASH: input_hash}
        ground.store.write(LABELS, None, [labels], facts)
        ground.store.write(WIN_RATES, None, [rates], facts)
    counted = labels.filter("is_event_side").group_by("outcome").len().sort("outcome")
    numbers: dict[str, Number] = {
        "decisions": decisions.height,
        "labels": labels.height,
        "is_selection_point_in_time": int(decisions["is_selection_point_in_time"].all()),
        "is_reused": int(is_reused),
    }
    return MadeTable(labels.height, numbers, verdict, {"win_rates": rates, "outcomes": counted})


def label_decisions(ground: Ground, decisions: pl.DataFrame) -> pl.DataFrame:
    """Make ``schemas_research.LABELS`` of ``schemas_research.DECISIONS``."""
    rows: list[Row] = []
    marks = [pl.DataFrame(schema=MARKS)]
    for part, sessions in _cut_decisions(ground, decisions):
        labeller = Labeller(ground, part, sessions)
        rows += labeller.label()
        marks.append(labeller.marks)
    schema = {**LABELS.schema, **dict.fromkeys(_INSTANTS, pl.Int64())}
    labels = pl.DataFrame(rows, schema)
    places = pl.concat(marks).unique(["ticker", "place"], maintain_order=True)
    return weigh_labels(labels, places, MinuteClock.of(ground.calendar))


def _hash(ground: Ground, decisions: pl.DataFrame) -> str:
    tickers = decisions["ticker"].unique()
    sessions = ground.sessions.filter(pl.col("ticker").is_in(tickers.implode()))
    horizons = ground.record.windows
    return ground.hash_inputs(
        decisions, sessions, ground.splits, ground.labels, ground.costs, horizons, VERSION
    )


def _cut_decisions(
    ground: Ground, decisions: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Yield decisions of one ticker with the proven sessions that their labels may touch."""
    for (name,), ticker in decisions.sort(DECISIONS.key).group_by("ticker", maintain_order=True):
        held = ground.sessions.filter(pl.col("ticker") == name)
        taken: list[pl.DataFrame] = []
        touched = pl.DataFrame(schema=ground.sessions.schema)
        for decision in ticker.iter_slices(1):
            more = _list_touched(ground, held, decision)
            union = pl.concat([touched, more]).unique(KEY)
            if taken and int(union["rows"].sum()) > ground.batch_rows:
                yield pl.concat(taken), touched
                taken, union = [], more
            taken.append(decision)
            touched = union
        yield pl.concat(taken), touched


def _list_touched(ground: Ground, held: pl.DataFrame, decision: pl.DataFrame) -> pl.DataFrame:
    """List those of a ticker's proven sessions from a decision to its longest horizon."""
    first = decision["session_date"][0]
    index = ground.calendar.index_of(first)
    longest = max(find_horizon(ground, event) for event in decision["events"][0])
    last = min(index + longest, ground.calendar.frame.height - 1)
    dates = ground.calendar.frame["session_date"][index : last + 1]
    return held.filter(pl.col("session_date").is_in(dates.implode()))


def weigh_labels(labels: pl.DataFrame, marks: pl.DataFrame, clock: MinuteClock) -> pl.DataFrame:
    """Add how labels overlap within their ticker; those of the dataset count.

    Args:
        labels: ``schemas_research.LABELS`` without weights, instants as integers.
        marks: Last price of each minute: ``labeller.MARKS``.
        clock: The regular minutes.

    Returns:
        ``schemas_research.LABELS``, sorted by its key.
    """
    parts = [labels.filter(pl.col("exit_timestamp").is_null())]
    ended = labels.filter(pl.col("exit_timestamp").is_not_null())
    for (ticker,), part in ended.group_by("ticker", maintain_order=True):
        prices = marks.filter(pl.col("ticker") == ticker).sort("place")
        parts.append(_weigh_ticker(part, prices, clock))
    table = pl.concat(parts).with_columns(pl.col(_INSTANTS).cast(INSTANT))
    return LABELS.conform(table).sort(LABELS.key)


def _weigh_ticker(labels: pl.DataFrame, marks: pl.DataFrame, clock: MinuteClock) -> pl.DataFrame:
    """Weigh the labels of one ticker."""
    first, last = (clock.place(labels[f"{way}_timestamp"].to_numpy()) for way in ("entry", "exit"))
    origin = int(first.min())
    first, last = first - origin, last - origin
    length = int(last.max()) + 1
    is_counted = _select_counted(labels)
    concurrency = count_concurrency(first[is_counted], last[is_counted], length)
    places = marks["place"].to_numpy() - origin
    steps = np.diff(np.log(marks["price"].to_numpy()), prepend=np.nan)
    is_inside = (places > 0) & (places < length) & np.isfinite(steps)
    returns = np.zeros(length)
    returns[places[is_inside]] = steps[is_inside]
    weights = (
        average_over(concurrency.astype(np.float64), first, last),
        average_over(invert_concurrency(concurrency), first, last),
        attribute_returns(returns, concurrency, first, last),
    )
    return labels.with_columns(
        pl.Series(name, values) for name, values in zip(_WEIGHTS, weights, strict=True)
    )


def _select_counted(labels: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Select the labels that count: of each decision the longest one that ended, bought."""
    longest = pl.col("horizon") == pl.col("horizon").max()
    place = pl.int_range(pl.len())
    first = place.filter(longest & (pl.col("side") > 0)).first()
    is_first = (place == first).over("known_timestamp")
    counted: npt.NDArray[np.bool_] = labels.select(is_first).to_series().to_numpy()
    return counted
