"""Features of minute bars: returns, flow, liquidity and spreads, looking back inside the session.

What belongs here: columns that are known at the end of their minute, and the proof that none looks
ahead.  What does not: what happened afterwards (outcomes and labels), features of an event.

Every window ends with the row itself and begins in its session at the earliest.  A feature of fewer
than ten values is null, and so is one that is not defined: a spread of 0 would read as free.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.research.kernels import Floats, Integers, measure_windows
from smallcaps_assets.core.research.minute_bars import MINUTE_NS
from smallcaps_assets.core.research.prints import mark_changes
from smallcaps_assets.core.ticks.phases import REGULAR
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.schemas_research import BAR_FEATURES

WINDOW: Final = 30
"""Bars that rolling features look back, the bar itself included."""
FEWEST: Final = 10
BUCKETS_A_DAY: Final = 50
"""Buckets of VPIN in a usual day."""
VPIN_BUCKETS: Final = 50
SAMPLE: Final = 200
"""Sessions of which a row is made again from cut data."""

_KEY: Final = ("ticker", "session_date")
_FLAT: Final = 1e-12
"""Variance over the mean square, up to which a regressor is constant."""
_CS: Final = 3 - 2 * np.sqrt(2)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Rows of several sessions, of which windows never leave one.

    Attributes:
        firsts: First row of each session, and the number of all rows.
    """

    firsts: Integers

    def measure(self, x: Floats, y: Floats) -> Floats:
        """Call ``kernels.measure_windows`` on the last 30 rows; NaN below 10 pairs."""
        rows = measure_windows(x, y, self.firsts, WINDOW)
        rows[rows[:, 0] < FEWEST] = np.nan
        return rows

    def average(self, x: Floats) -> Floats:
        """Average the last 30 rows."""
        return self.measure(x, x)[:, 1]

    def slope(self, x: Floats, y: Floats, *, through_origin: bool = False) -> Floats:
        """Fit the slope of y on x; NaN where x is constant, or 0 through the origin."""
        count, mean_x, mean_y, squares, products = self.measure(x, y).T
        raw = squares + count * mean_x**2
        if through_origin:
            return _divide(products + count * mean_x * mean_y, raw)
        return _divide(products, np.where(squares > _FLAT * raw, squares, np.nan))


def build_bar_features(
    bars: pl.DataFrame, halts: pl.DataFrame, scales: pl.DataFrame
) -> pl.DataFrame:
    """Make the features of the regular minute bars of whole sessions, or of their beginnings.

    Args:
        bars: ``schemas_research.MINUTE_BARS``, sorted by its key.
        halts: ``schemas_research.HALTS``; one that has not ended is not known.
        scales: ``information_bars.scale_sessions``.

    Returns:
        ``schemas_research.BAR_FEATURES``, sorted by its key.
    """
    regular = bars.filter(pl.col("trading_phase") == REGULAR)
    labelled = _label_session(regular, halts, scales)
    if labelled.is_empty():
        return BAR_FEATURES.empty()
    plain = _relate(labelled)
    made = plain | _roll(labelled, plain["log_return"])
    features = labelled.with_columns(pl.Series(name, values) for name, values in made.items())
    return BAR_FEATURES.conform(features.select(BAR_FEATURES.schema.names()).fill_nan(None))


def estimate_roll(covariance: Floats) -> Floats:
    """Estimate Roll's spread of autocovariances of log returns, a fraction; NaN from 0 up."""
    return 2 * np.sqrt(np.where(covariance < 0, -covariance, np.nan))


def estimate_corwin_schultz(high: Floats, low: Floats, previous_close: Floats) -> Floats:
    """Estimate the signed Corwin-Schultz spread of each row and the one before, a fraction.

    The second bar is shifted, in logs, to the close of the first where it gapped away from it.

    Args:
        high: Highest prices.
        low: Lowest prices.
        previous_close: Close of the row before; NaN: no gap is corrected.
    """
    top, bottom, before = np.log(high), np.log(low), np.log(previous_close)
    gap = np.fmax(0, bottom - before) - np.fmax(0, before - top)
    top_2, bottom_2 = top - gap, bottom - gap
    top_1, bottom_1 = np.roll(top, 1), np.roll(bottom, 1)
    beta = (top_1 - bottom_1) ** 2 + (top_2 - bottom_2) ** 2
    gamma = (np.fmax(top_1, top_2) - np.fmin(bottom_1, bottom_2)) ** 2
    alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / _CS - np.sqrt(gamma / _CS)
    spread: Floats = 2 * np.expm1(alpha) / (1 + np.exp(alpha))
    spread[:1] = np.nan
    return spread


def estimate_abdi_ranaldo(high: Floats, low: Floats, close: Floats) -> float:
    """Estimate the spread of Abdi and Ranaldo over all bars, a fraction; 0 where negative."""
    middle = (np.log(high) + np.log(low)) / 2
    price = np.log(close)
    moment = float(np.mean((price[:-1] - middle[:-1]) * (price[:-1] - middle[1:])))
    return float(2 * np.sqrt(max(0.0, moment)))


def measure_vpin(
    signed: Floats, volume: Floats, bucket: float, window: int = VPIN_BUCKETS
) -> Floats:
    """Average the imbalance of the last full buckets of volume, after each row.

    A row is split over the edge of a bucket.

    Args:
        signed: Shares bought less sold of each row of a session.
        volume: Its shares.
        bucket: Shares of a bucket; NaN: unknown.
        window: Buckets averaged.

    Returns:
        From 0 to 1; NaN before that many buckets are full.
    """
    total, imbalance = np.cumsum(volume), np.cumsum(signed)
    full = np.floor(total / bucket * (1 + _FLAT))
    vpin = np.full(total.size, np.nan)
    rows = np.flatnonzero(full >= window)
    edges = (full[rows, None] - np.arange(window, -1, -1)) * bucket
    # An edge never lies beyond the row, else rounding would let the next one in.
    edges = np.minimum(edges, total[rows, None])
    flows = np.interp(edges, np.append(0.0, total), np.append(0.0, imbalance))
    vpin[rows] = np.abs(np.diff(flows, axis=1)).sum(axis=1) / (window * bucket)
    return vpin


def judge_truncation(
    features: pl.DataFrame, bars: pl.DataFrame, halts: pl.DataFrame, scales: pl.DataFrame
) -> Verdict:
    """Judge whether features stay the same when all that came later is taken away.

    A row of each of some sessions is made again of bars up to it, and compared bit by bit.

    Args:
        features: ``schemas_research.BAR_FEATURES``.
        bars: The minute bars they were made of.
        halts: The halts of them.
        scales: The sizes of their sessions.
    """
    chosen = _choose_rows(features)
    keys = list(_KEY)
    until = chosen.select(*keys, known="known_timestamp")
    cut = bars.join(until, on=keys, how="inner", maintain_order="left")
    cut = cut.filter(pl.col("known_timestamp") <= pl.col("known")).drop("known")
    again = build_bar_features(cut, halts, scales).group_by(keys, maintain_order=True).tail(1)
    columns = BAR_FEATURES.schema.names()
    stored, again = (
        chosen.select(columns).sort(columns[:3]),
        again.select(columns).sort(columns[:3]),
    )
    changed = [name for name in columns if not _are_equal(stored[name], again[name])]
    offenders = pl.DataFrame({"feature": changed})
    summary = (
        f"{len(changed)} features of {chosen.height:,} rows change when later bars are taken away; "
        "expected 0"
    )
    return Verdict(not changed, summary, {"rows": chosen.height}, offenders)


def _label_session(bars: pl.DataFrame, halts: pl.DataFrame, scales: pl.DataFrame) -> pl.DataFrame:
    """Add what follows from the row and from sums since the session began."""
    halted = halts.select(*_KEY, pl.col("end").alias("halt_end")).sort("halt_end")
    joined = bars.join(
        scales.select(*_KEY, "day_volume"), on=_KEY, how="left", maintain_order="left"
    ).join_asof(
        halted,
        left_on="known_timestamp",
        right_on="halt_end",
        by=list(_KEY),
        check_sortedness=False,
    )
    minute = pl.col("minute").to_physical()
    has_close = pl.when(pl.col("close").is_not_null())
    last_minute = has_close.then(minute).forward_fill()
    return joined.with_columns(
        last_close=pl.col("close").forward_fill().over(_KEY),
        previous_close=pl.col("close").forward_fill().shift(1).over(_KEY),
        first_open=pl.col("open").first(ignore_nulls=True).over(_KEY),
        total=pl.col("volume").cum_sum().over(_KEY),
        amount=pl.col("dollar").cum_sum().over(_KEY),
        since_trade=(minute - last_minute.shift(1)).over(_KEY),
        since_halt=pl.col("known_timestamp").to_physical() - pl.col("halt_end").to_physical(),
        bought=pl.col("tick_rule_buy_volume") - pl.col("tick_rule_sell_volume"),
    )


def _relate(bars: pl.DataFrame) -> dict[str, Floats]:
    """Make the features of a row by itself.

    numpy divides each row alike; polars multiplies by the inverse where a frame has one row.
    """
    values = (_read(bars, name) for name in ("close", "last_close", "previous_close", "first_open"))
    close, last, previous, opened = values
    total, amount, volume = (_read(bars, name) for name in ("total", "amount", "volume"))
    return {
        "log_return": np.log(close / previous),
        "minutes_since_trade": _read(bars, "since_trade") / MINUTE_NS,
        "minutes_since_halt": _read(bars, "since_halt") / MINUTE_NS,
        "session_return": np.log(last / opened),
        "vwap_distance": _divide(last * total, amount) - 1,
        "order_imbalance": _divide(_read(bars, "bought"), volume),
        "relative_volume": _divide(total, _read(bars, "day_volume")),
        "odd_lot_share": _divide(_read(bars, "odd_lot_volume"), volume),
        "trf_share": _divide(_read(bars, "trf_volume"), volume),
    }


def _roll(bars: pl.DataFrame, returns: Floats) -> dict[str, Floats]:
    """Make the features over windows."""
    starts = mark_changes(bars["ticker"]) | mark_changes(bars["session_date"])
    sessions = Sessions(np.append(np.flatnonzero(starts), bars.height))
    names = ("signed_dollar", "dollar", "bought", "volume", "high", "low")
    value = {name: _read(bars, name) for name in (*names, "previous_close", "trade_count")}
    signed = value["signed_dollar"]
    pairs = sessions.measure(returns, np.where(starts, np.nan, np.roll(returns, 1)))
    squares = sessions.measure(returns, returns)
    spreads = estimate_corwin_schultz(value["high"], value["low"], value["previous_close"])
    averaged = sessions.average(np.where(starts, np.nan, spreads))
    imbalance = _divide(sessions.average(value["bought"]), sessions.average(value["volume"]))
    root = np.sign(signed) * np.sqrt(np.abs(signed))
    return {
        "order_imbalance_30": imbalance,
        "realised_volatility_30": np.sqrt(squares[:, 3] + squares[:, 0] * squares[:, 1] ** 2),
        "intensity_30": sessions.average(value["trade_count"]),
        "roll_spread_30": estimate_roll(pairs[:, 4] / (pairs[:, 0] - 1)),
        "corwin_schultz_30": np.where(np.isnan(averaged), np.nan, np.fmax(0, averaged)),
        "amihud_30": sessions.average(_divide(np.abs(returns), value["dollar"])),
        "kyle_30": sessions.slope(signed, returns),
        "hasbrouck_30": sessions.slope(root, returns, through_origin=True),
        "vpin": _measure_vpins(value["bought"], value["volume"], bars["day_volume"], sessions),
    }


def _measure_vpins(
    signed: Floats, volume: Floats, day_volume: pl.Series, sessions: Sessions
) -> Floats:
    buckets = day_volume.to_numpy() / BUCKETS_A_DAY
    vpins = np.full(signed.size, np.nan)
    for first, last in zip(sessions.firsts[:-1], sessions.firsts[1:], strict=True):
        if buckets[first] > 0:
            vpins[first:last] = measure_vpin(signed[first:last], volume[first:last], buckets[first])
    return vpins


def _read(bars: pl.DataFrame, name: str) -> Floats:
    values: Floats = bars[name].cast(pl.Float64).to_numpy()
    return values


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide; NaN where the denominator is not above 0."""
    return numerator / np.where(denominator > 0, denominator, np.nan)


def _choose_rows(features: pl.DataFrame) -> pl.DataFrame:
    """Choose a row of each of some sessions, the same ones each time."""
    random = np.random.default_rng(1)
    sessions = features.group_by(_KEY, maintain_order=True).agg(rows=pl.len())
    few = sessions.sample(min(SAMPLE, sessions.height), seed=1)
    places = pl.Series("place", (random.random(few.height) * few["rows"].to_numpy()).astype(int))
    numbered = features.with_columns(place=pl.int_range(pl.len()).over(_KEY))
    wanted = few.select(*_KEY, places.cast(pl.Int64))
    return numbered.join(wanted, on=[*_KEY, "place"], how="semi").drop("place")


def _are_equal(one: pl.Series, other: pl.Series) -> bool:
    """Say whether two columns hold the same bits."""
    return one.equals(other, check_names=False, null_equal=True)
