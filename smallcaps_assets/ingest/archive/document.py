"""What an import says of an archive: line by line, and as the document of `--json`.

What does not belong here: what becomes of sessions (``outcomes``), and the screen (``cli``).
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from smallcaps_assets.core.documents import Document, Part
from smallcaps_assets.ingest.archive.outcomes import (
    DESCRIPTIONS,
    Action,
    ImportedSession,
    ImportSummary,
)
from smallcaps_assets.lake.interchange.archives import Stray

NOT_IN_THE_LAKE: Final = (Action.KEPT_APART, Action.LEFT, Action.UNCHANGED)
"""Actions that leave the lake without the session."""


class SessionItem(Part, frozen=True, kw_only=True, tag_field="kind", tag="session"):
    """A ticker-session of the archive.

    Attributes:
        kind: What the item is.
        key: Ticker and date, ``TICKER_YYYY-MM-DD``.
        action: What was done with it, or would be: ``stored``, ``accepted``, ``kept_apart``,
            ``left``, ``known`` (in the lake before) or ``unchanged`` since it was last judged.
        verdict: What it is worth; null: it was not looked at.
        rows: Its trades.
        files: Its files, relative to the archive.
        findings: What is missing or suspicious, a sentence each.
    """

    key: str
    action: str
    verdict: str | None
    rows: int
    files: tuple[str, ...]
    findings: tuple[str, ...]


class StrayItem(Part, frozen=True, kw_only=True, tag_field="kind", tag="stray"):
    """A file or folder of the archive that is no session.

    Attributes:
        kind: What the item is.
        stray: Its name, relative to the archive.
        message: Why it is no session.
    """

    stray: str
    message: str


class ImportCounts(Part, frozen=True, kw_only=True):
    """An import in counts.

    Attributes:
        files: Files of the sessions.
        sessions: Sessions by action.
        rows: Trades of those stored.
        findings: Sessions by kind of finding.
        strays: Files and folders that are no session.
    """

    files: int
    sessions: dict[str, int]
    rows: int
    findings: dict[str, int]
    strays: int


class ImportDocument(Document, frozen=True, kw_only=True):
    """What became of everything in an archive.

    Attributes:
        schema_version: Version of this document.
        items: Everything in the archive, in the order in which it was judged.
        summary: The same in counts.
    """

    schema_version: Literal[1] = 1
    items: list[SessionItem | StrayItem]
    summary: ImportCounts


def document_import(
    found: Iterable[ImportedSession | Stray], summary: ImportSummary
) -> ImportDocument:
    """Tell all of an import that is over."""
    return ImportDocument(
        items=[_describe(item) for item in found],
        summary=ImportCounts(
            files=summary.files,
            sessions={action.value: summary.sessions[action] for action in Action},
            rows=summary.rows,
            findings=dict(sorted(summary.findings.items())),
            strays=summary.strays,
        ),
    )


def list_lines(found: ImportedSession | Stray) -> Iterator[str]:
    """Yield what a person is told: of sessions with doubtful rows, and of what is no session.

    Names of files may hold anything: nothing in a line is obeyed by a terminal.
    """
    if isinstance(found, Stray):
        yield _escape(f"{found.name}: no session: {found.message}")
    elif found.verdict and found.action in (*NOT_IN_THE_LAKE, Action.ACCEPTED):
        yield _escape(f"{found.key}: {found.verdict.word}: {DESCRIPTIONS[found.action]}")
        yield from (_escape(f"  {finding}") for finding in found.findings)


def list_stored(found: Iterable[ImportedSession | Stray]) -> list[str]:
    """List the keys of sessions that the lake has now."""
    return [item.key for item in found if isinstance(item, ImportedSession) and item.is_stored]


def count_left_out(summary: ImportSummary) -> int:
    """Count the sessions of the archive that the lake does not have."""
    return sum(summary.sessions[action] for action in NOT_IN_THE_LAKE)


def _describe(found: ImportedSession | Stray) -> SessionItem | StrayItem:
    if isinstance(found, Stray):
        return StrayItem(stray=_make_utf8(found.name), message=_make_utf8(found.message))
    return SessionItem(
        key=found.key,
        action=found.action.value,
        verdict=found.verdict and found.verdict.value,
        rows=found.rows,
        files=tuple(map(_make_utf8, found.files)),
        findings=tuple(map(_make_utf8, found.findings)),
    )


def _make_utf8(text: str) -> str:
    """Write out the bytes of a file name that are not UTF-8: JSON has no form of them."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _escape(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
