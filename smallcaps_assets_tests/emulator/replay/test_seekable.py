import gzip
from pathlib import Path

import pytest

from smallcaps_assets.emulator.replay.flatfile import FlatFile
from smallcaps_assets.emulator.replay.seekable import SeekableGzip
from smallcaps_assets.emulator.source import SourceError

CONTENT = b"".join(b"%d,%d\n" % (n, n**9 % 999_999_999_989) for n in range(200_000))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of two members, as some writers make them."""
    file = tmp_path_factory.mktemp("gzip") / "content.gz"
    middle = len(CONTENT) // 3
    file.write_bytes(gzip.compress(CONTENT[:middle]) + gzip.compress(CONTENT[middle:]))
    return file


def test_the_first_pass_gives_everything(path: Path) -> None:
    assert b"".join(SeekableGzip(path).iter_blocks()) == CONTENT


@pytest.mark.parametrize("start", [0, 1, 500_000, 1_600_000, len(CONTENT) - 10])
def test_any_part_is_read_again(path: Path, start: int) -> None:
    file = SeekableGzip(path, checkpoint_bytes=300_000)
    for _ in file.iter_blocks():
        pass

    for length in (0, 10, 700_000):
        assert file.read(start, start + length) == CONTENT[start : start + length]


def test_a_cut_file_is_refused(path: Path, tmp_path: Path) -> None:
    """L3: half a file must not pass for a day."""
    cut = tmp_path / "cut.gz"
    cut.write_bytes(path.read_bytes()[:-2_000])

    with pytest.raises(SourceError, match="is cut"):
        list(SeekableGzip(cut).iter_blocks())


def test_a_damaged_or_missing_file_is_refused(path: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(b"no gzip" + path.read_bytes())

    for file in (damaged, tmp_path / "missing.gz"):
        with pytest.raises(SourceError, match="cannot be read"):
            list(SeekableGzip(file).iter_blocks())


def test_a_large_file_is_indexed_in_blocks(tmp_path: Path) -> None:
    header = "ticker,conditions,correction,exchange,id,participant_timestamp,price,"
    header += "sequence_number,sip_timestamp,size,tape,trf_id,trf_timestamp\n"
    tickers = [f"T{number:03}" for number in range(30)]
    rows = [
        f'{t},"12,37",0,11,{n},5,1.5,{n},{n},100,3,0,0\n' for t in tickers for n in range(9_000)
    ]
    path = tmp_path / "2024-01-03.csv.gz"
    path.write_bytes(gzip.compress((header + "".join(rows)).encode(), compresslevel=1))
    file = FlatFile(path)

    frames = list(file.iter_trades())

    assert file.tickers == tickers
    assert len(frames) > 1
    assert frames[0]["ticker"][0] == "T000"
    assert sum(frame.height for frame in frames) == len(rows)
    assert file.read_trades("T017")["sequence_number"].to_list() == list(range(9_000))
