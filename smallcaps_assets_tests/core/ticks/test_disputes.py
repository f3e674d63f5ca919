"""The rule by which a tape is proven, disputed or settled; L27 in all of it."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.ticks.disputes import (
    ASKED_A_DAY,
    DIFFERS,
    FIELDS,
    LARGEST_LIMIT,
    LEAST_BUDGET,
    RESIDUAL,
    SURPLUS,
    UNPROVEN,
    Asking,
    Deficit,
    Evidence,
    Figures,
    allow_requests,
    choose_limit,
    correct_dates,
    count_tickers,
    count_years,
    judge_tape,
    may_ask,
    measure_deficit,
    select_bad_dates,
    select_set_aside,
)
from smallcaps_assets.core.verdicts import DEFAULT_THRESHOLDS, Thresholds

TODAY = dt.date(2024, 6, 3)
OLD, YOUNG = dt.date(2024, 3, 4), dt.date(2024, 5, 20)


def measure(own: tuple[float, int], bar: tuple[float, int | None], **more: float) -> Deficit:
    return measure_deficit(
        Figures(*own, bar_volume=bar[0], bar_trade_count=bar[1], **more),  # type: ignore[arg-type]
        DEFAULT_THRESHOLDS,
    )


def ask(day: int, limit: int, content_hash: str = "a") -> Asking:
    return Asking(dt.date(2024, 5, day), limit, content_hash)


def judge(deficit: Deficit, session_date: dt.date = OLD, **known: object) -> tuple[str, ...] | None:
    """Return the marks of a green session; ``None``: it is disputed."""
    facts = {"proves": True, "today": TODAY, "content_hash": "a"} | known
    evidence = Evidence(session_date=session_date, **facts)  # type: ignore[arg-type]
    judgement = judge_tape(deficit, evidence, DEFAULT_THRESHOLDS)
    return None if judgement.is_disputed else judgement.marks


@pytest.mark.parametrize(
    ("own", "bar", "fields"),
    [
        ((22_900, 229), (23_000, 230), {"volume", "trade_count"}),
        ((23_000, 229), (23_000, 230), {"trade_count"}),
        ((22_976, 230), (23_000, 230), {"volume"}),
        ((22_977, 230), (23_000, 230), set()),
        ((199_900, 1_999), (200_000, 2_000), set()),
        ((0.6, 1), (1.0, 1), set()),
        ((0.4, 1), (1.0, 1), {"volume"}),
        ((23_500, 235), (23_000, 230), set()),
        ((22_900, 229), (23_000, None), {"volume"}),
        ((10.0, 1), (0.0, 0), set()),
    ],
)
def test_a_deficit_is_more_than_a_thousandth_and_more_than_half_a_share_or_nothing(
    own: tuple[float, int], bar: tuple[float, int | None], fields: set[str]
) -> None:
    assert measure(own, bar).fields == fields


def test_a_bar_older_than_a_cancel_is_compared_with_the_originals() -> None:
    deficit = measure(
        (22_500, 225), (23_000, 230), original_volume=23_000.0, original_trade_count=230
    )

    assert (deficit.fields, deficit.has_surplus) == (frozenset(), False)


@given(
    bar=st.integers(1, 5_000),
    lost=st.integers(0, 5_000),
    cancelled=st.integers(0, 50),
)
def test_an_honest_tape_never_lacks_and_a_lost_row_is_seen(
    bar: int, lost: int, cancelled: int
) -> None:
    """Whether or not the bar counts what was cancelled later."""
    own = max(bar - lost, 0)
    figures = (own * 100.0, own)
    originals = {
        "original_volume": (own + cancelled) * 100.0,
        "original_trade_count": own + cancelled,
    }
    late = measure(figures, ((bar + cancelled) * 100.0, bar + cancelled), **originals)
    early = measure(figures, (bar * 100.0, bar))

    is_large = bar - own > 0.001 * bar
    assert bool(early.fields) == is_large
    assert lost or not late.fields


def test_what_a_bar_makes_of_a_session() -> None:
    small, large = Deficit(0.03, 0.03), Deficit(0.06, 0.0)
    twice = [ask(20, 50_000), ask(20, 100)]

    assert judge(Deficit(0.0, 0.0)) == ()
    assert judge(Deficit(0.0, 0.0, has_surplus=True)) == (SURPLUS,)
    assert judge(Deficit()) == (UNPROVEN,)
    assert judge(large, proves=False) == (UNPROVEN, DIFFERS)
    assert judge(small) is None
    assert judge(small, askings=twice) == (RESIDUAL,)
    assert judge(large, askings=twice) is None
    assert judge(large, is_accepted=True) == (RESIDUAL,)


@pytest.mark.parametrize(
    ("session_date", "askings", "is_settled"),
    [
        (OLD, [ask(1, 50_000)], False),
        (OLD, [ask(1, 50_000), ask(2, 50_000)], False),
        (OLD, [ask(1, 50_000), ask(1, 100)], True),
        (OLD, [ask(1, 50_000, "b"), ask(1, 100)], False),
        (YOUNG, [ask(21, 50_000), ask(21, 100), ask(21, 80)], False),
        (YOUNG, [ask(21, 50_000), ask(22, 100), ask(23, 80)], True),
        (YOUNG, [ask(21, 50_000), ask(22, 100, "b"), ask(23, 80)], False),
    ],
)
def test_a_small_deficit_settles_by_answers_that_agree(
    session_date: dt.date, askings: list[Asking], *, is_settled: bool
) -> None:
    marks = judge(Deficit(0.0, 0.02), session_date, askings=askings)

    assert marks == ((RESIDUAL,) if is_settled else None)


def test_dates_of_a_clock_that_was_wrong_count_as_today() -> None:
    future = [Asking(TODAY + dt.timedelta(days=n), 100, "a") for n in range(1, 9)]

    assert judge(Deficit(0.0, 0.02), YOUNG, askings=future) is None
    assert not may_ask(future, TODAY)
    corrected = correct_dates([ask(20, 100), *future], TODAY)
    assert [asking.asked_on for asking in corrected] == [dt.date(2024, 5, 20), *[TODAY] * 8]
    assert may_ask(corrected, TODAY + dt.timedelta(days=1))


def test_a_field_set_aside_excuses_small_deficits_in_it_alone() -> None:
    aside = frozenset({"trade_count"})

    assert judge(Deficit(0.0, 0.04), set_aside=aside) == (DIFFERS,)
    assert judge(Deficit(0.0, 0.06), set_aside=aside) is None
    assert judge(Deficit(0.02, 0.04), set_aside=aside) is None


@given(rows=st.integers(0, 10**7), last=st.integers(1, LARGEST_LIMIT))
def test_an_answer_is_cut_otherwise_than_the_last_one(rows: int, last: int) -> None:
    limit = choose_limit(rows, [last])

    assert limit != last
    assert 1 <= limit <= LARGEST_LIMIT
    assert limit >= 80


@pytest.mark.parametrize(
    ("rows", "last", "limit"), [(230, 50_000, 100), (230, 100, 80), (3_001, 50_000, 1_001)]
)
def test_a_chain_is_cut_into_three_pages_or_pages_of_a_hundred(
    rows: int, last: int, limit: int
) -> None:
    assert choose_limit(rows, [last]) == limit


def test_a_session_rests_after_some_answers_a_day() -> None:
    askings = [Asking(TODAY, 100, "a")] * ASKED_A_DAY

    assert may_ask(askings[1:], TODAY)
    assert not may_ask(askings, TODAY)
    assert may_ask(askings, TODAY + dt.timedelta(days=1))


def test_the_budget_is_fifty_requests_or_a_twentieth() -> None:
    assert [allow_requests(n) for n in (0, 1_000, 4_000)] == [LEAST_BUDGET, LEAST_BUDGET, 200]


def make_deficits(short: int, asked: int, healed: int) -> pl.DataFrame:
    """Return the sessions of 2023 of which ``short`` lack 2 % by count."""
    first = dt.date(2023, 1, 2)
    dates = [first + dt.timedelta(days=n) for n in range(short)]
    return pl.DataFrame(
        {
            "session_date": pl.Series(dates, dtype=pl.Date),
            "volume_deficit": [0.0] * short,
            "count_deficit": [0.02] * short,
            "asked": [2 if n < asked else 1 for n in range(short)],
            "is_same": [n >= healed for n in range(short)],
        }
    )


@pytest.mark.parametrize(
    ("sessions", "short", "asked", "healed", "is_set_aside"),
    [
        (100, 100, 20, 0, True),
        (99, 99, 20, 0, False),
        (100, 100, 19, 0, False),
        (100, 100, 20, 1, True),
        (100, 100, 20, 2, False),
        (400, 20, 20, 0, False),
        (399, 20, 20, 0, True),
    ],
)
def test_a_field_is_set_aside_for_a_year_on_evidence(
    sessions: int, short: int, asked: int, healed: int, *, is_set_aside: bool
) -> None:
    """Answers that heal never set a field aside, whatever the share of deficits."""
    deficits = make_deficits(short, asked, healed)
    compared = pl.DataFrame(
        {"session_date": [dt.date(2023, 1, 2)], "volume": [sessions], "trade_count": [sessions]}
    )
    found = select_set_aside(count_years(deficits, compared))

    assert found == ({2023: frozenset({"trade_count"})} if is_set_aside else {})


@pytest.mark.parametrize(
    ("counts", "bad"),
    [
        ([(40, 0), (40, 21), (40, 0)], [1]),
        ([(40, 0), (40, 20), (40, 0)], []),
        ([(40, 0), (19, 19), (40, 0)], []),
        ([(40, 30), (40, 30), (40, 0)], []),
        ([(40, 30)], [0]),
    ],
)
def test_a_date_is_at_fault_where_most_lack_and_not_beside_it(
    counts: list[tuple[int, int]], bad: list[int]
) -> None:
    dates = [dt.date(2024, 3, 4) + dt.timedelta(days=n) for n in range(len(counts))]
    columns = {
        "session_date": dates,
        "compared": [compared for compared, _ in counts],
        "deficits": [lacking for _, lacking in counts],
    }

    assert select_bad_dates(pl.DataFrame(columns)) == {dates[n] for n in bad}


def test_tickers_are_counted_by_date() -> None:
    dates = [OLD, OLD, OLD, YOUNG]
    deficits = pl.DataFrame(
        {
            "session_date": dates,
            "volume_deficit": [0.1, 0.0, 0.0, None],
            "count_deficit": [0.0, 0.2, 0.0, None],
        },
        {"session_date": pl.Date, "volume_deficit": pl.Float64, "count_deficit": pl.Float64},
    )
    compared = pl.DataFrame({"session_date": [OLD, YOUNG], **{name: [5, 4] for name in FIELDS}})

    counted = count_tickers(deficits, compared).sort("session_date")

    assert counted.rows() == [(OLD, 5, 2), (YOUNG, 4, 0)]


def test_the_bounds_are_thresholds() -> None:
    strict = Thresholds(session_deficit=0.0, session_residual=0.01)
    figures = Figures(99_950.0, 1_999, bar_volume=100_000.0, bar_trade_count=2_000)
    deficit = measure_deficit(figures, strict)
    evidence = Evidence(OLD, "a", proves=True, today=TODAY, is_accepted=False)

    assert deficit.fields == {"volume", "trade_count"}
    assert judge_tape(deficit, evidence, strict).is_disputed
