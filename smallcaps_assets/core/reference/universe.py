"""The universe: which listings are wanted, and facts and a verdict about them.

What belongs here: filters by type, exchange and market cap, and survivorship.  What does not:
where listings come from (``listings``) and which sessions they cover (``membership``).

A market cap is known on one date.  It labels listings as of that date; it removes none, because
what is large today may have been small in 2004.
"""

import re
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.reference.listings import merge_records
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas import UNIVERSE

_TEST_TICKERS: Final = """
ATEST CBOA CBOJ CBOL CBOO CBOT CBOX CBOY CBXA CBXJ CBXL CBXO CBXY IBOT MTEST MTEST.A NTEST NTEST.H
NTEST.I ZBZX ZEXIT ZIEXT ZJZZT ZTEST ZTST ZVZZT ZWZZT ZXIET ZXZZT ZZZTA ZZZTE ZZZTS ZZZTT ZZZTX
"""
TEST_TICKERS: Final = frozenset(_TEST_TICKERS.split())
"""Tickers with which exchanges test their systems, as seen in data; ZTS and CBOE are companies."""

ALL_CODES: Final = "all"
SHOWN_LISTINGS: Final = 20
"""Listings of each problem that facts carry along to show."""

_CODE: Final = re.compile(r"[A-Z0-9]{1,12}")
_SHOWN: Final = ("ticker", "name", "listed_date", "delisted_date")


@dataclass(frozen=True, slots=True)
class UniverseRules:
    """Which listings are wanted.

    Attributes:
        max_cap_usd: Active listings of a smaller market cap are labelled as below the cap; 0:
            there is no limit.
        keeps_unknown: Keep listings whose type or exchange is not known.
    """

    types: frozenset[str] | None
    exchanges: frozenset[str] | None
    max_cap_usd: float
    keeps_unknown: bool = True


@dataclass(frozen=True, eq=False)
class SelectionFacts:
    """What the filters left out and what they did not know.

    Attributes:
        other_exchanges: Listings of a wanted type left out because of their exchange.
        unknown_exchange: Listings without an exchange, of a wanted or unknown type.
        unmatched: Codes asked for that no listing has.
        left_out: ``column``, ``code``, ``listings`` of what was left out, most first.
    """

    test_tickers: int
    other_types: int
    other_exchanges: int
    unknown_type: int
    unknown_exchange: int
    unmatched: tuple[str, ...]
    left_out: pl.DataFrame


@dataclass(frozen=True, eq=False)
class UniverseFacts:
    """What the universe holds.

    Attributes:
        reused_tickers: Tickers of several listings.
        overlapping: Listings that begin before an earlier one of their ticker ends.
        below_cap: Active listings below the cap, as of its date.
        above_cap: Active listings not below it.
        cap_dates: First and last date of the active listings' caps, as text; empty without any.
        offenders: First listings of each problem: ``ticker``, ``name``, dates, ``problem``.
    """

    listings: int
    active: int
    delisted: int
    without_figi: int
    reused_tickers: int
    overlapping: int
    without_listed_date: int
    without_delisted_date: int
    below_cap: int
    above_cap: int
    without_cap: int
    cap_dates: str
    offenders: pl.DataFrame


@dataclass(frozen=True, eq=False)
class ListingRepairs:
    """What was wrong with listings and how they were kept all the same.

    Attributes:
        repeated: Rows merged into an equal key.
        contradicting: Those of them that differ from it.
        reversed_periods: Listings that end before they begin; their ``listed_date`` is dropped.
        dated_active: Active listings with a ``delisted_date``, which is dropped.
        unusable_caps: Market caps that are not finite and positive, dropped.
        offenders: First listings of each problem: ``ticker``, ``name``, dates, ``problem``.
    """

    repeated: int
    contradicting: int
    reversed_periods: int
    dated_active: int
    unusable_caps: int
    offenders: pl.DataFrame


def parse_codes(text: str, name: str) -> frozenset[str] | None:
    """Parse a comma-separated list of codes; ``None`` for ``all``.

    Raises:
        ConfigError: It holds no code, or something that is none; ``name`` says what it lists.
    """
    codes = [part.strip() for part in text.split(",") if part.strip()]
    if codes == [ALL_CODES]:
        return None
    if not codes or not all(_CODE.fullmatch(code) for code in codes):
        raise ConfigError(f"{name}: expected codes such as CS,XNAS or `all`, got {text!r}")
    return frozenset(codes)


def select_listings(
    listings: pl.DataFrame, rules: UniverseRules
) -> tuple[pl.DataFrame, SelectionFacts]:
    """Keep the listings of the wanted types and exchanges, in their order."""
    real = listings.filter(~pl.col("ticker").is_in(list(TEST_TICKERS)))
    is_typed = _is_wanted("type", rules.types, keeps_unknown=rules.keeps_unknown)
    is_placed = _is_wanted("primary_exchange", rules.exchanges, keeps_unknown=rules.keeps_unknown)
    typed = real.filter(is_typed)
    kept = typed.filter(is_placed)
    other_types, other_exchanges = real.filter(~is_typed), typed.filter(~is_placed)
    return kept, SelectionFacts(
        test_tickers=listings.height - real.height,
        other_types=other_types["type"].count(),
        other_exchanges=other_exchanges["primary_exchange"].count(),
        unknown_type=real["type"].null_count(),
        unknown_exchange=typed["primary_exchange"].null_count(),
        unmatched=(
            *_find_unmatched(real["type"], rules.types),
            *_find_unmatched(real["primary_exchange"], rules.exchanges),
        ),
        left_out=pl.concat(
            [_count_codes(other_types, "type"), _count_codes(other_exchanges, "primary_exchange")]
        ),
    )


def build_universe(
    listings: pl.DataFrame, rules: UniverseRules
) -> tuple[pl.DataFrame, ListingRepairs]:
    """Build ``schemas.UNIVERSE`` of its columns: each listing once, dates in order, cap labelled.

    No listing is lost: what contradicts itself becomes unknown, and is counted.
    """
    cap = pl.col("market_cap_usd")
    is_no_cap = ~(cap.is_finite() & (cap > 0))
    is_dated = pl.col("is_active") & pl.col("delisted_date").is_not_null()
    is_reversed = ~pl.col("is_active") & (pl.col("listed_date") > pl.col("delisted_date"))
    problems = {
        "unusable market cap": listings.filter(is_no_cap),
        "active and delisted": listings.filter(is_dated),
        "delisted before it was listed": listings.filter(is_reversed),
    }
    sound = listings.with_columns(
        pl.when(~is_reversed.fill_null(value=False)).then("listed_date").alias("listed_date"),
        pl.when(~is_dated).then("delisted_date").alias("delisted_date"),
        pl.when(~is_no_cap).then(cap).alias("market_cap_usd"),
        pl.when(~is_no_cap).then("market_cap_as_of_date").alias("market_cap_as_of_date"),
    )
    kept, contradicting = merge_records(sound, UNIVERSE.key)
    universe = UNIVERSE.conform(kept.with_columns(is_below_cap=_is_below(rules.max_cap_usd)))
    return universe.sort(UNIVERSE.key), ListingRepairs(
        repeated=sound.height - kept.height,
        contradicting=contradicting,
        reversed_periods=problems["delisted before it was listed"].height,
        dated_active=problems["active and delisted"].height,
        unusable_caps=problems["unusable market cap"].height,
        offenders=pl.concat(show_listings(rows, name) for name, rows in problems.items()),
    )


def measure_universe(universe: pl.DataFrame) -> UniverseFacts:
    """Gather the facts about ``schemas.UNIVERSE``."""
    active = universe.filter("is_active")
    delisted = universe.filter(~pl.col("is_active"))
    reused = universe.filter(pl.col("ticker").is_duplicated())
    overlapping = _find_overlaps(universe)
    endless = delisted.filter(pl.col("delisted_date").is_null())
    dates = active["market_cap_as_of_date"].drop_nulls().unique().sort().cast(pl.String)
    first_and_last = pl.concat([dates.head(1), dates.tail(1)]).unique(maintain_order=True)
    return UniverseFacts(
        listings=universe.height,
        active=active.height,
        delisted=delisted.height,
        without_figi=universe["composite_figi"].null_count(),
        reused_tickers=reused["ticker"].n_unique(),
        overlapping=overlapping.height,
        without_listed_date=universe["listed_date"].null_count(),
        without_delisted_date=endless.height,
        below_cap=active.filter("is_below_cap").height,
        above_cap=active.filter(~pl.col("is_below_cap")).height,
        without_cap=active["market_cap_usd"].null_count(),
        cap_dates=" to ".join(first_and_last),
        offenders=pl.concat(
            [
                show_listings(overlapping, "overlaps another listing of its ticker"),
                show_listings(endless, "delisted without a date"),
            ]
        ),
    )


def judge_universe(facts: UniverseFacts) -> Verdict:
    """Judge survivorship: a universe of what is listed today says nothing about the past.

    Listings without FIGI, reused tickers, and caps with their dates are reported.
    """
    share = facts.delisted / facts.listings if facts.listings else 0.0
    numbers: dict[str, Number] = {
        "active": facts.active,
        "delisted": facts.delisted,
        "active_ratio": 1 - share if facts.listings else 0.0,
        "delisted_ratio": share,
        "without_figi": facts.without_figi,
        "reused_tickers": facts.reused_tickers,
        "overlapping_listings": facts.overlapping,
        "without_listed_date": facts.without_listed_date,
        "without_delisted_date": facts.without_delisted_date,
        "active_below_cap": facts.below_cap,
        "active_above_cap": facts.above_cap,
        "active_without_cap": facts.without_cap,
        "cap_as_of": facts.cap_dates,
    }
    if not facts.listings:
        summary = "the universe holds no listing"
    elif not facts.delisted:
        summary = (
            f"none of {facts.listings} listings is delisted, so only survivors would be studied: "
            "load the vendor's delisted listings too, or add them to the file"
        )
    else:
        summary = (
            f"{facts.delisted} of {facts.listings} listings are delisted ({share:.1%}); "
            f"{facts.without_figi} have no FIGI, {facts.reused_tickers} tickers were used again"
        )
    return Verdict(facts.delisted > 0, summary, numbers, facts.offenders)


def show_listings(rows: pl.DataFrame, problem: str) -> pl.DataFrame:
    """Show the first of ``rows`` by ticker, with their ``problem``."""
    first = rows.sort("ticker", "listed_date").head(SHOWN_LISTINGS)
    return first.select(*_SHOWN, pl.lit(problem).alias("problem"))


def _is_wanted(column: str, codes: frozenset[str] | None, *, keeps_unknown: bool) -> pl.Expr:
    is_code = pl.lit(value=True) if codes is None else pl.col(column).is_in(sorted(codes))
    return pl.when(pl.col(column).is_null()).then(pl.lit(keeps_unknown)).otherwise(is_code)


def _is_below(max_cap_usd: float) -> pl.Expr:
    """Make the label of the cap: null where it says nothing."""
    cap = pl.col("market_cap_usd")
    is_below = cap < max_cap_usd if max_cap_usd else cap.is_not_null()
    return pl.when(pl.col("is_active"), cap.is_not_null()).then(is_below)


def _count_codes(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    counts = rows.group_by(code=column).agg(listings=pl.len())
    ordered = counts.sort("listings", "code", descending=[True, False])
    return ordered.select(pl.lit(column).alias("column"), "code", "listings")


def _find_unmatched(found: pl.Series, codes: frozenset[str] | None) -> list[str]:
    return sorted((codes or frozenset()) - set(found.drop_nulls()))


def _find_overlaps(universe: pl.DataFrame) -> pl.DataFrame:
    """Find listings that begin before an earlier one of their ticker ends."""
    dated = universe.drop_nulls("listed_date").sort("ticker", "listed_date", "delisted_date")
    end = pl.when("is_active").then(pl.date(9999, 12, 31)).otherwise("delisted_date")
    latest = end.cum_max().shift(1).over("ticker")
    return dated.filter(pl.col("listed_date") < latest)
