"""Connections whose answers have an end in time, header included.

A time-out of a socket bounds each silence alone: a server that sends one byte now and then is never
silent.  What belongs here: the reader of an answer that looks at the clock.  What does not: how
long an answer may take (``retrying``) and what its end means (``transport``).
"""

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager
from urllib3.util.ssl_ import create_urllib3_context

_CURRENT: Final = threading.local()


@contextlib.contextmanager
def bounded_until(deadline_s: float) -> Iterator[None]:
    """Let answers that this thread receives meanwhile end at a ``time.monotonic`` reading."""
    _CURRENT.deadline_s = deadline_s
    try:
        yield
    finally:
        del _CURRENT.deadline_s


class _BoundedReader(io.RawIOBase):
    """The bytes of an answer, until its time is over."""

    def __init__(self, raw: io.RawIOBase, deadline_s: float) -> None:
        self._raw = raw
        self._deadline_s = deadline_s

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: object) -> int | None:
        """Read what is there.

        Raises:
            TimeoutError: The time is over.
        """
        if time.monotonic() > self._deadline_s:
            raise TimeoutError("the answer took too long")
        return cast(int | None, self._raw.readinto(cast(bytearray, buffer)))

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    """An answer that is read by the deadline of the thread that asked."""

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        deadline_s: float | None = getattr(_CURRENT, "deadline_s", None)
        if deadline_s is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_BoundedReader(raw, deadline_s))


class _Connection(HTTPConnection):
    response_class = _BoundedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _BoundedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class BoundedAdapter(HTTPAdapter):
    """Connections, through a proxy or not, whose answers end by the deadline.

    Args:
        trust: Certificates that are trusted besides those of requests (REQUESTS_CA_BUNDLE,
            CURL_CA_BUNDLE, else its own list).
    """

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        super().__init__()
        _bind(self.poolmanager)

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:  # noqa: ANN401  those of requests
        """Make the pools of direct connections."""
        super().init_poolmanager(*sizes, **options, ssl_context=self._trust)

    def proxy_manager_for(self, proxy: str, **options: object) -> PoolManager:
        """Set up the pools of connections through a proxy."""
        options["ssl_context"] = self._trust
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        _bind(manager)
        return manager


def make_trust(scheme: str) -> ssl.SSLContext:
    """Load what OpenSSL trusts: SSL_CERT_FILE, else the list of the machine.

    The list is long and is read for ``https`` alone.
    """
    trust = create_urllib3_context()
    if scheme == "https":
        trust.load_default_certs()
    return trust


def _bind(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
