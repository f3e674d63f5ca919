"""Days of downloads from vendors whose truth is known: honest ones end green, others never wrong.

L27 in all of it.
"""

import datetime as dt
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.ticks.disputes import DIFFERS, RESIDUAL, SURPLUS, UNPROVEN
from smallcaps_assets.core.verdicts import DEFAULT_THRESHOLDS
from smallcaps_assets.ingest.reference.daily_bars import refresh_daily_bars
from smallcaps_assets.ingest.ticks.asking_again import SAMPLE
from smallcaps_assets.ingest.ticks.backfill import (
    Backfill,
    RecheckChoice,
    choose_stored,
    recheck_sessions,
)
from smallcaps_assets_tests.ingest.vendor_histories import History
from smallcaps_assets_tests.vendors import (
    DOUBLED_DATE,
    CountsHigher,
    DateDoubled,
    Loss,
    Model,
    OtherSource,
    Recalculated,
    WithoutCounts,
)

MARCH = (dt.date(2024, 3, 4), dt.date(2024, 3, 22))
WEEK = (dt.date(2024, 3, 11), dt.date(2024, 3, 15))
LATER, SOON = dt.date(2024, 7, 1), dt.date(2024, 3, 27)
MANY = {f"T{number:02}": 60 for number in range(25)}
SMALL = DEFAULT_THRESHOLDS.session_residual
"""Deficits above it never settle by themselves."""

HONEST = {
    "honest": Model(),
    "cancels": Model(cancels=3),
    "bars older than a cancel": Model(cancels=3, counts_cancelled=True),
    "counts higher by two": Model(bars=(CountsHigher(2024),)),
    "bars without counts": Model(bars=(WithoutCounts(),)),
    "bars without counts on some dates": Model(
        cancels=2, bars=(WithoutCounts(frozenset({dt.date(2024, 3, day) for day in (5, 12, 13)})),)
    ),
    "counts higher and cancels": Model(cancels=2, bars=(CountsHigher(2024),)),
}


def assert_spent_within_budget(history: History) -> None:
    over = [pair for pair in zip(history.spent, history.allowed, strict=True) if pair[0] > pair[1]]
    assert not over


def assert_honest_end(history: History) -> None:
    assert history.find_red() == []
    assert history.find_wrong() == set()
    assert history.find_wrong() == history.wrong
    assert_spent_within_budget(history)
    assert history.is_memory_kept()


@pytest.mark.parametrize("today", [LATER, SOON], ids=["old", "young"])
@pytest.mark.parametrize("name", HONEST)
def test_honest_vendors_end_without_red_sessions(tmp_path: Path, name: str, today: dt.date) -> None:
    history = History.begin(tmp_path / "lake", HONEST[name], today, MARCH)
    history.run_days(4)

    assert_honest_end(history)
    assert history.spent[-1] == 0
    assert history.marks.keys() <= ({RESIDUAL, SURPLUS} if HONEST[name].bars else set())


def test_counts_higher_all_year_are_set_aside_and_asking_stops(tmp_path: Path) -> None:
    tickers = {f"T{number}": 100 for number in range(8)} | {"TINY": 20}
    history = History.begin(
        tmp_path / "lake", Model(bars=(CountsHigher(2024),)), SOON, MARCH, tickers
    )
    history.run_days(2)

    assert_honest_end(history)
    assert history.spent[1] == 0
    before = history.marks
    assert before.keys() == {DIFFERS}
    assert before[DIFFERS] > 100
    history.lose_ledger()
    history.run()
    assert history.spent[2] == 0
    assert history.marks == before


def test_bars_recalculated_after_days_leave_no_session_red_or_marked(tmp_path: Path) -> None:
    """A lake that is kept up to date: each day brings bars and trades of the sessions so far."""
    history = History.begin(tmp_path / "lake", Model(bars=(Recalculated(),)), WEEK[0], WEEK)
    history.vendor.clock.advance()
    while history.vendor.clock.date < WEEK[1] + dt.timedelta(days=7):
        today = history.vendor.clock.date
        list(refresh_daily_bars(history.lakehouse, ["2024-03"]))
        over = [key for key in history.keys if key[-10:] < str(today)]
        history.run(over)
        history.vendor.clock.advance()

    assert_honest_end(history)
    assert history.marks == {}


def test_young_bars_are_asked_for_again_by_date_once_they_are_old(tmp_path: Path) -> None:
    """Nobody refreshes the month: the bars of disputed dates alone are asked for."""
    history = History.begin(tmp_path / "lake", Model(bars=(Recalculated(),)), WEEK[1], WEEK)
    history.vendor.clock.advance()
    history.run_days(6)

    assert_honest_end(history)
    assert history.marks == {}
    assert {date for date, _ in history.vendor.asked_bars} <= set(history.dates)


@pytest.mark.parametrize("prove", ["own", "yes", "no"])
def test_bars_of_another_vendor_end_without_red_sessions(tmp_path: Path, prove: str) -> None:
    model = Model(bars=(OtherSource(),), has_own_bars=False)
    history = History.begin(tmp_path / "lake", model, LATER, MARCH, bars_prove=prove)
    history.run_days(2)

    assert_honest_end(history)
    if prove == "yes":
        assert history.marks.keys() == {RESIDUAL, SURPLUS}
        assert history.spent[1] == 0
    else:
        assert history.marks[UNPROVEN] == len(history.keys)
        assert history.spent == [0, 0]


@pytest.mark.parametrize("columns", [("volume",), ("volume", "trade_count")])
def test_bars_doubled_on_one_date_are_red_until_the_vendor_mends_them(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    mended = LATER + dt.timedelta(days=2)
    model = Model(bars=(DateDoubled(DOUBLED_DATE, mended, columns),))
    history = History.begin(tmp_path / "lake", model, LATER, WEEK, MANY)
    for _ in range(3):
        assert len(history.find_red()) in (len(history.keys), len(MANY))
        history.run()
        history.vendor.clock.advance()

    assert_honest_end(history)
    assert history.marks == {}
    assert history.vendor.asked_bars == [
        (DOUBLED_DATE, LATER + dt.timedelta(days=day)) for day in range(3)
    ]
    again = {chain.ticker for chain in history.vendor.asked if chain.page_limit != 50_000}
    assert 0 < len(again) <= 2 * SAMPLE


LOSSES = (
    {f"{rows} by {by}": Loss(rows=rows, by=by) for by in ("row", "page") for rows in (1, 7, 60)}
    | {f"7 of the {page} page": Loss(rows=7, page=page) for page in ("first", "middle", "last")}
    | {
        "half by row": Loss(share=0.5, by="row"),
        "half by page": Loss(share=0.5),
        "a thirtieth by row": Loss(share=1 / 30, by="row"),
    }
)


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_vendor_loses_is_red_or_marked_and_heals_with_it(tmp_path: Path, name: str) -> None:
    loss = LOSSES[name]
    history = History.begin(tmp_path / "lake", Model(loss), LATER, WEEK)
    history.run_days(2)
    history.run()

    assert not history.wrong
    assert_spent_within_budget(history)
    assert set(history.find_lacking(SMALL)) <= set(history.find_red())
    history.vendor.model = Model()
    history.run()
    assert history.find_red() == []
    facts = choose_stored(history.lakehouse.ledger, RecheckChoice(), history.now.date())
    recheck_sessions(Backfill(history.lakehouse, run_id="recheck", asks_again=True), facts)
    assert history.marks == {}
    assert not history.wrong | history.find_wrong()
    assert history.is_memory_kept()


LOSSES_BY_DAY = [
    None,
    None,
    Loss(rows=3),
    Loss(rows=7, page="last"),
    Loss(rows=7, by="row"),
    Loss(rows=7, by="row", seed=1),
    Loss(share=0.5),
    Loss(share=0.5, by="row", dates=frozenset({WEEK[0], WEEK[1]})),
]
BARS_BY_DAY = [(), (), (CountsHigher(2024),), (Recalculated(),), (DateDoubled(DOUBLED_DATE),)]


@dataclass(frozen=True)
class Day:
    """What one day brings.

    Attributes:
        model: What the vendor does on it.
        passed: Days since the day before.
        wrong: Days by which the clock is wrong on it.
        bars: The bars of all months come again.
        again: A person asks for all stored sessions again.
        accepted: A person accepts what is disputed.
    """

    model: Model
    passed: int
    wrong: int
    bars: bool
    again: bool
    accepted: bool


DAYS = st.builds(
    Day,
    model=st.builds(Model, st.sampled_from(LOSSES_BY_DAY), st.sampled_from(BARS_BY_DAY)),
    passed=st.sampled_from([0, 1, 1, 1, 2, 31]),
    wrong=st.sampled_from([0, 0, 0, 0, 4_000, -100]),
    bars=st.booleans(),
    again=st.sampled_from([False] * 5 + [True]),
    accepted=st.sampled_from([False] * 8 + [True]),
)


def live(history: History, day: Day) -> None:
    """Let a day pass, whose clock is perhaps wrong."""
    clock = history.vendor.clock
    clock.advance(day.passed + day.wrong)
    history.vendor.model = day.model
    if day.bars:
        history.store_bars()
    if day.again:
        history.ask_again(history.keys)
    history.run(accept_disputed=day.accepted)
    clock.advance(-day.wrong)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(DAYS, min_size=2, max_size=5), today=st.sampled_from([SOON, LATER]))
def test_no_history_makes_a_wrong_session_green_and_a_lost_ledger_asks_no_more(
    tmp_path: Path, days: list[Day], today: dt.date
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        kept, lost = (
            History.begin(Path(folder) / name, Model(), today, WEEK) for name in ("kept", "lost")
        )
        for day in days:
            for history in (kept, lost):
                live(history, day)
                assert not history.wrong
                assert history.is_memory_kept()
            lost.lose_ledger()
            assert lost.describe() == kept.describe()
            assert lost.vendor.list_asked() == kept.vendor.list_asked()
        kept.vendor.model = Model()
        kept.store_bars()
        for _ in range(2):
            kept.run()
            kept.vendor.clock.advance()
        assert kept.find_red() == []
        kept.ask_again(kept.keys)
        assert kept.marks == {}
        assert not kept.wrong
