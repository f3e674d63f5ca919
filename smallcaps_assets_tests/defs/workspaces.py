"""What the UI asks of Dagster, asked without a browser: GraphQL on the instance of a home.

What does not belong here: commands and processes of ours (``defs_factories``).
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_graphql.schema import create_schema

from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.jobs import DOWNLOAD_JOB
from smallcaps_assets_tests.defs.defs_factories import Home

MODULE: Final = "smallcaps_assets.definitions"
LOCATION: Final = "smallcaps_assets"
STATS: Final = """
{ assetNodeOrError(assetKey: {path: ["trades"]}) { ... on AssetNode { partitionStats {
    numPartitions numMaterialized numFailed numMaterializing } } } }
"""
LAUNCH: Final = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    ... on LaunchRunSuccess { run { runId } } } }
"""
TERMINATE: Final = """
mutation ($runId: String!) { terminateRun(runId: $runId) { __typename } }
"""


def ask(
    workspace: BaseWorkspaceRequestContext,
    query: str,
    variables: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the answer to a query of the UI."""
    asked = create_schema().execute_async(query, None, workspace, dict(variables or {}))
    answer = asyncio.run(asked)
    assert not answer.errors, answer.errors
    data: dict[str, Any] = answer.data
    return data


def query_stats(instance: dg.DagsterInstance) -> dict[str, int]:
    """Return the counts that the page of `trades` shows."""
    origin = LoadableTargetOrigin(module_name=MODULE)
    with in_process_test_workspace(instance, origin) as workspace:
        stats: dict[str, int] = ask(workspace, STATS)["assetNodeOrError"]["partitionStats"]
    return stats


@dataclass(frozen=True)
class Desk:
    """The UI's side of a home: a code server that launches runs as processes of their own."""

    instance: dg.DagsterInstance
    process: WorkspaceProcessContext

    def launch(self, first: str, last: str) -> str:
        """Launch a download of a range, as the UI and the daemon do; return the run's id."""
        workspace = self.process.create_request_context()
        repository = next(iter(workspace.code_locations[0].get_repositories()))
        params = {
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": repository,
                "jobName": DOWNLOAD_JOB,
            },
            "runConfigData": {},
            "executionMetadata": {
                "tags": [{"key": RANGE_START, "value": first}, {"key": RANGE_END, "value": last}]
            },
        }
        run_id: str = ask(workspace, LAUNCH, {"params": params})["launchRun"]["run"]["runId"]
        self.instance.launch_run(run_id, workspace)
        return run_id

    def terminate(self, run_id: str) -> None:
        """Do what the button Terminate does."""
        answer = ask(self.process.create_request_context(), TERMINATE, {"runId": run_id})
        assert answer["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def find_run(self, run_id: str) -> dg.DagsterRun:
        """Return a run as it is now."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run


@contextmanager
def open_desk(home: Home) -> Iterator[Desk]:
    """Serve the definitions of a home."""
    target = ModuleTarget(MODULE, None, str(home.folder), LOCATION)
    with pytest.MonkeyPatch.context() as patch, home.open_instance() as instance:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        with WorkspaceProcessContext(instance, target) as process:
            yield Desk(instance, process)
