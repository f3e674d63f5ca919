"""Where the next page is: a cursor of this endpoint, never seen before, and nothing else."""

import pytest

from smallcaps_assets.errors import PayloadError
from smallcaps_assets.polygon.wire.envelopes import Page
from smallcaps_assets.polygon.wire.trail import CursorTrail, RowsChain, read_cursor

PATH = "/v3/trades/BRK%2EA"
URL = f"https://api.polygon.io{PATH}"


def make_page(*rows: int, next_url: str | None = None, has_results: bool = True) -> Page[list[int]]:
    return Page(list(rows), "OK", next_url, has_results)


def make_trail() -> CursorTrail:
    return CursorTrail(PATH, "", URL)


@pytest.mark.parametrize(
    "next_url",
    [
        "https://api.polygon.io/v3/trades/BRK.A?cursor=YXA9MQ",
        "https://api.massive.com/v3/trades/BRK%2EA?cursor=YXA9MQ",
        "http://127.0.0.1:9/v3/trades/BRK.A?cursor=YXA9MQ&apiKey=other",
        "/v3/trades/BRK.A?cursor=YXA9MQ",
        "https://gate/way/v3/trades/BRK.A?cursor=YXA9MQ",
    ],
)
def test_read_cursor_takes_the_cursor_and_nothing_else(next_url: str) -> None:
    assert read_cursor(next_url, path=PATH, base_path="/way", url=URL) == "YXA9MQ"


@pytest.mark.parametrize(
    "next_url",
    [
        "https://api.polygon.io/v3/trades/BRK.B?cursor=a",
        "https://api.polygon.io/v3/quotes/BRK.A?cursor=a",
        "https://api.polygon.io/other/v3/trades/BRK.A?cursor=a",
        "https://api.polygon.io/v3/trades/BRK.A",
        "https://api.polygon.io/v3/trades/BRK.A?cursor=",
        "https://api.polygon.io/v3/trades/BRK.A?cursor=a&cursor=b",
        "https://[half",
        "elsewhere",
    ],
)
def test_read_cursor_refuses_to_leave_the_endpoint(next_url: str) -> None:
    with pytest.raises(PayloadError, match="next_url"):
        read_cursor(next_url, path=PATH, base_path="/way", url=URL)


def test_a_last_page_has_no_cursor() -> None:
    assert read_cursor(None, path=PATH, base_path="", url=URL) is None


def test_a_cursor_is_followed_once() -> None:
    trail = make_trail()
    page = make_page(1, next_url=f"{PATH}?cursor=a")
    trail.advance(trail.check(page))

    with pytest.raises(PayloadError, match="leads back"):
        trail.check(page)


def test_a_page_that_came_twice_is_refused() -> None:
    chain: RowsChain[int] = RowsChain(make_trail())
    page = make_page(1, 2, next_url=f"{PATH}?cursor=a")
    chain.accept(page, chain.check(page))

    with pytest.raises(PayloadError, match="came twice"):
        chain.check(make_page(1, 2))


def test_a_trail_is_finished_by_a_page_without_cursor() -> None:
    trail = make_trail()
    assert not trail.is_finished

    trail.advance("a")
    assert not trail.is_finished
    assert trail.choose_query({"limit": "1"}) == {"cursor": "a"}

    trail.advance(None)
    assert trail.is_finished
