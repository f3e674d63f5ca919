"""The made-up companies: their tickers, how lively they are, when they are listed.

What belongs here: who trades under which ticker from when to when, and the rows of the reference
endpoints.  What does not: prices and trades.

Tickers that have broken downloaders come first, so that a small market has them too: twins but
for a lower-case letter, names Windows refuses, dots, a recycled ticker, a renamed company.
"""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass(frozen=True, slots=True)
class Role:
    """What kind of company it is.

    Attributes:
        name: Name of the role.
        trades: Trades of an ordinary session.
        prices: Lowest and highest first price, USD.
        volatility: Standard deviation of an ordinary day's return.
        episodes: Runs and crashes per 500 sessions.
        kind: Type code of the vendor.
        mic: Primary exchange.
        tape: Tape of that exchange.
    """

    name: str
    trades: int
    prices: tuple[float, float]
    volatility: float
    episodes: int
    kind: str = "CS"
    mic: str = "XNAS"
    tape: int = 3


RUNNER: Final = Role("runner", 420, (2.0, 9.0), 0.035, 5)
SMALL: Final = Role("small", 560, (4.0, 30.0), 0.022, 2, mic="XNYS", tape=1)
THIN: Final = Role("thin", 12, (0.3, 3.0), 0.03, 1, kind="WARRANT", mic="XASE", tape=2)
PREFERRED: Final = Role("preferred", 28, (22.0, 26.0), 0.005, 0, kind="PFD", mic="XNYS", tape=1)
LARGE: Final = Role("large", 3_500, (80.0, 400.0), 0.012, 0, mic="XNYS", tape=1)


@dataclass(frozen=True, slots=True)
class Company:
    """One company.

    Attributes:
        number: Identity; its history depends on this and the seed alone.
        role: What kind it is.
        names: Its tickers, each with the share of the market's sessions before it.
        leaves_at: Share of the sessions after which it is delisted; 1 is never.
        rank: Place among the runners, or ``None``.
        price: First price if the role does not decide.
    """

    number: int
    role: Role
    names: tuple[tuple[str, float], ...]
    leaves_at: float = 1.0
    rank: int | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """A company under one ticker.

    Attributes:
        ticker: The ticker.
        company: The company.
        first: First session under it.
        last: Last session under it.
        is_last_name: The company has no later ticker.
    """

    ticker: str
    company: Company
    first: dt.date
    last: dt.date
    is_last_name: bool


@dataclass(frozen=True, slots=True)
class _Special:
    role: Role
    names: tuple[tuple[str, float], ...]
    leaves_at: float = 1.0
    price: float | None = None


_SPECIALS: Final = (
    _Special(SMALL, (("BCPC", 0.0),)),
    _Special(PREFERRED, (("BCpC", 0.0),)),
    _Special(RUNNER, (("CON", 0.0),)),
    _Special(LARGE, (("BRK.A", 0.0),), price=480_000.0),
    _Special(RUNNER, (("PRN", 0.0),)),
    _Special(SMALL, (("RCYX", 0.0),), leaves_at=0.45),
    _Special(RUNNER, (("RCYX", 0.6),)),
    _Special(RUNNER, (("OLDN", 0.0), ("NEWN", 0.5))),
    _Special(THIN, (("FLTX.WS", 0.0),)),
    _Special(RUNNER, (("DLSA", 0.0),), leaves_at=0.8),
    _Special(THIN, (("GNTEw", 0.0),)),
    _Special(SMALL, (("DLSB", 0.0),), leaves_at=0.4),
    _Special(RUNNER, (("IPOX", 0.3),)),
)
_CYCLE: Final = (RUNNER, SMALL, SMALL, RUNNER, SMALL, LARGE, RUNNER, SMALL, THIN, SMALL)


def list_companies(count: int) -> list[Company]:
    """List the first ``count`` companies; the same whatever the count and the seed."""
    companies: list[Company] = []
    tickers = _iter_tickers({name for special in _SPECIALS for name, _ in special.names})
    rank = 0
    for number in range(count):
        special = _choose_special(number, tickers)
        is_runner = special.role is RUNNER
        companies.append(
            Company(
                number=number,
                role=special.role,
                names=special.names,
                leaves_at=special.leaves_at,
                rank=rank if is_runner else None,
                price=special.price,
            )
        )
        rank += is_runner
    return companies


def _choose_special(number: int, tickers: Iterator[str]) -> _Special:
    if number < len(_SPECIALS):
        return _SPECIALS[number]
    role = _CYCLE[(number - len(_SPECIALS)) % len(_CYCLE)]
    return _Special(role, ((next(tickers), 0.0),))


def _iter_tickers(taken: set[str]) -> Iterator[str]:
    """Yield made-up tickers without repeats."""
    chance = random.Random(20_230_103)
    seen = set(taken)
    while True:
        ticker = "".join(chance.choices(_LETTERS, k=4))
        if ticker not in seen:
            seen.add(ticker)
            yield ticker


def list_lives(companies: Sequence[Company], sessions: Sequence[dt.date]) -> list[Life]:
    """List who trades under which ticker when, sorted by ticker and time."""
    lives = [life for company in companies for life in _list_names(company, sessions)]
    return sorted(lives, key=lambda life: (life.ticker, life.first))


def _list_names(company: Company, sessions: Sequence[dt.date]) -> Iterator[Life]:
    starts = [int(share * len(sessions)) for _, share in company.names]
    ends = [*starts[1:], int(company.leaves_at * len(sessions))]
    for (ticker, _), start, end in zip(company.names, starts, ends, strict=True):
        is_last_name = ticker == company.names[-1][0]
        yield Life(ticker, company, sessions[start], sessions[end - 1], is_last_name)


def describe_life(life: Life, market_end: dt.date) -> dict[str, Any]:
    """Describe a life as the listing that the reference endpoints show."""
    number = life.company.number
    is_active = life.last >= market_end
    role = life.company.role
    row = {
        "ticker": life.ticker,
        "name": f"Made-Up Company {number} Inc.",
        "market": "stocks",
        "locale": "us",
        "primary_exchange": role.mic,
        "type": role.kind,
        "active": is_active,
        "currency_name": "usd",
        "cik": f"{1_000_000 + number:010d}",
        "composite_figi": f"BBG{number:09d}",
        "share_class_figi": f"BBG9{number:08d}",
        "last_updated_utc": f"{market_end}T00:00:00Z",
        "list_date": str(life.first),
        "share_class_shares_outstanding": (shares := 5_000_000 * (1 + number % 17)),
        "sic_description": "SERVICES-MADE-UP",
    }
    if role is not PREFERRED:
        row["market_cap"] = sum(role.prices) / 2 * shares
    if not is_active:
        row["delisted_utc"] = f"{life.last + dt.timedelta(days=1)}T00:00:00Z"
    return row


def describe_bystanders(count: int, taken: set[str], market_end: dt.date) -> list[dict[str, Any]]:
    """Describe listings that never trade, one in five delisted, some under a ticker used twice.

    Of two companies under one ticker the delisted one was there first.
    """
    tickers = _iter_tickers(taken)
    rows: list[dict[str, Any]] = []
    kinds = ("CS", "CS", "CS", "ETF", "PFD", "WARRANT", "UNIT", "ADRC", "FUND", "RIGHT")
    mics = ("XNAS", "XNYS", "XASE", "ARCX", "BATS")
    for number in range(count):
        is_active = number % 5 != 0
        is_recycled = number % 50 == 0 and bool(rows)
        ticker = rows[-1]["ticker"] if is_recycled else next(tickers)
        row: dict[str, Any] = {
            "ticker": ticker,
            "name": f"Bystander {number} Corp.",
            "market": "stocks",
            "locale": "us",
            "primary_exchange": mics[number % len(mics)],
            "type": kinds[number % len(kinds)],
            "active": is_active,
            "currency_name": "usd",
            "cik": f"{2_000_000 + number:010d}",
            "composite_figi": f"BBG1{number:08d}",
            "share_class_figi": f"BBG2{number:08d}",
            "last_updated_utc": f"{market_end}T00:00:00Z",
            "list_date": str(dt.date(2004, 1, 2) + dt.timedelta(days=number % 5_000)),
        }
        row |= _describe_size(number)
        if number % 23 == 0:
            del row["type"]
        if not is_active:
            delisted = dt.date(2018, 1, 2) + dt.timedelta(days=number % 2_000)
            if is_recycled:
                delisted = dt.date.fromisoformat(rows[-1]["list_date"]) - dt.timedelta(days=40)
                row["list_date"] = str(delisted - dt.timedelta(days=700))
            row["delisted_utc"] = f"{delisted}T00:00:00Z"
        rows.append(row)
    return rows


def _describe_size(number: int) -> dict[str, Any]:
    """Describe shares and market cap; one cap in seven is large, and one in nineteen missing."""
    shares = 1_000_000 * (3 + number % 40)
    size: dict[str, Any] = {"share_class_shares_outstanding": shares}
    if number % 19:
        size["market_cap"] = shares * (400.0 if number % 7 == 0 else 6.5)
    return size
