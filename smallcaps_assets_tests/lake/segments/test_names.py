import datetime as dt

import pytest

from smallcaps_assets.lake.segments.names import (
    Naming,
    SegmentFile,
    parse_key,
    part_key,
    record_key,
)

NAME = "20240402T101530Z-9f2c00112233aae1"


def test_a_name_has_its_time_and_sixteen_random_digits() -> None:
    naming = Naming(lambda: dt.datetime(2024, 4, 2, 10, 15, 30, tzinfo=dt.UTC), lambda: "9f" * 8)

    assert naming.make() == "20240402T101530Z-9f9f9f9f9f9f9f9f"
    assert len({Naming().make() for _ in range(100)}) == 100


def test_keys_are_read_back() -> None:
    assert parse_key(record_key("2024-03", NAME)) == SegmentFile("2024-03", NAME, is_record=True)
    assert parse_key(part_key("2024-03", f"{NAME}.parquet")) == SegmentFile(
        "2024-03", f"{NAME}.parquet", is_record=False
    )


@pytest.mark.parametrize("key", ["lake.json", f"segments/{NAME}.parquet", "segments/2024-03/notes"])
def test_other_keys_are_no_segments(key: str) -> None:
    assert parse_key(key) is None
