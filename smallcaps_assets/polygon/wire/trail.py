"""The way through the pages of one answer, for any endpoint.

What belongs here: cursors, and what must hold for rows of any kind.  What does not: time
(``chain``), sending requests and asking again (``polygon.client``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic
from urllib.parse import parse_qs, unquote, urlsplit

from smallcaps_assets.errors import PayloadError
from smallcaps_assets.polygon.wire.envelopes import Page, Row


def read_cursor(next_url: str | None, *, path: str, base_path: str, url: str) -> str | None:
    """Read the cursor of the next page; nothing else of ``next_url`` is ever used.

    Its host is the vendor's own, whatever host we were told to ask.

    Args:
        next_url: As sent; ``None`` on a last page.
        path: Path of the endpoint, percent-encoded.
        base_path: Path prefix of the configured address, which a proxy may have added.
        url: Address without its query, for errors.

    Raises:
        PayloadError: It leads to another endpoint, or has no cursor.
    """
    if next_url is None:
        return None
    try:
        target = urlsplit(next_url)
    except ValueError as error:
        raise disbelieve("next_url is no address", url) from error
    if unquote(target.path) not in {unquote(path), unquote(base_path + path)}:
        raise disbelieve("next_url leads to another endpoint", url)
    cursors = parse_qs(target.query).get("cursor", [])
    if len(cursors) != 1:
        raise disbelieve(f"expected one cursor in next_url, got {len(cursors)}", url)
    return cursors[0]


@dataclass(frozen=True, slots=True)
class PageMark:
    """Where an answer was left, so that it can be continued.

    Attributes:
        pages: Pages read, at least one.
        cursor: What leads to the next.
    """

    pages: int
    cursor: str


@dataclass(slots=True)
class CursorTrail:
    """The way through the pages of one answer.

    Attributes:
        path: Path of the endpoint, percent-encoded.
        base_path: Path prefix of the configured address.
        url: Address without its query, for errors.
        pages: Pages accepted.
        cursor: What the next request asks for; ``None`` at the start and at the end.
    """

    path: str
    base_path: str
    url: str
    pages: int = 0
    cursor: str | None = None
    _seen: set[str] = field(default_factory=set)

    @property
    def is_finished(self) -> bool:
        """Say whether the last page was accepted."""
        return self.pages > 0 and self.cursor is None

    def choose_query(self, first: Mapping[str, str]) -> Mapping[str, str]:
        """Choose ``first``, or the cursor alone: sent with filters, it asks something else."""
        return first if self.cursor is None else {"cursor": self.cursor}

    def check(self, page: Page[Any]) -> str | None:
        """Check ``page`` and read the cursor of the page after it.

        Raises:
            PayloadError: The page cannot be part of a complete answer.
        """
        if not page.has_results and self.pages:
            raise disbelieve(f"page {self.pages + 1} has no results", self.url)
        cursor = read_cursor(page.next_url, path=self.path, base_path=self.base_path, url=self.url)
        if cursor is not None and not len(page.rows):
            raise disbelieve("a page without rows has a next_url", self.url)
        if cursor in self._seen:
            raise disbelieve(f"the cursor after page {self.pages + 1} leads back", self.url)
        return cursor

    def resume(self, mark: PageMark) -> None:
        """Go on behind a page that was accepted before."""
        self.pages = mark.pages - 1
        self.advance(mark.cursor)

    def advance(self, cursor: str | None) -> None:
        """Accept a page."""
        self.pages += 1
        self.cursor = cursor
        if cursor is not None:
            self._seen.add(cursor)


@dataclass(frozen=True, slots=True)
class MarkedPage(Generic[Row]):
    """A page, and where it leaves the answer.

    Attributes:
        rows: Its rows.
        number: Its place in the answer, from 1.
        mark: Where to go on; ``None`` after the last page.
    """

    rows: list[Row]
    number: int
    mark: PageMark | None


@dataclass(slots=True)
class RowsChain(Generic[Row]):
    """The rows of any other endpoint, page by page.

    Attributes:
        trail: The way through the pages.
    """

    trail: CursorTrail
    _previous: list[Row] = field(default_factory=list)

    def check(self, page: Page[list[Row]]) -> str | None:
        """Check that ``page`` did not come twice, and read the cursor of the page after it.

        Raises:
            PayloadError: The page cannot be part of a complete answer.
        """
        if page.rows and page.rows == self._previous:
            raise disbelieve("a page came twice", self.trail.url)
        return self.trail.check(page)

    def accept(self, page: Page[list[Row]], cursor: str | None) -> None:
        """Add a checked page."""
        self._previous = page.rows
        self.trail.advance(cursor)


def disbelieve(message: str, url: str) -> PayloadError:
    """Make the error of an answer that came whole but cannot be true."""
    return PayloadError(message, url=url, status=HTTPStatus.OK)
