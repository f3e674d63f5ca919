"""What a trade and a file cost on this lake.

What belongs here: the default, and how it learns from what landed.  What does not: how many
trades a session holds (``expectations``) and what a plan costs (``estimating``).
"""

from dataclasses import replace

import polars as pl

from smallcaps_assets.core.calibration import Calibration, fit_bytes_per_trade
from smallcaps_assets.ingest.expectations import read_stored
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.lake.placement import measure_free

MIN_FITTED_FILES = 30
"""Files that must have landed before their sizes replace the default bytes per trade."""


def default_calibration(lakehouse: Lakehouse) -> Calibration:
    """Return what a trade and a file cost before anything has landed."""
    settings = lakehouse.settings
    return Calibration(
        page_limit=settings.page_limit, requests_per_minute=settings.requests_per_minute
    )


def calibrate(lakehouse: Lakehouse, stored: pl.DataFrame | None = None) -> Calibration:
    """Return what a trade and a file cost, from this lake once enough has landed.

    Args:
        lakehouse: Its settings give page size and rate.
        stored: As ``expectations.read_stored`` gives it; read when it is not given.
    """
    landed = read_stored(lakehouse) if stored is None else stored
    files = landed.filter(pl.col("rows") > 0)
    if files.height < MIN_FITTED_FILES:
        return default_calibration(lakehouse)
    fit = fit_bytes_per_trade(files["rows"], files["bytes"])
    return replace(
        default_calibration(lakehouse),
        bytes_per_trade=fit.bytes_per_trade,
        file_bytes=fit.file_bytes,
    )


def free_bytes(lakehouse: Lakehouse) -> int:
    """Return the free bytes of the disks that take new sessions, before the lake is there as well.

    Raises:
        StorageError: A disk is gone.
    """
    listed = lakehouse.settings.lake_roots
    folders = listed or [root.folder for root in lakehouse.layout.roots]
    return measure_free(lakehouse.fs, folders)
