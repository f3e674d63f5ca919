"""Names of the states of a ticker-session, and which of them are green.

What belongs here: the words, declared once. What does not: the rules that lead from one state to
another (``ingest``), and where states are kept (``lake.sessions.receipts``,
``lake.ledger.writer``).
"""

from typing import Final

PLANNED: Final = "planned"
"""Wanted by the published plan and not asked for yet."""

COMPLETE: Final = "complete"
"""Every page was read; the rows are stored, and a record says so."""

EMPTY: Final = "empty"
"""Asked for; the vendor has no trades, and the daily bar agrees or a person accepted it."""

EMPTY_UNVERIFIED: Final = "empty_unverified"
"""Asked for; the vendor has no trades, and there is no daily bar to ask."""

EMPTY_DISPUTED: Final = "empty_disputed"
"""Asked for; the vendor has no trades, but the daily bar shows volume."""

DISPUTED: Final = "disputed"
"""Asked for; the rows are stored, but fall short of the daily bar by volume or count: red."""

FAILED: Final = "failed"
"""Asked for without a whole answer; kind and message say why."""

QUARANTINED: Final = "quarantined"
"""Stored once, found damaged and moved aside."""

NOT_ENTITLED: Final = "not_entitled"
"""The plan of the key does not reach that far back."""

IMPORTED_UNPROVEN: Final = "imported_unproven"
"""An archive has rows of it that do not prove complete: kept apart, and still to be asked for."""

NOT_YET_AVAILABLE: Final = "not_yet_available"
"""The session is not closed, or not published yet."""

STATES: Final = (
    PLANNED,
    COMPLETE,
    EMPTY,
    EMPTY_UNVERIFIED,
    EMPTY_DISPUTED,
    DISPUTED,
    FAILED,
    QUARANTINED,
    NOT_ENTITLED,
    IMPORTED_UNPROVEN,
    NOT_YET_AVAILABLE,
)
"""Every state, in the order of reports."""

EMPTY_STATES: Final = frozenset({EMPTY, EMPTY_UNVERIFIED})
"""Green states without rows."""

GREEN: Final = EMPTY_STATES | {COMPLETE}
"""States that need no further request: a record proves each."""

KEPT: Final = GREEN | {DISPUTED}
"""States of what is stored, proven or not."""
