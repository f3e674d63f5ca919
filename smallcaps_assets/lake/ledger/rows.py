"""What goes into the ledger and comes out of it: rows, and the way to and from them.

What belongs here: pure conversions between receipts, failures and rows of SQLite, and the small
records that answers are made of.  What does not: connections and statements.
"""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from smallcaps_assets.core.budget.purposes import Purpose
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.keys import decode_key, encode_key
from smallcaps_assets.core.states import DISPUTED, EMPTY_DISPUTED, KEPT, STATES
from smallcaps_assets.core.ticks.disputes import Asking, Deficit, Figures
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.sessions.receipts import Receipt

MESSAGE_LENGTH: Final = 1000
"""Characters kept of an error's message."""

KEY_COLUMNS: Final = {"ticker": pl.String(), "session_date": pl.String()}
"""The columns of a key as SQLite gives them."""

_RATIOS: Final = {"volume_deficit": pl.Float64(), "count_deficit": pl.Float64()}
FIGURE_COLUMNS: Final = {
    **KEY_COLUMNS,
    "state": pl.String(),
    "volume": pl.Float64(),
    "trade_count": pl.Int64(),
    "original_volume": pl.Float64(),
    "original_trade_count": pl.Int64(),
    "bar_volume": pl.Float64(),
    "bar_trade_count": pl.Int64(),
    **_RATIOS,
    "marks": pl.String(),
}
"""Columns of :meth:`LedgerReader.figures`, as SQLite gives them."""
DEFICIT_COLUMNS: Final = {
    **KEY_COLUMNS,
    "state": pl.String(),
    **_RATIOS,
    "marks": pl.String(),
    "asked": pl.Int64(),
    "is_same": pl.Int64(),
}
"""Columns of :meth:`LedgerReader.deficits`, as SQLite gives them."""

REVISION_COLUMNS: Final = {
    **KEY_COLUMNS,
    **dict.fromkeys(("recorded_at", "run_id", "counts"), pl.String()),
    **dict.fromkeys(("old_rows", "new_rows"), pl.Int64()),
    **dict.fromkeys(("old_hash", "new_hash", "folder"), pl.String()),
}
"""Columns of :meth:`LedgerReader.revisions`."""

Row = dict[str, Any]

_FIRST_DATE: Final = "0000-00-00"
_LAST_DATE: Final = "9999-99-99"
DATE_LENGTH: Final = len(_FIRST_DATE)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request range that was asked for, whatever came of it.

    Attributes:
        ticker: Vendor's symbol.
        first_session: First session of the range.
        last_session: Last one, included.
        requests: Requests spent, retries included.
        pages: Pages read.
        rows: Trades received.
        bytes: Bytes received.
        sessions: Ticker-sessions committed.
        kind: Short word of the error; empty: it succeeded.
        message: What was expected, what came, what to do.
        run_id: Run that asked.
        purpose: For what it was asked, ``core.purposes``.
        expected_requests: Requests that it was expected to take.
    """

    ticker: str
    first_session: dt.date
    last_session: dt.date
    requests: int
    pages: int = 0
    rows: int = 0
    bytes: int = 0
    sessions: int = 0
    kind: str = ""
    message: str = ""
    run_id: str = ""
    purpose: Purpose = Purpose.PLAN
    expected_requests: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A ticker-session that was asked for, or looked at, and did not become green.

    Attributes:
        key: Key of the ticker-session.
        state: ``failed``, ``empty_disputed``, ``not_entitled`` or ``quarantined``.
        kind: Short word of the error.
        message: What was expected, what came, what to do.
        run_id: Run that met it.
    """

    key: str
    state: str
    kind: str
    message: str
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What the ledger knows of one ticker-session.

    Attributes:
        key: Key of the ticker-session.
        state: One of ``states.STATES``.
        rows: Trades stored.
        bytes: Size of the file.
        content_hash: Hash of the rows; empty: nothing is stored.
        error_kind: Why the last attempt failed; empty: it did not.
        error_message: What was expected, what came, what to do.
        asked_count: Times that the vendor's "no trades" was disputed by the daily bar.
        last_asked_date: UTC date of the last of them; ``None``: there was none.
    """

    key: str
    state: str
    rows: int
    bytes: int
    content_hash: str
    error_kind: str
    error_message: str
    asked_count: int
    last_asked_date: dt.date | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What is stored, planned or not, and what it cost.

    Attributes:
        sessions: Green ticker-sessions.
        rows: Trades stored.
        bytes: Size of their files.
        requests: Requests ever spent, those of failed attempts included.
    """

    sessions: int
    rows: int
    bytes: int
    requests: int


@dataclass(frozen=True, slots=True)
class PlainSums:
    """Sums of the sessions that are proven and have no row in the ledger.

    Attributes:
        sessions: How many they are.
        traded: Those of them with trades.
        rows: Their trades.
        bytes: Their shares of the parts.
    """

    sessions: int = 0
    traded: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened since an instant.

    Attributes:
        sessions: Ticker-sessions committed.
        requests: Requests spent, those of failed attempts included.
        rows: Trades received.
        bytes: Bytes received.
        errors: Attempts that failed, by kind.
        counters: Sums of the counters recorded, by name.
        first_at: When the first attempt was recorded; ``None``: none was.
        last_commit_at: When sessions were last recorded, however long ago; ``None``: never.
    """

    sessions: int
    requests: int
    rows: int
    bytes: int
    errors: dict[str, int]
    counters: dict[str, int]
    first_at: dt.datetime | None
    last_commit_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class CommittedSession:
    """A ticker-session that was committed lately.

    Attributes:
        key: Key of the ticker-session.
        state: Its state.
        rows: Trades stored.
        bytes: Size of the file.
        committed_at: When it was committed.
    """

    key: str
    state: str
    rows: int
    bytes: int
    committed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Revision:
    """Two answers about one ticker-session that differ.

    Attributes:
        old: Receipt of the one that was stored.
        new: Receipt of the one that came.
        is_replaced: The new one counts; otherwise the old one still does.
        folder: Where the one lies that does not count.
    """

    old: Receipt
    new: Receipt
    is_replaced: bool
    folder: Path


def format_instant(instant: dt.datetime) -> str:
    """Format an instant as text in UTC that sorts as it does."""
    return instant.astimezone(dt.UTC).isoformat(timespec="microseconds")


def parse_instant(text: str | None) -> dt.datetime | None:
    """Parse the instant that :func:`format_instant` made ``text`` of; ``None`` stays."""
    return None if text is None else dt.datetime.fromisoformat(text)


def frame_keys(rows: Sequence[object], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Frame rows whose ``session_date`` is text; in the frame it is a date."""
    frame = pl.DataFrame(rows, {**schema, **KEY_COLUMNS}, orient="row")
    return frame.with_columns(pl.col("session_date").str.to_date("%Y-%m-%d"))


def pack_keys(keys: Iterable[str]) -> Row:
    """Pack keys into the one parameter of a statement.

    Raises:
        DataError: One of them is none.
    """
    pairs = [(ticker, str(session)) for ticker, session in map(decode_key, keys)]
    return {"keys": json.dumps(pairs)}


def require_dates(frame: pl.DataFrame, *, instant: str, dates: Sequence[str]) -> pl.DataFrame:
    """Pass on a frame of texts, those columns of which have to be an instant and dates.

    Raises:
        polars.exceptions.InvalidOperationError: One is none.
    """
    frame.select(pl.col(instant).str.to_datetime(time_zone="UTC"), pl.col(dates).str.to_date())
    return frame


def frame_open_sessions(rows: Sequence[object]) -> pl.DataFrame:
    """Frame ``key``, ``ticker``, ``session_date`` and ``state`` of rows of ``ledger_sql.MISSING``.

    They are sorted by ticker and session.
    """
    by_ticker = pl.DataFrame(rows, {"ticker": pl.String(), "open": pl.String()}, orient="row")
    open_sessions = pl.col("open")
    exploded = by_ticker.with_columns(open_sessions.str.split(",")).explode("open")
    date = open_sessions.str.head(DATE_LENGTH)
    return exploded.select(
        pl.concat_str("ticker", date, separator="_").alias("key"),
        "ticker",
        date.str.to_date("%Y-%m-%d").alias("session_date"),
        open_sessions.str.slice(DATE_LENGTH).alias("state"),
    ).sort("ticker", "session_date")


def plan_rows(plan: pl.DataFrame, state: str) -> Iterator[tuple[str, str, str]]:
    """Yield ticker, session and ``state`` of each row of a plan.

    Raises:
        DataError: A ticker-session occurs twice.
    """
    keys = plan.select("ticker", "session_date")
    if repeats := keys.filter(keys.is_duplicated()).unique(maintain_order=True).head(3).rows():
        named = ", ".join(f"{ticker} {session_date}" for ticker, session_date in repeats)
        raise DataError(f"plan: expected each ticker-session once, found again: {named}")
    texts = keys.select("ticker", pl.col("session_date").dt.to_string("%Y-%m-%d"), pl.lit(state))
    return texts.iter_rows()


def receipt_row(receipt: Receipt, now: str, *, attempts: int) -> Row:
    """List what a receipt proves, for the rows of ``sessions`` and ``comparisons``.

    It adds no attempts where the ledger is rebuilt.
    """
    is_disputed = receipt.state == DISPUTED
    dates = sorted({asking.asked_on for asking in receipt.askings}) if is_disputed else []
    return msgspec.structs.asdict(receipt) | {
        "session_date": receipt.session_date.isoformat(),
        "kind": DISPUTED if is_disputed else None,
        "message": describe_dispute(receipt.figures, receipt.deficit, receipt.askings)
        if is_disputed
        else None,
        "asked": len(dates),
        "asked_date": dates[-1].isoformat() if dates else None,
        "committed_at": format_instant(receipt.committed_at),
        "attempts": attempts,
        "updated_at": now,
        "marks": ",".join(receipt.marks),
        "asked_again": len(receipt.askings),
        "is_same": len({asking.content_hash for asking in receipt.askings}) == 1,
    }


def revision_row(revision: Revision, now: str) -> Row:
    """Make the row of ``revisions`` from a revision."""
    old, new = revision.old, revision.new
    return {
        "recorded_at": now,
        "run_id": new.run_id,
        "ticker": old.ticker,
        "session_date": old.session_date.isoformat(),
        "counts": "new" if revision.is_replaced else "old",
        "old_rows": old.rows,
        "new_rows": new.rows,
        "old_hash": old.content_hash,
        "new_hash": new.content_hash,
        "folder": str(revision.folder),
    }


def describe_dispute(figures: Figures, deficit: Deficit, askings: Sequence[Asking]) -> str:
    """Say what a session lacks of its bar, and what becomes of it."""
    lacks = []
    if deficit.volume and figures.bar_volume is not None:
        lacks.append(f"{figures.volume:,.10g} of {figures.bar_volume:,.10g} shares")
    if deficit.trade_count and figures.bar_trade_count is not None:
        lacks.append(f"{figures.trade_count:,} of {figures.bar_trade_count:,} trades")
    last = max((asking.asked_on for asking in askings), default=None)
    asked = format_count(len(askings), "answer")
    answers = f"{asked}, the last on {last}" if last else "no answer yet"
    again = f"asked again from {last + dt.timedelta(days=1)} on" if last else "asked again"
    return (
        f"the daily bar has more: {' and '.join(lacks)} came ({deficit.worst:.2%} lack; "
        f"{answers}); the rows are kept, and {again}, or by the next `smallcaps download`; "
        "--accept-disputed accepts them as they are"
    )


def attempt_row(attempt: Attempt, now: str) -> Row:
    """Make the row of ``attempts`` from an attempt."""
    return asdict(attempt) | {
        "recorded_at": now,
        "first_session": attempt.first_session.isoformat(),
        "last_session": attempt.last_session.isoformat(),
        "outcome": "failed" if attempt.kind else "read",
        "kind": attempt.kind or None,
        "message": attempt.message[:MESSAGE_LENGTH] or None,
    }


def failure_row(failure: Failure, now: str) -> Row:
    """Make the row of ``sessions`` that a failure leaves.

    Raises:
        DataError: Its key is none, or its state is none of a failure.
    """
    ticker, session_date = decode_key(failure.key)
    if failure.state in KEPT or failure.state not in STATES:
        raise DataError(f"{failure.key}: expected a state of a failure, found {failure.state!r}")
    is_disputed = failure.state == EMPTY_DISPUTED
    return {
        "ticker": ticker,
        "session_date": session_date.isoformat(),
        "state": failure.state,
        "kind": failure.kind,
        "message": failure.message[:MESSAGE_LENGTH],
        "asked": int(is_disputed),
        "asked_date": now[:10] if is_disputed else None,
        "run_id": failure.run_id,
        "updated_at": now,
    }


def describe_session(receipt: Receipt) -> SessionRecord:
    """Describe a proven session by its receipt, as its row would."""
    return SessionRecord(
        receipt.key,
        receipt.state,
        receipt.rows,
        receipt.bytes,
        receipt.content_hash,
        error_kind="",
        error_message="",
        asked_count=0,
        last_asked_date=None,
    )


def parse_record(row: Sequence[Any]) -> SessionRecord:
    """Parse the record that a row of ``ledger_sql.RECORDS`` holds."""
    key, state, rows, size, content_hash, kind, message, count, asked = row
    date = dt.date.fromisoformat(asked) if asked else None
    return SessionRecord(key, state, rows, size, content_hash, kind, message, count, date)


def parse_committed(row: Sequence[Any]) -> CommittedSession:
    """Parse the session of a row of ``ledger_sql.RECENT_SESSIONS``."""
    ticker, session_date, state, rows, size, committed_at = row
    key = encode_key(ticker, dt.date.fromisoformat(session_date))
    return CommittedSession(key, state, rows, size, dt.datetime.fromisoformat(committed_at))


def select_parameters(
    tickers: Iterable[str] | None, first: dt.date | None, last: dt.date | None
) -> Row:
    """Make the parameters of a statement that selects tickers and sessions, both included."""
    chosen = {} if tickers is None else {"tickers": json.dumps(list(tickers))}
    return chosen | {
        "first": first.isoformat() if first else _FIRST_DATE,
        "last": last.isoformat() if last else _LAST_DATE,
    }
