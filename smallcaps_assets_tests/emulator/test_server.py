import pytest
import requests

from smallcaps_assets.emulator import EmulatorServer, Fault, StaticSource

OPENING_NS = 1_704_292_200_000_000_000
"""2024-01-03 09:30 in New York."""


def make_wire_trades(count: int, *, shared: int = 1) -> list[dict[str, object]]:
    """Return trades of which ``shared`` at a time have one time."""
    return [
        {"sip_timestamp": OPENING_NS + row // shared, "sequence_number": row, "price": 5.01}
        for row in range(count)
    ]


def follow_chain(url: str, **parameters: str | int) -> list[list[dict[str, object]]]:
    pages = []
    headers = {"Authorization": "Bearer any"}
    with requests.Session() as session:
        body = session.get(f"{url}/v3/trades/ABCD", params=parameters, headers=headers).json()
        pages.append(body.get("results", []))
        while "next_url" in body:
            target = body["next_url"].removeprefix("https://api.polygon.io")
            body = session.get(url + target, headers=headers).json()
            pages.append(body["results"])
    return pages


@pytest.mark.parametrize("limit", [1, 3, 7, 20, 100])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_trades_are_the_same_at_any_page_size(limit: int, order: str) -> None:
    rows = make_wire_trades(20, shared=6)

    with EmulatorServer(StaticSource({"ABCD": rows})) as server:
        pages = follow_chain(server.url, limit=limit, order=order)

    assert [row for page in pages for row in page] == (rows if order == "asc" else rows[::-1])
    assert {len(page) for page in pages[:-1]} <= {limit}


def test_a_fault_hits_the_page_it_names() -> None:
    source = StaticSource({"ABCD": make_wire_trades(5)})

    with EmulatorServer(source, faults=[Fault("lost_next_url", page=2)]) as server:
        pages = follow_chain(server.url, limit=2, order="asc")

    assert [len(page) for page in pages] == [2, 2]
    assert server.stats.faults == {"lost_next_url": 1}
