"""Files of compacted months: small row groups, sessions at known rows, damage that shows."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.months.parts import (
    BATCH_SESSIONS,
    ROW_GROUP,
    EncodedPart,
    PartReader,
    SessionBatch,
    cut_batches,
    encode_parts,
    find_wrong_sessions,
    hash_part,
)
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.lake.lake_factories import make_tape

SIZES: Final = (20_000, 30_000, 5, 40_000)


def make_batch(tapes: Sequence[pl.DataFrame]) -> SessionBatch:
    """Return neighbouring sessions of tickers A, B, C and so on."""
    rows = [
        (tape["ticker"][0], tape["session_date"][0], tape.height, hash_trades(tape))
        for tape in tapes
    ]
    columns = ["ticker", "session_date", "rows", "content_hash"]
    return SessionBatch(pl.concat(tapes), pl.DataFrame(rows, columns, orient="row"))


@pytest.fixture(scope="module")
def tapes() -> list[pl.DataFrame]:
    return [make_tape(rows, seed=n, ticker="ABCD"[n]) for n, rows in enumerate(SIZES)]


@pytest.fixture(scope="module")
def part(tapes: list[pl.DataFrame]) -> EncodedPart:
    batches = [make_batch(tapes[:2]), make_batch(tapes[2:])]
    (part,) = encode_parts(batches)
    return part


def test_a_part_has_full_row_groups_whatever_the_batches(part: EncodedPart) -> None:
    file = pq.ParquetFile(io.BytesIO(part.content))

    sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]

    assert sizes == [ROW_GROUP, ROW_GROUP, sum(SIZES) - 2 * ROW_GROUP]
    assert part.rows == sum(SIZES)


def test_a_part_has_the_schema_of_a_landing_file(part: EncodedPart, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(part.content)

    assert pl.read_parquet(path, hive_partitioning=False).schema == TRADES.schema
    assert duckdb.read_parquet(str(path)).filter("ticker = 'C'").aggregate("count(*)").fetchall()


def test_row_groups_have_statistics_to_skip_them_by(part: EncodedPart) -> None:
    file = pq.ParquetFile(io.BytesIO(part.content))
    columns = {file.schema.column(n).name: n for n in range(len(file.schema))}

    last = file.metadata.row_group(2)
    names = ("ticker", "session_date", "sip_timestamp")
    found = [last.column(columns[name]).statistics for name in names]

    assert [statistics.has_min_max for statistics in found if statistics] == [True, True, True]


def test_a_part_ends_at_its_size(tapes: list[pl.DataFrame]) -> None:
    batches = [make_batch([tape]) for tape in tapes]

    parts = list(encode_parts(batches, part_bytes=1))

    assert [part.rows for part in parts] == list(SIZES)
    assert [part.sessions["first_row"].to_list() for part in parts] == [[0]] * len(SIZES)


def test_hash_part_gives_the_hash_of_each_session(part: EncodedPart) -> None:
    assert hash_part(part.content, part.sessions) == part.sessions["content_hash"].to_list()


def test_hash_part_refuses_a_file_of_more_rows(part: EncodedPart) -> None:
    with pytest.raises(DataError, match="expected a file of 50005 trades, got 90005"):
        hash_part(part.content, part.sessions.head(3))


def test_a_reader_returns_sessions_in_any_order(
    part: EncodedPart, tapes: list[pl.DataFrame], tmp_path: Path
) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(part.content)
    reader = PartReader(path, FileSystem())

    places = part.sessions.select("first_row", "rows").rows()

    for number in (3, 0, 2, 1, 1):
        assert reader.read(*places[number]).equals(tapes[number])
    reader.close()


def test_a_reader_refuses_rows_beyond_the_end(part: EncodedPart, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(part.content)

    with pytest.raises(DataError, match="expected rows up to 90006"):
        PartReader(path, FileSystem()).read(90_000, 6)


def test_a_flipped_bit_is_alone_with_its_sessions(part: EncodedPart, tmp_path: Path) -> None:
    content = bytearray(part.content)
    content[1000] ^= 1
    path = tmp_path / "part.parquet"
    path.write_bytes(content)

    wrong = find_wrong_sessions(PartReader(path, FileSystem()), part.sessions)

    assert set(wrong) == {0, 1}  # those of the first row group
    assert all("damaged" in message for message in wrong.values())


def test_bytes_that_are_no_part_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with pytest.raises(MissingPartitionError, match="found none"):
        PartReader(path, FileSystem())
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="smallcaps repair"):
        PartReader(path, FileSystem())
    with pytest.raises(DataError, match="damaged bytes"):
        hash_part(b"PAR1", pl.DataFrame({"rows": [1]}))


def test_batches_bound_rows_and_sessions() -> None:
    assert list(cut_batches([])) == []
    assert list(cut_batches([10**9, 1, 10**9])) == [[10**9], [1], [10**9]]
    assert [len(run) for run in cut_batches([1] * (BATCH_SESSIONS + 1))] == [BATCH_SESSIONS, 1]
