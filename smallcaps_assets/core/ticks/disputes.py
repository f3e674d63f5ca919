"""Tapes against the daily bars that prove them: deficits, what settles one, and what is set aside.

What belongs here: the rule by which a stored session is proven, disputed or settled, as pure
functions of its figures.  What does not: where bars and figures come from (``ingest``), and the
comparison of whole lakes with their bars (``quality``).

A vendor's lost row makes a tape smaller than its bar, so deficits are judged and a surplus is only
noted.  Bars are recalculated after the close and whole fields of them can be wrong for a year, so
a small deficit settles when answers that were cut differently agree, and a field that differs
everywhere is set aside by a rule that needs evidence.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.verdicts import Thresholds

UNPROVEN: Final = "unproven_by_bar"
"""No bar that proves was compared with the tape."""
SURPLUS: Final = "bar_surplus"
"""The tape holds more than its bar; counted, and never a fault."""
RESIDUAL: Final = "bar_residual"
"""A small deficit that settled, or one that a person accepted."""
DIFFERS: Final = "bar_differs"
"""A deficit in a field that is set aside, or against a bar that does not prove."""
MARKS: Final = (UNPROVEN, SURPLUS, RESIDUAL, DIFFERS)
"""Every mark of a green session, in the order of reports."""
UNASKED: Final = "days_before_unasked"
"""Taken over from a lake that did not ask for the closed days before it; asking again cures it."""

VOLUME: Final = "volume"
COUNT: Final = "trade_count"
FIELDS: Final = (VOLUME, COUNT)
"""What a bar proves."""
DEFICIT_COLUMNS: Final = {VOLUME: "volume_deficit", COUNT: "count_deficit"}
"""Columns of the shares that lack, by field."""

OLD_AFTER: Final = dt.timedelta(days=30)
"""Age of a session above which its bar and its tape are no longer expected to change."""
ANSWERS_OF_OLD: Final = 2
"""Answers, cut differently, that settle an old session."""
DATES_OF_YOUNG: Final = 3
"""Dates with the same answer that settle a younger one."""
ASKED_A_DAY: Final = 3
"""Answers a day, the first one included: then a disputed session rests until tomorrow."""
ANSWERS_KEPT: Final = 50
"""Newest answers that a session remembers: more than any rule looks at."""
YOUNG_BAR: Final = dt.timedelta(days=5)
"""A bar fetched sooner after its session may have been recalculated since."""
LEAST_SHARE: Final = 3
"""Pages at least into which a chain is cut when it is asked for again."""
SMALLEST_LIMIT: Final = 100
LARGEST_LIMIT: Final = 50_000
"""Bounds of the page limit of answers that are cut differently; the larger is the vendor's."""
LEAST_SHARES: Final = 0.5
"""Missing shares up to which no volume is in deficit."""

YEAR_COMPARED: Final = 100
"""Sessions of a year that have to be compared before a field may be set aside."""
YEAR_SHARE: Final = 0.05
"""Share of them with a deficit in the field, above which it may be."""
YEAR_ASKED: Final = 20
"""Sessions asked again that have to show whether answers heal."""
YEAR_SAME: Final = 0.95
"""Share of those that have to come back the same."""
DATE_COMPARED: Final = 20
"""Tickers of a date that have to be compared before its bars can be at fault."""
DATE_SHARE: Final = 0.5
"""Share of them with a deficit, above which they are, unless the dates beside it say the same."""

LEAST_BUDGET: Final = 50
BUDGET_SHARE: Final = 0.05
"""Requests of a run that may ask again: the larger of a number and a share of all others."""


class Asking(msgspec.Struct, frozen=True):
    """One answer about a session whose bar disputes it.

    Attributes:
        asked_on: UTC date.
        page_limit: Rows of a page: how the answer was cut.
        content_hash: Hash of the session's rows in it.
    """

    asked_on: dt.date
    page_limit: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What a session traded by the vendor's rules, and what its bar says.

    Attributes:
        volume: Shares, corrections applied; ``None``: not measured.
        trade_count: Trades, corrections applied.
        original_volume: Shares with withdrawn originals counted, as a bar older than a cancel has
            them.
        original_trade_count: Trades counted likewise.
        bar_volume: Shares of the bar; ``None``: there is none.
        bar_trade_count: Trades of the bar, where it knows them.
    """

    volume: float | None
    trade_count: int | None
    original_volume: float | None = None
    original_trade_count: int | None = None
    bar_volume: float | None = None
    bar_trade_count: int | None = None


@dataclass(frozen=True, slots=True)
class Deficit:
    """How much of its bar a tape lacks.

    Attributes:
        volume: Share of the bar's volume that is missing; 0: none; ``None``: not compared.
        trade_count: The same of its trades.
        has_surplus: The tape holds more than the bar in some field.
    """

    volume: float | None = None
    trade_count: float | None = None
    has_surplus: bool = False

    @property
    def is_compared(self) -> bool:
        """Say whether there was a bar to compare with."""
        return self.volume is not None or self.trade_count is not None

    @property
    def fields(self) -> frozenset[str]:
        """The fields in deficit."""
        return frozenset(name for name in FIELDS if getattr(self, name))

    @property
    def worst(self) -> float:
        """The larger of both shares; 0 where nothing lacks or was compared."""
        return max(self.volume or 0.0, self.trade_count or 0.0)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a bar makes of a session with trades.

    Attributes:
        is_disputed: It stays red, and its rows are kept.
        marks: What a green session is marked with.
    """

    is_disputed: bool = False
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a session besides its figures.

    Attributes:
        session_date: New York date.
        content_hash: Hash of its rows.
        proves: Its bar is of the lake's own source, or the settings say that it proves.
        today: UTC date.
        askings: Answers about it so far, the present one among them.
        set_aside: Fields that are set aside in its year.
        is_accepted: A person accepted it.
    """

    session_date: dt.date
    content_hash: str
    proves: bool
    today: dt.date
    askings: Sequence[Asking] = ()
    set_aside: frozenset[str] = frozenset()
    is_accepted: bool = False

    @property
    def is_settled(self) -> bool:
        """Say whether answers enough had the same rows."""
        same = [asking for asking in self.askings if asking.content_hash == self.content_hash]
        if self.today - self.session_date > OLD_AFTER:
            return len({asking.page_limit for asking in same}) >= ANSWERS_OF_OLD
        return len(count_dates(same, self.today)) >= DATES_OF_YOUNG


def measure_deficit(figures: Figures, thresholds: Thresholds) -> Deficit:
    """Compare a tape with its bar; what lacks up to ``session_deficit`` is no deficit.

    A bar may be older than a cancel.  Of the two readings of the tape, corrections applied and
    withdrawn originals counted, the one nearer to the bar counts.
    """
    if figures.bar_volume is None or figures.volume is None:
        return Deficit()
    bar = (figures.bar_volume, figures.bar_trade_count)
    readings = [(figures.volume, figures.trade_count)]
    if figures.original_volume is not None:
        readings.append((figures.original_volume, figures.original_trade_count))
    volume, count = min(readings, key=lambda reading: _measure_distance(reading, bar))
    least = thresholds.session_deficit
    lacking = figures.bar_volume - volume
    tolerated = max(LEAST_SHARES, least * figures.bar_volume)
    deficit = Deficit(
        volume=lacking / figures.bar_volume if lacking > tolerated else 0.0,
        has_surplus=-lacking > tolerated,
    )
    if figures.bar_trade_count is None or count is None:
        return deficit
    missing, allowed = figures.bar_trade_count - count, least * figures.bar_trade_count
    return Deficit(
        volume=deficit.volume,
        trade_count=missing / figures.bar_trade_count if missing > allowed else 0.0,
        has_surplus=deficit.has_surplus or -missing > allowed,
    )


def judge_tape(deficit: Deficit, evidence: Evidence, thresholds: Thresholds) -> Judgement:
    """Say whether a session with trades is disputed, and what a green one is marked with.

    Above the threshold ``session_residual`` no deficit settles by itself.
    """
    if not deficit.is_compared:
        return Judgement(marks=(UNPROVEN,))
    if not evidence.proves:
        return Judgement(marks=(UNPROVEN, DIFFERS) if deficit.fields else (UNPROVEN,))
    if not deficit.fields:
        return Judgement(marks=(SURPLUS,) if deficit.has_surplus else ())
    mark = _find_excuse(deficit, evidence, thresholds)
    return Judgement(is_disputed=True) if mark is None else Judgement(marks=(mark,))


def choose_limit(rows: int, last_limits: Collection[int]) -> int:
    """Choose a page limit that cuts a chain of so many rows otherwise than the last answers."""
    limit = min(max(-(-rows // LEAST_SHARE), SMALLEST_LIMIT), LARGEST_LIMIT)
    while limit in last_limits:
        limit = limit * 4 // 5
    return limit


def count_dates(askings: Iterable[Asking], today: dt.date) -> frozenset[dt.date]:
    """Collect the dates of answers; one in the future, of a clock that was wrong, is today."""
    return frozenset(min(asking.asked_on, today) for asking in askings)


def may_ask(askings: Sequence[Asking], today: dt.date) -> bool:
    """Say whether a disputed session may be asked for again today."""
    return sum(min(asking.asked_on, today) == today for asking in askings) < ASKED_A_DAY


def correct_dates(askings: Sequence[Asking], today: dt.date) -> tuple[Asking, ...]:
    """Correct answers so that none is of the future: a clock was wrong, and today is what counts.

    Until that is written down such an answer would count as one of each day to come.
    """
    return tuple(
        asking if asking.asked_on <= today else msgspec.structs.replace(asking, asked_on=today)
        for asking in askings
    )


def allow_requests(requests: int) -> int:
    """Tell how many requests a run may spend on asking again, by what all else of it took."""
    return max(LEAST_BUDGET, int(BUDGET_SHARE * requests))


def count_years(deficits: pl.DataFrame, compared: pl.DataFrame) -> pl.DataFrame:
    """Count by year and field what :func:`select_set_aside` needs.

    ``deficits`` lack some of their bar or were asked for again (``asked`` answers, ``is_same``);
    ``compared`` counts, by field, the sessions of a date that were compared.
    """
    year = pl.col("session_date").dt.year().alias("year")
    is_asked = pl.col("asked") > 1
    tables = []
    for field, column in DEFICIT_COLUMNS.items():
        lacking = deficits.group_by(year).agg(
            deficits=(pl.col(column) > 0).sum(),
            asked=is_asked.sum(),
            same=(is_asked & pl.col("is_same")).sum(),
            median=pl.col(column).filter(pl.col(column) > 0).median(),
            largest=pl.col(column).max(),
        )
        counted = compared.group_by(year).agg(compared=pl.col(field).sum())
        joined = counted.join(lacking, on="year", how="inner")
        tables.append(joined.select("year", pl.lit(field).alias("field"), pl.exclude("year")))
    return pl.concat(tables).sort("year", "field")


def count_tickers(deficits: pl.DataFrame, compared: pl.DataFrame) -> pl.DataFrame:
    """Count by date what :func:`select_bad_dates` needs; the arguments of :func:`count_years`."""
    lacks = (pl.col("volume_deficit") > 0) | (pl.col("count_deficit") > 0)
    lacking = deficits.filter(lacks).group_by("session_date").agg(deficits=pl.len())
    counted = compared.select("session_date", compared=pl.max_horizontal(*FIELDS))
    return counted.join(lacking, on="session_date", how="left").with_columns(
        pl.col("deficits").fill_null(0).cast(pl.Int64)
    )


def is_candidate() -> pl.Expr:
    """Tell whether so much lacks in a year and field that it may be set aside."""
    compared = pl.col("compared")
    return (compared >= YEAR_COMPARED) & (pl.col("deficits") > YEAR_SHARE * compared)


def select_set_aside(years: pl.DataFrame) -> dict[int, frozenset[str]]:
    """Select the fields that are set aside, by year.

    Args:
        years: One row per ``year`` and ``field``: ``compared`` and ``deficits`` count sessions,
            ``asked`` those asked again and ``same`` those of them that came back the same.
    """
    asked = pl.col("asked")
    is_same = pl.col("same") >= YEAR_SAME * asked
    chosen = years.filter(is_candidate() & (asked >= YEAR_ASKED) & is_same)
    found: dict[int, set[str]] = {}
    for year, field in chosen.select("year", "field").iter_rows():
        found.setdefault(year, set()).add(field)
    return {year: frozenset(fields) for year, fields in found.items()}


def select_bad_dates(dates: pl.DataFrame) -> frozenset[dt.date]:
    """Select the dates whose bars are at fault: most tickers lack there, and not beside it.

    Args:
        dates: One row per compared ``session_date``: ``compared`` and ``deficits`` count its
            tickers.
    """
    is_short = pl.col("deficits") > DATE_SHARE * pl.col("compared")
    beside = [is_short.shift(step, fill_value=False) for step in (1, -1)]
    bad = dates.sort("session_date").filter(
        is_short & (pl.col("compared") >= DATE_COMPARED) & ~beside[0] & ~beside[1]
    )
    return frozenset(bad["session_date"])


def _find_excuse(deficit: Deficit, evidence: Evidence, thresholds: Thresholds) -> str | None:
    """Find the mark under which a deficit is green all the same; ``None``: it is not."""
    if evidence.is_accepted:
        return RESIDUAL
    if deficit.worst > thresholds.session_residual:
        return None
    if len(deficit.fields) == 1 and deficit.fields <= evidence.set_aside:
        return DIFFERS
    return RESIDUAL if evidence.is_settled else None


def _measure_distance(reading: tuple[float, int | None], bar: tuple[float, int | None]) -> float:
    """Measure how far a reading of a tape is from its bar, both fields relative."""
    pairs = zip(reading, bar, strict=True)
    known = [(own, other) for own, other in pairs if own is not None and other is not None]
    return sum(abs(own - other) / (other or 1) for own, other in known)
