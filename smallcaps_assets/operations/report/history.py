"""What a lake went through: receipts, runs, requests and estimates, read once for a whole report.

Does not belong here: what it proves (``promises``, ``reality``, ``evidence``).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.budget.purposes import Spending
from smallcaps_assets.ingest.budget.estimate_history import EstimateEntry
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Totals

Spendings = Mapping[str, tuple[Spending, Spending]]
"""Requests of answered ranges by purpose, each in two halves of the ranges."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What a lake went through.

    Attributes:
        receipts: ``schemas.RECEIPTS``, of everything that event windows asked for.
        totals: What is stored, whatever asked for it.
        traded: Sessions of it with trades.
        runs: Runs that asked for anything, with the ``seconds`` of all that left any trace.
        spending: What was ever spent.
        untimed: Stored sessions of runs whose attempts are lost.
        requests_by_cell: Requests of the plan by ticker and year, with what was expected.
        estimates: Estimates that were made, the oldest first.
        spending_since: What was spent after the newest estimate.
        untimed_since: Untimed sessions that were committed after it.
    """

    receipts: pl.DataFrame
    totals: Totals
    traded: int
    runs: pl.DataFrame
    spending: Spendings
    untimed: int
    requests_by_cell: pl.DataFrame
    estimates: Sequence[EstimateEntry]
    spending_since: Spendings
    untimed_since: int


def gather_history(ledger: LedgerReader, estimates: Sequence[EstimateEntry] = ()) -> History:
    """Read all that a report holds against estimates."""
    since: dt.datetime | None = estimates[-1].made_at if estimates else None
    receipts = ledger.receipts()
    return History(
        receipts=receipts,
        totals=ledger.totals(),
        traded=int((receipts["rows"] > 0).sum()) + ledger.plain_sums().traded,
        runs=_time_runs(ledger.runs()),
        spending=ledger.spending(),
        untimed=ledger.count_untimed(),
        requests_by_cell=ledger.plan_requests_by_year(),
        estimates=estimates,
        spending_since=ledger.spending(since),
        untimed_since=ledger.count_untimed(since),
    )


def _time_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Add to runs the seconds of all that left any trace of them.

    A run that did not say how long it was at work took from its first to its last answer, and
    one answer more: nobody wrote down when the first was asked for.
    """
    span = (pl.col("last_at") - pl.col("first_at")).dt.total_microseconds() / 1e6
    grown = span * pl.col("attempts") / (pl.col("attempts") - 1)
    several = pl.when(pl.col("attempts") > 1).then(grown)
    return runs.with_columns(seconds=pl.coalesce("seconds", several))
