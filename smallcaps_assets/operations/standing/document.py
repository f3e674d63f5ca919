"""What `smallcaps status` and the report say of a universe, and of one ticker.

What does not belong here: how it is measured (``universe``, ``ticker``).
"""

import datetime as dt
from typing import Literal

from smallcaps_assets.core.documents import Part

Status = Literal["complete", "partial", "none"]
"""How much of what is owed is proven."""


class UniverseYear(Part, frozen=True, kw_only=True):
    """What a universe owes of a year.

    Attributes:
        year: The year.
        owed: Sessions that the plan owes.
        proven: Those of them that are proven.
        complete: Tickers that owe nothing more of it.
        partial: Tickers of which something is proven, and something is left.
        none: Tickers of which nothing is proven.
    """

    year: int
    owed: int
    proven: int
    complete: int
    partial: int
    none: int


class UniverseTicker(Part, frozen=True, kw_only=True):
    """What a universe owes of a ticker.

    Attributes:
        ticker: Vendor's symbol.
        owed: Sessions that the plan owes.
        proven: Those of them that are proven.
        share: Proven by owed.
        status: ``complete``, ``partial`` or ``none``.
    """

    ticker: str
    owed: int
    proven: int
    share: float
    status: Status


class WaitingUnits(Part, frozen=True, kw_only=True):
    """Units that are not green, of one kind.

    Attributes:
        kind: ``few``: each lacks three sessions at most; ``begun``: more, and some are proven;
            ``none``: nothing is proven.
        units: How many they are.
        least: Sessions that one of them lacks at least.
        most: Sessions that one of them lacks at most.
        sessions: Sessions that all of them lack.
        tickers: Tickers that hold most of them up, at most five.
        tickers_more: How many tickers hold them up besides.
    """

    kind: Literal["few", "begun", "none"]
    units: int
    least: int
    most: int
    sessions: int
    tickers: list[str]
    tickers_more: int


class UniversePart(Part, frozen=True, kw_only=True):
    """How far a universe is.

    Attributes:
        units: Units of the plan: a month of a batch of tickers each.
        units_done: Those of which everything owed is proven.
        units_left: The others.
        tickers: Tickers of the plan.
        complete: Tickers of which everything owed is proven.
        partial: Tickers of which something is.
        none: Tickers of which nothing is.
        owed: Sessions that the plan owes.
        proven: Those of them that are proven: the next download skips them.
        missing: The others: the next downloads ask for them.
        resting: Those of the missing that are not asked for today: they failed on three dates, or
            are disputed and were asked for today.
        share: Proven by owed.
        next_unit: The first unit that is not green; empty: all are.
        waiting: Units that are not green, by kind.
        years: All tickers by year.
        tickers_left: The tickers with most sessions missing, at most 200, then by name.
        left_requests: Requests for what is missing, at least.
        left_rows: Its trades, as far as daily bars tell.
        left_seconds: Time for it; ``null``: nothing tells.
        basis: What that rests on: the ``pace`` of the last download, the ``limit`` of requests;
            ``null``: nothing.
        needed_bytes: What it will take on the disk.
        fits: Whether that is free, beside the reserve.
    """

    units: int
    units_done: int
    units_left: int
    tickers: int
    complete: int
    partial: int
    none: int
    owed: int
    proven: int
    missing: int
    resting: int
    share: float
    next_unit: str
    waiting: list[WaitingUnits]
    years: list[UniverseYear]
    tickers_left: list[UniverseTicker]
    left_requests: int
    left_rows: int
    left_seconds: float | None
    basis: Literal["pace", "limit"] | None
    needed_bytes: int
    fits: bool


class TickerYear(Part, frozen=True, kw_only=True):
    """What is asked for of a ticker and year.

    Attributes:
        year: The year.
        planned: Sessions that event windows ask for.
        done: Those of them that are green.
        owed: Sessions that the universe owes.
        proven: Those of them that are proven.
        status: Of what the universe owes; ``null``: it owes nothing.
    """

    year: int
    planned: int
    done: int
    owed: int
    proven: int
    status: Status | None


class OpenSession(Part, frozen=True, kw_only=True):
    """A session that the next download asks for.

    Attributes:
        session_date: Its date.
        state: Its state; ``planned``: nobody asked yet.
        kind: Short word for why the last attempt failed; empty: none did.
        message: What was expected, what came and what to do.
    """

    session_date: dt.date
    state: str
    kind: str
    message: str


class TickerPart(Part, frozen=True, kw_only=True):
    """What is known of one ticker.

    Attributes:
        ticker: Vendor's symbol.
        batch: Its batch in the universe; ``null``: it is in none.
        stored: Sessions that are proven, whatever asked for them.
        rows: Trades of its sessions.
        bytes: Their shares of the parts.
        planned: Sessions that event windows ask for.
        done: Those of them that are green.
        owed: Sessions that the universe owes.
        proven: Those of them that are proven.
        asks: Sessions that the next downloads ask for.
        skips: Sessions of plans that they skip, because they are proven.
        open: The first sessions that are asked for, at most 20: failed ones first.
        years: By year.
    """

    ticker: str
    batch: int | None
    stored: int
    rows: int
    bytes: int
    planned: int
    done: int
    owed: int
    proven: int
    asks: int
    skips: int
    open: list[OpenSession]
    years: list[TickerYear]
