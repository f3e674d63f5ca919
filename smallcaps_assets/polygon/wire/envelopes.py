"""The wire format: bodies to typed rows, and what the vendor says instead of them.

What belongs here: envelopes, rows of any type, and the seam at which whatever a decoder raises
becomes an error of ours.  What does not: HTTP, the fields of trades and their columns
(``trades``), and whether a page fits into its chain (``trail``, ``chain``).
"""

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
import polars as pl
import pyarrow as pa

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, make_decoder, name_fault
from smallcaps_assets.errors import (
    NotEntitledError,
    PayloadError,
    RateLimitError,
    VendorError,
)
from smallcaps_assets.polygon.wire.redaction import mask_secret

Row = TypeVar("Row")
Rows = TypeVar("Rows", bound=Sized)

GOOD_STATUSES: Final = frozenset({"OK", "DELAYED"})
"""Statuses that come with data; DELAYED is the answer to plans of 15 minutes' delay."""

MAX_VENDOR_TEXT: Final = 300
"""Characters of the vendor's words that an error keeps."""

WIRE_FAULTS: Final = (*DECODER_FAULTS, pl.exceptions.PolarsError, pa.ArrowException)
"""What reading a body into rows and columns may raise besides errors of ours."""


@contextmanager
def disbelieving(url: str) -> Iterator[None]:
    """Turn whatever reading a body raises into the failure of its page.

    Raises:
        PayloadError: The body cannot be read.
    """
    try:
        yield
    except WIRE_FAULTS as error:
        raise PayloadError(
            f"expected an answer that can be read, got one that cannot: {name_fault(error)}",
            url=url,
            status=HTTPStatus.OK,
        ) from error


@dataclass(frozen=True, slots=True)
class Page(Generic[Rows]):
    """One body whose status is good.

    Attributes:
        rows: Its results, a list or a table; empty when there are none.
        status: ``OK`` or ``DELAYED``.
        next_url: Address of the next page, or ``None`` on the last.
        has_results: The member ``results`` was there and a list.
    """

    rows: Rows
    status: str
    next_url: str | None
    has_results: bool


class _Envelope(msgspec.Struct):
    """What every body has; an ``error`` of any type beside a good status is one all the same."""

    status: str = ""
    error: Any = None


class _Body(_Envelope, Generic[Row]):
    """The members of a body that matter."""

    results: list[Row] | None = None
    next_url: str | None = None
    request_id: str | None = None
    results_count: int | None = msgspec.field(default=None, name="resultsCount")
    adjusted: bool | None = None
    ticker: str | None = None


class _ItemBody(_Envelope, Generic[Row]):
    """The members that matter of a body about one thing."""

    results: Row | None = None


Envelope = TypeVar("Envelope", bound=_Envelope)


class _Verdict(msgspec.Struct):
    """The members of a body that say what went wrong, whatever their types."""

    status: Any = None
    error: Any = None
    message: Any = None


def decode_page(
    body: bytes, row_type: type[Row], *, url: str, secret: str = "", ticker: str | None = None
) -> Page[list[Row]]:
    """Decode a page of rows of any type that msgspec understands.

    Args:
        body: The inflated body of a response with status 200.
        row_type: Type of a row.
        url: Address without its query, for errors.
        secret: The key, removed from what the vendor says.
        ticker: Whose rows were asked for, where they are those of one ticker.

    Raises:
        PayloadError: It is no JSON, or not of the vendor's types, or has no good status, or names
            another ticker.
        NotEntitledError: The vendor refuses with status NOT_AUTHORIZED.
        RateLimitError: The vendor refuses because of the rate.
    """
    with disbelieving(url):
        envelope: _Body[Row] = _decode(make_decoder(cast(Any, _Body)[row_type]), body, url, secret)
        _check_facts(envelope, url, ticker)
    return Page(
        rows=envelope.results or [],
        status=envelope.status,
        next_url=envelope.next_url or None,
        has_results=envelope.results is not None,
    )


def decode_item(body: bytes, row_type: type[Row], *, url: str, secret: str = "") -> Row:
    """Decode the one thing a body is about; raises like :func:`decode_page`."""
    with disbelieving(url):
        decoder = make_decoder(cast(Any, _ItemBody)[row_type])
        envelope: _ItemBody[Row] = _decode(decoder, body, url, secret)
    if envelope.results is None:
        raise PayloadError("the body has no results", url=url, status=HTTPStatus.OK)
    return envelope.results


def read_vendor_text(body: bytes, *, secret: str = "") -> str:
    """Read what the vendor says about a refusal, or an empty text if that is unreadable."""
    try:
        verdict = _read_verdict(body)
        return "" if verdict is None else _clean(verdict.error or verdict.message, secret)
    except DECODER_FAULTS:
        return ""


def refuse(status: int, text: str, *, url: str) -> VendorError:
    """Choose the error behind a refusal with a text; one unheard of is a ``PayloadError``."""
    lowered = text.lower()
    if "maximum requests per minute" in lowered:
        return RateLimitError(url=url)
    if status == HTTPStatus.FORBIDDEN or "not_authorized" in lowered:
        is_timeframe = "timeframe" in lowered or "today's data" in lowered
        return NotEntitledError(text, url=url, status=status, is_timeframe=is_timeframe)
    return PayloadError(text, url=url, status=status)


def _decode(
    decoder: msgspec.json.Decoder[Envelope], body: bytes, url: str, secret: str
) -> Envelope:
    """Decode a body whose status is good, and which says of no error."""
    try:
        envelope = decoder.decode(body)
    except DECODER_FAULTS as error:
        _raise_refusal(body, url, secret)
        reason = name_fault(error)
        message = f"expected JSON of trades or references, got {_describe(body)}: {reason}"
        raise PayloadError(message, url=url, status=HTTPStatus.OK) from error
    if envelope.status not in GOOD_STATUSES:
        _raise_refusal(body, url, secret)
        raise PayloadError("the body has no status", url=url, status=HTTPStatus.OK)
    if envelope.error:
        text = f"status {envelope.status} with an error: {_clean(envelope.error, secret)}"
        raise refuse(HTTPStatus.OK, text, url=url)
    return envelope


def _check_facts(envelope: _Body[Row], url: str, ticker: str | None) -> None:
    """Compare what the envelope says about itself with its rows."""
    count = len(envelope.results or ())
    message = ""
    if envelope.results_count is not None and envelope.results_count != count:
        message = f"resultsCount says {envelope.results_count}, the body has {count}"
    elif envelope.adjusted:
        message = "expected unadjusted bars, got adjusted ones"
    elif None not in {ticker, envelope.ticker} and envelope.ticker != ticker:
        message = f"expected rows of {ticker}, got a body about {envelope.ticker}"
    if message:
        raise PayloadError(message, url=url, status=HTTPStatus.OK)


def _raise_refusal(body: bytes, url: str, secret: str) -> None:
    """Raise what a body with another status than OK means; return if it is no refusal."""
    verdict = _read_verdict(body)
    status = "" if verdict is None else str(verdict.status or "")
    if verdict is None or not status or status in GOOD_STATUSES:
        return
    text = _clean(verdict.error or verdict.message or "no message", secret)
    raise refuse(HTTPStatus.OK, f"status {_clean(status, secret)}: {text}", url=url)


def _clean(text: object, secret: str) -> str:
    """Clean a text of the vendor: one short line without the key."""
    line = " ".join(str(text or "").split())
    return mask_secret(line, secret)[:MAX_VENDOR_TEXT]


def _read_verdict(body: bytes) -> _Verdict | None:
    try:
        return decode_json(body, _Verdict)
    except DECODER_FAULTS:
        return None


def _describe(body: bytes) -> str:
    kind = "HTML" if body.lstrip()[:1] == b"<" else "text"
    return f"{len(body)} bytes of {kind}" if body else "0 bytes"
