import datetime as dt
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallcaps_assets.core.reference.listings import (
    LISTING_COLUMNS,
    attach_details,
    merge_listings,
    parse_universe,
    plan_details,
)
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets_tests.core.universe_factories import (
    AS_OF,
    make_details,
    make_listings,
    make_row,
)

ENDED = dt.date(2020, 5, 6)
BEFORE_END = dt.date(2020, 5, 5)
LISTED = dt.date(2010, 1, 4)

records = st.lists(
    st.builds(
        make_row,
        ticker=st.sampled_from(["A", "B", "BRK.A"]),
        name=st.sampled_from(["One Inc.", "Two Inc.", None]),
        type=st.sampled_from(["CS", "ETF", None]),
        is_active=st.booleans(),
        delisted_date=st.sampled_from([None, ENDED, LISTED]),
        composite_figi=st.sampled_from([None, "BBG1", "BBG2"]),
        cik=st.sampled_from([None, "1", "2"]),
        last_updated=st.sampled_from([None, "2022-01-01", "2023-01-01"]),
    ),
    max_size=12,
)


def test_merge_listings_merges_equal_records_and_counts_them() -> None:
    row = make_row(composite_figi="BBG1")

    merged, facts = merge_listings(make_listings(row, make_row("B"), row))

    assert merged["ticker"].to_list() == ["AAAA", "B"]
    assert (facts.rows_read, facts.repeated_records, facts.contradicting_records) == (3, 1, 0)


def test_merge_listings_keeps_the_newest_of_records_that_differ() -> None:
    old = make_row(composite_figi="BBG1", type="ETF", last_updated="2022-01-01")
    new = make_row(composite_figi="BBG1", type="CS", last_updated="2023-01-01")

    merged, facts = merge_listings(make_listings(old, new, old))

    assert merged["type"].to_list() == ["CS"]
    assert (facts.repeated_records, facts.contradicting_records) == (2, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"composite_figi": "BBG2"},
        {"cik": "2"},
        {"delisted_date": ENDED, "is_active": True},
        {"is_active": False},
        {"share_class_figi": "BBG9"},
    ],
)
def test_merge_listings_never_merges_a_recycled_ticker(other: dict[str, object]) -> None:
    """L22: one ticker, two companies."""
    first = {"composite_figi": "BBG1", "cik": "1"}

    merged, facts = merge_listings(make_listings(make_row(**first), make_row(**(first | other))))

    assert (merged.height, facts.repeated_records, facts.tickers_used_again) == (2, 0, 1)


def test_merge_listings_tells_companies_without_numbers_by_their_names() -> None:
    merged, _ = merge_listings(make_listings(make_row(name="One"), make_row(name="Two")))

    assert merged["name"].to_list() == ["One", "Two"]


def test_merge_listings_leaves_out_and_counts_what_is_no_ticker() -> None:
    merged, facts = merge_listings(make_listings(make_row("A B"), make_row("../x"), make_row("C")))

    assert merged["ticker"].to_list() == ["C"]
    assert facts.bad_tickers == 2


def test_merge_listings_takes_lists_without_rows() -> None:
    merged, facts = merge_listings(make_listings())

    assert merged.schema == LISTING_COLUMNS
    assert facts.rows_read == 0


@given(records, st.randoms())
def test_merge_listings_ignores_the_order_of_pages(
    rows: list[dict[str, object]], chance: Random
) -> None:
    shuffled = rows.copy()
    chance.shuffle(shuffled)

    first, again = merge_listings(make_listings(*rows)), merge_listings(make_listings(*shuffled))

    assert first[0].equals(again[0])
    assert first[1] == again[1]


@given(records)
def test_merge_listings_keeps_every_company_of_every_ticker(rows: list[dict[str, object]]) -> None:
    """L22: whatever is merged, no ticker loses a company or an end."""
    listings = make_listings(*rows)
    identity = ["ticker", "is_active", "delisted_date", "composite_figi", "cik"]

    merged, _ = merge_listings(listings)

    assert set(merged.select(identity).rows()) == set(listings.select(identity).rows())
    assert merge_listings(merged)[0].equals(merged)


def test_plan_details_asks_for_delisted_listings_before_their_end() -> None:
    """L22: the ticker may belong to another company afterwards."""
    gone = make_row("GONE", delisted_date=ENDED)
    listings = make_listings(make_row("B"), gone, gone, make_row("X", is_active=False))

    asked = plan_details(listings, AS_OF)

    assert asked.rows() == [("B", AS_OF), ("GONE", BEFORE_END)]


def test_attach_details_gives_each_listing_its_own() -> None:
    listings = make_listings(make_row("RC"), make_row("RC", delisted_date=ENDED), make_row("X"))
    old = {"ticker": "RC", "asked_date": BEFORE_END, "listed_date": LISTED, "market_cap_usd": 1.0}
    new = {"ticker": "RC", "market_cap_usd": 2.0, "shares_outstanding": 5.0}
    none = {"ticker": "X", "is_found": False}

    universe, facts = attach_details(listings, make_details(old, new, none), AS_OF)

    names = ["ticker", "listed_date", "market_cap_usd", "market_cap_as_of_date"]
    assert universe.select(names).rows() == [
        ("RC", None, 2.0, AS_OF),
        ("RC", LISTED, 1.0, BEFORE_END),
        ("X", None, None, None),
    ]
    assert (facts.asked, facts.not_found, facts.of_another_listing) == (3, 1, 0)


@pytest.mark.parametrize(
    ("listing", "details", "is_used"),
    [
        ({"composite_figi": "BBG1"}, {"detail_figi": "BBG1", "detail_cik": "2"}, True),
        ({"composite_figi": "BBG1"}, {"detail_figi": "BBG2"}, False),
        ({"composite_figi": "BBG1", "cik": "1"}, {"detail_cik": "2"}, False),
        ({"composite_figi": "BBG1", "cik": "1"}, {"detail_cik": "1"}, True),
        ({"cik": "1"}, {"detail_figi": "BBG1"}, True),
        ({}, {}, True),
    ],
)
def test_attach_details_uses_none_of_another_company(
    listing: dict[str, object], details: dict[str, object], *, is_used: bool
) -> None:
    """L22: details under the same ticker may be those of the company that has it now."""
    given_details = make_details({"ticker": "AAAA", "listed_date": LISTED, **details})

    universe, facts = attach_details(make_listings(make_row(**listing)), given_details, AS_OF)

    assert universe["listed_date"].to_list() == [LISTED if is_used else None]
    assert facts.of_another_listing == (0 if is_used else 1)


def test_attach_details_counts_listings_nothing_can_be_asked_of() -> None:
    listings = make_listings(make_row(is_active=False))

    universe, facts = attach_details(listings, make_details({"ticker": "AAAA"}), AS_OF)

    assert (universe.height, facts.undated) == (1, 1)
    assert universe["market_cap_as_of_date"].null_count() == 1


def test_parse_universe_needs_a_ticker_only() -> None:
    listings = parse_universe(pl.DataFrame({"ticker": ["A", "BCpC"]}))

    assert listings["is_active"].to_list() == [True, True]
    assert listings.drop("ticker", "is_active").null_count().row(0) == (2,) * 11


def test_parse_universe_understands_the_names_of_the_vendor() -> None:
    rows = pl.DataFrame(
        {
            "ticker": ["A", "B"],
            "type": [" CS ", ""],
            "list_date": ["2010-01-04", None],
            "delisted_date": [None, "2020-05-06"],
            "market_cap": [5, None],
            "market_cap_as_of_date": [AS_OF, None],
        }
    )

    listings = parse_universe(rows)

    names = ["type", "is_active", "listed_date", "delisted_date", "market_cap_usd"]
    assert listings.select(names).rows() == [
        ("CS", True, LISTED, None, 5.0),
        (None, False, None, ENDED, None),
    ]


@pytest.mark.parametrize(
    ("columns", "error", "complaint"),
    [
        ({"symbol": "A"}, SchemaError, "missing columns"),
        ({"ticker": "A", "sector": "x"}, SchemaError, "unknown columns .'sector'"),
        ({"ticker": "A B"}, DataError, "bad tickers"),
        ({"ticker": "A", "list_date": "x", "listed_date": "y"}, SchemaError, "under one name"),
        ({"ticker": "A", "listed_date": "2010-13-01"}, DataError, "are no dates"),
        ({"ticker": "A", "cik": 320193}, SchemaError, "expected cik as text"),
        ({"ticker": "A", "is_active": "yes"}, SchemaError, "true or false"),
        ({"ticker": "A", "market_cap_usd": "x"}, SchemaError, "as a number"),
        ({"ticker": "A", "market_cap": 5.0}, DataError, "without market_cap_as_of_date"),
        (
            {"ticker": "A", "active": True, "delisted_date": "2020-05-06"},
            DataError,
            "is_active and a delisted_date, first .'A'",
        ),
    ],
)
def test_parse_universe_refuses(
    columns: dict[str, object], error: type[DataError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        parse_universe(pl.DataFrame({name: [value] for name, value in columns.items()}))
