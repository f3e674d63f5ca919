"""How the units of a universe stand: what they owe, what of it is proven, what may be asked for.

What belongs here: reading the plan and the ledger together.  What does not: the arithmetic of bits
(``core.universe.progress``), fetching (``fetching``), and what Dagster shows (``defs.instance``).

The ledger is believed under records that are there: who asks has refreshed it.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.keys import month_expression
from smallcaps_assets.core.segments.indexing import bit_of
from smallcaps_assets.core.states import FAILED
from smallcaps_assets.core.universe.progress import (
    explain_reds,
    find_missing,
    measure_units,
    select_units,
)
from smallcaps_assets.core.universe.units import (
    TICKER_MONTH,
    decode_unit,
    list_units,
    unit_expression,
)
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.lakehouse import Lakehouse


@dataclass(frozen=True, slots=True)
class OpenUnits:
    """The units of a plan that lack something.

    Attributes:
        planned: Units of the plan.
        open: Units that lack a session.
        due: Those of them of which a session may be asked for today, in the order of the plan.
        known_failures: Those of the latter that lack nothing but sessions that failed before.
        sessions: Sessions that may be asked for today.
        resting: Sessions that lack and may not be.
    """

    planned: int
    open: frozenset[str]
    due: tuple[str, ...]
    known_failures: frozenset[str]
    sessions: int
    resting: int


def read_units(lakehouse: Lakehouse, units: Iterable[str]) -> pl.DataFrame:
    """Read the rows of some units of the published plan; those it does not have have none.

    Raises:
        MissingPartitionError: No universe is planned.
    """
    _, plan = lakehouse.tables.read_universe_plan()
    return choose_units(plan, units)


def read_planned_units(lakehouse: Lakehouse, units: Iterable[str]) -> list[str]:
    """Read which of some units the published plan has, in its order.

    Raises:
        MissingPartitionError: No universe is planned.
    """
    planned: list[str] = list_units(read_units(lakehouse, units))["unit"].to_list()
    return planned


def choose_units(plan: pl.DataFrame, units: Iterable[str]) -> pl.DataFrame:
    """Choose the rows of a plan that lie in some units, whatever else was taken for one."""
    wanted = []
    for unit in units:
        with suppress(ConfigError):
            wanted.append(decode_unit(unit))
    schema = {"batch": plan.schema["batch"], "month": pl.String()}
    return select_units(plan, pl.DataFrame(wanted, schema, orient="row"))


def read_proven(lakehouse: Lakehouse, plan: pl.DataFrame) -> pl.DataFrame:
    """Read ``month``, ``ticker`` and the bits of what is proven, of the rows of a plan at least."""
    first, last = plan["month"].min(), plan["month"].max()
    tickers = plan["ticker"].unique() if first == last else None
    return lakehouse.ledger.ticker_months(str(first or ""), str(last or ""), tickers)


def measure_plan(lakehouse: Lakehouse, plan: pl.DataFrame) -> pl.DataFrame:
    """Measure the units of some rows of a plan: a row each of ``core.universe.progress``."""
    return measure_units(plan, read_proven(lakehouse, plan))


def find_open_units(lakehouse: Lakehouse, *, is_forced: bool = False) -> OpenUnits:
    """Find what lacks, and what of that may be asked for today.

    Args:
        lakehouse: A lake whose ledger is fresh.
        is_forced: Sessions that failed again and again, or are disputed, may be asked for too.

    Raises:
        MissingPartitionError: No universe is planned.
    """
    _, plan = lakehouse.tables.read_universe_plan()
    proven = read_proven(lakehouse, plan)
    units = measure_units(plan, proven)
    resting = find_resting(lakehouse, is_forced=is_forced)
    failed = lakehouse.ledger.red_sessions().filter(pl.col("state") == FAILED).select(KEY)
    told = {"resting": resting, "failed": failed.join(resting, on=KEY, how="anti")}
    counted = units.filter(pl.col("missing") > 0).select("unit", "missing")
    for name, sessions in told.items():
        lacking = count_lacking(plan, proven, sessions).rename({"sessions": name})
        counted = counted.join(lacking, on="unit", how="left", maintain_order="left")
    counted = counted.fill_null(0).with_columns(due=pl.col("missing") - pl.col("resting"))
    due = counted.filter(pl.col("due") > 0)
    return OpenUnits(
        units.height,
        frozenset(counted["unit"]),
        tuple(due["unit"]),
        frozenset(due.filter(pl.col("due") == pl.col("failed"))["unit"]),
        int(due["due"].sum()),
        int(counted["resting"].sum()),
    )


def find_resting(lakehouse: Lakehouse, *, is_forced: bool = False) -> pl.DataFrame:
    """Find the sessions that are not to be asked for today; none where a person insists."""
    resting = lakehouse.ledger.resting_sessions(lakehouse.clock().date())
    return resting.clear() if is_forced else resting


def count_lacking(plan: pl.DataFrame, proven: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Count by ``unit`` those of some ``sessions`` (ticker and date) that it owes and lacks."""
    rows = choose_months(plan, sessions)
    lacking = find_missing(rows, proven).join(sessions, on=KEY, how="semi")
    return name_units(rows, lacking).group_by("unit").agg(sessions=pl.len().cast(pl.Int64))


def name_units(plan: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Add the ``unit`` to sessions (ticker and date) of a plan, in the order of the plan's units.

    A ticker has one batch, so a session belongs to one unit; what is not planned is left out.
    """
    named = plan.select("ticker", "month", unit=unit_expression())
    return (
        sessions.with_columns(month=month_expression())
        .join(named, on=["ticker", "month"])
        .drop("month")
    )


def find_units(lakehouse: Lakehouse, sessions: pl.DataFrame) -> list[str]:
    """Find the units of the published plan that may hold some sessions (ticker and date)."""
    _, plan = lakehouse.tables.read_universe_plan()
    return list_units(choose_months(plan, sessions))["unit"].to_list()


def choose_months(plan: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Choose the rows of a plan whose ticker and month any of some sessions has."""
    months = sessions.select("ticker", month=month_expression())
    return plan.join(months.unique(), on=TICKER_MONTH, how="semi", maintain_order="left")


def explain_open(
    lakehouse: Lakehouse, plan: pl.DataFrame, unchanged: Collection[str] = ()
) -> dict[str, str]:
    """Explain in words why units that were shown as finished are not, those that are not.

    Args:
        lakehouse: A lake whose ledger is fresh.
        plan: Rows of these units.
        unchanged: Units that are known to owe what they owed when they were finished.  What
            others lack and no record tells of was not owed then: their plan grew.
    """
    proven, red = read_proven(lakehouse, plan), lakehouse.ledger.red_sessions()
    known = [
        proven.select(*TICKER_MONTH, told=pl.col("proven") | pl.col("red")),
        red.select(
            month_expression().alias("month"),
            "ticker",
            told=bit_of(pl.col("session_date").dt.day()),
        ),
    ]
    told = pl.concat(known).group_by(TICKER_MONTH).agg(pl.col("told").bitwise_or())
    owed, is_same = pl.col("owed"), unit_expression().is_in(list(unchanged))
    before = (
        plan.join(told, on=TICKER_MONTH, how="left", maintain_order="left")
        .with_columns(
            owed=pl.when(is_same).then(owed).otherwise(owed & pl.col("told").fill_null(0))
        )
        .select(plan.columns)
    )
    reasons = explain_reds(before, plan, proven, red)
    return dict(reasons.select("unit", "reason").iter_rows())
