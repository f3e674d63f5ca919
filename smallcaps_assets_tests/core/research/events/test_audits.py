"""Every fault that is planted turns its check red, and says which row and why."""

import datetime as dt
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.core.research.events.audits import (
    judge_cut,
    judge_events,
    judge_labels,
    judge_outcomes,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.schemas_research import DECISIONS, EVENT_OUTCOMES, INTRADAY_EVENTS, LABELS

DAY: Final = dt.date(2024, 3, 6)
OPEN: Final = dt.datetime(2024, 3, 6, 14, 30, tzinfo=dt.UTC)
CLOSE: Final = dt.datetime(2024, 3, 7, 1, tzinfo=dt.UTC)
ENTRY: Final = dt.datetime(2024, 3, 7, 14, 30, 1, tzinfo=dt.UTC)
HOUR: Final = dt.timedelta(hours=1)
E3: Final = "E3_PriceSpikeIntraday"


def make_event(**changes: object) -> pl.DataFrame:
    row: dict[str, object] = dict.fromkeys(INTRADAY_EVENTS.columns)
    row |= {
        "ticker": "ABCD",
        "session_date": DAY,
        "event": E3,
        "known_timestamp": OPEN,
        "is_confirmed": True,
        "prints_beyond": 2,
    }
    return pl.DataFrame([row | changes], INTRADAY_EVENTS.schema)


WANTED: Final = make_event().select("ticker", "session_date", "event")


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (make_event().clear(), "missing"),
        (pl.concat([make_event(), make_event(event="E2_GapUp", prints_beyond=None)]), "no event"),
        (pl.concat([make_event(), make_event()]), "twice"),
        (make_event(known_timestamp=OPEN - HOUR), "outside its session"),
        (make_event(known_timestamp=CLOSE + HOUR), "outside its session"),
        (make_event(prints_beyond=1), "neither evidence"),
        (make_event(is_confirmed=None), "neither evidence"),
        (make_event(is_confirmed=False), "neither evidence"),
    ],
)
def test_a_broken_event_is_seen(found: pl.DataFrame, problem: str) -> None:
    verdict = judge_events(found, WANTED, load_calendar())

    assert not verdict.passed
    assert problem in verdict.summary
    assert verdict.offenders.height > 0


def test_whole_events_pass() -> None:
    for found in (
        make_event(),
        make_event(is_confirmed=False, prints_beyond=1, known_timestamp=CLOSE),
        make_event(is_confirmed=None, prints_beyond=None, reason="not_proven"),
    ):
        assert judge_events(found, WANTED, load_calendar()).passed


def make_decisions() -> pl.DataFrame:
    row: dict[str, object] = dict.fromkeys(DECISIONS.columns)
    row |= {"ticker": "ABCD", "session_date": DAY, "known_timestamp": CLOSE, "events": [E3]}
    return pl.DataFrame([row], DECISIONS.schema)


def make_labels(**changes: Any) -> pl.DataFrame:  # noqa: ANN401  cells of several types
    """Return both sides of one label; changes are to the bought one."""
    row: dict[str, Any] = dict.fromkeys(LABELS.columns)
    row |= {
        "ticker": "ABCD",
        "session_date": DAY,
        "known_timestamp": CLOSE,
        "event": E3,
        "side": 1,
        "is_event_side": True,
        "is_dataset_row": True,
        "horizon": 1,
        "outcome": "profit",
        "barrier": 0.1,
        "entry_session": ENTRY.date(),
        "entry_timestamp": ENTRY,
        "entry_price": 10.0,
        "vertical_timestamp": ENTRY + 6 * HOUR,
        "exit_timestamp": ENTRY + HOUR,
        "exit_session": ENTRY.date(),
        "exit_price": 11.0,
        "gross_return": 11.0 / 10.0 - 1,
        "net_return": 0.09,
        "concurrency": 1.0,
        "uniqueness": 1.0,
        "attribution": 0.1,
    }
    sold = row | {"side": -1, "outcome": "stop", "gross_return": -(11.0 / 10.0 - 1)}
    return pl.DataFrame([row | changes, sold], LABELS.schema)


def test_whole_labels_pass() -> None:
    assert judge_labels(make_labels(), make_decisions()).passed


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"event": "E2_GapUp"}, "without a label"),
        ({"event": "E2_GapUp"}, "no decision"),
        ({"side": -1}, "twice"),
        ({"outcome": "luck"}, "unknown outcome"),
        ({"gross_return": None}, "a return without an exit"),
        ({"outcome": "cut"}, "a return without an exit"),
        ({"entry_timestamp": CLOSE}, "not in order"),
        ({"exit_timestamp": ENTRY - HOUR}, "not in order"),
        ({"exit_timestamp": ENTRY + 7 * HOUR}, "not in order"),
        ({"exit_price": 11.1}, "not that of the prices"),
        ({"barrier": 0.2}, "without being reached"),
        ({"uniqueness": 0.0}, "uniqueness"),
        ({"uniqueness": 1.1}, "uniqueness"),
    ],
)
def test_a_broken_label_is_seen(changes: dict[str, Any], problem: str) -> None:
    verdict = judge_labels(make_labels(**changes), make_decisions())

    assert not verdict.passed
    assert problem in verdict.summary
    assert problem in "; ".join(verdict.offenders["problem"])


def test_a_label_that_is_lost_is_seen() -> None:
    verdict = judge_labels(make_labels().head(1), make_decisions())

    assert "without a label: 1" in verdict.summary


def make_outcome(**changes: object) -> pl.DataFrame:
    row: dict[str, object] = dict.fromkeys(EVENT_OUTCOMES.columns)
    row |= {"ticker": "ABCD", "session_date": DAY, "known_timestamp": CLOSE, "offset": 1}
    row |= {"outcome_session": ENTRY.date()}
    return pl.DataFrame([row | changes], EVENT_OUTCOMES.schema)


@pytest.mark.parametrize(
    ("outcomes", "problem"),
    [
        (make_outcome(ticker="WXYZ"), "no decision"),
        (pl.concat([make_outcome(), make_outcome()]), "twice"),
        (make_outcome(outcome_session=DAY), "not after the event"),
    ],
)
def test_a_broken_outcome_is_seen(outcomes: pl.DataFrame, problem: str) -> None:
    verdict = judge_outcomes(outcomes, make_decisions())

    assert not verdict.passed
    assert problem in verdict.summary
    assert judge_outcomes(make_outcome(), make_decisions()).passed


def test_many_cut_labels_are_yellow() -> None:
    whole = pl.concat([make_labels()] * 25)
    cut = make_labels(outcome="cut").head(1)

    assert judge_cut(pl.concat([whole, cut])).passed
    red = judge_cut(pl.concat([whole, cut, cut]))
    assert (red.passed, red.is_failure, red.offenders.height) == (False, False, 2)
    assert judge_cut(whole.clear()).passed
