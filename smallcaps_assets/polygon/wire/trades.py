"""Pages of trades: bodies to columns.

What belongs here: the fields of a trade as sent, their columns, and decoding a page of them in
blocks. What does not: envelopes and rows of other endpoints (``envelopes``), whether a page fits
into its chain (``chain``). Types are fixed and never guessed from values: an integral price is a
float, a rounded timestamp is an error. Unknown fields are ignored.
"""

import math
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from smallcaps_assets.errors import DataError, PayloadError, VendorError
from smallcaps_assets.polygon.wire.envelopes import WIRE_FAULTS, Page, decode_page, disbelieving
from smallcaps_assets.schemas import INSTANT, TRADES, VENDOR_COLUMNS

Int8 = Annotated[int, msgspec.Meta(ge=-(2**7), le=2**7 - 1)]
Int16 = Annotated[int, msgspec.Meta(ge=-(2**15), le=2**15 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

Conditions = tuple[int, ...] | None
TradesPage = Page[pl.DataFrame]
"""A page whose rows are columns: ``ticker`` and the vendor's columns of ``schemas.TRADES``."""

TRADE_COLUMNS: Final = pl.Schema(
    {name: TRADES.columns[name].dtype for name in ("ticker", *VENDOR_COLUMNS)}
)
"""Columns of a page."""

BLOCK_BYTES: Final = 512 * 1024
"""Text of about 2,500 trades: their objects stay in reach of the processor while each column is
read from them, which halves its cost, and a page of 50,000 never exists as objects."""

_RESULTS: Final = b'"results":'
_STAND_IN: Final = "rows apart"
_CLOSING: Final = ord("]")


class TradeRow(msgspec.Struct, kw_only=True, gc=False):
    """One trade as sent.

    The fields stand in the order in which the vendor sends them, which makes finding them
    cheap; conditions are a tuple so that equal ones can be found.  The vendor does not name the
    ticker; where something does, it has to be the one asked for.
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
    ticker: str | None = None
    symbol: str | None = msgspec.field(default=None, name="T")


_ROWS: Final = msgspec.json.Decoder(list[TradeRow])


def decode_trades_page(body: bytes, ticker: str, *, url: str, secret: str = "") -> TradesPage:
    """Decode a page of trades into columns, in the order sent.

    ``size`` is ``decimal_size`` where that was sent, because ``size`` has lost its fraction
    then.  An absent correction is 0; every other absent value is null, and so are an empty id and
    an empty list of conditions.

    Arguments and errors are those of ``decode_page``; a row without a size is a ``PayloadError``.
    """
    try:
        with disbelieving(url):
            if len(body) > BLOCK_BYTES:
                page = _decode_in_blocks(body, ticker, url)
                if page is not None:
                    return page
            whole = decode_page(body, TradeRow, url=url, secret=secret, ticker=ticker)
            return _replace_rows(whole, frame_trades(whole.rows, ticker))
    except DataError as error:
        raise PayloadError(str(error), url=url, status=HTTPStatus.OK) from error


def frame_trades(rows: Sequence[TradeRow], ticker: str) -> pl.DataFrame:
    """Turn rows into columns, as :func:`decode_trades_page` does.

    Raises:
        DataError: A row has no size, or one that is no number, or names another ticker.
    """
    named = {row.ticker for row in rows} | {row.symbol for row in rows}
    if others := named - {None, ticker}:
        raise DataError(f"expected trades of {ticker}, got some of {min(map(str, others))}")
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


def _decode_in_blocks(body: bytes, ticker: str, url: str) -> TradesPage | None:
    """Decode a long page by its blocks; ``None`` where it has to be read as a whole.

    JSON is read from left to right, so a body holds these rows and no others where it is valid
    with a stand-in for all of them, the stand-in is its results, and every block is valid in
    brackets of its own: a cut inside a text or a nested value would leave neither side valid.
    """
    first = body.find(_RESULTS) + len(_RESULTS)
    last = body.rfind(b"}]") + 1
    if body[first : first + 2] != b"[{" or last <= first:
        return None
    short = b'%b["%b"]%b' % (body[:first], _STAND_IN.encode(), body[last + 1 :])
    try:
        page = decode_page(short, str, url=url, ticker=ticker)
        if page.rows != [_STAND_IN]:
            return None
        frames = [frame_trades(rows, ticker) for rows in _iter_blocks(body, first + 1, last)]
    except (VendorError, *WIRE_FAULTS):
        return None
    return _replace_rows(page, pl.concat(frames, rechunk=False))


def _iter_blocks(body: bytes, first: int, last: int) -> Iterator[list[TradeRow]]:
    """Yield the rows whose text is ``body[first:last]`` in blocks.

    All blocks are copied between the same two brackets: fresh memory for each would cost the
    kernel more than the copy.
    """
    text, buffer = memoryview(body), bytearray(b"[")
    while first < last:
        found = body.find(b"},{", first + BLOCK_BYTES, last)
        end = last if found < 0 else found + 1
        size = end - first + 2
        if len(buffer) < size:
            buffer.extend(bytes(size - len(buffer)))
        buffer[1 : size - 1] = text[first:end]
        buffer[size - 1] = _CLOSING
        yield _ROWS.decode(memoryview(buffer)[:size])
        first = end + 1


def _replace_rows(page: Page[Any], trades: pl.DataFrame) -> TradesPage:
    return Page(trades, page.status, page.next_url, page.has_results)


def _build_series(name: str, values: list[Any]) -> pl.Series:
    """Build one column; an instant is cheaper to build as the integer it is."""
    dtype = TRADE_COLUMNS[name]
    if dtype == INSTANT:
        return pl.Series(name, values, dtype=pl.Int64).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _build_sizes(rows: Sequence[TradeRow]) -> pl.Series:
    """Build exact sizes; floats of at most 15 digits hold the vendor's decimals exactly."""
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


class _Codes(dict[Conditions, int]):
    """Numbers what it is asked for in the order of first sight; no call per row in Python."""

    def __missing__(self, key: Conditions) -> int:
        self[key] = number = len(self)
        return number


def _build_conditions(rows: Sequence[TradeRow]) -> pl.Series:
    """Build the conditions by looking equal ones up: 20 times faster than a list per row."""
    codes = _Codes()
    indices = [*map(codes.__getitem__, [row.conditions for row in rows])]
    distinct = [[*conditions] if conditions else None for conditions in codes]
    # By Arrow: polars takes 0.1 ms a list.
    lookup = pl.Series("conditions", pa.array(distinct, pa.large_list(pa.int32())))
    conditions: pl.Series = lookup[pl.Series(indices, dtype=pl.UInt32)]
    return conditions
