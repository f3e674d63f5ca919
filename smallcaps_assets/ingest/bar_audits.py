"""Audits of the stored daily bars against splits and listings.

What does not belong here: whether months are whole (``ingest.reference.daily_bars``).
"""

import polars as pl

from smallcaps_assets.core.reference.bar_gaps import judge_lives, measure_lives
from smallcaps_assets.core.reference.splits import measure_split_like_jumps
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.lakehouse import Lakehouse


def judge_split_jumps(lakehouse: Lakehouse) -> Verdict:
    """Judge overnight jumps that look like a split, after the splits on record were applied.

    Some of them are prices that doubled: each has to be looked at before gaps are believed.
    """
    splits = lakehouse.tables.read_splits()
    columns = ["ticker", "session_date", "open", "high", "low", "close", "volume"]
    bars = lakehouse.tables.read_daily_bars().select(columns).collect()
    jumps = measure_split_like_jumps(bars, splits)
    tickers = jumps["ticker"].n_unique()
    misfits = jumps.drop_nulls("split")
    summary = (
        f"{jumps.height - misfits.height} jumps look like a split and none is on record; "
        f"{splits.height} splits are known, {misfits.height} of them do not fit their prices"
    )
    if misfits.height:
        ticker, date, *_, split, problem = misfits.row(0)
        summary += f", first {ticker} {date}, {split}: {problem}"
    numbers = {
        "split_like_jumps": jumps.height,
        "misfitting_splits": misfits.height,
        "tickers": tickers,
        "splits_on_record": splits.height,
        "bars": bars.height,
    }
    return Verdict(bars.height > 0 and jumps.is_empty(), summary, dict(numbers), jumps)


def judge_bar_lives(lakehouse: Lakehouse) -> Verdict:
    """Judge sessions without a bar within the lives of listings, or of tickers."""
    found = lakehouse.tables.read_universe()
    bars = lakehouse.tables.read_daily_bars().select(pl.col("ticker", "session_date"))
    universe = None if found is None else found[0]
    return judge_lives(measure_lives(bars, universe, lakehouse.calendar), lakehouse.thresholds)
