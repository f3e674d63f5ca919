"""Planned tickers that no stored bar knows.

What does not belong here: which symbol may be meant, and the verdict
(``core.events.unknown_tickers``).
"""

import polars as pl

from smallcaps_assets.core.events.unknown_tickers import judge_unknown_tickers, suggest_symbols
from smallcaps_assets.core.sessions import session_range
from smallcaps_assets.core.verdicts import Thresholds, Verdict
from smallcaps_assets.ingest.budget.expectations import KEY
from smallcaps_assets.lake.tables.store import TableStore


def find_unknown_tickers(tables: TableStore, plan: pl.DataFrame) -> tuple[int, dict[str, str]]:
    """Return how many tickers of a plan can be judged, and those without a bar in any session.

    A ticker can be judged if anything has a bar on one of its planned dates.

    Returns:
        The number, and of each unknown ticker the symbol that may be meant, empty: none.
    """
    if plan.is_empty():
        return 0, {}
    bars = tables.read_daily_bars(*session_range(plan)).select(KEY)
    keys = plan.lazy().select(KEY)
    dates, seen = pl.collect_all(
        [
            bars.select("session_date").unique(),
            bars.join(keys, on=KEY, how="semi").select("ticker").unique(),
        ]
    )
    judged = plan.join(dates, on="session_date", how="semi").select("ticker").unique()
    unknown = judged.join(seen, on="ticker", how="anti")["ticker"].to_list()
    if not unknown:
        return judged.height, {}
    known = bars.select("ticker").unique().collect()["ticker"]
    universe = tables.read_universe()
    listed = [] if universe is None else universe[0]["ticker"].unique().to_list()
    return judged.height, suggest_symbols(unknown, {*known, *listed} - {*unknown})


def judge_planned_tickers(tables: TableStore, thresholds: Thresholds) -> Verdict:
    """Judge the tickers of the published plan, as they were found when it was made.

    Raises:
        MissingPartitionError: No plan is published.
    """
    record, _ = tables.read_plan()
    return judge_unknown_tickers(
        record.tickers, record.judged_tickers, record.unknown_tickers, thresholds
    )
