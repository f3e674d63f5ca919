"""Lines of `smallcaps status` about a universe, and about one ticker.

What belongs here: from parts of the document to lines.  What does not: how they are measured
(``operations.standing``), and what a screen has besides (``status``).
"""

from collections.abc import Iterator
from typing import Final

from rich.text import Text

from smallcaps_assets.cli.screens.lines import draw_bar, label
from smallcaps_assets.core.figures import (
    format_bytes,
    format_count,
    format_duration,
    format_share,
)
from smallcaps_assets.operations.standing.document import (
    OpenSession,
    TickerPart,
    UniversePart,
    WaitingUnits,
)

BASES: Final = {"pace": "at the last pace", "limit": "by the limit of requests at best"}
"""Words for what a time rests on."""
SHOWN_OPEN: Final = 5


def describe_universe(universe: UniversePart, width: int) -> Iterator[Text]:
    """Yield how far a universe is, and what the next download does."""
    done = universe.units_done
    share = done / universe.units if universe.units else 0.0
    yield draw_bar(share, f" {done:,} of {universe.units:,} units done", width)
    tickers = ", ".join(
        f"{getattr(universe, name):,} {name}" for name in ("complete", "partial", "none")
    )
    yield label("universe", f"{format_count(universe.tickers, 'ticker')}: {tickers}")
    proven = f"{universe.proven:,} of {universe.owed:,} proven"
    yield label("sessions", f"{proven}, {format_share(universe.share)}")
    for place, group in enumerate(universe.waiting):
        style = "yellow" if group.kind == "few" else ""
        yield label("" if place else "waiting", _describe_waiting(group), style)
    if not universe.missing:
        return
    asked = format_count(universe.missing - universe.resting, "session")
    rest = f"; {universe.resting:,} rest until tomorrow" if universe.resting else ""
    requests, rows = format_count(universe.left_requests, "request"), f"{universe.left_rows:,}"
    yield label(
        "resume",
        f"from {universe.next_unit} on asks for {asked}, about {requests} and {rows} trades; "
        f"skips {universe.proven:,}{rest}",
    )
    yield _describe_end(universe)


def _describe_waiting(group: WaitingUnits) -> str:
    """Say how many units of a kind are not green, and who holds them up."""
    units = format_count(group.units, "unit")
    waits = "waits" if group.units == 1 else "wait"
    if group.kind == "none":
        return f"{units} not begun: {format_count(group.sessions, 'session')}"
    least = f"{group.least:,} to " if group.least < group.most else ""
    each = f"{least}{format_count(group.most, 'session')} each"
    more = f" and {group.tickers_more:,} more" if group.tickers_more else ""
    return f"{units} {waits} for {each}: {', '.join(group.tickers)}{more}"


def _describe_end(universe: UniversePart) -> Text:
    """Say when it will be done, and whether it fits."""
    text = "not known yet"
    if universe.left_seconds is not None:
        basis = BASES.get(universe.basis or "", "")
        text = f"{format_duration(universe.left_seconds)} of download left {basis}".rstrip()
    text += f"; needs {format_bytes(universe.needed_bytes)}: "
    return label("ETA", text + ("fits" if universe.fits else "does not fit"), _warn(universe.fits))


def describe_ticker(ticker: TickerPart) -> Iterator[Text]:
    """Yield what is known of one ticker: years, what is asked and skipped, what failed."""
    batch = "" if ticker.batch is None else f", batch {ticker.batch} of the universe"
    yield label(
        ticker.ticker,
        f"{format_count(ticker.stored, 'session')} proven, {format_count(ticker.rows, 'trade')}, "
        f"{format_bytes(ticker.bytes)}{batch}",
    )
    for year in ticker.years:
        parts = []
        if year.owed:
            parts.append(f"universe {year.proven:,} of {year.owed:,}, {year.status}")
        if year.planned:
            parts.append(f"event windows {year.done:,} of {year.planned:,}")
        yield label(str(year.year), "; ".join(parts), _warn(is_well=_is_whole(year.status)))
    yield label(
        "resume", f"asks for {format_count(ticker.asks, 'session')}, skips {ticker.skips:,}"
    )
    for place, session in enumerate(ticker.open[:SHOWN_OPEN]):
        yield label("" if place else "open", _describe_open(session), "dim")
    if ticker.asks > SHOWN_OPEN:
        yield label("", f"and {ticker.asks - SHOWN_OPEN:,} more", "dim")


def _describe_open(session: OpenSession) -> str:
    kind = f" {session.kind}: {session.message}" if session.kind else ""
    return f"{session.session_date} {session.state}{kind}"


def _is_whole(status: str | None) -> bool:
    return status in (None, "complete")


def _warn(is_well: bool) -> str:  # noqa: FBT001  one truth, one style
    return "" if is_well else "yellow"
