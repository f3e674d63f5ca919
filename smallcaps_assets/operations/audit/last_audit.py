"""The list of audits, and the result of the last deep one, kept on disk with its age.

What does not belong here: how facts are gathered (``audits``) and judged (``core.verdicts``).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem

KEPT_OFFENDERS: Final = 200
"""Offenders remembered of each deep audit."""


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit and where it shows.

    Attributes:
        name: Name of the check.
        description: What it demands.
        remedy: What to do when it does not hold.
        is_deep: It reads the files.
        is_warning: It is yellow then, not red.
    """

    name: str
    description: str
    remedy: str
    is_deep: bool = False
    is_warning: bool = False


AUDITS: Final = (
    Audit(
        "planned_sessions_are_covered",
        "At least 95 % of planned sessions are green.",
        remedy="download what is missing; the offenders say why it failed.",
    ),
    Audit(
        "event_windows_are_covered",
        "At least 95 % of event windows are whole.",
        remedy="download what is missing; the offenders say which sessions lack.",
    ),
    Audit(
        "size_is_as_planned",
        "Within the disk budget, and near the estimate.",
        remedy="look at the largest sessions before going on; plan less, or add a disk.",
    ),
    Audit(
        "sessions_reach_their_bar",
        "No session has fewer shares or trades than its daily bar.",
        remedy="download again: it asks again, cut differently; --accept-disputed accepts them.",
    ),
    Audit(
        "bars_prove_sessions",
        "Every session with trades was compared with a bar that proves, and equals it.",
        remedy="`smallcaps recheck` asks the vendor for the offenders again.",
        is_warning=True,
    ),
    Audit(
        "proofs_are_kept",
        "Nothing that was proven has lost its proof.",
        remedy="restore the records from a backup, or download: it asks for the offenders again.",
    ),
    Audit(
        "answers_agree",
        "No session has two proven answers that differ.",
        remedy="`smallcaps recheck` asks the vendor for the offenders again.",
        is_warning=True,
    ),
    Audit(
        "files_are_undamaged",
        "Rows, bytes, hashes and schema are those of the records.",
        is_deep=True,
        remedy="`smallcaps repair` moves the offenders aside, a download fetches them; check the "
        "disk.",
    ),
    Audit(
        "tape_is_in_order",
        "Rows lie in tape order; exact duplicates are listed.",
        is_deep=True,
        remedy="a fault of this program: report it with the offenders.",
    ),
    Audit(
        "timestamps_lie_in_their_day",
        "Every print lies on its New York date.",
        is_deep=True,
        remedy="a fault of this program: report it with the offenders.",
    ),
    Audit(
        "prices_lie_within_the_bar",
        "Prices that count lie within high and low.",
        is_deep=True,
        remedy="late or odd prints: look at the conditions of the offenders.",
    ),
    Audit(
        "volume_matches_the_bar",
        "Volume and count equal the daily bar's.",
        is_deep=True,
        remedy="the table lists sessions and conditions; bars of another source count differently.",
    ),
    Audit(
        "no_orphans",
        "Every file has a record, every session a plan or an import.",
        is_deep=True,
        remedy="`smallcaps repair` moves the orphans aside.",
    ),
)
"""Every audit of `trades`, in the order of reports."""


class StoredVerdict(msgspec.Struct, frozen=True):
    """A verdict of the last deep audit, as its file holds it."""

    name: str
    passed: bool
    summary: str
    numbers: dict[str, Number]
    offenders: list[dict[str, str | int | float | bool | None]]


class StoredAudit(msgspec.Struct, frozen=True):
    """The last deep audit.

    Attributes:
        audited_at: When it ended.
        stored_sessions: Sessions in the lake at that time.
        verdicts: Verdicts of the deep audits.
        newest_commit_at: When the newest receipt was written that it was sure to see; ``None``: an
            older version of this program audited.
    """

    audited_at: dt.datetime
    stored_sessions: int
    verdicts: list[StoredVerdict]
    newest_commit_at: dt.datetime | None = None


def keep_deep(verdicts: Mapping[str, Verdict]) -> list[StoredVerdict]:
    """Select the deep verdicts, with the first rows of their offenders."""
    kept = []
    for name in (audit.name for audit in AUDITS if audit.is_deep):
        one = verdicts[name]
        offenders = plain_rows(one.offenders.head(KEPT_OFFENDERS))
        kept.append(StoredVerdict(name, one.passed, one.summary, one.numbers, offenders))
    return kept


def write_last_audit(layout: LakeLayout, fs: FileSystem, audit: StoredAudit) -> None:
    """Remember an audit in place of the last one."""
    path = layout.last_audit_file
    fs.make_folders(path.parent, root=layout.data_dir)
    fs.publish({path: msgspec.json.format(msgspec.json.encode(audit))}, root=layout.data_dir)


def read_last_audit(layout: LakeLayout, fs: FileSystem) -> StoredAudit | None:
    """Read the last deep audit; ``None``: there was none, or its file cannot be read.

    What cannot be read is made again by the next audit.
    """
    try:
        return decode_json(fs.read(layout.last_audit_file), StoredAudit)
    except (MissingPartitionError, *DECODER_FAULTS):
        return None


def recall_audit(
    last: StoredAudit | None, ledger: LedgerReader, now: dt.datetime
) -> dict[str, Verdict]:
    """Tell the deep verdicts of the last audit with their age; red where there was none."""
    if last is None:
        return {audit.name: _never_audited() for audit in AUDITS if audit.is_deep}
    age_h = (now - last.audited_at).total_seconds() / 3600
    # A session that was repaired and fetched again leaves the number of sessions as it was.
    since = ledger.count_committed_since(last.newest_commit_at or last.audited_at)
    fresh = format_count(since, "session")
    note = f" (deep audit of {last.audited_at:%Y-%m-%d %H:%M} UTC, {fresh} since)"
    return {
        verdict.name: Verdict(
            verdict.passed,
            verdict.summary + note,
            verdict.numbers | {"audit_age_h": round(age_h, 2), "sessions_since": since},
            pl.DataFrame(verdict.offenders),
        )
        for verdict in last.verdicts
    }


def _never_audited() -> Verdict:
    return Verdict(
        passed=False,
        summary="never audited: run the job audit_lake or `smallcaps audit --deep`",
        numbers={"never_audited": 1},
    )


def plain_rows(frame: pl.DataFrame) -> list[dict[str, str | int | float | bool | None]]:
    """List rows by column, with values that JSON has."""
    dates = pl.selectors.temporal().cast(pl.String)
    return frame.with_columns(dates).to_dicts() if frame.width else []
