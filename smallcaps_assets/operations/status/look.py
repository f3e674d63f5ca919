"""How far a download is, from the ledger, the lock and the disk: cheap, and from any process.

What belongs here: gathering one look.  What does not: its shape (``document``), what is
concluded (``core.progress.health``, ``forecast``), and how it looks (``cli``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.progress.health import Health, Signs, judge_health
from smallcaps_assets.core.progress.pace import WINDOW_S, Work
from smallcaps_assets.errors import LedgerMismatchError, MissingPartitionError
from smallcaps_assets.ingest.budget.estimate_history import read_estimates
from smallcaps_assets.lake.ledger.pulse import Pulse
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Totals
from smallcaps_assets.lake.segments.names import SEGMENTS
from smallcaps_assets.lake.storage.holders import Holder
from smallcaps_assets.lake.storage.processes import Liveness, judge_process, parse_identity
from smallcaps_assets.lake.tables.plan_record import parse_plan_text
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.standing.document import TickerPart
from smallcaps_assets.operations.standing.ticker import measure_ticker
from smallcaps_assets.operations.standing.universe import measure_universe
from smallcaps_assets.operations.status.document import (
    CommittedFile,
    CoveragePart,
    DiskPart,
    DownloadPart,
    ErrorsPart,
    ForecastPart,
    LastError,
    PartitionsPart,
    RatesPart,
    StatusDocument,
    StoredPart,
    TickerCoverage,
    YearCoverage,
)
from smallcaps_assets.operations.status.forecast import Forecast, Told, forecast, predict_bytes

RATE_WINDOW: Final = dt.timedelta(seconds=WINDOW_S)
ERROR_WINDOW: Final = dt.timedelta(hours=1)
SHOWN_ERRORS: Final = 5
SHOWN_TICKERS: Final = 200
SHOWN_LOST: Final = 5
RETRY_PREFIX: Final = "retry_"
NO_MARKS: Final[Mapping[str, int]] = MappingProxyType({})


def measure_status(lakehouse: Lakehouse, ticker: str | None = None) -> StatusDocument:
    """Measure how far the download is.

    Args:
        lakehouse: The lake.
        ticker: One of which everything is told besides.

    Raises:
        ConfigError: Nobody knows the ticker.
        LedgerMismatchError: The ledger was lost although sessions are stored.
        MissingPartitionError: Nothing was planned yet.
    """
    try:
        ledger = LedgerReader(lakehouse.layout.ledger_file)
    except MissingPartitionError as error:
        if _has_sessions(lakehouse):
            raise _explain_loss(lakehouse) from error
        begin = "download --universe" if lakehouse.tables.has_universe_plan() else "plan"
        what = "begun" if lakehouse.tables.has_universe_plan() else "planned"
        raise MissingPartitionError(
            f"nothing is {what} in {lakehouse.layout.data_dir} yet: run `smallcaps {begin}`"
        ) from error
    with ledger:
        if not ledger.is_indexed and _has_sessions(lakehouse):
            raise _explain_loss(lakehouse)
        return Look(lakehouse, ledger, ticker).describe()


def _has_sessions(lakehouse: Lakehouse) -> bool:
    """Say whether any session is stored, without asking the ledger."""
    if not lakehouse.fs.is_file(lakehouse.home.identity_file):
        return False  # Asking the store would make a lake.
    return next(lakehouse.sessions.iter_receipts(damages=[]), None) is not None


def _explain_loss(lakehouse: Lakehouse) -> LedgerMismatchError:
    return LedgerMismatchError(
        f"{lakehouse.layout.ledger_file} does not know what is stored: the ledger was lost; "
        "rebuild it from the records: `smallcaps reindex`"
    )


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a lake.

    Attributes:
        lakehouse: The lake.
        ledger: Its ledger, open.
        ticker: One of which everything is told; ``None``: none is.
    """

    lakehouse: Lakehouse
    ledger: LedgerReader
    ticker: str | None = None

    def describe(self) -> StatusDocument:
        """Describe what is seen."""
        now = self.lakehouse.clock()
        holder, pulse = self.lakehouse.lock.holder(), self.ledger.pulse()
        totals = self.ledger.totals()
        partitions = count_partitions(self.ledger.counts(), self.ledger.marks())
        universe = measure_universe(self.lakehouse, self.ledger)
        left, planned = partitions.left, partitions.planned
        if universe is not None:
            left, planned = left + universe.missing, planned + universe.owed
        health = judge_health(self._gather(now, (left, planned), holder, pulse))
        is_running = _is_download(holder)
        limit = self.lakehouse.settings.requests_per_minute
        if is_running and pulse is not None:
            # Its own limit counts: the settings of this shell may be others.
            limit = pulse.requests_per_minute
        told = self._read_estimate(partitions)
        outlook = forecast(
            self.ledger,
            partitions.left,
            is_running=is_running,
            requests_per_minute=limit,
            told=told,
        )
        return StatusDocument(
            told_at=now,
            data_dir=str(self.lakehouse.layout.data_dir),
            download=self._describe_download(health, holder, pulse),
            partitions=partitions,
            stored=self._describe_stored(totals),
            disk=self._measure_disk(outlook.left, totals, told),
            rates=self._measure_rates(now, pulse, limit),
            forecast=_describe_forecast(outlook, now),
            errors=self._list_errors(now),
            recent=[
                CommittedFile(
                    key=found.key,
                    state=found.state,
                    rows=found.rows,
                    bytes=found.bytes,
                    at=found.committed_at,
                )
                for found in self.ledger.recent_sessions(SHOWN_ERRORS)
            ],
            coverage=cover(list(self.ledger.coverage_by_year().iter_rows()), self._find_unknown()),
            universe=universe,
            ticker=self._measure_ticker(),
        )

    def _measure_ticker(self) -> TickerPart | None:
        if self.ticker is None:
            return None
        return measure_ticker(self.lakehouse, self.ledger, self.ticker)

    def _gather(
        self,
        now: dt.datetime,
        asked: tuple[int, int],
        holder: Holder | None,
        pulse: Pulse | None,
    ) -> Signs:
        """Gather the signs that the download gives; ``asked``: sessions left, and planned."""
        signs = Signs(
            now,
            *asked,
            holder=str(holder or ""),
            is_download=_is_download(holder),
            last_commit_at=self.ledger.last_commit_at(),
            begun_at=holder.since if holder else None,
            stuck_after=dt.timedelta(minutes=self.lakehouse.settings.stuck_after_min),
        )
        # A pulse of an earlier process says nothing of the one that holds the lake now.
        if pulse is None or (holder and holder.process and holder.process != pulse.process):
            return signs
        identity = parse_identity(pulse.process)
        return replace(
            signs,
            has_pulse=True,
            is_alive=identity is not None and judge_process(identity) is Liveness.ALIVE,
            has_more=pulse.others.sessions > 0,
            outcome=pulse.outcome,
            ended_at=pulse.ended_at,
            reason=pulse.reason,
            beat_at=pulse.beat_at,
            begun_at=pulse.run_started_at,
            last_page_at=pulse.last_page_at,
            stage=pulse.stage,
            threads=pulse.threads,
            oldest_answer_s=pulse.oldest_answer_s,
            next_retry_s=pulse.next_retry_s,
            last_fault=pulse.last_fault,
            last_fault_text=pulse.last_fault_text,
        )

    def _describe_download(
        self, health: Health, holder: Holder | None, pulse: Pulse | None
    ) -> DownloadPart:
        """Say whether a download runs; one that has said nothing yet is known by its lock."""
        is_running = _is_download(holder)
        part = DownloadPart(
            state=health.state.value,
            is_running=is_running,
            is_well=health.is_well,
            reason=health.reason,
            advice=health.advice,
            holder=str(holder or ""),
            pid=pulse.pid if pulse else None,
            host=pulse.host if pulse else "",
            run_id=pulse.run_id if pulse else "",
            since=pulse.started_at if pulse else None,
            last_beat_at=pulse.beat_at if pulse else None,
            last_commit_at=self.ledger.last_commit_at(),
            stuck_after_min=self.lakehouse.settings.stuck_after_min,
        )
        if holder is None or not is_running or (pulse and pulse.process == holder.process):
            return part
        return msgspec.structs.replace(
            part,
            pid=holder.pid,
            host=holder.host,
            run_id=holder.run_id,
            since=holder.since,
            last_beat_at=None,
        )

    def _read_estimate(self, partitions: PartitionsPart) -> Told | None:
        """Read what the newest estimate said of this plan; ``None``: none did."""
        made = read_estimates(self.lakehouse.layout, self.lakehouse.fs)
        if not made or made[-1].ticker_sessions != partitions.planned:
            return None
        last = made[-1]
        rows = last.rows
        if not rows:
            files = last.ticker_sessions * last.file_bytes
            rows = round(max(0.0, last.bytes_stored - files) / max(last.bytes_per_trade, 1e-9))
        newest = self.ledger.last_commit_at()
        is_fresh = newest is None or newest < last.made_at
        missing = Work(last.missing_sessions, last.missing_requests, last.missing_rows)
        return Told(
            plan=Work(last.ticker_sessions, last.requests, rows),
            missing=missing if is_fresh and missing.sessions == partitions.left else None,
            missing_bytes=last.missing_bytes_on_disk,
            missing_runs=last.missing_runs,
            costs=last.restore(),
        )

    def _find_unknown(self) -> frozenset[str]:
        """Find the planned tickers that no bar knows and that brought no trade."""
        try:
            content = self.lakehouse.fs.read(self.lakehouse.home.plan_record_file)
        except MissingPartitionError:
            return frozenset()
        record = parse_plan_text(content, where=str(self.lakehouse.home.plan_record_file)).record
        if not record.unknown_tickers:
            return frozenset()
        stored = self.ledger.ticker_months(tickers=record.unknown_tickers)
        is_traded = (pl.col("rows") > 0) & (pl.col("proven") != 0)
        return frozenset(record.unknown_tickers).difference(stored.filter(is_traded)["ticker"])

    def _describe_stored(self, totals: Totals) -> StoredPart:
        lost = self.ledger.lost_keys()
        return StoredPart(
            **asdict(totals),
            lost_proof=len(lost),
            lost_sessions=lost[:SHOWN_LOST],
            two_answers=self.ledger.two_answers().height,
        )

    def _measure_disk(self, left: Work | None, totals: Totals, told: Told | None) -> DiskPart:
        space, lake_dir = self.lakehouse.free_space, self.lakehouse.layout.lake_dir
        segments = self.lakehouse.home.object_file(SEGMENTS.rstrip("/"))
        free, reserve = space.measure(lake_dir), round(space.measure_reserve(lake_dir))
        needed = None if left is None else predict_bytes(left, totals, told)
        margin = None if needed is None else free - reserve - needed
        return DiskPart(
            free_bytes=free,
            reserve_bytes=reserve,
            needed_bytes=needed,
            margin_bytes=margin,
            fits=None if margin is None else margin >= 0,
            segments_bytes=self.lakehouse.fs.measure_folder(segments),
        )

    def _measure_rates(self, now: dt.datetime, pulse: Pulse | None, limit: float) -> RatesPart:
        """Measure the rates of the last minutes, of the run alone where it is younger."""
        since = now - RATE_WINDOW
        if pulse is not None:
            # What earlier runs asked for in these minutes is not of this run's time.
            since = max(since, pulse.run_started_at)
        recent = self.ledger.activity(since)
        begun = recent.first_at if pulse is None and recent.first_at else since
        ended = pulse.ended_at if pulse and pulse.ended_at else now
        window_s = max((ended - begun).total_seconds(), 1.0)
        minutes = window_s / 60
        requests = recent.requests / minutes
        return RatesPart(
            window_s=window_s,
            # A range is counted when it ends, with the requests it made before these minutes.
            requests_per_min=min(requests, limit) if limit else requests,
            requests_limit_per_min=limit or None,
            rows_per_min=recent.rows / minutes,
            bytes_per_min=recent.bytes / minutes,
            sessions_per_min=recent.sessions / minutes,
        )

    def _list_errors(self, now: dt.datetime) -> ErrorsPart:
        hour = self.ledger.activity(now - ERROR_WINDOW)
        return ErrorsPart(
            window_s=ERROR_WINDOW.total_seconds(),
            failures=hour.errors,
            retries={
                name.removeprefix(RETRY_PREFIX): count
                for name, count in hour.counters.items()
                if name.startswith(RETRY_PREFIX)
            },
            last=[
                LastError(
                    at=dt.datetime.fromisoformat(row["recorded_at"]),
                    ticker=row["ticker"],
                    first_session=dt.date.fromisoformat(row["first_session"]),
                    last_session=dt.date.fromisoformat(row["last_session"]),
                    kind=row["kind"],
                    message=row["message"],
                )
                for row in self.ledger.recent_errors(SHOWN_ERRORS).iter_rows(named=True)
            ],
        )


def count_partitions(
    counts: Mapping[str, int], marks: Mapping[str, int] = NO_MARKS
) -> PartitionsPart:
    """Count planned ticker-sessions by how far they are, and what bars leave open."""
    waiting = counts.get(states.NOT_YET_AVAILABLE, 0)
    planned = sum(counts.values()) - waiting
    done = sum(counts.get(state, 0) for state in states.GREEN)
    untried = (states.PLANNED, states.IMPORTED_UNPROVEN)
    open_ones = sum(counts.get(state, 0) for state in untried)
    return PartitionsPart(
        planned=planned,
        done=done,
        complete=counts.get(states.COMPLETE, 0),
        empty=done - counts.get(states.COMPLETE, 0),
        failed=planned - done - open_ones,
        disputed=counts.get(states.DISPUTED, 0),
        left=planned - done,
        not_yet_available=waiting,
        by_state=dict(counts),
        marks=dict(marks),
    )


def cover(
    cells: list[tuple[str, int, int, int]], unknown: frozenset[str] = frozenset()
) -> CoveragePart:
    """Sum coverage up: years times tickers.

    Args:
        cells: ``ticker, year, planned, done``, sorted by ticker and year.
        unknown: Tickers that are counted apart.
    """
    cells = [cell for cell in cells if cell[0] not in unknown]
    years: dict[int, tuple[int, int]] = {}
    for _, year, planned, done in cells:
        before = years.get(year, (0, 0))
        years[year] = (before[0] + planned, before[1] + done)
    tickers = [(ticker, list(rows)) for ticker, rows in groupby(cells, key=lambda cell: cell[0])]
    left = {ticker: sum(row[2] - row[3] for row in rows) for ticker, rows in tickers}
    tickers.sort(key=lambda item: (-left[item[0]], item[0]))
    return CoveragePart(
        years=[
            YearCoverage(year=year, planned=planned, done=done)
            for year, (planned, done) in sorted(years.items())
        ],
        tickers=[
            TickerCoverage(
                ticker=ticker,
                planned=sum(row[2] for row in rows),
                done=sum(row[3] for row in rows),
                years=[YearCoverage(year=row[1], planned=row[2], done=row[3]) for row in rows],
            )
            for ticker, rows in tickers[:SHOWN_TICKERS]
        ],
        tickers_planned=len(tickers),
        tickers_done=sum(not count for count in left.values()),
        tickers_unknown=sorted(unknown),
    )


def _describe_forecast(outlook: Forecast, now: dt.datetime) -> ForecastPart:
    left, run_s = outlook.left, outlook.run_s
    return ForecastPart(
        left_requests=None if left is None else left.requests,
        left_rows=None if left is None else left.rows,
        run_seconds=run_s,
        plan_seconds=outlook.plan_s,
        run_done_at=None if run_s is None else now + dt.timedelta(seconds=run_s),
        basis=outlook.basis,
        pace_window_s=None if outlook.pace is None else outlook.pace.seconds,
    )


def _is_download(holder: Holder | None) -> bool:
    return holder is not None and holder.kind == "download"
