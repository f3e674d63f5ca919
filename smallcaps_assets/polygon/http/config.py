"""What a client needs to know: address, key, page size and patience.

What does not belong here: where these values come from (``settings``).
"""

from dataclasses import dataclass, field
from typing import Final

from smallcaps_assets.errors import ConfigError

MAX_PAGE_LIMIT: Final = 50_000
"""Largest page the vendor serves."""

DEFAULT_MAX_ROWS: Final = 5_000_000
"""Most trades of one answer that are believed where no bar says how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Settings of one client.

    Attributes:
        base_url: Address of the API, with a path prefix if there is one.
        api_key: Sent in the header ``Authorization`` only; not part of the ``repr``.
        page_limit: Trades of one page.
        connect_timeout_s: Time-out to connect.
        read_timeout_s: Longest silence of the vendor.
        retries: Further attempts after a transient fault, for each page.
        backoff_base_s: First pause before a retry.
        backoff_factor: Growth of that pause.
        retry_budget_s: Time one page may take with its retries; waiting for the rate is free.
        chain_max_rows: Most trades of one answer where no bar says how many there are.
        emulated_market: Name of the market that an emulator has to serve, such as ``seed=1``;
            empty: the vendor itself is asked.
        max_body_bytes: Largest body, inflated; a page of 50,000 trades has about 12 MiB.
    """

    base_url: str
    api_key: str = field(repr=False)
    page_limit: int = MAX_PAGE_LIMIT
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 45.0
    retries: int = 8
    backoff_base_s: float = 0.5
    backoff_factor: float = 1.6
    retry_budget_s: float = 300.0
    chain_max_rows: int = DEFAULT_MAX_ROWS
    emulated_market: str = ""
    max_body_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse what would only fail in the middle of a download.

        Raises:
            ConfigError: The key cannot be sent in a header, or the page size is not the vendor's.
        """
        if not self.api_key or not self.api_key.isascii() or not self.api_key.isprintable():
            raise ConfigError(
                "the key cannot be sent: expected printable ASCII without line ends; set "
                "POLYGON_API_KEY or MASSIVE_API_KEY again"
            )
        if not 1 <= self.page_limit <= MAX_PAGE_LIMIT:
            raise ConfigError(f"page_limit: expected 1 to {MAX_PAGE_LIMIT}, got {self.page_limit}")
