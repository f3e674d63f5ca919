"""The files in which sessions lie, and which sessions each of them is needed for.

What belongs here: one look at either format, so that whoever damages a file knows whom it hurts.
What does not: the damage (``damage``).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import SESSION
from smallcaps_assets.core.segments.merging import SEGMENT
from smallcaps_assets.lake.paths.names import decode_ticker
from smallcaps_assets.lake.segment_store import SegmentStore
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.names import part_key, record_key
from smallcaps_assets.lake.segments.reading import list_months, survey_month
from smallcaps_assets.lakehouse import Lakehouse


def find_needed(lakehouse: Lakehouse) -> dict[Path, set[str]]:
    """Find the files of sessions, with the keys of those that each is needed for.

    What a damaged record says is not known, so nothing is told of it and its parts.
    """
    store = lakehouse.sessions
    if not isinstance(store, SegmentStore):
        return _find_receipts(lakehouse)
    return {
        lakehouse.layout.object_file(name): keys
        for name, keys in _find_segments(store.lake).items()
    }


def is_parquet(path: Path) -> bool:
    """Say whether a file holds trades, and not what is known of them."""
    return path.name.endswith(".parquet") and not path.name.endswith(".record.parquet")


def _find_receipts(lakehouse: Lakehouse) -> dict[Path, set[str]]:
    folder = lakehouse.layout.lake_dir / "trades"
    return {path: {_name_session(path)} for path in folder.rglob("*") if path.is_file()}


def _name_session(path: Path) -> str:
    ticker = decode_ticker(path.parents[1].name.removeprefix("ticker="))
    return f"{ticker}_{path.parent.name.removeprefix('date=')}"


def _find_segments(lake: SegmentLake) -> Mapping[str, set[str]]:
    needed: dict[str, set[str]] = defaultdict(set)
    for month in list_months(lake):
        survey = survey_month(lake, month)
        told = survey.winners.select("ticker", "session_date", "kind", SEGMENT, "part").rows()
        for ticker, date, kind, record, part in told:
            keys = {encode_key(ticker, date)} if kind == SESSION else set()
            needed[record_key(month, record)] |= keys
            if part is not None:
                needed[part_key(month, part)] |= keys
    return needed
