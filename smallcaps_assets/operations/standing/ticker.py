"""What is known of one ticker: what plans ask of it, what is stored, what comes next.

What does not belong here: the document (``document``), whole universes (``universe``).
"""

from typing import Final

import polars as pl

from smallcaps_assets.core.documents import convert_fields
from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.states import NOT_YET_AVAILABLE, PLANNED
from smallcaps_assets.core.universe.progress import (
    PROVEN,
    find_missing,
    label_status,
    measure_tickers,
)
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.standing.document import OpenSession, TickerPart, TickerYear
from smallcaps_assets.schemas import UNIVERSE_PLAN

SHOWN_OPEN: Final = 20
_KEY: Final = ("ticker", "session_date")
_COUNTS: Final = ("planned", "done", "owed", "proven")


def measure_ticker(lakehouse: Lakehouse, ledger: LedgerReader, ticker: str) -> TickerPart:
    """Measure what is known of a ticker.

    Raises:
        ConfigError: No plan has it, and nothing of it is stored.
        DataError: The plan of the universe is damaged.
        LedgerMismatchError: The ledger is.
    """
    owed = _read_owed(lakehouse, ticker)
    held = ledger.ticker_months(tickers=[ticker])
    years = _join_years(ledger, ticker, owed, held)
    if years.is_empty() and held.is_empty():
        raise ConfigError(
            f"--ticker: no plan has {ticker!r} and nothing of it is stored; symbols are those of "
            "the vendor, where capitals count"
        )
    asked = pl.concat([ledger.missing_keys([ticker]).select(_KEY), find_missing(owed, held)])
    missing = asked.unique().sort(_KEY)
    stored = held.select(pl.col("proven").bitwise_count_ones().cast(pl.Int64).sum()).item()
    sums = years.select(pl.col(_COUNTS).sum()).row(0, named=True)
    return TickerPart(
        ticker=ticker,
        batch=owed["batch"].max(),  # type: ignore[arg-type]
        stored=stored,
        rows=int(held["rows"].sum()),
        bytes=int(held["bytes"].sum()),
        **sums,
        asks=missing.height,
        skips=_count_asked(ledger, ticker, owed) - missing.height,
        open=_list_open(ledger, missing),
        years=convert_fields(years.to_dicts(), list[TickerYear]),
    )


def _read_owed(lakehouse: Lakehouse, ticker: str) -> pl.DataFrame:
    """Read what the universe owes of a ticker."""
    try:
        _, plan = lakehouse.tables.read_universe_plan()
    except MissingPartitionError:
        return UNIVERSE_PLAN.empty()
    return plan.filter(pl.col("ticker") == ticker)


def _join_years(
    ledger: LedgerReader, ticker: str, owed: pl.DataFrame, held: pl.DataFrame
) -> pl.DataFrame:
    """Bring both plans together, a row a year."""
    events = ledger.coverage_by_year().filter(pl.col("ticker") == ticker).drop("ticker")
    universe = measure_tickers(owed, held, by_year=True).drop("ticker", "status")
    years = events.join(universe, on="year", how="full", coalesce=True)
    status = pl.when(pl.col("owed") > 0).then(label_status())
    filled = years.with_columns(pl.col(_COUNTS).fill_null(0)).with_columns(status=status)
    return filled.sort("year")


def _count_asked(ledger: LedgerReader, ticker: str, owed: pl.DataFrame) -> int:
    """Count the sessions that either plan asks for."""
    is_planned = (pl.col("ticker") == ticker) & (pl.col("state") != NOT_YET_AVAILABLE)
    events = ledger.coverage().filter(is_planned)
    return pl.concat([events.select(_KEY), find_missing(owed, PROVEN.to_frame())]).unique().height


def _list_open(ledger: LedgerReader, missing: pl.DataFrame) -> list[OpenSession]:
    """List the first sessions that are asked for, with what the ledger knows of them."""
    dates = dict(missing.select(key_expression(), "session_date").iter_rows())
    records = ledger.records(dates)
    failed = [key for key in dates if key in records and records[key].error_kind]
    told = []
    for key in list(dict.fromkeys([*failed, *dates]))[:SHOWN_OPEN]:
        record = records.get(key)
        told.append(
            OpenSession(
                session_date=dates[key],
                state=record.state if record else PLANNED,
                kind=record.error_kind if record else "",
                message=record.error_message if record else "",
            )
        )
    return told
