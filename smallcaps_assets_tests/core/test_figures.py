import pytest

from smallcaps_assets.core.figures import GB, format_bytes, format_count, format_hours, format_share


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1_023, "1,023 bytes"),
        (1_536, "1.5 KB"),
        (44 * 1024**2, "44.0 MB"),
        (2_684.62 * GB, "2,684.6 GB"),
        (742_969.2 * GB, "742,969.2 GB = 743.0 TB"),
    ],
)
def test_format_bytes_takes_the_unit_that_suits(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (9.1635, "9.16 hours"),
        (240, "240.00 hours = 10.0 days"),
        (0.09, "5.4 minutes"),
        (0.001, "3.6 seconds"),
        (0, "0.0 seconds"),
    ],
)
def test_format_hours_takes_the_unit_that_suits(hours: float, text: str) -> None:
    assert format_hours(hours) == text


def test_format_share_is_per_cent() -> None:
    assert format_share(0.2606) == "26.1 %"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 requests"), (1, "1 request"), (1_200, "1,200 requests")]
)
def test_format_count_knows_one_from_many(count: int, text: str) -> None:
    assert format_count(count, "request") == text
