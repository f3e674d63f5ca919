"""The runs behind `smallcaps plan`: reference data where they are due, then the plan."""

from collections.abc import Sequence

import dagster as dg
from rich.console import Console
from rich.markup import escape

from smallcaps_assets.cli.runs.workplace import Workplace
from smallcaps_assets.defs.failures import describe_failure, is_refusal, list_warnings
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.jobs import PLAN_JOB, REFERENCE_JOB, SESSIONS_JOB, UNIVERSE_JOB
from smallcaps_assets.defs.partitions import month_spans
from smallcaps_assets.errors import RefusedFileError, SmallcapsError
from smallcaps_assets.ingest.plan.choosing import check_choice
from smallcaps_assets.ingest.reference.daily_bars import due_months
from smallcaps_assets.schemas import WATCHLIST
from smallcaps_assets.settings import OutsideUniverse, PlanMode

WARNINGS = (
    "daily_bars_are_whole",
    "splits_do_not_contradict",
    "planned_tickers_are_known",
    "universe_symbols_are_known",
    "universe_plan_holds_the_delisted",
)
"""Checks that stop nothing and whose words belong on the screen of a plan."""
OUTSIDE = ("outside_universe_rows", "outside_universe_tickers", "outside_universe_action")
"""Metadata of `watchlist` that tell of rows outside the universe."""


def run_plan(work: Workplace, console: Console) -> bool:
    """Refresh what is due and run the plan; return whether a plan was published.

    Raises:
        ConfigError: The settings ask for what no plan can be made of.
        RefusedFileError: A file that the settings name is refused.
    """
    check_choice(work.lakehouse)
    refresh_reference(work, console)
    is_plain = work.settings.plan_mode is PlanMode.SESSIONS
    run = work.run_job(SESSIONS_JOB if is_plain else PLAN_JOB)
    if run.is_success:
        report_warnings(work, run, console)
        if not is_plain:
            report_outside(work, console)
        return True
    if is_refusal(work.instance, run):
        raise explain_failure(work, run)
    report_failure(work, run, console)
    return False


def refresh_reference(work: Workplace, console: Console) -> None:
    """Materialize splits and the months of daily bars that are missing.

    Rules need the bars; an imported watchlist and plain sessions do not: without them sessions
    are stored all the same, and what is empty stays unverified.

    Raises:
        ConfigError: The vendor has to be asked, and its key is not set.
        SmallcapsError: The rules need what is not whole.
    """
    if work.settings.daily_bars is None:
        work.settings.require_key()
    import_universe(work, console)
    is_optional = not work.settings.has_rules
    problems: list[SmallcapsError] = []
    if not is_optional:
        problems += _run(work, "refresh_splits", {}, console)
    problems += refresh_bars(work, due_months(work.lakehouse), console)
    if not problems:
        return
    if not is_optional:
        raise type(problems[0])(f"reference data are not whole: {'; '.join(map(str, problems))}")
    report_bars(problems[0], console)


def refresh_bars(work: Workplace, months: Sequence[str], console: Console) -> list[SmallcapsError]:
    """Materialize months of daily bars; return why some are not whole."""
    problems: list[SmallcapsError] = []
    for first, last in month_spans(months):
        console.print(f"daily bars: {first[:7]} to {last[:7]}")
        problems += _run(work, REFERENCE_JOB, {RANGE_START: first, RANGE_END: last}, console)
    return problems


def report_bars(problem: SmallcapsError, console: Console) -> None:
    """Print that bars which are not needed are not whole."""
    console.print(f"[yellow]without daily bars nothing can be proven against them: {problem}")


def explain_failure(work: Workplace, run: dg.DagsterRun) -> SmallcapsError:
    """Explain why a run failed, as an error that ends the command as it should."""
    text = "; ".join(describe_failure(work.instance, run))
    return RefusedFileError(text) if is_refusal(work.instance, run) else SmallcapsError(text)


def import_universe(work: Workplace, console: Console) -> None:
    """Read the file of listings, where one is named; the vendor's take hours, on request.

    Raises:
        SmallcapsError: It is not published; the message says why.
    """
    if work.settings.universe is None:
        return
    if problems := _run(work, UNIVERSE_JOB, {}, console):
        raise type(problems[0])(f"the universe is not published: {problems[0]}")


def report_outside(work: Workplace, console: Console) -> None:
    """Print how many rows of the watchlist lie outside the universe, unless they are to be kept."""
    event = work.instance.get_latest_materialization_event(dg.AssetKey(WATCHLIST.name))
    if event is None or event.asset_materialization is None:
        return
    metadata = event.asset_materialization.metadata
    shown = {name: metadata[name].value for name in OUTSIDE if name in metadata}
    if len(shown) < len(OUTSIDE) or not shown["outside_universe_rows"]:
        return
    rows, tickers, action = shown.values()
    if action != OutsideUniverse.KEEP.value:
        done = "dropped" if action == OutsideUniverse.DROP.value else "kept"
        console.print(
            f"[yellow]{rows} watchlist rows of {tickers} tickers lie outside the universe and were "
            f"{done}; the page of `watchlist` in `smallcaps ui` lists them"
        )


def report_failure(work: Workplace, run: dg.DagsterRun, console: Console) -> None:
    """Print why a run failed: failed steps, and checks that stopped it."""
    for text in describe_failure(work.instance, run):
        console.print(f"[red]{text}", highlight=False)


def report_warnings(work: Workplace, run: dg.DagsterRun, console: Console) -> None:
    """Print what a run found worth a look and did not stop for."""
    for text, is_red in list_warnings(work.instance, run, WARNINGS):
        console.print(f"[{'red' if is_red else 'yellow'}]{escape(text)}", highlight=False)


def _run(work: Workplace, job: str, tags: dict[str, str], console: Console) -> list[SmallcapsError]:
    run = work.run_job(job, tags)
    if not run.is_success:
        return [explain_failure(work, run)]
    report_warnings(work, run, console)
    return []
