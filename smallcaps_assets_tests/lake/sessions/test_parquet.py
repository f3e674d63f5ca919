import io
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from smallcaps_assets.errors import DataError, SchemaError
from smallcaps_assets.lake.sessions.parquet import (
    decode_trades,
    encode_trades,
    normalise_conditions,
)
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.lake_factories import OPENING_NS, SESSION, make_tape

SMALL_TAPE = make_tape(40)
SMALL_FILE = encode_trades(SMALL_TAPE)

instants = st.integers(0, 2**62)
numbers = st.integers(-(2**63), 2**63 - 1)
amounts = st.floats(width=64)
rows = st.fixed_dictionaries(
    {
        "ticker": st.just("BCpC"),
        "session_date": st.just(SESSION),
        "sip_timestamp": instants,
        "participant_timestamp": st.none() | instants,
        "trf_timestamp": st.none() | instants,
        "sequence_number": st.none() | numbers,
        "id": st.none() | st.text(max_size=12),
        "price": amounts,
        "size": amounts,
        "exchange": st.none() | st.integers(-(2**15), 2**15 - 1),
        "tape": st.none() | st.integers(-128, 127),
        "trf_id": st.none() | st.integers(-(2**15), 2**15 - 1),
        "conditions": st.none()
        | st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=4),
        "correction": st.integers(0, 12),
        "trading_phase": st.sampled_from(["pre_market", "regular", "after_hours", "closed"]),
        "is_late_report": st.booleans(),
    }
)
tapes = st.lists(rows, max_size=20)


def frame_rows(tape: list[dict[str, object]]) -> pl.DataFrame:
    """Return ``schemas.TRADES`` of rows whose instants are integers."""
    physical = {
        name: pl.Int64 if dtype == pl.Datetime("ns", "UTC") else dtype
        for name, dtype in TRADES.schema.items()
    }
    return pl.DataFrame(tape, schema=physical).cast(TRADES.schema)


def store_uncompressed(trades: pl.DataFrame) -> bytes:
    """Return a file with checksums in which a flipped bit of a page changes a value."""
    buffer = io.BytesIO()
    table = trades.to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(
        table, buffer, compression="none", use_dictionary=False, write_page_checksum=True
    )
    return buffer.getvalue()


@given(tapes)
def test_decode_trades_undoes_encode_trades(tape: list[dict[str, object]]) -> None:
    trades = frame_rows(tape)

    decoded = decode_trades(encode_trades(trades))

    assert_frame_equal(decoded, trades, check_exact=True)


def test_polars_duckdb_and_pyarrow_read_equal_values(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    trades = make_tape(300).with_columns(
        sequence_number=pl.when(pl.int_range(pl.len()) % 7 > 0).then("sequence_number")
    )
    path.write_bytes(encode_trades(trades))

    by_polars = pl.read_parquet(path, hive_partitioning=False)
    by_pyarrow = pl.DataFrame(pq.read_table(path))
    by_duckdb = duckdb.read_parquet(str(path), hive_partitioning=False).pl()

    assert_frame_equal(by_polars, trades, check_exact=True)
    assert_frame_equal(by_pyarrow, trades, check_exact=True)
    assert_frame_equal(by_duckdb.cast(TRADES.schema), trades, check_exact=True)


def test_nanoseconds_survive_in_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    odd_ns = [OPENING_NS + 1, OPENING_NS + 999_999_999, OPENING_NS + 1_000_000_007]
    odd = pl.Series(odd_ns).cast(pl.Datetime("ns", "UTC"))
    path.write_bytes(encode_trades(make_tape(3).with_columns(sip_timestamp=odd)))

    by_duckdb = duckdb.read_parquet(str(path)).project("epoch_ns(sip_timestamp)").fetchall()

    assert [row[0] for row in by_duckdb] == odd_ns
    assert pl.read_parquet(path)["sip_timestamp"].to_physical().to_list() == odd_ns


def test_an_empty_list_of_conditions_is_stored_as_null() -> None:
    conditions = pl.Series([None, [], [37], [14, 12, 41]], dtype=pl.List(pl.Int32))
    trades = make_tape(4).with_columns(conditions=conditions)

    decoded = decode_trades(encode_trades(trades))

    assert decoded["conditions"].to_list() == [None, None, [37], [14, 12, 41]]
    assert_frame_equal(decoded, normalise_conditions(trades))


def test_equal_trades_give_equal_bytes_whatever_their_chunks() -> None:
    halves = [SMALL_TAPE.slice(20), SMALL_TAPE.head(20)]
    chunked = pl.concat(reversed(halves), rechunk=False)
    assert chunked.n_chunks() == 2

    assert encode_trades(chunked) == SMALL_FILE
    assert encode_trades(SMALL_TAPE.clone()) == SMALL_FILE


@pytest.mark.parametrize(
    ("count", "burst_share", "most"),
    [(500, 0.0, 0.75), (20_000, 0.0, 0.75), (500, 0.6, 0.75), (20_000, 0.6, 0.86)],
)
def test_files_are_smaller_than_plain_ones(count: int, burst_share: float, most: float) -> None:
    trades = make_tape(count, burst_share=burst_share)

    ratio = len(encode_trades(trades)) / len(write_plain(trades))

    assert ratio <= most


@settings(max_examples=300)
@given(st.integers(0, len(SMALL_FILE) * 8 - 1))
def test_no_flipped_bit_changes_a_value_unseen(position: int) -> None:
    damaged = bytearray(SMALL_FILE)
    damaged[position // 8] ^= 1 << position % 8

    try:
        decoded = decode_trades(bytes(damaged))
    except DataError:
        return
    assert_frame_equal(decoded, SMALL_TAPE, check_exact=True)


def test_flipped_bits_of_pages_are_found() -> None:
    damaged = bytearray(store_uncompressed(SMALL_TAPE))
    position = bytes(damaged).index(SMALL_TAPE["id"][17].encode())
    damaged[position] ^= 1

    with pytest.raises(DataError, match="damaged"):
        decode_trades(bytes(damaged))


@pytest.mark.parametrize("content", [b"", b"PAR1", SMALL_FILE[:-1], SMALL_FILE[1:], b"x" * 500])
def test_what_is_no_parquet_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="expected a Parquet file"):
        decode_trades(content)


def test_a_footer_that_hides_rows_is_found() -> None:
    """A flipped bit in the row count of the only row group once read as fewer rows."""
    footer = SMALL_FILE.rindex(b"\x16\x50\x26")
    damaged = bytearray(SMALL_FILE)
    damaged[footer + 1] = 0x10

    with pytest.raises(DataError, match="expected 40 rows by the footer, got 8"):
        decode_trades(bytes(damaged))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pl.DataFrame({"price": [1.0]}), "expected the columns of trades"),
        (SMALL_TAPE.with_columns(price=None).cast(TRADES.schema), "price"),
    ],
    ids=["another table", "nulls"],
)
def test_rows_that_are_no_trades_are_refused(rows: pl.DataFrame, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        decode_trades(write_plain(rows))


def write_plain(rows: pl.DataFrame) -> bytes:
    """Write rows as polars does, with zstd 2."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", compression_level=2)
    return buffer.getvalue()
