"""One screen of `smallcaps status`: lines that fit the terminal, whatever its size.

What belongs here: from the document to lines.  What does not: how it is measured
(``operations.status.look``), and when it is shown (``cli.commands.status_command``).
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from smallcaps_assets.cli.screens.lines import draw_bar, label
from smallcaps_assets.cli.screens.universe import describe_ticker, describe_universe
from smallcaps_assets.core.figures import (
    MB,
    format_bytes,
    format_count,
    format_duration,
)
from smallcaps_assets.core.ticks.disputes import SURPLUS
from smallcaps_assets.operations.standing.document import UniversePart
from smallcaps_assets.operations.status.document import (
    CoveragePart,
    ForecastPart,
    StatusDocument,
    StoredPart,
    YearCoverage,
)

CELL_WIDTH = 3
NAME_WIDTH = 12
PART = 1.1
"""A plan that takes so many times longer than the run is told apart from it."""
MIN_COVERAGE = 3
"""Lines that coverage takes at least: years, all tickers, one ticker."""

STYLES = {
    "running": "bold green",
    "finished": "bold green",
    "idle": "bold",
    "busy": "bold yellow",
    "incomplete": "bold yellow",
    "stopped": "bold yellow",
    "stuck": "bold red",
    "aborted": "bold red",
    "killed": "bold red",
}
KINDS = {"rate_limited": "429", "unavailable": "5xx or no answer", "timed_out": "timeouts"}
"""Words for kinds of failure that say more than their names, and take less room."""
BASES = {
    "pace": "the last pace",
    "limit": "the limit of requests at best",
    "estimate": "the estimate",
}
"""Words for what a time rests on."""
WHOLE = "ok"
"""A cell of which nothing is left."""


def render_status(status: StatusDocument, width: int, height: int) -> RenderableType:
    """Render the screen: at most ``height`` lines of ``width`` columns."""
    head = [
        *_describe_download(status),
        *_describe_plans(status, width),
        *_describe_doubts(status.stored),
    ]
    facts = [*_describe_facts(status), *_describe_errors(status), *_describe_unknown(status)]
    tail = list(_describe_recent(status))
    room = height - len(head) - len(facts)
    # The newest files give way first, then tickers; years and the sum of all stay longest.
    tail = tail[: max(0, room - MIN_COVERAGE)]
    coverage = _list_owed(status.universe) if status.universe else status.coverage
    matrix = list(_describe_coverage(coverage, width, room - len(tail)))
    lines = [*head, *facts, *tail, *matrix][:height]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _describe_download(status: StatusDocument) -> Iterator[Text]:
    download, now = status.download, status.told_at
    line = Text.assemble((download.state, STYLES[download.state]))
    since = download.since if download.is_running else None
    if since is not None:
        line.append(f" since {since:%Y-%m-%d %H:%M:%S} UTC")
    if download.last_commit_at is not None:
        ago = format_duration((now - download.last_commit_at).total_seconds())
        line.append(f", last commit {ago} ago", "dim")
    if since is not None:
        # Last, because a narrow terminal cuts the end, and names of machines may be long.
        line.append(f", pid {download.pid}")
        line.append(f" on {download.host}" if download.host else "")
    yield line
    style = "yellow" if download.is_well else "red"
    if download.reason:
        yield label("why", download.reason, style)
    if download.advice:
        yield label("do", download.advice, style)


def _describe_plans(status: StatusDocument, width: int) -> Iterator[Text]:
    """Yield how far each plan is that there is, and the ticker that is asked for."""
    if status.partitions.planned or status.universe is None:
        yield from _describe_progress(status, width)
    if status.universe is not None:
        yield from describe_universe(status.universe, width)
    if status.ticker is not None:
        yield from describe_ticker(status.ticker)


def _describe_progress(status: StatusDocument, width: int) -> Iterator[Text]:
    counts = status.partitions
    share = counts.done / counts.planned if counts.planned else 0.0
    yield draw_bar(share, f" {counts.done:,} of {counts.planned:,} sessions done", width)
    parts = [
        f"{counts.complete:,} complete",
        f"{counts.empty:,} empty",
        f"{counts.failed:,} failed",
        f"{counts.left:,} left",
    ]
    if counts.not_yet_available:
        parts.append(f"{counts.not_yet_available:,} not yet out")
    yield label("sessions", ", ".join(parts), "red" if counts.failed else "")
    if counts.disputed:
        text = f"{counts.disputed:,} disputed: fewer trades or shares than their daily bar"
        yield label("", f"{text}; download asks again", "red")
    if counts.marks:
        marked = ", ".join(f"{count:,} {mark}" for mark, count in counts.marks.items())
        yield label("bars", marked, "yellow" if counts.marks.keys() != {SURPLUS} else "")


def _describe_doubts(stored: StoredPart) -> Iterator[Text]:
    """Name what was proven once and is not, and what was answered twice."""
    if stored.lost_proof:
        more = stored.lost_proof - len(stored.lost_sessions)
        names = ", ".join(stored.lost_sessions) + (f" and {more:,} more" if more else "")
        yield label("lost", f"{stored.lost_proof:,} sessions lost their proof: {names}", "red")
    if stored.two_answers:
        text = f"{format_count(stored.two_answers, 'session')} with two proven answers that differ"
        yield label("answers", text, "yellow")


def _describe_facts(status: StatusDocument) -> Iterator[Text]:
    stored, rates = status.stored, status.rates
    text = f"{format_count(stored.rows, 'trade')}, {format_bytes(stored.bytes)}, "
    text += format_count(stored.requests, "request")
    if status.disk.segments_bytes:
        text += f"; {format_bytes(status.disk.segments_bytes)} in segments"
    yield label("stored", text)
    yield _describe_disk(status)
    limit = rates.requests_limit_per_min
    of_limit = "" if limit is None else f" of {limit:,.0f}"
    yield label(
        "rates",
        f"{rates.requests_per_min:,.0f}{of_limit} requests/min, "
        f"{rates.bytes_per_min / MB:,.1f} MB/min, {rates.rows_per_min:,.0f} trades/min",
    )
    if status.partitions.left:
        yield from _describe_eta(status.forecast, status.told_at)


def _describe_disk(status: StatusDocument) -> Text:
    disk = status.disk
    text = f"{format_bytes(disk.free_bytes)} free, {format_bytes(disk.reserve_bytes)} stay free"
    if disk.needed_bytes is None or disk.margin_bytes is None or not status.partitions.left:
        return label("disk", text)
    text += f"; the rest needs {format_bytes(disk.needed_bytes)} on disk: "
    if disk.fits:
        return label("disk", f"{text}fits")
    return label("disk", f"{text}{format_bytes(-disk.margin_bytes)} are lacking", "red")


def _describe_eta(forecast: ForecastPart, now: dt.datetime) -> Iterator[Text]:
    """Tell when the run will be done, and the plan where that is later."""
    if forecast.plan_seconds is None:
        yield label("ETA", "not known yet")
        return
    plan = format_duration(forecast.plan_seconds)
    if forecast.run_seconds is None or forecast.run_done_at is None:
        basis = BASES.get(forecast.basis or "", "nothing")
        yield label("ETA", f"{plan} of download left, by {basis}")
        return
    is_today = forecast.run_done_at.date() == now.date()
    at = forecast.run_done_at.strftime("%H:%M" if is_today else "%m-%d %H:%M")
    text = f"{format_duration(forecast.run_seconds)}, at {at} UTC"
    if forecast.pace_window_s:
        text += f" (pace of the last {format_duration(forecast.pace_window_s)})"
    yield label("ETA", text)
    if forecast.plan_seconds > PART * forecast.run_seconds + 1:
        yield label("plan", f"{plan} for all of it: this run is a part")


def _describe_errors(status: StatusDocument) -> Iterator[Text]:
    errors, now = status.errors, status.told_at
    if errors.failures:
        yield label("failed", f"last hour: {_list_kinds(errors.failures)}", "red")
    if errors.retries:
        yield label("retried", f"last hour: {_list_kinds(errors.retries)}", "yellow")
    for error in errors.last[:2]:
        span = f"{error.first_session}"
        if error.last_session != error.first_session:
            span += f"..{error.last_session}"
        ago = format_duration((now - error.at).total_seconds())
        yield label("", f"{ago} ago {error.ticker} {span} {error.kind}: {error.message}", "dim")


def _describe_recent(status: StatusDocument) -> Iterator[Text]:
    for place, file in enumerate(status.recent[:3]):
        ago = format_duration((status.told_at - file.at).total_seconds())
        size = f"{file.rows:,} trades, {format_bytes(file.bytes)}" if file.rows else file.state
        yield label("committed" if not place else "", f"{file.key}, {size}, {ago} ago")


def _describe_unknown(status: StatusDocument) -> Iterator[Text]:
    """Yield the tickers that may not exist."""
    if unknown := status.coverage.tickers_unknown:
        words = f"{len(unknown):,} tickers without any daily bar, counted apart: "
        yield label("unknown", words + ", ".join(unknown), "yellow")


def _describe_coverage(coverage: CoveragePart, width: int, height: int) -> Iterator[Text]:
    """Yield the matrix of years and tickers: those with most left first, as many as fit."""
    if not coverage.years or height < MIN_COVERAGE - 1:
        return
    most = max(1, (width - NAME_WIDTH) // CELL_WIDTH)
    years = [year.year for year in coverage.years][-most:]
    heads = "".join(f"{year % 100:02d}".rjust(CELL_WIDTH) for year in years)
    yield Text("% done".ljust(NAME_WIDTH) + heads, "bold")
    count = f"all {coverage.tickers_planned:,}"
    yield _draw_row(count, coverage.years, years)
    room = height - 2
    shown = coverage.tickers[:room]
    hidden = coverage.tickers_planned - len(shown)
    if hidden and shown:
        shown = shown[: room - 1]
        hidden = coverage.tickers_planned - len(shown)
    for ticker in shown:
        yield _draw_row(ticker.ticker, ticker.years, years)
    if hidden and room > 0 and coverage.tickers:
        yield Text(f"and {hidden:,} more; {coverage.tickers_done:,} are done", "dim")


def _list_owed(universe: UniversePart) -> CoveragePart:
    """Take what a universe owes by year for a matrix of one row."""
    years = [
        YearCoverage(year=year.year, planned=year.owed, done=year.proven) for year in universe.years
    ]
    return CoveragePart(
        years=years,
        tickers=[],
        tickers_planned=universe.tickers,
        tickers_done=universe.complete,
        tickers_unknown=[],
    )


def _draw_row(name: str, cells: Sequence[YearCoverage], years: Sequence[int]) -> Text:
    known: Mapping[int, YearCoverage] = {cell.year: cell for cell in cells}
    row = Text(name[: NAME_WIDTH - 1].ljust(NAME_WIDTH))
    for year in years:
        cell = known.get(year)
        if cell is None or not cell.planned:
            row.append("·".rjust(CELL_WIDTH), "grey37")
            continue
        is_whole = cell.done == cell.planned
        text = WHOLE if is_whole else f"{int(100 * cell.done / cell.planned)}"
        style = "green" if is_whole else "yellow" if cell.done else "grey62"
        row.append(text.rjust(CELL_WIDTH), style)
    return row


def _list_kinds(counts: Mapping[str, int]) -> str:
    """List counts by kind, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} x {KINDS.get(kind, kind)}" for kind, count in ordered)
