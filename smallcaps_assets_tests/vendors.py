"""Vendors in this process whose truth is known: what they send, what their bars say, and when.

What belongs here: models of vendors that lose rows, heal, or build bars of their own, and a source
of trades that the download core runs on.  What does not: HTTP and single requests (the emulator
of the product has faults for those).
"""

import datetime as dt
import functools
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.sessions import date_of_ns, day_bounds_ns, load_calendar, month_bounds
from smallcaps_assets.core.ticks.conditions import build_daily_bar, label_update_rules
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.ticks.sources import TradeSource
from smallcaps_assets.core.ticks.tape import FetchedTrades
from smallcaps_assets.lake.tables.bar_months import BarOrigin
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.polygon.reference import BarRow
from smallcaps_assets.polygon.wire.trades import TRADE_COLUMNS
from smallcaps_assets.schemas import DAILY_BARS, TRADES
from smallcaps_assets_tests.archive_factories import HOUR_NS, make_vendor_trades
from smallcaps_assets_tests.ingest.ingest_factories import make_lakehouse

MAX_PAGE_LIMIT: Final = 50_000
CANCELLED: Final = 8
OFFICIAL: Final = (16, 15)
"""Conditions of the official open and close: no volume, no count."""

GROUPED: Final = "/v2/aggs/grouped/locale/us/market/stocks/"
BAR_FIELDS: Final = [name for name in DAILY_BARS.columns if name != "session_date"]

Bools = npt.NDArray[np.bool_]


class Clock:
    """A clock that stands until it is told.

    Attributes:
        now: The time, aware.
    """

    def __init__(self, date: dt.date) -> None:
        self.now = dt.datetime.combine(date, dt.time(17), dt.UTC)

    def __call__(self) -> dt.datetime:
        """Return the time."""
        return self.now

    @property
    def date(self) -> dt.date:
        """Return the date in UTC, at 17:00 also that in New York."""
        return self.now.date()

    def advance(self, days: int = 1) -> None:
        """Let so many days pass."""
        self.now += dt.timedelta(days=days)


@dataclass(frozen=True)
class Loss:
    """Which rows a vendor does not send though its bars count them.

    Only rows that count for volume are lost, so a session that lost ``rows`` of them misses
    exactly so many in its count.

    Attributes:
        rows: Rows lost of each page, or of each session where ``by`` is ``row``.
        share: Share of them instead.
        by: ``page``: drawn again for each page and page limit; ``row``: the same rows always.
        page: Only the ``first``, ``middle`` ones or ``last`` page of a chain.
        asks: Only the first so many times that a session is asked for; ``None`` always.
        until: Healed from this date on.
        dates: Only of these sessions; ``None`` of all.
        seed: Makes another choice.
    """

    rows: int = 0
    share: float = 0.0
    by: str = "page"
    page: str | None = None
    asks: int | None = None
    until: dt.date | None = None
    dates: frozenset[dt.date] | None = None
    seed: int = 0

    def strikes(self, session_date: dt.date, *, asked: int, on: dt.date) -> bool:
        """Say whether a session loses rows.

        Args:
            session_date: The session.
            asked: How often it was asked for, this time included.
            on: Date of the request.
        """
        is_wanted = self.dates is None or session_date in self.dates
        is_early = self.until is None or on < self.until
        return is_wanted and is_early and (self.asks is None or asked <= self.asks)

    def draw(self, candidates: Bools, identity: str) -> Bools:
        """Return which of the candidates are lost; the same identity loses the same."""
        places = np.flatnonzero(candidates)
        number = self.rows or round(self.share * places.size)
        rng = np.random.default_rng(zlib.crc32(f"{self.seed}|{identity}".encode()))
        lost = np.zeros(candidates.size, dtype=np.bool_)
        lost[rng.permutation(places)[:number]] = True
        return lost


class BarRule(Protocol):
    """How a vendor's bars differ from those of its honest tape."""

    def change(self, bars: pl.DataFrame, on: dt.date) -> pl.DataFrame:
        """Return ``schemas.DAILY_BARS`` as asked for on a date."""
        ...


@dataclass(frozen=True)
class CountsHigher:
    """Every count of a year is higher, in sessions of at least so many trades."""

    year: int
    more: int = 2
    least: int = 50

    def change(self, bars: pl.DataFrame, on: dt.date) -> pl.DataFrame:
        """Return the bars with the higher counts."""
        del on
        count = pl.col("trade_count")
        is_hit = (pl.col("session_date").dt.year() == self.year) & (count >= self.least)
        return bars.with_columns(pl.when(is_hit).then(count + self.more).otherwise(count))


@dataclass(frozen=True)
class DateDoubled:
    """Volume, and count if wanted, of all tickers of one date are doubled, perhaps until a date."""

    session_date: dt.date
    until: dt.date | None = None
    columns: tuple[str, ...] = ("volume",)

    def change(self, bars: pl.DataFrame, on: dt.date) -> pl.DataFrame:
        """Return the bars with that date doubled."""
        if self.until is not None and on >= self.until:
            return bars
        is_hit = pl.col("session_date") == self.session_date
        doubled = pl.when(is_hit).then(pl.col(self.columns) * 2).otherwise(pl.col(self.columns))
        return bars.with_columns(doubled)


@dataclass(frozen=True)
class Recalculated:
    """Bars show more, by a share and a trade at least, until so many days after their session."""

    days: int = 5
    share: float = 0.026

    def change(self, bars: pl.DataFrame, on: dt.date) -> pl.DataFrame:
        """Return the bars as they are on that date."""
        is_fresh = pl.col("session_date") > on - dt.timedelta(days=self.days)
        count, volume = pl.col("trade_count"), pl.col("volume")
        more = (count * self.share).ceil().cast(pl.Int64)
        return bars.with_columns(
            pl.when(is_fresh).then(count + more).otherwise(count),
            pl.when(is_fresh).then(volume * (1 + self.share)).otherwise(volume),
        )


@dataclass(frozen=True)
class OtherSource:
    """Bars of another vendor: volumes off by up to a share, whole shares, counts of its own."""

    share: float = 0.03
    seed: int = 0

    def change(self, bars: pl.DataFrame, on: dt.date) -> pl.DataFrame:
        """Return the bars as that vendor has them."""
        del on
        keys = (f"{self.seed}|{row}" for row in bars.select(DAILY_BARS.key).iter_rows())
        drawn = [zlib.crc32(key.encode()) / 2**32 * 2 - 1 for key in keys]
        factor = 1 + pl.Series(drawn, dtype=pl.Float64) * self.share
        return bars.with_columns(
            (pl.col("volume") * factor).round(0),
            (pl.col("trade_count") * factor).round(0).cast(pl.Int64),
        )


@dataclass(frozen=True)
class WithoutCounts:
    """Bars lack their counts, on some dates or always."""

    dates: frozenset[dt.date] | None = None

    def change(self, bars: pl.DataFrame, on: dt.date) -> pl.DataFrame:
        """Return the bars without those counts."""
        del on
        is_hit = pl.lit(value=True)
        if self.dates is not None:
            is_hit = pl.col("session_date").is_in(list(self.dates))
        return bars.with_columns(pl.when(~is_hit).then("trade_count").alias("trade_count"))


@dataclass(frozen=True)
class Model:
    """What a vendor does.

    Attributes:
        loss: Which rows it does not send.
        bars: How its bars differ from the honest tape, one rule after the other.
        cancels: Trades of each session that it cancelled.
        counts_cancelled: Its bars are older than that: they count the withdrawn originals.
        has_own_bars: The bars are of the source of the trades; false: those of a file.
    """

    loss: Loss | None = None
    bars: tuple[BarRule, ...] = ()
    cancels: int = 0
    counts_cancelled: bool = False
    has_own_bars: bool = True


YEAR: Final = 2024
DOUBLED_DATE: Final = dt.date(2024, 3, 15)
HEALS_ON: Final = dt.date(2024, 9, 3)
MODELS: Final[Mapping[str, Model]] = {
    "honest": Model(),
    "honest with cancels": Model(cancels=3),
    "drops by page": Model(Loss(rows=3)),
    "drops by page until asked again": Model(Loss(rows=3, asks=1)),
    "drops by page until a date": Model(Loss(rows=3, until=HEALS_ON)),
    "drops from the last page": Model(Loss(rows=3, page="last")),
    "drops by row": Model(Loss(rows=3, by="row")),
    "drops by row until asked again": Model(Loss(rows=3, by="row", asks=1)),
    "drops by row until a date": Model(Loss(rows=3, by="row", until=HEALS_ON)),
    "drops half by row": Model(Loss(share=0.5, by="row")),
    "counts higher by two": Model(bars=(CountsHigher(YEAR),)),
    "counts higher, and drops by row": Model(Loss(rows=3, by="row"), (CountsHigher(YEAR),)),
    "one date doubled": Model(bars=(DateDoubled(DOUBLED_DATE),)),
    "one date doubled until a date": Model(bars=(DateDoubled(DOUBLED_DATE, HEALS_ON),)),
    "bars recalculated after days": Model(bars=(Recalculated(),)),
    "bars older than a cancel": Model(cancels=3, counts_cancelled=True),
    "bars of another vendor": Model(bars=(OtherSource(),), has_own_bars=False),
    "bars without counts": Model(bars=(WithoutCounts(),)),
    "bars without counts, and drops by row": Model(Loss(rows=3, by="row"), (WithoutCounts(),)),
}
"""Vendors that were met, or must be expected, by name."""


@dataclass(frozen=True)
class Asked:
    """One chain that was asked for.

    Attributes:
        ticker: Whose trades.
        dates: Its sessions.
        page_limit: Rows of a page.
        on: Date of the request.
        pages: Pages of the answer.
    """

    ticker: str
    dates: tuple[dt.date, ...]
    page_limit: int
    on: dt.date
    pages: int


@dataclass
class SimulatedVendor(TradeSource):
    """A vendor that behaves like a model.

    Attributes:
        model: What it does.
        clock: The time.
        sizes: Trades of an ordinary session by ticker; a session has half to one and a half.
        page_limit: Rows of a page where a request names none.
        asked: Chains asked for so far.
        asked_bars: Dates whose bars were asked for, and when.
    """

    model: Model
    clock: Clock
    sizes: Mapping[str, int] = field(default_factory=lambda: {"ABCD": 240})
    page_limit: int = MAX_PAGE_LIMIT
    asked: list[Asked] = field(default_factory=list)
    asked_bars: list[tuple[dt.date, dt.date]] = field(default_factory=list)
    _asks: Counter[tuple[str, dt.date]] = field(default_factory=Counter)

    def truth(self, ticker: str, session_date: dt.date) -> pl.DataFrame:
        """Return ``schemas.TRADES`` of a session as they happened."""
        return _make_truth(ticker, session_date, self.sizes[ticker], self.model.cancels)

    def hash_truth(self, keys: Sequence[tuple[str, dt.date]]) -> dict[str, str]:
        """Return the content hash of the truth of sessions, by key."""
        return {encode_key(*key): hash_trades(self.truth(*key)) for key in keys}

    def answer(
        self, ticker: str, dates: Sequence[dt.date], page_limit: int | None = None
    ) -> pl.DataFrame:
        """Ask for the sessions from the first to the last date in one chain.

        Returns:
            ``schemas.TRADES`` as sent today.
        """
        bounds = day_bounds_ns(dates[0], dates[-1])
        fetched = self.fetch_trades(ticker, *bounds, page_limit=page_limit)
        return label_trades(fetched.trades, load_calendar())

    def fetch_trades(
        self,
        ticker: str,
        gte_ns: int,
        lt_ns: int,
        *,
        expected_rows: int | None = None,
        page_limit: int | None = None,
    ) -> FetchedTrades:
        """Return what the vendor sends of ``ticker`` in ``[gte_ns, lt_ns)``."""
        del expected_rows
        limit = page_limit or self.page_limit
        dates = load_calendar().dates(date_of_ns(gte_ns), date_of_ns(lt_ns - 1))
        whole = pl.concat([TRADES.empty(), *(self.truth(ticker, date) for date in dates)])
        instants = whole["sip_timestamp"].cast(pl.Int64)
        tape = whole.filter((instants >= gte_ns) & (instants < lt_ns))
        self._asks.update((ticker, date) for date in dates)
        kept, pages = self._lose(ticker, tape, dates, limit)
        self.asked.append(Asked(ticker, tuple(dates), limit, self.clock.date, pages))
        return FetchedTrades(
            trades=kept.select(list(TRADE_COLUMNS)),
            pages=pages,
            requests=pages,
            repeats_dropped=0,
            is_seam_ambiguous=False,
            status="OK",
            bytes_received=100 * kept.height,
        )

    def list_asked(self) -> list[tuple[dt.date, str, dt.date, int]]:
        """Return date, ticker, first session and page limit of all chains so far, sorted."""
        return sorted((a.on, a.ticker, a.dates[0], a.page_limit) for a in self.asked)

    def read_bars(self, first: dt.date, last: dt.date) -> pl.DataFrame:
        """Return ``schemas.DAILY_BARS`` of all tickers between two dates, as of today."""
        dates = load_calendar().dates(first, last)
        bars = pl.concat([DAILY_BARS.empty(), *self._iter_bars(dates)]).sort(DAILY_BARS.key)
        for rule in self.model.bars:
            bars = rule.change(bars, self.clock.date)
        return DAILY_BARS.conform(bars)

    def iter_pages(
        self, path: str, parameters: Mapping[str, str], *, row_type: type[BarRow]
    ) -> Iterator[list[BarRow]]:
        """Yield the rows of the grouped endpoint for one date, which is all that is asked here."""
        del parameters, row_type
        date = dt.date.fromisoformat(path.removeprefix(GROUPED))
        self.asked_bars.append((date, self.clock.date))
        end_ms = (day_bounds_ns(date, date)[0] + 16 * HOUR_NS) // 10**6
        yield [
            BarRow(**{name: bar[name] for name in BAR_FIELDS}, end_ms=end_ms)
            for bar in self.read_bars(date, date).iter_rows(named=True)
        ]

    def _iter_bars(self, dates: Sequence[dt.date]) -> Iterator[pl.DataFrame]:
        model = self.model
        for ticker, size in self.sizes.items():
            for date in dates:
                yield _build_bar(
                    ticker, date, size, model.cancels, counts_cancelled=model.counts_cancelled
                )

    def _lose(
        self, ticker: str, tape: pl.DataFrame, dates: Sequence[dt.date], limit: int
    ) -> tuple[pl.DataFrame, int]:
        """Return the rows that are sent, and the pages that they come in."""
        loss = self.model.loss
        if loss is None:
            return tape, _count_pages(tape.height, limit)
        struck = [
            date
            for date in dates
            if loss.strikes(date, asked=self._asks[ticker, date], on=self.clock.date)
        ]
        is_struck = tape["session_date"].is_in(struck).to_numpy()
        candidates = is_struck & label_counted(tape)
        if loss.by == "row":
            kept = tape.filter(~_lose_by_row(loss, ticker, tape, candidates))
            return kept, _count_pages(kept.height, limit)
        lost = _lose_by_page(loss, ticker, tape, candidates, limit)
        return tape.filter(~lost), _count_pages(tape.height, limit)


def label_counted(trades: pl.DataFrame) -> Bools:
    """Return which rows count for volume and count of a bar."""
    return label_update_rules(trades.lazy()).collect()["updates_volume"].to_numpy()


def open_lakehouse(folder: Path, vendor: SimulatedVendor, **changes: object) -> Lakehouse:
    """Return a lakehouse that downloads from a simulated vendor by its clock, without HTTP."""
    lakehouse = make_lakehouse(folder, "http://127.0.0.1:9", clock=vendor.clock, **changes)
    vars(lakehouse)["client"] = vendor
    return lakehouse


def store_bars(
    lakehouse: Lakehouse,
    vendor: SimulatedVendor,
    month: str,
    only: Collection[dt.date] | None = None,
) -> pl.DataFrame:
    """Store the bars of a month, ``2024-03``, as the vendor has them today, and return them.

    Bars of a file do not say when they came.

    Args:
        lakehouse: The lake.
        vendor: Whose bars.
        month: The month.
        only: Some of its dates; all by default.
    """
    dates = load_calendar().dates(*month_bounds(month))
    dates = [date for date in dates if only is None or date in only]
    bars = vendor.read_bars(dates[0], dates[-1])
    came = dict.fromkeys(dates, vendor.clock.date) if vendor.model.has_own_bars else {}
    lakehouse.tables.write_daily_bars(
        month, bars, covered=came, is_closed=True, origin=BarOrigin(came)
    )
    return bars


def _lose_by_row(loss: Loss, ticker: str, tape: pl.DataFrame, candidates: Bools) -> Bools:
    lost = np.zeros(tape.height, dtype=np.bool_)
    for date in tape["session_date"].unique().to_list():
        own = (tape["session_date"] == date).to_numpy()
        lost[own] = loss.draw(candidates[own], f"{ticker} {date}")
    return lost


def _lose_by_page(
    loss: Loss, ticker: str, tape: pl.DataFrame, candidates: Bools, limit: int
) -> Bools:
    lost = np.zeros(tape.height, dtype=np.bool_)
    pages = _count_pages(tape.height, limit)
    places = {"first": {0}, "last": {pages - 1}, "middle": set(range(1, pages - 1))}
    for page in range(pages):
        if loss.page is None or page in places[loss.page]:
            rows = slice(page * limit, (page + 1) * limit)
            lost[rows] = loss.draw(candidates[rows], f"{ticker} {tape.height} {limit} {page}")
    return lost


def _count_pages(rows: int, limit: int) -> int:
    return max(1, -(-rows // limit))


@functools.lru_cache(maxsize=4_096)
def _make_truth(ticker: str, session_date: dt.date, size: int, cancels: int) -> pl.DataFrame:
    """Return a session: two official prices that count for nothing, some trades cancelled."""
    seed = zlib.crc32(f"{ticker} {session_date}".encode())
    rng = np.random.default_rng(seed)
    rows = max(1, int(rng.integers(size // 2, size * 3 // 2 + 1)))
    trades = make_vendor_trades(rows, session_date=session_date, ticker=ticker, seed=seed)
    if rows < 2 * len(OFFICIAL) + cancels:
        return trades
    places = rng.permutation(rows)[: len(OFFICIAL) + cancels]
    conditions = trades["conditions"].to_list()
    correction = trades["correction"].to_list()
    for place, condition in zip(places, OFFICIAL, strict=False):
        conditions[place] = [condition]
    for place in places[len(OFFICIAL) :]:
        correction[place] = CANCELLED
    return trades.with_columns(
        pl.Series("conditions", conditions, dtype=trades.schema["conditions"]),
        pl.Series("correction", correction, dtype=trades.schema["correction"]),
    )


@functools.lru_cache(maxsize=4_096)
def _build_bar(
    ticker: str, session_date: dt.date, size: int, cancels: int, *, counts_cancelled: bool
) -> pl.DataFrame:
    trades = _make_truth(ticker, session_date, size, cancels).lazy()
    if counts_cancelled:
        trades = trades.with_columns(pl.lit(0, pl.Int8).alias("correction"))
    return build_daily_bar(trades).collect()
