"""The runs behind `smallcaps download`: spans of missing keys, one run after another."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from smallcaps_assets.cli.runs.workplace import Workplace
from smallcaps_assets.cli.screens.progress import watch_progress
from smallcaps_assets.cli.screens.summaries import print_marks, print_revisions
from smallcaps_assets.core.plan.spans import find_spans
from smallcaps_assets.defs.assets.ticks import (
    ABORTED_TAG,
    ACCEPT_DISPUTED_TAG,
    ACCEPT_EMPTY_TAG,
    AGAIN_TAG,
    NO_WAIT_TAG,
)
from smallcaps_assets.defs.failures import describe_failure
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.instance.queue import (
    describe_foreign,
    drop_foreign_keys,
    require_registered_plan,
    split_keys,
)
from smallcaps_assets.defs.instance.reconciliation import end_dead
from smallcaps_assets.defs.instance.states import align_anew, align_states
from smallcaps_assets.defs.jobs import DOWNLOAD_JOB
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.errors import PartitionConflictError
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.plan.selection import select_missing, select_planned
from smallcaps_assets.lake.reading.sources import EVERYTHING, Selection


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the runs of a download are told, by tags.

    Attributes:
        accept_empty: Believe "no trades" against the daily bar.
        accept_disputed: Accept what the daily bar disputes.
        again: Ask for finished sessions of the selection again too.
    """

    accept_empty: bool = False
    accept_disputed: bool = False
    again: bool = False

    @property
    def accepts(self) -> bool:
        """Say whether anything is believed that nothing proves."""
        return self.accept_empty or self.accept_disputed

    @property
    def tags(self) -> dict[str, str]:
        """The tags of a run."""
        chosen = {
            ACCEPT_EMPTY_TAG: self.accept_empty,
            ACCEPT_DISPUTED_TAG: self.accept_disputed,
            AGAIN_TAG: self.again,
        }
        return {NO_WAIT_TAG: "true"} | {tag: "true" for tag, is_on in chosen.items() if is_on}


NO_OPTIONS = RunOptions()


def run_download(
    work: Workplace, selection: Selection, console: Console, options: RunOptions = NO_OPTIONS
) -> bool:
    """Download what is missing; return whether all of it is complete now.

    Raises:
        ConfigError: The vendor's key is not set, or the lake lies elsewhere than the settings say.
        PartitionConflictError: Another download holds the lake, or it belongs to another source.
        LedgerMismatchError: The published plan is not the registered one.
    """
    refuse_if_held(work)
    ended = end_dead(work.instance, work.lakehouse)
    require_registered_plan(work.instance, work.lakehouse)
    ensure_indexed(work.lakehouse)
    ordered, foreign = split_keys(work.lakehouse, work.instance.get_dynamic_partitions(PLANNED_SET))
    if foreign:
        console.print(describe_foreign(foreign), style="yellow", markup=False, highlight=False)
        drop_foreign_keys(work.instance, work.lakehouse)
    # A run that was killed between a record and its event left keys that no span may hold.
    align = align_anew if ended else align_states
    align(work.instance, work.lakehouse, ordered)
    wanted, others = _select(work, selection, ordered, options)
    if not wanted:
        console.print("nothing is missing: every planned session in question is complete")
        return True
    work.settings.require_key()
    with work.lakehouse.writing("smallcaps download", 0.0):
        pass  # a lake that lies elsewhere than the settings say is told before a run begins
    spans = find_spans(ordered, wanted, others)
    verb = "are asked for again" if options.again else "are missing"
    console.print(f"{len(wanted):,} sessions {verb}; runs: {len(spans)}")
    begun = work.lakehouse.clock()
    with watch_progress(work.lakehouse, wanted, console):
        _run_spans(work, spans, options, console)
    print_revisions(work.lakehouse.ledger.revisions(begun), console)
    print_marks(work.lakehouse, wanted, console)
    return not select_missing(work.lakehouse.tables, work.lakehouse.ledger, selection)


def _select(
    work: Workplace, selection: Selection, ordered: Sequence[str], options: RunOptions
) -> tuple[list[str], Sequence[str]]:
    """Select the keys to ask for, and those that may lie in no span unless they are among them."""
    tables, ledger = work.lakehouse.tables, work.lakehouse.ledger
    if options.again:
        return select_planned(tables, selection), ordered
    return select_missing(tables, ledger, selection), select_missing(tables, ledger, EVERYTHING)


def _run_spans(
    work: Workplace, spans: Sequence[tuple[str, str]], options: RunOptions, console: Console
) -> None:
    """Run one span after another, until a person or an outage ends it."""
    for first, last in spans:
        try:
            run = work.run_job(DOWNLOAD_JOB, {RANGE_START: first, RANGE_END: last, **options.tags})
        except KeyboardInterrupt:
            align_anew(
                work.instance, work.lakehouse, work.instance.get_dynamic_partitions(PLANNED_SET)
            )
            console.print("stopped; what is finished stays: run the same command to go on")
            raise
        if run.is_success:
            continue
        for line in describe_failure(work.instance, run):
            console.print(line, style="red", highlight=False)
        if ABORTED_TAG in run.tags:
            break


def refuse_if_held(work: Workplace) -> None:
    """Refuse a lake that another download works on.

    Raises:
        PartitionConflictError: It is held; the message names the holder.
    """
    holder = work.lakehouse.lock.holder()
    if holder is not None:
        raise PartitionConflictError(
            f"another download works on this lake: {holder}; wait for it, or stop it"
        )
