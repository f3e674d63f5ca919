"""A load of all listings from the vendor that continues where it stopped.

Thousands of requests at a rate of a hundred a minute take hours.  Each finished page of a list,
and each batch of details, is a part on disk; a part of a list holds the cursor behind it.  What
belongs here: parts and requests.  What does not: what listings mean (``core``).
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Final, TypeVar

import msgspec
import polars as pl

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import BadRequestError
from smallcaps_assets.lake.tables.load_parts import PartStore
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.listings import (
    DatedDetails,
    ListingRow,
    fetch_details,
    frame_details,
    frame_listings,
    iter_listing_pages,
)
from smallcaps_assets.polygon.wire.trail import PageMark

logger = logging.getLogger(__name__)

PART_VERSION: Final = 1
LONGEST_LOAD: Final = dt.timedelta(days=7)
"""Age from which an unfinished load is started over: its lists would mix two markets."""
DETAILS_PER_PART: Final = 200

_LOAD_PART: Final = "load"
_DETAILS_PREFIX: Final = "details-"

Part = TypeVar("Part", bound=msgspec.Struct)
Tell = Callable[[str], object]


class LoadIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What parts belong to.

    Attributes:
        as_of: Date that details of active listings are asked for.
    """

    version: int
    source: str
    as_of: dt.date
    started_at: dt.datetime


class PagePart(msgspec.Struct, kw_only=True):
    """One page of a list.

    Attributes:
        number: Its place, from 1.
        cursor: What leads to the next; ``None``: it is the last.
    """

    number: int
    cursor: str | None
    rows: list[ListingRow]


class DetailsPart(msgspec.Struct, kw_only=True):
    """One batch of details."""

    answers: list[DatedDetails]


class LoadCounts(msgspec.Struct):
    """What a load did itself and what it found done.

    Attributes:
        pages_resumed: Pages that an earlier, interrupted load had kept.
        details_resumed: Details that an earlier, interrupted load had kept.
    """

    pages: int = 0
    pages_resumed: int = 0
    details: int = 0
    details_resumed: int = 0


class UniverseLoad:
    """A load under way.

    Attributes:
        as_of: Date that details of active listings are asked for.
    """

    def __init__(
        self,
        client: PolygonClient,
        parts: PartStore,
        fresh: LoadIdentity,
        workers: int,
        tell: Tell,
    ) -> None:
        """Go on with the parts on disk, or begin a fresh load where there are none that fit."""
        self._client = client
        self._workers = workers
        self._parts = parts
        self._listener = tell
        self.as_of = self._open(fresh)
        self.counts = LoadCounts()

    def fetch_list(self, *, active: bool) -> pl.DataFrame:
        """Fetch a whole list of the vendor, as ``core.listings.LISTING_COLUMNS``.

        Raises:
            VendorError: It did not come to its end; the pages that came are kept.
        """
        prefix = "active-" if active else "delisted-"
        kept = self._read_pages(prefix)
        self.counts.pages_resumed += len(kept)
        try:
            pages = [*kept, *self._iter_rest(prefix, kept, active=active)]
        except BadRequestError as error:
            if not kept:
                raise
            # A cursor of days ago may be worth nothing any more.
            logger.warning("list started over list=%s reason=%s", prefix, error)
            self._parts.clear(prefix)
            self.counts.pages_resumed -= len(kept)
            pages = list(self._iter_rest(prefix, [], active=active))
        return frame_listings((row for page in pages for row in page.rows), active=active)

    def fetch_details(self, asked: pl.DataFrame) -> pl.DataFrame:
        """Fetch ``core.listings.DETAIL_COLUMNS`` of unique ``ticker, asked_date``, one row each.

        Raises:
            VendorError: The vendor refuses or is out; the details that came are kept.
        """
        wanted = list(asked.select("ticker", "asked_date").iter_rows())
        known = {
            (answer.ticker, answer.date): answer
            for part in self._read_parts(_DETAILS_PREFIX, DetailsPart)
            for answer in part.answers
        }
        missing = [key for key in wanted if key not in known]
        self.counts.details_resumed = done = len(wanted) - len(missing)
        with ThreadPoolExecutor(self._workers, thread_name_prefix="details") as pool:
            for start in range(0, len(missing), DETAILS_PER_PART):
                batch = self._fetch_batch(pool, missing[start : start + DETAILS_PER_PART])
                known |= {(answer.ticker, answer.date): answer for answer in batch}
                self.counts.details += len(batch)
                done += len(batch)
                self._tell(f"universe: {done:,} of {len(wanted):,} details")
        return frame_details(known[key] for key in wanted)

    def clear(self) -> None:
        """Forget the parts: the load is finished."""
        self._parts.clear()

    def _tell(self, line: str) -> None:
        logger.info("%s", line)
        self._listener(line)

    def _open(self, fresh: LoadIdentity) -> dt.date:
        found = next(iter(self._read_parts(_LOAD_PART, LoadIdentity)), None)
        if (
            found is not None
            and (found.version, found.source) == (fresh.version, fresh.source)
            and fresh.started_at - found.started_at < LONGEST_LOAD
        ):
            return found.as_of
        self._parts.clear()
        self._parts.write(_LOAD_PART, msgspec.json.encode(fresh))
        return fresh.as_of

    def _iter_rest(
        self, prefix: str, kept: Sequence[PagePart], *, active: bool
    ) -> Iterator[PagePart]:
        """Yield the pages behind those kept, each once it is on disk."""
        if kept and kept[-1].cursor is None:
            return
        after = PageMark(kept[-1].number, kept[-1].cursor or "") if kept else None
        count = sum(len(page.rows) for page in kept)
        for page in iter_listing_pages(self._client, active=active, after=after):
            cursor = None if page.mark is None else page.mark.cursor
            part = PagePart(number=page.number, cursor=cursor, rows=page.rows)
            self._parts.write(f"{prefix}{page.number:06}", msgspec.json.encode(part))
            count += len(page.rows)
            self.counts.pages += 1
            self._tell(f"universe: {count:,} listings {prefix.rstrip('-')}, page {page.number}")
            yield part

    def _fetch_batch(
        self, pool: ThreadPoolExecutor, batch: Sequence[tuple[str, dt.date]]
    ) -> list[DatedDetails]:
        """Fetch the details of a batch; what came is kept, whatever ends it."""
        futures = [pool.submit(fetch_details, self._client, *key) for key in batch]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
            tried = [future for future in futures if not future.cancelled()]
            answers = [future.result() for future in tried if future.exception() is None]
            self._keep_details(answers)
        for future in tried:
            future.result()
        return answers

    def _keep_details(self, answers: list[DatedDetails]) -> None:
        if not answers:
            return
        names = self._parts.list_names(_DETAILS_PREFIX)
        number = int(names[-1].removeprefix(_DETAILS_PREFIX)) + 1 if names else 1
        content = msgspec.json.encode(DetailsPart(answers=answers))
        self._parts.write(f"{_DETAILS_PREFIX}{number:06}", content)

    def _read_pages(self, prefix: str) -> list[PagePart]:
        """Read the pages kept; none where they do not follow one another from the first on."""
        pages = self._read_parts(prefix, PagePart)
        is_whole = [page.number for page in pages] == list(range(1, len(pages) + 1))
        has_gap = any(page.cursor is None for page in pages[:-1])
        if is_whole and not has_gap:
            return pages
        self._parts.clear(prefix)
        return []

    def _read_parts(self, prefix: str, kind: type[Part]) -> list[Part]:
        """Read the parts that are sound; a damaged one is removed and fetched again."""
        found = []
        for name in self._parts.list_names(prefix):
            try:
                found.append(decode_json(self._parts.read(name), kind))
            except DECODER_FAULTS as error:
                logger.warning("part is damaged name=%s reason=%s", name, error)
                self._parts.clear(name)
        return found
