"""Which market an emulator serves, asked before its first answer is believed.

An address says nothing of what is behind it: an emulator restarted with another seed serves
another market from the same port, and its sessions would join those of the first.  What does not
belong here: what a lake is bound to (``lake.home.identity``).
"""

import logging
import threading
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import BadRequestError, PartitionConflictError
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.transport import Answer, Transport, is_loopback

logger = logging.getLogger(__name__)

IDENTITY_PATH: Final = "/_emulator/identity"


class _Identity(msgspec.Struct):
    """What an emulator says of itself; one that serves rows made by hand has no name."""

    name: str = ""


class Counterpart:
    """The emulator that a client asks; of the vendor itself nothing is asked."""

    def __init__(self, config: ClientConfig, transport: Transport) -> None:
        self._config = config
        self._transport = transport
        self._lock = threading.Lock()
        self._is_known = not config.emulated_market

    def confirm(self, *, deadline_s: float) -> None:
        """Ask who answers, once, and give up at a reading of ``time.monotonic``.

        Raises:
            PartitionConflictError: It is an emulator of another market, or none.
            VendorError: Nothing answers.
        """
        with self._lock:
            if not self._is_known:
                self._compare(self._ask(deadline_s))
                self._is_known = True

    def check(self, answer: Answer) -> None:
        """Look who answered: another emulator may have been started since the first request.

        Raises:
            PartitionConflictError: It is an emulator of another market.
        """
        if self._config.emulated_market and answer.market:
            self._compare(answer.market)

    def _ask(self, deadline_s: float) -> str:
        """Ask for the name of the market; empty where what answers does not say."""
        try:
            answer = self._transport.get(IDENTITY_PATH, {}, deadline_s=deadline_s)
            return decode_json(answer.inflate(), _Identity).name
        except BadRequestError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        except DECODER_FAULTS as error:
            logger.debug("identity cannot be read: %s", error)
        return ""

    def _compare(self, name: str) -> None:
        url, wanted = self._config.base_url, self._config.emulated_market
        if name == wanted:
            return
        if name:
            raise PartitionConflictError(
                f"{url} serves the emulated market {name}, and this process would store it as "
                f"{wanted}: start the emulator of {wanted} there, or set SMALLCAPS_EMULATOR_SEED "
                "or SMALLCAPS_EMULATOR_REPLAY to what it serves and SMALLCAPS_DATA_DIR to another "
                "folder"
            )
        if not is_loopback(urlsplit(url).hostname):
            raise PartitionConflictError(
                f"{url} does not say which market it serves, so it is no emulator: set "
                "SMALLCAPS_SOURCE to vendor, or SMALLCAPS_BASE_URL to the address that "
                "`smallcaps emulator` prints"
            )
        logger.warning("%s does not say which market it serves, expected %s", url, wanted)
