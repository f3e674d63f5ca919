"""The months of a lake of segments in its ledger: which records are there, and what they prove.

What belongs here: questions about records and proofs, and the changes that follow from entries that
count.  What does not: reading records (``lake.upkeep.indexing``), the rows of single sessions
(``entry_rows``), and the rule by which an entry counts (``core.segments``).

The tables say what the records that they know say, in whatever order these came, so they may be
made again at any time.  ``lost_proof`` alone is of the ledger: what was proven and is gone.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import key_expression, month_expression
from smallcaps_assets.core.segments.entries import KEY, SESSION
from smallcaps_assets.core.segments.indexing import (
    INDEX_SCHEMA,
    TICKER_MONTHS_SCHEMA,
    bit_of,
    index_records,
    index_tickers,
    is_plain,
    list_sessions,
    measure_change,
    sum_commits,
    sum_dates,
)
from smallcaps_assets.core.segments.merging import SEGMENT, select_two_answers, select_winners
from smallcaps_assets.core.segments.witnesses import select_lost_proof
from smallcaps_assets.core.states import COMPLETE
from smallcaps_assets.core.ticks.disputes import UNPROVEN
from smallcaps_assets.lake.ledger.checks import doubt
from smallcaps_assets.lake.ledger.entry_rows import Listing, import_rows, lost_row, session_rows
from smallcaps_assets.lake.ledger.history import LedgerHistory
from smallcaps_assets.lake.ledger.rows import (
    FIGURE_COLUMNS,
    KEY_COLUMNS,
    PlainSums,
    Row,
    frame_keys,
    pack_keys,
)
from smallcaps_assets.lake.ledger.sql import month_statements as month_sql
from smallcaps_assets.lake.ledger.sql import plain_statements as plain_sql
from smallcaps_assets.lake.ledger.sql import statements as ledger_sql

RECORDS_SCHEMA: Final = pl.Schema({**INDEX_SCHEMA, "is_lost": pl.Boolean()})
"""Columns of :meth:`LedgerMonths.month_records`."""
LOST_COLUMNS: Final = {
    **KEY_COLUMNS,
    "record": pl.String(),
    "revision": pl.Int64(),
    "state": pl.String(),
    "content_hash": pl.String(),
}
"""Columns of :meth:`LedgerMonths.lost_proof`, as SQLite gives them."""
RECALLED_COLUMNS: Final = {
    **FIGURE_COLUMNS,
    "content_hash": pl.String(),
    **dict.fromkeys(("revision", "asked", "pages", "requests", "repeats_dropped"), pl.Int64()),
    "is_seam_ambiguous": pl.Int64(),
    **dict.fromkeys(("run_id", "committed_at"), pl.String()),
}
"""Columns of :meth:`LedgerMonths.recall_sessions`."""

_PLACE: Final = ("ticker", "session_date")
_RECALLED: Final = {
    "state": COMPLETE,
    "marks": "",
    "content_hash": "",
    "run_id": "",
    "revision": 1,
    "asked": 0,
    "pages": 0,
    "repeats_dropped": 0,
    "is_seam_ambiguous": 0,
}
"""What is recalled of a session that has no row."""
_HELD_COLUMNS: Final = ("month", "ticker", "record", "proven", "red", "beside")


@doubt
class LedgerMonths(LedgerHistory):
    """The part of a ledger that knows records and what they prove."""

    def month_records(self, months: Iterable[str] | None = None) -> pl.DataFrame:
        """List the records that the ledger knows.

        Args:
            months: Only these; all by default.

        Returns:
            ``INDEX_SCHEMA`` and ``is_lost``, sorted by month and record.  A lost record was there
            once, and no other one replaces it; its counts are those that it had.
        """
        chosen = {"months": None if months is None else json.dumps(list(months))}
        rows = [
            (*row[:7], json.loads(row[7]), json.loads(row[8]), bool(row[9]))
            for row in self._fetch_from("months", month_sql.MONTH_RECORDS, chosen)
        ]
        return pl.DataFrame(rows, RECORDS_SCHEMA, orient="row")

    def ticker_months(
        self, first: str = "", last: str = "9999-12", tickers: Collection[str] | None = None
    ) -> pl.DataFrame:
        """Read the bits of the sessions of each ticker and month, both months included.

        Args:
            first: First month, ``YYYY-MM``.
            last: Last month.
            tickers: Only these; all by default.

        Returns:
            ``TICKER_MONTHS_SCHEMA`` without ``record``, a row a month and ticker, sorted by them.
            A session that lost its proof is not proven, though an earlier answer may stand.
        """
        columns = TICKER_MONTHS_SCHEMA.names()[3:]
        told = _sum_records(self._fetch_packed(columns, first, last, tickers))
        lost = self.lost_proof()
        if lost.is_empty():
            return told
        bits = lost.group_by("ticker", month=month_expression()).agg(
            lost=bit_of(pl.col("session_date").dt.day()).sum()
        )
        joined = told.join(bits, on=["month", "ticker"], how="left", maintain_order="left")
        is_lost, proven = pl.col("lost").fill_null(0), pl.col("proven")
        return joined.with_columns(
            proven=proven - (proven & is_lost),
            red=pl.col("red") | (proven & is_lost),
            marked=pl.col("marked") - (pl.col("marked") & is_lost),
        ).drop("lost")

    def proven_bits(self) -> pl.DataFrame:
        """Read what :meth:`ticker_months` has of proofs alone, in a quarter of its time.

        Returns:
            ``month``, ``ticker`` and ``proven``, a row a month, ticker and record; of several the
            union counts, less what is lost.
        """
        told = self._fetch_packed(["proven"], "", "9999-12", None)
        lost = self.lost_proof()
        if lost.is_empty():
            return told
        return self.ticker_months().select(told.columns)

    def _fetch_packed(
        self, columns: Sequence[str], first: str, last: str, tickers: Collection[str] | None
    ) -> pl.DataFrame:
        """Fetch whole numbers of ``ticker_months``, a row a month, ticker and record."""
        asked = {"first": first, "last": last}
        statement = month_sql.PACKED_MONTHS
        if tickers is not None:
            asked["tickers"] = json.dumps(list(tickers))
            statement = month_sql.PACKED_TICKERS
        rows = self._fetch_from("ticker_months", month_sql.pack(statement, columns), asked)
        lists = ["ticker", *columns]
        packed = pl.DataFrame(rows, dict.fromkeys(["month", *lists], pl.String()), orient="row")
        told = packed.with_columns(pl.col(lists).str.split(",")).explode(lists)
        return told.with_columns(pl.col(columns).cast(pl.Int64()))

    def find_proofs(self, keys: Iterable[str]) -> frozenset[str]:
        """Find those of ``keys`` that are proven and need no request.

        The ledger is believed under records that are there: a month that is not as the ledger knows
        it is refreshed before (``lake.upkeep.indexing``).
        """
        rows = self._fetch_from("lost_proof", month_sql.PROOFS, pack_keys(keys))
        return frozenset(key for (key,) in rows)

    def find_told(self, keys: Iterable[str]) -> list[str]:
        """Find those of ``keys`` of which a record tells, proven or red, and that are not lost."""
        rows = self._fetch_from("lost_proof", month_sql.TOLD, pack_keys(keys))
        return [key for (key,) in rows]

    def find_unlisted(self, keys: Iterable[str]) -> list[str]:
        """Find those of ``keys`` that are proven and have no row, because nothing is to be said."""
        rows = self._fetch_from("ticker_months", plain_sql.UNLISTED, pack_keys(keys))
        return [key for (key,) in rows]

    def plain_sums(self) -> PlainSums:
        """Sum up the sessions that have no row."""
        found = self._fetch_from("plain_commits", plain_sql.SUMS)
        return PlainSums(*found[0]) if found else PlainSums()

    def plain_sizes(self) -> pl.DataFrame:
        """Measure ``rows`` and ``bytes`` of sessions without a row, their mean for each commit."""
        rows = self._fetch_from("plain_commits", plain_sql.SIZES)
        return pl.DataFrame(rows, {"rows": pl.Int64(), "bytes": pl.Int64()}, orient="row")

    def plain_months(self) -> list[str]:
        """List the months with sessions that have no row, in order."""
        return [month for (month,) in self._fetch_from("plain_commits", plain_sql.MONTHS)]

    def unlisted_sessions(self, month: str, tickers: Collection[str] | None = None) -> pl.DataFrame:
        """List the sessions of a month that are proven and have no row.

        Args:
            month: The month.
            tickers: Only these; all by default.

        Returns:
            ``ticker``, ``session_date`` and the ``record`` that proves it, by ticker and session.
        """
        held = self.read_bits(month)
        if tickers is not None:
            held = held.filter(pl.col("ticker").is_in(list(tickers)))
        asked = {"tickers": json.dumps(held["ticker"].unique().to_list()), **_bound(month)}
        listed = frame_keys(self._fetch(month_sql.LISTED, asked), KEY_COLUMNS)
        return list_sessions(held, "proven").join(listed, on=_PLACE, how="anti").sort(_PLACE)

    def lost_keys(self) -> list[str]:
        """List the keys of :meth:`lost_proof`."""
        keys: list[str] = self.lost_proof().select(key_expression()).to_series().to_list()
        return keys

    def lost_proof(self) -> pl.DataFrame:
        """List the sessions that were proven, and for which nothing stands any more.

        One is settled by an answer that is proven and has its ``revision``, or by any entry with a
        higher one.

        Returns:
            ``ticker``, ``session_date``, the ``record`` that proved it, its ``revision``, ``state``
            and ``content_hash``, sorted by ticker and session; empty hash: unknown.
        """
        return frame_keys(self._fetch_from("lost_proof", month_sql.LOST_PROOF), LOST_COLUMNS)

    def two_answers(self) -> pl.DataFrame:
        """List the sessions of which two proven answers of one revision differ.

        Returns:
            ``ticker``, ``session_date`` and ``revision``, sorted by ticker and session.
        """
        rows = self._fetch_from("two_answers", month_sql.TWO_ANSWERS)
        return frame_keys(rows, {**KEY_COLUMNS, "revision": pl.Int64()})

    def recall_sessions(self, month: str) -> pl.DataFrame:
        """Recall all that is known of the sessions of a month that are proven, or were.

        Of those that have no row nothing is known but that they are proven.

        Returns:
            :data:`RECALLED_COLUMNS`, sorted by ticker and session.
        """
        told = frame_keys(self._fetch(month_sql.RECALLED, _bound(month)), RECALLED_COLUMNS)
        plain = self.unlisted_sessions(month).select(
            *_PLACE, *(pl.lit(value).alias(name) for name, value in _RECALLED.items())
        )
        return pl.concat([told, plain], how="diagonal_relaxed").sort(_PLACE)

    def recall_proofs(self, month: str, proven: pl.DataFrame) -> pl.DataFrame:
        """Recall the sessions of a month whose proof may be lost.

        Args:
            month: The month.
            proven: ``ticker`` and ``session_date`` of what is proven now.

        Returns:
            The columns of :meth:`lost_proof` and ``kind``: what is lost already, what was proven
            and is not any more, and what was proven by a revision after the first.
        """
        was = list_sessions(self.read_bits(month), "proven")
        revised = frame_keys(
            self._fetch_from("revised", month_sql.REVISED, _bound(month)), KEY_COLUMNS
        )
        suspects = pl.concat(
            [was.join(proven, on=_PLACE, how="anti"), was.join(revised, on=_PLACE, how="semi")]
        ).unique(_PLACE)
        keys = [(ticker, date.isoformat(), name) for ticker, date, name in suspects.rows()]
        rows = self._fetch_from("comparisons", month_sql.REMEMBERED, {"keys": json.dumps(keys)})
        found = frame_keys(rows, LOST_COLUMNS)
        lost = self.lost_proof().filter(month_expression() == month)
        recalled = pl.concat([lost, found.join(lost, on=_PLACE, how="anti")])
        return recalled.with_columns(kind=pl.lit(SESSION))

    def read_bits(self, month: str) -> pl.DataFrame:
        """Read the bits of a month, a row a ticker and record: proven, red and beside."""
        rows = self._fetch_from("ticker_months", month_sql.HELD, {"month": month})
        return _frame_held(rows)


class MonthIndex:
    """The months of a ledger, while one transaction changes them."""

    def __init__(
        self, ledger: LedgerMonths, connection: sqlite3.Connection, listing: Listing
    ) -> None:
        """Begin with a ledger and its connection, which holds a write transaction."""
        self.ledger = ledger
        self._connection = connection
        self._listing = listing

    def find_holders(self, counted: pl.DataFrame) -> pl.DataFrame:
        """Find the records whose entries count so far for the sessions of some entries.

        Args:
            counted: Entries of ``core.segments.indexing.count_entries``.

        Returns:
            The columns of the key, ``month``, ``record`` and ``was_proven``, a row a session that
            the ledger knows.
        """
        asked = counted.select(*KEY, "month", "bit").unique(KEY)
        pairs = asked.select("month", "ticker").unique().rows()
        rows = self._connection.execute(month_sql.HOLDERS, {"pairs": json.dumps(pairs)}).fetchall()
        is_session = pl.col("kind") == SESSION
        bits = pl.when(is_session).then(pl.col("proven") | pl.col("red")).otherwise("beside")
        joined = asked.join(_frame_held(rows), on=["month", "ticker"], how="inner")
        return joined.filter((bits & pl.col("bit")) != 0).select(
            *KEY, "month", "record", was_proven=(pl.col("proven") & pl.col("bit")) != 0
        )

    def add(self, records: pl.DataFrame, before: pl.DataFrame, counted: pl.DataFrame) -> None:
        """Add records that the ledger did not know.

        Args:
            records: ``INDEX_SCHEMA`` of them; what counts of them is counted here.
            before: Entries of ``count_entries`` that counted, for all of their sessions.
            counted: All entries of these records likewise.
        """
        told = pl.concat([before, counted])
        after = select_winners(told)
        plain = self._select_unlisted(before)
        counts = pl.lit(0, pl.Int64()).alias
        uncounted = records.with_columns(counts("sessions"), counts("green"), counts("rows"))
        self._record(uncounted.with_columns(is_lost=False))
        replaced = records.select("month", pl.col("replaces")).explode("replaces").drop_nulls()
        self._connection.executemany(month_sql.ACCOUNT_FOR, replaced.rows())
        self._execute(month_sql.COUNT_RECORD, measure_change(before, after, index_records))
        change = measure_change(before, after, index_tickers)
        self._execute(month_sql.ADD_TICKER_MONTH, change)
        self._execute(month_sql.FORGET_IDLE, change.select("month", "ticker", "record"))
        self._list(after, attempts=1)
        self._settle_answers(after)
        self._contradict(select_two_answers(told, after))
        recalled = self.ledger.lost_proof().with_columns(kind=pl.lit(SESSION))
        self._settle(recalled.join(after, on=KEY, how="semi"), after)
        self._count_plain(plain, self._select_unlisted(after))
        self._connection.execute(ledger_sql.RECORD_FACT, ("last_commit_at", self._listing.now))

    def replace(
        self, month: str, records: pl.DataFrame, winners: pl.DataFrame, rivals: pl.DataFrame
    ) -> pl.DataFrame:
        """Bring a month to what all of its records say.

        Args:
            month: The month.
            records: ``INDEX_SCHEMA`` and ``is_lost`` of all that are there or lost.
            winners: All entries that count, of ``count_entries``.
            rivals: Entries that contradict each other.

        Returns:
            What lost its proof, as :meth:`LedgerMonths.lost_proof` has it.
        """
        proven = winners.filter(pl.col("is_proven") & (pl.col("kind") == SESSION))
        recalled = self.ledger.recall_proofs(month, proven)
        red = list_sessions(self.ledger.read_bits(month), "red")
        for statement in month_sql.FORGET_MONTH:
            self._connection.execute(statement, (month,))
        self._record(records)
        self._execute(month_sql.ADD_TICKER_MONTH, index_tickers(winners))
        self._list(winners, attempts=0)
        self._connection.execute(month_sql.FORGET_TWO_ANSWERS, _bound(month))
        self._contradict(rivals)
        vanished = _name(red.join(winners, on=_PLACE, how="anti"))
        for statement in month_sql.FORGET_VANISHED:
            self._connection.executemany(statement, vanished)
        lost = self._settle(recalled, winners)
        for statement in plain_sql.FORGET_MONTH:
            self._connection.execute(statement, _bound(month))
        self._count_plain(winners.clear(), self._select_unlisted(winners))
        return lost

    def list_sessions(self, counted: pl.DataFrame) -> None:
        """Write rows of sessions of one month that have none.

        Args:
            counted: Their entries of ``count_entries``; those that count no more are left out.
        """
        if counted.is_empty():
            return
        tickers = counted["ticker"].unique().to_list()
        now = self.ledger.unlisted_sessions(counted["month"][0], tickers)
        plain = counted.join(now.rename({"record": SEGMENT}), on=[*_PLACE, SEGMENT], how="semi")
        self._write_rows(plain, attempts=0)
        self._count_plain(plain.filter(is_plain()), plain.clear())

    def note_unjudged(self, winners: pl.DataFrame) -> None:
        """Note the months of entries of which bars of now may say more than they do."""
        is_open = (pl.col("rows") > 0) & pl.col("marks").list.contains(UNPROVEN)
        months = winners.filter(is_open).select("month").unique()
        self._connection.executemany(ledger_sql.RECORD_UNJUDGED, months.rows())

    def forget_untold(self) -> int:
        """Plan again, or forget, what the ledger calls stored and no record tells of; count it."""
        forgotten = self._connection.execute(month_sql.FORGET_UNTOLD).rowcount
        demoted = self._connection.execute(month_sql.DEMOTE_UNTOLD).rowcount
        self._connection.execute(month_sql.FORGET_UNTOLD_COMPARISONS)
        return forgotten + demoted

    def _record(self, records: pl.DataFrame) -> None:
        rows = [
            row | {name: json.dumps(row[name]) for name in ("parts", "replaces")}
            for row in records.iter_rows(named=True)
        ]
        self._connection.executemany(month_sql.RECORD_MONTH, rows)

    def _list(self, counted: pl.DataFrame, *, attempts: int) -> None:
        """Write the rows of sessions, as far as they are listed."""
        unlisted = counted.clear() if self._listing.lists_all else self._select_unlisted(counted)
        self._write_rows(counted.join(unlisted, on=KEY, how="anti"), attempts=attempts)

    def _write_rows(self, listed: pl.DataFrame, *, attempts: int) -> None:
        rows = list(session_rows(listed, self._listing, attempts=attempts))
        self._connection.executemany(ledger_sql.RECORD_RECEIPT, rows)
        self._connection.executemany(ledger_sql.RECORD_COMPARISON, rows)
        self._connection.executemany(
            ledger_sql.RECORD_IMPORT, import_rows(listed, self._listing.now)
        )

    def _select_unlisted(self, counted: pl.DataFrame) -> pl.DataFrame:
        """Select the plain entries whose sessions have no row."""
        plain = counted.filter(is_plain())
        first, last = plain["session_date"].min(), plain["session_date"].max()
        tickers = json.dumps(plain["ticker"].unique().to_list())
        asked = {"tickers": tickers, "first": str(first), "last": str(last)}
        rows = self._connection.execute(month_sql.LISTED, asked).fetchall()
        return plain.join(frame_keys(rows, KEY_COLUMNS), on=_PLACE, how="anti")

    def _count_plain(self, before: pl.DataFrame, after: pl.DataFrame) -> None:
        """Keep the sums of sessions without a row."""
        change = measure_change(before, after, sum_commits)
        self._execute(plain_sql.ADD_COMMIT, change)
        self._execute(plain_sql.FORGET_IDLE, change.select("month", "committed_at", "run_id"))
        self._execute(plain_sql.ADD_DATE, measure_change(before, after, sum_dates))

    def _contradict(self, rivals: pl.DataFrame) -> None:
        """Note of which sessions two answers of the revision that counts differ."""
        sessions = rivals.filter(pl.col("kind") == SESSION)
        texts = sessions.with_columns(pl.col("session_date").dt.to_string("%Y-%m-%d"))
        rows = texts.select(*_PLACE, "revision").unique().rows()
        self._connection.executemany(month_sql.RECORD_TWO_ANSWERS, rows)

    def _settle_answers(self, winners: pl.DataFrame) -> None:
        """Forget the two answers of sessions of which another revision counts now."""
        counting = winners.filter(pl.col("kind") == SESSION).select(*_PLACE, now="revision")
        joined = self.ledger.two_answers().join(counting, on=_PLACE, how="inner")
        settled = joined.filter(pl.col("now") != pl.col("revision"))
        self._connection.executemany(month_sql.FORGET_ANSWERS, _name(settled))

    def _settle(self, recalled: pl.DataFrame, winners: pl.DataFrame) -> pl.DataFrame:
        """Keep of what may be lost what is, by all entries that count for these sessions."""
        told = winners.select(*KEY, "revision", "is_proven")
        lost = select_lost_proof(recalled, told, told.filter(pl.col("is_proven")))
        self._connection.executemany(month_sql.FORGET_LOST_PROOF, _name(recalled))
        kept = lost.select(LOST_COLUMNS.keys())
        texts = kept.with_columns(pl.col("session_date").dt.to_string("%Y-%m-%d"))
        self._execute(month_sql.RECORD_LOST_PROOF, texts)
        rows = [
            lost_row(ticker, date, record, self._listing)
            for ticker, date, record in texts.select(*_PLACE, "record").rows()
        ]
        self._connection.executemany(ledger_sql.RECORD_RECEIPT, rows)
        return kept

    def _execute(self, statement: str, frame: pl.DataFrame) -> None:
        self._connection.executemany(statement, frame.iter_rows(named=True))


def _sum_records(told: pl.DataFrame) -> pl.DataFrame:
    """Sum the rows of a month and ticker up, which follow each other.

    The bits of the records of a month never overlap, so that a union is a sum.
    """
    key = ("month", "ticker")
    is_other = (pl.col(name).ne_missing(pl.col(name).shift()) for name in key)
    is_first = told.select(is_first=pl.any_horizontal(is_other))["is_first"]
    if is_first.all():
        return told
    runs = told.with_columns(run=is_first.cum_sum()).group_by("run", maintain_order=True)
    return runs.agg(pl.col(key).first(), pl.exclude(*key, "run").sum()).drop("run")


def _frame_held(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    """Frame rows of ``month_sql.HELD`` or ``HOLDERS``."""
    schema = {name: TICKER_MONTHS_SCHEMA[name] for name in _HELD_COLUMNS}
    return pl.DataFrame(rows, schema, orient="row")


def _bound(month: str) -> Row:
    return {"first": f"{month}-01", "last": f"{month}-31"}


def _name(frame: pl.DataFrame) -> list[tuple[str, str]]:
    """List ticker and session of each row, as SQLite has them."""
    return [(ticker, date.isoformat()) for ticker, date in frame.select(_PLACE).rows()]
