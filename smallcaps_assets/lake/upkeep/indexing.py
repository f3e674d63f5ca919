"""The ledger as the index of a lake of segments: kept by commits, refreshed, made again.

What belongs here: which records are read so that the ledger says what all of them say.  What does
not: its tables (``lake.ledger.months``), and what is done about a loss (``healing``).

A commit reads the records of the sessions that it says something new of, and no others.  What the
ledger calls proven is believed under records that are there: a run, a plan and a repair refresh the
months among theirs that are stale.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.segments.indexing import INDEX_SCHEMA, count_entries
from smallcaps_assets.core.segments.merging import is_green
from smallcaps_assets.core.segments.witnesses import Loss, select_lost_proof
from smallcaps_assets.core.states import IMPORTED_UNPROVEN
from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.lake.ledger.months import LOST_COLUMNS, LedgerMonths, MonthIndex
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import (
    SEGMENTS,
    month_prefix,
    parse_key,
)
from smallcaps_assets.lake.segments.reading import (
    Month,
    list_months,
    read_month,
    require_whole,
    survey_month,
)
from smallcaps_assets.lake.segments.records import Record
from smallcaps_assets.lake.storage.protocol import Storage
from smallcaps_assets.lake.unlisted import read_unlisted_keys
from smallcaps_assets.lake.upkeep.changes import read_change
from smallcaps_assets.lake.upkeep.snapshots import (
    find_month_losses,
    index_headers,
    index_month,
    list_unknown,
    read_snapshots,
    select_standing,
    write_snapshot,
)

MONTHS_AHEAD: Final = 1
"""Months that are read while another one is recorded."""
LEDGER: Final = "ledger"
"""Name of the ledger as a witness."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What was there once and is gone.

    Attributes:
        records: Records that a witness names, and that are neither there nor replaced, by month.
        sessions: Sessions that were proven and are not any more, as ``Ledger.lost_proof`` has them.
    """

    records: Mapping[str, Sequence[Loss]]
    sessions: pl.DataFrame

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is gone."""
        return not self.records and self.sessions.is_empty()


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What a rebuild of the ledger from records found.

    Attributes:
        records: Records read.
        sessions: Sessions that are stored, whatever their bars say.
        unproven: Sessions that the ledger called stored and of which no record tells.
        losses: What was there once and is gone.
    """

    records: int
    sessions: int
    unproven: int
    losses: Losses


def record_commit(
    ledger: Ledger,
    lake: SegmentLake,
    records: Iterable[Record],
    *,
    lists_all: bool = False,
) -> None:
    """Record segments that were committed, in one transaction; those that are known change nothing.

    Args:
        ledger: The ledger.
        lake: The lake.
        records: Records whose parts are there, as the commit returned them.
        lists_all: Make a row for every session, plain ones without a plan included.

    Raises:
        LedgerMismatchError: A record with earlier answers is damaged; the ledger is unchanged.
        StorageError: The storage refuses; the ledger is unchanged, and refreshed later.
    """
    with ledger.indexing(lists_all=lists_all) as index:
        for month, told in groupby(sorted(records, key=_month_of), key=_month_of):
            known = ledger.month_records([month]).filter(~pl.col("is_lost"))["record"]
            fresh = [record for record in told if record.header.name not in {*known}]
            if fresh and not _add(index, lake, fresh):
                _renew(index, read_month(lake, month), {})


def record_plan(
    ledger: Ledger,
    open_lake: Callable[[], SegmentLake],
    plan: pl.DataFrame,
    waiting: pl.DataFrame | None = None,
) -> None:
    """Make the planned ticker-sessions those of a plan, and list what is stored of them already.

    Args:
        ledger: The ledger.
        open_lake: Opens the lake; where nothing is stored of the plan nobody asks for it.
        plan: As ``Ledger.record_plan`` takes it.
        waiting: Likewise what is not yet available.

    Raises:
        DataError: A pair occurs twice.
        LakeError: A record cannot be read; the plan of before stays.
    """
    while unlisted := ledger.record_plan(plan, waiting):
        list_stored(ledger, open_lake(), unlisted)


def list_stored(ledger: Ledger, lake: SegmentLake, keys: Iterable[str]) -> None:
    """Make rows in the ledger of those of ``keys`` that are proven and have none, by their records.

    A session needs one that a plan asks for, or of which the ledger is about to say more than its
    record does.  What changes meanwhile is read again.

    Raises:
        LedgerMismatchError: A record is damaged, or does not say what the ledger says of it.
        StorageError: The storage refuses; what is listed stays so.
    """
    wanted = ledger.find_unlisted(keys)
    while wanted:
        for told in read_unlisted_keys(ledger, lake, wanted):
            with ledger.indexing() as index:
                index.list_sessions(told)
        before, wanted = wanted, ledger.find_unlisted(wanted)
        if before == wanted:
            raise LedgerMismatchError(
                f"{ledger.path} calls {wanted[0]} proven by a record that does not tell of it "
                f"({len(wanted):,} such sessions): run `smallcaps reindex`"
            )


def list_stale_months(
    ledger: LedgerMonths, lake: SegmentLake, months: Collection[str] | None = None
) -> list[str]:
    """List the months whose files are not those that the ledger knows, in order.

    Records are compared by name and size, and the parts of those that are known have to be there.
    So are months of which a snapshot names a record that the ledger never heard of.

    Args:
        ledger: The ledger.
        lake: The lake.
        months: Only these, whose folders are listed; all by default.

    Raises:
        StorageError: The storage refuses.
    """
    prefixes = [SEGMENTS] if months is None else [month_prefix(month) for month in months]
    files = _list_files(lake.storage, prefixes)
    found = files.filter("is_record").drop("is_record")
    records = ledger.month_records(months)
    told = records.filter(~pl.col("is_lost"))
    known = told.select("month", "bytes", name="record")
    parts = told.select("month", name="parts").explode("name").drop_nulls()
    differing = [
        found.join(known, on=["month", "name", "bytes"], how="anti"),
        known.join(found, on=["month", "name", "bytes"], how="anti"),
        parts.join(files, on=["month", "name"], how="anti"),
    ]
    strange = list_unknown(records, read_snapshots(lake).values())
    differing.append(strange if months is None else strange.filter(pl.col("month").is_in(months)))
    return sorted({month for one in differing for month in one["month"]})


def refresh_months(
    ledger: Ledger,
    lake: SegmentLake,
    months: Iterable[str],
    *,
    lists_all: bool = False,
    skips_damaged: bool = False,
) -> Losses:
    """Bring months to what their records say, each in one transaction.

    Args:
        ledger: The ledger.
        lake: The lake.
        months: Those that are stale.
        lists_all: Make a row for every session, plain ones without a plan included.
        skips_damaged: Leave the months of damaged records as the ledger knows them.

    Returns:
        What is gone of these months.  It stays red and named until a repair accounts for the
        record, or an answer takes the place of the session.

    Raises:
        LedgerMismatchError: A record is damaged; the ledger keeps what it knew of its month.
        StorageError: The storage refuses.
    """
    losses = []
    wanted = list(months)
    snapshots = read_snapshots(lake) if wanted else {}
    for month in wanted:
        # The month is read within the transaction: a commit beside it is recorded after it.
        with ledger.indexing(lists_all=lists_all) as index:
            survey = survey_month(lake, month)
            if not (survey.damaged and skips_damaged):
                losses.append(_renew(index, require_whole(survey), snapshots))
    return _join(losses)


def keep_snapshot(ledger: Ledger, lake: SegmentLake) -> None:
    """Store what the ledger knows of records as a snapshot, unless all that are kept say the same.

    A ledger that is older than one of them, because it was restored, learns first what is lost.

    Raises:
        LedgerMismatchError: A record is damaged; no snapshot is written.
        StorageError: The storage refuses.
    """
    snapshots = read_snapshots(lake)
    strange = list_unknown(ledger.month_records(), snapshots.values())
    refresh_months(ledger, lake, sorted({*strange["month"]}))
    index = ledger.month_records()
    standing = select_standing(index)
    kept = [*snapshots.values()]
    if standing.is_empty() if not kept else all(one.equals(standing) for one in kept):
        return
    write_snapshot(lake, index)


def reindex_segments(
    ledger: Ledger,
    lake: SegmentLake,
    *,
    lists_all: bool = False,
) -> Reindexed:
    """Make the ledger again from the records of all months, in one transaction.

    What it knew is compared with the records, and with the last two snapshots, before it is
    forgotten.  Plan, failures and attempts stay as they are.

    Args:
        ledger: The ledger; one that cannot be read is moved aside before.
        lake: The lake.
        lists_all: Make a row for every session, plain ones without a plan included.

    Raises:
        LedgerMismatchError: A record is damaged; the ledger is unchanged.
        StorageError: The storage refuses; the ledger is unchanged.
    """
    snapshots = read_snapshots(lake)
    losses, records, sessions = [], 0, 0
    with ledger.reindexing(lists_all=lists_all) as index:
        told = [ledger.month_records(), *snapshots.values()]
        months = {*list_months(lake), *(month for one in told for month in one["month"])}
        for survey in _read_ahead(lake, sorted(months)):
            records += len(survey.records)
            sessions += _count_stored(survey.winners)
            losses.append(_renew(index, survey, snapshots))
        unproven = index.forget_untold()
    return Reindexed(records, sessions, unproven, _join(losses))


def find_losses(ledger: LedgerMonths, lake: SegmentLake, month: str) -> Losses:
    """Find what is gone of a month by ledger and snapshots; nothing is written.

    A damaged record proves nothing, and is no lost one: it is there.

    Raises:
        StorageError: The storage refuses.
    """
    survey = survey_month(lake, month)
    witnesses = {LEDGER: ledger.month_records([month]), **read_snapshots(lake)}
    recalled = ledger.recall_proofs(month, survey.proven)
    lost = select_lost_proof(recalled, survey.winners, survey.proven)
    losses = find_month_losses(survey, witnesses)
    return Losses({month: losses} if losses else {}, lost.select(LOST_COLUMNS.keys()))


def _list_files(storage: Storage, prefixes: Iterable[str]) -> pl.DataFrame:
    """List records and parts: ``month``, ``name``, ``bytes``, ``is_record``."""
    stored = [one for prefix in prefixes for one in storage.list_keys(prefix)]
    files = [(parse_key(one.key), one.size) for one in stored]
    rows = [(file.month, file.name, size, file.is_record) for file, size in files if file]
    schema = {"month": pl.String(), "name": pl.String(), "bytes": pl.Int64()}
    return pl.DataFrame(rows, {**schema, "is_record": pl.Boolean()}, orient="row")


def _read_ahead(lake: SegmentLake, months: Iterable[str]) -> Iterator[Month]:
    """Read each month while the one before it is recorded."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming: deque[Future[Month]] = deque()
        for month in months:
            coming.append(pool.submit(_read_winners, lake, month))
            if len(coming) > MONTHS_AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _read_winners(lake: SegmentLake, month: str) -> Month:
    """Read a month, and find out which entries count."""
    survey = read_month(lake, month)
    _ = survey.winners  # It is kept.
    return survey


def _add(index: MonthIndex, lake: SegmentLake, fresh: Sequence[Record]) -> bool:
    """Add records of one month, or say that it is not as the ledger knows it."""
    change = read_change(index, lake, fresh)
    if change is None:
        return False
    parts = {part.name for record in fresh for part in record.header.parts}
    index.add(index_headers(fresh, parts), change.before, change.counted)
    return True


def _renew(
    index: MonthIndex,
    survey: Month,
    snapshots: Mapping[str, pl.DataFrame],
) -> Losses:
    """Bring a month to what its records say, and keep what witnesses miss."""
    known = index.ledger.month_records([survey.name])
    losses = find_month_losses(survey, {LEDGER: known, **snapshots})
    told = pl.concat([one.select(INDEX_SCHEMA.names()) for one in (known, *snapshots.values())])
    names = [loss.record for loss in losses]
    is_lost = (pl.col("month") == survey.name) & pl.col("record").is_in(names)
    lost = told.filter(is_lost).unique("record", keep="first", maintain_order=True)
    records = pl.concat(
        [index_month(survey).with_columns(is_lost=False), lost.with_columns(is_lost=True)]
    )
    winners = count_entries(survey.winners, survey.part_facts)
    sessions = index.replace(survey.name, records, winners, survey.two_answers)
    # What bars that came later said of a session was known to the ledger alone.
    index.note_unjudged(winners.filter(pl.col("kind") == SESSION))
    return Losses({survey.name: losses} if losses else {}, sessions)


def _count_stored(winners: pl.DataFrame) -> int:
    """Count the sessions of which an answer is there."""
    is_stored = (pl.col("rows") > 0) & (pl.col("state") != IMPORTED_UNPROVEN)
    return winners.filter(pl.col("kind") == SESSION, is_stored | is_green()).height


def _join(losses: Sequence[Losses]) -> Losses:
    schema = {**LOST_COLUMNS, "session_date": pl.Date()}
    records = {month: told for one in losses for month, told in one.records.items()}
    sessions = pl.concat([pl.DataFrame(schema=schema), *(one.sessions for one in losses)])
    return Losses(records, sessions)


def _month_of(record: Record) -> str:
    return record.header.month
