import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.reference.universe import (
    TEST_TICKERS,
    build_universe,
    judge_universe,
    measure_universe,
    parse_codes,
    select_listings,
)
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import UNIVERSE
from smallcaps_assets_tests.core.universe_factories import (
    AS_OF,
    make_candidates,
    make_listings,
    make_row,
    make_rules,
    make_universe,
)

LISTED, ENDED = dt.date(2010, 1, 4), dt.date(2020, 5, 6)
TYPES = ["CS", "ETF", "ADRC"]
EXCHANGES = ["XNAS", "XNYS", "ARCX"]

codes = st.none() | st.frozensets(st.sampled_from(TYPES), min_size=1)
listings_of_all_kinds = st.lists(
    st.builds(
        make_row,
        ticker=st.sampled_from(["A", "B", "ZVZZT"]),
        type=st.sampled_from([*TYPES, None]),
        primary_exchange=st.sampled_from([*EXCHANGES, None]),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("CS", {"CS"}), (" CS , ADRC,", {"CS", "ADRC"}), ("all", None), ("XNAS", {"XNAS"})],
)
def test_parse_codes_reads_a_list(text: str, expected: set[str] | None) -> None:
    assert parse_codes(text, "types") == expected


@pytest.mark.parametrize("text", ["", ",", "cs", "CS;ADRC", "CS,all"])
def test_parse_codes_refuses_what_is_no_list(text: str) -> None:
    with pytest.raises(ConfigError, match="types: expected codes"):
        parse_codes(text, "types")


def test_select_listings_filters_by_type_and_exchange_and_counts_the_rest() -> None:
    listings = make_listings(
        make_row("A"),
        make_row("B", primary_exchange="XASE"),
        make_row("C", type="ETF"),
        make_row("D", type="ETF", primary_exchange="ARCX"),
        make_row("E", primary_exchange="ARCX"),
    )

    kept, facts = select_listings(listings, make_rules())

    assert kept["ticker"].to_list() == ["A", "B"]
    assert (facts.other_types, facts.other_exchanges) == (2, 1)
    assert facts.left_out.rows() == [("type", "ETF", 2), ("primary_exchange", "ARCX", 1)]
    assert facts.unmatched == ("XNYS",)


@pytest.mark.parametrize(("keeps", "expected"), [(True, ["A", "B"]), (False, [])])
def test_select_listings_keeps_or_drops_what_is_unknown_and_counts_it(
    *, keeps: bool, expected: list[str]
) -> None:
    listings = make_listings(make_row("A", type=None), make_row("B", primary_exchange=None))

    kept, facts = select_listings(listings, make_rules(keeps_unknown=keeps))

    assert kept["ticker"].to_list() == expected
    assert (facts.unknown_type, facts.unknown_exchange) == (1, 1)
    assert (facts.other_types, facts.other_exchanges) == (0, 0)


def test_select_listings_leaves_out_test_tickers_by_list() -> None:
    listings = make_listings(*(make_row(ticker) for ticker in ("ZVZZT", "ZTS", "CBOE", "NTEST.H")))

    kept, facts = select_listings(listings, make_rules())

    assert kept["ticker"].to_list() == ["ZTS", "CBOE"]
    assert facts.test_tickers == 2
    assert len(TEST_TICKERS) == 34


@given(listings_of_all_kinds, codes, st.frozensets(st.sampled_from(TYPES)), st.booleans())
def test_select_listings_keeps_no_less_when_more_is_wanted(
    rows: list[dict[str, object]],
    types: frozenset[str] | None,
    more: frozenset[str],
    keeps: bool,  # noqa: FBT001  Hypothesis gives it by place
) -> None:
    listings = make_listings(*rows).with_row_index("row")
    narrow = make_rules(types=types, keeps_unknown=keeps)
    wide = make_rules(types=None if types is None else types | more, exchanges=None)

    few, many = (select_listings(listings, rules)[0]["row"] for rules in (narrow, wide))

    assert set(few) <= set(many)


@given(listings_of_all_kinds, codes, st.booleans())
def test_select_listings_counts_every_listing_once(
    rows: list[dict[str, object]],
    types: frozenset[str] | None,
    keeps: bool,  # noqa: FBT001  Hypothesis gives it by place
) -> None:
    listings = make_listings(*rows)

    kept, facts = select_listings(listings, make_rules(types=types, keeps_unknown=keeps))

    unknown = 0 if keeps else facts.unknown_type + facts.unknown_exchange
    left_out = facts.test_tickers + facts.other_types + facts.other_exchanges + unknown
    assert kept.height + left_out == listings.height


def test_build_universe_labels_active_listings_by_the_cap_and_drops_none() -> None:
    """L22: today's market cap says nothing of 2004, and nothing of what was delisted."""
    caps = [1e9, 2e9, None]
    active = [
        {"ticker": f"A{n}", "market_cap_usd": cap, "market_cap_as_of_date": cap and AS_OF}
        for n, cap in enumerate(caps)
    ]
    gone = active[1] | {"ticker": "GONE", "delisted_date": ENDED}

    universe, _ = build_universe(make_candidates(*active, gone), make_rules())

    assert universe.schema == UNIVERSE.schema
    labels = universe.select("ticker", "is_below_cap", "market_cap_as_of_date").rows()
    assert labels == [
        ("A0", True, AS_OF),
        ("A1", False, AS_OF),
        ("A2", None, None),
        ("GONE", None, AS_OF),
    ]


@given(st.lists(st.floats(1, 1e13), max_size=5), st.floats(1, 1e13), st.floats(0, 1e13))
def test_build_universe_labels_no_less_below_a_higher_cap(
    caps: list[float], limit: float, more: float
) -> None:
    rows = [
        {"ticker": f"A{n}", "market_cap_usd": cap, "market_cap_as_of_date": AS_OF}
        for n, cap in enumerate(caps)
    ]

    low, high, none = (
        build_universe(make_candidates(*rows), make_rules(max_cap_usd=value))[0]["is_below_cap"]
        for value in (limit, limit + more, 0)
    )

    assert (low <= high).all()
    assert none.all()


def test_build_universe_keeps_listings_that_contradict_themselves() -> None:
    rows = [
        {"ticker": "A", "listed_date": ENDED, "delisted_date": LISTED},
        {"ticker": "B", "delisted_date": ENDED, "is_active": True},
        {"ticker": "C", "market_cap_usd": float("nan"), "market_cap_as_of_date": AS_OF},
        {"ticker": "D", "market_cap_usd": 0.0, "market_cap_as_of_date": AS_OF},
    ]

    universe, facts = build_universe(make_candidates(*rows), make_rules())

    assert universe["ticker"].to_list() == ["A", "B", "C", "D"]
    assert universe.select("listed_date", "delisted_date").row(0) == (None, LISTED)
    assert universe["delisted_date"][1] is None
    assert universe["market_cap_as_of_date"].null_count() == 4
    assert (facts.reversed_periods, facts.dated_active, facts.unusable_caps) == (1, 1, 2)
    assert facts.offenders["ticker"].to_list() == ["C", "D", "B", "A"]


def test_build_universe_merges_what_a_file_repeats_and_counts_it() -> None:
    row = {"ticker": "A", "composite_figi": "BBG1"}
    other = row | {"listed_date": LISTED}

    universe, facts = build_universe(make_candidates(row, other, row), make_rules())

    assert universe["listed_date"].to_list() == [LISTED]
    assert (facts.repeated, facts.contradicting) == (2, 1)


def test_measure_universe_counts_what_a_reader_must_know() -> None:
    universe = make_universe(
        {"ticker": "A", "composite_figi": "BBG1", "is_below_cap": True},
        {"ticker": "B", "is_below_cap": False, "market_cap_usd": 3e9},
        {"ticker": "RC", "listed_date": dt.date(2021, 1, 4)},
        {"ticker": "RC", "listed_date": LISTED, "delisted_date": ENDED},
        {"ticker": "X", "is_active": False},
    )

    facts = measure_universe(universe)

    assert (facts.listings, facts.active, facts.delisted) == (5, 3, 2)
    assert (facts.without_figi, facts.reused_tickers, facts.overlapping) == (4, 1, 0)
    assert (facts.below_cap, facts.above_cap, facts.without_cap) == (1, 1, 2)
    assert (facts.without_listed_date, facts.without_delisted_date) == (3, 1)
    assert facts.offenders.select("ticker", "problem").rows() == [("X", "delisted without a date")]


@pytest.mark.parametrize(
    ("first", "second", "overlapping"),
    [(dt.date(2020, 5, 6), {}, 0), (dt.date(2020, 5, 5), {}, 1), (None, {}, 0)],
)
def test_measure_universe_finds_listings_of_a_ticker_that_overlap(
    first: dt.date | None, second: dict[str, object], overlapping: int
) -> None:
    old = {"ticker": "RC", "listed_date": LISTED, "delisted_date": ENDED}
    new = {"ticker": "RC", "listed_date": first, **second}

    assert measure_universe(make_universe(old, new)).overlapping == overlapping


@pytest.mark.parametrize(
    ("dates", "text"),
    [([], ""), ([AS_OF], "2024-12-31"), ([AS_OF, LISTED], "2010-01-04 to 2024-12-31")],
)
def test_measure_universe_says_of_which_dates_the_caps_are(dates: list[dt.date], text: str) -> None:
    rows = [{"ticker": f"A{n}", "market_cap_as_of_date": date} for n, date in enumerate(dates)]

    assert measure_universe(make_universe({"ticker": "B"}, *rows)).cap_dates == text


def test_judge_universe_fails_without_delisted_listings() -> None:
    """L22: a universe of survivors."""
    verdict = judge_universe(measure_universe(make_universe({"ticker": "A"}, {"ticker": "B"})))

    assert not verdict.passed
    assert "none of 2 listings is delisted" in verdict.summary


def test_judge_universe_reports_shares_figis_and_reuse() -> None:
    gone = {"ticker": "A", "delisted_date": ENDED}

    verdict = judge_universe(measure_universe(make_universe({"ticker": "A"}, gone)))

    assert verdict.passed
    assert verdict.summary == (
        "1 of 2 listings are delisted (50.0%); 2 have no FIGI, 1 tickers were used again"
    )
    assert (verdict.numbers["active_ratio"], verdict.numbers["delisted_ratio"]) == (0.5, 0.5)


def test_judge_universe_fails_without_listings() -> None:
    verdict = judge_universe(measure_universe(UNIVERSE.empty()))

    assert (verdict.passed, verdict.summary) == (False, "the universe holds no listing")
