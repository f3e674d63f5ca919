import datetime as dt

import pytest

from smallcaps_assets.defs.partitions import build_months

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("last", "newest"),
    [
        (None, "2026-11-01"),
        (dt.date(2024, 12, 31), "2024-12-01"),
        (dt.date(2024, 1, 31), "2024-01-01"),
        (dt.date(2026, 11, 2), "2026-11-01"),
        (dt.date(2030, 1, 1), "2026-11-01"),
    ],
)
def test_build_months_ends_where_the_source_ends_or_with_the_open_month(
    last: dt.date | None, newest: str
) -> None:
    keys = build_months(dt.date(2023, 1, 3), last).get_partition_keys(NOW)

    assert (keys[0], keys[-1]) == ("2023-01-01", newest)
