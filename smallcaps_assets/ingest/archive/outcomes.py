"""What becomes of the sessions of an archive, one by one and in sum.

What does not belong here: reading, judging and storing them (``importing``).
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from smallcaps_assets.core.archive.findings import ArchiveVerdict


class Action(StrEnum):
    """What an import did with a session, or would do."""

    STORED = "stored"
    ACCEPTED = "accepted"
    KEPT_APART = "kept_apart"
    LEFT = "left"
    KNOWN = "known"
    UNCHANGED = "unchanged"


DESCRIPTIONS = {
    Action.STORED: "agrees with its daily bar and with itself, stored in the lake",
    Action.ACCEPTED: "not shown to agree, stored in the lake because it was accepted",
    Action.KEPT_APART: "not shown to agree, kept apart in imported_trades, still to be fetched",
    Action.LEFT: "nothing that could be stored, left where it is",
    Action.KNOWN: "in the lake before",
    Action.UNCHANGED: "looked at before, and neither its files nor its daily bar changed",
}
"""Each action in words."""


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """What became of one session of an archive.

    Attributes:
        files: Its files, relative to the archive.
        verdict: What it is worth; ``None``: it was not looked at, for the lake has it.
        findings: What is missing or suspicious, a line each.
    """

    key: str
    files: tuple[str, ...]
    action: Action
    verdict: ArchiveVerdict | None = None
    rows: int = 0
    findings: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()

    @property
    def is_stored(self) -> bool:
        """Say whether the lake has the session now."""
        return self.action in (Action.STORED, Action.ACCEPTED, Action.KNOWN)


@dataclass(slots=True)
class ImportSummary:
    """Counts of one import, kept up to date while it runs.

    Attributes:
        files: Files of the sessions below.
    """

    files: int = 0
    sessions: Counter[Action] = field(default_factory=Counter)
    rows: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    strays: int = 0

    def add(self, session: ImportedSession) -> None:
        """Count one session."""
        self.files += len(session.files)
        self.sessions[session.action] += 1
        self.findings.update(session.kinds)
        if session.action in (Action.STORED, Action.ACCEPTED):
            self.rows += session.rows
