"""What is proven of a universe: by unit, by ticker, by session, and why a unit is not green.

What belongs here: a plan against proven bits, as sums and lists.  What does not: where the bits
come from (``lake.ledger``), and what Dagster shows (``defs.instance``).

Everywhere ``proven`` is ``month``, ``ticker`` and ``proven`` bits: what the ledger says of months
of records that are there.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.keys import month_expression
from smallcaps_assets.core.segments.indexing import bit_of, explode_days
from smallcaps_assets.core.states import DISPUTED, EMPTY_DISPUTED
from smallcaps_assets.core.universe.units import TICKER_MONTH, unit_expression

PROVEN: Final = pl.Schema({"month": pl.String(), "ticker": pl.String(), "proven": pl.Int64()})
"""Columns of what is proven; of several rows of a month and ticker the union counts."""

SHOWN_TICKERS: Final = 5
"""Tickers that a reason names."""

_HASH_LENGTH: Final = 16
_BY_BARS: Final = (DISPUTED, EMPTY_DISPUTED)


def measure_units(plan: pl.DataFrame, proven: pl.DataFrame) -> pl.DataFrame:
    """Measure the units of a plan; one is green if nothing of it is missing.

    Args:
        plan: ``schemas.UNIVERSE_PLAN``, whole or some units of it.
        proven: :data:`PROVEN` and more.

    Returns:
        ``unit``, ``batch``, ``month``, ``tickers``, numbers of sessions ``owed``, ``proven`` and
        ``missing``, and ``owed_hash``: equal for units that owe the same; sorted by batch and
        month.
    """
    told = pl.concat_str("ticker", "owed", separator=" ").sort_by("ticker").str.join("\n")
    counted = _count(plan, proven).group_by("batch", "month")
    units = counted.agg(
        pl.len().alias("tickers"),
        pl.col("owed_sessions", "proven_sessions").sum(),
        told.alias("owed_hash"),
    )
    return units.sort("batch", "month").select(
        unit_expression(),
        "batch",
        "month",
        "tickers",
        owed="owed_sessions",
        proven="proven_sessions",
        missing=pl.col("owed_sessions") - pl.col("proven_sessions"),
        owed_hash=pl.col("owed_hash").map_elements(_hash, return_dtype=pl.String()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """How far a universe is, counted once.

    Attributes:
        units: ``batch``, ``month``, ``tickers``, sessions ``owed`` and ``proven``; sorted.
        years: ``ticker``, ``year``, sessions ``owed`` and ``proven``, ``expected_rows`` of what is
            missing; sorted.
        missing: Rows of the plan that lack something, with ``left``: sessions that are missing.
    """

    units: pl.DataFrame
    years: pl.DataFrame
    missing: pl.DataFrame


def measure_standing(plan: pl.DataFrame, proven: pl.DataFrame) -> Standing:
    """Measure units, tickers and years at once, in a third of the time of asking for each."""
    names = {name: pl.Enum(plan[name].unique().sort()) for name in TICKER_MONTH}
    left = pl.col("owed_sessions") - pl.col("proven_sessions")
    share = pl.col("expected_rows").fill_null(0) * left // pl.col("owed_sessions")
    counted = _count(plan.cast(names), proven).with_columns(left=left, expected_rows=share)  # type: ignore[arg-type]
    sums = {"owed": pl.col("owed_sessions").sum(), "proven": pl.col("proven_sessions").sum()}
    units = counted.group_by("batch", "month").agg(pl.len().alias("tickers"), **sums)
    of_year = pl.Series([int(month[:4]) for month in names["month"].categories], dtype=pl.Int32())
    numbers = counted["month"].to_physical().cast(pl.UInt32())
    by_year = counted.with_columns(year=of_year.gather(numbers)).group_by("ticker", "year")
    years = by_year.agg(pl.col("expected_rows").sum(), **sums)
    missing = counted.filter(pl.col("left") > 0).select(*plan.columns, "proven", "left")
    text = pl.col(pl.Enum).cast(pl.String())
    return Standing(
        units.with_columns(text).sort("batch", "month"),
        years.with_columns(text).sort("ticker", "year"),
        missing.with_columns(text),
    )


def measure_tickers(
    plan: pl.DataFrame, proven: pl.DataFrame, *, by_year: bool = False
) -> pl.DataFrame:
    """Measure what is proven of each ticker, or of each ticker and year.

    Returns:
        ``ticker``, ``year`` (Int32, where it is asked for), sessions ``owed`` and ``proven``, and
        ``status``: ``complete``, ``partial`` or ``none``; sorted.
    """
    keys = ["ticker", "year"] if by_year else ["ticker"]
    year = pl.col("month").str.head(4).cast(pl.Int32)
    counted = _count(plan, proven).with_columns(year=year).group_by(keys)
    sums = counted.agg(owed=pl.col("owed_sessions").sum(), proven=pl.col("proven_sessions").sum())
    return sums.with_columns(status=label_status()).sort(keys)


def label_status() -> pl.Expr:
    """Label ``complete``, ``partial`` or ``none``, by sessions ``owed`` and ``proven``."""
    return (
        pl.when(pl.col("proven") == pl.col("owed"))
        .then(pl.lit("complete"))
        .when(pl.col("proven") > 0)
        .then(pl.lit("partial"))
        .otherwise(pl.lit("none"))
    )


def find_missing(plan: pl.DataFrame, proven: pl.DataFrame) -> pl.DataFrame:
    """Find ``ticker`` and ``session_date`` of what rows of a plan owe and is not proven.

    Give it some units: of a whole universe this may be tens of millions of rows.
    """
    missing = select_missing(plan, proven)
    return explode_days(missing, "owed").select("ticker", "session_date")


def select_missing(plan: pl.DataFrame, proven: pl.DataFrame) -> pl.DataFrame:
    """Select the rows of a plan that lack something, and owe only that; order is kept.

    Of the expected trades the share of the missing sessions is left.
    """
    joined = _join(plan, proven)
    left = pl.col("owed") & ~pl.col("proven")
    count, whole = (bits.bitwise_count_ones().cast(pl.Int64) for bits in (left, pl.col("owed")))
    return (
        joined.with_columns(expected_rows=pl.col("expected_rows") * count // whole, owed=left)
        .filter(pl.col("owed") != 0)
        .select(plan.columns)
    )


def select_units(plan: pl.DataFrame, units: pl.DataFrame) -> pl.DataFrame:
    """Select the rows of a plan that lie in units (columns ``batch`` and ``month``)."""
    return plan.join(units, on=["batch", "month"], how="semi", maintain_order="left")


def explain_reds(
    before_plan: pl.DataFrame,
    after_plan: pl.DataFrame,
    proven: pl.DataFrame,
    red_states: pl.DataFrame,
) -> pl.DataFrame:
    """Explain of each unit that is not green why it is not.

    Args:
        before_plan: The plan by which units were green; of no rows where nobody knows it.
        after_plan: The plan now, or those units of it that are asked about.
        proven: :data:`PROVEN` and more.
        red_states: ``ticker``, ``session_date`` and ``state`` of sessions that are red.

    Returns:
        ``unit`` and ``reason``, such as ``plan grew: ABCD; quarantined: 3 sessions``, sorted by
        batch and month.
    """
    missing = select_missing(after_plan, proven)
    if before_plan.height:
        had = before_plan.select(*TICKER_MONTH, had="owed")
        missing = missing.join(had, on=TICKER_MONTH, how="left", validate="1:1")
    else:
        missing = missing.with_columns(had="owed")
    grown = pl.col("owed") & ~pl.col("had").fill_null(0)
    known = missing.with_columns(grown=grown, left=pl.col("owed") & ~grown)
    causes = pl.concat(
        [
            known.filter(pl.col("grown") != 0).select(
                "batch", "month", "ticker", cause=pl.lit("plan grew"), sessions=_ones("grown")
            ),
            _list_states(known, red_states),
        ]
    )
    texts = causes.group_by("batch", "month", "cause").agg(
        tickers=pl.col("ticker").unique().sort(), sessions=pl.col("sessions").sum()
    )
    return (
        texts.sort("batch", "month", "cause")
        .with_columns(text=pl.struct("cause", "tickers", "sessions").map_elements(_say, pl.String))
        .group_by("batch", "month", maintain_order=True)
        .agg(reason=pl.col("text").str.join("; "))
        .select(unit_expression(), "reason")
    )


def _list_states(known: pl.DataFrame, red_states: pl.DataFrame) -> pl.DataFrame:
    """List the causes of what was owed before: the state of its sessions, or none."""
    state = pl.col("state")
    cause = pl.when(state.is_in(_BY_BARS)).then(pl.lit("disputed by later bars")).otherwise(state)
    bits = red_states.group_by("ticker", month=month_expression(), cause=cause).agg(
        red=bit_of(pl.col("session_date").dt.day()).sum()
    )
    named = known.join(bits, on=TICKER_MONTH, how="inner").with_columns(
        red=pl.col("red") & pl.col("left")
    )
    told = named.group_by(TICKER_MONTH).agg(told=pl.col("red").sum())
    rest = known.join(told, on=TICKER_MONTH, how="left").with_columns(
        red=pl.col("left") & ~pl.col("told").fill_null(0), cause=pl.lit("not proven")
    )
    columns = ["batch", "month", "ticker", "cause", "red"]
    both = pl.concat([named.select(columns), rest.select(columns)])
    return both.filter(pl.col("red") != 0).select(
        "batch", "month", "ticker", "cause", sessions=_ones("red")
    )


def _say(cause: dict[str, object]) -> str:
    """Say a cause in words: tickers where the plan grew, else a number of sessions."""
    name, tickers, sessions = cause["cause"], cause["tickers"], cause["sessions"]
    if name == "plan grew" and isinstance(tickers, list):
        more = len(tickers) - SHOWN_TICKERS
        rest = f" and {more} more" if more > 0 else ""
        return f"{name}: {', '.join(tickers[:SHOWN_TICKERS])}{rest}"
    if name == "disputed by later bars":
        return f"{name}: {sessions}"
    return f"{name}: {sessions} session" + ("" if sessions == 1 else "s")


def _join(plan: pl.DataFrame, proven: pl.DataFrame) -> pl.DataFrame:
    """Give each row of a plan its proven bits, the union of those of its ticker and month.

    Rows are found by numbers: to join a million of them by two texts would take five times as long.
    """
    names = [pl.Enum(plan[name].unique().cast(pl.String()).sort()) for name in TICKER_MONTH]
    wide = len(names[1].categories)

    def number(frame: pl.DataFrame) -> pl.Series:
        places = (
            pl.col(name).cast(known, strict=False).to_physical().cast(pl.Int64())
            for name, known in zip(TICKER_MONTH, names, strict=True)
        )
        first, second = places
        return frame.select((first * wide + second).alias("place")).to_series()

    told = proven.select("proven", place=number(proven)).drop_nulls()
    bits = np.zeros(len(names[0].categories) * wide, np.int64)
    np.bitwise_or.at(bits, told["place"].to_numpy(), told["proven"].to_numpy())
    return plan.with_columns(proven=pl.Series(bits[number(plan).to_numpy()], dtype=pl.Int64()))


def _count(plan: pl.DataFrame, proven: pl.DataFrame) -> pl.DataFrame:
    """Count the sessions that each row owes, and those of them that are proven."""
    both = _join(plan, proven).with_columns(both=pl.col("owed") & pl.col("proven"))
    return both.with_columns(owed_sessions=_ones("owed"), proven_sessions=_ones("both"))


def _ones(bits: str) -> pl.Expr:
    return pl.col(bits).bitwise_count_ones().cast(pl.Int64)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
