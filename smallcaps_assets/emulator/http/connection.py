"""One connection: requests in, answers out, until one side closes.

What belongs here: HTTP/1.1 as far as a client of the vendor uses it.  What does not: what is
answered (``api``).

It is written on the socket rather than on ``http.server`` because a benchmark must not measure
the emulator: one write per answer, no Nagle, a tenth of the time per request; and because a fault
must be able to stop in the middle of a body.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import BinaryIO, Final
from urllib.parse import parse_qsl, unquote

from smallcaps_assets.emulator.answers.answer import Answer, answer_error
from smallcaps_assets.emulator.http.requestlog import Request

MAX_LINE: Final = 65_536
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class ProtocolError(Exception):
    """The client does not speak HTTP."""


class Connection:
    """A client's connection, whose socket this object closes."""

    def __init__(self, client: socket.socket, answer: Callable[[Request], Answer]) -> None:
        self._client = client
        self._answer = answer

    def serve(self) -> None:
        """Answer requests until the client leaves or a fault ends the connection."""
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), self._client, self._client.makefile("rb") as stream:
            while self._serve_request(stream):
                pass

    def _serve_request(self, stream: BinaryIO) -> bool:
        """Answer one request; return whether the connection continues."""
        try:
            request = read_request(stream)
        except ProtocolError as error:
            return self._send(answer_error(400, str(error), ""), accepts_gzip=False, is_kept=False)
        if request is None:
            return False
        answer = self._answer(request)
        accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")
        is_kept = request.headers.get("connection", "").lower() != "close"
        return self._send(answer, accepts_gzip=accepts_gzip, is_kept=is_kept)

    def _send(self, answer: Answer, *, accepts_gzip: bool, is_kept: bool) -> bool:
        """Send an answer the way its delivery says; return whether the connection continues."""
        delivery = answer.delivery
        if delivery.ending == "refuse":
            return self._reset()
        if delivery.pause_s:
            time.sleep(delivery.pause_s)
        body = answer.select_body(accepts_gzip=accepts_gzip)
        is_packed = accepts_gzip and answer.packed is not None
        head = _format_head(answer, len(body), is_packed=is_packed, is_kept=is_kept)
        if delivery.cut_at is None:
            self._client.sendall(head + body)
            return is_kept
        cut = int(len(body) * delivery.cut_at)
        self._client.sendall(head + body[:cut])
        if delivery.ending == "resume":
            time.sleep(delivery.stall_s)
            self._client.sendall(body[cut:])
            return is_kept
        return self._reset() if delivery.ending == "reset" else False

    def _reset(self) -> bool:
        """Make the close that follows a reset, and end the connection."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return False


def read_request(stream: BinaryIO) -> Request | None:
    """Read one request, or return ``None`` when the client has left.

    Raises:
        ProtocolError: What came is no HTTP request.
    """
    line = stream.readline(MAX_LINE)
    if not line.strip():
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):  # noqa: PLR2004  method, target, version
        raise ProtocolError("expected an HTTP/1.1 request line")
    method, target, _ = parts
    headers = _read_headers(stream)
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=_normalize_path(path),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=headers,
        at=time.time(),
        target=target,
        body=stream.read(_read_length(headers)),
    )


def _read_headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    while (line := stream.readline(MAX_LINE)) not in {b"\r\n", b"\n", b""}:
        name, _, text = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = text.strip()
    return headers


def _read_length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not text.isdigit():
        raise ProtocolError("expected a number as Content-Length")
    return int(text)


def _normalize_path(path: str) -> str:
    """Collapse the double slash that a base address with a trailing slash leaves."""
    return "/" + unquote(path).lstrip("/")


def _format_head(answer: Answer, length: int, *, is_packed: bool, is_kept: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Unknown')}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {length}",
        "Vary: Accept-Encoding",
        *(f"{name}: {text}" for name, text in answer.headers.items()),
    ]
    if is_packed:
        lines.append("Content-Encoding: gzip")
    if not is_kept:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
