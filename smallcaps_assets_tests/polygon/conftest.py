"""A server that says what it is told, for what no emulated vendor would say."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets_tests.polygon.polygon_factories import make_client


class ScriptedServer:
    """Answers one connection after the other with raw bytes and closes it.

    Attributes:
        heads: What was asked, request line and headers.
    """

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.heads: list[str] = []
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                lines = iter(stream.readline, b"\r\n")
                self.heads.append(b"".join(lines).decode())
                with contextlib.suppress(OSError):
                    client.sendall(answer)


@pytest.fixture
def script() -> Iterator[Callable[..., ScriptedServer]]:
    """Return a function that starts a server with its answers."""
    servers: list[ScriptedServer] = []

    def start(*answers: bytes) -> ScriptedServer:
        servers.append(ScriptedServer(answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def source() -> StaticSource:
    return StaticSource()


@pytest.fixture
def emulator(source: StaticSource) -> Iterator[EmulatorServer]:
    with EmulatorServer(source) as server:
        yield server


@pytest.fixture
def client(emulator: EmulatorServer) -> Iterator[PolygonClient]:
    with make_client(emulator.url) as client:
        yield client
