"""What research stands on in tests: a copy of the small lake, with events of our choice."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.research.ground import BATCH_ROWS, Ground
from smallcaps_assets.schemas import PILOT_WATCHLIST
from smallcaps_assets.schemas_research import HALTS, MINUTE_BARS

MONTH: Final = "2024-01"
EVENTS: Final = {
    ("BCPC", dt.date(2024, 1, 10)): ["E3_PriceSpikeIntraday", "E6_MultipleGreenDays"],
    ("CON", dt.date(2024, 1, 30)): ["E2_GapUp", "E6_MultipleGreenDays", "E9_CrashIntraday"],
}


def write_pilot(
    lakehouse: Lakehouse, events: Mapping[tuple[str, dt.date], Sequence[str]] = EVENTS
) -> None:
    """Publish a pilot of these events; the plan and the lake stay."""
    rows = [
        {"ticker": ticker, "session_date": date, "events": names, "event_count": len(names)}
        for (ticker, date), names in events.items()
    ]
    pilot = pl.DataFrame(rows, PILOT_WATCHLIST.schema)
    lakehouse.tables.write_table(PILOT_WATCHLIST, pilot, is_published=True)


def open_ground(lakehouse: Lakehouse, batch_rows: int = BATCH_ROWS) -> Ground:
    """Return what research stands on, with a month of bars that holds none."""
    store = ResearchStore(lakehouse.home, lakehouse.fs)
    for table in (MINUTE_BARS, HALTS):
        store.write(table, MONTH, [table.empty()], {})
    return Ground(
        Lake(lakehouse.home.data_dir),
        store,
        lakehouse.calendar,
        LabelRules(draws=50),
        batch_rows=batch_rows,
    )
