"""`smallcaps ui` as its user runs it: a process, asked by GraphQL as its own pages ask.

What belongs here: the process, what Dagster shows as numbers, runs launched and awaited.  What
does not: what the pages look like (``pages``).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil
import requests

from smallcaps_assets.defs.instance.runs import OWNER_TAG
from smallcaps_assets.lake.storage.processes import parse_identity
from smallcaps_assets_tests.cli.cli_factories import find_free_port
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

PATIENCE_S: Final = 180.0
GRACE_S: Final = 3.0
"""Dagster's own end takes up to ten seconds; nothing here is worth that wait."""
BACKFILL_TAG: Final = "dagster/backfill"
ENDS: Final = {"SUCCESS", "FAILURE", "CANCELED"}
LOCATION: Final = "smallcaps_assets.definitions"

PARTITIONS: Final = """query {assetNodeOrError(assetKey: {path: ["trades"]}) {... on AssetNode {
    partitionStats {numFailed numMaterialized numMaterializing numPartitions}}}}"""
RUN: Final = """query ($run: ID!) {runOrError(runId: $run) {... on Run {
    runId status startTime endTime tags {key value}}}}"""
RUNS: Final = """query ($filter: RunsFilter!) {
    runsOrError(filter: $filter) {
    ... on Runs {results {runId status startTime endTime}}}}"""
BACKFILLS: Final = """query {partitionBackfillsOrError(limit: 10) {
    ... on PartitionBackfills {results {id status numPartitions}}}}"""
LAUNCH: Final = """mutation ($execution: ExecutionParams!) {launchRun(executionParams: $execution) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""


@dataclass(frozen=True, slots=True)
class PartitionCounts:
    """What the partitions page of `trades` says.

    Attributes:
        failed: Red ones.
        materialized: Green ones.
        materializing: Those of living runs.
        missing: The rest.
    """

    failed: int
    materialized: int
    materializing: int
    missing: int


class DagsterUi:
    """`smallcaps ui` in an environment of its own.

    Attributes:
        url: Address of the web server.
        log: What the process wrote.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "ui.log"
        kept = {name: text for name, text in os.environ.items() if "SMALLCAPS" not in name}
        with self.log.open("wb") as log:
            self._process = psutil.Popen(
                [sys.executable, "-m", "smallcaps_assets.cli", "ui", "--port", str(port)],
                env=kept | {"PYTHONPATH": str(REPO_ROOT)} | dict(settings),
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is not None:
            return
        family = self._process.children(recursive=True)
        self._process.terminate()
        _, alive = psutil.wait_procs([self._process, *family], timeout=GRACE_S)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=PATIENCE_S)

    def stop(self) -> tuple[int, list[psutil.Process]]:
        """Stop it as a service manager does; return its exit code, and what it left behind."""
        family = self._process.children(recursive=True)
        self._process.terminate()
        code: int = self._process.wait(PATIENCE_S)
        # Code servers end by themselves once nobody asks them any more.
        return code, psutil.wait_procs(family, timeout=PATIENCE_S)[1]

    def wait_until_up(self) -> None:
        """Wait until the web server answers."""
        wait_for(self._is_up, "the UI answers")

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the single member of the answer to a GraphQL query."""
        body = {"query": query, "variables": variables}
        answer = requests.post(f"{self.url}/graphql", json=body, timeout=PATIENCE_S).json()
        assert not answer.get("errors"), answer["errors"]
        (member,) = answer["data"].values()
        found: dict[str, Any] = member
        return found

    def count_partitions(self) -> PartitionCounts:
        """Return the counts of `trades` by GraphQL."""
        stats = self.ask(PARTITIONS)["partitionStats"]
        failed, materialized = stats["numFailed"], stats["numMaterialized"]
        materializing = stats["numMaterializing"]
        missing = stats["numPartitions"] - failed - materialized - materializing
        return PartitionCounts(failed, materialized, materializing, missing)

    def launch(self, job: str, tags: Mapping[str, str]) -> str:
        """Launch a run of a job as the launchpad does, and return its id."""
        selector = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
        execution = {
            "selector": selector | {"jobName": job},
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }
        launched = self.ask(LAUNCH, execution=execution)
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def find_run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return self.ask(RUN, run=run_id)

    def wait_for_end(self, run_id: str) -> str:
        """Wait until a run has ended, and return its status."""
        wait_for(lambda: self.find_run(run_id)["status"] in ENDS, f"run {run_id} ends")
        return str(self.find_run(run_id)["status"])

    def find_worker(self, run_id: str) -> psutil.Process:
        """Return the process that executes a run; it belongs to this UI."""
        tags = {tag["key"]: tag["value"] for tag in self.find_run(run_id)["tags"]}
        owner = parse_identity(tags[OWNER_TAG])
        assert owner is not None
        family = {process.pid: process for process in self._process.children(recursive=True)}
        return family[owner.pid]

    def find_backfills(self) -> list[dict[str, Any]]:
        """Return the backfills, the newest first."""
        backfills: list[dict[str, Any]] = self.ask(BACKFILLS)["results"]
        return backfills

    def find_runs(self, backfill: str) -> list[dict[str, Any]]:
        """Return the runs of a backfill, in the order of their start."""
        return self._list_runs(tags=[{"key": BACKFILL_TAG, "value": backfill}])

    def wait_for_job(self, job: str) -> str:
        """Wait until the only run of a job has ended, and return its status."""
        wait_for(lambda: bool(self._list_runs(pipelineName=job)), f"{job} is launched")
        (run,) = self._list_runs(pipelineName=job)
        return self.wait_for_end(run["runId"])

    def _list_runs(self, **wanted: object) -> list[dict[str, Any]]:
        runs = self.ask(RUNS, filter=wanted)["results"]
        return sorted(runs, key=lambda run: run["startTime"] or float("inf"))

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.url}/server_info", timeout=1).ok
        except requests.RequestException:
            return False


def wait_for(is_true: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain until {what}"
        time.sleep(0.2)
