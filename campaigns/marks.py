"""What a session under a lying vendor may be: the truth, red, or marked as unproven.

What belongs here: the judgement of one download by the truth, without the code that it judges.
What does not: which faults strike (``refusals``).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from smallcaps_assets.core.states import GREEN
from smallcaps_assets.core.ticks.conditions import measure_volume
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse

WAITING: Final = frozenset({"empty_disputed", "disputed"})
"""States of sessions that wait for another day, or for a person."""

MAX_DEFICIT: Final = 0.001
"""Share of a bar that a tape may differ by; half a share of volume besides."""

WITHDRAWN: Final = (1, 7, 8)
"""Corrections of originals that a bar older than their cancel still counts."""


@dataclass(slots=True)
class Judgement:
    """What a download made of the sessions of a plan.

    Attributes:
        problems: What is wrong, a line each.
        open_keys: Sessions that need not be the truth: red ones that wait, marked ones, and
            those that differ by what no bar shows.
        counts: Sessions by what they are.
    """

    problems: list[str] = field(default_factory=list)
    open_keys: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


def judge_sessions(
    lakehouse: Lakehouse, keys: tuple[str, ...], truth: Mapping[str, Receipt]
) -> Judgement:
    """Compare what landed with the truth: green without a mark must be equal to it.

    Args:
        lakehouse: The lake to judge.
        keys: Planned keys.
        truth: Receipts of a download from an honest vendor, by key.
    """
    judgement = Judgement()
    states = lakehouse.ledger.states(keys)
    judgement.open_keys = {key for key, state in states.items() if state in WAITING}
    for receipt in lakehouse.sessions.iter_receipts():
        word = _judge(lakehouse, receipt, states[receipt.key], truth[receipt.key])
        judgement.counts[word] += 1
        if word not in {"true", "red"}:
            judgement.open_keys.add(receipt.key)
        if word not in {"true", "red", "marked", "unseen"}:
            judgement.problems.append(f"{receipt.key} {word}")
    return judgement


def _judge(lakehouse: Lakehouse, receipt: Receipt, state: str, truth: Receipt) -> str:
    """Return ``true``, ``red``, ``marked`` or ``unseen``, else what is wrong."""
    if receipt.content_hash == truth.content_hash:
        is_doubted = state == "disputed" or (receipt.marks and truth.bar_volume is not None)
        return (
            f"is true, but doubted ({state}, {', '.join(receipt.marks)})" if is_doubted else "true"
        )
    if state not in GREEN:
        return "red"
    if receipt.marks:
        return "marked"
    trades = lakehouse.sessions.read_trades(receipt.ticker, receipt.session_date)
    return _compare_bar(trades, truth) or "unseen"


def _compare_bar(trades: pl.DataFrame, truth: Receipt) -> str:
    """Return by how much the rows differ from an honest bar, where a bar can show it."""
    if truth.bar_volume is None or truth.bar_trade_count is None:
        return "is wrong without a bar, green and without a mark"
    older = pl.when(pl.col("correction").is_in(WITHDRAWN)).then(0).otherwise("correction")
    measured = [
        measure_volume(trades),
        measure_volume(trades.with_columns(older.cast(pl.Int8).alias("correction"))),
    ]
    count = min(abs(truth.bar_trade_count - found.trade_count) for found in measured)
    volume = min(abs(truth.bar_volume - found.volume) for found in measured)
    is_seen = count > MAX_DEFICIT * truth.bar_trade_count or volume > max(
        MAX_DEFICIT * truth.bar_volume, 0.5
    )
    differs = f"differs from its bar by {count} of {truth.bar_trade_count} trades, {volume:g} of"
    return f"{differs} {truth.bar_volume:g} shares, green without a mark" if is_seen else ""
