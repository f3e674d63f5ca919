"""A plan divided into batches of whole tickers.

What does not belong here: event windows (``windows``), whole months (``months``) and request ranges
(``ranges``).
"""

import heapq
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import polars as pl

from smallcaps_assets.errors import ConfigError

_NOBODY: Final[Mapping[str, int]] = MappingProxyType({})


def assign_batches(
    plan: pl.DataFrame,
    batches: int,
    weights: pl.DataFrame | None = None,
    assigned: Mapping[str, int] = _NOBODY,
) -> dict[str, int]:
    """Assign each ticker of a plan to one of ``batches``, counted from 1.

    The heaviest tickers are dealt first, each to the lightest batch; ties go by ticker, so one
    plan is always divided alike.  A ticker that was assigned before stays where it is: weights
    change while batches are downloaded, and a ticker that moved would be fetched by none.

    Weights, usually estimated bytes, are summed by ticker; one that is not there weighs nothing.
    Without any every session weighs alike.

    Raises:
        ConfigError: ``batches`` is not positive.
    """
    if batches < 1:
        raise ConfigError(f"expected at least one batch, got {batches}")
    weighted = plan.select("ticker", weight=pl.lit(1)) if weights is None else weights
    heaviest = (
        plan.select(pl.col("ticker").unique())
        .join(weighted.group_by("ticker").agg(pl.col("weight").sum()), on="ticker", how="left")
        .select("ticker", pl.col("weight").fill_null(0))
        .sort("weight", "ticker", descending=[True, False])
    )
    dealt = _deal(dict(heaviest.iter_rows()), batches, assigned)
    return dict(sorted(dealt.items()))


def _deal(
    weights: Mapping[str, float], batches: int, assigned: Mapping[str, int]
) -> dict[str, int]:
    """Deal each ticker its batch; they are given the heaviest first."""
    dealt = {ticker: assigned[ticker] for ticker in weights if ticker in assigned}
    held = dict.fromkeys(range(1, batches + 1), (0.0, 0))
    for ticker, batch in dealt.items():
        load, members = held[batch]
        held[batch] = (load + weights[ticker], members + 1)
    loads = [(load, members, batch) for batch, (load, members) in held.items()]
    heapq.heapify(loads)
    for ticker, weight in weights.items():
        if ticker in dealt:
            continue
        load, members, batch = loads[0]
        dealt[ticker] = batch
        heapq.heapreplace(loads, (load + weight, members + 1, batch))
    return dealt
