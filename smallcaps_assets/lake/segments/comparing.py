"""What is believed of sessions against the entries that count: whether they are stored, and equal.

What belongs here: comparing without reading a part.  What does not: proving rows
(``lake.upkeep.proving``), and finding the entries (``lake.segment_store``).
"""

import datetime as dt
from collections.abc import Iterable

import polars as pl

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.segments.entries import KEY, Entry, list_entries
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.segments.reading import Month
from smallcaps_assets.lake.segments.receipts import find_tree
from smallcaps_assets.lake.sessions.damages import Damage, DamageKind
from smallcaps_assets.lake.sessions.receipts import Receipt


def compare_receipts(
    receipts: Iterable[Receipt], selected: Iterable[tuple[Month, pl.DataFrame]], tree: Tree
) -> list[Damage]:
    """Compare what is believed of sessions with their entries, without reading a part."""
    found = {
        (entry.ticker, entry.session_date): (entry, survey)
        for survey, told in selected
        for entry in list_entries(told)
    }
    damages = []
    for receipt in receipts:
        place = (receipt.ticker, receipt.session_date)
        entry, survey = found.get(place, (None, None))
        if why := _find_difference(receipt, entry, survey, tree):
            damages.append(Damage(*place, *why))
    return damages


def say_missing(ticker: str, session_date: dt.date, tree: Tree) -> str:
    """Say that a session is not among what is stored."""
    return f"expected {encode_key(ticker, session_date)} among {tree.value}, found none"


def is_stored(entry: Entry, tree: Tree) -> bool:
    """Say whether an answer is there that belongs to a tree, whatever its bar says."""
    return (entry.rows > 0 or entry.state in GREEN) and find_tree(entry) is tree


def _find_difference(
    receipt: Receipt, entry: Entry | None, survey: Month | None, tree: Tree
) -> tuple[DamageKind, str] | None:
    """Find out in what an entry is not what is believed of its session; ``None``: in nothing."""
    if entry is None or survey is None or not is_stored(entry, tree):
        message = say_missing(receipt.ticker, receipt.session_date, tree)
        return DamageKind.MISSING_FILE, message
    if entry.content_hash != receipt.content_hash:
        message = f"expected content {receipt.content_hash}, got {entry.content_hash}"
        return DamageKind.CONTENT_HASH, message
    if entry.part is not None and entry.part not in survey.parts:
        message = f"expected the part {entry.part} of {survey.name}, found none"
        return DamageKind.MISSING_FILE, message
    return None


def find_answers(month: Month, told: Entry) -> pl.DataFrame:
    """Find the entries of an answer whose rows are there, be they those that count or not."""
    key = [
        pl.col(name) == value
        for name, value in zip(KEY, (told.ticker, told.session_date, told.kind), strict=True)
    ]
    is_there = (pl.col("rows") == 0) | pl.col("part").is_in([*month.parts])
    is_same = (pl.col("content_hash") == told.content_hash) & (pl.col("rows") == told.rows)
    return month.entries.filter(*key, is_same, is_there).sort("packed")
