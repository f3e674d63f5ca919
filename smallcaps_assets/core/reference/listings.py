"""Listings: one row for each time a company was listed under a ticker, from lists and details.

A ticker that two companies used has two listings; nothing here joins them.  What belongs here:
the columns, repeats, details, the way from a file.  What does not: which listings are wanted and
facts about them (``universe``), and which sessions they cover (``membership``).
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import is_symbol_expression
from smallcaps_assets.core.parsing import (
    check_columns,
    check_tickers,
    parse_dates,
    parse_flags,
    parse_numbers,
)
from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.schemas import UNIVERSE

LISTING_COLUMNS: Final = pl.Schema(
    {
        "ticker": pl.String(),
        "name": pl.String(),
        "type": pl.String(),
        "primary_exchange": pl.String(),
        "is_active": pl.Boolean(),
        "delisted_date": pl.Date(),
        "composite_figi": pl.String(),
        "share_class_figi": pl.String(),
        "cik": pl.String(),
        "last_updated": pl.String(),
    }
)
"""Columns of the vendor's lists; ``last_updated`` is ISO text, null where it was not sent."""

DETAIL_COLUMNS: Final = pl.Schema(
    {
        "ticker": pl.String(),
        "asked_date": pl.Date(),
        "is_found": pl.Boolean(),
        "listed_date": pl.Date(),
        "market_cap_usd": pl.Float64(),
        "shares_outstanding": pl.Float64(),
        "detail_figi": pl.String(),
        "detail_cik": pl.String(),
    }
)
"""Columns of details: what was listed under a ticker on a date; all null but the first two and
``is_found`` where nothing was."""

_DETAILED: Final = ("listed_date", "market_cap_usd", "shares_outstanding")
_FILE_COLUMNS: Final = tuple(name for name in UNIVERSE.columns if name != "is_below_cap")
_ALIASES: Final = {
    "list_date": "listed_date",
    "active": "is_active",
    "market_cap": "market_cap_usd",
    "share_class_shares_outstanding": "shares_outstanding",
}
"""The vendor's names, which a file may use."""


@dataclass(frozen=True, slots=True)
class MergeFacts:
    """What was merged or left out of the vendor's lists.

    Attributes:
        repeated_records: Rows merged into one that is the same listing.
        contradicting_records: Those of them that differ from it; the newest was kept.
        tickers_used_again: Tickers of several listings, of any type and exchange.
    """

    rows_read: int
    bad_tickers: int
    repeated_records: int
    contradicting_records: int
    tickers_used_again: int


@dataclass(frozen=True, slots=True)
class DetailFacts:
    """What became of the details.

    Attributes:
        not_found: Tickers and dates under which the vendor has nothing.
        of_another_listing: Listings whose details are of another company and were not used.
        undated: Delisted listings without a date, of which no details can be asked for.
    """

    asked: int
    not_found: int
    of_another_listing: int
    undated: int


def merge_listings(listings: pl.DataFrame) -> tuple[pl.DataFrame, MergeFacts]:
    """Merge records of one listing, whatever the order in which they came.

    Records are one listing if ticker, state, date of the delisting, FIGIs and CIK are equal, and
    the name too where there is neither FIGI nor CIK.  A ticker alone joins nothing.  What is left
    is sorted by ticker and then by the identity.
    """
    good = listings.filter(is_symbol_expression())
    is_unnumbered = pl.all_horizontal(pl.col("composite_figi", "cik").is_null())
    named = good.with_columns(_alias=pl.when(is_unnumbered).then("name"))
    identity = ["ticker", "delisted_date", "is_active", "composite_figi", "share_class_figi", "cik"]
    kept, contradicting = merge_records(named, [*identity, "_alias"], ["last_updated"])
    facts = MergeFacts(
        rows_read=listings.height,
        bad_tickers=listings.height - good.height,
        repeated_records=good.height - kept.height,
        contradicting_records=contradicting,
        tickers_used_again=kept.filter(pl.col("ticker").is_duplicated())["ticker"].n_unique(),
    )
    return kept.select(LISTING_COLUMNS.names()), facts


def merge_records(
    rows: pl.DataFrame, identity: Sequence[str], versions: Sequence[str] = ()
) -> tuple[pl.DataFrame, int]:
    """Keep one record of each identity, whatever their order; nulls are equal.

    The largest of ``versions`` is the newest record, which is kept; else the smallest by the other
    columns.

    Returns:
        The records kept, sorted by the identity, and how many others differ from theirs in more
        than the version.
    """
    rest = [name for name in rows.columns if name not in {*identity, *versions}]
    directions = [False] * len(identity) + [True] * len(versions) + [False] * len(rest)
    ordered = rows.sort(*identity, *versions, *rest, descending=directions, nulls_last=True)
    kept = ordered.unique(list(identity), keep="first", maintain_order=True)
    return kept, rows.unique([*identity, *rest]).height - kept.height


def plan_details(listings: pl.DataFrame, as_of: dt.date) -> pl.DataFrame:
    """Plan the ``ticker`` and ``asked_date`` to ask details for, sorted and each once.

    What is listed is asked for as of ``as_of``, what was delisted as of the day before.
    """
    asked = listings.lazy().select("ticker", asked_date=_asked_date(as_of))
    return asked.drop_nulls().unique().sort("ticker", "asked_date").collect()


def attach_details(
    listings: pl.DataFrame, details: pl.DataFrame, as_of: dt.date
) -> tuple[pl.DataFrame, DetailFacts]:
    """Give each listing its own details, and never those of another one of its ticker.

    Details are another listing's if FIGI differs from FIGI, or, without two FIGIs to compare,
    CIK from CIK.

    Returns:
        The columns of ``schemas.UNIVERSE`` without ``is_below_cap``; what is unknown is null.
    """
    joined = listings.with_columns(asked_date=_asked_date(as_of)).join(
        details.filter("is_found"), on=["ticker", "asked_date"], how="left", validate="m:1"
    )
    is_foreign = (
        (pl.col("detail_figi") != pl.col("composite_figi"))
        .fill_null(pl.col("detail_cik") != pl.col("cik"))
        .fill_null(value=False)
    )
    own = joined.with_columns(
        pl.when(~is_foreign).then(pl.col(name)).alias(name) for name in _DETAILED
    ).with_columns(
        market_cap_as_of_date=pl.when(pl.col("market_cap_usd").is_not_null()).then("asked_date")
    )
    facts = DetailFacts(
        asked=details.height,
        not_found=details.filter(~pl.col("is_found")).height,
        of_another_listing=joined.filter(is_foreign).height,
        undated=joined.filter(pl.col("asked_date").is_null()).height,
    )
    return own.select(_FILE_COLUMNS), facts


def parse_universe(frame: pl.DataFrame) -> pl.DataFrame:
    """Parse listings from a file into their types; columns that are not there are null.

    ``ticker`` is required.  Without ``is_active``, what has no ``delisted_date`` is active.  The
    vendor's names of columns are understood.

    Returns:
        The columns of ``schemas.UNIVERSE`` without ``is_below_cap``, in the file's order.

    Raises:
        SchemaError: A column is missing, unknown or of another type.
        DataError: A ticker or a date is none, a market cap has no date, or an active listing has
            a ``delisted_date``.
    """
    table = UNIVERSE.name
    named = {old: new for old, new in _ALIASES.items() if old in frame.columns}
    if both := [old for old, new in named.items() if new in frame.columns]:
        raise SchemaError(f"{table}: expected each column under one name, got {both} twice")
    given = frame.rename(named).drop("is_below_cap", strict=False)
    check_columns(given, required=["ticker"], allowed=_FILE_COLUMNS, table=table)
    check_tickers(given, table=table)
    missing = [name for name in _FILE_COLUMNS if name not in given.columns]
    listings = given.with_columns(
        pl.lit(None, UNIVERSE.columns[name].dtype).alias(name) for name in missing
    ).select(_FILE_COLUMNS)
    for name in ("listed_date", "delisted_date", "market_cap_as_of_date"):
        listings = _parse_optional_dates(listings, name)
    amounts = ["market_cap_usd", "shares_outstanding"]
    listings = parse_numbers(listings, amounts, pl.Float64, table=table)
    listings = _parse_states(_parse_texts(listings))
    _check_states(listings)
    return listings


def _asked_date(as_of: dt.date) -> pl.Expr:
    before = pl.col("delisted_date").dt.offset_by("-1d")
    return pl.when("is_active").then(pl.lit(as_of)).otherwise(before)


def _parse_optional_dates(listings: pl.DataFrame, name: str) -> pl.DataFrame:
    """Parse ``name`` of ``listings`` to Date; its nulls stay."""
    indexed = listings.with_row_index("_row")
    known = indexed.select("_row", name).drop_nulls()
    if known.is_empty():
        return listings.with_columns(pl.lit(None, pl.Date).alias(name))
    parsed = parse_dates(known, name, table=UNIVERSE.name)
    joined = indexed.drop(name).join(parsed, on="_row", how="left", validate="1:1")
    return joined.sort("_row").select(_FILE_COLUMNS)


def _parse_texts(listings: pl.DataFrame) -> pl.DataFrame:
    """Parse the columns of text; empty texts are null.

    Raises:
        SchemaError: A column holds something else.
    """
    texts = [name for name in _FILE_COLUMNS if UNIVERSE.columns[name].dtype == pl.String()]
    for name in texts:
        dtype = listings.schema[name]
        if dtype not in (pl.String(), pl.Null()):
            raise SchemaError(f"{UNIVERSE.name}: expected {name} as text, got {dtype}")
    bare = pl.col(texts).cast(pl.String).str.strip_chars()
    return listings.with_columns(pl.when(bare != "").then(bare).name.keep())


def _parse_states(listings: pl.DataFrame) -> pl.DataFrame:
    listings = parse_flags(listings, "is_active")
    dtype = listings.schema["is_active"]
    if dtype not in (pl.Boolean(), pl.Null()):
        raise SchemaError(f"{UNIVERSE.name}: expected is_active as true or false, got {dtype}")
    state = pl.col("is_active").cast(pl.Boolean).fill_null(pl.col("delisted_date").is_null())
    return listings.with_columns(state)


def _check_states(listings: pl.DataFrame) -> None:
    has_cap, has_date, has_end = (
        pl.col(name).is_not_null()
        for name in ("market_cap_usd", "market_cap_as_of_date", "delisted_date")
    )
    problems = {
        "a market cap without market_cap_as_of_date": has_cap & ~has_date,
        "is_active and a delisted_date": pl.col("is_active") & has_end,
    }
    for problem, is_wrong in problems.items():
        if (bad := listings.filter(is_wrong)).height:
            shown = bad["ticker"].head(5).to_list()
            raise DataError(f"{UNIVERSE.name}: {bad.height} listings have {problem}, first {shown}")
