"""Listings, details and universes from what a test cares about."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

import polars as pl

from smallcaps_assets.core.reference.listings import DETAIL_COLUMNS, LISTING_COLUMNS
from smallcaps_assets.core.reference.universe import UniverseRules
from smallcaps_assets.schemas import UNIVERSE

AS_OF = dt.date(2024, 12, 31)
COMMON = frozenset({"CS"})
MAIN_EXCHANGES = frozenset({"XNAS", "XNYS", "XASE"})


def make_rules(**changes: object) -> UniverseRules:
    values = {"types": COMMON, "exchanges": MAIN_EXCHANGES, "max_cap_usd": 2e9} | changes
    return UniverseRules(**cast(dict[str, Any], values))


def make_row(ticker: object = "AAAA", **changes: object) -> dict[str, object]:
    row = dict.fromkeys(LISTING_COLUMNS, None) | {
        "ticker": ticker,
        "name": f"{ticker} Inc.",
        "type": "CS",
        "primary_exchange": "XNAS",
        "is_active": "delisted_date" not in changes,
    }
    return row | changes


def make_listings(*rows: Mapping[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), LISTING_COLUMNS)


def make_details(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Return details as ``DETAIL_COLUMNS``: found, of 2024-12-31, unless they say else."""
    usual = dict.fromkeys(DETAIL_COLUMNS, None) | {"asked_date": AS_OF, "is_found": True}
    return pl.DataFrame([usual | dict(row) for row in rows], DETAIL_COLUMNS)


def make_candidates(*rows: Mapping[str, object]) -> pl.DataFrame:
    """Return listings with details: the columns of the universe but ``is_below_cap``."""
    schema = {name: column.dtype for name, column in UNIVERSE.columns.items()}
    schema.pop("is_below_cap")
    return pl.DataFrame([dict.fromkeys(schema, None) | make_common(**row) for row in rows], schema)


def make_universe(*rows: Mapping[str, object]) -> pl.DataFrame:
    full = [dict.fromkeys(UNIVERSE.columns, None) | make_common(**row) for row in rows]
    return UNIVERSE.conform(pl.DataFrame(full, UNIVERSE.schema)).sort(UNIVERSE.key)


def make_common(ticker: object = "AAAA", **changes: object) -> dict[str, object]:
    """Return a common stock, active unless it has a date of delisting."""
    is_active = changes.get("delisted_date") is None
    row = {"ticker": ticker, "type": "CS", "primary_exchange": "XNAS", "is_active": is_active}
    return row | changes
