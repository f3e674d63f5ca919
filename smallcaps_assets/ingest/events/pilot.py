"""The pilot of a lakehouse: how many tickers, and what other numbers would cost.

What belongs here: the disk, the bars and the settings that the choice depends on.  What does not:
the choice itself (``core.budget.pilot``) and its publication (``watchlist``).
"""

from dataclasses import dataclass, replace

import polars as pl

from smallcaps_assets.core.budget.costs import DISK_SHARE
from smallcaps_assets.core.budget.pilot import (
    LADDER_SIZES,
    PilotInputs,
    Rung,
    build_ladder,
    choose_pilot,
    list_candidates,
    rank_pilot,
    select_pilot,
)
from smallcaps_assets.core.figures import GB
from smallcaps_assets.ingest.budget.calibration import read_holdings
from smallcaps_assets.ingest.budget.expectations import COUNTS, gather_bars
from smallcaps_assets.lake.roots.placement import measure_free
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import PlanMode

DEFAULT_PILOT_TICKERS = 15
DEFAULT_PILOT_MIN_EVENTS = 3
"""Pilot of detected events; an imported watchlist is taken as it is unless a setting says else."""


@dataclass(frozen=True, slots=True, eq=False)
class Pilot:
    """The chosen part of a watchlist.

    Attributes:
        watchlist: ``schemas.PILOT_WATCHLIST``.
        ladder: What this and other sizes cost, the largest first.
    """

    watchlist: pl.DataFrame
    ladder: tuple[Rung, ...]


def pilot_size(lakehouse: Lakehouse) -> tuple[int, int]:
    """Return the fewest events of a session and the most tickers; 0 is no limit."""
    settings = lakehouse.settings
    is_taken_whole = settings.watchlist is not None
    min_events, tickers = settings.pilot_min_events, settings.pilot_tickers
    if min_events is None:
        min_events = 0 if is_taken_whole else DEFAULT_PILOT_MIN_EVENTS
    if tickers is None:
        tickers = 0 if is_taken_whole or settings.pilot_budget else DEFAULT_PILOT_TICKERS
    return min_events, tickers


def take_pilot(lakehouse: Lakehouse, watchlist: pl.DataFrame) -> Pilot:
    """Return the pilot of a watchlist by number of tickers, or the largest that fits the budget."""
    min_events, tickers = pilot_size(lakehouse)
    ranked = rank_pilot(watchlist, min_events).height
    if lakehouse.settings.pilot_budget and ranked:
        inputs = _gather_inputs(lakehouse, watchlist, min_events)
        choice = choose_pilot(watchlist, min_events, inputs, most=tickers)
        return Pilot(choice.watchlist, choice.ladder)
    pilot = select_pilot(watchlist, min_events, tickers)
    return Pilot(pilot, _measure_ladder(lakehouse, watchlist, ranked) if ranked else ())


def _measure_ladder(lakehouse: Lakehouse, watchlist: pl.DataFrame, ranked: int) -> tuple[Rung, ...]:
    """Return what pilots of several sizes cost, the size in force among them, largest first.

    Without a limit the size in force is all tickers.
    """
    min_events, tickers = pilot_size(lakehouse)
    sizes = sorted({*LADDER_SIZES, tickers or ranked}, reverse=True)
    top = select_pilot(watchlist, min_events, max(sizes))
    return build_ladder(top, min_events, _gather_inputs(lakehouse, top, min_events), sizes)


def frame_ladder(ladder: tuple[Rung, ...]) -> pl.DataFrame:
    """Return a ladder as a table, a row a size."""
    return pl.DataFrame(
        {
            "tickers": [rung.tickers for rung in ladder],
            "watchlist_rows": [rung.rows for rung in ladder],
            "sessions_asked_for": [rung.ticker_sessions for rung in ladder],
            "unique_sessions": [rung.unique_ticker_sessions for rung in ladder],
            "requests": [rung.requests for rung in ladder],
            "bytes_stored": [rung.bytes_stored for rung in ladder],
            "hours": [rung.hours for rung in ladder],
            "fits": [rung.verdict.fits for rung in ladder],
            "verdict": [rung.verdict.arithmetic for rung in ladder],
        }
    )


def _gather_inputs(lakehouse: Lakehouse, watchlist: pl.DataFrame, min_events: int) -> PilotInputs:
    """Return what the cost of pilots of a watchlist depends on."""
    settings = lakehouse.settings
    holdings = read_holdings(lakehouse.layout.ledger_file, lakehouse.default_costs)
    held = holdings.stored.join(watchlist, on="ticker", how="semi")["bytes"]
    free, share = _find_room(lakehouse, int(held.sum()))
    is_monthly = settings.plan_mode is PlanMode.EVENT_MONTHS
    inputs = PilotInputs(
        windows=lakehouse.windows,
        bounds=lakehouse.bounds,
        bars=COUNTS,
        calibration=holdings.costs,
        free_bytes=free,
        max_rows=settings.range_max_rows,
        max_sessions=settings.range_max_sessions,
        share=share,
        months=(settings.plan_months_before, settings.plan_months_after) if is_monthly else None,
    )
    sessions = list_candidates(watchlist, min_events, inputs)
    bars = gather_bars(lakehouse.tables, sessions, holdings.stored) if sessions.height else COUNTS
    return replace(inputs, bars=bars)


def _find_room(lakehouse: Lakehouse, held_bytes: int) -> tuple[int, float]:
    """Return the bytes there are and the share of them that a pilot may take.

    What the candidates already hold counts as free: a pilot must not shrink while it is fetched.
    """
    room = measure_free(lakehouse.fs, lakehouse.landing_folders) + held_bytes
    budget_gb = lakehouse.settings.disk_budget_gb
    if budget_gb is not None and budget_gb * GB < room * DISK_SHARE:
        return int(budget_gb * GB), 1.0
    return room, DISK_SHARE
