"""Damaged records and parts: found, and what still proves is copied out.

What belongs here: which months are healed, and what the ledger is told of it.  What does not: how
a month is healed (``lake.upkeep.healing``), and single sessions (``sessions``).
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.core.keys import decode_key, encode_key, list_key_months, month_of
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.reading import list_months, survey_month
from smallcaps_assets.lake.sessions.damages import DamageKind
from smallcaps_assets.lake.upkeep.healing import Healing, heal_month
from smallcaps_assets.lake.upkeep.indexing import refresh_months
from smallcaps_assets.lake.upkeep.proving import find_damaged_parts
from smallcaps_assets.lake.upkeep.recalling import recall_entries
from smallcaps_assets.lakehouse import Lakehouse

DAMAGE_COLUMNS: Final = pl.Schema(
    {"ticker": pl.String, "session_date": pl.Date, "kind": pl.String, "message": pl.String}
)
"""What is wrong with a session or a file, as audits list it."""


def find_damaged_segments(lake: SegmentLake) -> pl.DataFrame:
    """Read every record and every part, and list those that are not what was written.

    Returns:
        :data:`DAMAGE_COLUMNS`, without ticker and session: the sessions in them are verified apart.

    Raises:
        StorageError: The storage refuses.
    """
    rows = []
    for month in list_months(lake):
        survey = survey_month(lake, month)
        found = {name: (DamageKind.RECEIPT, why) for name, why in survey.damaged.items()}
        for part, why in find_damaged_parts(lake, survey).items():
            is_there = part in survey.parts
            found[part] = (DamageKind.SHA256 if is_there else DamageKind.MISSING_FILE, why)
        for name, (kind, why) in found.items():
            rows.append((None, None, kind.value, f"{month}/{name}: {why}"))
    return pl.DataFrame(rows, DAMAGE_COLUMNS, orient="row")


def heal_segments(
    lakehouse: Lakehouse, store: SegmentStore, files: pl.DataFrame, keys: Collection[str]
) -> list[Path]:
    """Heal the months of damaged files and sessions; tell where the damaged files lie now.

    What a damaged or lost record said is what the ledger remembers of it.  The ledger hears of a
    month once it is healed; until then its files are not those that the ledger knows, so that
    nothing of it is believed after a kill.

    Args:
        lakehouse: The lake, whose ledger knows what is there.
        store: Its sessions.
        files: Damaged files, as :func:`find_damaged_segments` lists them.
        keys: Sessions that do not prove, or are lost.

    Raises:
        StorageError: The storage refuses; doing it again continues.
    """
    ledger = lakehouse.ledger
    gone = ledger.month_records().filter("is_lost")
    named = files["message"].str.split("/").list.first()
    moved: list[Path] = []
    for month in sorted({*named, *list_key_months(keys), *gone["month"]}):
        known = recall_entries(ledger, lakehouse.calendar, month)
        lost = gone.filter(pl.col("month") == month)["record"]
        healing = heal_month(store.lake, month, known, [*lost])
        moved += [Path(key) for key in healing.moved]
        store.forget()
        _quarantine_rest(store, month, keys, healing)
        refresh_months(ledger, store.lake, [month])
    return moved


def _quarantine_rest(
    store: SegmentStore, month: str, keys: Iterable[str], healing: Healing
) -> None:
    """Quarantine what does not prove although its part is what was written: its record is wrong."""
    settled = {*_list_keys(healing.rescued), *_list_keys(healing.quarantined)}
    places = {key: decode_key(key) for key in keys if key not in settled}
    left = store.find_receipts(key for key, (_, date) in places.items() if month_of(date) == month)
    for key in {damage.key: None for damage in store.verify_sessions(left)}:
        store.quarantine(*places[key])


def _list_keys(rows: Sequence[tuple[object, ...]]) -> list[str]:
    """List the keys of the sessions among keys of entries."""
    return [encode_key(*row[:2]) for row in rows if row[2] == SESSION]  # type: ignore[arg-type]
