"""The error tree: every failure the product can name, and nothing else.

::

    SmallcapsError
    ├── ConfigError                 settings, arguments or the environment are wrong
    ├── InterruptedFetchError       a fetch was told to stop, nothing is wrong
    ├── VendorError                 a request to the vendor failed
    │   ├── RateLimitError          429, transient
    │   ├── VendorUnavailableError  5xx, reset, unreachable, transient
    │   │   └── VendorTimeoutError  no answer in time, transient
    │   ├── PayloadError            an answer that cannot be believed, transient
    │   ├── AuthenticationError     401, the key is wrong
    │   ├── CertificateError        the certificate of who answers is not trusted
    │   ├── NotEntitledError        403 or status NOT_AUTHORIZED
    │   └── BadRequestError         400, 404 and other refusals
    ├── DataError                   data breaks its contract
    │   ├── SchemaError             columns or types
    │   ├── CoverageError           rows that must exist do not
    │   └── RefusedFileError        a file that was handed in breaks its contract
    └── LakeError                   the lake on disk refuses
        ├── MissingPartitionError   a table or session that was asked for is not stored
        ├── PartitionConflictError  the lake belongs to another source, version or process
        ├── LedgerMismatchError     ledger, records or plan disagree
        └── StorageError            the disk is full, read-only or broken

``transient`` is the only thing a retry looks at; ``exit_code`` is that of a command: 2 where what
it was given is refused, else 1; ``kind`` is the short word that ends up in
the ledger, in Dagster and in summaries; ``page`` is the page and the section below ``docs`` that
say what to do.  No message holds a key, a query string or a control character: what others say ends
up on terminals, in the ledger, in logs and in pages.
"""

import re
from typing import ClassVar, Final

_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves a cursor, rings, colours, turns the direction of writing or has no UTF-8; a line end
and a tab are text."""


def show_controls(text: str) -> str:
    """Show the control characters in a text of others, as Python spells them."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class SmallcapsError(Exception):
    """Root of everything the product raises on purpose."""

    transient: ClassVar[bool] = False
    kind: ClassVar[str] = "error"
    page: ClassVar[str] = "operations#kinds-of-failure-and-what-to-do"
    exit_code: ClassVar[int] = 1

    def __init__(self, *arguments: object) -> None:
        shown = (show_controls(one) if isinstance(one, str) else one for one in arguments)
        super().__init__(*shown)


class ConfigError(SmallcapsError):
    """A setting, an argument or the environment is wrong; the message says what to do."""

    kind = "config"
    exit_code = 2
    page = "operations#a-setting-or-an-argument-is-refused"


class InterruptedFetchError(SmallcapsError):
    """A fetch was told to stop before it was finished; nothing of it is kept.

    Attributes:
        requests: HTTP requests spent on it, retries included.
    """

    kind = "interrupted"
    page = "operations#backfill-and-resume"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.requests = 0


class VendorError(SmallcapsError):
    """A request to the vendor failed.

    Attributes:
        url: Address without its query, so that no key and no cursor can leak into a log.
        status: HTTP status, or ``None`` when no response arrived.
        requests: HTTP requests spent on the failed fetch, retries included.
        retry_after_s: Seconds the vendor asked to wait, or ``None`` when it did not say.
    """

    kind = "vendor"
    page = "operations#vendor-outage"

    def __init__(self, message: str, *, url: str, status: int | None = None) -> None:
        super().__init__(f"{message} ({status or 'no response'}, {url})")
        self.url = url
        self.status = status
        self.requests = 0
        self.retry_after_s: float | None = None


class RateLimitError(VendorError):
    """The vendor asks us to slow down."""

    transient = True
    kind = "rate_limited"

    def __init__(self, *, url: str, retry_after_s: float | None = None) -> None:
        wish = "no Retry-After" if retry_after_s is None else f"retry after {retry_after_s:g} s"
        super().__init__(f"rate limited, {wish}", url=url, status=429)
        self.retry_after_s = retry_after_s


class VendorUnavailableError(VendorError):
    """The vendor does not answer, or answers with a server error."""

    transient = True
    kind = "unavailable"


class VendorTimeoutError(VendorUnavailableError):
    """The vendor does not answer in time, or stops in the middle of an answer."""

    kind = "timed_out"


class PayloadError(VendorError):
    """An answer arrived that cannot be believed: cut, malformed, out of order, looping."""

    transient = True
    kind = "payload"


class AuthenticationError(VendorError):
    """The key is missing, unknown or revoked; every further request would fail as well."""

    kind = "unauthorized"
    page = "operations#new-key"


class CertificateError(VendorError):
    """The certificate of whoever answers is not trusted; every further request would fail too."""

    kind = "certificate"
    page = "operations#kinds-of-failure-and-what-to-do"


class NotEntitledError(VendorError):
    """The plan of the key does not include what was asked for.

    Attributes:
        is_timeframe: The refusal is about how far back the data lie, not about the endpoint.
    """

    kind = "not_entitled"
    page = "operations#new-key"

    def __init__(self, message: str, *, url: str, status: int, is_timeframe: bool) -> None:
        super().__init__(message, url=url, status=status)
        self.is_timeframe = is_timeframe


class BadRequestError(VendorError):
    """The vendor refuses the request itself."""

    kind = "bad_request"
    page = "operations#kinds-of-failure-and-what-to-do"


class DataError(SmallcapsError):
    """Data break their contract."""

    kind = "data"
    page = "operations#a-file-is-refused"


class SchemaError(DataError):
    """A column is missing, unknown, of another type, or null where it never is."""

    kind = "schema"


class CoverageError(DataError):
    """Rows that must exist do not."""

    kind = "coverage"
    page = "operations#kinds-of-failure-and-what-to-do"


class RefusedFileError(DataError):
    """A file that a person hands in is refused: nothing of it is used."""

    exit_code = 2


class LakeError(SmallcapsError):
    """The lake on disk refuses."""

    kind = "lake"
    page = "operations#something-is-lost-or-damaged"


class MissingPartitionError(LakeError):
    """A table or a session that was asked for is not stored."""

    kind = "missing"


class PartitionConflictError(LakeError):
    """The lake is bound to another source, a newer version, or another running process."""

    kind = "conflict"
    exit_code = 2
    page = "operations#the-lake-is-refused"


class LedgerMismatchError(LakeError):
    """The ledger, the records and the plan disagree."""

    kind = "mismatch"


class StorageError(LakeError):
    """The disk is full, read-only or broken; the message names the path and the remedy."""

    kind = "storage"
    page = "operations#full-disk"
