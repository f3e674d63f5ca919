"""The audits of the lake: quick ones from the ledger, deep ones from every byte.

What belongs here: gathering facts from ledger, records, files and bars, and remembering the
last deep result.  What does not: what is tolerable (``core.verdicts``), the verdicts
(``core.ticks.audits``) and how Dagster shows them (``defs.checks.trades``).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import polars as pl

from smallcaps_assets.core.budget.calibration import Calibration, fit_bytes_per_trade
from smallcaps_assets.core.events.unknown_tickers import select_unknown_sessions
from smallcaps_assets.core.figures import GB
from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.core.ticks.audits import (
    SizeFacts,
    judge_answers,
    judge_corruption,
    judge_coverage,
    judge_days,
    judge_disputes,
    judge_losses,
    judge_order,
    judge_orphans,
    judge_prices,
    judge_proof,
    judge_size,
    judge_volume,
    judge_window_coverage,
)
from smallcaps_assets.core.ticks.bar_prices import compare_prices
from smallcaps_assets.core.ticks.conditions import merge_conditions
from smallcaps_assets.core.ticks.quality import measure_residual_conditions, measure_sessions
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.ingest.budget.expectations import KEY, read_bar_facts
from smallcaps_assets.ingest.derived import refresh_ledger
from smallcaps_assets.ingest.proof.judging import gather_evidence
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.sessions.damages import Damage, DamageKind, OrphanKind
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.last_audit import (
    StoredAudit,
    keep_deep,
    read_last_audit,
    recall_audit,
    write_last_audit,
)
from smallcaps_assets.operations.repair.segments import DAMAGE_COLUMNS, find_damaged_segments
from smallcaps_assets.operations.repair.sessions import (
    find_lost,
    group_sessions,
)
from smallcaps_assets.schemas import DAILY_BARS, TRADES


def audit_ledger(lakehouse: Lakehouse) -> dict[str, Verdict]:
    """Audit what needs no file: coverage, size, what bars prove, and what lost its proof.

    Raises:
        MissingPartitionError: No plan is published.
    """
    record, plan = lakehouse.tables.read_plan()
    states, thresholds = lakehouse.ledger.coverage(), lakehouse.thresholds
    apart = select_unknown_sessions(states, record.unknown_tickers)
    counted = states.join(apart, on=KEY, how="anti")
    windows = plan.join(apart, on=KEY, how="anti")
    evidence = gather_evidence(lakehouse.ledger)
    return {
        "planned_sessions_are_covered": judge_coverage(counted, thresholds, apart=apart.height),
        "event_windows_are_covered": judge_window_coverage(windows, counted, thresholds),
        "size_is_as_planned": judge_size(measure_size(lakehouse, plan), thresholds),
        "sessions_reach_their_bar": judge_disputes(evidence),
        "bars_prove_sessions": judge_proof(evidence, thresholds),
        "proofs_are_kept": judge_losses(lakehouse.ledger.lost_proof()),
        "answers_agree": judge_answers(lakehouse.ledger.two_answers()),
    }


def recall_verdicts(lakehouse: Lakehouse) -> dict[str, Verdict]:
    """Judge what needs no file, and recall what the last deep audit found.

    Raises:
        MissingPartitionError: No plan is published.
    """
    last = read_last_audit(lakehouse.layout, lakehouse.fs)
    return audit_ledger(lakehouse) | recall_audit(last, lakehouse.ledger, lakehouse.clock())


def audit_lake(lakehouse: Lakehouse) -> dict[str, Verdict]:
    """Open, hash, decode and compare every stored session; remember the result.

    Raises:
        MissingPartitionError: No plan is published.
    """
    ledger = lakehouse.ledger
    refresh_ledger(lakehouse, skips_damaged=True)
    newest_commit_at = ledger.newest_commit()
    verdicts = audit_ledger(lakehouse) | _judge_files(lakehouse)
    stored = ledger.totals().sessions
    audit = StoredAudit(lakehouse.clock(), stored, keep_deep(verdicts), newest_commit_at)
    write_last_audit(lakehouse.layout, lakehouse.fs, audit)
    return verdicts


def measure_size(lakehouse: Lakehouse, plan: pl.DataFrame) -> SizeFacts:
    """Measure stored bytes, and what the calibrated estimate says of the same sessions."""
    stored = lakehouse.ledger.stored_sessions()
    planned = stored.join(plan, on=["ticker", "session_date"], how="semi")
    bars = read_bar_facts(lakehouse.tables, planned)
    sessions = bars.expect_rows(planned).drop_nulls("expected_rows")
    with_bar = sessions.filter(pl.col("rows") > 0)
    # What a trade costs depends on its tape, so it is measured here: what is judged is whether
    # as many trades landed as the bars promise.
    fit = fit_bytes_per_trade(with_bar["rows"], with_bar["bytes"]) if with_bar.height else None
    estimated = None
    if fit is not None:
        expected = int(with_bar["expected_rows"].sum())
        sizes = Calibration(bytes_per_trade=fit.bytes_per_trade, file_bytes=fit.file_bytes)
        estimated = sizes.predict_bytes(expected, with_bar.height)
    budget_gb = lakehouse.settings.disk_budget_gb
    return SizeFacts(
        stored_bytes=lakehouse.ledger.totals().bytes,
        estimated_bytes=estimated,
        compared_bytes=int(with_bar["bytes"].sum()),
        budget_bytes=None if budget_gb is None else budget_gb * GB,
    )


# -- deep ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What opening some sessions showed.

    Attributes:
        damages: ``ticker``, ``session_date``, ``kind``, ``message``.
        facts: Table of ``quality.measure_sessions`` of the undamaged ones.
        conditions: Table of ``quality.measure_residual_conditions``.
        prices: Table of ``bar_prices.compare_prices``.
    """

    damages: pl.DataFrame
    facts: pl.DataFrame
    conditions: pl.DataFrame
    prices: pl.DataFrame


def _judge_files(lakehouse: Lakehouse) -> dict[str, Verdict]:
    """Read every file once, and judge what was found."""
    broken: list[Damage] = []
    receipts = list(lakehouse.sessions.iter_receipts(damages=broken))
    known = {receipt.key for receipt in receipts} | {damage.key for damage in broken}
    message = "the ledger calls it stored and no record tells of it; run `smallcaps reindex`"
    lost = [
        Damage(*decode_key(key), DamageKind.MISSING_FILE, message)
        for key in find_lost(lakehouse.ledger, known)
    ]
    groups = group_sessions(receipts)
    with ThreadPoolExecutor(lakehouse.settings.workers, thread_name_prefix="audit") as pool:
        parts = list(pool.map(lambda group: _measure_group(lakehouse, group), groups))
    off_session = _verify_off_session(lakehouse)
    found = _frame_damages([*broken, *lost, *off_session])
    files = find_damaged_segments(lakehouse.sessions.lake)
    damages = pl.concat([found, files, *(part.damages for part in parts)])
    nothing = _measure_trades(lakehouse, [], TRADES.empty())
    facts = pl.concat([nothing.facts, *(part.facts for part in parts)], how="vertical_relaxed")
    conditions = merge_conditions([nothing.conditions, *(part.conditions for part in parts)])
    prices = pl.concat([nothing.prices, *(part.prices for part in parts)])
    thresholds = lakehouse.thresholds
    checked = len(receipts) + len(broken) + len(lost)
    return {
        "files_are_undamaged": judge_corruption(damages, checked),
        "tape_is_in_order": judge_order(facts),
        "timestamps_lie_in_their_day": judge_days(facts),
        "prices_lie_within_the_bar": judge_prices(facts, prices, thresholds),
        "volume_matches_the_bar": judge_volume(facts, conditions, thresholds),
        "no_orphans": _judge_orphans(lakehouse),
    }


def _measure_group(lakehouse: Lakehouse, receipts: Sequence[Receipt]) -> FileFacts:
    """Verify some sessions, and measure those that are whole."""
    damages = lakehouse.sessions.verify_sessions(receipts)
    damaged = {damage.key for damage in damages}
    whole = [receipt for receipt in receipts if receipt.key not in damaged]
    measured = _measure_trades(lakehouse, whole, lakehouse.sessions.read_sessions(whole))
    return replace(measured, damages=_frame_damages(damages))


def _measure_trades(
    lakehouse: Lakehouse, receipts: Sequence[Receipt], trades: pl.DataFrame
) -> FileFacts:
    """Compare the trades of whole sessions with their bars."""
    sessions = pl.DataFrame(
        [(receipt.ticker, receipt.session_date) for receipt in receipts],
        schema={"ticker": pl.String, "session_date": pl.Date},
        orient="row",
    )
    bars = DAILY_BARS.empty()
    if receipts:
        dates = [receipt.session_date for receipt in receipts]
        stored = lakehouse.tables.read_daily_bars(min(dates), max(dates))
        keys = sessions.lazy()
        bars = stored.join(keys, on=["ticker", "session_date"], how="semi").collect()
    facts = measure_sessions(trades, bars, sessions)
    return FileFacts(
        _frame_damages([]),
        facts,
        measure_residual_conditions(trades, facts),
        compare_prices(trades, bars),
    )


def _verify_off_session(lakehouse: Lakehouse) -> list[Damage]:
    """Find what is wrong with prints on dates that are no session; no bar speaks of them."""
    store, tree = lakehouse.sessions, Tree.OFF_SESSION
    damages: list[Damage] = []
    receipts = list(store.iter_receipts(tree=tree, damages=damages))
    return [*damages, *store.verify_sessions(receipts, tree=tree)]


def _judge_orphans(lakehouse: Lakehouse) -> Verdict:
    _, plan = lakehouse.tables.read_plan()
    planned = set(plan.select(key_expression()).to_series())
    orphans = lakehouse.sessions.find_orphans(planned)
    if lakehouse.lock.holder() is not None:
        # A commit under way leaves parts that no record names yet.
        orphans = [orphan for orphan in orphans if orphan.kind is not OrphanKind.STRAY]
    rows = [(str(orphan.path), orphan.kind.value, orphan.message) for orphan in orphans]
    columns = dict.fromkeys(("path", "kind", "message"), pl.String)
    return judge_orphans(pl.DataFrame(rows, schema=columns, orient="row"))


def _frame_damages(damages: Sequence[Damage]) -> pl.DataFrame:
    rows = [(d.ticker, d.session_date, d.kind.value, d.message) for d in damages]
    return pl.DataFrame(rows, schema=DAMAGE_COLUMNS, orient="row")
