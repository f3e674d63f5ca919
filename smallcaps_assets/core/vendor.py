"""The vendor's addresses, which changed their name once, and names of its emulator.

Does not belong here: asking them (``polygon``), and which of them a lake is of (``settings``).
"""

from typing import Final

VENDOR_BASE_URL: Final = "https://api.polygon.io"
VENDOR_DOMAINS: Final = ("polygon.io", "massive.com")
VENDOR_HOSTS: Final = frozenset(f"api.{domain}" for domain in VENDOR_DOMAINS)
"""Hosts of one vendor, under its old name and its new one."""
SCENARIOS_MARK: Final = "+scenarios"
"""What follows the seed in the name of an emulated market with planted scenarios."""
