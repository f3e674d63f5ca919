"""Daily bars as files of a month each, with what is known of the month in the file itself.

What belongs here: writing, listing and reading months.  What does not: which months are wanted
and whether one is whole (``ingest``), the bytes of a file (``files``).
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, convert_fields
from smallcaps_assets.core.keys import is_ticker_expression, list_session_months
from smallcaps_assets.core.parsing import check_unique
from smallcaps_assets.errors import DataError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import MONTH_PREFIX
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.files import decode_facts, encode_table
from smallcaps_assets.schemas import DAILY_BARS

CONTRADICTING: Final = "different bars of one session"
"""Problem of a key that was set aside."""
NO_TICKER: Final = "no ticker"
"""Problem of a row that was left out."""


class LeftOutBar(msgspec.Struct, frozen=True):
    """A row, or a key, of the vendor that was not stored.

    Attributes:
        ticker: Its symbol, as it can be shown.
        session_date: Its session.
        problem: Why.
    """

    ticker: str
    session_date: dt.date
    problem: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What of the vendor's rows was not stored.

    Attributes:
        repeated: Rows equal to another one.
        garbage: Rows whose symbol is none.
        contradicting: Keys of which different rows came.
        shown: All of those keys, and the first of the garbage.
    """

    repeated: int = 0
    garbage: int = 0
    contradicting: int = 0
    shown: tuple[LeftOutBar, ...] = ()


NOTHING_LEFT_OUT: Final = LeftOut()


class BarMonthFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a month of daily bars besides its rows.

    Attributes:
        month: The month, ``YYYY-MM``.
        rows: Bars.
        is_closed: Every session of the month is over, published and has bars.
        sessions: Sessions that have bars.
        covered: Dates of which every ticker that traded is listed, so that a ticker without a
            bar is known not to have traded.
        fetched: Dates whose bars came from the lake's own source, and when; ``()``: unknown.
        asked_again: Dates whose bars were asked for again, and when last.
        is_sifted: Its keys are unique and its tickers are some; earlier versions did not look.
        left_out: What of the vendor's rows was not stored.
    """

    month: str
    rows: int
    is_closed: bool
    sessions: int
    covered: tuple[dt.date, ...]
    fetched: tuple[tuple[dt.date, dt.date], ...] = ()
    asked_again: tuple[tuple[dt.date, dt.date], ...] = ()
    is_sifted: bool = False
    left_out: LeftOut = NOTHING_LEFT_OUT


@dataclass(frozen=True, slots=True)
class BarOrigin:
    """How the bars of a month came from the lake's own source, and what of them was not stored.

    Attributes:
        fetched: UTC date on which the bars of a date came.
        asked_again: The last UTC date on which they were asked for again.
        left_out: What of the vendor's rows is not among the bars.
    """

    fetched: Mapping[dt.date, dt.date] = field(default_factory=dict)
    asked_again: Mapping[dt.date, dt.date] = field(default_factory=dict)
    left_out: LeftOut = NOTHING_LEFT_OUT


OF_A_FILE: Final = BarOrigin()
"""Bars that the lake's own source did not give."""


class BarMonthStore:
    """The months of daily bars below one data folder.

    A file that is damaged, or was not written by this program, is a ``DataError``.

    Attributes:
        layout: Paths of the data folder.
        fs: The disk.
    """

    def __init__(self, layout: LakeLayout, fs: FileSystem) -> None:
        self.layout = layout
        self.fs = fs

    def write_daily_bars(
        self,
        month: str,
        bars: pl.DataFrame,
        *,
        covered: Iterable[dt.date],
        is_closed: bool,
        origin: BarOrigin = OF_A_FILE,
    ) -> BarMonthFacts:
        """Write the daily bars of a month, in place of those it has.

        Args:
            month: The month, ``YYYY-MM``.
            bars: ``schemas.DAILY_BARS`` of this month.
            covered: Dates of which every ticker that traded is listed.
            is_closed: Every session of the month is over, published and has bars.
            origin: How the bars came from the lake's own source.

        Returns:
            What is known of the month.

        Raises:
            DataError: It is no month, a bar belongs to another one, or a key occurs twice.
            SchemaError: The bars break the contract.
            StorageError: The disk refuses; the bars stored before are unchanged.
        """
        path = self.layout.daily_bars_file(month)
        if strangers := [other for other in list_session_months(bars) if other != month]:
            raise DataError(f"daily bars of {month}: expected no other month, found {strangers}")
        check_unique(bars, DAILY_BARS.key, table=DAILY_BARS.name)
        facts = BarMonthFacts(
            month=month,
            rows=bars.height,
            is_closed=is_closed,
            sessions=bars["session_date"].n_unique(),
            covered=tuple(sorted(covered)),
            fetched=tuple(sorted(origin.fetched.items())),
            asked_again=tuple(sorted(origin.asked_again.items())),
            is_sifted=True,
            left_out=origin.left_out,
        )
        ordered = bars.sort(DAILY_BARS.key)
        content = encode_table(DAILY_BARS, ordered, msgspec.to_builtins(facts))
        self.fs.publish({path: content}, root=self.layout.data_dir)
        return facts

    def read_daily_bars(
        self, first: dt.date | None = None, last: dt.date | None = None
    ) -> pl.LazyFrame:
        """Scan the stored bars from date to date, by month, then by ticker and session."""
        files = [self.layout.daily_bars_file(month) for month in self.list_bar_months(first, last)]
        if not files:
            return DAILY_BARS.empty().lazy()
        bars = pl.scan_parquet(files, hive_partitioning=False, glob=False)
        bounds = (first or dt.date.min, last or dt.date.max)
        return bars.filter(pl.col("session_date").is_between(*bounds))

    def read_bar_months(
        self, first: dt.date | None = None, last: dt.date | None = None
    ) -> list[BarMonthFacts]:
        """Read what is known of each stored month that some dates lie in, in order."""
        return [self._read_month(month) for month in self.list_bar_months(first, last)]

    def find_unsound_months(self) -> list[str]:
        """Find the months that an earlier version stored with repeated keys or no tickers.

        Their bars cannot be used; only months that this version did not write are looked into.
        """
        return [
            facts.month
            for facts in self.read_bar_months()
            if not facts.is_sifted and not self._is_sound(facts.month)
        ]

    def _is_sound(self, month: str) -> bool:
        file = self.layout.daily_bars_file(month)
        keys = pl.scan_parquet(file, hive_partitioning=False, glob=False).select(DAILY_BARS.key)
        is_wrong = pl.struct(DAILY_BARS.key).is_duplicated() | ~is_ticker_expression()
        return keys.filter(is_wrong).head(1).collect().is_empty()

    def read_covered_sessions(self, first: dt.date, last: dt.date) -> frozenset[dt.date]:
        """Find the dates between two, included, of which every ticker that traded is listed."""
        dates = [date for month in self.read_bar_months(first, last) for date in month.covered]
        return frozenset(date for date in dates if first <= date <= last)

    def list_bar_months(
        self, first: dt.date | None = None, last: dt.date | None = None
    ) -> list[str]:
        """List the stored months, ``YYYY-MM``, that some dates lie in, in order."""
        folders = self.fs.list_folder(self.layout.daily_bars_dir, MONTH_PREFIX)
        months = [folder.name.removeprefix(MONTH_PREFIX) for folder in folders]
        lowest, highest = (first or dt.date.min).isoformat(), (last or dt.date.max).isoformat()
        return [
            month
            for month in months
            if lowest[:7] <= month <= highest[:7]
            and self.fs.is_file(self.layout.daily_bars_file(month))
        ]

    def _read_month(self, month: str) -> BarMonthFacts:
        path = self.layout.daily_bars_file(month)
        facts = decode_facts(DAILY_BARS, self.fs.read(path), where=str(path))
        try:
            return convert_fields(facts, BarMonthFacts)
        except DECODER_FAULTS as error:
            raise DataError(
                f"{path} lacks what is known of its month ({error}): materialize daily_bars again"
            ) from error
