"""The guard in front of Dagster's UI: it answers this machine's own pages and programs alone.

What belongs here: which requests reach Dagster, as ASGI middleware.  What does not: the server
(``ui_server``).

The UI has no password, and a browser sends requests for any page that it shows.  Dagster executes a
mutation that comes by GET, from any origin and under any host, so one link in a web page could wipe
what the lake has shown for weeks.  Refused are

- a ``Host`` that is no name of this machine: a foreign name that was made to resolve to it;
- an ``Origin`` that is not the UI's own, the upgrade to a websocket included, and whatever a
  browser marks as asked for by another site, unless it is a page that is opened;
- a mutation by GET, whatever the path;
- a POST whose body is not JSON or GraphQL: other types are sent across sites without asking first.

Programs, which send no ``Origin``, are let through: they can do all of it without the UI.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCALHOST: Final = "localhost"
READS: Final = frozenset({"GET", "HEAD"})
BODIES: Final = frozenset({"application/json", "application/graphql"})
FOREIGN_SITES: Final = frozenset({"cross-site", "same-site"})
"""What a browser says in ``Sec-Fetch-Site`` of requests that a page of another origin makes."""
POLICY_VIOLATION: Final = 1008
"""Close code of a websocket that is refused; sent before it is accepted, it is a 403."""

_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN: Final = re.compile(rf"(?P<scheme>https?)://{_HOST.pattern}")
_KEYWORD: Final = re.compile(r"\bmutation\b")
_PORTS: Final = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request does not reach Dagster.

    Attributes:
        status: HTTP status.
        message: What was expected and what to do.
    """

    status: int
    message: str


class LocalGuard:
    """ASGI middleware that lets through what :func:`judge_request` does not refuse."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        """Put the guard in front of ``app``.

        Args:
            app: What is guarded.
            names: Names and addresses of this machine besides the loopback ones.
        """
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, and pass on all others."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = judge_request(scope, self._names)
        if refusal is None:
            await self._app(scope, receive, _forbid_frames(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            answer = PlainTextResponse(refusal.message + "\n", status_code=refusal.status)
            await answer(scope, receive, send)


def judge_request(scope: Scope, names: Collection[str] = ()) -> Refusal | None:
    """Refuse a request that must not reach Dagster, and say why; ``None``: it may.

    Args:
        scope: The request, of ASGI type ``http`` or ``websocket``.
        names: Names and addresses of this machine besides the loopback ones, in lower case.
    """
    headers = Headers(scope=scope)
    if refusal := _judge_host(scope, headers, names) or _judge_origin(headers, names):
        return refusal
    if scope["type"] == "websocket":
        return None
    if scope["method"] in READS:
        return _judge_read(scope, headers)
    return _judge_write(scope["method"], headers)


def _judge_host(scope: Scope, headers: Headers, names: Collection[str]) -> Refusal | None:
    """Refuse a request that asks for the UI under a name that is none of this machine."""
    # The address that the connection came in by is a number, so no foreign name can become it.
    server = scope.get("server") or ("", None)
    known = {*names, str(server[0]).lower()}
    given = headers.getlist("host")
    found = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
    if found and _is_own(found["name"], known):
        return None
    return Refusal(
        403,
        f"Host: expected localhost, 127.0.0.1 or [::1], got {', '.join(given) or 'none'}. This UI "
        "has no password, so it answers under the names of this machine alone: open it as "
        "http://localhost:PORT, or start it with `smallcaps ui --host NAME`",
    )


def _judge_origin(headers: Headers, names: Collection[str]) -> Refusal | None:
    """Refuse a request that comes from a page of another origin; no origin is a program."""
    given = headers.getlist("origin")
    host = _HOST.fullmatch(headers["host"].lower())
    if not given or host is None:
        return None
    found = _ORIGIN.fullmatch(given[0].lower()) if len(given) == 1 else None
    if found and found["name"] == host["name"] and _port(found) == _port(host, found["scheme"]):
        return None
    if found and _is_own(found["name"], names) and found["port"] and found["port"] == host["port"]:
        return None  # localhost and 127.0.0.1 are two names of one server
    return Refusal(
        403,
        f"Origin: expected http://{headers['host']}, got {', '.join(given)}. Pages of other sites "
        "must not use this UI",
    )


def _judge_read(scope: Scope, headers: Headers) -> Refusal | None:
    """Refuse a GET that must not be answered: it would change something, or a page asks for it."""
    texts = QueryParams(scope.get("query_string", b"")).getlist("query")
    if any(map(_may_mutate, texts)):
        return Refusal(405, "A mutation by GET is not executed: send it by POST, as JSON")
    is_opened = headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in FOREIGN_SITES and not is_opened:
        return Refusal(
            403, "Pages of other sites must not use this UI; open it in a tab of its own"
        )
    return None


def _judge_write(method: str, headers: Headers) -> Refusal | None:
    """Refuse a request that may change something and must not be obeyed."""
    if method != "POST":
        return Refusal(405, f"{method} is not used by this UI: expected GET or POST")
    if headers.get("sec-fetch-site") in FOREIGN_SITES:
        return Refusal(403, "Pages of other sites must not use this UI")
    given = headers.getlist("content-type")
    # Dagster looks for "application/json" anywhere in it: "text/plain; application/json" passes.
    if len(given) == 1 and given[0].partition(";")[0].strip().lower() in BODIES:
        return None
    return Refusal(
        415,
        "Content-Type: expected application/json or application/graphql, got "
        f"{', '.join(given) or 'none'}",
    )


def _may_mutate(text: str) -> bool:
    """Tell whether a GraphQL document may change something."""
    if not _KEYWORD.search(text):
        return False
    try:
        document = parse(text)
    except GraphQLError:
        return True  # Dagster may parse what is too deep for the stack here
    operations = (
        part for part in document.definitions if isinstance(part, OperationDefinitionNode)
    )
    return any(part.operation is OperationType.MUTATION for part in operations)


def _is_own(name: str, names: Collection[str]) -> bool:
    """Tell whether a name, in brackets where it is of IPv6, is one of this machine."""
    bare = name.strip("[]").removesuffix(".")
    if bare == LOCALHOST or bare in names:
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _port(found: re.Match[str], scheme: str = "") -> str:
    """Look up the port of a host or an origin, that of its scheme where none is named."""
    return found["port"] or _PORTS[scheme or found["scheme"]]


def _forbid_frames(send: Send) -> Callable[[Message], Awaitable[None]]:
    """Wrap ``send`` for pages that no other site may show inside its own, under its buttons."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return send_marked
