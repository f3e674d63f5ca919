"""The user's story in Dagster's UI: plan, automate, kill, fail, terminate, backfill, audit.

What belongs here: the steps and what they promise.  It is one test, because starting the UI takes
longer than any step.
"""

from dataclasses import dataclass
from itertools import pairwise

import pytest

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.sessions import day_bounds_ns
from smallcaps_assets.defs.jobs import DOWNLOAD_JOB, PLAN_JOB
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.operations.audit.last_audit import AUDITS
from smallcaps_assets_tests.browser.dagster_ui import DagsterUi, PartitionCounts, wait_for
from smallcaps_assets_tests.browser.pages import CHECKS, GROUPS, LINEAGE, PARTITIONS, Pages
from smallcaps_assets_tests.browser.terminal import MORE_TICKERS, Terminal, range_tags

pytestmark = pytest.mark.browser

ASSETS = (
    *("daily_bars", "splits", "universe", "watchlist", "pilot_watchlist"),
    *("event_window_plan", "download_estimate", "download_queue"),
    *("trades", "lake_catalog", "download_report"),
)
SLOW = Fault("slow", endpoint="trades", seconds=3.0)
"""Lets a run be caught halfway."""


@dataclass(frozen=True)
class Story:
    """Where the story takes place.

    Attributes:
        vendor: Where trades come from.
        terminal: A terminal beside the UI.
        ui: The UI's process.
        pages: Its pages.
    """

    vendor: EmulatorServer
    terminal: Terminal
    ui: DagsterUi
    pages: Pages

    def compare_counts(self) -> PartitionCounts:
        """Return the counts on which page, GraphQL and ledger agree; no run is alive.

        After a broken run the sensor may have to look at it first.
        """
        wait_for(self._do_counts_agree, "Dagster shows what the lake has")
        shown = self.ui.count_partitions()
        self.pages.count_partitions(shown)
        return shown

    def _do_counts_agree(self) -> bool:
        shown = self.ui.count_partitions()
        green = len(self.terminal.find_green())
        left = sum(self.terminal.count_states().values()) - green
        seen = (shown.materialized, shown.failed + shown.missing, shown.materializing)
        return seen == (green, left, 0)

    def find_asked_keys(self) -> set[str]:
        """Return the planned keys whose trades were asked for since the vendor was reset."""
        spans = [
            (r.path.rpartition("/")[2], int(r.query["timestamp.gte"]), int(r.query["timestamp.lt"]))
            for r in self.vendor.requests
            if r.path.startswith("/v3/trades/")
        ]
        bounds = {key: decode_key(key) for key in self.terminal.list_keys()}
        return {
            key
            for key, (ticker, date) in bounds.items()
            for asked, start_ns, end_ns in spans
            if asked == ticker and start_ns <= day_bounds_ns(date, date)[0] < end_ns
        }

    def start_slowly(self, keys: list[str]) -> str:
        """Start a run over neighbouring keys, and return its id when it has finished some."""
        self.vendor.faults = [SLOW]
        finished = self.terminal.find_green()
        run_id = self.ui.launch(DOWNLOAD_JOB, range_tags(keys))
        wait_for(lambda: self.terminal.find_green() > finished, "a session is finished")
        return run_id


def test_a_download_in_the_ui_survives_what_happens_to_it(
    vendor: EmulatorServer, terminal: Terminal, screens: tuple[DagsterUi, Pages]
) -> None:
    story = Story(vendor, terminal, *screens)

    story.pages.open(LINEAGE, *ASSETS, *GROUPS)
    materialize_the_plan(story)
    kill_what_the_sensor_launched(story)
    let_the_plan_grow(story)
    failed_key = fail_one_session(story)
    terminate_a_run(story)
    damage_and_repair_a_file(story)
    wanted = launch_the_rest(story)
    read_the_report(story)
    see_the_backfill_complete(story, wanted)

    assert failed_key in wanted
    assert story.pages.list_checks() == {audit.name: "Succeeded" for audit in AUDITS}
    take_last_pictures(story)


def materialize_the_plan(story: Story) -> None:
    """The job of the plan, launched from its page, makes the partitions; nothing is downloaded."""
    story.pages.materialize_job(PLAN_JOB)

    assert story.ui.wait_for_job(PLAN_JOB) == "SUCCESS"
    planned = len(story.terminal.list_keys())
    assert planned > 0
    assert story.compare_counts() == PartitionCounts(0, 0, 0, missing=planned)
    story.pages.open("/assets/event_window_plan?view=overview", "From pilot_watchlist (events)")
    story.pages.take_picture("columns")


def kill_what_the_sensor_launched(story: Story) -> None:
    """The sensor launches one backfill of the new plan; what its killed run finished stays."""
    story.vendor.faults = [SLOW]
    story.pages.switch_sensor("download_after_plan", is_on=True)
    wait_for(lambda: bool(story.ui.find_backfills()), "the sensor asks for a backfill")
    (backfill,) = story.ui.find_backfills()
    wait_for(lambda: bool(story.terminal.find_green()), "a session is finished")
    (run,) = story.ui.find_runs(backfill["id"])
    story.pages.switch_sensor("download_after_plan", is_on=False)

    story.ui.find_worker(run["runId"]).kill()
    finished = story.terminal.find_green()

    assert backfill["numPartitions"] == len(story.terminal.list_keys())
    assert story.ui.wait_for_end(run["runId"]) in {"CANCELED", "FAILURE"}
    assert story.terminal.find_green() == finished
    story.compare_counts()


def let_the_plan_grow(story: Story) -> None:
    """Partitions follow a larger plan; what is green stays green."""
    before = story.terminal.find_green()
    keys = story.terminal.list_keys()

    story.terminal.plan(pilot_tickers=MORE_TICKERS)

    assert set(keys) < set(story.terminal.list_keys())
    assert story.compare_counts().materialized == len(before)


def fail_one_session(story: Story) -> str:
    """A session that the vendor cannot serve is red; the others of its ticker are green."""
    before = story.compare_counts()
    ticker, _ = decode_key(story.terminal.list_missing()[-1])
    asked = [key for key in story.terminal.list_missing() if decode_key(key)[0] == ticker]
    key = asked[2]
    fault = Fault("500", endpoint="trades", ticker=ticker, date=decode_key(key)[1])
    story.vendor.faults = [fault]

    assert not story.terminal.download(ticker)

    counts = story.compare_counts()
    assert counts.failed == before.failed + 1
    assert counts.materialized == before.materialized + len(asked) - 1
    events = f"{PARTITIONS}&partition={key}&showAllEvents=true"
    story.pages.open(events, "failed, and did not materialize", "Observation")
    story.pages.click_element("//tr[contains(., 'Observation')]//td[1]//*")
    story.pages.wait_for("500")
    story.pages.take_picture("failed_session")
    return key


def terminate_a_run(story: Story) -> None:
    """What a terminated run has finished stays green."""
    run_id = story.start_slowly(story.terminal.list_missing())
    story.pages.open(f"/runs/{run_id}", "Terminate")
    story.pages.take_picture("running")

    story.pages.click("Terminate")
    story.pages.click("Terminate 1 run")

    assert story.ui.wait_for_end(run_id) == "CANCELED"
    story.compare_counts()
    story.pages.take_picture("partitions")


def damage_and_repair_a_file(story: Story) -> None:
    """A flipped byte turns a check red that names the session, until it is downloaded again."""
    key = min(story.terminal.find_green())
    ticker, session_date = decode_key(key)
    story.terminal.damage(key)

    story.terminal.audit()

    assert story.pages.list_checks()["files_are_undamaged"] == "Failed"
    story.pages.open(f"{CHECKS}&checkDetail=files_are_undamaged", ticker, str(session_date))
    story.pages.take_picture("damaged_file")
    story.terminal.forget(key)
    assert story.terminal.download_session(key)
    assert story.terminal.audit()["files_are_undamaged"].passed
    assert story.pages.list_checks()["files_are_undamaged"] == "Succeeded"
    story.compare_counts()


def launch_the_rest(story: Story) -> set[str]:
    """Launch a backfill of failed and missing partitions from their page; return their keys."""
    story.vendor.reset()
    wanted = set(story.terminal.list_keys()) - story.terminal.find_green()
    before = len(story.ui.find_backfills())
    story.pages.open(PARTITIONS, "Missing (")

    story.pages.click("Materialize\u2026")
    story.pages.click("Failed and missing")
    story.pages.wait_for(f"{len(wanted)} partitions")
    story.pages.take_picture("launch_backfill")
    story.pages.click("Launch backfill")

    wait_for(lambda: len(story.ui.find_backfills()) > before, "the backfill is requested")
    return wanted


def read_the_report(story: Story) -> None:
    """The asset of the report leads to its page, which says what to do; Dagster waits meanwhile."""
    page = story.terminal.report()

    story.pages.open("/assets/download_report?view=overview", str(page))
    story.pages.open_file(page, "expand")


def see_the_backfill_complete(story: Story, wanted: set[str]) -> None:
    """Its runs wait for one another, ask for what was open and nothing else, and complete."""
    wait_for(lambda: story.terminal.find_green() >= wanted, "everything is green")
    backfill = story.ui.find_backfills()[0]
    runs = story.ui.find_runs(backfill["id"])

    assert [story.ui.wait_for_end(run["runId"]) for run in runs] == ["SUCCESS"] * len(runs)
    assert len(runs) > 1
    runs = story.ui.find_runs(backfill["id"])
    assert all(one["endTime"] <= two["startTime"] for one, two in pairwise(runs))
    assert story.find_asked_keys() == wanted
    counts = story.compare_counts()
    assert counts == PartitionCounts(0, len(story.terminal.list_keys()), 0, 0)
    story.pages.take_picture("complete", f"{PARTITIONS}&partition={min(wanted)}", "content_hash")


def take_last_pictures(story: Story) -> None:
    """Take the pictures that only the documentation needs."""
    pages = story.pages
    if pages.pictures is None:
        return
    pages.take_picture("automation", "/automation", "download_after_plan", "watch_freshness")
    pages.take_picture("checks", f"{CHECKS}&checkDetail=volume_matches_the_bar", "Latest execution")
    pages.open("/assets/download_estimate?view=overview", "naive_against_optimised")
    pages.click_element("//tr[contains(., 'naive_against_optimised')]//*[text()='[Show Markdown]']")
    pages.take_picture("estimate")
    pages.widen_lineage()
    pages.take_picture("lineage")
    # Dagster looks at its backfills every 30 s, which is too long for the test itself.
    wait_for(lambda: story.ui.find_backfills()[0]["status"] == "COMPLETED_SUCCESS", "it is over")
    pages.take_picture("backfill", f"/runs/b/{story.ui.find_backfills()[0]['id']}", "trades")
