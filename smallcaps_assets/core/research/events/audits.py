"""What must hold of events, labels and features, and the verdict on it.

What belongs here: facts of whole tables, and what breaks them.  What does not: making the tables
(the modules beside).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.research.events.confirmations import CRASH, SPIKE
from smallcaps_assets.core.research.events.labels import (
    CUT,
    OUTCOMES,
    PROFIT,
    STOP,
    TIME,
    TOLERANCE,
)
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.schemas_research import EVENT_OUTCOMES, INTRADAY_EVENTS, LABELS

TOLERATED_CUT: Final = 0.02
"""Share of the labels that may be cut before a person should look."""
SHOWN_ROWS: Final = 20

_WITH_RETURN: Final = (PROFIT, STOP, TIME)


def judge_events(found: pl.DataFrame, wanted: pl.DataFrame, calendar: SessionCalendar) -> Verdict:
    """Judge that every event of the plan has a known time of its session, and its evidence.

    Args:
        found: ``schemas_research.INTRADAY_EVENTS``.
        wanted: ``ticker, session_date, event`` of the plan.
        calendar: Sessions and their phases.
    """
    key = list(INTRADAY_EVENTS.key)
    hours = calendar.frame.select("session_date", "regular_open", "after_hours_close")
    rows = found.join(hours, on="session_date", how="left")
    known, moves = pl.col("known_timestamp"), pl.col("event").is_in([SPIKE, CRASH])
    is_within = known.is_between(pl.col("regular_open"), pl.col("after_hours_close"))
    is_proof = (pl.col("prints_beyond") >= 2).eq_missing(pl.col("is_confirmed"))  # noqa: PLR2004  two prints
    broken = {
        "an event of the plan is missing": wanted.join(found, on=key, how="anti"),
        "no event of the plan": found.join(wanted, on=key, how="anti"),
        "it occurs twice": found.filter(pl.struct(key).is_duplicated()),
        "known outside its session": rows.filter(~is_within.fill_null(value=False)),
        "neither evidence nor a reason": rows.filter(
            moves & pl.col("reason").is_null() & ~is_proof
        ),
    }
    return _judge(broken, key, found.height, "events")


def judge_labels(labels: pl.DataFrame, decisions: pl.DataFrame) -> Verdict:
    """Judge that labels are whole, in order of time, and agree with their prices.

    Args:
        labels: ``schemas_research.LABELS``.
        decisions: ``schemas_research.DECISIONS``.
    """
    key = list(LABELS.key)
    events = decisions.select("ticker", "known_timestamp", event="events").explode("event")
    side = pl.DataFrame({"side": [1, -1]}, {"side": pl.Int8})
    wanted = events.join(side, how="cross")
    known, entry, exit_ = (pl.col(f"{n}_timestamp") for n in ("known", "entry", "exit"))
    has_return = pl.col("outcome").is_in(_WITH_RETURN)
    is_in_order = (known < entry) & (entry <= exit_) & (exit_ <= pl.col("vertical_timestamp"))
    move = pl.col("side") * (_ratio() - 1)
    reaches = pl.col("gross_return").abs() >= pl.col("barrier") * (1 - TOLERANCE)
    is_weight = pl.col("uniqueness").is_between(0, 1 + TOLERANCE) & (pl.col("uniqueness") > 0)
    broken = {
        "a decision and event without a label": wanted.join(labels, on=key, how="anti"),
        "no decision": labels.join(wanted, on=key, how="anti"),
        "it occurs twice": labels.filter(pl.struct(key).is_duplicated()),
        "unknown outcome": labels.filter(~pl.col("outcome").is_in(OUTCOMES)),
        "a return without an exit, or none with one": labels.filter(
            has_return != pl.col("gross_return").is_not_null()
        ),
        "known, entry, exit and end are not in order": labels.filter(has_return & ~is_in_order),
        "the return is not that of the prices": labels.filter(
            has_return & ((pl.col("gross_return") - move).abs() > TOLERANCE)
        ),
        "a barrier touched without being reached": labels.filter(
            pl.col("outcome").is_in([PROFIT, STOP]) & ~reaches
        ),
        "uniqueness is not above 0 and up to 1": labels.filter(
            has_return & ~is_weight.fill_null(value=False)
        ),
    }
    return _judge(broken, key, labels.height, "labels")


def judge_outcomes(outcomes: pl.DataFrame, decisions: pl.DataFrame) -> Verdict:
    """Judge that every decision has its sessions after it, each once and none before.

    Args:
        outcomes: ``schemas_research.EVENT_OUTCOMES``.
        decisions: ``schemas_research.DECISIONS``.
    """
    key = list(EVENT_OUTCOMES.key)
    instant = key[:2]
    is_later = pl.col("outcome_session") > pl.col("session_date")
    broken = {
        "no decision": outcomes.join(decisions, on=instant, how="anti"),
        "it occurs twice": outcomes.filter(pl.struct(key).is_duplicated()),
        "not after the event": outcomes.filter(~is_later),
    }
    return _judge(broken, key, outcomes.height, "outcomes")


def judge_cut(labels: pl.DataFrame) -> Verdict:
    """Judge the share of labels that are cut, because a session is not proven."""
    cut = labels.filter(pl.col("outcome") == CUT)
    share = cut.height / labels.height if labels.height else 0.0
    return Verdict(
        share <= TOLERATED_CUT,
        f"{cut.height:,} of {labels.height:,} labels are cut ({share:.1%}, at most "
        f"{TOLERATED_CUT:.0%}): download what is missing, then label again",
        {"cut": cut.height, "labels": labels.height, "share": share},
        cut.select(LABELS.key).head(SHOWN_ROWS),
        is_warning=True,
    )


def judge_future(whole: pl.DataFrame, cut: pl.DataFrame) -> Verdict:
    """Judge that features are the same, bit by bit, without what came after the decision.

    Args:
        whole: Features of some decisions, from all data.
        cut: Features of the same decisions in the same order, each from data up to its instant.
    """
    differing = [
        name for name in whole.columns if not whole[name].equals(cut[name], null_equal=True)
    ]
    rows = whole.filter(
        pl.any_horizontal(
            pl.lit(whole[name].ne_missing(cut[name])).alias(name) for name in differing
        )
        if differing
        else pl.lit(value=False)
    )
    return Verdict(
        not differing,
        f"{', '.join(differing)} know what came after the decision"
        if differing
        else f"{whole.height:,} rows are equal without what came after the decision",
        {"rows": whole.height, "features_that_look_ahead": len(differing)},
        rows.head(SHOWN_ROWS),
    )


def _ratio() -> pl.Expr:
    return pl.col("exit_price") / pl.col("entry_price")


def _judge(broken: dict[str, pl.DataFrame], key: list[str], rows: int, noun: str) -> Verdict:
    """Judge rows that break something, by what they break."""
    counts: dict[str, Number] = {name: found.height for name, found in broken.items()}
    wrong = {name: count for name, count in counts.items() if count}
    offenders = [
        found.select(key).head(SHOWN_ROWS).with_columns(problem=pl.lit(name))
        for name, found in broken.items()
        if found.height
    ]
    said = "; ".join(f"{name}: {count}" for name, count in wrong.items())
    return Verdict(
        not wrong,
        said or f"{rows:,} {noun} are whole and in order",
        {noun: rows, "problems": sum(int(count) for count in wrong.values())},
        pl.concat(offenders) if offenders else pl.DataFrame(),
    )
