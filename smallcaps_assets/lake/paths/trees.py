"""What ticker-sessions are kept as: those of the plan, and what lies beside them.

What belongs here: the names of these trees.  What does not: paths of the data folder (``layout``).
"""

from enum import StrEnum


class Tree(StrEnum):
    """The trees of ticker-sessions."""

    TRADES = "trades"
    OFF_SESSION = "off_session_trades"
    IMPORTED = "imported_trades"
