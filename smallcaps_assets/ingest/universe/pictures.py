"""The pictures of a plan of a universe: its ticker-months by year, its sessions by batch.

What belongs here: the frames behind them, and their names.  What does not: how they look
(``plots.plan``), and where they are kept (``ingest.plan.pictures``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.universe.units import list_units
from smallcaps_assets.ingest.plan.pictures import Figures

YEARS: Final = "universe_by_year"
BATCHES: Final = "universe_by_batch"


def draw_universe(plan: pl.DataFrame) -> Figures:
    """Draw a plan of a universe that owes something."""
    from smallcaps_assets.plots.plan import draw_batches, draw_years  # noqa: PLC0415  matplotlib

    return {YEARS: draw_years(count_years(plan)), BATCHES: draw_batches(count_batches(plan))}


def count_years(plan: pl.DataFrame) -> pl.DataFrame:
    """Count the ``ticker_months`` of each ``year`` of ``schemas.UNIVERSE_PLAN``."""
    year = pl.col("month").str.head(4).cast(pl.Int32)
    return plan.group_by(year=year).agg(ticker_months=pl.len()).sort("year")


def count_batches(plan: pl.DataFrame) -> pl.DataFrame:
    """Count the ``sessions`` of each ``batch`` of ``schemas.UNIVERSE_PLAN``."""
    return list_units(plan).group_by("batch").agg(pl.col("sessions").sum()).sort("batch")
