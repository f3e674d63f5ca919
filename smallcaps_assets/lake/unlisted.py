"""What records say of sessions that the ledger proves and does not list.

What belongs here: finding them by the ledger and reading no more records than those that hold them.
What does not: which sessions are listed (``core.segments.indexing``), whole months
(``lake.segments.reading``).
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import polars as pl

from smallcaps_assets.core.keys import decode_key, month_expression
from smallcaps_assets.core.segments.entries import KEY, SESSION
from smallcaps_assets.core.segments.indexing import count_entries
from smallcaps_assets.core.segments.merging import SEGMENT
from smallcaps_assets.lake.ledger.months import LedgerMonths
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.segments.reading import read_twice
from smallcaps_assets.lake.segments.records import PartFacts, frame_parts, parse_record
from smallcaps_assets.schemas import ENTRIES, RECEIPTS

_PLACE = ("ticker", "session_date")


def read_unlisted(
    ledger: LedgerMonths, lake: SegmentLake, month: str, tickers: Collection[str] | None = None
) -> pl.DataFrame:
    """Read the entries of the sessions of a month that are proven and have no row in the ledger.

    Args:
        ledger: The ledger.
        lake: The lake.
        month: The month.
        tickers: Only these; all by default.

    Returns:
        Entries of ``core.segments.indexing.count_entries``, by key.

    Raises:
        LedgerMismatchError: A record is damaged.
        MissingPartitionError: A record is gone, twice: the ledger is behind.
        StorageError: The storage refuses.
    """
    return read_twice(lambda: _read(ledger, lake, month, tickers))


def read_unlisted_keys(
    ledger: LedgerMonths, lake: SegmentLake, keys: Iterable[str]
) -> Iterator[pl.DataFrame]:
    """Yield those of ``keys`` that are proven and have no row, a frame a month likewise."""
    places = [decode_key(key) for key in ledger.find_unlisted(keys)]
    asked = pl.DataFrame(places, {"ticker": pl.String(), "session_date": pl.Date()}, orient="row")
    for (name,), wanted in asked.group_by(month_expression(), maintain_order=True):
        told = read_unlisted(ledger, lake, str(name), wanted["ticker"].unique().to_list())
        yield told.join(wanted, on=_PLACE, how="semi")


def read_receipts(ledger: LedgerReader, open_lake: Callable[[], SegmentLake]) -> pl.DataFrame:
    """Read ``schemas.RECEIPTS`` of all that is proven, listed or not, sorted by its key.

    Args:
        ledger: The ledger.
        open_lake: Opens the lake; where everything is listed nobody asks for it.

    Raises:
        LakeError: As :func:`read_unlisted` does.
    """
    listed, months = ledger.receipts(), ledger.plain_months()
    if not months:
        return listed
    lake = open_lake()
    told = [_make_receipts(read_unlisted(ledger, lake, month)) for month in months]
    return pl.concat([listed, *told]).sort(RECEIPTS.key)


def _read(
    ledger: LedgerMonths, lake: SegmentLake, month: str, tickers: Collection[str] | None
) -> pl.DataFrame:
    asked = ledger.unlisted_sessions(month, tickers).rename({"record": SEGMENT})
    entries = [ENTRIES.empty().with_columns(pl.lit("").alias(SEGMENT))]
    parts: list[PartFacts] = []
    for name in asked[SEGMENT].unique(maintain_order=True):
        content = lake.storage.load(record_key(month, name))
        record = parse_record(content, month=month, name=name, source=lake.source)
        entries.append(record.entries.with_columns(pl.lit(name).alias(SEGMENT)))
        parts += record.header.parts
    sessions = pl.concat(entries).filter(pl.col("kind") == SESSION)
    told = sessions.join(asked, on=[*_PLACE, SEGMENT], how="semi")
    return count_entries(told, frame_parts(parts)).sort(KEY)


def _make_receipts(counted: pl.DataFrame) -> pl.DataFrame:
    instant = RECEIPTS.schema["committed_timestamp"]
    return RECEIPTS.conform(
        counted.select(
            pl.col("committed_at").cast(instant).alias(name)
            if name == "committed_timestamp"
            else pl.lit(None, pl.String()).alias(name)
            if name in ("sha256", "marks")
            else pl.col(name)
            for name in RECEIPTS.columns
        )
    )
