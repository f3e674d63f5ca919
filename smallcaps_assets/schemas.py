"""Table contracts: every column of every table, declared once.

Validation, the data dictionary and Dagster's column metadata derive from here.  What does not
belong here: how a table is made (``core``) or where it lies (``lake``).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from smallcaps_assets.errors import SchemaError

SCHEMA_VERSION: Final = 1
"""Version of the tables below; a lake of a newer version is refused."""

INSTANT: Final = pl.Datetime("ns", "UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        dtype: Its type, exactly.
        description: What it holds, with its unit.
        nullable: Whether null has a meaning; the description then says which.
    """

    dtype: pl.DataType
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """The contract of one table.

    Attributes:
        name: Name of the table, of its asset and of its folder.
        grain: What one row is.
        key: Columns that identify a row; empty where rows have no identity of their own.
        columns: Columns in storage order.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: dict[str, Column]

    @cached_property
    def schema(self) -> pl.Schema:
        """The names and types in storage order; whoever changes it changes it for all."""
        return pl.Schema({name: column.dtype for name, column in self.columns.items()})

    @cached_property
    def _dtypes(self) -> list[pl.DataType]:
        return self.schema.dtypes()

    @cached_property
    def _nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)

    def empty(self) -> pl.DataFrame:
        """Make the table without rows."""
        return self._nothing.clone()

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Put ``frame`` in storage order, or say how it breaks the contract.

        Nothing is cast or filled: a producer that gets a type wrong should hear of it.

        Raises:
            SchemaError: A column is missing, unknown, of another type, or null where the
                contract says it never is.
        """
        ordered = frame
        if frame.columns != [*self.columns] or frame.dtypes != self._dtypes:
            ordered = self._reorder(frame)
        columns = zip(self.columns.items(), ordered.null_count().row(0), strict=True)
        counts = {name: count for (name, column), count in columns if not column.nullable}
        if holes := {name: count for name, count in counts.items() if count}:
            raise SchemaError(f"{self.name}: nulls in required columns {holes}")
        return ordered

    def _reorder(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Put the columns in storage order, or say which is not as declared."""
        try:
            return frame.match_to_schema(self.schema)
        except (pl.exceptions.SchemaError, pl.exceptions.ColumnNotFoundError) as error:
            raise SchemaError(f"{self.name}: {error}") from error


_TICKER = Column(pl.String(), "Vendor's symbol on that session; case matters.")
_SESSION_DATE = Column(pl.Date(), "New York date of the XNYS session.")

DAILY_BARS = Table(
    "daily_bars",
    "one bar of a ticker and session, unadjusted",
    ("ticker", "session_date"),
    {
        "ticker": _TICKER,
        "session_date": Column(pl.Date(), "New York date; a date that is no session is reported."),
        "open": Column(pl.Float64(), "First price, USD; NaN or null: unusable bar.", nullable=True),
        "high": Column(pl.Float64(), "Highest price, USD.", nullable=True),
        "low": Column(pl.Float64(), "Lowest price, USD.", nullable=True),
        "close": Column(pl.Float64(), "Last price, USD.", nullable=True),
        "volume": Column(pl.Float64(), "Shares traded, fractions included.", nullable=True),
        "vwap": Column(pl.Float64(), "Volume-weighted price, USD; null: unknown.", nullable=True),
        "trade_count": Column(pl.Int64(), "Trades in the bar; null: unknown.", nullable=True),
    },
)

SPLITS = Table(
    "splits",
    "one split of a ticker",
    ("ticker", "execution_date"),
    {
        "ticker": _TICKER,
        "execution_date": Column(pl.Date(), "First session that trades after the split."),
        "split_from": Column(
            pl.Float64(),
            "Shares before; null: unknown, because the vendor's records contradict.",
            nullable=True,
        ),
        "split_to": Column(
            pl.Float64(),
            "Shares after; 1 for 10 is a reverse split; null: unknown.",
            nullable=True,
        ),
    },
)

UNIVERSE = Table(
    "universe",
    "one listing: a ticker used twice has two rows",
    (
        "ticker",
        "is_active",
        "delisted_date",
        "composite_figi",
        "share_class_figi",
        "cik",
        "name",
    ),
    {
        "ticker": Column(pl.String(), "Vendor's symbol of the listing; case matters."),
        "name": Column(pl.String(), "Name of the company; null: not sent.", nullable=True),
        "type": Column(pl.String(), "Vendor's type code, `CS`; null: unknown.", nullable=True),
        "primary_exchange": Column(pl.String(), "MIC, `XNAS`; null: unknown.", nullable=True),
        "is_active": Column(pl.Boolean(), "Listed when the universe was loaded."),
        "listed_date": Column(pl.Date(), "First date listed; null: unknown.", nullable=True),
        "delisted_date": Column(
            pl.Date(), "Date of the delisting; null: active, or unknown.", nullable=True
        ),
        "composite_figi": Column(pl.String(), "FIGI of the security; null: none.", nullable=True),
        "share_class_figi": Column(
            pl.String(), "FIGI of the share class; null: none.", nullable=True
        ),
        "cik": Column(pl.String(), "Number of the company at the SEC; null: none.", nullable=True),
        "market_cap_usd": Column(
            pl.Float64(), "As of the next column, of no other date; null: unknown.", nullable=True
        ),
        "market_cap_as_of_date": Column(
            pl.Date(), "Date of the market cap; null: there is none.", nullable=True
        ),
        "shares_outstanding": Column(
            pl.Float64(), "Of the share class, as of the same date; null: unknown.", nullable=True
        ),
        "is_below_cap": Column(
            pl.Boolean(),
            "Market cap below the limit as of its date, and nothing about earlier ones; null: "
            "delisted, or the cap is unknown.",
            nullable=True,
        ),
    },
)

WATCHLIST = Table(
    "watchlist",
    "one ticker and session with at least one event",
    ("ticker", "session_date"),
    {
        "ticker": _TICKER,
        "session_date": _SESSION_DATE,
        "events": Column(pl.List(pl.String()), "Names of the events, in the order E0 to E11."),
        "event_count": Column(pl.UInt32(), "Number of events."),
    },
)

PILOT_WATCHLIST = Table(
    "pilot_watchlist", "one chosen row of the watchlist", WATCHLIST.key, WATCHLIST.columns
)

EVENT_WINDOW_PLAN = Table(
    "event_window_plan",
    "one unique ticker and session to fetch",
    ("ticker", "session_date"),
    {
        "ticker": _TICKER,
        "session_date": _SESSION_DATE,
        "events": Column(pl.List(pl.String()), "Events whose window covers the session."),
        "event_dates": Column(pl.List(pl.Date()), "Session of each of those events."),
        "offsets": Column(
            pl.List(pl.Int16()), "Sessions from each event to this one; negative: before it."
        ),
    },
)

UNIVERSE_PLAN = Table(
    "universe_plan",
    "one ticker and month of a universe",
    ("batch", "month", "ticker"),
    {
        "month": Column(pl.String(), "Month, `YYYY-MM`; it is over, and its sessions published."),
        "ticker": _TICKER,
        "batch": Column(pl.Int32(), "Group of tickers that are fetched together, from 1."),
        "owed": Column(
            pl.Int64(),
            "Sessions of the month to fetch, as bits: bit N is its N-th day, from 1.",
        ),
        "expected_rows": Column(
            pl.Int64(), "Trades by the daily bars; null: they do not tell.", nullable=True
        ),
    },
)

REQUEST_RANGES = Table(
    "request_ranges",
    "one run of neighbouring sessions of a ticker, fetched by one page chain",
    ("ticker", "first_session"),
    {
        "ticker": _TICKER,
        "first_session": Column(pl.Date(), "First session of the run."),
        "last_session": Column(pl.Date(), "Last session of the run, included."),
        "session_count": Column(pl.UInt32(), "Sessions of the run."),
        "expected_rows": Column(
            pl.Int64(), "Trades by the daily bars; null: a session has no count.", nullable=True
        ),
        "expected_files": Column(
            pl.UInt32(), "Sessions that trades are expected of; of the others no file is made."
        ),
    },
)

VENDOR_COLUMNS: Final = (
    "sip_timestamp",
    "participant_timestamp",
    "trf_timestamp",
    "sequence_number",
    "id",
    "price",
    "size",
    "exchange",
    "tape",
    "trf_id",
    "conditions",
    "correction",
)
"""The vendor's fields of a trade, in the order of the content hash."""

TRADES = Table(
    "trades",
    "one print on the tape",
    (),
    {
        "ticker": _TICKER,
        "session_date": _SESSION_DATE,
        "sip_timestamp": Column(INSTANT, "When the SIP received it; the order of the tape."),
        "participant_timestamp": Column(
            INSTANT, "When the venue generated it; null or 1970: unknown.", nullable=True
        ),
        "trf_timestamp": Column(
            INSTANT,
            "When a TRF received the print; null: on exchange.",
            nullable=True,
        ),
        "sequence_number": Column(
            pl.Int64(), "Order within ticker and session; null: none was sent.", nullable=True
        ),
        "id": Column(pl.String(), "Venue's trade id; null: none was sent.", nullable=True),
        "price": Column(pl.Float64(), "USD a share, unadjusted."),
        "size": Column(pl.Float64(), "Shares, fractions included."),
        "exchange": Column(pl.Int16(), "Venue id of the vendor; null: not sent.", nullable=True),
        "tape": Column(pl.Int8(), "1 A, 2 B, 3 C: tape of the listing.", nullable=True),
        "trf_id": Column(pl.Int16(), "Trade reporting facility; null: none.", nullable=True),
        "conditions": Column(
            pl.List(pl.Int32()), "Sale-condition ids in the order sent; null: none.", nullable=True
        ),
        "correction": Column(pl.Int8(), "Correction indicator; 0: none."),
        "trading_phase": Column(
            pl.String(), "`pre_market`, `regular`, `after_hours` or `closed`, by `sip_timestamp`."
        ),
        "is_late_report": Column(
            pl.Boolean(), "Executed more than 10 s before the SIP received it."
        ),
    },
)

IMPORTED_TRADES = Table(
    "imported_trades",
    "one print of an imported archive that does not prove complete, and is not in `trades`",
    TRADES.key,
    TRADES.columns,
)

CATALOG_STATE = Table(
    "catalog_state",
    "the state of the ledger that the catalog shows, in one row",
    ("ledger_commits",),
    {
        "ledger_commits": Column(
            pl.Int64(), "Transactions that the ledger had recorded when it was read."
        ),
    },
)

_MARKS: Final = Column(
    pl.String(),
    "What its daily bar leaves open, separated by commas: `unproven_by_bar`, `bar_surplus`, "
    "`bar_residual`, `bar_differs`; null: nothing.",
    nullable=True,
)
_REVISION: Final = Column(
    pl.Int64(), "1, and one more each time it was replaced; null: unknown.", nullable=True
)

RECEIPTS = Table(
    "receipts",
    "one proven ticker and session of the lake",
    ("ticker", "session_date"),
    {
        "ticker": _TICKER,
        "session_date": _SESSION_DATE,
        "state": Column(pl.String(), "`complete`, `empty` or `empty_unverified`."),
        "rows": Column(pl.Int64(), "Trades in the file; 0: there is no file."),
        "bytes": Column(pl.Int64(), "Size of the file."),
        "sha256": Column(pl.String(), "Hash of the file; null: no file.", nullable=True),
        "content_hash": Column(pl.String(), "Hash of the rows, whatever the file's encoding."),
        "pages": Column(pl.Int64(), "Pages of the request range it came from."),
        "requests": Column(pl.Int64(), "Requests of that range, retries included."),
        "repeats_dropped": Column(pl.Int64(), "Rows sent again at page seams, and dropped."),
        "is_seam_ambiguous": Column(
            pl.Boolean(), "Equal rows lay on both sides of a seam, and were kept."
        ),
        "committed_timestamp": Column(INSTANT, "When the receipt was written."),
        "volume": Column(
            pl.Float64(), "Shares by the vendor's rules; null: not measured.", nullable=True
        ),
        "trade_count": Column(
            pl.Int64(), "Trades by the vendor's rules; null: not measured.", nullable=True
        ),
        "bar_volume": Column(
            pl.Float64(), "Shares of the daily bar; null: there is none.", nullable=True
        ),
        "bar_trade_count": Column(
            pl.Int64(), "Trades of the daily bar; null: it does not say.", nullable=True
        ),
        "marks": _MARKS,
        "revision": _REVISION,
    },
)

COVERAGE = Table(
    "coverage",
    "one planned ticker and session with its state",
    ("ticker", "session_date"),
    {
        "ticker": _TICKER,
        "session_date": _SESSION_DATE,
        "state": Column(pl.String(), "State in the ledger; `planned`: not asked for yet."),
        "rows": Column(pl.Int64(), "Trades stored; null: nothing is stored.", nullable=True),
        "error_kind": Column(pl.String(), "Why it failed; null: it did not.", nullable=True),
        "marks": _MARKS,
        "revision": _REVISION,
    },
)

ENTRIES = Table(
    "entries",
    "what one record says of a ticker and session, or of a ticker's prints on a date without one",
    ("ticker", "session_date", "kind"),
    {
        "ticker": _TICKER,
        "session_date": Column(pl.Date(), "New York date of the rows."),
        "kind": Column(pl.String(), "`session`, or `off_session`: the date has no session."),
        "owner": Column(pl.Date(), "Session whose page chain brought them; a session's is itself."),
        "revision": Column(pl.Int64(), "1, and one more for each deliberate answer."),
        "packed": Column(pl.Int64(), "How often upkeep moved the rows."),
        "state": Column(pl.String(), "State of the session; green ones need no request."),
        "part": Column(pl.String(), "Name of the file with the rows; null: none.", nullable=True),
        "first_row": Column(pl.Int64(), "Row of the part at which they begin, from 0."),
        "rows": Column(pl.Int64(), "Trades."),
        "content_hash": Column(pl.String(), "Hash of the rows, whatever the file's encoding."),
        "first_sip": Column(INSTANT, "First instant; null: no rows.", nullable=True),
        "last_sip": Column(INSTANT, "Last instant; null: no rows.", nullable=True),
        "pre_market_rows": Column(pl.Int64(), "Trades of that phase."),
        "regular_rows": Column(pl.Int64(), "Trades of that phase."),
        "after_hours_rows": Column(pl.Int64(), "Trades of that phase."),
        "closed_rows": Column(pl.Int64(), "Trades of that phase."),
        "volume": Column(pl.Float64(), "Shares by the rules; null: unmeasured.", nullable=True),
        "trade_count": Column(pl.Int64(), "Trades by the rules; null: unmeasured.", nullable=True),
        "original_volume": Column(
            pl.Float64(), "Shares with withdrawn originals; null: unmeasured.", nullable=True
        ),
        "original_trade_count": Column(
            pl.Int64(), "Trades with withdrawn originals; null: unmeasured.", nullable=True
        ),
        "bar_volume": Column(pl.Float64(), "Shares of the bar; null: no bar.", nullable=True),
        "bar_trade_count": Column(pl.Int64(), "Trades of the bar; null: unknown.", nullable=True),
        "volume_deficit": Column(
            pl.Float64(), "Share of the bar's shares that lack; null: not compared.", nullable=True
        ),
        "count_deficit": Column(
            pl.Float64(), "Share of the bar's trades that lack; null: not compared.", nullable=True
        ),
        "gte_ns": Column(pl.Int64(), "First instant asked for, nanoseconds since 1970."),
        "lt_ns": Column(pl.Int64(), "End of what was asked for, not included."),
        "pages": Column(pl.Int64(), "Pages of the chain they came from."),
        "requests": Column(pl.Int64(), "Requests of that chain, retries included."),
        "repeats_dropped": Column(pl.Int64(), "Rows sent again at page seams, and dropped."),
        "is_seam_ambiguous": Column(pl.Boolean(), "Equal rows at a seam were kept."),
        "vendor_status": Column(pl.String(), "Status of the last page."),
        "is_accepted": Column(pl.Boolean(), "A person accepted what its bar disputes."),
        "askings": Column(
            pl.List(
                pl.Struct(
                    {
                        "asked_on": pl.Date(),
                        "page_limit": pl.Int64(),
                        "content_hash": pl.String(),
                    }
                )
            ),
            "Answers since its bar disputes it, the oldest first.",
        ),
        "marks": Column(pl.List(pl.String()), "What its bar leaves open."),
        "run_id": Column(pl.String(), "Run that fetched it."),
        "started_at": Column(pl.Datetime("us", "UTC"), "When the fetch began."),
        "committed_at": Column(pl.Datetime("us", "UTC"), "When the answer was committed."),
        "adopted": Column(
            pl.String(), "Seal of the receipt it was taken from; null: none.", nullable=True
        ),
        "archive": Column(
            pl.String(), "What an import knows, as JSON; null: it was fetched.", nullable=True
        ),
    },
)
"""Not among ``TABLES`` as long as no lake is written in segments: it has no view to read it by."""

TABLES: Final = {
    table.name: table
    for table in (
        DAILY_BARS,
        SPLITS,
        UNIVERSE,
        WATCHLIST,
        PILOT_WATCHLIST,
        EVENT_WINDOW_PLAN,
        UNIVERSE_PLAN,
        REQUEST_RANGES,
        TRADES,
        IMPORTED_TRADES,
        RECEIPTS,
        COVERAGE,
        CATALOG_STATE,
    )
}
"""Every table by name."""
