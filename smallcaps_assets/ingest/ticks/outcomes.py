"""What becomes of ticker-sessions in a download, one by one and in sum."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from smallcaps_assets.core import states
from smallcaps_assets.core.figures import format_count
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.errors import RateLimitError, VendorTimeoutError, VendorUnavailableError
from smallcaps_assets.lake.ledger.rows import (
    SessionRecord,
    describe_dispute,
    describe_session,
)
from smallcaps_assets.lake.sessions.receipts import Receipt
from smallcaps_assets.lakehouse import Lakehouse

UNANSWERED: Final = {VendorUnavailableError.kind, VendorTimeoutError.kind, RateLimitError.kind}
"""Kinds of failure in which the vendor did not answer."""
SHOWN: Final = 5
"""Tickers that a line names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one ticker-session.

    Attributes:
        content_hash: Hash of the rows; empty when the session is not green.
        is_reused: It was finished before this download; no request was made for it.
        kind: Short word for why it is not green.
        message: What was expected, what came and what to do.
        marks: What its daily bar leaves open, of ``core.disputes.MARKS``.
    """

    key: str
    state: str
    rows: int = 0
    bytes: int = 0
    content_hash: str = ""
    is_reused: bool = False
    kind: str = ""
    message: str = ""
    marks: tuple[str, ...] = ()

    @property
    def is_green(self) -> bool:
        """Say whether the session is finished."""
        return self.state in GREEN


@dataclass(slots=True)
class DownloadSummary:
    """Counts of one download, kept up to date while it runs.

    Attributes:
        finished: Sessions committed by this download.
        reused: Sessions finished before it.
        failures: Sessions that are not green, by kind.
        requests: Requests spent, retries included.
        off_session_rows: Prints kept on dates that are no session.
        aborted: Why the download ended early; empty when it did not.
        unreached: Keys that were not asked for, because it ended early.
        unanswered: Sessions that the vendor did not answer, by ticker.
    """

    finished: int = 0
    reused: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    bytes: int = 0
    requests: int = 0
    off_session_rows: int = 0
    aborted: str = ""
    unreached: list[str] = field(default_factory=list)
    unanswered: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if not outcome.is_green:
            self.failures[outcome.kind] += 1
            if outcome.kind in UNANSWERED:
                self.unanswered[decode_key(outcome.key)[0]] += 1
        elif outcome.is_reused:
            self.reused += 1
        else:
            self.finished += 1
            self.rows += outcome.rows
            self.bytes += outcome.bytes

    def describe(self) -> str:
        """Describe the download in one line for logs, errors and terminals."""
        failed = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failures.items()))
        parts = [
            f"{self.finished} fetched",
            f"{self.reused} reused",
            f"{self.failures.total()} failed" + (f" ({failed})" if failed else ""),
        ]
        return "; ".join([*parts, *self._describe_end()])

    def _describe_end(self) -> Iterator[str]:
        """Yield what is wrong with the vendor, and what was not asked for because of it."""
        if self.aborted:
            yield self.aborted
        elif self.unanswered:
            yield self._describe_unanswered()
        if self.unreached:
            count = format_count(len(self.unreached), "session")
            yield f"{count} not reached, first {self.unreached[0]}"

    def _describe_unanswered(self) -> str:
        """Name the tickers that the vendor fails, and tell whether all else is done."""
        tickers = sorted(self.unanswered)
        names = [*tickers[:SHOWN], *([f"{len(tickers) - SHOWN} more"] if tickers[SHOWN:] else [])]
        *most, last = names
        who = f"{', '.join(most)} and {last}" if most else last
        total = self.unanswered.total()
        is_all = total == self.failures.total() and not self.unreached
        return (
            f"{who} {'fail' if most else 'fails'}{', the rest is done' if is_all else ''} "
            f"({format_count(total, 'session')} open)"
        )


def split_finished(
    lakehouse: Lakehouse, keys: Sequence[str]
) -> tuple[list[Outcome], dict[str, str]]:
    """Split keys into finished sessions and the states of the others.

    A process that died before it had replaced a session leaves one that the ledger calls open
    and a record proven; the ledger learns it here, and it is not asked again.
    """
    ledger, store = lakehouse.ledger, lakehouse.sessions
    records = ledger.records(keys)
    plain = {*ledger.find_unlisted(key for key in keys if key not in records)}
    for receipt in store.find_receipts(plain):
        records[receipt.key] = describe_session(receipt)
    is_open = [key for key in keys if key not in records or records[key].state not in GREEN]
    late = [
        receipt
        for receipt in store.find_receipts(ledger.find_told(is_open))
        if not _is_known(receipt, records.get(receipt.key))
    ]
    if late:
        ledger.record_receipts(late)
        records |= ledger.records([receipt.key for receipt in late])
    finished, missing = [], {}
    for key in keys:
        record = records.get(key)
        if record is None or record.state not in GREEN:
            missing[key] = record.state if record else states.PLANNED
            continue
        finished.append(describe_reused(key, record))
    return finished, missing


def describe_reused(key: str, record: SessionRecord) -> Outcome:
    """Describe the outcome of a session that was finished before."""
    return Outcome(
        key,
        record.state,
        rows=record.rows,
        bytes=record.bytes,
        content_hash=record.content_hash,
        is_reused=True,
    )


def describe_stored(receipt: Receipt, run_id: str) -> Outcome:
    """Describe the outcome of a session by its receipt: green, or disputed by its bar."""
    is_disputed = receipt.state == states.DISPUTED
    return Outcome(
        receipt.key,
        receipt.state,
        rows=receipt.rows,
        bytes=receipt.bytes,
        content_hash=receipt.content_hash,
        is_reused=not is_disputed and receipt.run_id != run_id,
        kind=states.DISPUTED if is_disputed else "",
        message=describe_dispute(receipt.figures, receipt.deficit, receipt.askings)
        if is_disputed
        else "",
        marks=receipt.marks,
    )


def _is_known(receipt: Receipt, record: SessionRecord | None) -> bool:
    """Say whether the ledger has the state and the rows of a receipt."""
    if record is None:
        return False
    return (record.state, record.content_hash) == (receipt.state, receipt.content_hash)
