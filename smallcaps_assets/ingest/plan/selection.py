"""A part of the published plan: some tickers, some sessions."""

import datetime as dt

import polars as pl

from smallcaps_assets.core.keys import check_ticker, key_expression
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.lake.tables.store import TableStore


def parse_selection(
    tickers: str | None, first: dt.datetime | None, last: dt.datetime | None
) -> Selection:
    """Parse the selection that options name; nothing given is everything.

    Raises:
        ConfigError: A ticker is none, or the dates are reversed.
    """
    if first and last and last < first:
        raise ConfigError(f"expected --from <= --to, got {first.date()} and {last.date()}")
    return Selection(
        parse_tickers(tickers), first.date() if first else None, last.date() if last else None
    )


def parse_tickers(text: str | None, origin: str = "--tickers") -> tuple[str, ...] | None:
    """Parse a comma-separated list of ``origin``, an option or setting; ``None``: none is given.

    Raises:
        ConfigError: One of them is no ticker.
    """
    if text is None:
        return None
    try:
        tickers = tuple(check_ticker(part.strip()) for part in text.split(",") if part.strip())
    except DataError as error:
        raise ConfigError(f"{origin}: {error}") from error
    if not tickers:
        raise ConfigError(f"{origin}: expected tickers separated by commas, got none")
    return tickers


def select_missing(tables: TableStore, ledger: LedgerReader, selection: Selection) -> list[str]:
    """List the keys of planned sessions that are not green, within the selection.

    Raises:
        ConfigError: A ticker is not in the plan at all.
        MissingPartitionError: No plan is published.
    """
    _check_tickers(tables, selection)
    missing = ledger.missing_keys(selection.tickers, selection.first, selection.last)
    return missing.get_column("key").cast(pl.String).to_list()


def select_planned(tables: TableStore, selection: Selection) -> list[str]:
    """List the keys of all planned sessions within the selection, finished or not.

    Raises:
        ConfigError: A ticker is not in the plan at all.
        MissingPartitionError: No plan is published.
    """
    plan = _check_tickers(tables, selection)
    first, last = selection.first or dt.date.min, selection.last or dt.date.max
    chosen = plan.filter(pl.col("session_date").is_between(first, last))
    if selection.tickers is not None:
        chosen = chosen.filter(pl.col("ticker").is_in(selection.tickers))
    return chosen.select(key_expression()).to_series().to_list()


def _check_tickers(tables: TableStore, selection: Selection) -> pl.DataFrame:
    """Read the published plan, and check that every ticker of the selection is in it."""
    _, plan = tables.read_plan()
    unknown = sorted(set(selection.tickers or ()) - set(plan["ticker"].unique()))
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: not in the published plan of {plan['ticker'].n_unique()} "
            "tickers; plan them first: smallcaps plan --watchlist FILE"
        )
    return plan
