"""The synthetic market: a source whose every row follows from a seed.

What belongs here: which sessions a ticker has, and the way from a session to its bar and its
tape.  What does not: how a history (``history``) and a session (``prints``, ``dressing``) are
made up.
"""

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl

from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.vendor import SCENARIOS_MARK
from smallcaps_assets.emulator.cache import ByteCache
from smallcaps_assets.emulator.market.dressing import SECOND_NS, Hours, dress_prints
from smallcaps_assets.emulator.market.history import Activity, Day, History, Split, build_history
from smallcaps_assets.emulator.market.listings import (
    Company,
    Life,
    describe_bystanders,
    describe_life,
    list_companies,
    list_lives,
)
from smallcaps_assets.emulator.market.prints import Prints, build_bar, draw_prints
from smallcaps_assets.emulator.market.scenarios import (
    Scenario,
    name_scenarios,
    plant_prints,
    plant_tape,
)
from smallcaps_assets.emulator.source import SourceError
from smallcaps_assets.emulator.tape import TAPE_COLUMNS, Span, Tape, WireRow

FIRST_SESSION: Final = dt.date(2023, 1, 3)
LAST_SESSION: Final = dt.date(2024, 12, 31)
DEFAULT_CACHE_BYTES: Final = 128 * 1024 * 1024

_HOUR_NS: Final = 3_600 * SECOND_NS
_STRAY_TRADES: Final = 3


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """What decides the market; equal configurations give equal rows.

    Attributes:
        seed: Everything random follows from it.
        tickers: Companies that trade.
        first: First session served.
        last: Last session served.
        listings: Listings of the reference endpoint; those beyond the companies never trade.
        trades_scale: Multiplies the trades of ordinary sessions.
        busy_trades: Trades of a busy day, about; the two busiest have twice as many; 0: no day is.
        cache_bytes: Rendered trades kept in memory.
        scenarios: Plant the traps of ``scenarios`` in some sessions.
    """

    seed: int = 1
    tickers: int = 40
    first: dt.date = FIRST_SESSION
    last: dt.date = LAST_SESSION
    listings: int = 0
    trades_scale: float = 1.0
    busy_trades: int = 60_000
    cache_bytes: int = DEFAULT_CACHE_BYTES
    scenarios: bool = False

    def __post_init__(self) -> None:
        amounts = ("seed", "tickers", "listings", "trades_scale", "busy_trades")
        for name in amounts:
            if getattr(self, name) < 0:
                raise SourceError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if self.last < self.first:
            raise SourceError(f"expected first <= last, got {self.first} and {self.last}")


@dataclass(frozen=True, slots=True)
class _Session:
    """One ticker on one date."""

    company: Company
    date: dt.date
    day: Day
    hours: Hours
    is_stray: bool = False
    scenario: Scenario | None = None


class Market:
    """A seeded market of small companies.

    Its history spans 2023 and 2024, or more if the configuration asks for more: serving a part of
    it serves the same rows.
    """

    def __init__(self, config: MarketConfig | None = None) -> None:
        self.config = config = config or MarketConfig()
        self._companies = list_companies(config.tickers)
        self._sessions = load_calendar().dates(
            min(config.first, FIRST_SESSION), max(config.last, LAST_SESSION)
        )
        self._lives = list_lives(self._companies, self._sessions)
        self._hours = _read_hours(self._sessions)
        self._histories = {
            company.number: self._build_history(company) for company in self._companies
        }
        self._by_ticker = self._list_sessions()
        self._bars: dict[tuple[str, dt.date], WireRow | None] = {}
        self._tapes: ByteCache[tuple[str, dt.date], Tape] = ByteCache(
            config.cache_bytes, lambda tape: tape.size_bytes
        )

    @property
    def name(self) -> str:
        """The seed, and the rest where it is not the default."""
        usual = MarketConfig()
        names = ("tickers", "first", "last", "trades_scale", "busy_trades")
        values = {name: getattr(self.config, name) for name in names}
        unusual = {name: value for name, value in values.items() if value != getattr(usual, name)}
        seed = f"{self.config.seed}{SCENARIOS_MARK if self.config.scenarios else ''}"
        parts = {"seed": seed, **unusual}
        return " ".join(f"{name}={value}" for name, value in parts.items())

    @property
    def is_immutable(self) -> bool:
        """Always true: a seed is a seed."""
        return True

    @property
    def tickers(self) -> list[str]:
        """The tickers that trade, sorted."""
        return sorted(self._by_ticker)

    def iter_tapes(self, ticker: str, span: Span) -> Iterator[Tape]:
        """Yield the tapes of a span, one per date."""
        sessions = [s for s in self._by_ticker.get(ticker, ()) if _overlaps(s, span)]
        for session in reversed(sessions) if span.is_descending else sessions:
            yield self._find_tape(ticker, session)

    def read_trades(self, ticker: str, date: dt.date) -> pl.DataFrame:
        """Read the trades of a ticker on a date as ``TAPE_COLUMNS``, in tape order."""
        for session in self._by_ticker.get(ticker, ()):
            if session.date == date:
                return _make_trades(self.config.seed, session)
        return pl.DataFrame(schema=TAPE_COLUMNS)

    def read_grouped_bars(self, session_date: dt.date) -> Sequence[WireRow]:
        """Read the bars of one session, sorted by ticker."""
        rows: list[WireRow] = []
        for ticker in self.tickers:
            rows.extend(row for _, row in self.read_ticker_bars(ticker, session_date, session_date))
        return rows

    def read_ticker_bars(
        self, ticker: str, first: dt.date, last: dt.date
    ) -> Sequence[tuple[dt.date, WireRow]]:
        """Read a ticker's bars; sessions without trades have none."""
        sessions = self._by_ticker.get(ticker, [])
        start = bisect_left(sessions, first, key=lambda session: session.date)
        bars = []
        for session in sessions[start:]:
            if session.date > last:
                break
            if not session.is_stray and (bar := self._find_bar(ticker, session)) is not None:
                bars.append((session.date, bar))
        return bars

    def read_splits(self) -> Sequence[WireRow]:
        """Read the splits executed while the market is served, newest first."""
        rows: list[dict[str, Any]] = [
            {
                "id": f"E{life.company.number:05d}{split.session:05d}",
                "execution_date": str(date),
                "split_from": split.split_from,
                "split_to": split.split_to,
                "ticker": life.ticker,
            }
            for life in self._lives
            for date, split in self._iter_splits(life.company)
            if life.first <= date <= min(life.last, self.config.last) and date >= self.config.first
        ]
        return sorted(rows, key=lambda row: (row["execution_date"], row["ticker"]), reverse=True)

    def read_listings(self) -> Sequence[WireRow]:
        """Read the listings; a company that changed its ticker is listed under the last."""
        known = [life for life in self._lives if life.first <= self.config.last]
        names = {life.company.number: life for life in sorted(known, key=lambda life: life.first)}
        rows = [
            describe_life(life, self.config.last)
            for life in known
            if names[life.company.number] is life
        ]
        return rows + self._bystanders[: max(0, self.config.listings - len(rows))]

    def read_changes(self, ticker: str) -> Sequence[tuple[dt.date, str]]:
        """Read the tickers of a company and since when, newest first."""
        numbers = [life.company.number for life in self._lives if life.ticker == ticker]
        lives = [life for life in self._lives if life.company.number in numbers[-1:]]
        return sorted(((life.first, life.ticker) for life in lives), reverse=True)

    @cached_property
    def _bystanders(self) -> list[dict[str, Any]]:
        taken = {life.ticker for life in self._lives}
        return describe_bystanders(self.config.listings, taken, self.config.last)

    def _build_history(self, company: Company) -> History:
        lives = self._list_company_lives(company)
        first, last = lives[0].first, lives[-1].last
        count = bisect_left(self._sessions, last) - bisect_left(self._sessions, first) + 1
        rng = np.random.default_rng((self.config.seed, company.number))
        activity = Activity(self.config.trades_scale, self.config.busy_trades)
        return build_history(company, count, rng, activity)

    def _list_company_lives(self, company: Company) -> list[Life]:
        lives = [life for life in self._lives if life.company.number == company.number]
        return sorted(lives, key=lambda life: life.first)

    def _list_sessions(self) -> dict[str, list[_Session]]:
        """List the dates that each ticker trades on, within what is served."""
        found: dict[str, list[_Session]] = {}
        for life in self._lives:
            sessions = [s for s in self._iter_life(life) if self._is_served(s.date)]
            if sessions:
                found.setdefault(life.ticker, []).extend(sessions)
        return {
            ticker: sorted(sessions, key=lambda session: session.date)
            for ticker, sessions in found.items()
        }

    def _is_served(self, date: dt.date) -> bool:
        return self.config.first <= date <= self.config.last

    def _iter_life(self, life: Life) -> Iterator[_Session]:
        company = life.company
        history = self._histories[company.number]
        start = bisect_left(self._sessions, self._list_company_lives(company)[0].first)
        dates = self._sessions[start : start + len(history.days)]
        named = name_scenarios(history) if self.config.scenarios else {}
        for number, (date, day) in enumerate(zip(dates, history.days, strict=True)):
            if life.first <= date <= life.last and day.trades:
                scenario = named.get(number)
                yield _Session(company, date, day, self._hours[date], scenario=scenario)
        if company.rank is not None and history.peaks:
            peak = dates[history.peaks[0]]
            if life.first <= peak <= life.last:
                yield _make_stray(company, peak, history.days[history.peaks[0]])

    def _iter_splits(self, company: Company) -> Iterator[tuple[dt.date, Split]]:
        start = bisect_left(self._sessions, self._list_company_lives(company)[0].first)
        for split in self._histories[company.number].splits:
            yield self._sessions[start + split.session], split

    def _find_tape(self, ticker: str, session: _Session) -> Tape:
        def render() -> Tape:
            return Tape.from_frame(_make_trades(self.config.seed, session))

        return self._tapes.get_or_make((ticker, session.date), render)

    def _find_bar(self, ticker: str, session: _Session) -> WireRow | None:
        key = (ticker, session.date)
        if key not in self._bars:
            bar = build_bar(_draw(self.config.seed, session))
            self._bars[key] = None if bar is None else {"T": ticker, **bar}
        return self._bars[key]


def _draw(seed: int, session: _Session) -> Prints:
    """Draw what a session's bar depends on."""
    prints = draw_prints(session.day, _seed(seed, session, stream=0))
    if session.scenario is None:
        return prints
    rng = _seed(seed, session, stream=2)
    return plant_prints(prints, session.day, session.scenario, rng)


def _make_trades(seed: int, session: _Session) -> pl.DataFrame:
    tape = dress_prints(
        _draw(seed, session),
        session.hours,
        _seed(seed, session, stream=1),
        tape=session.company.role.tape,
        halts=session.day.halts,
    )
    if session.scenario is None:
        return tape
    return plant_tape(tape, session.day, session.hours, session.scenario)


def _seed(seed: int, session: _Session, *, stream: int) -> np.random.Generator:
    numbers = (seed, session.company.number, session.date.toordinal(), stream)
    return np.random.default_rng(numbers)


def _overlaps(session: _Session, span: Span) -> bool:
    start, end = day_bounds_ns(session.date, session.date)
    return start < span.lt_ns and span.gte_ns < end


def _make_stray(company: Company, peak: dt.date, day: Day) -> _Session:
    """Make a Saturday on which some trades of the week are reported."""
    date = peak + dt.timedelta(days=5 - peak.weekday())
    start, end = day_bounds_ns(date, date)
    hours = Hours(start + 10 * _HOUR_NS, start + 14 * _HOUR_NS, end, end)
    stray = Day(*((day.close,) * 4), _STRAY_TRADES, day.mean_size, phase="pre")
    return _Session(company, date, stray, hours, is_stray=True)


def _read_hours(sessions: Sequence[dt.date]) -> dict[dt.date, Hours]:
    columns = ("pre_market_open", "regular_open", "regular_close", "after_hours_close")
    rows = (
        load_calendar()
        .frame.filter(pl.col("session_date").is_between(sessions[0], sessions[-1]))
        .select("session_date", *(pl.col(name).cast(pl.Int64) for name in columns))
    )
    return {date: Hours(*instants) for date, *instants in rows.iter_rows()}
