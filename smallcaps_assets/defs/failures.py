"""Our errors, told to Dagster as one :class:`dagster.Failure`, and what a run says of its own."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from smallcaps_assets.core.figures import format_count
from smallcaps_assets.defs.instance.internals import DagsterAssetCheckFailedError, StepFailureData
from smallcaps_assets.errors import ConfigError, RefusedFileError, SmallcapsError

REFUSED = "is_refused"
"""Metadata of a failure: what a person handed in was refused."""


class LaunchConfig(dg.PermissiveConfig):
    """What a person gives a run in the launchpad; what is unknown is refused by `check`."""

    def check(self) -> None:
        """Refuse names that are none of the config's, which Dagster would by a class of its own.

        Raises:
            ConfigError: There is one; the message says which are allowed.
        """
        if unknown := sorted(self.model_extra or ()):
            known = ", ".join(sorted(type(self).model_fields))
            raise ConfigError(f"unknown config {unknown[0]!r}: expected any of {known}")


@contextmanager
def dagster_failures() -> Iterator[None]:
    """Turn an error of ours into a failure that Dagster shows and does not retry.

    Retries belong to the vendor's client; what is left needs a person.
    """
    try:
        yield
    except SmallcapsError as error:
        metadata: dict[str, str | bool] = {
            "kind": error.kind,
            "what_to_do": f"docs/{error.page.replace('#', '.md#')}",
        }
        if isinstance(error, RefusedFileError):
            metadata[REFUSED] = True
        raise dg.Failure(description=str(error), metadata=metadata, allow_retries=False) from error


def fail_months(failed: Sequence[str], what: str) -> dg.Failure:
    """Make the one failure that ends a step some of whose months are red."""
    months = format_count(len(failed), "month")
    return dg.Failure(
        description=f"{months} {what}: {'; '.join(failed[:3])}",
        metadata={"problems": dg.MetadataValue.json(list(failed))},
        allow_retries=False,
    )


def describe_failure(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Describe every failed step or blocking check of a run in one line."""
    lines = []
    for record in instance.all_logs(run.run_id):
        event = record.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            # What a blocking check stopped is told by the check.
            if text := _explain_step(event.step_failure_data, run.run_id):
                lines.append(f"{event.step_key}: {text}")
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            is_cause = evaluation.severity is dg.AssetCheckSeverity.ERROR
            if is_cause and not evaluation.passed:
                summary = evaluation.metadata.get("summary")
                why = summary.value if summary else "failed"
                lines.append(f"check {evaluation.check_name}: {why}")
    return lines or [f"run {run.run_id} ended as {run.status.value}"]


def is_refusal(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Say whether a run failed because a file that a person handed in was refused."""
    found = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    events = (record.dagster_event for record in found)
    failures = (event.step_failure_data.user_failure_data for event in events if event is not None)
    return any(failure is not None and REFUSED in failure.metadata for failure in failures)


def list_warnings(
    instance: dg.DagsterInstance, run: dg.DagsterRun, names: Collection[str]
) -> list[tuple[str, bool]]:
    """List the checks of ``names`` that did not hold: a line of each, and whether it is red."""
    records = instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    events = (record.event_log_entry.dagster_event for record in records)
    found = [event.asset_check_evaluation_data for event in events if event is not None]
    return [
        (
            f"{evaluation.check_name}: {evaluation.metadata['summary'].value}",
            evaluation.severity is dg.AssetCheckSeverity.ERROR,
        )
        for evaluation in found
        if evaluation.check_name in names and not evaluation.passed
    ]


def _explain_step(data: StepFailureData, run_id: str) -> str:
    """Explain why a step failed, in words of ours; empty where a blocking check says it."""
    failure, error = data.user_failure_data, data.error
    if failure and failure.description:
        return failure.description.strip()
    while error and error.cause:
        error = error.cause
    if error and error.cls_name == DagsterAssetCheckFailedError.__name__:
        return ""
    # The first word of a message is the name of a class, in some module of some library.
    _, _, said = error.message.strip().partition(": ") if error else ("", "", "")
    first = said.splitlines()[0] if said else "no reason given"
    return (
        f"a fault of this program, please report it: {first} (its trace: the run {run_id[:8]} in "
        "`smallcaps ui`)"
    )
