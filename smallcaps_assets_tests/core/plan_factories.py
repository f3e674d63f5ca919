"""Watchlists, sessions and bars for the tests of plans, and a slow plan to compare with."""

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st

from smallcaps_assets.core.events.watchlist import parse_watchlist
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.windows import ALL_EVENTS, EventWindow
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.schemas import DAILY_BARS, EVENT_WINDOW_PLAN, WATCHLIST

CALENDAR = load_calendar()
BOUNDS = PlanBounds(None, dt.date(2024, 12, 31), CALENDAR)
SESSIONS = CALENDAR.dates(dt.date(2023, 12, 20), dt.date(2024, 2, 20))
GOLDEN = Path(__file__).parents[1] / "golden"
PROPERTY = settings(max_examples=40)
"""Examples are small, so fewer of them show as much."""

EventMember = tuple[dt.date, int, str, int]
"""Event date, place in E order, name, offset."""


def make_watchlist(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """Make a watchlist from tickers, ISO dates and events such as ``E1|E6``."""
    if not rows:
        return WATCHLIST.empty()
    frame = pl.DataFrame(rows, schema=["ticker", "date", "events"], orient="row")
    return parse_watchlist(frame)[0]


def make_keys(ticker: str, dates: Iterable[dt.date], rows: int | None = None) -> pl.DataFrame:
    """Make sessions of a ticker, all with the same expected rows."""
    keys = pl.DataFrame({"session_date": list(dates)}, schema={"session_date": pl.Date})
    return keys.select(
        ticker=pl.lit(ticker),
        session_date="session_date",
        expected_rows=pl.lit(rows, pl.Int64),
    )


def make_count_bars(
    *bars: tuple[str, dt.date, float | None, int | None], close: float = 1.0
) -> pl.DataFrame:
    """Make daily bars from tickers, dates, volumes and trade counts."""
    rows = [
        {"ticker": ticker, "session_date": date, "volume": volume, "trade_count": count}
        for ticker, date, volume, count in bars
    ]
    prices = dict.fromkeys(("open", "high", "low", "close"), pl.lit(close))
    frame = pl.DataFrame(rows, schema=DAILY_BARS.schema).with_columns(**prices)
    return DAILY_BARS.conform(frame)


def list_members(plan: pl.DataFrame) -> list[tuple[str, dt.date, str, dt.date, int]]:
    """Return a plan as one row per ticker, session and event, in its order."""
    EVENT_WINDOW_PLAN.conform(plan)
    return plan.explode("events", "event_dates", "offsets").rows()


def plan_slowly(
    watchlist: pl.DataFrame, windows: Mapping[str, EventWindow], bounds: PlanBounds
) -> list[tuple[str, dt.date, str, dt.date, int]]:
    """Plan in plain Python, one session at a time: what the fast way must give."""
    dates = bounds.calendar.frame["session_date"].to_list()
    plan: dict[tuple[str, dt.date], list[EventMember]] = {}
    for ticker, event_date, events, _ in watchlist.iter_rows():
        if event_date not in dates:
            continue
        place = dates.index(event_date)
        for event in events:
            for offset in range(-windows[event].before, windows[event].after + 1):
                session = dates[place + offset]
                if (bounds.first or session) <= session <= bounds.last_available:
                    member = (event_date, ALL_EVENTS.index(event), event, offset)
                    plan.setdefault((ticker, session), []).append(member)
    return [
        (*key, event, event_date, offset)
        for key in sorted(plan)
        for event_date, _, event, offset in sorted(plan[key])
    ]


dates = st.dates(dt.date(2023, 12, 22), dt.date(2024, 2, 16))
watchlists = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "BRK.A"]),
        dates.map(dt.date.isoformat),
        st.sets(st.sampled_from(ALL_EVENTS), min_size=1, max_size=3).map("|".join),
    ),
    max_size=12,
).map(lambda rows: make_watchlist(*rows))
"""Watchlists of three tickers on neighbouring days, holidays and weekends among them."""

sides = st.integers(0, 4)
windows_by_event = st.fixed_dictionaries(
    {event: st.builds(EventWindow, before=sides, after=sides) for event in ALL_EVENTS}
)
"""Any windows, asymmetric ones too."""

bounds = st.builds(
    PlanBounds,
    first=st.none() | dates,
    last_available=dates,
    calendar=st.just(CALENDAR),
)
"""Bounds that cut the watchlists."""

key_sets = st.dictionaries(
    st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(SESSIONS)),
    st.none() | st.integers(0, 500),
    max_size=40,
).map(
    lambda sizes: pl.DataFrame(
        [(*key, rows) for key, rows in sizes.items()],
        schema={"ticker": pl.String, "session_date": pl.Date, "expected_rows": pl.Int64},
        orient="row",
    )
)
"""Unsorted sessions of two tickers with expected rows."""
