"""Units: a month of a batch of tickers, what its plan owes, and the key that names it.

What belongs here: from lives to ``schemas.UNIVERSE_PLAN``, batches, keys.  What does not: lives
(``lives``), what is proven of a unit (``progress``), and what it costs (``costs``).

A ticker owes every session of a month on which it lived or had a bar.  Only the plan and the keys
know batches: where they are lost, keys change and nothing is asked again.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

import polars as pl

from smallcaps_assets.core.budget.calibration import DEFAULT_SHARES_PER_TRADE
from smallcaps_assets.core.keys import month_expression
from smallcaps_assets.core.segments.indexing import bit_of, explode_days
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.universe.lives import Bars
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import DAILY_BARS, UNIVERSE_PLAN

TICKER_MONTH: Final = ("month", "ticker")
"""What identifies a row of a plan, whatever its batch."""

_KEY: Final = re.compile(r"b(\d{3,6})_(\d{4}-(?:0[1-9]|1[0-2]))")
_COUNTS: Final = ("volume", "trade_count")
_MONTHS: Final = 12
_LAST_DAY: Final = 31

UNITS_A_RUN: Final = 20
"""Units that one run of a download takes at most."""


def plan_ticker_months(
    lives: pl.DataFrame,
    bars: Bars,
    calendar: SessionCalendar,
    first: dt.date,
    last: dt.date,
    batches: Mapping[str, int],
) -> pl.DataFrame:
    """Plan the months of tickers: every session on which one lived or had a bar.

    Args:
        lives: ``ticker``, ``first_date``, ``last_date``.
        bars: Daily bars of any tickers; those of others show which sessions have bars at all.
            ``volume`` and ``trade_count`` say what to expect, where they are there.
        calendar: The sessions of the exchange.
        first: First date that may be planned.
        last: Last date that may be planned, the end of a month that is over.
        batches: Batch of each ticker that is planned.

    Returns:
        ``schemas.UNIVERSE_PLAN``, sorted by batch, month and ticker; trades are unknown where a
        session has no bars at all, or a bar says nothing.

    Raises:
        CoverageError: The calendar does not reach one of the dates.
    """
    assigned = pl.DataFrame(
        {"ticker": list(batches), "batch": list(batches.values())},
        {"ticker": pl.String(), "batch": pl.Int32()},
    )
    held, covered = _index_bars(bars, first, last, assigned)
    lived = _cut_months(lives.join(assigned, on="ticker", how="semi"))
    owed = _owe(pl.concat([lived, held.select(lived.columns)]), calendar, first, last)
    told = owed.join(held.drop("bits"), on=["ticker", "number"], how="left", validate="1:1").join(
        covered, on="number", how="left", validate="m:1"
    )
    is_told = (pl.col("owed") & ~pl.col("covered")) == 0
    is_told &= ~pl.col("is_unknown").fill_null(value=False)
    expected = pl.when(is_told).then(pl.col("rows").fill_null(0))
    plan = told.with_columns(expected_rows=expected).join(assigned, on="ticker", validate="m:1")
    return UNIVERSE_PLAN.conform(plan.select(*UNIVERSE_PLAN.columns)).sort(UNIVERSE_PLAN.key)


def assign_batches(
    first_months: pl.DataFrame, previous: Mapping[str, int], size: int
) -> dict[str, int]:
    """Assign each ticker to a batch, from 1: groups of ``size`` by first month, then by symbol.

    What was assigned before stays, also where it is not planned any more; new tickers come into
    new batches, so that no finished unit grows by them.

    Args:
        first_months: ``ticker`` and ``first_month`` (or first date) of what is planned, each once.
        previous: Batches of earlier plans.
        size: Tickers of a batch.

    Raises:
        ConfigError: ``size`` is not positive.
    """
    if size < 1:
        raise ConfigError(f"expected at least one ticker a batch, got {size}")
    ordered = first_months.sort("first_month", "ticker")["ticker"]
    fresh = [ticker for ticker in ordered if ticker not in previous]
    following = max(previous.values(), default=0) + 1
    return {**previous, **{ticker: following + n // size for n, ticker in enumerate(fresh)}}


def encode_unit(batch: int, month: str) -> str:
    """Make the key of a unit, ``b017_2024-03``."""
    return f"b{batch:03d}_{month}"


def decode_unit(key: str) -> tuple[int, str]:
    """Split the key of a unit into batch and month.

    Raises:
        ConfigError: It is not a key as :func:`encode_unit` writes it.
    """
    match = _KEY.fullmatch(key)
    if match is None or encode_unit(int(match[1]), match[2]) != key:
        raise ConfigError(f"bad unit {key!r}: expected a batch and a month, such as b017_2024-03")
    return int(match[1]), match[2]


def unit_expression() -> pl.Expr:
    """Make the column ``unit`` from ``batch`` and ``month``."""
    batch = pl.col("batch").cast(pl.String).str.zfill(3)
    return pl.concat_str(pl.lit("b"), batch, pl.lit("_"), "month").alias("unit")


def list_units(plan: pl.DataFrame) -> pl.DataFrame:
    """List the units of ``schemas.UNIVERSE_PLAN``, sorted by batch and month.

    Returns:
        ``unit``, ``batch``, ``month``, and how many ``tickers`` and ``sessions`` each owes.
    """
    counted = plan.group_by("batch", "month").agg(
        tickers=pl.len(), sessions=pl.col("owed").bitwise_count_ones().cast(pl.Int64).sum()
    )
    return counted.sort("batch", "month").select(
        unit_expression(), "batch", "month", "tickers", "sessions"
    )


def list_owed(plan: pl.DataFrame) -> pl.DataFrame:
    """List ``ticker`` and ``session_date`` of what rows of a plan owe, in their order."""
    return explode_days(plan, "owed").select("ticker", "session_date")


def _number(date: pl.Expr) -> pl.Expr:
    """Count the months to that of a date, from the year 0."""
    return date.dt.year() * _MONTHS + date.dt.month().cast(pl.Int32) - 1


def _owe(
    bits: pl.DataFrame, calendar: SessionCalendar, first: dt.date, last: dt.date
) -> pl.DataFrame:
    """Unite the ``bits`` of each ticker and ``number``, and leave the sessions, as ``owed``."""
    united = bits.group_by("ticker", "number").agg(pl.col("bits").bitwise_or())
    months = _index_calendar(calendar, first, last)
    return (
        united.join(months, on="number", validate="m:1")
        .with_columns(owed=pl.col("bits") & pl.col("sessions"))
        .filter(pl.col("owed") != 0)
        .drop("bits", "sessions")
    )


def _index_calendar(calendar: SessionCalendar, first: dt.date, last: dt.date) -> pl.DataFrame:
    """Gather the ``sessions`` of each month as bits, with its ``number`` and name."""
    date = pl.col("session_date")
    dates = pl.DataFrame({"session_date": calendar.dates(first, last)}, {"session_date": pl.Date()})
    return dates.group_by(number=_number(date)).agg(
        month=month_expression().first(), sessions=bit_of(date.dt.day()).sum()
    )


def _cut_months(lives: pl.DataFrame) -> pl.DataFrame:
    """Cut lives to ``ticker``, ``number`` of a month, and ``bits`` of its days."""
    first, last, number = pl.col("first_date"), pl.col("last_date"), pl.col("number")
    cut = lives.with_columns(number=pl.int_ranges(_number(first), _number(last) + 1)).explode(
        "number"
    )
    start = pl.when(number == _number(first)).then(first.dt.day()).otherwise(1)
    end = pl.when(number == _number(last)).then(last.dt.day()).otherwise(_LAST_DAY)
    bits = bit_of(end + 1) - bit_of(start)
    return cut.select("ticker", number.cast(pl.Int32), bits=bits)


def _index_bars(
    bars: Bars, first: dt.date, last: dt.date, wanted: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Gather the bars of each ticker and month, and the dates of each month that have bars.

    Returns:
        ``ticker``, ``number``, ``bits``, ``rows`` and ``is_unknown`` of what is wanted; ``number``
        and ``covered`` bits, of all.
    """
    told = (DAILY_BARS.empty() if bars is None else bars).lazy()
    missing = [name for name in _COUNTS if name not in told.collect_schema().names()]
    date, volume = pl.col("session_date"), pl.col("volume")
    by_volume = pl.when(volume.is_finite() & (volume >= 0)).then(
        (volume / DEFAULT_SHARES_PER_TRADE).ceil().cast(pl.Int64)
    )
    rows = pl.coalesce(pl.when(pl.col("trade_count") >= 0).then("trade_count"), by_volume)
    counted = (
        told.with_columns(pl.lit(None, DAILY_BARS.schema[name]).alias(name) for name in missing)
        .filter(date.is_between(first, last))
        .select("ticker", number=_number(date), bits=bit_of(date.dt.day()), rows=rows)
        .group_by("ticker", "number")
        .agg(
            pl.col("bits").bitwise_or(),
            pl.col("rows").sum(),
            is_unknown=pl.col("rows").is_null().any(),
        )
        .collect(engine="streaming")
    )
    covered = counted.group_by("number").agg(covered=pl.col("bits").bitwise_or())
    return counted.join(wanted, on="ticker", how="semi"), covered
