"""What `smallcaps status --json` says.

What does not belong here: how it is measured (``look``) and how it looks (``cli``).
"""

import datetime as dt
from typing import Literal

from smallcaps_assets.core.documents import Document, Instant, Part
from smallcaps_assets.operations.standing.document import TickerPart, UniversePart


class DownloadPart(Part, frozen=True, kw_only=True):
    """Whether a download runs, and whether it is well.

    Attributes:
        state: ``idle``: planned and not begun; ``running``; ``stuck``: it runs, but nothing was
            committed for a while; ``busy``: another command has the lake; ``finished``: all is
            complete; ``incomplete``: it came to its end, and sessions are left; ``stopped``: by a
            person; ``aborted``: it gave up; ``killed``: it ended without a word.
        is_running: A download holds the lake.
        is_well: Nobody needs to look: neither stuck, nor aborted, nor killed.
        reason: Why it is so; empty where the state says all.
        advice: What to do; empty: nothing.
        holder: Who holds the lake; empty: nobody.
        pid: Process of the download, the last one where none runs; ``null``: there was none.
        host: Its machine.
        run_id: Its run in Dagster.
        since: When that process began to download.
        last_beat_at: When it last gave a sign of life.
        last_commit_at: When anything was last committed.
        stuck_after_min: Minutes without a commit after which a run counts as stuck.
    """

    state: Literal[
        "idle",
        "running",
        "stuck",
        "busy",
        "finished",
        "incomplete",
        "stopped",
        "aborted",
        "killed",
    ]
    is_running: bool
    is_well: bool
    reason: str
    advice: str
    holder: str
    pid: int | None
    host: str
    run_id: str
    since: Instant | None
    last_beat_at: Instant | None
    last_commit_at: Instant | None
    stuck_after_min: float


class PartitionsPart(Part, frozen=True, kw_only=True):
    """Planned ticker-sessions by how far they are.

    Attributes:
        planned: All of them.
        done: Those that are green: complete or empty.
        complete: Stored with their trades.
        empty: Asked for, and without trades.
        failed: Asked for without a whole answer, disputed, damaged, or beyond the key's plan.
        disputed: Those of them with rows that fall short of their daily bar.
        left: Planned less done.
        not_yet_available: Wanted, but not published yet; counted nowhere else.
        by_state: Count of each state of the ledger.
        marks: Stored sessions by what their daily bar leaves open: ``unproven_by_bar``,
            ``bar_surplus``, ``bar_residual``, ``bar_differs``.
    """

    planned: int
    done: int
    complete: int
    empty: int
    failed: int
    disputed: int
    left: int
    not_yet_available: int
    by_state: dict[str, int]
    marks: dict[str, int]


class StoredPart(Part, frozen=True, kw_only=True):
    """What is stored, planned or not, and what it cost.

    Attributes:
        sessions: Green ticker-sessions.
        rows: Trades.
        bytes: Size of their files.
        requests: Requests ever spent, those of failed attempts included.
        lost_proof: Sessions that were proven and for which nothing stands any more, besides.
        lost_sessions: Keys of them, at most five.
        two_answers: Stored sessions of which two proven answers differ; one of them counts.
    """

    sessions: int
    rows: int
    bytes: int
    requests: int
    lost_proof: int
    lost_sessions: list[str]
    two_answers: int


class DiskPart(Part, frozen=True, kw_only=True):
    """Whether the rest will fit.

    Attributes:
        free_bytes: Free on the disks that take new sessions.
        reserve_bytes: What stays free of that.
        needed_bytes: What the missing sessions will take on the disks, with what the file system
            and the lake's indices add; ``null``: nothing tells.
        margin_bytes: Free less reserve less needed; negative: so much is lacking.
        fits: Whether the rest fits; ``null``: nothing tells.
        segments_bytes: Bytes of all files of segments: beside the rows of proven sessions their
            records, answers that do not count, and what `smallcaps tidy` removes; 0: there is none.
    """

    free_bytes: int
    reserve_bytes: int
    needed_bytes: int | None
    margin_bytes: int | None
    fits: bool | None
    segments_bytes: int


class RatesPart(Part, frozen=True, kw_only=True):
    """What the last minutes brought.

    Attributes:
        window_s: Seconds that the rates are means of, the run's own if it is shorter.
        requests_per_min: Requests, retries included.
        requests_limit_per_min: Their limit; ``null``: there is none.
        rows_per_min: Trades received.
        bytes_per_min: Bytes received.
        sessions_per_min: Ticker-sessions committed.
    """

    window_s: float
    requests_per_min: float
    requests_limit_per_min: float | None
    rows_per_min: float
    bytes_per_min: float
    sessions_per_min: float


class ForecastPart(Part, frozen=True, kw_only=True):
    """What is left and how long it will take.

    Attributes:
        left_requests: Requests for the missing sessions; ``null``: nothing tells.
        left_rows: Their trades, by the daily bars and by what came so far.
        run_seconds: Time until the run that works now is done; ``null``: none does, or it has
            brought nothing yet.
        plan_seconds: Time for everything that is missing; ``null``: nothing tells.
        run_done_at: When the run is done at that pace.
        basis: What the time rests on: ``pace``: what the run, or the last one, has reached;
            ``limit``: the limit of requests; ``estimate``: the newest estimate; ``null``: nothing.
        pace_window_s: Seconds of work that the pace is the mean of.
    """

    left_requests: int | None
    left_rows: int | None
    run_seconds: float | None
    plan_seconds: float | None
    run_done_at: Instant | None
    basis: Literal["pace", "limit", "estimate"] | None
    pace_window_s: float | None


class LastError(Part, frozen=True, kw_only=True):
    """An attempt that failed.

    Attributes:
        at: When.
        ticker: Vendor's symbol.
        first_session: First session of the range.
        last_session: Last one, included.
        kind: Short word; ``docs/operations.md`` says what to do.
        message: What was expected and what came.
    """

    at: Instant
    ticker: str
    first_session: dt.date
    last_session: dt.date
    kind: str
    message: str


class ErrorsPart(Part, frozen=True, kw_only=True):
    """What went wrong lately.

    Attributes:
        window_s: Seconds that the counts look back.
        failures: Ranges that failed in spite of all retries, by kind.
        retries: Requests that were asked again, by kind: they cost time and nothing else.
        last: The newest failures, at most five.
    """

    window_s: float
    failures: dict[str, int]
    retries: dict[str, int]
    last: list[LastError]


class CommittedFile(Part, frozen=True, kw_only=True):
    """A ticker-session that was committed lately.

    Attributes:
        key: Its key.
        state: Its state.
        rows: Its trades.
        bytes: Size of its file.
        at: When it was committed.
    """

    key: str
    state: str
    rows: int
    bytes: int
    at: Instant


class YearCoverage(Part, frozen=True, kw_only=True):
    """Planned sessions of a year.

    Attributes:
        year: The year.
        planned: Planned sessions.
        done: Green ones of them.
    """

    year: int
    planned: int
    done: int


class TickerCoverage(Part, frozen=True, kw_only=True):
    """Planned sessions of a ticker.

    Attributes:
        ticker: Vendor's symbol.
        planned: Planned sessions.
        done: Green ones of them.
        years: The same by year.
    """

    ticker: str
    planned: int
    done: int
    years: list[YearCoverage]


class CoveragePart(Part, frozen=True, kw_only=True):
    """Years times tickers.

    Attributes:
        years: All tickers by year.
        tickers: The tickers with most sessions left, at most 200, then by name.
        tickers_planned: Tickers of the plan.
        tickers_done: Tickers of which nothing is left.
        tickers_unknown: Tickers that no daily bar knows and that brought no trade: counted in
            nothing above, because no trades of them prove nothing.
    """

    years: list[YearCoverage]
    tickers: list[TickerCoverage]
    tickers_planned: int
    tickers_done: int
    tickers_unknown: list[str]


class StatusDocument(Document, frozen=True, kw_only=True):
    """How far a download is: one look, from any process.

    Attributes:
        schema_version: Version of this document.
        told_at: When it was made.
        data_dir: The data folder.
        download: Whether a download runs, and whether it is well.
        partitions: Planned ticker-sessions by how far they are.
        stored: What is stored, and what it cost.
        disk: Whether the rest will fit.
        rates: What the last minutes brought.
        forecast: What is left and how long it will take.
        errors: What went wrong lately.
        recent: The sessions committed last, the newest first, at most five.
        coverage: Years times tickers.
        universe: How far the universe is; ``null``: none is planned.
        ticker: What is known of the ticker of ``--ticker``; ``null``: none is asked for.
    """

    schema_version: Literal[1] = 1
    told_at: Instant
    data_dir: str
    download: DownloadPart
    partitions: PartitionsPart
    stored: StoredPart
    disk: DiskPart
    rates: RatesPart
    forecast: ForecastPart
    errors: ErrorsPart
    recent: list[CommittedFile]
    coverage: CoveragePart
    universe: UniversePart | None
    ticker: TickerPart | None
