"""Group `research`: minute bars, information bars and features of bars, a month a partition."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.assets.research_events import GROUP, POOL, open_ground
from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.defs.metadata import (
    column_schema,
    show_file,
    show_numbers,
    show_pictures,
    show_verdict,
)
from smallcaps_assets.ingest.plan.pictures import Figures, publish_pictures
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.research.months import MadeMonth, Months
from smallcaps_assets.schemas import DAILY_BARS, SPLITS, TRADES, Table
from smallcaps_assets.schemas_research import BAR_FEATURES, INFORMATION_BARS, MINUTE_BARS

Event = dg.MaterializeResult | dg.AssetCheckResult
Judge = Callable[[Months, Sequence[str]], Verdict]
Draw = Callable[[Months, Sequence[str]], Figures]

_ALL_TRADES = dg.AssetDep(TRADES.name, partition_mapping=dg.AllPartitionMapping())
_BARS_BEFORE = dg.AssetDep(
    DAILY_BARS.name,
    partition_mapping=dg.TimeWindowPartitionMapping(
        start_offset=-4, allow_nonexistent_upstream_partitions=True
    ),
)


class MonthsConfig(dg.Config):
    """What a run of months may be told.

    Attributes:
        audit: Judge months that did not change too: their trades are read again.
    """

    audit: bool = False


@dataclass(frozen=True)
class _Work:
    """A monthly table with its checks, the blocking ones first, and its picture."""

    table: Table
    checks: Sequence[tuple[dg.AssetCheckSpec, Judge]]
    draw: Draw | None = None


minute_bars_sum_to_their_prints = dg.AssetCheckSpec(
    name="minute_bars_sum_to_their_prints",
    asset=MINUTE_BARS.name,
    blocking=True,
    description="Shares, dollars and trades of the bars of each session are those of its volume "
    "prints; else the months of the run are removed.  Red: report it with the offenders.",
)
information_bars_tile_their_sessions = dg.AssetCheckSpec(
    name="information_bars_tile_their_sessions",
    asset=INFORMATION_BARS.name,
    blocking=True,
    description="Bars of each kind follow one another and sum to the regular volume prints; else "
    "the months of the run are removed.  Red: report it with the offenders.",
)
imbalance_bars_are_not_degenerate = dg.AssetCheckSpec(
    name="imbalance_bars_are_not_degenerate",
    asset=INFORMATION_BARS.name,
    description="Imbalance bars have 0.3 to 3 times the wanted prints, few end at the cap or have "
    "two prints.  Red: a flow that never accumulates; use plain bars for the offenders.",
)
bar_features_do_not_look_ahead = dg.AssetCheckSpec(
    name="bar_features_do_not_look_ahead",
    asset=BAR_FEATURES.name,
    blocking=True,
    description="A row of each of some sessions, made again from bars up to it, has the same bits; "
    "else the months of the run are removed.  Red: the named features look ahead: report it.",
)

MINUTES = _Work(
    MINUTE_BARS,
    [(minute_bars_sum_to_their_prints, Months.judge_minute_bars)],
    Months.draw_minutes,
)
INFORMATION = _Work(
    INFORMATION_BARS,
    [
        (information_bars_tile_their_sessions, Months.judge_information_bars),
        (imbalance_bars_are_not_degenerate, Months.judge_bar_lengths),
    ],
    Months.draw_lengths,
)
FEATURES = _Work(BAR_FEATURES, [(bar_features_do_not_look_ahead, Months.judge_bar_features)])


def build_research_months(months: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Build the monthly assets of research over ``months``."""

    @_declare(MINUTES, months, [_ALL_TRADES])
    def minute_bars(
        context: dg.AssetExecutionContext,
        config: MonthsConfig,
        lakehouse: dg.ResourceParam[Lakehouse],
    ) -> Iterator[Event]:
        """Bars of one minute in all phases, whose sums equal the prints; beside them `halts`.

        - Grain: a minute of a ticker and session in which a volume print came.
        - Source: the trades of proven sessions.
        - Cadence: with each run of research; a month is made again when one of its sessions
          changed.
        """
        yield from _make(MINUTES, context, config, lakehouse)

    @_declare(INFORMATION, months, [_ALL_TRADES, _BARS_BEFORE, SPLITS.name])
    def information_bars(
        context: dg.AssetExecutionContext,
        config: MonthsConfig,
        lakehouse: dg.ResourceParam[Lakehouse],
    ) -> Iterator[Event]:
        """Bars by activity and by imbalance of the regular phase, of the kinds in the settings.

        - Grain: a bar of a kind, ticker and session; nothing crosses a session.
        - Source: the trades of proven sessions; sizes follow from daily bars before them.
        - Cadence: with each run of research; a month is made again when its inputs changed.
        """
        yield from _make(INFORMATION, context, config, lakehouse)

    @_declare(FEATURES, months, [MINUTE_BARS.name, _BARS_BEFORE, SPLITS.name])
    def bar_features(
        context: dg.AssetExecutionContext,
        config: MonthsConfig,
        lakehouse: dg.ResourceParam[Lakehouse],
    ) -> Iterator[Event]:
        """Measure returns, flow, liquidity and spreads of each regular minute, looking back only.

        - Grain: a minute bar of the regular phase.
        - Source: minute bars and halts of its session, daily bars before it.
        - Cadence: with each run of research; a month is made again when its bars changed.
        """
        yield from _make(FEATURES, context, config, lakehouse)

    return [minute_bars, information_bars, bar_features]


def build_freshness_check(table: Table) -> dg.AssetChecksDefinition:
    """Build the check ``TABLE_are_fresh`` of a monthly table."""

    @dg.asset_check(
        asset=table.name,
        name=f"{table.name}_are_fresh",
        description="Each month is made of what the lake holds now.  Red: run `smallcaps "
        "research`, or materialize the months listed.",
    )
    def months_are_fresh(lakehouse: dg.ResourceParam[Lakehouse]) -> dg.AssetCheckResult:
        """List the months that are missing, or whose sessions or daily bars changed."""
        with dagster_failures():
            verdict = open_months(lakehouse).judge_freshness(table)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=show_verdict(verdict),
        )

    return months_are_fresh


freshness_checks = [
    build_freshness_check(table) for table in (MINUTE_BARS, INFORMATION_BARS, BAR_FEATURES)
]


def open_months(lakehouse: Lakehouse) -> Months:
    """Open the monthly tables of a lake.

    Raises:
        MissingPartitionError: There is no lake.
    """
    return Months(open_ground(lakehouse), lakehouse.bar_rules)


def _declare(
    work: _Work,
    months: dg.MonthlyPartitionsDefinition,
    deps: Sequence[str | dg.AssetDep],
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare a monthly asset."""
    return dg.asset(
        name=work.table.name,
        group_name=GROUP,
        deps=deps,
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[spec for spec, _ in work.checks],
        output_required=False,
        pool=POOL,
        kinds={"polars", "parquet"},
        metadata=column_schema(work.table),
        owners=["team:research"],
    )


def _make(
    work: _Work, context: dg.AssetExecutionContext, config: MonthsConfig, lakehouse: Lakehouse
) -> Iterator[Event]:
    """Make the months of a run, judge them, and show them if they passed."""
    with dagster_failures():
        months = open_months(lakehouse)
        made = []
        for month in months.make(work.table, [key[:7] for key in context.partition_keys]):
            context.log.info("%s: %s", month.name, describe(month))
            made.append(month)
        stored = [month for month in made if not month.is_empty]
        judged = [month.name for month in stored if config.audit or not month.is_reused]
        results = list(_judge(work, months, judged))
        if is_red := any(_blocks(result) for result in results):
            months.discard(work.table, judged)
        figures = work.draw(months, judged) if work.draw and judged and not is_red else {}
        pictures = publish_pictures(lakehouse.layout, lakehouse.fs, figures)
    if is_red:
        yield from results
        return
    for month in made:
        shown = _show(work.table, months, month)
        if [month.name] == judged[-1:]:
            shown |= show_pictures(pictures)
        context.add_asset_metadata(shown, work.table.name, partition_key=f"{month.name}-01")
    # One result for the run, else Dagster would skip what is downstream of it in the same run.
    yield dg.MaterializeResult(check_results=results)


def _judge(work: _Work, months: Months, judged: Sequence[str]) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of each check; where nothing changed, nothing is judged again."""
    unchanged = Verdict(passed=True, summary="no month changed", numbers={"months": 0})
    for spec, judge in work.checks:
        verdict = judge(months, judged) if judged else unchanged
        severity = dg.AssetCheckSeverity.ERROR if spec.blocking else dg.AssetCheckSeverity.WARN
        yield dg.AssetCheckResult(
            check_name=spec.name,
            passed=verdict.passed,
            severity=severity,
            metadata=show_verdict(verdict),
        )


def _blocks(result: dg.AssetCheckResult) -> bool:
    return not result.passed and result.severity == dg.AssetCheckSeverity.ERROR


def _show(table: Table, months: Months, month: MadeMonth) -> dict[str, Any]:
    """Show the metadata of one month."""
    shown = {"dagster/row_count": month.rows, "what_happened": describe(month)}
    if month.is_empty:
        return shown
    shown["input_hash"] = month.input_hash
    path = months.ground.store.path(table, month.name)
    return {**shown, **show_file(table, path), **show_numbers(month.numbers)}


def describe(month: MadeMonth) -> str:
    """Describe what became of a month, in words."""
    if month.is_empty:
        return "the lake has no proven trades of it, so nothing was made"
    return f"{month.rows:,} rows, {'nothing had changed' if month.is_reused else 'made'}"
