"""A server that starves its clients: a byte now and then, and no end."""

import contextlib
import socket
import threading
import time
from typing import Final, Self

DRIP_S: Final = 0.02
STATUS: Final = b"HTTP/1.1 200 OK\r\n"
HEADER: Final = STATUS + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


class DrippingServer:
    """A server that sends one byte at a time and never ends: header first, or body alone.

    Attributes:
        url: Its address.
    """

    def __init__(self, *, drips_header: bool) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_over = threading.Event()
        self._start = STATUS if drips_header else HEADER
        self._endless = b"X-Padding: 1\r\n" if drips_header else b" "
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._drip, args=(client,), daemon=True).start()

    def _drip(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.recv(65_536)
            client.sendall(self._start)
            while not self._is_over.is_set():
                for byte in self._endless:
                    client.sendall(bytes([byte]))
                    time.sleep(DRIP_S)
