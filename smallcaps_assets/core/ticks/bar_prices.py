"""Prices of the tape against those of the daily bar: open, high, low, close and vwap.

What belongs here: which of them differ, as far as the bar was written down.  What does not:
volume and count (``quality``), the rules that make a bar (``conditions``), the verdict.

A bar is rounded by whoever wrote it: to cents, to four decimals, to six.  A price differs when no
rounding to the decimals that the bar has can make one of the other.
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.ticks.conditions import build_daily_bar
from smallcaps_assets.schemas import DAILY_BARS

PRICES: Final = ("open", "high", "low", "close")
FIGURES: Final = (*PRICES, "vwap")

_KEY: Final = DAILY_BARS.key
_MOST_DECIMALS: Final = 6
_CENTS: Final = 2
_SUB_PENNY: Final = 4
"""Decimals of prices from 1 USD on, and of those below, at the least."""
_GRID_ERROR: Final = 1e-4
"""Distance from a whole number, in units of the last decimal, that a float adds."""
_FLOAT_RATIO: Final = 1e-9


def compare_prices(trades: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Compare the prices of sessions, each in tape order, with those of their daily bars.

    Bars without volume have no prices, and are left out.

    Returns:
        One row per session and figure that differs, sorted: ``ticker``, ``session_date``,
        ``figure`` (of ``FIGURES``), ``tape_price``, ``bar_price`` (null: the bar does not know it).
    """
    usable = bars.filter(pl.col("volume").fill_nan(None) > 0)
    known = usable.select(*_KEY, pl.col(FIGURES).fill_nan(None).name.prefix("bar_"))
    compared = (
        build_daily_bar(trades.lazy())
        .join(known.lazy(), on=_KEY, how="inner", validate="1:1")
        .with_columns(
            price_rounding=_measure_rounding([f"bar_{name}" for name in PRICES]),
            vwap_rounding=_measure_rounding(["bar_vwap"]),
        )
        .collect()
    )
    return pl.concat([_select_differing(compared, figure) for figure in FIGURES]).sort(*_KEY)


def _measure_rounding(names: list[str]) -> pl.Expr:
    """Measure half a unit of the last decimal that the prices of a bar have among them."""
    is_penny = pl.min_horizontal(names) >= 1
    rounding = pl.lit(0.5 * 10**-_MOST_DECIMALS)
    for decimals in range(_MOST_DECIMALS - 1, _CENTS - 1, -1):
        units = [pl.col(name) * 10**decimals for name in names]
        fits = pl.all_horizontal((unit - unit.round()).abs() < _GRID_ERROR for unit in units)
        may = fits & is_penny if decimals < _SUB_PENNY else fits
        rounding = pl.when(may).then(0.5 * 10**-decimals).otherwise(rounding)
    return rounding


def _select_differing(compared: pl.DataFrame, figure: str) -> pl.DataFrame:
    tape, bar = pl.col(figure), pl.col(f"bar_{figure}")
    rounding = pl.col("vwap_rounding" if figure == "vwap" else "price_rounding")
    tolerated = rounding * (1 + _GRID_ERROR) + _FLOAT_RATIO * bar
    differs = tape.is_not_null() & ((tape - bar).abs() <= tolerated).not_().fill_null(value=True)
    return compared.filter(differs).select(
        *_KEY, pl.lit(figure).alias("figure"), tape.alias("tape_price"), bar.alias("bar_price")
    )
