"""When each event was known, and whether the prints of its session say so too.

What belongs here: the evidence of prints for E2, E3, E8 and E9, and the known time of every event.
What does not: the rules that found the events in daily bars (``core.events.rules``), and what
follows from an instant at which several are known (``decisions``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.events.rules import CRASH_RATIO, SPIKE_RATIO
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.schemas_research import INTRADAY_EVENTS

KEY: Final = ["ticker", "session_date"]
SPIKE: Final = "E3_PriceSpikeIntraday"
CRASH: Final = "E9_CrashIntraday"
GAPS: Final = ("E2_GapUp", "E8_GapDownViolent")

CONFIRMING_PRINTS: Final = 2
"""Live prints at or beyond the level: one alone may be an error."""
OPEN_TOLERANCE: Final = 0.005
"""How far our open may lie from that of the daily bar, over the latter."""
TOLERANCE: Final = 1e-9

_SIDES: Final = {"up": SPIKE_RATIO, "down": CRASH_RATIO}
_EVIDENCE: Final = ("level", "extreme", "prints_beyond", "shares_beyond", "minutes_beyond")


def measure_moves(prints: pl.DataFrame) -> pl.DataFrame:
    """Measure how far live prints of the regular phase went from the first price print.

    Args:
        prints: ``core.research.prints.label_prints`` of whole sessions, in tape order.

    Returns:
        One row per ticker and session with a price print: ``open_timestamp``, ``open_used``, and
        with the suffixes ``_up`` and ``_down`` the evidence of ``INTRADAY_EVENTS``, ``second`` and
        ``second_price`` (instant and price of the print that confirms; null: none does).
    """
    regular = prints.filter(pl.col("trading_phase") == "regular")
    opens = (
        regular.filter("is_price_print")
        .group_by(KEY, maintain_order=True)
        .agg(open_timestamp=pl.col("sip_timestamp").first(), open_used=pl.col("price").first())
    )
    live = regular.filter("is_live_print").join(opens, on=KEY, maintain_order="left")
    moves = live.group_by(KEY, maintain_order=True).agg(
        *_gather("up", pl.col("price").max()), *_gather("down", pl.col("price").min())
    )
    return opens.join(moves, on=KEY, how="left", maintain_order="left")


def build_intraday_events(
    events: pl.DataFrame, moves: pl.DataFrame, opens: pl.DataFrame, calendar: SessionCalendar
) -> pl.DataFrame:
    """Say of each event from when on it was known, and whether prints confirm it.

    Args:
        events: ``ticker, session_date, event, is_proven``; the last says that the lake holds the
            whole session.
        moves: :func:`measure_moves` of the proven sessions.
        opens: ``ticker, session_date, open`` of the daily bars; a session without a bar is not
            compared.
        calendar: Sessions and their phases.

    Returns:
        ``schemas_research.INTRADAY_EVENTS``, sorted by its key.
    """
    closes = calendar.frame.select("session_date", "after_hours_close")
    joined = (
        events.join(closes, on="session_date", how="left")
        .join(moves, on=KEY, how="left")
        .join(opens.select(*KEY, "open"), on=KEY, how="left")
        .with_columns(_pick(name) for name in (*_EVIDENCE, "second", "second_price"))
        .with_columns(reason=_explain())
    )
    is_gap, is_move = pl.col("event").is_in(GAPS), pl.col("event").is_in([SPIKE, CRASH])
    is_told = pl.col("reason").is_null()
    is_confirmed = (
        pl.when(is_told & is_gap)
        .then(pl.lit(value=True))
        .when(is_told & is_move)
        .then(pl.col("prints_beyond") >= CONFIRMING_PRINTS)
    )
    labelled = joined.with_columns(is_confirmed=is_confirmed)
    by_open, by_level = is_told & is_gap, is_told & is_move & pl.col("is_confirmed")
    known = pl.when(by_open).then("open_timestamp").when(by_level).then("second")
    price = pl.when(by_open).then("open_used").when(by_level).then("second_price")
    table = labelled.with_columns(
        known_timestamp=known.otherwise("after_hours_close"), known_price=price
    )
    return INTRADAY_EVENTS.conform(table.select(INTRADAY_EVENTS.schema.names())).sort(
        INTRADAY_EVENTS.key
    )


def _gather(side: str, extreme: pl.Expr) -> list[pl.Expr]:
    """Gather the evidence of one direction, as columns of a group of live prints."""
    ratio = _SIDES[side]
    move = (pl.col("price") - pl.col("open_used")) / pl.col("open_used") * (1 if ratio > 0 else -1)
    beyond = move >= abs(ratio) * (1 - TOLERANCE)
    minute = pl.col("sip_timestamp").dt.truncate("1m")
    place = CONFIRMING_PRINTS - 1
    columns = {
        "level": pl.col("open_used").first() * (1 + ratio),
        "extreme": extreme,
        "prints_beyond": beyond.sum().cast(pl.Int64),
        "shares_beyond": pl.col("size").filter(beyond).sum(),
        "minutes_beyond": minute.filter(beyond).n_unique().cast(pl.Int64),
        "second": pl.col("sip_timestamp").filter(beyond).get(place, null_on_oob=True),
        "second_price": pl.col("price").filter(beyond).get(place, null_on_oob=True),
    }
    return [column.alias(f"{name}_{side}") for name, column in columns.items()]


def _pick(name: str) -> pl.Expr:
    """Pick the evidence of the event's direction; null for events that have none."""
    up = pl.when(pl.col("event") == SPIKE).then(pl.col(f"{name}_up"))
    return up.when(pl.col("event") == CRASH).then(pl.col(f"{name}_down")).alias(name)


def _explain() -> pl.Expr:
    """Explain why prints do not tell; null where they do."""
    distance = (pl.col("open_used") / pl.col("open") - 1).abs()
    differs = distance > OPEN_TOLERANCE * (1 + TOLERANCE)
    asks_prints = pl.col("event").is_in([*GAPS, SPIKE, CRASH])
    return (
        pl.when(~asks_prints)
        .then(pl.lit("daily_bar"))
        .when(~pl.col("is_proven"))
        .then(pl.lit("not_proven"))
        .when(pl.col("open_used").is_null())
        .then(pl.lit("no_open"))
        .when(pl.col("open").is_null())
        .then(pl.lit("no_bar"))
        .when(differs.fill_null(value=True))
        .then(pl.lit("opens_differ"))
    )
