"""What happened in all the time that a ledger knows: runs, attempts, requests by purpose.

What belongs here: questions of reports and audits.  What does not: what a download or a look at
its progress asks (``reader``), SQL (``sql``).
"""

import datetime as dt
from abc import ABC, abstractmethod
from typing import Any, Final

import polars as pl

from smallcaps_assets.core.budget.purposes import Spending
from smallcaps_assets.lake.ledger.checks import doubt
from smallcaps_assets.lake.ledger.rows import Row, format_instant, parse_instant
from smallcaps_assets.lake.ledger.sql import plain_statements as plain_sql
from smallcaps_assets.lake.ledger.sql import statements as ledger_sql

RUN_COLUMNS: Final = {
    **dict.fromkeys(("run_id", "first_at", "last_at"), pl.String()),
    **dict.fromkeys(("attempts", "requests", "answered_requests", "sessions", "rows"), pl.Int64()),
    "seconds": pl.Float64(),
}
"""Columns of :meth:`LedgerHistory.runs`, as SQLite gives them."""


@doubt
class LedgerHistory(ABC):
    """The part of a ledger that tells what happened."""

    @abstractmethod
    def _fetch(self, statement: str, parameters: Row | None = None) -> list[Any]:
        """Fetch the rows of a statement."""

    def _has(self, table: str) -> bool:
        """Say whether there is a table that a ledger of an earlier version may lack."""
        return bool(self._fetch(ledger_sql.HAS_TABLE, {"name": table})[0][0])

    def _fetch_from(self, table: str, statement: str, parameters: Row | None = None) -> list[Any]:
        """Fetch the rows of a statement about such a table; none where there is no table."""
        return self._fetch(statement, parameters) if self._has(table) else []

    def runs(self) -> pl.DataFrame:
        """List every run that asked for anything, a row a run, the oldest first.

        Returns:
            :data:`RUN_COLUMNS`; instants are those of its first and last answer, ``seconds`` how
            long it was at work by its own word, null where it left none.
        """
        frame = pl.DataFrame(self._fetch(ledger_sql.RUNS), RUN_COLUMNS, orient="row")
        instant = pl.col("first_at", "last_at").str.to_datetime(time_unit="us", time_zone="UTC")
        return frame.with_columns(instant)

    def spending(self, since: dt.datetime | None = None) -> dict[str, tuple[Spending, Spending]]:
        """Sum the requests of answered ranges by purpose, each in two halves of the ranges.

        Those of a ledger that did not keep purposes yet have an empty one.  ``since``: only those
        recorded after this instant, which has a time zone.
        """
        start = {"since": "" if since is None else format_instant(since)}
        found: dict[str, tuple[Spending, Spending]] = {}
        for purpose, half, requests, expected in self._fetch_from(
            "purposes", ledger_sql.PURPOSES, start
        ):
            halves = [*found.get(purpose, (Spending(), Spending()))]
            halves[half] = Spending(requests, expected)
            found[purpose] = (halves[0], halves[1])
        return found

    def plan_requests_by_year(self) -> pl.DataFrame:
        """List ``ticker, year, requests, estimated_requests`` of answered ranges of the plan.

        Ranges asked again, in pieces or after a repair are left out; one counts where it begins.
        """
        names = ("requests", "estimated_requests")
        schema = {"ticker": pl.String(), "year": pl.Int32(), **dict.fromkeys(names, pl.Int64())}
        rows = self._fetch_from("purposes", ledger_sql.PLAN_REQUESTS)
        return pl.DataFrame(rows, schema, orient="row")

    def count_untimed(self, since: dt.datetime | None = None) -> int:
        """Count the sessions committed after an instant by runs whose attempts are lost."""
        start = {"since": "" if since is None else format_instant(since)}
        found = self._fetch(ledger_sql.UNTIMED, start)
        found += self._fetch_from("plain_commits", plain_sql.UNTIMED, start)
        return sum(count for (count,) in found)

    def newest_commit(self) -> dt.datetime | None:
        """Tell when the newest session was committed; ``None``: nothing is stored."""
        found = self._fetch(ledger_sql.NEWEST_COMMIT)
        found += self._fetch_from("plain_commits", plain_sql.NEWEST)
        return parse_instant(max((text for (text,) in found if text), default=None))

    def count_committed_since(self, since: dt.datetime) -> int:
        """Count the stored sessions that were committed after an instant."""
        start = {"since": format_instant(since)}
        found = self._fetch(ledger_sql.COMMITTED_SINCE, start)
        found += self._fetch_from("plain_commits", plain_sql.COMMITTED_SINCE, start)
        return sum(count for (count,) in found)

    def attempts_by_hour(self) -> pl.DataFrame:
        """Count ``attempts`` by ``hour`` (UTC) and ``kind`` (empty: it succeeded), sorted."""
        rows = self._fetch(ledger_sql.ATTEMPTS_BY_HOUR)
        schema = {"hour": pl.String(), "kind": pl.String(), "attempts": pl.Int64()}
        frame = pl.DataFrame(rows, schema, orient="row")
        return frame.with_columns(pl.col("hour").str.to_datetime("%Y-%m-%dT%H:%M"))
