"""Words for what an archive's files are: kinds of findings, their weights, the verdicts.

What belongs here: the names, and which of them let a session agree with its bar.  What does not:
how a finding is made (``times``, ``columns``, ``evidence``, ``sessions``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ArchiveVerdict(StrEnum):
    """What an archive's session is worth.

    The values are those of receipts, ledgers and JSON, and never change: lakes of earlier versions
    hold them.  ``proven`` claims more than can be shown: what is shown to a reader is ``word``.
    """

    PROVEN = "proven"
    UNPROVEN = "unproven"
    UNUSABLE = "unusable"

    @property
    def word(self) -> str:
        """Say what was found out: a session ``agrees`` with its bar, or it does not."""
        return "agrees" if self is ArchiveVerdict.PROVEN else self.value


class FindingKind(StrEnum):
    """What is missing from an archive's file or session, or suspicious in it."""

    UNREADABLE = "unreadable"
    EMPTY = "empty"
    MISSING_COLUMNS = "missing_columns"
    AMBIGUOUS_COLUMNS = "ambiguous_columns"
    RENAMED_COLUMNS = "renamed_columns"
    TYPES_DIFFER = "types_differ"
    LOSSY_TYPES = "lossy_types"
    MISSING_VALUES = "missing_values"
    BAD_VALUES = "bad_values"
    CUT_TO_SECONDS = "cut_to_seconds"
    COARSE_TIMESTAMPS = "coarse_timestamps"
    NAIVE_TIMES = "naive_times"
    LOCAL_TIMES = "local_times"
    WHOLE_PAGES = "whole_pages"
    DEDUPLICATED = "deduplicated"
    REPEATED_ROWS = "repeated_rows"
    NO_MARK = "no_mark"
    PHASES_ABSENT = "phases_absent"
    PHASES_IMPLAUSIBLE = "phases_implausible"
    WRONG_PHASE = "wrong_phase"
    WRONG_DAY = "wrong_day"
    UTC_DAY = "utc_day"
    WRONG_TICKER = "wrong_ticker"
    NO_SESSION = "no_session"
    NO_BAR = "no_bar"
    VOLUME_DIFFERS = "volume_differs"
    COUNT_DIFFERS = "count_differs"
    PRICES_OUTSIDE = "prices_outside"
    PRICES_DIFFER = "prices_differ"
    VWAP_DIFFERS = "vwap_differs"
    CLOCKS_DIFFER = "clocks_differ"
    REPEATED_IDS = "repeated_ids"
    REPEATED_NUMBERS = "repeated_numbers"
    DISORDERED_NUMBERS = "disordered_numbers"
    VENUES_CONTRADICT = "venues_contradict"


NOTES: Final = frozenset(
    {
        FindingKind.EMPTY,
        FindingKind.RENAMED_COLUMNS,
        FindingKind.TYPES_DIFFER,
        FindingKind.NAIVE_TIMES,
        FindingKind.WHOLE_PAGES,
        FindingKind.DEDUPLICATED,
        FindingKind.NO_MARK,
        FindingKind.PHASES_ABSENT,
    }
)
"""Findings that equality with the daily bar refutes, or that lose nothing; all others do not.

A session of exactly 50,000 trades is possible, and so is one without after-hours: what was lost
with a page or a phase is missing from volume and count.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing or suspicious.

    Attributes:
        file: The file it is about, relative to the archive; empty: the session.
    """

    kind: FindingKind
    message: str
    file: str = ""

    @property
    def is_note(self) -> bool:
        """Say whether the session may agree with its bar all the same."""
        return self.kind in NOTES

    def describe(self) -> str:
        """Describe it in one line."""
        where = f"{self.file}: " if self.file else ""
        return f"{where}{self.kind.value}: {self.message}"


def judge_findings(rows: int, findings: Iterable[Finding]) -> ArchiveVerdict:
    """Judge a session of some rows by its findings."""
    if not rows:
        return ArchiveVerdict.UNUSABLE
    agrees = all(finding.is_note for finding in findings)
    return ArchiveVerdict.PROVEN if agrees else ArchiveVerdict.UNPROVEN
