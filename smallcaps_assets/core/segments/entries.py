"""Entries: what a record says of a ticker-session, and why it is believed.

What belongs here: the fields of an entry, as a value and as a row of ``schemas.ENTRIES``, and the
states that a record keeps.  What does not: which of several entries counts (``merging``).
"""

import datetime as dt
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import polars as pl

from smallcaps_assets.core import states
from smallcaps_assets.core.documents import convert_fields
from smallcaps_assets.core.ticks.disputes import Asking
from smallcaps_assets.schemas import ENTRIES, INSTANT

KEY: Final = ENTRIES.key
"""What there is one winning entry of."""

SESSION: Final = "session"
OFF_SESSION: Final = "off_session"
"""Kinds of an entry: a session, and prints on a date that is none."""

KEPT_RED: Final = frozenset(
    {states.DISPUTED, states.EMPTY_DISPUTED, states.QUARANTINED, states.IMPORTED_UNPROVEN}
)
KEPT: Final = states.GREEN | KEPT_RED
"""States that a record keeps; all others are the ledger's."""

WITH_ROWS: Final = frozenset({states.COMPLETE, states.DISPUTED, states.IMPORTED_UNPROVEN})
"""States of an entry with rows; every other one has none."""

PHASE_COLUMNS: Final = {
    "pre_market": "pre_market_rows",
    "regular": "regular_rows",
    "after_hours": "after_hours_rows",
    "closed": "closed_rows",
}
"""Columns that count rows, by trading phase."""


def count_phases() -> list[pl.Expr]:
    """Count rows of trades by phase, in columns of their own."""
    return [
        (pl.col("trading_phase") == phase).sum().cast(pl.Int64).alias(column)
        for phase, column in PHASE_COLUMNS.items()
    ]


_INSTANTS: Final = ("first_sip", "last_sip")
_PHYSICAL: Final = {
    name: pl.Int64() if name in _INSTANTS else dtype for name, dtype in ENTRIES.schema.items()
}
NOT_COMMITTED: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""What an entry has for its commit before it has one."""

_DATES: Final = (dt.date, dt.datetime)
"""Types that frames have too, and that need no text."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a record says of a ticker-session; the columns of ``schemas.ENTRIES`` say more.

    What its rows tell (``rows`` to ``closed_rows``) is measured when a segment closes.

    Attributes:
        first_sip: First instant, nanoseconds since 1970; ``None``: no rows.
        last_sip: Last instant likewise.
        askings: Answers since its bar disputes it, the oldest first.
        marks: What its bar leaves open.
        committed_at: When the answer was committed, however often its rows were moved since.
    """

    ticker: str
    session_date: dt.date
    owner: dt.date
    state: str
    gte_ns: int
    lt_ns: int
    pages: int
    requests: int
    vendor_status: str
    run_id: str
    started_at: dt.datetime
    kind: Literal["session", "off_session"] = "session"
    revision: int = 1
    packed: int = 0
    part: str | None = None
    first_row: int = 0
    rows: int = 0
    content_hash: str = ""
    first_sip: int | None = None
    last_sip: int | None = None
    pre_market_rows: int = 0
    regular_rows: int = 0
    after_hours_rows: int = 0
    closed_rows: int = 0
    volume: float | None = None
    trade_count: int | None = None
    original_volume: float | None = None
    original_trade_count: int | None = None
    bar_volume: float | None = None
    bar_trade_count: int | None = None
    volume_deficit: float | None = None
    count_deficit: float | None = None
    repeats_dropped: int = 0
    is_seam_ambiguous: bool = False
    is_accepted: bool = False
    askings: tuple[Asking, ...] = ()
    marks: tuple[str, ...] = ()
    committed_at: dt.datetime = NOT_COMMITTED
    adopted: str | None = None
    archive: str | None = None

    @property
    def key(self) -> tuple[str, dt.date, str]:
        """What there is one winning entry of: ticker, date and kind."""
        return self.ticker, self.session_date, self.kind


def frame_entries(entries: Iterable[Entry]) -> pl.DataFrame:
    """Make ``schemas.ENTRIES`` of entries, in their order.

    Raises:
        SchemaError: An entry breaks the contract.
    """
    rows = [msgspec.to_builtins(entry, builtin_types=_DATES) for entry in entries]
    frame = pl.DataFrame(rows, _PHYSICAL)
    return ENTRIES.conform(frame.with_columns(pl.col(_INSTANTS).cast(INSTANT)))


def list_entries(entries: pl.DataFrame) -> list[Entry]:
    """Make entries of rows of ``schemas.ENTRIES``, in their order; further columns are left out."""
    plain = entries.select(*ENTRIES.columns).with_columns(pl.col(_INSTANTS).to_physical())
    return convert_fields(plain.to_dicts(), list[Entry])


def lose_proof(entry: Entry) -> Entry:
    """Say of a session that it was stored, and has lost its proof."""
    return msgspec.structs.replace(
        entry,
        state=states.QUARANTINED,
        revision=entry.revision + 1,
        packed=0,
        part=None,
        first_row=0,
        rows=0,
        content_hash="",
        first_sip=None,
        last_sip=None,
        pre_market_rows=0,
        regular_rows=0,
        after_hours_rows=0,
        closed_rows=0,
    )
