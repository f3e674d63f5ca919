"""One HTTP request: a body as it came, or an error of our tree.

What belongs here: sessions, the key's header, time-outs, and what each HTTP status means. What
does not: the rate (``limiter``), retries (``retrying``) and the meaning of a body
(``polygon.wire.envelopes``).
"""

import datetime as dt
import email.utils
import http.client
import ipaddress
import math
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, urlsplit

import requests
from requests.auth import AuthBase
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError, ReadTimeoutError

from smallcaps_assets.core.documents import DECODER_FAULTS
from smallcaps_assets.errors import (
    AuthenticationError,
    BadRequestError,
    CertificateError,
    InterruptedFetchError,
    PayloadError,
    RateLimitError,
    VendorError,
    VendorTimeoutError,
    VendorUnavailableError,
)
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.deadlines import BoundedAdapter, bounded_until, make_trust
from smallcaps_assets.polygon.http.inflate import inflate_body
from smallcaps_assets.polygon.wire.envelopes import read_vendor_text, refuse
from smallcaps_assets.polygon.wire.redaction import mask_secret

CHUNK_BYTES: Final = 256 * 1024
MAX_REFUSAL_BYTES: Final = 64 * 1024
"""Bytes of an error page that are read."""

MARKET_HEADER: Final = "X-Emulated-Market"
"""Header in which an emulator names its market, percent-encoded, with every answer."""

_UNREADABLE_BUNDLE: Final = {"NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE", "BAD_BASE64_DECODE"}

_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with status 200.

    Attributes:
        data: The body as it came over the wire.
        encoding: Value of the header ``Content-Encoding``.
        url: Address without its query.
        max_bytes: Largest plain body.
        market: What an emulator says that it serves; empty where the vendor answered.
    """

    data: bytes
    encoding: str
    url: str
    max_bytes: int
    market: str = ""

    def inflate(self) -> bytes:
        """Inflate the body into plain bytes.

        Raises:
            PayloadError: It is cut, damaged, too large, or of an encoding not asked for.
        """
        return inflate_body(self.data, self.encoding, max_bytes=self.max_bytes, url=self.url)


class BearerAuth(AuthBase):
    """Sends the key in ``Authorization``; its presence keeps requests from reading ``.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._value = f"Bearer {api_key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = self._value
        return request

    def __repr__(self) -> str:
        return "BearerAuth(***)"


class Transport:
    """Sends requests; each thread has a connection of its own."""

    def __init__(self, config: ClientConfig, stop: threading.Event) -> None:
        self._config = config
        self._stop = stop
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._trust = make_trust(urlsplit(config.base_url).scheme)
        host = urlsplit(config.base_url).hostname
        # Names a host that no proxy of the environment stands before: this machine.
        self._proxies = {"no_proxy": host} if host and is_loopback(host) else None

    def get(self, path: str, parameters: Mapping[str, str], *, deadline_s: float) -> Answer:
        """Ask once; even a flowing answer is given up at a reading of ``time.monotonic``.

        Raises:
            VendorError: The subclass says what happened.
            InterruptedFetchError: The client was told to stop in the middle of the body.
        """
        url = f"{self._config.base_url.rstrip('/')}{path}"
        timeouts = (self._config.connect_timeout_s, self._config.read_timeout_s)
        try:
            with bounded_until(deadline_s):
                response = self._session().get(
                    url,
                    params=parameters,
                    timeout=timeouts,
                    stream=True,
                    allow_redirects=False,
                    proxies=self._proxies,
                )
        except (OSError, HTTPError, *DECODER_FAULTS) as error:
            raise _explain_silence(error, url) from error
        with response:
            return self._read(response, url, deadline_s)

    def close(self) -> None:
        """Close the idle connections of all threads."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    def _session(self) -> requests.Session:
        """Open the session of this thread, once."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _open_session(self._config, self._trust)
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session

    def _read(self, response: requests.Response, url: str, deadline_s: float) -> Answer:
        encoding = response.headers.get("Content-Encoding", "")
        if response.status_code != HTTPStatus.OK:
            raise self._refuse(response, encoding, url, deadline_s)
        limit = self._config.max_body_bytes
        data = self._read_raw(response.raw, url, limit, deadline_s)
        market = unquote(response.headers.get(MARKET_HEADER, ""))
        return Answer(data, encoding, url, limit, market)

    def _read_raw(self, raw: BaseHTTPResponse, url: str, limit: int, deadline_s: float) -> bytes:
        """Read the body as it comes; requests would inflate it three times as slowly.

        It grows in one piece: many small ones would be scattered over the heap, which keeps them.
        """
        body = bytearray()
        self._check_progress(raw.length_remaining or 0, url, limit, deadline_s)
        try:
            while chunk := raw.read1(CHUNK_BYTES, decode_content=False):
                self._check_progress(len(body) + len(chunk), url, limit, deadline_s)
                body += chunk
        except ReadTimeoutError as error:
            is_over = time.monotonic() > deadline_s
            reason = f"body too slow: {len(body)} bytes in time" if is_over else "silence in a body"
            raise VendorTimeoutError(reason, url=url) from error
        except HTTPError as error:
            raise _explain_break(error, url, len(body)) from error
        return bytes(body)

    def _check_progress(self, size: int, url: str, limit: int, deadline_s: float) -> None:
        if size > limit:
            raise PayloadError(f"body of more than {limit} bytes", url=url, status=HTTPStatus.OK)
        if time.monotonic() > deadline_s:
            raise VendorTimeoutError(f"body too slow: {size} bytes in time", url=url)
        if self._stop.is_set():
            raise InterruptedFetchError("told to stop while a page was coming in")

    def _refuse(
        self, response: requests.Response, encoding: str, url: str, deadline_s: float
    ) -> VendorError:
        """Read the error behind another status than 200."""
        try:
            data = self._read_raw(response.raw, url, MAX_REFUSAL_BYTES, deadline_s)
            body = inflate_body(data, encoding, max_bytes=MAX_REFUSAL_BYTES, url=url)
        except VendorError:
            body = b""
        secret = self._config.api_key
        reason = mask_secret(response.reason or "no text", secret)
        text = read_vendor_text(body, secret=secret) or reason
        wish = parse_retry_after(response.headers.get("Retry-After"))
        return explain_status(response.status_code, text, url, retry_after_s=wish)


def explain_status(
    status: int, text: str, url: str, *, retry_after_s: float | None = None
) -> VendorError:
    """Explain an HTTP status other than 200 by the error that it means."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitError(url=url, retry_after_s=retry_after_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        error = VendorUnavailableError(text, url=url, status=status)
        error.retry_after_s = retry_after_s
        return error
    return _explain_refusal(status, text, url)


def _explain_refusal(status: int, text: str, url: str) -> VendorError:
    """Explain, by its error, a status that asking again will not change."""
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthenticationError(
            f"the key was refused: {text}; set POLYGON_API_KEY or MASSIVE_API_KEY to a valid key",
            url=url,
            status=status,
        )
    if status == HTTPStatus.FORBIDDEN:
        return refuse(status, text, url=url)
    if status >= HTTPStatus.BAD_REQUEST:
        return BadRequestError(f"request refused: {text}", url=url, status=status)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        return BadRequestError(
            "redirects are not followed, the key would go with them; set SMALLCAPS_BASE_URL to "
            "the address that answers",
            url=url,
            status=status,
        )
    return PayloadError(f"expected status 200: {text}", url=url, status=status)


def parse_retry_after(value: str | None) -> float | None:
    """Parse the seconds to wait of a header ``Retry-After``: a number or an HTTP date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return None if math.isnan(seconds) else max(0.0, seconds)


def _seconds_until(date: str) -> float:
    try:
        moment = email.utils.parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return (moment - dt.datetime.now(dt.UTC)).total_seconds()
    except DECODER_FAULTS:
        return math.nan


def is_loopback(host: str | None) -> bool:
    """Say whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _open_session(config: ClientConfig, trust: ssl.SSLContext) -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, BoundedAdapter(trust))
    session.auth = BearerAuth(config.api_key)
    session.headers.update({"Accept-Encoding": "gzip", "User-Agent": "smallcaps-assets"})
    return session


def _explain_silence(error: Exception, url: str) -> VendorError:
    """Explain a request that got no answer by the error behind it."""
    if fault := _find_certificate_fault(error):
        return CertificateError(
            f"the certificate of the answering server is not trusted: {fault}; if a proxy or a "
            "server of your own answers, set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to the file (PEM) "
            "of the certificates to trust",
            url=url,
        )
    is_timeout = isinstance(error, requests.Timeout)
    return (VendorTimeoutError if is_timeout else VendorUnavailableError)(
        f"no answer: {_name_cause(error)}; check the network and SMALLCAPS_BASE_URL", url=url
    )


def _find_certificate_fault(error: Exception) -> str:
    """Find what is wrong with a certificate, or with the file of those to trust; else nothing."""
    if not isinstance(error, requests.RequestException):
        # requests says so where the file of certificates is not there.
        return str(error) if "certificate" in str(error).lower() else ""
    root = _find_root(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        return root.verify_message
    is_file = isinstance(root, ssl.SSLError) and root.reason in _UNREADABLE_BUNDLE
    return "the file of certificates to trust holds none" if is_file else ""


def _explain_break(error: HTTPError, url: str, size: int) -> VendorError:
    """Tell a body that ended early from a connection that broke."""
    causes = error.args[1:] if isinstance(error, ProtocolError) else ()
    if isinstance(error, IncompleteRead) or any(_is_incomplete(cause) for cause in causes):
        return PayloadError(f"body cut after {size} bytes", url=url, status=HTTPStatus.OK)
    return VendorUnavailableError(f"connection broken after {size} bytes", url=url)


def _is_incomplete(cause: object) -> bool:
    return isinstance(cause, IncompleteRead | http.client.IncompleteRead)


def _find_root(error: BaseException) -> BaseException:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def _name_cause(error: BaseException) -> str:
    """Name an error and what is at its root by their types; their texts hold the query."""
    names = [type(error).__name__, type(_find_root(error)).__name__]
    return " from ".join(dict.fromkeys(names))
