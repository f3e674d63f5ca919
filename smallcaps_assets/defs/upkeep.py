"""Jobs that look after a lake: what repair, reconcile, reindex, import, relocate and tidy do.

What belongs here: the config of each, the lock, and its result as metadata.  What does not: the
work, which is the very use case of the command (``operations``, ``ingest``, ``defs.instance``).

Like the commands they wait for no other writer: who starts one is there, and can start it again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import polars as pl

from smallcaps_assets.defs.assets.ticks import POOL
from smallcaps_assets.defs.failures import LaunchConfig, dagster_failures, fail_months
from smallcaps_assets.defs.instance.reconciliation import (
    align_changed,
    preview_reconciliation,
    reconcile_partitions,
    show_repair,
)
from smallcaps_assets.defs.instance.runs import claim_run
from smallcaps_assets.defs.metadata import SHOWN_ROWS, show_numbers, show_table
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.archive.document import count_left_out, list_lines, list_stored
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.archive.outcomes import ImportedSession
from smallcaps_assets.ingest.derived import ensure_indexed, refresh_catalog, require_lake
from smallcaps_assets.lake.interchange.archives import Stray
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.moving import measure_move, move_lake
from smallcaps_assets.operations.repair.upkeep import (
    count_stored,
    empty_quarantine,
    list_leftovers,
    rebuild_ledger,
    repair_and_serve,
)
from smallcaps_assets.operations.tidy.run import tidy_lake
from smallcaps_assets.paths import expand_path


class RepairConfig(LaunchConfig):
    """How damage is repaired.

    Attributes:
        dry_run: Say what would be moved, and move nothing.
        delete: Delete what lies in quarantine afterwards.
    """

    dry_run: bool = False
    delete: bool = False


class ReconcileConfig(LaunchConfig):
    """How Dagster is made equal to the lake.

    Attributes:
        dry_run: Say what would change, and change nothing.
    """

    dry_run: bool = False


class ReindexConfig(LaunchConfig):
    """How the ledger is made again.

    Attributes:
        dry_run: Count the sessions and change nothing.
    """

    dry_run: bool = False


class ImportConfig(LaunchConfig):
    """What is imported.

    Attributes:
        archive: Absolute path of a folder of folders of tickers.
        accept_unproven: Store what is readable, agreeing or not; its record says so.
        dry_run: Judge everything and write nothing.
    """

    archive: str = ""
    accept_unproven: bool = False
    dry_run: bool = False


class RelocateConfig(LaunchConfig):
    """Where the lake goes.

    Attributes:
        dest: Absolute path of a folder on another disk.
        dry_run: Say what would be moved, and change nothing.
    """

    dest: str = ""
    dry_run: bool = False


class TidyConfig(LaunchConfig):
    """What is packed.

    Attributes:
        every_month: Pack every month, needed or not.
    """

    every_month: bool = False


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def repair(
    context: dg.OpExecutionContext, config: RepairConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Move damaged files to quarantine and turn their partitions red."""
    with _keeping(config, lakehouse), _writing(context, lakehouse):
        facts = repair_and_serve(lakehouse, is_dry_run=config.dry_run)
        deleted = []
        if not config.dry_run:
            show_repair(context.instance, lakehouse, facts)
            deleted = empty_quarantine(lakehouse) if config.delete else []
    found = [damages[0] for _, damages in sorted(facts.damages.items())]
    rows = [(damage.key, damage.kind.value, damage.message) for damage in found]
    table = pl.DataFrame(rows, dict.fromkeys(("session", "kind", "what"), pl.String), orient="row")
    context.add_output_metadata(
        {
            "checked": facts.checked,
            "damaged": len(facts.damages),
            "lost": len(facts.lost),
            "strays": len(facts.orphans),
            "damaged_files": facts.files.height,
            "moved": len(facts.moved),
            "deleted": [str(folder) for folder in deleted],
            "damages": show_table(table),
        }
    )


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def reconcile(
    context: dg.OpExecutionContext, config: ReconcileConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Register the published plan and align the state of every key."""
    with _keeping(config, lakehouse):
        ensure_indexed(lakehouse)
        if config.dry_run:
            done = preview_reconciliation(context.instance, lakehouse)
        else:
            with _writing(context, lakehouse):
                done = reconcile_partitions(context.instance, lakehouse)
    context.log.info(done.describe())
    context.add_output_metadata(show_numbers(asdict(done)))


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def reindex(
    context: dg.OpExecutionContext, config: ReindexConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Index all that is stored, and move a damaged ledger aside."""
    with _keeping(config, lakehouse):
        if config.dry_run:
            context.add_output_metadata({"sessions": count_stored(lakehouse)})
            return
        with _writing(context, lakehouse):
            facts = rebuild_ledger(lakehouse)
    counts = {"sessions": facts.sessions, "in_no_record": facts.unproven}
    context.add_output_metadata(counts | {"lost_proof": len(facts.lost)})


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def import_files(
    context: dg.OpExecutionContext, config: ImportConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Judge an archive of other downloaders, and store what agrees with its daily bars."""
    with dagster_failures():
        config.check()
        run = Import(
            lakehouse,
            _read_folder("archive", config.archive),
            run_id=context.run_id,
            accept_unproven=config.accept_unproven,
            is_dry_run=config.dry_run,
        )
        lines: list[str] = []
        with nullcontext() if config.dry_run else _writing(context, lakehouse):
            stored = list_stored(_note(run.run(), lines))
            if not config.dry_run:
                refresh_catalog(lakehouse)
                align_changed(context.instance, lakehouse, stored)
    summary = run.summary
    if left := count_left_out(summary):
        context.log.warning("%d sessions of the archive are not in the lake", left)
    context.add_output_metadata(
        {
            "files": summary.files,
            "rows": summary.rows,
            "strays": summary.strays,
            "not_in_the_lake": left,
            **{action.value: count for action, count in summary.sessions.items()},
            "findings": dict(summary.findings),
            "what_was_found": show_table(pl.DataFrame({"line": lines}, {"line": pl.String})),
        }
    )


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def relocate(
    context: dg.OpExecutionContext, config: RelocateConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Copy the lake to another disk, prove the copy, switch, and empty the old place."""
    with dagster_failures():
        config.check()
        dest = _read_folder("dest", config.dest)
        if config.dry_run:
            _, size = measure_move(lakehouse, dest)
            context.add_output_metadata(
                {"sessions": size.sessions, "bytes": size.bytes, "to_copy": size.needed_bytes}
            )
            return
        # Not `writing`: SMALLCAPS_LAKE may be the place that is left.
        with lakehouse.lock.hold(f"the job {context.job_name}", 0.0):
            claim_run(context.instance, context.run_id)
            facts = move_lake(lakehouse, dest)
    left = list(list_leftovers(lakehouse, facts))
    for line in left:
        context.log.warning(line)
    context.add_output_metadata(
        {
            "sessions": facts.size.sessions,
            "bytes": facts.size.bytes,
            "moved_from": str(facts.source or ""),
            "lake": dg.MetadataValue.path(str(facts.target)),
            "left_to_do": left,
        }
    )


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def tidy(
    context: dg.OpExecutionContext, config: TidyConfig, lakehouse: dg.ResourceParam[Lakehouse]
) -> None:
    """Pack months of many small files, and remove what was displaced a day ago."""
    with _keeping(config, lakehouse):
        claim_run(context.instance, context.run_id)
        facts = tidy_lake(lakehouse, is_forced=config.every_month)
    context.add_output_metadata(
        {
            "months": facts.months,
            "packed": facts.packed,
            "removed": facts.removed,
            "removed_bytes": facts.removed_bytes,
        }
    )
    if facts.skipped:
        raise fail_months([f"{month}: {why}" for month, why in facts.skipped.items()], "not packed")


def _make_job(name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
    @dg.job(name=name, description=description)
    def job() -> None:
        op()

    return job


repair_job = _make_job(
    "repair_lake", repair, "Move damaged files to quarantine; their sessions are missing again."
)
reconcile_job = _make_job(
    "reconcile_partitions", reconcile, "Make the partition states of Dagster equal to the lake's."
)
reindex_job = _make_job(
    "reindex_ledger", reindex, "Rebuild the ledger from what is stored and the published plan."
)
import_job = _make_job(
    "import_archive",
    import_files,
    "Judge an archive of other files; import what agrees with its daily bars.",
)
relocate_job = _make_job(
    "relocate_lake",
    relocate,
    "Move the lake to a folder on another disk, and empty the old place.",
)
tidy_job = _make_job(
    "tidy_lake", tidy, "Pack months of segments in few files; remove what that displaced."
)


def _note(
    found: Iterable[ImportedSession | Stray], lines: list[str]
) -> Iterator[ImportedSession | Stray]:
    """Yield everything in an archive; ``lines`` takes what is told of it, as far as it is shown."""
    for item in found:
        if len(lines) < SHOWN_ROWS:
            lines += list_lines(item)
        yield item


@contextmanager
def _keeping(config: LaunchConfig, lakehouse: Lakehouse) -> Iterator[None]:
    """Do for a lake that there is what a config asks for that is understood."""
    with dagster_failures():
        config.check()
        require_lake(lakehouse.home)
        yield


@contextmanager
def _writing(context: dg.OpExecutionContext, lakehouse: Lakehouse) -> Iterator[None]:
    """Hold the lake for a run that is claimed, so that its death is noticed."""
    with lakehouse.writing(f"the job {context.job_name}", 0.0):
        claim_run(context.instance, context.run_id)
        yield


def _read_folder(name: str, text: str) -> Path:
    """Take a folder from the config of a job.

    Raises:
        ConfigError: It is none, or it is relative: nobody knows the working folder of a run.
    """
    try:
        folder = expand_path(Path(text))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    if not folder.is_absolute() or "\0" in text:
        raise ConfigError(
            f"{name}={text!r}: expected the absolute path of a folder, such as /mnt/{name}"
        )
    return folder
