"""The files in which sessions lie, and which sessions each of them is needed for.

What belongs here: one look at a lake, so that whoever damages a file knows whom it hurts.
What does not: the damage (``damage``).
"""

from collections import defaultdict
from pathlib import Path

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.segments.merging import SEGMENT
from smallcaps_assets.lake.segments.names import part_key, record_key
from smallcaps_assets.lake.segments.reading import list_months, survey_month
from smallcaps_assets.lakehouse import Lakehouse


def find_needed(lakehouse: Lakehouse) -> dict[Path, set[str]]:
    """Find the files of sessions, with the keys of those that each is needed for.

    What a damaged record says is not known, so nothing is told of it and its parts.
    """
    lake, needed = lakehouse.sessions.lake, defaultdict[Path, set[str]](set)
    for month in list_months(lake):
        survey = survey_month(lake, month)
        told = survey.winners.select("ticker", "session_date", "kind", SEGMENT, "part").rows()
        for ticker, date, kind, record, part in told:
            keys = {encode_key(ticker, date)} if kind == SESSION else set()
            needed[lakehouse.layout.object_file(record_key(month, record))] |= keys
            if part is not None:
                needed[lakehouse.layout.object_file(part_key(month, part))] |= keys
    return needed


def is_parquet(path: Path) -> bool:
    """Say whether a file holds trades, and not what is known of them."""
    return path.name.endswith(".parquet") and not path.name.endswith(".record.parquet")
