import pytest

from smallcaps_assets.core.figures import GB, format_bytes, format_count, format_hours, format_share


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_bytes(0), "0 bytes"),
        (format_bytes(1_023), "1,023 bytes"),
        (format_bytes(1_536), "1.5 KB"),
        (format_bytes(44 * 1024**2), "44.0 MB"),
        (format_bytes(2_684.62 * GB), "2,684.6 GB"),
        (format_bytes(742_969.2 * GB), "742,969.2 GB = 743.0 TB"),
        (format_hours(9.1635), "9.16 hours"),
        (format_hours(240), "240.00 hours = 10.0 days"),
        (format_hours(0.09), "5.4 minutes"),
        (format_hours(0.001), "3.6 seconds"),
        (format_hours(0), "0.0 seconds"),
        (format_share(0.2606), "26.1 %"),
        (format_count(0, "request"), "0 requests"),
        (format_count(1, "request"), "1 request"),
        (format_count(1_200, "request"), "1,200 requests"),
    ],
)
def test_figures_take_the_unit_that_suits(text: str, expected: str) -> None:
    assert text == expected
