import datetime as dt
import io
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smallcaps_assets.core.archive.sessions import ArchiveFile
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets.lake.interchange.archive_files import (
    ArchivedFile,
    Bounds,
    decode_archive,
    read_archive,
)
from smallcaps_assets.lake.interchange.archives import (
    SessionFiles,
    Stray,
    open_archive,
    walk_archive,
)

DATE = dt.date(2024, 1, 10)
ROWS = pl.DataFrame({"t": [1], "p": [2.5]})


def touch(root: Path, name: str) -> Path:
    """Make an empty file with the folders above it."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def list_sessions(root: Path) -> dict[str, list[str]]:
    return {
        found.key: [file.facts.name for file in found.files]
        for found in walk_archive(root)
        if isinstance(found, SessionFiles)
    }


def list_strays(root: Path) -> dict[str, str]:
    return {found.name: found.message for found in walk_archive(root) if isinstance(found, Stray)}


def make_file(path: Path) -> ArchivedFile:
    return ArchivedFile(path, ArchiveFile(path.name), 0, 0)


def encode(rows: pl.DataFrame | pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else rows.to_arrow(), buffer)
    return buffer.getvalue()


# -- folders -----------------------------------------------------------------------------


def test_walk_archive_finds_sessions_of_both_layouts_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "ZZ/date=2024-01-10/trades.parquet")
    touch(tmp_path, "AA/date=2024-01-11/trades.parquet")
    touch(tmp_path, "AA/year=2024/month=01/day=2024-01-10/market.parquet")
    touch(tmp_path, "AA/year=2024/month=01/day=2024-01-10/afterhours.parquet")

    day = "AA/year=2024/month=01/day=2024-01-10"
    assert list_sessions(tmp_path) == {
        "AA_2024-01-11": ["AA/date=2024-01-11/trades.parquet"],
        "AA_2024-01-10": [f"{day}/afterhours.parquet", f"{day}/market.parquet"],
        "ZZ_2024-01-10": ["ZZ/date=2024-01-10/trades.parquet"],
    }


@pytest.mark.parametrize(
    ("folder", "ticker"),
    [("BRK.A", "BRK.A"), ("ticker=ABC", "ABC"), ("%43ON", "CON"), ("BC%70C", "BCpC")],
)
def test_walk_archive_reads_tickers_as_they_are_and_as_the_lake_writes_them(
    tmp_path: Path, folder: str, ticker: str
) -> None:
    touch(tmp_path, f"{folder}/date=2024-01-10/trades.parquet")

    assert list(list_sessions(tmp_path)) == [f"{ticker}_2024-01-10"]


def test_walk_archive_names_what_is_no_session(tmp_path: Path) -> None:
    """L18: leftovers of an older run are listed, not counted."""
    touch(tmp_path, "README.txt")
    touch(tmp_path, "date=2024-01-10/trades.parquet")
    touch(tmp_path, "AA/notes/old.parquet")
    touch(tmp_path, "AA/date=2024-1-10/trades.parquet")
    touch(tmp_path, "AA/date=2024-01-12/part-0.parquet")
    touch(tmp_path, "AA/date=2024-01-13/trades.parquet/trades.parquet")
    touch(tmp_path, "AA/date=2024-01-15/_SUCCESS")
    touch(tmp_path, "AA/year=2024/week=02/market.parquet")
    touch(tmp_path, "AA/year=2023/month=01/day=2024-01-10/market.parquet")
    touch(tmp_path, "AA/year=2024/month=02/day=2024-01-10/market.parquet")
    touch(tmp_path, "AA/year=2024/month=01/day=10/market.parquet")
    touch(tmp_path, "AA/.hidden")

    assert list_sessions(tmp_path) == {}
    assert set(list_strays(tmp_path)) == {
        "README.txt",
        "date=2024-01-10",
        "AA/notes",
        "AA/date=2024-1-10",
        "AA/date=2024-01-12/part-0.parquet",
        "AA/date=2024-01-13/trades.parquet",
        "AA/date=2024-01-15",
        "AA/year=2024/week=02",
        "AA/year=2023/month=01/day=2024-01-10",
        "AA/year=2024/month=02/day=2024-01-10",
        "AA/year=2024/month=01/day=10",
    }


def test_walk_archive_takes_a_session_and_a_ticker_once(tmp_path: Path) -> None:
    touch(tmp_path, "%41A/date=2024-01-10/trades.parquet")
    touch(tmp_path, "AA/date=2024-01-10/trades.parquet")
    touch(tmp_path, "AA/year=2024/month=01/day=2024-01-10/market.parquet")
    touch(tmp_path, "AA/year=2024/month=1/day=2024-01-11/market.parquet")
    touch(tmp_path, "AA/year=2024/month=01/day=2024-01-11/market.parquet")
    touch(tmp_path, "ticker=AA/date=2024-01-10/trades.parquet")

    assert list(list_sessions(tmp_path)) == ["AA_2024-01-10", "AA_2024-01-11"]
    assert set(list_strays(tmp_path)) == {
        "%41A",
        "AA/year=2024/month=01/day=2024-01-10",
        "AA/year=2024/month=1/day=2024-01-11",
        "ticker=AA",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_walk_archive_waits_for_no_pipe(tmp_path: Path) -> None:
    folder = touch(tmp_path, "AA/date=2024-01-10/_SUCCESS").parent
    os.mkfifo(folder / "trades.parquet")

    assert list_sessions(tmp_path) == {}
    assert "AA/date=2024-01-10/trades.parquet" in list_strays(tmp_path)


def test_walk_archive_goes_on_behind_a_folder_it_may_not_read(tmp_path: Path) -> None:
    touch(tmp_path, "AA/date=2024-01-10/trades.parquet")
    walk = walk_archive(tmp_path)
    touch(tmp_path, "BB/date=2024-01-10/trades.parquet")
    first = next(walk)
    (tmp_path / "BB" / "date=2024-01-10" / "trades.parquet").unlink()
    (tmp_path / "BB" / "date=2024-01-10").rmdir()
    (tmp_path / "BB").rmdir()

    assert isinstance(first, SessionFiles)
    assert [found.message for found in walk if isinstance(found, Stray)] == [
        "cannot be read: No such file or directory"
    ]


def test_fingerprint_follows_names_sizes_and_times(tmp_path: Path) -> None:
    file = touch(tmp_path, "AA/date=2024-01-10/trades.parquet")
    os.utime(file, ns=(1, 1))
    [first] = walk_archive(tmp_path)
    os.utime(file, ns=(2, 2))
    [second] = walk_archive(tmp_path)

    assert isinstance(first, SessionFiles)
    assert isinstance(second, SessionFiles)
    assert first.fingerprint != second.fingerprint


def test_walk_archive_calls_a_link_of_any_name_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "AA/date=2024-01-10/trades.parquet")
    (tmp_path / "AA" / "other").symlink_to(tmp_path)

    assert list_strays(tmp_path) == {"AA/other": "a symbolic link, not followed"}


# -- files -------------------------------------------------------------------------------


def test_read_archive_follows_no_link_that_took_the_place_of_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.parquet"
    secret.write_bytes(encode(ROWS))
    root = tmp_path / "archive"
    file = touch(root, "AA/trades.parquet")
    file.unlink()
    file.symlink_to(secret)

    with pytest.raises(DataError, match="cannot be read"):
        read_archive(make_file(file), root)


def test_read_archive_follows_no_link_that_took_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "trades.parquet").write_bytes(encode(ROWS))
    root = tmp_path / "archive"
    root.mkdir()
    (root / "AA").symlink_to(tmp_path / "secret")

    with pytest.raises(DataError, match="leads out of the archive"):
        read_archive(make_file(root / "AA" / "trades.parquet"), root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_read_archive_waits_for_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trades.parquet")

    with pytest.raises(DataError, match="no regular file"):
        read_archive(make_file(tmp_path / "trades.parquet"), tmp_path)


def test_read_archive_refuses_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "trades.parquet").write_bytes(bytes(101))

    with pytest.raises(DataError, match="at most 100 bytes"):
        read_archive(make_file(tmp_path / "trades.parquet"), tmp_path, Bounds(file_bytes=100))


def test_read_archive_reads_only_columns_of_trades(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    path.write_bytes(encode(ROWS.with_columns(noise=pl.lit("x"))))

    assert read_archive(make_file(path), tmp_path).equals(ROWS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"ticker,price\nAA,1\n",
        encode(ROWS)[:-20],
        encode(ROWS)[:40] + bytes(40) + encode(ROWS)[80:],
        encode(pl.DataFrame({"other": [1]})),
        encode(pl.DataFrame()),
        encode(pa.table([pa.array([1]), pa.array([2])], names=["t", "t"])),
    ],
    ids=["empty", "magic", "csv", "cut", "zeroed", "no column of trades", "no column", "twice"],
)
def test_decode_archive_refuses_what_holds_no_trades(content: bytes) -> None:
    with pytest.raises(DataError):
        decode_archive(content)


def test_a_folder_that_is_none_or_went_away_has_no_sessions(tmp_path: Path) -> None:
    file = touch(tmp_path, "archive.zip")

    with pytest.raises(ConfigError, match="got the file"):
        open_archive(file, [])
    assert list_strays(tmp_path / "gone") == {".": "cannot be read: No such file or directory"}


def test_decode_archive_does_not_follow_a_footer_to_another_file(tmp_path: Path) -> None:
    """An archive with absolute paths: the rows would lie in a file that it names."""
    pq.write_table(pa.table({"t": [1], "p": [2.5]}), tmp_path / "secret.parquet")
    footer = pq.read_metadata(tmp_path / "secret.parquet")
    footer.set_file_path(str(tmp_path / "secret.parquet"))
    footer.write_metadata_file(str(tmp_path / "trades.parquet"))

    with pytest.raises(DataError, match="another file"):
        decode_archive((tmp_path / "trades.parquet").read_bytes())


def test_decode_archive_refuses_more_rows_than_a_day_has() -> None:
    with pytest.raises(DataError, match="at most 2 rows, got 3"):
        decode_archive(encode(pl.DataFrame({"t": [1, 2, 3]})), Bounds(rows=2))


def test_decode_archive_counts_what_a_file_unpacks_to() -> None:
    """A few kilobytes that unpack to gigabytes end at the bound."""
    content = encode(pl.DataFrame({"id": pl.Series(["x" * 1_000]).new_from_index(0, 20_000)}))

    with pytest.raises(DataError, match="at most 1000000 bytes of rows"):
        decode_archive(content, Bounds(row_bytes=1_000_000))
