"""A download as a run sees it: the lake locked and checked, the catalog kept fresh.

What belongs here too: runs that ask again for stored sessions without a cause, to learn whether the
vendor still says the same.  What does not: asking and weighing (``asking_again``).
"""

import datetime as dt
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from smallcaps_assets.core.keys import decode_key, key_expression, list_key_months
from smallcaps_assets.core.progress.pace import Work
from smallcaps_assets.core.ticks.sources import TradeSource
from smallcaps_assets.core.verdicts import Number
from smallcaps_assets.errors import ConfigError, PartitionConflictError
from smallcaps_assets.ingest.budget.expectations import label_sessions, plan_ranges
from smallcaps_assets.ingest.derived import (
    refresh_catalog,
    refresh_catalog_if_free,
    refresh_ledger,
)
from smallcaps_assets.ingest.proof.judging import open_stored
from smallcaps_assets.ingest.ticks.download import Download
from smallcaps_assets.ingest.ticks.heartbeat import Heartbeat
from smallcaps_assets.ingest.ticks.outcomes import Outcome
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Revision
from smallcaps_assets.lake.reading.sources import EVERYTHING, Selection
from smallcaps_assets.lakehouse import Lakehouse

logger = logging.getLogger(__name__)

CATALOG_SHARE = 20
"""A catalog is rebuilt after at least so many times the time that the last one took: its cost
grows with the lake, and the part of a download's time that it takes does not."""

COUNT_EVERY_S = 5.0
"""Pause between two entries of retries in the ledger."""

_PLACES = {"ticker": pl.String(), "session_date": pl.Date()}

DEFAULT_SHARE = 0.01
"""Share of the stored sessions that is asked for again unless another one is given."""


class Backfill:
    """One run's work on the lake.

    Attributes:
        interrupts: Exceptions that mean "stop now, keep what is finished".
        catalog: Facts of the catalog built at the end; empty until then.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        *,
        run_id: str,
        interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
        accept_empty: bool = False,
        accept_disputed: bool = False,
        asks_again: bool = False,
    ) -> None:
        """Prepare a run; the options are those of :class:`Download`."""
        self.interrupts = interrupts
        self.catalog: dict[str, Number] = {}
        self._lakehouse = lakehouse
        self._run_id = run_id
        self._is_shared = False
        self._retries: Counter[str] = Counter()
        self.download = Download(
            lakehouse,
            run_id=run_id,
            interrupts=interrupts,
            accept_empty=accept_empty,
            accept_disputed=accept_disputed,
            asks_again=asks_again,
        )
        self.summary = self.download.summary

    @property
    def changed(self) -> list[str]:
        """The keys whose colour changed although nothing was asked about them, sorted."""
        return sorted(self.download.asking.changed)

    @contextmanager
    def held(self, *, wait_s: float | None, is_shared: bool = False) -> Iterator[None]:
        """Hold the lake's lock.

        Args:
            wait_s: Seconds to wait for another download; ``None`` waits as long as it lives.
            is_shared: Others may download beside it; what it does is planned by no event window.

        Raises:
            ConfigError: The lake lies elsewhere than the settings say.
            PartitionConflictError: Another process holds it; the message names it.
            StorageError: The disk refuses.
        """
        self._is_shared, run_id = is_shared, self._run_id
        with self._lakehouse.writing(f"run {run_id}", wait_s, run_id=run_id, shared=is_shared):
            yield

    def run(self, keys: Sequence[str]) -> Iterator[Outcome]:
        """Yield the outcome of each of ``keys``; the caller holds the lock.

        Raises:
            PartitionConflictError: The lake is bound to another source or a newer version.
            StorageError: The disk refuses.
        """
        lakehouse = self._lakehouse
        heart = Heartbeat(
            lakehouse.ledger,
            self._run_id,
            self.download.workload,
            self.summary,
            self._find_source,
            lakehouse.settings.requests_per_minute,
            lakehouse.clock,
            self.interrupts,
        )
        with heart:
            heart.others = self._measure_others(keys)
            yield from self._run(keys)

    def _measure_others(self, keys: Sequence[str]) -> Work:
        """Weigh what the plan lacks besides the sessions of this run."""
        if self._is_shared:
            return Work()
        lakehouse = self._lakehouse
        missing = lakehouse.ledger.missing_keys()
        others = missing.filter(~pl.col("key").is_in(list(keys))).select("ticker", "session_date")
        if others.is_empty():
            return Work()
        stored = lakehouse.ledger.stored_sessions()
        labelled = label_sessions(lakehouse.tables, others, stored)
        ranges = plan_ranges(labelled, lakehouse.range_rules)
        rows = ranges["expected_rows"].fill_null(0)
        pages = (rows + lakehouse.settings.page_limit - 1) // lakehouse.settings.page_limit
        return Work(others.height, int(pages.clip(1).sum()), int(rows.sum()))

    def _find_source(self) -> TradeSource | None:
        # Making a client takes a key, which a run without requests does without.
        return vars(self._lakehouse).get("client")

    def _run(self, keys: Sequence[str]) -> Iterator[Outcome]:
        """Yield the outcomes; keep retries and the catalog fresh."""
        lakehouse = self._lakehouse
        lakehouse.sessions.sweep()
        lakehouse.tables.sweep()
        refresh_ledger(lakehouse, list_key_months(keys))  # before anything is judged
        asking = self.download.asking
        asking.changed.update(asking.stored.judge_new())
        counted, interval_s = time.monotonic(), lakehouse.settings.catalog_interval_s
        due = counted + interval_s
        try:
            for outcome in self.download.run(keys):
                yield outcome
                if (begun := time.monotonic()) > due:
                    refresh_catalog_if_free(lakehouse)
                    due = plan_refresh(begun, time.monotonic(), interval_s)
                if time.monotonic() - counted > COUNT_EVERY_S:
                    self._record_retries()
                    counted = time.monotonic()
        finally:
            self.download.workload.end()
            self._record_retries()
        self.catalog = refresh_catalog(lakehouse)

    def _record_retries(self) -> None:
        """Tell the ledger how often the vendor made us wait: only this process knows."""
        source = self._find_source()
        if source is None:
            return
        retries = source.counters.retries
        now = Counter({f"retry_{kind}": count for kind, count in retries.items()})
        self._lakehouse.ledger.record_counters(self._run_id, dict(now - self._retries))
        self._retries = now


def judge_new_bars(lakehouse: Lakehouse) -> list[str]:
    """Judge what is stored by bars that are new, where no other process holds the lake.

    Where one does, the next download judges: the months are noted.  Returned are the keys of the
    sessions that changed their colour, or lack more or less now, sorted.

    Raises:
        StorageError: The disk refuses.
    """
    if not lakehouse.home.ledger_file.is_file() or not lakehouse.ledger.unjudged_months():
        return []
    try:
        with lakehouse.writing("daily_bars", 0.0):
            return open_stored(lakehouse).judge_new()
    except PartitionConflictError as error:
        logger.info("new bars are judged later: %s", error)
        return []


def plan_refresh(begun: float, ended: float, interval_s: float) -> float:
    """Plan when the catalog is to be built again, after a build that began and ended then."""
    return ended + max(interval_s, CATALOG_SHARE * (ended - begun))


@dataclass(frozen=True, slots=True)
class RecheckChoice:
    """Which stored sessions are asked for again.

    Attributes:
        share: Share of those that the rest allows, chosen by the seed; above 0, at most 1.
    """

    share: float = DEFAULT_SHARE
    seed: int = 0
    older_than_days: int = 0
    selection: Selection = EVERYTHING


@dataclass(slots=True)
class RecheckFacts:
    """What a recheck found.

    Attributes:
        stored: Sessions that it could have asked for.
        settled: Those asked for because a deficit of theirs settled.
        unanswered: Keys that the vendor did not answer about.
        revisions: Answers that differ from what was stored.
        changed: Keys whose colour may be another one now.
        aborted: Why it ended early; empty: it did not.
    """

    stored: int
    settled: int
    keys: list[str]
    unanswered: list[str] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    aborted: str = ""

    @property
    def unchanged(self) -> int:
        """The number of answers that were what is stored."""
        return len(self.keys) - len(self.unanswered) - len(self.revisions)


def parse_share(text: str) -> float:
    """Parse a share given as ``1%`` or ``0.01``.

    Raises:
        ConfigError: It is no number, or not above 0 and at most 1.
    """
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise ConfigError(
            f"--sample: expected a share above 0 and at most 100%, such as 1% or 0.01, got {text!r}"
        )
    return number


def choose_stored(ledger: LedgerReader, choice: RecheckChoice, today: dt.date) -> RecheckFacts:
    """Choose the stored sessions to ask for: those that settled first, then a sample."""
    asked = choice.selection
    stored = ledger.proven_sessions(asked.tickers, asked.first, asked.last)
    newest = today - dt.timedelta(days=choice.older_than_days)
    stored = stored.filter(pl.col("session_date") <= newest)
    count = math.ceil(choice.share * stored.height)
    sample = _name(stored.sample(count, seed=choice.seed)).sort().to_list()
    named = [decode_key(key) for key in ledger.settled_keys()]
    settled = stored.join(pl.DataFrame(named, _PLACES, orient="row"), on=[*_PLACES], how="semi")
    chosen = list(dict.fromkeys([*_name(settled).sort(), *sample]))
    return RecheckFacts(stored.height, settled.height, chosen)


def _name(sessions: pl.DataFrame) -> pl.Series:
    return sessions.select(key_expression()).to_series()


def recheck_sessions(
    backfill: Backfill, facts: RecheckFacts, *, wait_s: float | None = 0.0
) -> None:
    """Ask the vendor again for the stored sessions that were chosen, and note what differs.

    The backfill is one that asks again; it waits for the lake as :meth:`Backfill.held` does.

    Raises:
        PartitionConflictError: Another process holds the lake.
        StorageError: The disk refuses; what was stored stays.
    """
    if not facts.keys:
        return
    with backfill.held(wait_s=wait_s):
        for _ in backfill.run(sorted(facts.keys, key=decode_key)):
            pass
    asking = backfill.download.asking
    facts.unanswered, facts.revisions = asking.unanswered, asking.revisions
    facts.changed = sorted({*backfill.changed, *(r.old.key for r in facts.revisions)})
    facts.aborted = backfill.summary.aborted
