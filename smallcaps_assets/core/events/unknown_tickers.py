"""Tickers that no daily bar knows: named with the symbol that may be meant, and counted apart.

The vendor answers "no trades" for a ticker that does not exist as for one that did not trade, and
it has no bar either: two absences prove nothing.  What does not belong here: where bars are stored
(``lake``) and what syntax a ticker has (``core.keys``).
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Final

import polars as pl

from smallcaps_assets.core.states import GREEN
from smallcaps_assets.core.verdicts import Number, Thresholds, Verdict

SUGGESTED: Final = 50
"""Tickers for which a symbol spelt alike is looked for; it takes long."""
NAMED: Final = 10
"""Tickers that a summary names."""

_MARKS: Final = re.compile(r"[^A-Z0-9]")


def suggest_symbols(unknown: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Suggest the symbol that may be meant by each ticker, sorted; empty: none is near.

    Nearest is the symbol in capitals (``con``: ``CON``), then one that differs in case and marks
    alone (``BRK-A``: ``BRK.A``), then one that is spelt alike.
    """
    symbols = sorted(known)
    bare = {_strip(symbol): symbol for symbol in reversed(symbols)}
    held, found = set(symbols), {}
    for place, ticker in enumerate(sorted(unknown)):
        capitals = ticker.upper()
        near = capitals if capitals in held else bare.get(_strip(ticker), "")
        if not near and place < SUGGESTED:
            near = next(iter(difflib.get_close_matches(capitals, symbols, n=1, cutoff=0.7)), "")
        found[ticker] = near
    return found


def judge_unknown_tickers(
    planned: int, judged: int, unknown: Mapping[str, str], thresholds: Thresholds
) -> Verdict:
    """Judge the planned tickers that have no bar in any planned session, and what may be meant.

    Judged are those with a planned session on a date that has bars of anything.  Above the
    threshold ``unknown_tickers`` the number ``is_red`` is 1.
    """
    ratio = len(unknown) / planned if planned else 0.0
    numbers: dict[str, Number] = {
        "planned_tickers": planned,
        "judged_tickers": judged,
        "unknown_tickers": len(unknown),
        "unknown_ratio": ratio,
        "is_red": int(ratio > thresholds.unknown_tickers),
    }
    offenders = pl.DataFrame(
        {"ticker": list(unknown), "did_you_mean": list(unknown.values())},
        {"ticker": pl.String, "did_you_mean": pl.String},
    )
    if not judged:
        summary = (
            "no daily bars of the planned sessions are stored, so nothing says whether the "
            f"{planned} planned tickers exist; materialize daily_bars, or set SMALLCAPS_DAILY_BARS"
        )
        return Verdict(passed=False, summary=summary, numbers=numbers)
    if not unknown:
        summary = f"{judged} of {planned} planned tickers were judged, and bars know all of them"
        return Verdict(passed=True, summary=summary, numbers=numbers)
    named = [
        f"{ticker}: did you mean {near}?" if near else ticker for ticker, near in unknown.items()
    ]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    summary = (
        f"{len(unknown)} of {planned} planned tickers have no bar in any planned session "
        f"({ratio:.2%}, {thresholds.unknown_tickers:.2%} tolerated), so that no trades of them "
        f"prove nothing: {'; '.join(named[:NAMED])}{more}"
    )
    return Verdict(passed=False, summary=summary, numbers=numbers, offenders=offenders)


def select_unknown_sessions(states: pl.DataFrame, unknown: Collection[str]) -> pl.DataFrame:
    """Select ``ticker, session_date`` of green sessions (``schemas.COVERAGE``) that prove nothing.

    They are of tickers that no bar knows; one with a trade in any session is known after all.
    """
    suspects = states.filter(pl.col("ticker").is_in(list(unknown)))
    traded = suspects.filter(pl.col("rows") > 0).select("ticker").unique()
    is_green = pl.col("state").is_in(list(GREEN))
    return (
        suspects.filter(is_green)
        .join(traded, on="ticker", how="anti")
        .select("ticker", "session_date")
    )


def _strip(symbol: str) -> str:
    return _MARKS.sub("", symbol.upper())
