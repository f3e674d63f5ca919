"""Made-up tapes for the tests of the core, and the way to the real ones."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from smallcaps_assets.schemas import DAILY_BARS, INSTANT, TRADES, VENDOR_COLUMNS
from smallcaps_assets_tests.lakehouse_factories import find_shared

NEW_YORK = ZoneInfo("America/New_York")
SESSION = dt.date(2024, 3, 15)
INSTANTS = ("sip_timestamp", "participant_timestamp", "trf_timestamp")
VENDOR_SCHEMA = {name: TRADES.columns[name].dtype for name in ("ticker", *VENDOR_COLUMNS)}


def ny(text: str, ns: int = 0) -> int:
    """Return nanoseconds since 1970 of a New York wall time in whole seconds, plus ``ns``."""
    wall = dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)
    return int(wall.timestamp()) * 1_000_000_000 + ns


OPENING_NS = ny("2024-03-15 09:30:00")


def make_tape(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Return ``ticker`` and vendor columns; rows say what matters, instants as integers."""
    filled = [_fill(number, row) for number, row in enumerate(rows)]
    physical = {
        name: pl.Int64 if name in INSTANTS else VENDOR_SCHEMA[name] for name in VENDOR_SCHEMA
    }
    return pl.DataFrame(filled, physical).with_columns(pl.col(INSTANTS).cast(INSTANT))


def make_trades(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Return ``schemas.TRADES``; labels are those of ``SESSION`` unless a row says otherwise."""
    labels = {
        "session_date": [row.get("session_date", SESSION) for row in rows],
        "trading_phase": [row.get("trading_phase", "regular") for row in rows],
        "is_late_report": [row.get("is_late_report", False) for row in rows],
    }
    schema = {name: TRADES.columns[name].dtype for name in labels}
    frame = pl.concat([make_tape(*rows), pl.DataFrame(labels, schema)], how="horizontal")
    return TRADES.conform(frame)


def make_bar(**values: object) -> dict[str, Any]:
    bar = {"ticker": "ABCD", "session_date": SESSION, "open": 10.0, "high": 10.0, "low": 10.0}
    return bar | {"close": 10.0, "volume": 100.0, "vwap": None, "trade_count": 1} | values


def make_bars(*rows: Mapping[str, object]) -> pl.DataFrame:
    return pl.DataFrame([make_bar(**row) for row in rows], DAILY_BARS.schema)


def read_flat_file(path: str) -> pl.DataFrame:
    """Return real rows of a vendor's flat file; skip the test where they are absent."""
    texts = pl.read_csv(find_shared(path), infer_schema=False, null_values=["None"])
    numbers = pl.col("conditions").str.split(",").cast(pl.List(pl.Int32))
    return texts.with_columns(
        numbers, *(pl.col(name).cast(pl.Int64).cast(INSTANT) for name in INSTANTS)
    ).select(pl.col(name).cast(dtype) for name, dtype in VENDOR_SCHEMA.items())


def _fill(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole row: one trade of 100 shares at 10 USD, a second after the one before."""
    sip = row.get("sip_timestamp", OPENING_NS + number * 1_000_000_000)
    defaults: dict[str, Any] = {
        "ticker": "ABCD",
        "sip_timestamp": sip,
        "participant_timestamp": sip,
        "sequence_number": number + 1,
        "id": str(number + 1),
        "price": 10.0,
        "size": 100.0,
        "exchange": 11,
        "tape": 3,
        "correction": 0,
    }
    return defaults | {name: value for name, value in row.items() if name in VENDOR_SCHEMA}
