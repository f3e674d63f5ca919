"""From which columns each column is made, declared once, for Dagster and for the UI.

What belongs here: the declarations, by table.  What does not: columns that come from the vendor or
from a file, which have no upstream here; their types and units (``schemas``).
"""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from smallcaps_assets.schemas import (
    DAILY_BARS,
    EVENT_WINDOW_PLAN,
    PILOT_WATCHLIST,
    SPLITS,
    TRADES,
    WATCHLIST,
)

Upstream = tuple[tuple[str, str], ...]
"""Columns that one column is made of: pairs of asset and column."""

_BARS: Final[Upstream] = tuple(
    (DAILY_BARS.name, name) for name in ("open", "high", "low", "close", "volume")
)
_SPLITS: Final[Upstream] = tuple((SPLITS.name, name) for name in SPLITS.columns)
_PILOT_SESSION: Final[Upstream] = ((PILOT_WATCHLIST.name, "session_date"),)

COLUMN_LINEAGE: Final[Mapping[str, Mapping[str, Upstream]]] = {
    WATCHLIST.name: {
        "ticker": ((DAILY_BARS.name, "ticker"),),
        "session_date": ((DAILY_BARS.name, "session_date"),),
        "events": _BARS + _SPLITS,
        "event_count": _BARS + _SPLITS,
    },
    PILOT_WATCHLIST.name: {name: ((WATCHLIST.name, name),) for name in PILOT_WATCHLIST.columns},
    EVENT_WINDOW_PLAN.name: {
        "ticker": ((PILOT_WATCHLIST.name, "ticker"),),
        "session_date": _PILOT_SESSION,
        "events": ((PILOT_WATCHLIST.name, "events"),),
        "event_dates": _PILOT_SESSION,
        "offsets": _PILOT_SESSION,
    },
    TRADES.name: {name: ((EVENT_WINDOW_PLAN.name, name),) for name in ("ticker", "session_date")},
}
"""Upstream columns by table and column; a column that is not named has none."""


def describe_upstream(table: str, column: str) -> str:
    """Describe what a column is made of as a sentence, empty where it has no upstream here.

    The open-source UI stores column lineage and shows it nowhere; descriptions it shows.
    """
    columns: dict[str, list[str]] = {}
    for asset, name in COLUMN_LINEAGE.get(table, {}).get(column, ()):
        columns.setdefault(asset, []).append(name)
    parts = [f"{asset} ({', '.join(names)})" for asset, names in columns.items()]
    return f" From {' and '.join(parts)}." if parts else ""


def column_lineage(table: str) -> dict[str, Any]:
    """Show as metadata where the columns of a table come from; nothing: unknown."""
    declared = COLUMN_LINEAGE.get(table)
    if declared is None:
        return {}
    deps = {
        column: [dg.TableColumnDep(dg.AssetKey(asset), name) for asset, name in upstream]
        for column, upstream in declared.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}
