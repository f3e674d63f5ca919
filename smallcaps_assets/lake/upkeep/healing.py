"""What is done about damage and loss in a month: nothing that was proven is silently gone.

What belongs here: what can be copied out, what is quarantined, what is moved aside.  What does not:
finding damage (``proving``), and asking the vendor again.

The new record comes first and damaged files are moved aside after it, so that a kill between the
two leaves a lake that says the truth.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from smallcaps_assets.core.segments.entries import KEY, SESSION
from smallcaps_assets.core.segments.merging import SEGMENT, is_green, select_winners
from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.errors import DataError, MissingPartitionError
from smallcaps_assets.lake.segments.closing import close_segment
from smallcaps_assets.lake.segments.commit import SegmentLake, commit_segments
from smallcaps_assets.lake.segments.names import QUARANTINE, part_key, record_key
from smallcaps_assets.lake.segments.reading import Month, read_entries, survey_month
from smallcaps_assets.lake.upkeep.proving import (
    find_damaged_parts,
    find_unproven,
    list_sessions,
)
from smallcaps_assets.lake.upkeep.salvage import salvage
from smallcaps_assets.schemas import ENTRIES

_PLACE = ("ticker", "session_date")


@dataclass(frozen=True, slots=True)
class Healing:
    """What a repair of a month did.

    Attributes:
        rescued: Keys of ``schemas.ENTRIES`` whose rows were copied out or recognized.
        quarantined: Keys that lost their proof and have to be asked for again.
        moved: Keys of the files that were moved aside.
        record: Name of the record that says so; empty: no entry had to change.
    """

    rescued: tuple[tuple[object, ...], ...] = ()
    quarantined: tuple[tuple[object, ...], ...] = ()
    moved: tuple[str, ...] = ()
    record: str = ""


def heal_month(
    lake: SegmentLake, month: str, known: pl.DataFrame, lost: Collection[str] = ()
) -> Healing:
    """Copy out what still proves, quarantine what does not, and move damaged files aside.

    A session whose part is damaged or gone is rescued from it, or from another green answer of the
    same revision.  The sessions of a damaged or lost record are those of parts that no record
    names, proven by the content hash that ``known`` has, and those that ``known`` remembers.

    Args:
        lake: The lake.
        month: The month.
        known: ``schemas.ENTRIES`` as the ledger remembers them; empty: it is lost.
        lost: Names of records that witnesses miss.

    Raises:
        StorageError: The storage refuses; doing it again is safe.
    """
    survey = survey_month(lake, month)
    damaged = find_damaged_parts(lake, survey)
    gone = {*survey.damaged, *lost} - survey.replaced
    told = _list_rescued(lake, survey, damaged)
    if gone:
        told += [_recall(survey, known), *_recognize(lake, survey, known, gone)]
    chosen = select_winners(
        pl.concat([ENTRIES.empty(), *told]).with_columns(pl.lit("").alias(SEGMENT))
    )
    name = _say(lake, month, chosen.drop(SEGMENT), gone)
    files = {part_key(month, part): why for part, why in damaged.items() if part in survey.parts}
    files |= {record_key(month, record): why for record, why in survey.damaged.items()}
    is_red = pl.col("state") == QUARANTINED
    return Healing(
        tuple(chosen.filter(~is_red).select(KEY).rows()),
        tuple(chosen.filter(is_red).select(KEY).rows()),
        _move_aside(lake, files),
        name,
    )


def _say(lake: SegmentLake, month: str, entries: pl.DataFrame, gone: Collection[str]) -> str:
    """Commit what the repair has to say, even if it is only that a record is accounted for."""
    if entries.is_empty() and not gone:
        return ""
    trades = read_entries(lake, month, entries)
    draft = close_segment(month, entries, trades, replaces=sorted(gone))
    return commit_segments(lake, [draft])[0].header.name


def _list_rescued(
    lake: SegmentLake, survey: Month, damaged: Mapping[str, str]
) -> list[pl.DataFrame]:
    """List what can be said of the sessions in damaged parts."""
    told = []
    for part in damaged:
        named = survey.winners.filter(pl.col("part") == part)
        wrong = _mark_unproven(lake, survey.name, named)
        rivals = _find_rivals(lake, survey, named.filter(wrong), damaged)
        lost = named.filter(wrong).join(rivals, on=KEY, how="anti")
        kept = named.filter(~wrong).with_columns(pl.col("packed") + 1)
        told += [kept.drop(SEGMENT), rivals, _quarantine(lost, pl.col("revision") + 1)]
    return told


def _find_rivals(
    lake: SegmentLake, survey: Month, lost: pl.DataFrame, damaged: Mapping[str, str]
) -> pl.DataFrame:
    """Find other green answers of the same revision, and let them win."""
    others = survey.entries.filter(
        is_green() & pl.col("part").is_in([*survey.parts.keys() - damaged.keys()])
    ).join(lost, on=[*KEY, "revision"], how="semi")
    sound = [
        piece.filter(~_mark_unproven(lake, survey.name, piece))
        for piece in others.partition_by("part", maintain_order=True)
    ]
    best = select_winners(pl.concat([others.clear(), *sound]))
    return best.with_columns(pl.col("revision") + 1, packed=pl.lit(0, pl.Int64)).select(
        *ENTRIES.columns
    )


def _recognize(
    lake: SegmentLake, survey: Month, known: pl.DataFrame, gone: Collection[str]
) -> list[pl.DataFrame]:
    """Look for sessions of records that are gone in the parts that no record names."""
    told = []
    for part in survey.strays:
        try:
            found = list_sessions(lake, survey.name, part)
        except (DataError, MissingPartitionError):
            continue  # It stays a stray, and the audit says so.
        places = ("part", "first_row", "rows")
        same = known.drop(places).join(found, on=[*_PLACE, "content_hash"], how="inner")
        told.append(same.with_columns(pl.col("packed") + 1).select(*ENTRIES.columns))
        if part.partition(".")[0] in gone:
            strange = found.join(same, on=_PLACE, how="anti")
            beside = survey.winners.filter(pl.col("kind") == SESSION).join(
                strange.select(*_PLACE, other="content_hash"), on=_PLACE, how="inner"
            )
            differs = beside.filter(pl.col("other") != pl.col("content_hash"))
            told.append(_quarantine(differs, pl.col("revision") + 1))
    standing = survey.proven.select(*KEY, found="revision")
    return [
        one.join(standing, on=KEY, how="left")
        .filter((pl.col("found").is_null()) | (pl.col("found") < pl.col("revision")))
        .drop("found")
        for one in told
    ]


def _recall(survey: Month, known: pl.DataFrame) -> pl.DataFrame:
    """Say of all that is remembered and gone that it has to be asked for again.

    It has the revision that it had, so that a record that is found again wins over it.
    """
    now = survey.winners.select(*KEY, found="revision")
    told = known.join(now, on=KEY, how="left")
    is_gone = pl.col("found").is_null() | (pl.col("found") < pl.col("revision"))
    return _quarantine(told.filter(is_gone), pl.col("revision"))


def _quarantine(entries: pl.DataFrame, revision: pl.Expr) -> pl.DataFrame:
    """Say that sessions were stored, and have lost their proof."""
    return entries.with_columns(
        revision=revision,
        packed=pl.lit(0, pl.Int64),
        state=pl.lit(QUARANTINED),
        part=pl.lit(None, pl.String),
        first_row=pl.lit(0, pl.Int64),
        rows=pl.lit(0, pl.Int64),
        content_hash=pl.lit(""),
    ).select(*ENTRIES.columns)


def _mark_unproven(lake: SegmentLake, month: str, entries: pl.DataFrame) -> pl.Series:
    wrong = find_unproven(lake, month, entries)
    return pl.Series([number in wrong for number in range(entries.height)], dtype=pl.Boolean)


def _move_aside(lake: SegmentLake, files: Mapping[str, str]) -> tuple[str, ...]:
    """Copy damaged files with their evidence, as far as they can be read; then remove them."""
    for key, reason in files.items():
        evidence = json.dumps({"key": key, "reason": reason}, indent=1).encode()
        lake.storage.save(
            {
                f"{QUARANTINE}{key}": salvage(lake.storage, key),
                f"{QUARANTINE}{key}.json": evidence,
            }
        )
        lake.storage.remove(key)
    return tuple(files)
