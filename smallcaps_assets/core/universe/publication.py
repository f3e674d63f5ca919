"""Whether a plan of a universe may take the place of another without being looked at.

What belongs here: what a new plan reopens and drops.  What does not: making one (``units``) and
publishing it (``ingest.universe``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.figures import format_count, format_share
from smallcaps_assets.core.universe.progress import explain_reds, measure_units
from smallcaps_assets.core.universe.units import TICKER_MONTH, list_units
from smallcaps_assets.core.verdicts import Number, Verdict

MOST_REOPENED: Final = 0.05
"""Share of the green units that a plan may reopen."""
MOST_DROPPED: Final = 0.05
"""Share of the planned units, and of the planned ticker-months, that a plan may drop."""

_NO_STATES: Final = pl.Schema(
    {"ticker": pl.String(), "session_date": pl.Date(), "state": pl.String()}
)


def judge_universe_plan(new: pl.DataFrame, old: pl.DataFrame, proven: pl.DataFrame) -> Verdict:
    """Judge whether a plan may be published unseen: it must not undo much of the one in force.

    Args:
        new: ``schemas.UNIVERSE_PLAN`` that is to be published.
        old: That in force; of no rows: there is none.
        proven: What is proven, as ``progress`` has it.

    Returns:
        The verdict; the offenders are units that are green and would not be, with reasons.
    """
    before, after = measure_units(old, proven), measure_units(new, proven)
    green = before.filter(pl.col("missing") == 0)
    is_red = pl.col("missing") > 0
    reopened = after.filter(is_red).join(green, on="unit", how="semi", maintain_order="left")
    dropped = before.join(after, on="unit", how="anti")
    lost = old.join(new, on=TICKER_MONTH, how="anti")
    opened = new.join(reopened, on=["batch", "month"], how="semi", maintain_order="left")
    numbers: dict[str, Number] = {
        "units": after.height,
        "ticker_months": new.height,
        "tickers": new["ticker"].n_unique(),
        "sessions": int(after["owed"].sum()),
        "new_units": after.join(before, on="unit", how="anti").height,
        "green_units": green.height,
        "reopened_units": reopened.height,
        "dropped_units": dropped.height,
        "dropped_ticker_months": lost.height,
    }
    complaints = [
        _complain("reopens", reopened.height, green.height, "green unit", MOST_REOPENED),
        _complain("drops", dropped.height, before.height, "planned unit", MOST_DROPPED),
        _complain("drops", lost.height, old.height, "planned ticker-month", MOST_DROPPED),
    ]
    told = "; ".join(filter(None, complaints))
    reasons = explain_reds(old, opened, proven, pl.DataFrame(schema=_NO_STATES))
    return Verdict(not told, told or _sum_up(numbers), numbers, reasons)


def diff_universe_plans(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Tell what a new plan adds to the units of another, and takes from them.

    Returns:
        ``unit``, ``before`` and ``after`` (sessions owed; null: it is not planned) of the units
        that differ, sorted by batch and month.
    """
    empty = pl.DataFrame(schema={"month": pl.String(), "ticker": pl.String(), "proven": pl.Int64()})
    sides = [measure_units(plan, empty) for plan in (old, new)]
    joined = sides[0].join(sides[1], on=["batch", "month"], how="full", coalesce=True)
    changed = joined.filter(pl.col("owed_hash").ne_missing(pl.col("owed_hash_right")))
    return changed.sort("batch", "month").select(
        pl.coalesce("unit", "unit_right").alias("unit"), before="owed", after="owed_right"
    )


def measure_planned(plan: pl.DataFrame) -> dict[str, int]:
    """Count the units, ticker-months, tickers and sessions of a plan."""
    units = list_units(plan)
    return {
        "units": units.height,
        "ticker_months": plan.height,
        "tickers": plan["ticker"].n_unique(),
        "sessions": int(units["sessions"].sum()),
    }


def _complain(verb: str, count: int, of: int, noun: str, most: float) -> str:
    """Say how much a plan undoes, where that is too much; empty: it is not."""
    if not of or count <= most * of:
        return ""
    return (
        f"it {verb} {format_count(count, noun)} of {of:,} ({format_share(count / of)}; "
        f"{format_share(most)} pass unseen)"
    )


def _sum_up(numbers: dict[str, Number]) -> str:
    units, months, tickers = (numbers[name] for name in ("units", "ticker_months", "tickers"))
    return f"{units:,} units with {months:,} months of {tickers:,} tickers"
