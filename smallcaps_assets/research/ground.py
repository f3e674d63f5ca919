"""What research stands on: a lake for reading, its plan, and the settings of research.

What belongs here: gathering what several use cases read, and the hash by which a change of it is
told.  What does not: making a table of it (the modules beside).
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec
import polars as pl

from smallcaps_assets.core.research.events.parameters import CostRules, LabelRules
from smallcaps_assets.core.research.prints import PRINT_COLUMNS, label_prints
from smallcaps_assets.core.sessions import SessionCalendar, session_range
from smallcaps_assets.core.ticks.phases import REGULAR
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.schemas import PILOT_WATCHLIST, Table

KEY: Final = ["ticker", "session_date"]
BATCH_ROWS: Final = 5_000_000
"""Trades in memory at once; a larger session is read alone."""
INPUT_HASH: Final = "input_hash"

_PLAIN_MODE: Final = "sessions"


@dataclass(frozen=True)
class Ground:
    """A lake and the settings of research.

    Attributes:
        lake: What is proven.
        store: The tables of research.
        calendar: XNYS sessions.
        labels: The table ``[labels]`` of the settings.
        costs: The table ``[costs]``.
        batch_rows: Trades in memory at once.
    """

    lake: Lake
    store: ResearchStore
    calendar: SessionCalendar
    labels: LabelRules = field(default_factory=LabelRules)
    costs: CostRules = field(default_factory=CostRules)
    batch_rows: int = BATCH_ROWS

    @cached_property
    def record(self) -> PlanRecord:
        """The record of the published plan.

        Raises:
            MissingPartitionError: No plan is published.
        """
        return self.lake.plan_record()

    @cached_property
    def events(self) -> pl.DataFrame:
        """All events of the plan: ``ticker, session_date, event, is_proven``, sorted.

        Raises:
            MissingPartitionError: The plan has no events, or none is published.
        """
        if self.record.mode == _PLAIN_MODE:
            raise MissingPartitionError(
                "the plan has plain sessions and no events, so there is nothing to decide on: "
                "plan events with `smallcaps plan`, without --tickers"
            )
        chosen = self.lake.pilot_watchlist().select(*PILOT_WATCHLIST.key, event="events")
        proven = self.sessions.select(*KEY, is_proven=pl.lit(value=True))
        is_session = pl.col("session_date").is_in(self.calendar.frame["session_date"].implode())
        return (
            chosen.explode("event")
            .filter(is_session)
            .join(proven, on=KEY, how="left", maintain_order="left")
            .with_columns(pl.col("is_proven").fill_null(value=False))
        )

    @cached_property
    def sessions(self) -> pl.DataFrame:
        """Each proven session: ``ticker, session_date, rows, content_hash``, sorted."""
        return self.lake.session_hashes()

    @cached_property
    def traded(self) -> pl.DataFrame:
        """Those of :attr:`sessions` that have trades."""
        return self.sessions.filter(pl.col("rows") > 0)

    @cached_property
    def bars(self) -> pl.DataFrame:
        """The daily bars of the tickers that have events."""
        tickers = self.events["ticker"].unique().to_list()
        return self.lake.daily_bars().filter(pl.col("ticker").is_in(tickers)).collect()

    @cached_property
    def splits(self) -> pl.DataFrame:
        """The splits on record."""
        return self.lake.splits()

    def read_prints(self, sessions: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the labelled prints of the regular phase of some proven sessions, in batches.

        Args:
            sessions: ``ticker, session_date``.

        Yields:
            ``core.research.prints.label_prints`` of whole sessions, in tape order.
        """
        wanted = self.traded.join(sessions, on=KEY, how="semi").sort(KEY)
        for trades in self.read_trades(wanted, self.batch_rows, phases=REGULAR):
            yield label_prints(trades)

    def read_trades(
        self, sessions: pl.DataFrame, most_rows: int, *, phases: str | None = None
    ) -> Iterator[pl.DataFrame]:
        """Read trades in batches of whole tickers, of as many as may be in memory at once.

        Args:
            sessions: Rows of ``traded``, sorted by ticker and session.
            most_rows: Trades of a batch, unless it is a single session.
            phases: One trading phase; all by default.

        Yields:
            ``PRINT_COLUMNS`` of whole sessions, in tape order.
        """
        for batch in cut_batches(sessions, most_rows):
            tickers, dates = batch["ticker"].unique(), session_range(batch)
            trades = self.lake.trades(
                tickers.to_list(), *dates, phases=phases, columns=PRINT_COLUMNS
            )
            is_inside = pl.col("session_date").is_between(*dates)
            is_asked = pl.col("ticker").is_in(tickers.implode())
            # Nearly always the dates of the tickers are the batch, and nothing is left out.
            if self.traded.filter(is_inside & is_asked).height != batch.height:
                keys = batch.select(KEY).lazy()
                trades = trades.join(keys, on=KEY, how="semi", maintain_order="left")
            yield trades.collect()

    def read(self, table: Table) -> pl.DataFrame:
        """Read a table of research that is one file.

        Raises:
            MissingPartitionError: It was not made yet.
        """
        return self.store.scan(table).collect()

    def hash_inputs(self, *parts: pl.DataFrame | object) -> str:
        """Hash what a table is made from: frames, rules, versions."""
        digest = hashlib.sha256()
        for part in parts:
            content = _dump(part) if isinstance(part, pl.DataFrame) else _encode(part)
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    def is_current(self, table: Table, input_hash: str) -> bool:
        """Say whether a table was made from inputs of this hash."""
        return self.store.read_facts(table).get(INPUT_HASH) == input_hash


def cut_batches(sessions: pl.DataFrame, most_rows: int) -> Iterator[pl.DataFrame]:
    """Cut sessions into runs of whole tickers, as many as may be read at once.

    A ticker that is too large alone is cut between sessions.

    Args:
        sessions: ``ticker, session_date, rows``, sorted.
        most_rows: Trades that a batch may hold, unless it is a single session.
    """
    batch: list[pl.DataFrame] = []
    held = 0
    for _, ticker in sessions.group_by("ticker", maintain_order=True):
        for part in _cut_ticker(ticker, most_rows):
            rows = int(part["rows"].sum())
            if batch and held + rows > most_rows:
                yield pl.concat(batch)
                batch, held = [], 0
            batch.append(part)
            held += rows
    if batch:
        yield pl.concat(batch)


def _cut_ticker(sessions: pl.DataFrame, most_rows: int) -> Iterator[pl.DataFrame]:
    if int(sessions["rows"].sum()) <= most_rows:
        yield sessions
        return
    place = (pl.col("rows").cum_sum() - 1) // most_rows
    for _, part in sessions.with_columns(part=place).group_by("part", maintain_order=True):
        yield part.drop("part")


def _dump(frame: pl.DataFrame) -> bytes:
    """Dump types and values; Arrow's buffers would tell of rows that were filtered out, too."""
    buffer = io.BytesIO()
    frame.write_ndjson(buffer)
    return str(frame.schema).encode() + buffer.getvalue()


def _encode(part: object) -> bytes:
    return msgspec.json.encode(part, order="deterministic")
