"""The vendor's client: whole answers or an error, at the shared rate, with bounded patience.

What belongs here: which pages make an answer, and when it is proven. What does not: one page
(``polygon.http.page``), the rules of a chain (``polygon.wire.chain``), what an answer is good for
(``ingest``).
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Self
from urllib.parse import quote, urlsplit

from smallcaps_assets.core.keys import check_ticker
from smallcaps_assets.core.ticks.sources import Occupation, SourceCounters, TradeSource
from smallcaps_assets.core.ticks.tape import FetchedTrades
from smallcaps_assets.errors import DataError, VendorError
from smallcaps_assets.polygon.http.config import MAX_PAGE_LIMIT, ClientConfig
from smallcaps_assets.polygon.http.counters import ClientMeter
from smallcaps_assets.polygon.http.emulators import Counterpart
from smallcaps_assets.polygon.http.limiter import RequestLimiter
from smallcaps_assets.polygon.http.page import Fetch, Gateway
from smallcaps_assets.polygon.http.transport import Transport
from smallcaps_assets.polygon.turns import PROCESSOR
from smallcaps_assets.polygon.wire.chain import CheckedPage, TradesChain, bound_rows
from smallcaps_assets.polygon.wire.envelopes import Page, Row, decode_item, decode_page
from smallcaps_assets.polygon.wire.trades import decode_trades_page
from smallcaps_assets.polygon.wire.trail import CursorTrail, MarkedPage, PageMark, RowsChain

logger = logging.getLogger(__name__)

Query = Mapping[str, str]


class PolygonClient(TradeSource):
    """A client of one vendor; safe to share between threads.

    Whatever it does ends with ``InterruptedFetchError`` where it is told to stop.
    """

    def __init__(
        self,
        config: ClientConfig,
        limiter: RequestLimiter,
        *,
        stop: threading.Event | None = None,
    ) -> None:
        """Prepare a client; nothing is sent.

        Args:
            config: Address, key, page size and patience.
            limiter: The shared rate.
            stop: Ends all waiting when set; every fetch then raises ``InterruptedFetchError``.
        """
        self.config = config
        self._owns_stop = stop is None
        own_stop = stop or threading.Event()
        transport = Transport(config, own_stop)
        counterpart = Counterpart(config, transport)
        self._gateway = Gateway(config, limiter, transport, counterpart, ClientMeter(), own_stop)

    def __repr__(self) -> str:
        return f"PolygonClient({self.config!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counters(self) -> SourceCounters:
        """What the client has spent so far."""
        return self._gateway.meter.read()

    @property
    def occupation(self) -> Occupation:
        """What the client's threads wait for now."""
        return self._gateway.meter.look()

    @property
    def processor(self) -> threading.Semaphore:
        """Share the turns at the processor with those who encode what was fetched."""
        return PROCESSOR

    def close(self) -> None:
        """Close idle connections; end all waiting unless the client was given an event for that."""
        if self._owns_stop:
            self._gateway.stop.set()
        self._gateway.transport.close()

    def fetch_trades(
        self,
        ticker: str,
        gte_ns: int,
        lt_ns: int,
        *,
        expected_rows: int | None = None,
        page_limit: int | None = None,
    ) -> FetchedTrades:
        """Fetch every trade of a ticker in ``[gte_ns, lt_ns)``.

        Args:
            ticker: The vendor's symbol; case matters.
            gte_ns: First nanosecond since 1970, of ``sip_timestamp``.
            lt_ns: Nanosecond after the last.
            expected_rows: Trades by the daily bars, if known: they bound the answer.
            page_limit: Trades of one page; those of the configuration by default.

        Raises:
            VendorError: The answer did not come to a proven end; nothing of it is returned.
                ``requests`` says what it cost.
            PayloadError: More trades came than can be believed.
            DataError: Ticker or bounds cannot be asked for.
        """
        if gte_ns >= lt_ns:
            raise DataError(f"empty interval: expected gte_ns < lt_ns, got {gte_ns} and {lt_ns}")
        path = f"/v3/trades/{quote(check_ticker(ticker), safe='')}"
        most = bound_rows(expected_rows, self.config.chain_max_rows)
        chain = TradesChain(ticker, gte_ns, lt_ns, self._start_trail(path), most)
        fetch, limit = Fetch(self._gateway), page_limit or self.config.page_limit
        while not chain.trail.is_finished:
            page = fetch.repeat(lambda: self._ask_trades(fetch, chain, limit))
            try:
                chain.accept(page)
            except VendorError as error:
                error.requests = fetch.requests
                raise
        return _report(chain, fetch)

    def iter_pages(
        self, path: str, parameters: Query, *, row_type: type[Row]
    ) -> Iterator[list[Row]]:
        """Yield the results of each page of any endpoint, to the end.

        Args:
            path: Path below the configured address, percent-encoded.
            parameters: The query of the first page.
            row_type: A type of the rows that msgspec understands.

        Raises:
            VendorError: The answer did not come to an end; pages already yielded are no answer.
        """
        for page in self.iter_marked_pages(path, parameters, row_type=row_type):
            yield page.rows

    def iter_marked_pages(
        self, path: str, parameters: Query, *, row_type: type[Row], after: PageMark | None = None
    ) -> Iterator[MarkedPage[Row]]:
        """Yield pages as :meth:`iter_pages` does, each with the mark at which to go on.

        They begin ``after`` the mark of the last page known.

        Raises:
            VendorError: The answer did not come to an end; it may go on at the last mark.
        """
        chain: RowsChain[Row] = RowsChain(self._start_trail(path, after))
        fetch = Fetch(self._gateway)
        decode = partial(decode_page, row_type=row_type)

        def ask() -> tuple[Page[list[Row]], str | None]:
            page = fetch.ask(path, chain.trail.choose_query(parameters), decode)
            return page, chain.check(page)

        while not chain.trail.is_finished:
            page, cursor = fetch.repeat(ask)
            chain.accept(page, cursor)
            number = chain.trail.pages
            mark = None if cursor is None else PageMark(number, cursor)
            yield MarkedPage(page.rows, number, mark)

    def fetch_item(self, path: str, parameters: Query, row_type: type[Row]) -> Row:
        """Fetch one thing from an endpoint that answers without pages.

        Raises:
            VendorError: No answer came, or none that can be believed.
        """
        fetch = Fetch(self._gateway)
        decode = partial(decode_item, row_type=row_type)
        return fetch.repeat(lambda: fetch.ask(path, parameters, decode))

    def _start_trail(self, path: str, after: PageMark | None = None) -> CursorTrail:
        base_url = self.config.base_url.rstrip("/")
        trail = CursorTrail(path, urlsplit(base_url).path, f"{base_url}{path}")
        if after is not None:
            trail.resume(after)
        return trail

    def _ask_trades(self, fetch: Fetch, chain: TradesChain, limit: int) -> CheckedPage:
        """Ask for the next page of a chain; a suspicious seam or end of it has to be proven."""
        path = chain.trail.path
        decode = partial(decode_trades_page, ticker=chain.ticker)
        first = _ask_for(chain.gte_ns, chain.lt_ns, limit)
        page = chain.check(fetch.ask(path, chain.trail.choose_query(first), decode))
        if page.repeats.height:
            instant = _ask_for(chain.last_ns, chain.last_ns + 1, MAX_PAGE_LIMIT)
            page = chain.settle_seam(page, fetch.ask(path, instant, decode))
        if chain.needs_proof(page, limit):
            at_ns, most = chain.choose_proof(page)
            rest = _ask_for(at_ns, chain.lt_ns, min(most, MAX_PAGE_LIMIT))
            chain.check_end(page, fetch.ask(path, rest, decode))
        return page


def _ask_for(gte_ns: int, lt_ns: int, limit: int) -> dict[str, str]:
    """Make the query of a first page: exact bounds and an order, because neither is default."""
    return {
        "timestamp.gte": str(gte_ns),
        "timestamp.lt": str(lt_ns),
        "order": "asc",
        "sort": "timestamp",
        "limit": str(limit),
    }


def _report(chain: TradesChain, fetch: Fetch) -> FetchedTrades:
    """Report the trades of a finished chain with what they cost."""
    logger.info(
        "fetched ticker=%s rows=%d pages=%d requests=%d",
        chain.ticker,
        chain.rows,
        chain.trail.pages,
        fetch.requests,
    )
    return FetchedTrades(
        trades=chain.collect(),
        pages=chain.trail.pages,
        requests=fetch.requests,
        repeats_dropped=chain.repeats,
        is_seam_ambiguous=chain.is_ambiguous,
        status=chain.status,
        bytes_received=fetch.bytes_received,
    )
