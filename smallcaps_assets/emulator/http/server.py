"""The server: a listening socket, a thread per connection, a clean end.

What belongs here: the life of the server.  What does not: HTTP (``connection``) and answers
(``api``).
"""

import contextlib
import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Final, Self

from smallcaps_assets.emulator.answers.faults import Fault, FaultBook
from smallcaps_assets.emulator.http.api import Api
from smallcaps_assets.emulator.http.connection import Connection
from smallcaps_assets.emulator.http.requestlog import Request, Stats
from smallcaps_assets.emulator.source import Source

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1_024
_JOIN_TIMEOUT_S: Final = 5.0


class EmulatorServer:
    """The emulator on a port of this machine, inside ``with`` or from ``start`` to ``stop``.

    Args:
        source: Where rows come from.
        faults: What goes wrong.
        port: Port to listen on; 0 for a free one.
        accepted_keys: Keys that are accepted; empty for any key.
        latency_s: Wait before each answer.

    Attributes:
        port: The port it listens on.
    """

    def __init__(
        self,
        source: Source,
        faults: Iterable[Fault] = (),
        *,
        port: int = 0,
        accepted_keys: Iterable[str] = (),
        latency_s: float = 0.0,
    ) -> None:
        self._api = Api(
            source,
            keys=frozenset(accepted_keys),
            book=FaultBook(faults),
            latency_s=latency_s,
        )
        self._listener = socket.create_server((HOST, port), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._clients: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, name="emulator", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base address for a client."""
        return f"http://{HOST}:{self.port}"

    @property
    def source(self) -> Source:
        """The source that rows come from."""
        return self._api.source

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order of arrival."""
        return self._api.log.requests

    @property
    def stats(self) -> Stats:
        """The counts so far."""
        return self._api.stats

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults in force; setting them starts their counts again."""
        return self._api.book.faults

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        self._api.book = FaultBook(faults)

    def reset(self) -> None:
        """Forget the requests and the faults."""
        self._api.log.reset()
        self._api.book = FaultBook()

    def start(self) -> None:
        """Begin to answer."""
        self._acceptor.start()

    def stop(self) -> None:
        """Close every connection and wait for the threads."""
        self._close_listener()
        if self._acceptor.is_alive():
            self._acceptor.join(_JOIN_TIMEOUT_S)
        with self._lock:
            clients, threads = list(self._clients), list(self._threads)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(_JOIN_TIMEOUT_S)

    def _close_listener(self) -> None:
        """Wake the acceptor: closing alone does not end a waiting accept on every system."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._clients.add(client)
                self._threads.add(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            Connection(client, self._api.answer).serve()
        finally:
            with self._lock:
                self._clients.discard(client)
                self._threads.discard(threading.current_thread())
