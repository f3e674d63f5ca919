"""Made-up receipts, failures and plans for the tests of the ledger and its readers."""

import dataclasses
import datetime as dt

import msgspec
import polars as pl

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.lake.ledger.rows import Attempt, Failure
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.sessions.receipts import Receipt

NOON = dt.datetime(2024, 3, 18, 12, tzinfo=dt.UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: dt.datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now

    def pass_time(self, **delta: float) -> None:
        self.now += dt.timedelta(**delta)


def make_plan(*keys: str) -> pl.DataFrame:
    schema = {"ticker": pl.String, "session_date": pl.Date}
    return pl.DataFrame([decode_key(key) for key in keys], schema, orient="row")


def make_receipt(key: str, **fields: object) -> Receipt:
    """Return a receipt of 500 trades; without rows it is one of an empty session."""
    ticker, session_date = decode_key(key)
    rows = fields.get("rows", 500)
    receipt = Receipt(
        ticker=ticker,
        session_date=session_date,
        state="complete" if rows else "empty",
        rows=500,
        bytes=20_000 if rows else 0,
        sha256="a" * 64 if rows else None,
        content_hash="b" * 64,
        pages=1,
        requests=2,
        gte_ns=1_710_475_200_000_000_000,
        lt_ns=1_710_561_600_000_000_000,
        vendor_status="OK",
        run_id="run",
        started_at=NOON,
        source="polygon",
        schema_version=1,
        first_sip_timestamp=None,
        last_sip_timestamp=None,
        rows_by_phase={"regular": 500} if rows else {},
        committed_at=NOON,
    )
    return msgspec.structs.replace(receipt, **fields)


def make_failure(key: str, state: str = "failed", **fields: object) -> Failure:
    failure = Failure(key, state, kind="unavailable", message="503, try later")
    return dataclasses.replace(failure, **fields)  # type: ignore[arg-type]  # any field


def make_attempt(ticker: str = "AAA", **fields: object) -> Attempt:
    """Return an attempt of one session that read 500 trades in 2 requests."""
    attempt = Attempt(
        ticker,
        dt.date(2024, 3, 15),
        dt.date(2024, 3, 15),
        requests=2,
        pages=1,
        rows=500,
        bytes=20_000,
        sessions=1,
        run_id="run",
    )
    return dataclasses.replace(attempt, **fields)  # type: ignore[arg-type]  # any field


def list_missing(ledger: Ledger) -> list[str]:
    return ledger.missing_keys()["key"].to_list()


def forget_stored(ledger: Ledger) -> None:
    """Make a ledger again of a lake without records."""
    with ledger.reindexing() as index:
        index.forget_untold()
