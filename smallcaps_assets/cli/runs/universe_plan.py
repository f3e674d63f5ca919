"""The runs behind `smallcaps plan --universe`: listings and daily bars, then the plan."""

from rich.console import Console

from smallcaps_assets.cli.runs.plan import (
    explain_failure,
    import_universe,
    refresh_bars,
    report_bars,
    report_failure,
    report_warnings,
)
from smallcaps_assets.cli.runs.workplace import Workplace
from smallcaps_assets.cli.screens.universe_plan import print_universe
from smallcaps_assets.defs.failures import is_refusal
from smallcaps_assets.defs.jobs import UNIVERSE_PLAN_JOB
from smallcaps_assets.ingest.reference.daily_bars import due_months, whole_months
from smallcaps_assets.ingest.universe.planning import bound_months
from smallcaps_assets.ingest.universe.symbols import read_symbols
from smallcaps_assets.schemas import UNIVERSE_PLAN


def run_universe_plan(work: Workplace, console: Console, *, is_accepted: bool) -> bool:
    """Refresh what is due, run the plan and print it; return whether it was published.

    Daily bars show what a listing does not, and prove sessions; a plan is made without them too.

    Raises:
        ConfigError: No month is over, or the vendor has to be asked and its key is not set.
        RefusedFileError: The file of symbols, or another that the settings name, is refused.
    """
    lakehouse = work.lakehouse
    bound_months(lakehouse)
    if work.settings.tickers_file is not None:
        read_symbols(work.settings.tickers_file)
    if work.settings.daily_bars is None:
        work.settings.require_key()
    import_universe(work, console)
    months = due_months(lakehouse, whole_months(lakehouse))
    if problems := refresh_bars(work, months, console):
        report_bars(problems[0], console)
    config = {UNIVERSE_PLAN.name: {"accept": is_accepted}}
    run = work.run_job(UNIVERSE_PLAN_JOB, config=config)
    if run.is_success:
        print_universe(lakehouse, console)
        report_warnings(work, run, console)
        return True
    if is_refusal(work.instance, run):
        raise explain_failure(work, run)
    report_failure(work, run, console)
    return False
