"""Ways in which an archive can be wrong although its shares and trades equal the daily bar.

What does not belong here: what other downloaders are known to leave (``archive_factories``).
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

Corruption = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]
"""Rows of one session on the vendor's columns, instants as nanoseconds, and what to draw from."""

SECOND_NS: Final = 10**9
CLOCKS: Final = ("sip_timestamp", "participant_timestamp", "trf_timestamp")
VALID: Final = pl.col("correction").fill_null(0) == 0


def shuffle(*names: str) -> Corruption:
    """Return the corruption that gives the values of columns to other rows."""

    def change(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        order = rng.permutation(rows.height).tolist()
        return rows.with_columns(pl.col(names).gather(order))

    return change


def reverse(*names: str) -> Corruption:
    """Return the corruption that turns columns upside down."""
    return lambda rows, _: rows.with_columns(pl.col(names).reverse())


def fill(name: str, value: object) -> Corruption:
    """Return the corruption that gives every row one value."""
    dtype = pl.Int64 if isinstance(value, int) else pl.String
    return lambda rows, _: rows.with_columns(pl.lit(value, dtype).alias(name))


def shift(*names: str, seconds: float) -> Corruption:
    """Return the corruption that moves clocks; what is unknown (null or 0) stays so."""
    moved = pl.col(names) + int(seconds * SECOND_NS)
    return lambda rows, _: rows.with_columns(pl.when(pl.col(names) > 0).then(moved))


def repeat_number(name: str) -> Corruption:
    """Return the corruption that gives one trade the identity of another."""

    def change(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        is_on = VALID & (pl.col("exchange") != 4)  # off exchange, real ids repeat
        found = rows.with_row_index().filter(is_on)
        first = found.row(int(rng.integers(0, found.height)), named=True)
        same = found.filter(
            (pl.col("exchange") == first["exchange"]) & (pl.col("index") != first["index"])
        )
        if same.is_empty():
            return rows
        other = int(same["index"][int(rng.integers(0, same.height))])
        is_other = pl.int_range(pl.len()) == other
        return rows.with_columns(
            pl.when(is_other).then(pl.lit(first[name])).otherwise(name).alias(name)
        )

    return change


def scale_prices(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Adjust prices by a cent or more, up or down."""
    return rows.with_columns(pl.col("price") * float(rng.choice([0.98, 0.995, 1.005, 1.02])))


def move_trade(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Give one trade the time of a trade that is not its neighbour, on every clock."""
    plain = np.flatnonzero(rows.select(VALID.alias("valid"))["valid"].to_numpy())
    first, other = sorted(rng.choice(plain.size, 2, replace=False))
    if other - first < 3:
        return rows
    step = int(rows["sip_timestamp"][int(plain[other])] - rows["sip_timestamp"][int(plain[first])])
    is_first = pl.int_range(pl.len()) == int(plain[first])
    moved = pl.when(is_first & (pl.col(CLOCKS) > 0)).then(pl.col(CLOCKS) + step + 1)
    return rows.with_columns(moved.otherwise(pl.col(CLOCKS)))


def swap_trades(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Replace a trade by a second copy of another of the same size, under a number of its own."""
    return rows.sample(rows.height, with_replacement=True, seed=int(rng.integers(2**31)))


CORRUPTIONS: Final[dict[str, Corruption]] = {
    "prices_reversed": reverse("price"),
    "prices_shuffled": shuffle("price"),
    "prices_scaled": scale_prices,
    "sizes_shuffled": shuffle("size", "decimal_size"),
    "prices_and_sizes_reversed": reverse("price", "size", "decimal_size"),
    "conditions_shuffled": shuffle("conditions"),
    "tape_a_second_late": shift("sip_timestamp", seconds=1),
    "tape_a_second_early": shift("sip_timestamp", seconds=-1),
    "venues_a_second_late": shift("participant_timestamp", "trf_timestamp", seconds=1),
    "facilities_a_second_early": shift("trf_timestamp", seconds=-1),
    "all_clocks_an_hour_late": shift(*CLOCKS, seconds=3_600),
    "all_clocks_an_hour_early": shift(*CLOCKS, seconds=-3_600),
    "all_clocks_a_second_early": shift(*CLOCKS, seconds=-1),
    "clocks_shuffled": shuffle(*CLOCKS),
    "tape_clock_copied": lambda rows, _: rows.with_columns(
        participant_timestamp=pl.col("sip_timestamp")
    ),
    "one_time": lambda rows, _: rows.with_columns(
        sip_timestamp=pl.col("sip_timestamp").gather([rows.height // 2] * rows.height)
    ),
    "one_trade_moved": move_trade,
    "one_id": fill("id", "1"),
    "two_trades_of_one_id": repeat_number("id"),
    "one_number": fill("sequence_number", 1),
    "two_trades_of_one_number": repeat_number("sequence_number"),
    "numbers_reversed": reverse("sequence_number"),
    "numbers_shuffled": shuffle("sequence_number"),
    "one_exchange": fill("exchange", 11),
    "all_off_exchange": fill("exchange", 4),
    "drawn_with_replacement": swap_trades,
}
"""Each leaves a session that is not what the vendor sent, if it changes anything in it."""
