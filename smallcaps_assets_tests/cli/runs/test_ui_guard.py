"""Which requests reach Dagster's UI, by the rules alone; ``test_ui_command`` asks a whole one."""

import asyncio
import string
from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smallcaps_assets.cli.runs.ui_guard import LocalGuard, Refusal, judge_request

PORT: Final = 3000
OWN: Final = f"127.0.0.1:{PORT}"
JSON: Final = {"content-type": "application/json"}
MUTATION: Final = "mutation { wipeAssets(assetPartitionRanges: []) { __typename } }"
METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "TRACE"]
FOREIGN: Final = [
    "null",
    "http://evil.example",
    f"http://evil.example:{PORT}",
    "http://localhost:8888",
    "https://127.0.0.1",
    f"http://127.0.0.1.evil.example:{PORT}",
    f"http://localhost@evil.example:{PORT}",
    f"http://{OWN}, http://evil.example",
    f"file://{OWN}",
    f"http://{OWN}/",
    "",
]
NAMES: Final = [
    "evil.example",
    f"localhost.evil.example:{PORT}",
    f"127.0.0.1.evil.example:{PORT}",
    "localhost@evil.example",
    "192.168.1.5",
    "0.0.0.0",  # noqa: S104  a name that is refused
    "[2001:db8::1]:3000",
    "2130706433",
    "127.1",
    "localhost,evil.example",
    "localhost\tevil.example",
    "",
]


def make_scope(  # noqa: PLR0913  a request has so many parts
    method: str = "GET",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    host: str | None = OWN,
    path: str = "/graphql",
    query: str = "",
    kind: str = "http",
    server: str = "127.0.0.1",
) -> dict[str, Any]:
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
    pairs += [("host", host)] if host is not None else []
    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in pairs],
        "server": (server, PORT),
    }
    return scope | ({"method": method} if kind == "http" else {})


def judge(scope: dict[str, Any], *names: str) -> int:
    """Return the status of the refusal, 0 where there is none."""
    refusal = judge_request(scope, names)
    return refusal.status if isinstance(refusal, Refusal) else 0


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:3000", "localhost.", OWN, "127.0.0.9:80", "[::1]:3000", "[::1]"],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_names_of_this_machine_are_answered(host: str, kind: str) -> None:
    """L32: the guard stands in nobody's way who sits before this machine."""
    assert judge(make_scope(host=host, kind=kind)) == 0


@pytest.mark.parametrize("host", [*NAMES, None])
def test_other_names_are_refused(host: str | None) -> None:
    """L32: a foreign name that was made to resolve to this machine reaches nothing."""
    asked = [make_scope(method, JSON, host=host) for method in METHODS]

    assert {*map(judge, asked), judge(make_scope(host=host, kind="websocket"))} == {403}


def test_two_hosts_are_refused() -> None:
    assert judge(make_scope(headers=[("host", "evil.example"), ("host", OWN)], host=None)) == 403


def test_an_address_that_one_listens_on_is_a_name_of_this_machine() -> None:
    assert judge(make_scope(host="lab.example:3000"), "lab.example") == 0
    assert judge(make_scope(host="192.168.1.5:3000", server="192.168.1.5")) == 0
    assert judge(make_scope(host="192.168.1.6:3000", server="192.168.1.5")) == 403


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    """L32: neither a request nor a websocket of another page is answered."""
    headers = JSON | {"origin": origin}
    asked = [make_scope(method, headers) for method in METHODS]

    assert {*map(judge, asked), judge(make_scope(headers=headers, kind="websocket"))} == {403}


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (f"http://{OWN}", OWN),
        ("http://localhost:3000", "localhost:3000"),
        ("http://localhost", "localhost:80"),
        ("https://localhost", "localhost"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("http://localhost:3000", OWN),
    ],
)
def test_the_own_page_may_do_everything(origin: str, host: str) -> None:
    headers = {"origin": origin, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}

    assert judge(make_scope("POST", JSON | headers, host=host)) == 0
    assert judge(make_scope("GET", headers, host=host)) == 0
    assert judge(make_scope(headers=headers, host=host, kind="websocket")) == 0


def test_a_page_may_be_opened_from_elsewhere_and_asked_for_nothing() -> None:
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    asked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}

    assert judge(make_scope(headers=opened, path="/assets/trades")) == 0
    assert judge(make_scope(headers=asked, query="query=%7Bversion%7D")) == 403
    assert judge(make_scope("POST", opened | JSON)) == 403


operations = st.sampled_from(["query", "mutation", "subscription"])
blanks = st.text(" \t\n,\ufeff", max_size=3)
names = st.text(string.ascii_letters, min_size=1, max_size=8)
noise = st.sampled_from(["", "# mutation\n", '"""mutation"""', "fragment F on Query { version }\n"])


@given(st.lists(st.tuples(noise, blanks, operations, names), min_size=1, max_size=4), st.data())
@example([("", "", "mutation", "A")], None)
def test_no_mutation_is_executed_by_get(
    parts: list[tuple[str, str, str, str]], data: st.DataObject | None
) -> None:
    """L32: wherever it stands in the document, however it is written, on whatever path."""
    documents = (f"{note}{blank}{kind} {name} {{ a }}" for note, blank, kind, name in parts)
    text = "\n".join(documents)
    method = data.draw(st.sampled_from(["GET", "HEAD"])) if data else "GET"
    path = data.draw(st.sampled_from(["/graphql", "/graphql/", "//graphql", "/x"])) if data else "/"
    kinds = {kind for _, _, kind, _ in parts}

    status = judge(make_scope(method, path=path, query=urlencode({"query": text})))

    is_valid = not any(note.startswith('"') for note, *_ in parts)
    if is_valid:
        assert (status == 405) == ("mutation" in kinds)


@pytest.mark.parametrize(
    "query",
    [
        f"query={quote(MUTATION)}",
        f"query=%7Bversion%7D&query={quote(MUTATION)}",
        f"query={quote(MUTATION)}&query=%7Bversion%7D",
        f"query={MUTATION.replace(' ', '+')}",
        f"operationName=Q&query={quote('query Q { version } ' + MUTATION)}",
        f"query=mutation{'%7Ba' * 190}",
    ],
)
def test_a_mutation_in_an_address_is_refused(query: str) -> None:
    """L32: Dagster executes what an image link holds."""
    assert judge(make_scope(query=query, headers={"accept": "image/*"})) == 405
    assert judge(make_scope(query=query, headers={"accept": "text/html"})) == 405


def test_queries_by_get_and_addresses_of_pages_are_answered() -> None:
    assert judge(make_scope(query="query=%7Bversion%7D")) == 0
    assert judge(make_scope(path="/assets", query="query=key%3Atrades%20or%20%7B")) == 0


simple_types = st.sampled_from(
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "*/*"]
)
tails = st.sampled_from(["", "; charset=utf-8", "; application/json", ";a=application/graphql"])


@given(simple_types, tails, st.booleans())
def test_a_form_is_never_posted(media_type: str, tail: str, is_origin_told: bool) -> None:  # noqa: FBT001  drawn
    """L32: a form or plain text crosses sites without a question, JSON does not."""
    headers = {"content-type": media_type + tail}
    headers |= {"origin": f"http://{OWN}"} if is_origin_told else {}

    assert judge(make_scope("POST", headers, query=f"query={quote(MUTATION)}")) == 415
    assert judge(make_scope("POST", {}, query=f"query={quote(MUTATION)}")) == 415


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/graphql"]
)
def test_programs_may_post_json(media_type: str) -> None:
    assert judge(make_scope("POST", {"content-type": media_type})) == 0


def test_a_refusal_says_what_was_expected_and_never_reaches_dagster() -> None:
    sent = send_through(make_scope(host="evil.example"))

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 403
    assert b"expected localhost, 127.0.0.1 or [::1], got evil.example" in sent[1]["body"]


def test_a_websocket_of_another_page_is_closed_before_it_is_accepted() -> None:
    sent = send_through(make_scope(headers={"origin": "http://evil.example"}, kind="websocket"))

    assert [message["type"] for message in sent] == ["websocket.close"]


def test_what_is_let_through_may_stand_in_no_frame_of_another_site() -> None:
    start, _ = send_through(make_scope())

    assert (start["status"], start["headers"]) == (299, [(b"x-frame-options", b"SAMEORIGIN")])


def test_start_and_end_of_the_server_pass() -> None:
    assert send_through({"type": "lifespan"})[0]["status"] == 299


def send_through(scope: dict[str, Any]) -> list[MutableMapping[str, Any]]:
    """Return what the guard sends for a request; behind it answers an application with 299."""
    sent: list[MutableMapping[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    asyncio.run(LocalGuard(app)(scope, receive, send))
    return sent
