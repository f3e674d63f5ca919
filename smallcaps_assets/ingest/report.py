"""Figures of the lake: what was wanted, what landed, what it cost, what the checks say."""

from typing import Any

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.tape import hash_lake
from smallcaps_assets.ingest.audit import audit_ledger
from smallcaps_assets.ingest.estimating import estimate_plan
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.ingest.last_audit import read_last_audit
from smallcaps_assets.ingest.reality import measure_reality
from smallcaps_assets.ingest.status import measure_status


def measure_lake(lakehouse: Lakehouse) -> dict[str, Any]:
    """Return the figures by name, in the order of a report.

    Raises:
        MissingPartitionError: Nothing is planned yet.
    """
    status = measure_status(lakehouse)
    record, plan = lakehouse.tables.read_plan()
    estimate = estimate_plan(lakehouse)
    receipts = lakehouse.ledger.receipts().with_columns(key_expression())
    planned = receipts.join(plan, on=["ticker", "session_date"], how="semi")
    with_trades = receipts.filter(receipts["rows"] > 0)
    verdicts = audit_ledger(lakehouse) | read_last_audit(lakehouse)
    return {
        "source": str(lakehouse.source),
        "data_dir": str(lakehouse.layout.data_dir),
        "plan_hash": record.plan_hash,
        "planned_sessions": plan.height,
        "green_sessions": planned.height,
        "coverage_ratio": planned.height / plan.height if plan.height else 0.0,
        "states": status.counts,
        "unplanned_sessions": receipts.height - planned.height,
        "rows": status.rows,
        "bytes": status.bytes,
        "bytes_per_trade": status.bytes / status.rows if status.rows else 0.0,
        "bytes_per_session": status.bytes / with_trades.height if with_trades.height else 0.0,
        "requests": status.requests,
        "estimated_requests": estimate.calibrated.requests,
        "estimated_bytes": estimate.calibrated.bytes_stored,
        "estimate_against_reality": measure_reality(lakehouse, plan, receipts.drop("key")).plain(),
        "content_hash": hash_lake(dict(receipts.select("key", "content_hash").iter_rows())),
        "last_commit_at": status.last_commit_at,
        "errors_last_hour": status.errors,
        "checks": {name: verdict.passed for name, verdict in verdicts.items()},
    }
