"""Daily bars: from outside columns to the table, which ones rules may use, facts about them.

What belongs here: everything that looks at one bar at a time.  What does not: splits
(``splits``) and rules that look back over bars (``core.events.rules``).
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import is_symbol_expression, show_symbol
from smallcaps_assets.core.parsing import (
    check_calendar_start,
    check_columns,
    check_tickers,
    check_unique,
    parse_dates,
    parse_numbers,
)
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.errors import SchemaError
from smallcaps_assets.schemas import DAILY_BARS

OFFENDERS_SHOWN: Final = 20
"""Rows of each problem that facts carry along to show."""

_NUMBERS: Final = ("open", "high", "low", "close", "volume")
_REQUIRED: Final = ("ticker", "session_date", *_NUMBERS)
_OPTIONAL: Final = ("vwap", "trade_count")


@dataclass(frozen=True, eq=False)
class BarTableFacts:
    """What the daily bars hold, for metadata and checks.

    Attributes:
        unusable: Bars the rules drop: a price or volume that is missing, not finite, a price
            that is not positive, or a volume below zero.
        zero_volume: Bars without volume; they are usable.
        offenders: First unusable and non-session bars: ``ticker``, ``session_date``,
            ``problem``.
    """

    rows: int
    tickers: int
    unusable: int
    zero_volume: int
    non_session: int
    first_date: dt.date | None
    last_date: dt.date | None
    offenders: pl.DataFrame


@dataclass(frozen=True, eq=False)
class SiftedBars:
    """Bars of the vendor, and what of its rows is not believed.

    Attributes:
        bars: ``schemas.DAILY_BARS``, sorted by its key, each key once.
        repeated: Rows equal to another one, dropped.
        garbage: Rows left out because their ticker is none: ``ticker`` as it can be shown,
            ``session_date``.
        contradicting: Keys of which different rows came, all of them set aside.
    """

    bars: pl.DataFrame
    repeated: int
    garbage: pl.DataFrame
    contradicting: pl.DataFrame


def sift_bars(rows: pl.DataFrame) -> SiftedBars:
    """Part rows as the vendor sent them, in our columns, by what of them can be believed."""
    key = list(DAILY_BARS.key)
    sound = rows.filter(is_symbol_expression())
    distinct = sound.unique(maintain_order=True)
    is_alone = pl.struct(key).is_unique()
    garbage = rows.filter(~is_symbol_expression()).select(key)
    shown = [show_symbol(symbol) for symbol in garbage["ticker"]]
    return SiftedBars(
        bars=DAILY_BARS.conform(distinct.filter(is_alone)).sort(key),
        repeated=sound.height - distinct.height,
        garbage=garbage.with_columns(ticker=pl.Series(shown, dtype=pl.String)).sort(key),
        contradicting=distinct.filter(~is_alone).select(key).unique().sort(key),
    )


def parse_daily_bars(frame: pl.DataFrame) -> pl.DataFrame:
    """Parse bars from outside into the table.

    Columns ``ticker``, ``date`` (or ``session_date``), ``open``, ``high``, ``low``, ``close``,
    ``volume``, and optionally ``vwap`` and ``trade_count``.  Whole numbers become fractions,
    text becomes the date or the number that it is; nothing else is guessed.

    Returns:
        ``schemas.DAILY_BARS``, sorted by its key.

    Raises:
        SchemaError: A column is missing, unknown or of another type.
        CoverageError: A date lies before the exchange calendar.
        DataError: A key occurs twice, or a ticker or a date is not valid.
    """
    table = DAILY_BARS.name
    bars = _rename_date(frame)
    check_columns(bars, required=_REQUIRED, allowed=_OPTIONAL, table=table)
    check_tickers(bars, table=table)
    bars = bars.with_columns(pl.lit(None).alias(name) for name in _OPTIONAL if name not in bars)
    bars = parse_dates(bars, "session_date", table=table)
    bars = parse_numbers(bars, [*_NUMBERS, "vwap"], pl.Float64, table=table)
    bars = parse_numbers(bars, ["trade_count"], pl.Int64, table=table)
    bars = bars.with_columns(pl.col("vwap").fill_nan(None))
    check_calendar_start(bars, table=table)
    check_unique(bars, DAILY_BARS.key, table=table)
    return DAILY_BARS.conform(bars).sort(DAILY_BARS.key)


def select_usable_bars(bars: pl.LazyFrame) -> pl.LazyFrame:
    """Keep the bars that rules may use; order is kept.

    Prices must be finite and above zero, the volume finite and not below zero.
    """
    return bars.filter(_is_usable())


def measure_bars(bars: pl.DataFrame, calendar: SessionCalendar) -> BarTableFacts:
    """Gather the facts about ``schemas.DAILY_BARS``.

    Raises:
        CoverageError: A date lies outside the calendar.
    """
    first, last = bars.select(
        pl.col("session_date").min().alias("first"), pl.col("session_date").max().alias("last")
    ).row(0)
    for date in (first, last):
        if date is not None:
            calendar.check_covered(date)
    unusable = bars.filter(~_is_usable())
    non_session = bars.join(calendar.frame, on="session_date", how="anti")
    return BarTableFacts(
        rows=bars.height,
        tickers=bars["ticker"].n_unique(),
        unusable=unusable.height,
        zero_volume=bars.filter(pl.col("volume") == 0).height,
        non_session=non_session.height,
        first_date=first,
        last_date=last,
        offenders=pl.concat(
            [show_offenders(unusable, "unusable"), show_offenders(non_session, "no session")]
        ),
    )


def show_offenders(rows: pl.DataFrame, problem: str) -> pl.DataFrame:
    """Show the first of ``rows`` by ``ticker`` and ``session_date``, with their ``problem``."""
    first = rows.sort("ticker", "session_date").head(OFFENDERS_SHOWN)
    return first.select("ticker", "session_date", pl.lit(problem).alias("problem"))


def _is_usable() -> pl.Expr:
    prices = pl.col("open", "high", "low", "close")
    volume = pl.col("volume")
    is_usable = pl.all_horizontal(prices.is_finite(), prices > 0, volume.is_finite(), volume >= 0)
    return is_usable.fill_null(value=False)


def _rename_date(frame: pl.DataFrame) -> pl.DataFrame:
    if "date" not in frame.columns:
        return frame
    if "session_date" in frame.columns:
        raise SchemaError("daily_bars: expected one of date and session_date, got both")
    return frame.rename({"date": "session_date"})
