"""Receipts: what is proven of a stored ticker-session.

What belongs here: the fields of a receipt, and its text in an export or an old lake, with the seal
that shows an edit.  What does not: the entry of a record that it is made of
(``lake.segments.receipts``), what it leads to (``lake.ledger.writer``).
"""

import datetime as dt
from typing import Final

import msgspec

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.ticks.disputes import Asking, Deficit, Figures
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.storage.seals import encode_sealed, hash_fields, parse_sealed

RECEIPT_VERSION: Final = 2
"""Version of the fields below; a newer receipt is refused, an older one is read."""


class ImportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an import knows of a ticker-session that came from an archive.

    Attributes:
        fingerprint: Hash of names, sizes and times of its files in the archive, and of the prices
            of its daily bar.
        verdict: ``proven``: it agrees with its daily bar and with itself; ``unproven``: it does
            not, or nothing tells.
        findings: What is missing or suspicious, a line each.
        is_accepted_unproven: A person accepted it all the same.
    """

    fingerprint: str
    verdict: str
    findings: tuple[str, ...] = ()
    is_accepted_unproven: bool = False


class FetchFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What the fetch of a ticker-session knows and its rows do not tell.

    Attributes:
        state: ``complete`` or ``disputed`` with rows; ``empty`` or ``empty_unverified`` without;
            ``imported_unproven`` in the tree of imports.
        pages: Pages of the request range it came from.
        requests: Requests of that range, retries included.
        repeats_dropped: Exact repeats dropped at page seams.
        is_seam_ambiguous: Equal rows lay on both sides of a seam, and were kept.
        gte_ns: First instant of what was asked for, the closed days before its first session
            included; nanoseconds since 1970.
        lt_ns: End of what was asked for, not included.
        vendor_status: Status of the last page, ``OK`` or ``DELAYED``.
        bar_volume: Shares by the daily bar; ``None``: no bar is known.
        bar_trade_count: Trades by the daily bar; ``None``: unknown.
        volume: Shares by the vendor's condition rules; ``None``: not measured.
        trade_count: Trades by those rules; ``None``: not measured.
        original_volume: Shares with withdrawn originals counted, as a bar older than a cancel
            has them; ``None``: not measured.
        original_trade_count: Trades counted likewise.
        volume_deficit: Share of the bar's volume that lacks; ``None``: not compared.
        count_deficit: The same of its trades.
        marks: What its bar leaves open, of ``core.disputes.MARKS``.
        askings: Answers about it since its bar disputes it, the oldest first.
        revision: 1, and one more each time that its receipt was replaced on purpose.
        is_accepted_disputed: A person accepted what its bar disputes.
        is_accepted_empty: A person accepted that there are no trades.
        is_imported: It came from files, not from requests.
        archive: What the import knows; ``None``: it came from requests.
        run_id: Run that fetched it.
        started_at: When the fetch began.
    """

    state: str
    pages: int
    requests: int
    gte_ns: int
    lt_ns: int
    vendor_status: str
    run_id: str
    started_at: dt.datetime
    repeats_dropped: int = 0
    is_seam_ambiguous: bool = False
    bar_volume: float | None = None
    bar_trade_count: int | None = None
    volume: float | None = None
    trade_count: int | None = None
    original_volume: float | None = None
    original_trade_count: int | None = None
    volume_deficit: float | None = None
    count_deficit: float | None = None
    marks: tuple[str, ...] = ()
    askings: tuple[Asking, ...] = ()
    revision: int = 1
    is_accepted_disputed: bool = False
    is_accepted_empty: bool = False
    is_imported: bool = False
    archive: ImportFacts | None = None

    @property
    def figures(self) -> Figures:
        """Tell what it traded, and what its bar says."""
        return Figures(
            self.volume,
            self.trade_count,
            self.original_volume,
            self.original_trade_count,
            self.bar_volume,
            self.bar_trade_count,
        )

    @property
    def deficit(self) -> Deficit:
        """How much of its bar it lacks."""
        return Deficit(self.volume_deficit, self.count_deficit)


class Receipt(FetchFacts, frozen=True, kw_only=True):
    """What is proven of a stored ticker-session.

    Attributes:
        ticker: Vendor's symbol.
        session_date: New York date.
        source: Source the lake is bound to.
        schema_version: Version of the tables it was written by.
        rows: Its trades.
        bytes: Size of the file, or the session's share of a part.
        sha256: Hash of the file; ``None``: it has none of its own.
        content_hash: Hash of the rows, whatever the file's encoding.
        first_sip_timestamp: First instant on the tape, nanoseconds since 1970.
        last_sip_timestamp: Last one.
        rows_by_phase: Rows of each trading phase that has any.
        committed_at: When the receipt was written.
        receipt_version: Version of these fields.
    """

    ticker: str
    session_date: dt.date
    source: str
    schema_version: int
    rows: int
    bytes: int
    sha256: str | None
    content_hash: str
    first_sip_timestamp: int | None
    last_sip_timestamp: int | None
    rows_by_phase: dict[str, int]
    committed_at: dt.datetime
    receipt_version: int = RECEIPT_VERSION

    @property
    def key(self) -> str:
        """The partition key."""
        return encode_key(self.ticker, self.session_date)

    @property
    def receipt_sha256(self) -> str:
        """Make the seal: the hash of all fields in canonical JSON."""
        return hash_fields(msgspec.to_builtins(self))


def encode_receipt(receipt: Receipt) -> bytes:
    """Write the text of a receipt, with its seal; equal receipts have equal texts."""
    return encode_sealed(receipt, "receipt")


def parse_receipt(text: bytes, *, where: str) -> Receipt:
    """Read the file of a receipt, named ``where``, and raise as :func:`parse_sealed` does."""
    return parse_sealed(text, "receipt", Receipt, RECEIPT_VERSION, where)


def parse_own_receipt(text: bytes, ticker: str, session_date: dt.date, *, where: str) -> Receipt:
    """Read the file of a receipt in the folder of a session.

    Raises:
        LedgerMismatchError: It is damaged, edited, or that of another session.
    """
    receipt = parse_receipt(text, where=where)
    if (receipt.ticker, receipt.session_date) != (ticker, session_date):
        raise LedgerMismatchError(f"receipt {where} is that of {receipt.key}, not of its folder")
    return receipt
