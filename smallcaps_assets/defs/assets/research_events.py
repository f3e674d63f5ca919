"""Group `research`: events as prints saw them, decisions, and what became of them."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from smallcaps_assets.core.research.events.audits import judge_cut
from smallcaps_assets.core.verdicts import MadeTable
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.metadata import (
    NO_PICTURES,
    column_schema,
    show_file,
    show_numbers,
    show_pictures,
    show_tables,
    show_verdict,
)
from smallcaps_assets.ingest.plan.pictures import publish_pictures
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.research.events import make_intraday_events
from smallcaps_assets.research.ground import Ground
from smallcaps_assets.research.labelling import make_labels
from smallcaps_assets.research.pictures import draw_events, draw_labels
from smallcaps_assets.research.studies import make_event_features, make_event_outcomes
from smallcaps_assets.schemas import DAILY_BARS, PILOT_WATCHLIST, SPLITS, TRADES, Table
from smallcaps_assets.schemas_research import (
    EVENT_FEATURES,
    EVENT_OUTCOMES,
    INTRADAY_EVENTS,
    LABELS,
    MINUTE_BARS,
)

GROUP = "research"
POOL = "research"
"""Runs of research wait for one another: each may fill the memory that it is allowed."""

events_are_known = dg.AssetCheckSpec(
    name="events_are_known",
    asset=INTRADAY_EVENTS.name,
    blocking=True,
    description="Every event of the plan has a known time inside its session, and E3 and E9 have "
    "evidence or a reason; else nothing is written.  Red: a fault of this program: report it with "
    "the offenders.",
)
features_know_no_future = dg.AssetCheckSpec(
    name="features_know_no_future",
    asset=EVENT_FEATURES.name,
    blocking=True,
    description="Features of some decisions, made again from data up to their instant, are equal "
    "bit by bit; else nothing is written.  Red: the named features look ahead: report it.",
)
outcomes_are_whole = dg.AssetCheckSpec(
    name="outcomes_are_whole",
    asset=EVENT_OUTCOMES.name,
    blocking=True,
    description="Each row is of a decision and a session after its event, once; else nothing is "
    "written.  Red: a fault of this program: report it with the offenders.",
)
labels_are_sound = dg.AssetCheckSpec(
    name="labels_are_sound",
    asset=LABELS.name,
    blocking=True,
    description="Each decision, event and side has one label; known, entry, exit and end are in "
    "order; returns agree with prices; else nothing is written.  Red: report it with the "
    "offenders.",
)


@dg.asset(
    name=INTRADAY_EVENTS.name,
    group_name=GROUP,
    deps=[PILOT_WATCHLIST.name, DAILY_BARS.name, SPLITS.name, TRADES.name, MINUTE_BARS.name],
    check_specs=[events_are_known],
    pool=POOL,
    kinds={"polars", "parquet"},
    metadata=column_schema(INTRADAY_EVENTS),
    owners=["team:research"],
)
def intraday_events(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """Each event of the plan, when it was known, and whether prints confirm it; and the decisions.

    - Grain: one event of a ticker and session; beside it `decisions`, one row an instant.
    - Source: `pilot_watchlist`, the prints of its sessions, daily bars, minute bars for spreads.
    - Cadence: with each run of research; nothing is read where nothing changed.

    The watchlist stays as it is: its hash is that of the plan.
    """
    with dagster_failures():
        ground = open_ground(lakehouse)
        made = make_intraday_events(ground)
        figures = draw_events(ground) if made.verdict.passed else {}
        pictures = publish_pictures(lakehouse.layout, lakehouse.fs, figures)
    return show_made(made, ground, INTRADAY_EVENTS, events_are_known.name, pictures)


@dg.asset(
    name=EVENT_FEATURES.name,
    group_name=GROUP,
    deps=[INTRADAY_EVENTS.name, MINUTE_BARS.name, DAILY_BARS.name, SPLITS.name],
    check_specs=[features_know_no_future],
    pool=POOL,
    kinds={"polars", "parquet"},
    metadata=column_schema(EVENT_FEATURES),
    owners=["team:research"],
)
def event_features(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """What could be seen of the stock at each decision, and nothing later.

    - Grain: one decision.
    - Source: minute bars that were over, daily bars before the session.
    - Cadence: with each run of research.
    """
    with dagster_failures():
        ground = open_ground(lakehouse)
        made = make_event_features(ground)
    return show_made(made, ground, EVENT_FEATURES, features_know_no_future.name)


@dg.asset(
    name=EVENT_OUTCOMES.name,
    group_name=GROUP,
    deps=[INTRADAY_EVENTS.name, DAILY_BARS.name, SPLITS.name],
    check_specs=[outcomes_are_whole],
    pool=POOL,
    kinds={"polars", "parquet"},
    metadata=column_schema(EVENT_OUTCOMES),
    owners=["team:research"],
)
def event_outcomes(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """What came in the sessions after each decision: for reading, never for learning.

    - Grain: one decision and session after its event.
    - Source: daily bars, splits undone.
    - Cadence: with each run of research.
    """
    with dagster_failures():
        ground = open_ground(lakehouse)
        made = make_event_outcomes(ground)
    return show_made(made, ground, EVENT_OUTCOMES, outcomes_are_whole.name)


@dg.asset(
    name=LABELS.name,
    group_name=GROUP,
    deps=[INTRADAY_EVENTS.name, TRADES.name, SPLITS.name],
    check_specs=[labels_are_sound],
    pool=POOL,
    kinds={"polars", "parquet"},
    metadata=column_schema(LABELS),
    owners=["team:research"],
)
def labels(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.MaterializeResult:
    """What became of a trade after each decision, on both sides; and win rates by event.

    - Grain: one decision, event and side; beside it `win_rates`, one row an event.
    - Source: `decisions`, and the order of the prints from the entry to the horizon.
    - Cadence: with each run of research.

    A session that is not proven cuts a label, whatever happened before it.
    """
    with dagster_failures():
        ground = open_ground(lakehouse)
        made = make_labels(ground)
        figures = draw_labels(ground) if made.verdict.passed else {}
        pictures = publish_pictures(lakehouse.layout, lakehouse.fs, figures)
    return show_made(made, ground, LABELS, labels_are_sound.name, pictures)


@dg.asset_check(
    asset=LABELS.name,
    description="At most 2 % of the labels are cut, because a session is not proven.  Yellow: "
    "download what is missing, then label again.",
)
def few_labels_are_cut(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
    """Count the labels that were lost to sessions that are not in the lake."""
    with dagster_failures():
        verdict = judge_cut(open_ground(lakehouse).read(LABELS))
    return dg.AssetCheckResult(
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=show_verdict(verdict),
    )


def open_ground(lakehouse: Lakehouse) -> Ground:
    """Open what research stands on, for one run.

    Raises:
        MissingPartitionError: There is no plan, or no lake.
    """
    lakehouse.tables.read_plan()
    return Ground(
        Lake(lakehouse.home.data_dir),
        ResearchStore(lakehouse.home, lakehouse.fs),
        lakehouse.calendar,
        lakehouse.label_rules,
        lakehouse.cost_rules,
    )


def show_made(
    made: MadeTable,
    ground: Ground,
    table: Table,
    check_name: str,
    pictures: Mapping[str, str] = NO_PICTURES,
) -> dg.MaterializeResult:
    """Show a table that was written only if its check passed."""
    metadata: dict[str, Any] = {
        "dagster/row_count": made.rows,
        **show_file(table, ground.store.path(table)),
        **show_numbers(made.numbers),
        **show_tables(made.tables),
        **show_pictures(pictures),
    }
    check = dg.AssetCheckResult(
        check_name=check_name,
        passed=made.verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=show_verdict(made.verdict),
    )
    return dg.MaterializeResult(metadata=metadata, check_results=[check])
