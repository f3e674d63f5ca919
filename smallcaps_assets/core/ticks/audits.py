"""Audits of ticks: whether facts about stored sessions are good enough.

What belongs here: one pure function per property, from frames of facts to a verdict.  What does
not: how facts are measured (``quality``, ``lake``) and how Dagster shows a verdict (``defs``).  An
audit that found nothing to look at says so and does not pass for perfect, except where nothing is
what is wanted.
"""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from smallcaps_assets.core.states import DISPUTED, GREEN, NOT_YET_AVAILABLE
from smallcaps_assets.core.ticks.disputes import DIFFERS, RESIDUAL, UNPROVEN
from smallcaps_assets.core.ticks.quality import KEY, label_residuals, select_residuals
from smallcaps_assets.core.verdicts import (
    Number,
    Thresholds,
    Verdict,
)

YELLOW_MARKS: Final = (RESIDUAL, DIFFERS, UNPROVEN)
"""Marks that a person should know of."""
TOLERATED: Final = ("unplanned", "stray")
"""Kinds of orphans that are listed and no fault: what is whole, but in no plan any more; and parts
of segments that no record names, which a killed writer leaves and `smallcaps tidy` removes."""


@dataclass(frozen=True, slots=True)
class SizeFacts:
    """Bytes of the stored sessions.

    Attributes:
        stored_bytes: What lies on disk.
        estimated_bytes: What the calibrated estimate says of them; ``None`` when their bars do
            not tell.
        budget_bytes: What the lake may take; ``None`` without a budget.
        compared_bytes: Stored bytes of the sessions that the estimate speaks of; ``None``: all.
    """

    stored_bytes: int
    estimated_bytes: float | None
    budget_bytes: float | None
    compared_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class BarEvidence:
    """What daily bars say of the stored sessions.

    Attributes:
        compared: Sessions compared with a bar that proves.
        deficits: Sessions that lack some of their bar: ``ticker``, ``session_date``, ``state``,
            ``volume_deficit``, ``count_deficit``, ``marks``, ``asked``.
        years: What lacks by year and field, as ``core.ticks.disputes.count_years`` counts it.
        set_aside: Fields that are set aside, by year.
    """

    compared: int
    marks: Mapping[str, int]
    deficits: pl.DataFrame
    bad_dates: Collection[dt.date]
    years: pl.DataFrame
    set_aside: Mapping[int, frozenset[str]]


def judge_coverage(states: pl.DataFrame, thresholds: Thresholds, *, apart: int = 0) -> Verdict:
    """Judge the share of planned ticker-sessions (``schemas.COVERAGE``) that are green.

    Those not yet available do not count.  ``apart`` are green ones that are not among them, because
    no bar knows their tickers.
    """
    due = states.filter(pl.col("state") != NOT_YET_AVAILABLE)
    missing = due.filter(~_is_green()).sort(KEY)
    counts = {
        f"{state}_sessions": count
        for state, count in states["state"].value_counts().sort("state").iter_rows()
    }
    share = _Share("ticker-sessions", due.height, due.height - missing.height)
    verdict = share.judge(thresholds.coverage, counts, missing)
    if not apart:
        return verdict
    words = f"{apart} without trades, of tickers that no daily bar knows, are counted apart"
    numbers = verdict.numbers | {"unknown_ticker_sessions": apart}
    return replace(verdict, summary=f"{verdict.summary}; {words}", numbers=numbers)


def judge_window_coverage(
    plan: pl.DataFrame, states: pl.DataFrame, thresholds: Thresholds
) -> Verdict:
    """Judge the share of event windows whose planned sessions are all green.

    Sessions planned without an event belong to no window, and a plan of such sessions alone passes.
    One without a state is not green; one that is not yet available does not count.
    """
    windows = (
        plan.select(*KEY, "events", "event_dates")
        .join(states.select(*KEY, "state"), on=KEY, how="left", validate="1:1")
        .filter(pl.col("state").ne_missing(NOT_YET_AVAILABLE))
        .with_columns(is_green=_is_green())
        .explode("events", "event_dates")
        .drop_nulls("events")
        .group_by("ticker", event_date="event_dates", event="events")
        .agg(planned=pl.len(), missing=(~pl.col("is_green")).sum())
    )
    if windows.is_empty() and plan.height:
        return Verdict(passed=True, summary="no event window is due", numbers={"planned": 0})
    broken = windows.filter(pl.col("missing") > 0).sort("ticker", "event_date", "event")
    share = _Share("event windows", windows.height, windows.height - broken.height)
    return share.judge(thresholds.window_coverage, {}, broken)


def judge_size(facts: SizeFacts, thresholds: Thresholds) -> Verdict:
    """Judge bytes on disk against the budget and, within a tolerance, against the estimate."""
    stored, estimated, budget = facts.stored_bytes, facts.estimated_bytes, facts.budget_bytes
    numbers: dict[str, Number] = {"stored_bytes": stored}
    complaints = []
    if budget is not None:
        numbers["budget_bytes"] = budget
        if stored > budget:
            complaints.append(f"{_bytes(stored)} exceed the budget of {_bytes(budget)}")
    if estimated:
        compared = stored if facts.compared_bytes is None else facts.compared_bytes
        ratio = compared / estimated
        numbers |= {
            "compared_bytes": compared,
            "estimated_bytes": estimated,
            "stored_to_estimated_ratio": ratio,
        }
        if abs(compared - estimated) > thresholds.size_tolerance * estimated:
            complaints.append(
                f"{_bytes(compared)} are {ratio:.2f} times the estimated {_bytes(estimated)}; "
                f"{thresholds.size_tolerance:.0%} of difference are tolerated"
            )
    summary = "; ".join(complaints) or f"{_bytes(stored)} are within budget and estimate"
    return Verdict(not complaints, summary, numbers)


def judge_corruption(damages: pl.DataFrame, checked: int) -> Verdict:
    """Judge damage of ``checked`` sessions, a row of ``kind`` and place each; none is tolerated."""
    counts = _count_kinds(damages)
    summary = f"{damages.height} damages in {checked} sessions checked" + _list_counts(counts)
    return Verdict(damages.is_empty(), summary, {"checked": checked, **counts}, damages)


def judge_orphans(orphans: pl.DataFrame) -> Verdict:
    """Judge files that no record names and sessions without a plan, a row of ``kind`` each.

    Those of :data:`TOLERATED` kinds are listed without being faults.
    """
    counts = _count_kinds(orphans)
    faults = orphans.height - sum(counts.get(kind, 0) for kind in TOLERATED)
    summary = f"{faults} orphans are faults, of {orphans.height}" + _list_counts(counts)
    return Verdict(faults == 0, summary, {"orphans": orphans.height, **counts}, orphans)


def judge_order(facts: pl.DataFrame) -> Verdict:
    """Judge the order of the tape; exact duplicates are reported, for they may be trades."""
    unsorted, duplicates = _total(facts, "unsorted_rows"), _total(facts, "exact_duplicates")
    numbers = _count_checked(facts) | {"unsorted_rows": unsorted, "exact_duplicates": duplicates}
    offenders = facts.select(*KEY, "rows", "unsorted_rows", "exact_duplicates").filter(
        (pl.col("unsorted_rows") > 0) | (pl.col("exact_duplicates") > 0)
    )
    summary = f"{unsorted} rows out of order, none tolerated; {duplicates} exact duplicates"
    return Verdict(
        unsorted == 0, summary, numbers, _sort_worst(offenders, "unsorted_rows", "exact_duplicates")
    )


def judge_days(facts: pl.DataFrame) -> Verdict:
    """Judge whether every trade lies on the New York date of its session."""
    outside = _total(facts, "outside_day_rows")
    offenders = facts.select(*KEY, "rows", "outside_day_rows").filter(
        pl.col("outside_day_rows") > 0
    )
    summary = f"{outside} rows lie outside the New York day of their session, none tolerated"
    numbers = _count_checked(facts) | {"outside_day_rows": outside}
    return Verdict(outside == 0, summary, numbers, _sort_worst(offenders, "outside_day_rows"))


def judge_prices(facts: pl.DataFrame, prices: pl.DataFrame, thresholds: Thresholds) -> Verdict:
    """Judge trades that may set high and low, but lie outside those of their daily bar.

    How many sessions have another open, high, low, close or vwap than their bar (``prices``) is
    said, and not judged: a bar that was recalculated has other prices too.
    """
    compared = facts.drop_nulls(["bar_high", "bar_low"])
    outside = _total(compared, "price_outside_rows")
    eligible = _total(compared, "high_low_rows")
    ratio = outside / eligible if eligible else 0.0
    differing = prices.drop_nulls("bar_price").group_by(KEY).agg(pl.col("figure").sort())
    differs = differing.select(*KEY, differs=pl.col("figure").list.join(", "))
    offenders = (
        compared.join(differs, on=KEY, how="left", validate="1:1")
        .filter((pl.col("price_outside_rows") > 0) | pl.col("differs").is_not_null())
        .select(
            *(*KEY, "price_outside_rows", "high_low_rows"),
            *("high", "bar_high", "low", "bar_low", "differs"),
        )
    )
    numbers = _count_checked(facts) | {
        "compared_sessions": compared.height,
        "high_low_rows": eligible,
        "price_outside_rows": outside,
        "price_outside_ratio": ratio,
        "price_differs_sessions": differing.height,
    }
    summary = (
        f"{outside} of {eligible} prices lie outside their daily bar ({ratio:.4%}), "
        f"{thresholds.price_outside:.4%} tolerated; open, high, low, close or vwap of "
        f"{differing.height} sessions are not the bar's"
    )
    return Verdict(
        ratio <= thresholds.price_outside,
        summary,
        numbers,
        _sort_worst(offenders, "price_outside_rows"),
    )


def judge_volume(
    facts: pl.DataFrame, conditions: pl.DataFrame | None, thresholds: Thresholds
) -> Verdict:
    """Judge shares and trades against the daily bars, over the whole lake.

    Differences of both signs add up, so that they cannot cancel out.  Facts are those of
    ``measure_sessions`` or of receipts.  ``conditions`` are the suspects, of
    ``measure_residual_conditions``; ``None`` where no trades were read.
    """
    residuals = label_residuals(facts)
    volume_ratio = _residual_ratio(residuals, "volume_residual", "bar_volume")
    count_ratio = _residual_ratio(residuals, "count_residual", "bar_trade_count")
    worst = float(residuals.select(pl.col("volume_residual_ratio").max().fill_null(0)).item())
    offenders = select_residuals(residuals).select(
        *KEY,
        *("volume", "bar_volume", "volume_residual", "volume_residual_ratio"),
        *("trade_count", "bar_trade_count", "count_residual"),
    )
    numbers = _count_checked(facts) | {
        "compared_sessions": residuals["volume_residual"].count(),
        "differing_sessions": offenders.height,
        "volume_residual_ratio": volume_ratio,
        "count_residual_ratio": count_ratio,
        "worst_session_ratio": worst,
    }
    if conditions is not None:
        numbers["conditions"] = _list_conditions(conditions)
        numbers["unknown_conditions"] = _list_conditions(conditions.filter(~pl.col("is_known")))
    summary = (
        f"volume differs by {volume_ratio:.4%} ({thresholds.volume_residual:.4%} tolerated), "
        f"trade count by {count_ratio:.4%} ({thresholds.count_residual:.4%} tolerated), in "
        f"{offenders.height} sessions, at most {worst:.2%} in one "
        f"({thresholds.session_residual:.2%} tolerated)"
    )
    is_whole = volume_ratio <= thresholds.volume_residual
    is_counted = count_ratio <= thresholds.count_residual
    return Verdict(
        is_whole and is_counted and worst <= thresholds.session_residual,
        summary,
        numbers,
        _sort_worst(offenders, "volume_residual_ratio"),
    )


def judge_disputes(evidence: BarEvidence) -> Verdict:
    """Judge sessions whose rows fall short of their daily bar; none is tolerated.

    A date whose bars are at fault is one line, however many tickers it has.
    """
    disputed = evidence.deficits.filter(pl.col("state") == DISPUTED)
    is_bad = pl.col("session_date").is_in(list(evidence.bad_dates))
    alone = disputed.filter(~is_bad).with_columns(
        worst=pl.max_horizontal("volume_deficit", "count_deficit")
    )
    numbers: dict[str, Number] = {"disputed": disputed.height, "compared": evidence.compared}
    summary = f"{disputed.height} sessions fall short of their daily bar, none tolerated"
    for date in sorted(evidence.bad_dates):
        count = disputed.filter(pl.col("session_date") == date).height
        if count:
            summary += f"; the bars of {date} are at fault ({count} tickers): asked again daily"
    return Verdict(disputed.is_empty(), summary, numbers, _sort_worst(alone, "worst"))


def judge_proof(evidence: BarEvidence, thresholds: Thresholds) -> Verdict:
    """Judge what daily bars leave open of green sessions; it warns, and nothing is wrong."""
    marks = evidence.marks
    open_marks = {mark: marks[mark] for mark in YELLOW_MARKS if marks.get(mark)}
    numbers: dict[str, Number] = {"compared": evidence.compared, **dict(marks)}
    parts = [f"{evidence.compared} sessions are proven by a daily bar"]
    parts += [f"{count} {mark}" for mark, count in open_marks.items()]
    for year, field_name, compared, deficits, median, largest in evidence.years.select(
        "year", "field", "compared", "deficits", "median", "largest"
    ).iter_rows():
        if field_name not in evidence.set_aside.get(year, ()):
            continue
        parts.append(
            f"{field_name} of {year} is set aside: {deficits / compared:.1%} of {compared} "
            f"sessions lack a median of {median:.2%}; session_deficit = {largest:.4g} would hold, "
            f"{thresholds.session_deficit:g} is set"
        )
    is_whole = not open_marks and evidence.compared > 0
    settled = evidence.deficits.filter(pl.col("state") != DISPUTED, pl.col("marks") != "")
    return Verdict(is_whole, "; ".join(parts), numbers, settled, is_warning=True)


def judge_losses(lost: pl.DataFrame) -> Verdict:
    """Judge sessions that were proven and for which nothing stands any more; none is tolerated.

    Args:
        lost: ``ticker``, ``session_date``, and what is remembered of them.
    """
    summary = f"{lost.height} sessions that were proven have lost their proof, none tolerated"
    return Verdict(lost.is_empty(), summary, {"lost_proof": lost.height}, lost)


def judge_answers(two: pl.DataFrame) -> Verdict:
    """Judge sessions of which two proven answers differ: one counts, and a person should know.

    Args:
        two: ``ticker``, ``session_date`` and ``revision`` of them.
    """
    summary = f"{two.height} sessions have two proven answers that differ"
    return Verdict(two.is_empty(), summary, {"two_answers": two.height}, two, is_warning=True)


@dataclass(frozen=True, slots=True)
class _Share:
    """How many of the planned things are green; of nothing, no share is."""

    things: str
    planned: int
    green: int

    def judge(
        self, demanded: float, numbers: Mapping[str, Number], offenders: pl.DataFrame
    ) -> Verdict:
        """Judge whether the share is as large as demanded."""
        ratio = self.green / self.planned if self.planned else 0.0
        summary = (
            f"{self.green} of {self.planned} planned {self.things} are green ({ratio:.2%}); "
            f"at least {demanded:.2%} are demanded"
        )
        shown = {"planned": self.planned, "green": self.green, "ratio": ratio, **numbers}
        return Verdict(ratio >= demanded, summary, shown, offenders)


def _is_green() -> pl.Expr:
    return pl.col("state").is_in(list(GREEN)).fill_null(value=False)


def _count_checked(facts: pl.DataFrame) -> dict[str, Number]:
    return {"checked": facts.height}


def _count_kinds(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows["kind"].value_counts().sort("kind").iter_rows()) if rows.height else {}


def _total(rows: pl.DataFrame, column: str) -> int:
    return int(rows.select(pl.col(column).sum()).item())


def _list_counts(counts: Mapping[str, int]) -> str:
    return ": " + ", ".join(f"{count} {kind}" for kind, count in counts.items()) if counts else ""


def _list_conditions(conditions: pl.DataFrame) -> str:
    """List condition ids with their shares, the largest first."""
    shares = pl.col("counted_volume") + pl.col("excluded_volume")
    ranked = conditions.select("condition_id", shares=shares).sort("shares", descending=True)
    return ", ".join(
        f"{'none' if condition is None else condition}: {volume:.10g}"
        for condition, volume in ranked.iter_rows()
    )


def _residual_ratio(residuals: pl.DataFrame, residual: str, base: str) -> float:
    """Divide absolute residuals by what the bars hold; over nothing, a residual is all."""
    compared = residuals.drop_nulls(residual)
    distance, total = float(compared[residual].abs().sum()), float(compared[base].sum())
    if total:
        return distance / total
    return 1.0 if distance else 0.0


def _sort_worst(offenders: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Sort offenders, the largest values first, ties by key."""
    descending = [True] * len(columns) + [False] * len(KEY)
    return offenders.sort(*columns, *KEY, descending=descending)


def _bytes(count: float) -> str:
    return f"{count / 1024**3:.3g} GB"
