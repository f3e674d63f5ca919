"""Rows of a watchlist outside the universe: reported, kept or dropped, never silently.

What does not belong here: what "outside" means (``core.reference.membership``).
"""

from dataclasses import dataclass, field, replace

import polars as pl

from smallcaps_assets.core.reference.membership import OutsideFacts, label_outside, measure_outside
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.settings import OutsideUniverse

SHOWN_TICKERS = 20


@dataclass(frozen=True)
class Compared:
    """A watchlist after the universe had its say.

    Attributes:
        watchlist: What is left of it.
        numbers: How many rows lie outside, and what was done.
        tables: Tickers outside, where there are some.
        remark: One sentence for the check; empty where nothing has to be said.
    """

    watchlist: pl.DataFrame
    numbers: dict[str, Number] = field(default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    remark: str = ""

    def remark_on(self, verdict: Verdict) -> Verdict:
        """Add the remark to the summary of the verdict."""
        if not self.remark:
            return verdict
        return replace(verdict, summary=f"{verdict.summary}; {self.remark}")


def compare_with_universe(
    watchlist: pl.DataFrame,
    universe: pl.DataFrame | None,
    action: OutsideUniverse,
    *,
    is_cap_backward: bool,
) -> Compared:
    """Find the rows outside the published universe, and do with them what the action says.

    Without a universe nothing is compared.

    Raises:
        MissingPartitionError: Rows outside are to be dropped, and there is no universe.
    """
    if universe is None:
        if action is OutsideUniverse.DROP:
            raise MissingPartitionError(
                "SMALLCAPS_OUTSIDE_UNIVERSE=drop, and no universe is published: materialize "
                "universe, or set it to report or keep"
            )
        return Compared(watchlist)
    labelled = label_outside(watchlist, universe, is_cap_backward=is_cap_backward)
    facts = measure_outside(labelled)
    is_dropped = action is OutsideUniverse.DROP
    inside = labelled.filter(pl.col("outside").is_null()) if is_dropped else labelled
    return Compared(
        inside.drop("outside"),
        _count(facts, action, is_cap_backward=is_cap_backward),
        {"outside_universe": facts.shown.head(SHOWN_TICKERS)},
        _remark(facts, action),
    )


def _count(
    facts: OutsideFacts, action: OutsideUniverse, *, is_cap_backward: bool
) -> dict[str, Number]:
    reasons: dict[str, Number] = {
        f"outside_universe: {reason}": rows for reason, rows in facts.rows_by_reason.items() if rows
    }
    if is_cap_backward:
        reasons |= {"outside_universe_cap_backwards": "yes: look-ahead"}
    return {
        "outside_universe_action": action.value,
        "outside_universe_rows": facts.rows,
        "outside_universe_tickers": facts.tickers,
        **reasons,
    }


def _remark(facts: OutsideFacts, action: OutsideUniverse) -> str:
    if not facts.rows or action is OutsideUniverse.KEEP:
        return ""
    done = "dropped" if action is OutsideUniverse.DROP else "kept"
    first = ", ".join(facts.shown["ticker"].unique(maintain_order=True).head(3))
    return (
        f"{facts.rows} rows of {facts.tickers} tickers lie outside the universe and were {done} "
        f"(most of {first})"
    )
