"""`smallcaps ui` as a process, asked over HTTP as programs and foreign pages would."""

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from smallcaps_assets_tests.browser.dagster_ui import DagsterUi, wait_for
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal, find_free_port

SET: Final = "planned_ticker_sessions"
ADD: Final = f"""mutation {{ addDynamicPartition(partitionsDefName: "{SET}",
    partitionKey: "ABCD_2024-01-03", repositorySelector: {{repositoryName: "__repository__",
    repositoryLocationName: "smallcaps_assets.definitions"}}) {{ __typename }} }}"""
LOCATIONS: Final = "query { locationStatusesOrError { ... on WorkspaceLocationStatusEntries {"
LOADED: Final = f"{LOCATIONS} entries {{ name loadStatus }} }} }} }}"
KEYS: Final = """query {assetNodeOrError(assetKey: {path: ["trades"]}) {
    ... on AssetNode {partitionKeys}}}"""
DAEMONS: Final = """query {instance {daemonHealth {
    allDaemonStatuses {daemonType healthy required}}}}"""


@pytest.fixture
def ui(user: User) -> Iterator[DagsterUi]:
    settings = {**user.environment, "SMALLCAPS_DATA_DIR": str(user.data_dir)}
    with DagsterUi(user.folder, settings) as started:
        started.wait_until_up()
        yield started


@pytest.mark.slow
def test_the_ui_works_behind_its_guard_and_for_this_machine_alone(
    ui: DagsterUi,
) -> None:
    """L32: one link in a web page wiped the state of a lake; here it changes nothing."""
    wait_for(lambda: is_loaded(ui), "the code location is loaded")
    graphql = f"{ui.url}/graphql"

    for asked in (
        requests.get(graphql, {"query": ADD}, timeout=60),
        requests.post(graphql, params={"query": ADD}, data={"a": "b"}, timeout=60),
        ask(ui, ADD, {"Host": "evil.example"}),
        ask(ui, ADD, {"Origin": "http://evil.example"}),
        ask(ui, ADD, {"Content-Type": "text/plain; application/json"}),
    ):
        assert asked.status_code in {403, 405, 415}, asked.text
    assert ui.ask(KEYS)["partitionKeys"] == []
    with pytest.raises(InvalidStatus, match="403"):
        subscribe(ui, "http://evil.example")

    # What its own page does works: a page and its files, a query, a mutation, a subscription.
    page = requests.get(f"{ui.url}/assets/trades", timeout=60)
    (script, *_) = [part for part in page.text.split('"') if part.endswith(".js")]
    assert requests.get(ui.url + script, timeout=60).ok
    assert ask(ui, ADD, {"Origin": ui.url}).ok
    assert ui.ask(KEYS)["partitionKeys"] == ["ABCD_2024-01-03"]
    assert subscribe(ui, ui.url) == {"type": "connection_ack"}
    wait_for(lambda: all(read_daemons(ui).values()), "all daemons are well")

    assert ui.stop() == (0, [])
    assert ui.log.read_text().rstrip().endswith("stop with Ctrl-C")


def test_a_busy_port_is_said_before_anything_is_started(user: User) -> None:
    """L53: the address of the other program was printed as that of the UI."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        finished = user.run("ui", "--port", str(port))

    check_refusal(finished, REFUSED, f"port {port} of 127.0.0.1 is taken by another program")
    assert "http://" not in finished.text
    assert user.list_files() == []


def test_a_host_that_is_none_of_this_machine(user: User) -> None:
    finished = user.run("ui", "--host", "8.8.8.8", "--port", str(find_free_port()))

    check_refusal(finished, REFUSED, "--host 8.8.8.8: no interface of this machine")


def is_loaded(ui: DagsterUi) -> bool:
    return [entry["loadStatus"] for entry in ui.ask(LOADED)["entries"]] == ["LOADED"]


def ask(ui: DagsterUi, query: str, headers: Mapping[str, str]) -> requests.Response:
    """Post a query as JSON, with headers of one's own."""
    told = {"Content-Type": "application/json", **headers}
    body = json.dumps({"query": query})
    return requests.post(f"{ui.url}/graphql", body, headers=told, timeout=60)


def subscribe(ui: DagsterUi, origin: str) -> dict[str, Any]:
    """Open a websocket as a page of an origin does, and return the first answer."""
    address = ui.url.replace("http", "ws", 1) + "/graphql"
    with connect(
        address, origin=Origin(origin), subprotocols=[Subprotocol("graphql-ws")]
    ) as opened:
        opened.send(json.dumps({"type": "connection_init"}))
        answer: dict[str, Any] = json.loads(opened.recv(60))
        return answer


def read_daemons(ui: DagsterUi) -> dict[str, bool]:
    """Return which daemons there have to be, and whether each is well."""
    found = ui.ask(DAEMONS)["daemonHealth"]["allDaemonStatuses"]
    return {one["daemonType"]: bool(one["healthy"]) for one in found if one["required"]}
