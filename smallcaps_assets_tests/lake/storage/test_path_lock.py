from collections.abc import Callable
from pathlib import Path

import pytest

from smallcaps_assets.lake.storage.path_lock import PathLock

Take = Callable[..., PathLock | None]


@pytest.mark.parametrize("take", [PathLock.take, PathLock.take_folder], ids=["file", "folder"])
def test_a_lock_is_shared_by_those_that_ask_for_it_so(tmp_path: Path, take: Take) -> None:
    path = tmp_path / "place"
    if take == PathLock.take_folder:
        path.mkdir()

    locks = [take(path, shared=True), take(path, shared=True)]
    is_free = [(PathLock.is_free(path, shared=True), PathLock.is_free(path))]
    for lock in locks:
        assert lock is not None
        assert lock.is_of(path)
        lock.release()
        assert not lock.is_of(path)
        is_free.append((PathLock.is_free(path, shared=True), PathLock.is_free(path)))

    assert is_free == [(True, False), (True, False), (True, True)]


def test_an_exclusive_lock_lets_nobody_else_in(tmp_path: Path) -> None:
    held = PathLock.take(tmp_path / "file")

    assert held is not None
    assert PathLock.take(tmp_path / "file", shared=True) is None
    assert not PathLock.is_free(tmp_path / "file", shared=True)


def test_what_is_not_there_is_free(tmp_path: Path) -> None:
    assert PathLock.is_free(tmp_path / "file")
    assert not (tmp_path / "file").exists()
