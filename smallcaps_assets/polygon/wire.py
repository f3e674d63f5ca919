"""The wire format: bodies to typed rows, rows of trades to columns.

What belongs here: types of the vendor's fields and their columns.  What does not: HTTP, and
whether a page fits into its chain (``chain``).  Types are fixed and never guessed from values:
an integral price is a float, a rounded timestamp is an error.  Unknown fields are ignored.
"""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Generic, TypeVar, cast

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from smallcaps_assets.errors import (
    DataError,
    NotEntitledError,
    PayloadError,
    RateLimitError,
    VendorError,
)
from smallcaps_assets.polygon.redaction import mask_secret
from smallcaps_assets.schemas import INSTANT, TRADES, VENDOR_COLUMNS

Row = TypeVar("Row")

GOOD_STATUSES: Final = frozenset({"OK", "DELAYED"})
"""Statuses that come with data; DELAYED is the answer to plans of 15 minutes' delay."""

MAX_VENDOR_TEXT: Final = 300
"""Characters of the vendor's words that an error keeps."""

Int8 = Annotated[int, msgspec.Meta(ge=-(2**7), le=2**7 - 1)]
Int16 = Annotated[int, msgspec.Meta(ge=-(2**15), le=2**15 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class TradeRow(msgspec.Struct, kw_only=True, gc=False):
    """One trade as sent.

    The fields stand in the order in which the vendor sends them, which makes finding them
    cheap; conditions are a tuple so that equal ones can be found.
    """

    conditions: tuple[Int32, ...] | None = None
    correction: Int8 | None = None
    decimal_size: str | None = None
    exchange: Int16 | None = None
    id: str | None = None
    participant_timestamp: Int64 | None = None
    price: float
    sequence_number: Int64 | None = None
    sip_timestamp: Int64
    size: float | None = None
    tape: Int8 | None = None
    trf_id: Int16 | None = None
    trf_timestamp: Int64 | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One body whose status is good.

    Attributes:
        rows: Its results; empty when there are none.
        status: ``OK`` or ``DELAYED``.
        next_url: Address of the next page, or ``None`` on the last.
        request_id: The vendor's name of the request.
        has_results: The member ``results`` was there and a list.
    """

    rows: list[Row]
    status: str
    next_url: str | None
    request_id: str | None
    has_results: bool


TradesPage = Page[TradeRow]


class _Envelope(msgspec.Struct):
    """What every body has."""

    status: str = ""


class _Body(_Envelope, Generic[Row]):
    """The members of a body that matter."""

    results: list[Row] | None = None
    next_url: str | None = None
    request_id: str | None = None
    results_count: int | None = msgspec.field(default=None, name="resultsCount")
    adjusted: bool | None = None


class _ItemBody(_Envelope, Generic[Row]):
    """The members that matter of a body about one thing."""

    results: Row | None = None


Envelope = TypeVar("Envelope", bound=_Envelope)


class _Verdict(msgspec.Struct):
    """The members of a body that say what went wrong, whatever their types."""

    status: Any = None
    error: Any = None
    message: Any = None


def decode_trades_page(body: bytes, *, url: str, secret: str = "") -> TradesPage:
    """Return a page of trades.

    Args:
        body: The inflated body of a response with status 200.
        url: Address without its query, for errors.
        secret: The key, removed from what the vendor says.

    Raises:
        PayloadError: It is no JSON, or not of the vendor's types, or has no good status.
        NotEntitledError: The vendor refuses with status NOT_AUTHORIZED.
        RateLimitError: The vendor refuses because of the rate.
    """
    return decode_page(body, TradeRow, url=url, secret=secret)


def decode_page(body: bytes, row_type: type[Row], *, url: str, secret: str = "") -> Page[Row]:
    """Return a page of rows of any type; raises like :func:`decode_trades_page`."""
    envelope: _Body[Row] = _decode(_decoder(_Body, row_type), body, url, secret)
    _check_facts(envelope, url)
    return Page(
        rows=envelope.results or [],
        status=envelope.status,
        next_url=envelope.next_url or None,
        request_id=envelope.request_id,
        has_results=envelope.results is not None,
    )


def decode_item(body: bytes, row_type: type[Row], *, url: str, secret: str = "") -> Row:
    """Return the one thing a body is about; raises like :func:`decode_trades_page`."""
    envelope: _ItemBody[Row] = _decode(_decoder(_ItemBody, row_type), body, url, secret)
    if envelope.results is None:
        raise PayloadError("the body has no results", url=url, status=HTTPStatus.OK)
    return envelope.results


def read_vendor_text(body: bytes, *, secret: str = "") -> str:
    """Return what the vendor says about a refusal, or an empty text if that is unreadable."""
    verdict = _read_verdict(body)
    return "" if verdict is None else _clean(verdict.error or verdict.message, secret)


def refuse(status: int, text: str, *, url: str) -> VendorError:
    """Return the error behind a refusal with a text; one unheard of is a ``PayloadError``."""
    lowered = text.lower()
    if "maximum requests per minute" in lowered:
        return RateLimitError(url=url)
    if status == HTTPStatus.FORBIDDEN or "not_authorized" in lowered:
        is_timeframe = "timeframe" in lowered or "today's data" in lowered
        return NotEntitledError(text, url=url, status=status, is_timeframe=is_timeframe)
    return PayloadError(text, url=url, status=status)


ROWS_IN_REACH: Final = 4_096
"""Rows whose objects a processor keeps at hand while each column is read from them."""


def frame_trades(rows: list[TradeRow], ticker: str) -> pl.DataFrame:
    """Return rows as columns: ``ticker`` and the vendor's columns of ``schemas.TRADES``.

    The order is kept.  ``size`` is ``decimal_size`` where that was sent, because ``size`` has
    lost its fraction then.  An absent correction is 0; every other absent value is null, and so
    are an empty id and an empty list of conditions.

    Raises:
        DataError: A row has no size, or one that is no number.
    """
    if len(rows) <= ROWS_IN_REACH:
        return _frame_block(rows, ticker)
    starts = range(0, len(rows), ROWS_IN_REACH)
    blocks = [_frame_block(rows[start : start + ROWS_IN_REACH], ticker) for start in starts]
    return pl.concat(blocks, rechunk=True)


def _frame_block(rows: list[TradeRow], ticker: str) -> pl.DataFrame:
    """Return neighbouring rows as columns; a whole page at once would wait for its memory."""
    columns: dict[str, list[Any]] = {
        "sip_timestamp": [row.sip_timestamp for row in rows],
        "participant_timestamp": [row.participant_timestamp for row in rows],
        "trf_timestamp": [row.trf_timestamp for row in rows],
        "sequence_number": [row.sequence_number for row in rows],
        "id": [row.id or None for row in rows],
        "price": [row.price for row in rows],
        "exchange": [row.exchange for row in rows],
        "tape": [row.tape for row in rows],
        "trf_id": [row.trf_id for row in rows],
        "correction": [row.correction or 0 for row in rows],
    }
    series = {name: _build_series(name, values) for name, values in columns.items()}
    series["ticker"] = pl.Series("ticker", [ticker], dtype=pl.String).new_from_index(0, len(rows))
    series |= {"size": _build_sizes(rows), "conditions": _build_conditions(rows)}
    return pl.DataFrame([series[name] for name in TRADE_COLUMNS])


TRADE_COLUMNS: Final = pl.Schema(
    {name: TRADES.columns[name].dtype for name in ("ticker", *VENDOR_COLUMNS)}
)
"""Columns of :func:`frame_trades`."""


def _build_series(name: str, values: list[Any]) -> pl.Series:
    """Return one column; an instant is cheaper to build as the integer it is."""
    dtype = TRADE_COLUMNS[name]
    if dtype == INSTANT:
        return pl.Series(name, values, dtype=pl.Int64).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _build_sizes(rows: list[TradeRow]) -> pl.Series:
    """Return exact sizes; floats of at most 15 digits hold the vendor's decimals exactly."""
    sizes = pl.Series("size", [row.size for row in rows], dtype=pl.Float64)
    texts = pl.Series("size", [row.decimal_size for row in rows], dtype=pl.String)
    if texts.null_count() < texts.len():
        # As numpy has them, absent ones are NaN, which the vendor can send in neither field.
        decimals, whole = _parse_decimals(texts).to_numpy(), sizes.to_numpy()
        merged = np.where(np.isnan(decimals), whole, decimals)
        sizes = pl.Series("size", merged, nan_to_null=True)
    if missing := sizes.null_count():
        raise DataError(f"{missing} of {len(rows)} trades have neither size nor decimal_size")
    return sizes


def _parse_decimals(texts: pl.Series) -> pl.Series:
    try:
        sizes = texts.cast(pl.Float64)
    except pl.exceptions.InvalidOperationError as error:
        raise DataError("decimal_size: expected a number as text, got another text") from error
    # Adding up is quicker than asking each, but many large ones overflow.
    if not math.isfinite(sizes.sum()) and not sizes.drop_nulls().is_finite().all():
        raise DataError("decimal_size: expected a finite number")
    return sizes


def _build_conditions(rows: list[TradeRow]) -> pl.Series:
    """Return the conditions by looking equal ones up: 20 times faster than a list per row."""
    codes: dict[tuple[int, ...] | None, int] = {}
    indices = [codes.setdefault(row.conditions or None, len(codes)) for row in rows]
    distinct = [None if conditions is None else list(conditions) for conditions in codes]
    # By Arrow: polars takes 0.1 ms a list.
    lookup = pl.Series("conditions", pa.array(distinct, pa.large_list(pa.int32())))
    conditions: pl.Series = lookup[pl.Series(indices, dtype=pl.UInt32)]
    return conditions


_DECODERS: Final[dict[tuple[object, object], msgspec.json.Decoder[Any]]] = {}


def _decoder(body_type: object, row_type: object) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a kind of row; building one costs more than decoding a small page."""
    kind = (body_type, row_type)
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(cast(Any, body_type)[row_type])
    return _DECODERS[kind]


def _decode(
    decoder: msgspec.json.Decoder[Envelope], body: bytes, url: str, secret: str
) -> Envelope:
    """Return a body whose status is good."""
    try:
        envelope = decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _raise_refusal(body, url, secret)
        message = f"expected JSON of trades or references, got {_describe(body)}: {error}"
        raise PayloadError(message, url=url, status=HTTPStatus.OK) from error
    if envelope.status not in GOOD_STATUSES:
        _raise_refusal(body, url, secret)
        raise PayloadError("the body has no status", url=url, status=HTTPStatus.OK)
    return envelope


def _check_facts(envelope: _Body[Row], url: str) -> None:
    """Compare what the envelope says about itself with its rows."""
    count = len(envelope.results or ())
    message = ""
    if envelope.results_count is not None and envelope.results_count != count:
        message = f"resultsCount says {envelope.results_count}, the body has {count}"
    elif envelope.adjusted:
        message = "expected unadjusted bars, got adjusted ones"
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
    """Return a text of the vendor in one short line without the key."""
    line = " ".join(str(text or "").split())
    return mask_secret(line, secret)[:MAX_VENDOR_TEXT]


def _read_verdict(body: bytes) -> _Verdict | None:
    try:
        return msgspec.json.decode(body, type=_Verdict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _describe(body: bytes) -> str:
    kind = "HTML" if body.lstrip()[:1] == b"<" else "text"
    return f"{len(body)} bytes of {kind}" if body else "0 bytes"
