"""A candidate plan of a universe: its months, lives, batches and record.

What belongs here: from settings, listings and bars to a plan that nobody has judged yet.  What does
not: whether it may be published (``publishing``), and what it costs (``estimates``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.sessions import month_bounds
from smallcaps_assets.core.universe.lives import build_lives
from smallcaps_assets.core.universe.progress import PROVEN, measure_units
from smallcaps_assets.core.universe.units import assign_batches, plan_ticker_months
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.universe.symbols import ChosenSymbols, choose_symbols, find_unknown
from smallcaps_assets.lake.tables.universe_record import UniverseRecord, hash_units
from smallcaps_assets.lakehouse import Lakehouse


@dataclass(frozen=True, slots=True, eq=False)
class UniverseCandidate:
    """A plan that nobody has judged yet.

    Attributes:
        plan: ``schemas.UNIVERSE_PLAN``.
        record: What is known of it.
        lives: ``ticker``, ``first_date`` and ``last_date`` of what was planned.
    """

    plan: pl.DataFrame
    record: UniverseRecord
    lives: pl.DataFrame


def build_candidate(lakehouse: Lakehouse, previous: Mapping[str, int]) -> UniverseCandidate:
    """Build the plan that the settings ask for.

    Args:
        lakehouse: Where listings and bars are.
        previous: Batches of earlier plans.

    Raises:
        ConfigError: No month of the dates asked for is over and published.
        MissingPartitionError: There are no symbols.
        RefusedFileError: The file of symbols is refused.
    """
    first, last = bound_months(lakehouse)
    chosen = choose_symbols(lakehouse, first, last)
    lives = _build_lives(lakehouse, chosen, first, last)
    begun = lives.group_by("ticker").agg(first_month=pl.col("first_date").min().dt.month_start())
    batches = assign_batches(begun, previous, lakehouse.settings.batch_tickers)
    planned = {ticker: batches[ticker] for ticker in begun["ticker"]}
    plan = plan_ticker_months(lives, chosen.bars, lakehouse.calendar, first, last, planned)
    judged, unknown = find_unknown(lakehouse, chosen)
    units = measure_units(plan, PROVEN.to_frame())
    record = UniverseRecord(
        plan_hash=hash_units(units),
        created_at=lakehouse.clock(),
        symbols=chosen.origin,
        first=first,
        last=last,
        tickers=plan["ticker"].n_unique(),
        units=units.height,
        ticker_months=plan.height,
        sessions=int(units["owed"].sum()),
        batch_tickers=lakehouse.settings.batch_tickers,
        batches=batches,
        judged_tickers=judged,
        unknown_tickers=unknown,
        facts=_count(chosen, lives, unknown),
    )
    return UniverseCandidate(plan, record, lives)


def bound_months(lakehouse: Lakehouse) -> tuple[dt.date, dt.date]:
    """Find the first date and the last one that a universe may plan.

    A month is planned when it is over: when its last session is published, and is not after the
    last one that is wanted.

    Raises:
        ConfigError: There is no such month.
    """
    first = lakehouse.first_wanted
    wanted = min(lakehouse.last_wanted, lakehouse.last_available)
    begin, end = month_bounds(f"{wanted:%Y-%m}")
    if lakehouse.calendar.dates(begin, end)[-1] > wanted:
        end = begin - dt.timedelta(days=1)
    if end < first:
        raise ConfigError(
            f"no month from {first} to {lakehouse.last_wanted} is over and published (the newest "
            f"published session is {lakehouse.last_available}): a universe is planned in whole "
            "months; ask for other dates (--from and --to, SMALLCAPS_FIRST_SESSION, "
            "SMALLCAPS_LAST_SESSION), or plan again when the month is over"
        )
    return first, end


def _build_lives(
    lakehouse: Lakehouse, chosen: ChosenSymbols, first: dt.date, last: dt.date
) -> pl.DataFrame:
    """Build the lives of symbols; without any bars, one without a listing lived all the time."""
    months = lakehouse.tables.list_bar_months(first, last)
    if not months:
        listings = chosen.symbols.join(chosen.listings, on="ticker", how="left")
        return build_lives(listings, None, first, last)
    stored = (max(first, month_bounds(months[0])[0]), min(last, month_bounds(months[-1])[1]))
    return build_lives(chosen.listings, chosen.own_bars, first, last, stored)


def _count(
    chosen: ChosenSymbols, lives: pl.DataFrame, unknown: Mapping[str, str]
) -> dict[str, Number]:
    """Count how the plan came about, for its record."""
    idle = chosen.symbols.join(lives, on="ticker", how="anti")
    outside = idle.filter(~pl.col("ticker").is_in(list(unknown)))
    return {
        **chosen.numbers,
        "lived_symbols": lives["ticker"].n_unique(),
        "symbols_outside_the_dates": outside.height,
    }
