"""What may be asked of the vendor without anybody asking: new work, and failed work within a quota.

What belongs here: which sessions are due, from the ledger alone.  What does not: how a backfill of
them is launched (``defs``).
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.states import NOT_ENTITLED
from smallcaps_assets.lake.ledger.reader import LedgerReader

RETRY_PAUSE: Final = dt.timedelta(hours=1)
"""Since the last failure, before anything is asked again: an outage takes longer than a retry."""
DAY: Final = dt.timedelta(hours=24)
MAX_FAILURES: Final = 50_000
"""Failed sessions, and failed attempts, that are looked at."""


@dataclass(frozen=True, slots=True)
class DueRetries:
    """Failed sessions that may be asked for again.

    Attributes:
        keys: Their keys, those that failed longest ago first.
        over_quota: Failed sessions that were asked for often enough in the last 24 hours.
        last_failed_at: The last failure of any of them; ``None``: nothing failed.
    """

    keys: tuple[str, ...]
    over_quota: int
    last_failed_at: dt.datetime | None


def select_due(ledger: LedgerReader, now: dt.datetime) -> list[str]:
    """Select the keys of planned sessions that are not green and may be asked for today.

    A disputed empty session is due once a day, three times.
    """
    missing = ledger.missing_keys(due_on=now.astimezone(dt.UTC).date())
    return missing.get_column("key").cast(pl.String).to_list()


def select_retries(ledger: LedgerReader, now: dt.datetime, runs_per_day: int) -> DueRetries:
    """Select the failed sessions within the quota of a day.

    Every run that asked for a session in vain in the last 24 hours counts, whoever started it.
    What the key is not entitled to is not asked again until somebody does.
    """
    failures = measure_failures(ledger, now.astimezone(dt.UTC) - DAY)
    within = failures.filter(pl.col("runs") < runs_per_day)
    due = set(select_due(ledger, now))
    keys = [key for key in within.get_column("key").to_list() if key in due]
    last = failures.get_column("last_failed_at").max()
    return DueRetries(
        tuple(keys),
        failures.height - within.height,
        dt.datetime.fromisoformat(str(last)) if last else None,
    )


def measure_failures(ledger: LedgerReader, since: dt.datetime) -> pl.DataFrame:
    """Count how often each failed session was asked for in vain since an instant.

    Returns:
        Columns ``key``, ``runs`` and ``last_failed_at`` (text, null: not since then), those that
        failed longest ago first.
    """
    failed = ledger.failed_sessions(limit=MAX_FAILURES)
    failed = failed.filter(pl.col("state") != NOT_ENTITLED).with_columns(
        pl.col("key").cast(pl.String)
    )
    attempts = ledger.recent_errors(limit=MAX_FAILURES).select(
        "recorded_at",
        "run_id",
        "ticker",
        pl.col("first_session", "last_session").str.to_date("%Y-%m-%d"),
    )
    recent = attempts.filter(pl.col("recorded_at") >= since.isoformat(timespec="microseconds"))
    asked = (
        failed.join(recent, on="ticker")
        .filter(pl.col("session_date").is_between("first_session", "last_session"))
        .group_by("key")
        .agg(runs=pl.col("run_id").n_unique(), last_failed_at=pl.col("recorded_at").max())
    )
    return (
        failed.select("key")
        .join(asked, on="key", how="left")
        .with_columns(pl.col("runs").fill_null(0))
        .sort("last_failed_at", "key")
    )
