"""Envelopes: rows of any type, and what the vendor says instead of them."""

from smallcaps_assets.errors import PayloadError
from smallcaps_assets.polygon.wire.envelopes import decode_page, refuse
from smallcaps_assets_tests.polygon.polygon_factories import render_page

URL = "https://api.polygon.io/v3/reference/splits"


def test_an_unheard_of_refusal_may_pass() -> None:
    assert isinstance(refuse(200, "status TIRED: later", url=URL), PayloadError)


def test_decode_page_reads_rows_of_any_type() -> None:
    page = decode_page(render_page([{"a": 1}]), dict[str, int], url=URL)

    assert page.rows == [{"a": 1}]
