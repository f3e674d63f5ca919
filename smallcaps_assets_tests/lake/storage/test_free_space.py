"""What fits on a disk, and what stays free there."""

from pathlib import Path

from smallcaps_assets.lake.storage.free_space import FreeSpace
from smallcaps_assets_tests.lake.disks import QuotaDisk


def test_the_reserve_is_the_smaller_of_5_gb_and_5_per_cent_unless_set(tmp_path: Path) -> None:
    reserves = [
        FreeSpace(QuotaDisk({tmp_path: capacity}), reserve_gb).measure_reserve(tmp_path)
        for capacity, reserve_gb in ((10**9, None), (10**12, None), (10**12, 0.5))
    ]

    assert reserves == [5 * 10**7, 5 * 1024**3, 1024**3 / 2]


def test_what_fits_leaves_the_reserve(tmp_path: Path) -> None:
    space = FreeSpace(QuotaDisk({tmp_path: 1_000}))

    assert space.measure_room(tmp_path) == 950
    assert space.describe(tmp_path).endswith("has 1,000 bytes free, of which 50 bytes stay free")


def test_a_folder_that_is_not_there_yet_has_the_room_of_its_disk(tmp_path: Path) -> None:
    assert FreeSpace(QuotaDisk({tmp_path: 1_000})).measure(tmp_path / "not" / "there") == 1_000
