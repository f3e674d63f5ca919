"""One fetch under way: its pages at the shared rate, with patience, and what they cost.

What belongs here: putting rate, transport, wire format and retries together for one page. What
does not: which pages to ask for (``polygon.client``) and whether they fit together
(``polygon.wire.chain``).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from smallcaps_assets.core.ticks.sources import Stage
from smallcaps_assets.errors import InterruptedFetchError, RateLimitError, VendorError
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.counters import ClientMeter
from smallcaps_assets.polygon.http.emulators import Counterpart
from smallcaps_assets.polygon.http.limiter import RequestLimiter
from smallcaps_assets.polygon.http.retrying import Deadline, Retry, call_patiently, release_frames
from smallcaps_assets.polygon.http.transport import Transport
from smallcaps_assets.polygon.turns import PROCESSOR
from smallcaps_assets.polygon.wire.envelopes import Page, disbelieving

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Gateway:
    """What all fetches of one client share.

    Attributes:
        config: Address, key, page size and patience.
        limiter: The shared rate.
        transport: Sends requests.
        counterpart: Knows who answers.
        meter: Counts them.
        stop: Ends all waiting.
    """

    config: ClientConfig
    limiter: RequestLimiter
    transport: Transport
    counterpart: Counterpart
    meter: ClientMeter
    stop: threading.Event


class Fetch:
    """One fetch under way; ``InterruptedFetchError`` where the client is told to stop.

    Attributes:
        requests: HTTP requests sent so far, retries included.
        bytes_received: Bytes of good bodies on the wire so far.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.requests = 0
        self.bytes_received = 0
        self._gateway = gateway
        self._deadline = Deadline(gateway.config.retry_budget_s)

    def ask(self, path: str, query: Mapping[str, str], decode: Callable[..., Result]) -> Result:
        """Ask once, when the shared rate allows, and return what ``decode`` makes of the body.

        It is given the inflated body, and ``url`` and ``secret`` by name.

        Raises:
            VendorError: Nothing came, or nothing that can be believed.
        """
        gateway = self._gateway
        gateway.counterpart.confirm(deadline_s=self._deadline.at_s)
        gateway.meter.enter(Stage.RATE)
        self._deadline.extend(gateway.limiter.acquire(gateway.stop))
        self.requests += 1
        gateway.meter.count_request()
        gateway.meter.enter(Stage.ANSWER)
        try:
            answer = gateway.transport.get(path, query, deadline_s=self._deadline.at_s)
            gateway.counterpart.check(answer)
            self.bytes_received += len(answer.data)
            gateway.meter.leave()
            with PROCESSOR, disbelieving(answer.url):
                result = decode(answer.inflate(), url=answer.url, secret=gateway.config.api_key)
        except RateLimitError as error:
            if error.retry_after_s:
                gateway.limiter.hold(error.retry_after_s)
            raise
        if isinstance(result, Page):
            gateway.meter.count_page(len(result.rows))
        return result

    def repeat(self, attempt: Callable[[], Result]) -> Result:
        """Repeat ``attempt`` after transient faults, and pass on what it gives.

        Raises:
            VendorError: Patience has come to its end, or the fault is not transient; its
                ``requests`` are those of the whole fetch.
        """
        gateway = self._gateway
        self._deadline = Deadline(gateway.config.retry_budget_s)
        try:
            return call_patiently(
                attempt,
                gateway.config,
                deadline=self._deadline,
                stop=gateway.stop,
                on_retry=self._note_retry,
            )
        except (VendorError, InterruptedFetchError) as error:
            release_frames(error)
            error.requests = self.requests
            raise
        finally:
            gateway.meter.leave()

    def _note_retry(self, retry: Retry) -> None:
        self._gateway.meter.count_retry(retry.error.kind, str(retry.error), retry.pause_s)
        logger.warning(
            "retry kind=%s attempt=%d pause_s=%.2f reason=%s",
            retry.error.kind,
            retry.attempt,
            retry.pause_s,
            retry.error,
        )
