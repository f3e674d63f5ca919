"""`smallcaps plan`: reference data, watchlist, plan and estimate, through Dagster."""

import datetime as dt
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import polars as pl
from click.core import ParameterSource

from smallcaps_assets.cli.runs.plan import run_plan
from smallcaps_assets.cli.runs.universe_plan import run_universe_plan
from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.cli.screens.plan import print_change, print_choice, print_estimate
from smallcaps_assets.cli.screens.terminal import open_console
from smallcaps_assets.cli.screens.universe_plan import print_universe_change
from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.core.plan.ranges import MAX_KEYS
from smallcaps_assets.errors import DataError, LakeError
from smallcaps_assets.ingest.plan.choosing import check_choice
from smallcaps_assets.ingest.plan.difference import measure_change
from smallcaps_assets.ingest.plan.document import document_change
from smallcaps_assets.ingest.plan.selection import parse_tickers
from smallcaps_assets.ingest.universe.document import document_universe_change
from smallcaps_assets.ingest.universe.publishing import measure_universe
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import PlanMode

FILE = click.Path(exists=True, path_type=Path)
UNIVERSE_OPTIONS = frozenset(
    {"is_universe", "tickers_file", "first", "last", "is_diff", "is_accepted", "as_json"}
)
"""Names of the options that go with a universe."""
DATE = click.DateTime(["%Y-%m-%d"])


@click.command("plan")
@click.option(
    "--watchlist",
    "watchlists",
    type=FILE,
    multiple=True,
    help="File or folder of a watchlist instead of the rules; several are united.",
)
@click.option(
    "--pilot", type=click.IntRange(min=0), help="Tickers of the pilot; 0 takes all of them."
)
@click.option(
    "--budget-gb",
    type=click.FloatRange(min=0, min_open=True),
    help="Take only as many tickers as fit these GB and 80 % of the free disk.",
)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in PlanMode]),
    help="Windows around events, their whole months, or plain sessions.",
)
@click.option("--tickers", help="Every session of these, separated by commas; no events.")
@click.option("--events", help="Plan these events alone, separated by commas: E8,E10,E11.")
@click.option(
    "--events-by-win-rate",
    type=click.IntRange(1, 11),
    help="Plan so many events alone: those with the best win rates of `smallcaps research`.",
)
@click.option(
    "--rank-until", type=DATE, help="Rank tickers by events before this date, for a study after it."
)
@click.option("--from", "first", type=DATE, help="First session wanted.")
@click.option("--to", "last", type=DATE, help="Last session wanted, included.")
@click.option("--batch", help="Part of the plan, by tickers: 2/5, or several as 1/5,2/5.")
@click.option(
    "--universe",
    "is_universe",
    is_flag=True,
    help="Whole months of all listings, or of the tickers of a file; no events.",
)
@click.option(
    "--tickers-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Symbols of the universe, one a line, instead of the listings.",
)
@click.option(
    "--yes",
    "is_accepted",
    is_flag=True,
    help="Publish a universe although it reopens or drops much.",
)
@click.option("--diff", "is_diff", is_flag=True, help="Say what would change; publish nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the difference as JSON.")
@click.option(
    "--by-constants",
    is_flag=True,
    help="Estimate by the constants that people quote too: far too high for small caps.",
)
def command(  # noqa: PLR0913  an option each
    *,
    watchlists: tuple[Path, ...],
    pilot: int | None,
    budget_gb: float | None,
    mode: str | None,
    tickers: str | None,
    events: str | None,
    events_by_win_rate: int | None,
    rank_until: dt.datetime | None,
    first: dt.datetime | None,
    last: dt.datetime | None,
    batch: str | None,
    is_universe: bool,
    tickers_file: Path | None,
    is_accepted: bool,
    is_diff: bool,
    as_json: bool,
    by_constants: bool,
) -> None:
    """Find events, plan the sessions to fetch, estimate, publish and register them."""
    dates: dict[str, object | None] = {
        "first_session": first.date() if first else None,
        "last_session": last.date() if last else None,
    }
    check_universe_options(is_universe=is_universe)
    if as_json and not is_diff:
        raise click.UsageError("--json prints the difference: add --diff")
    if is_universe:
        dates["tickers_file"] = tickers_file.absolute() if tickers_file else None
        if is_diff:
            is_sound = compare_universe(dates, as_json=as_json)
        else:
            is_sound = plan_universe(dates, is_accepted=is_accepted)
        sys.exit(0 if is_sound else 1)
    if tickers is not None and watchlists:
        raise click.UsageError("--tickers plans without events: leave out --watchlist")
    if by_constants and is_diff:
        raise click.UsageError("--by-constants estimates a whole plan: leave out --diff")
    parse_tickers(tickers)
    options: dict[str, object | None] = {
        "watchlist": join_paths(watchlists),
        "pilot_tickers": pilot,
        "disk_budget_gb": budget_gb,
        "pilot_budget": "true" if budget_gb is not None else None,
        "plan_mode": mode or (PlanMode.SESSIONS.value if tickers else None),
        "plan_tickers": tickers,
        "plan_events": events,
        "plan_events_by_win_rate": events_by_win_rate,
        "plan_rank_until": rank_until.date() if rank_until else None,
        "batch": batch,
        **dates,
    }
    is_sound = (
        _compare(options, as_json=as_json) if is_diff else _plan(options, by_constants=by_constants)
    )
    sys.exit(0 if is_sound else 1)


def check_universe_options(*, is_universe: bool) -> None:
    """Refuse options of a universe without one, and those of event windows with one."""
    context = click.get_current_context()
    given = {
        option.name: option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    }
    if is_universe:
        if others := [text for name, text in given.items() if name not in UNIVERSE_OPTIONS]:
            raise click.UsageError(
                f"--universe plans whole months of all tickers: leave out {', '.join(others)}"
            )
    elif alone := [given[name] for name in ("tickers_file", "is_accepted") if name in given]:
        raise click.UsageError(f"{' and '.join(alone)}: of a universe alone, add --universe")


def plan_universe(options: dict[str, object | None], *, is_accepted: bool) -> bool:
    """Publish a plan of a universe; return whether it is in force."""
    with open_workplace(needs_source=True, **options) as work:
        return run_universe_plan(work, open_console(), is_accepted=is_accepted)


def compare_universe(options: dict[str, object | None], *, as_json: bool) -> bool:
    """Say what a plan of a universe would change; return whether it would be published."""
    with open_workplace(needs_source=False, **options) as work:
        made = measure_universe(work.lakehouse)
    if as_json:
        click.echo(encode_document(document_universe_change(made)))
    else:
        print_universe_change(made, open_console())
    return made.is_published


def join_paths(paths: Sequence[Path]) -> str | None:
    """Join paths as the setting of a list has them; ``None``: there is none."""
    return os.pathsep.join(str(path.absolute()) for path in paths) or None


def _plan(options: dict[str, object | None], *, by_constants: bool) -> bool:
    """Publish a plan, and say what it costs."""
    console = open_console()
    with open_workplace(needs_source=True, **options) as work:
        begun = work.lakehouse.clock()
        is_published = run_plan(work, console)
        if is_published:
            print_choice(work.lakehouse, console)
            print_estimate(work.lakehouse, console, by_constants=by_constants)
        elif (refused := _find_too_large(work.lakehouse, begun)) is not None:
            console.print("what was refused:", style="yellow")
            print_estimate(work.lakehouse, console, refused, by_constants=by_constants)
    return is_published


def _find_too_large(
    lakehouse: Lakehouse, begun: dt.datetime
) -> tuple[PlanRecord, pl.DataFrame] | None:
    """Find the plan that was refused since then for its size alone; ``None``: none was."""
    try:
        record, plan = lakehouse.tables.read_plan_candidate()
    except (DataError, LakeError):
        return None
    is_of_this_run = record.created_at >= begun and record.sessions > MAX_KEYS
    return (record, plan) if is_of_this_run else None


def _compare(options: dict[str, object | None], *, as_json: bool) -> bool:
    """Say what a plan would change; return whether it would be published."""
    with open_workplace(needs_source=False, **options) as work:
        check_choice(work.lakehouse)
        change = measure_change(work.lakehouse)
    if as_json:
        click.echo(encode_document(document_change(change)))
    else:
        print_change(change, open_console())
    return not change.problems
