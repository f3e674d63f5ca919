"""From a candidate to the published plan of a universe: judge, estimate, publish or keep aside.

What belongs here: what a person has to look at before a plan takes the place of another.  What does
not: making the candidate (``planning``).
"""

from dataclasses import dataclass, replace

import polars as pl

from smallcaps_assets.core.events.unknown_tickers import NAMED, judge_unknown_tickers
from smallcaps_assets.core.universe.lives import judge_survivors
from smallcaps_assets.core.universe.publication import diff_universe_plans, judge_universe_plan
from smallcaps_assets.core.verdicts import MadeTable, Number, Verdict
from smallcaps_assets.errors import DataError, LakeError
from smallcaps_assets.ingest.universe.estimates import (
    Stored,
    UniverseEstimate,
    estimate_plan,
    gather_stored,
    judge_room,
    list_numbers,
)
from smallcaps_assets.ingest.universe.planning import UniverseCandidate, build_candidate
from smallcaps_assets.lake.tables.universe_record import UniverseRecord
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import UNIVERSE_PLAN

WAITS = (
    "see what it changes with `smallcaps plan --universe --diff`, publish it with --yes, or in the "
    "UI with `accept: true` in the launchpad"
)
"""What to do about a candidate that waits."""


@dataclass(frozen=True, slots=True, eq=False)
class MadeUniverse:
    """A plan of a universe that was made, judged and estimated.

    Attributes:
        plan: ``schemas.UNIVERSE_PLAN``.
        record: What is known of it.
        is_published: It is in force; else it waits, or cannot be published.
        verdict: Whether it may take the place of the plan before it unseen.
        symbols: Whether its symbols are known.
        survivors: Whether any of its tickers ended.
        estimate: What it costs.
        changes: ``unit``, ``before`` and ``after`` (sessions) of units that differ.
    """

    plan: pl.DataFrame
    record: UniverseRecord
    is_published: bool
    verdict: Verdict
    symbols: Verdict
    survivors: Verdict
    estimate: UniverseEstimate
    changes: pl.DataFrame

    @property
    def room(self) -> Verdict:
        """Whether what is missing fits the disk."""
        return judge_room(self.estimate)

    @property
    def numbers(self) -> dict[str, Number]:
        """All that was counted, by name."""
        record = self.record
        return {
            "symbols_from": record.symbols,
            "first": record.first.isoformat(),
            "last": record.last.isoformat(),
            "plan_hash": record.plan_hash,
            **record.facts,
            **self.verdict.numbers,
            **list_numbers(self.estimate),
        }

    def tell(self) -> MadeTable:
        """Tell it as any table that was made."""
        verdict = replace(self.verdict, passed=self.is_published)
        return MadeTable(self.plan.height, self.numbers, verdict, {"changed_units": self.changes})


def make_universe_plan(lakehouse: Lakehouse, *, is_accepted: bool = False) -> MadeUniverse:
    """Make a plan, and publish it unless it waits for a person or owes nothing.

    Nobody publishes or registers another one meanwhile.

    Args:
        lakehouse: Where everything is.
        is_accepted: A person has seen what it changes.

    Raises:
        ConfigError: No month of the dates asked for is over and published.
        MissingPartitionError: There are no symbols.
        PartitionConflictError: Another process publishes or registers a plan for too long.
        RefusedFileError: The file of symbols is refused.
    """
    with lakehouse.planning("planning a universe"):
        judged = _judge(lakehouse, is_accepted=is_accepted)
        made = judged.made
        lakehouse.tables.write_universe_plan(
            made.plan, made.record, is_published=judged.is_published
        )
    return _complete(lakehouse, judged)


def measure_universe(lakehouse: Lakehouse, *, is_accepted: bool = False) -> MadeUniverse:
    """Make, judge and estimate a plan; nothing is written.

    Raises:
        ConfigError: No month of the dates asked for is over and published.
        MissingPartitionError: There are no symbols.
        RefusedFileError: The file of symbols is refused.
    """
    return _complete(lakehouse, _judge(lakehouse, is_accepted=is_accepted))


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """A candidate, what it was judged by, and what follows."""

    made: UniverseCandidate
    old: pl.DataFrame
    stored: Stored
    verdict: Verdict
    is_published: bool


def _judge(lakehouse: Lakehouse, *, is_accepted: bool) -> _Judged:
    record, old = _read_published(lakehouse)
    made = build_candidate(lakehouse, {} if record is None else record.batches)
    stored = gather_stored(lakehouse, made.plan, old)
    verdict = judge_universe_plan(made.plan, old, stored.proven)
    is_published = made.plan.height > 0 and (verdict.passed or is_accepted)
    return _Judged(made, old, stored, verdict, is_published)


def _complete(lakehouse: Lakehouse, judged: _Judged) -> MadeUniverse:
    """Estimate a judged candidate and tell what is to be known of it; nobody has to wait for it."""
    made = judged.made
    return MadeUniverse(
        plan=made.plan,
        record=made.record,
        is_published=judged.is_published,
        verdict=_explain(judged),
        symbols=_judge_symbols(lakehouse, made.record),
        survivors=judge_survivors(made.lives, made.record.last),
        estimate=estimate_plan(lakehouse, made.plan, judged.stored),
        changes=diff_universe_plans(judged.old, made.plan),
    )


def _read_published(lakehouse: Lakehouse) -> tuple[UniverseRecord | None, pl.DataFrame]:
    """Read the plan in force; where none can be read, batches begin again and nothing is lost."""
    try:
        return lakehouse.tables.read_universe_plan()
    except (DataError, LakeError):
        return None, UNIVERSE_PLAN.empty()


def _explain(judged: _Judged) -> Verdict:
    """Say in the verdict what to do about a plan that owes nothing or waits."""
    record, verdict = judged.made.record, judged.verdict
    if judged.made.plan.is_empty():
        asked = record.facts["symbols"]
        summary = (
            f"none of {asked:,} symbols was listed or had a bar from {record.first} to "
            f"{record.last}: nothing is published, and the plan in force stays; check the symbols "
            "and the dates"
        )
        return replace(verdict, passed=False, summary=summary)
    if verdict.passed:
        return verdict
    if judged.is_published:
        return replace(verdict, passed=True, summary=f"accepted, although {verdict.summary}")
    return replace(verdict, summary=f"{verdict.summary}: it waits as a candidate; {WAITS}")


def _judge_symbols(lakehouse: Lakehouse, record: UniverseRecord) -> Verdict:
    """Judge the symbols that neither listings nor bars know."""
    asked = int(record.facts["symbols"])
    unknown = record.unknown_tickers
    verdict = judge_unknown_tickers(asked, record.judged_tickers, unknown, lakehouse.thresholds)
    if not record.judged_tickers:
        return verdict
    named = [f"{name}: did you mean {near}?" if near else name for name, near in unknown.items()]
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    summary = (
        f"{len(named):,} of {asked:,} symbols have neither a listing nor a daily bar: "
        f"{'; '.join(named[:NAMED])}{more}; correct them, or load the listings "
        "(`smallcaps universe`)"
        if named
        else f"listings or daily bars know all of {asked:,} symbols"
    )
    return replace(verdict, summary=summary)
