"""Runs in this process: the code location of a lakehouse on an instance of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster._core.execution.plan.objects import UserFailureData

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.lakehouse_factories import open_memory

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
NO_TELEMETRY = {"telemetry": {"enabled": False}}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Site:
    """A lakehouse, and the Dagster instance that its runs are kept in."""

    lakehouse: Lakehouse
    instance: dg.DagsterInstance

    @property
    def keys(self) -> list[str]:
        """Return the registered partition keys of `trades`, in their order."""
        return list(self.instance.get_dynamic_partitions(PLANNED_SET))

    def run(
        self,
        job: str,
        tags: Mapping[str, str] | None = None,
        ops: Mapping[str, object] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, whatever comes of it; ``ops`` is what the launchpad sets."""
        return (
            build_definitions(self.lakehouse)
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                tags=dict(tags or {}),
                raise_on_error=False,
                run_config={**QUIET, "ops": dict(ops or {})},
            )
        )

    def run_range(self, job: str, first: str, last: str) -> dg.ExecuteInProcessResult:
        """Run a job over a range of partitions."""
        return self.run(job, {RANGE_START: first, RANGE_END: last})

    def download(self) -> dg.ExecuteInProcessResult:
        """Run `download_missing` over all registered keys."""
        return self.run_range("download_missing", self.keys[0], self.keys[-1])


@contextmanager
def open_site(lakehouse: Lakehouse) -> Iterator[Site]:
    """Open an instance that lies in memory, where there is such a disk, and ends with the block."""
    with (
        open_memory() as folder,
        dg.DagsterInstance.local_temp(str(folder), overrides=NO_TELEMETRY) as instance,
    ):
        yield Site(lakehouse, instance)


def find_failures(result: dg.ExecuteInProcessResult) -> list[UserFailureData]:
    """Return what the failed steps of a run raised on purpose."""
    events = [event for event in result.all_events if event.is_step_failure]
    parts = [event.step_failure_data.user_failure_data for event in events]
    return [part for part in parts if part is not None]


def describe_failures(result: dg.ExecuteInProcessResult) -> str:
    """Return what the failed steps of a run say."""
    return " ".join(failure.description or "" for failure in find_failures(result))


def read_checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """Return the evaluations of a run by the name of the check."""
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def read_latest_checks(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """Return the newest evaluation of every audit, as the page of checks shows it."""
    keys = [dg.AssetCheckKey(dg.AssetKey("trades"), audit.name) for audit in AUDITS]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = [record.evaluation for record in found.values()]
    return {one.check_name: one for one in evaluations if one is not None}
