"""What was proven and is gone: who remembers it, and what is missing.

What belongs here: the comparison of what witnesses name with what is there, as pure functions.
What does not: reading witnesses, and asking for lost sessions again.

Witnesses are the ledger and the last two snapshots (names and hashes of records, sessions that were
green), ``seen`` of the records that are there, and parts that no record names.  They are never
believed against records; they only keep a loss from being silent.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.segments.merging import is_green

LOST_PROOF: Final = "lost_proof"
"""Word for a session that was proven once, and for which nothing stands any more."""


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """A record that is gone.

    Attributes:
        record: Its name.
        witnesses: Who remembers it.
    """

    record: str
    witnesses: tuple[str, ...]


def find_lost_records(
    present: Collection[str],
    replaced: Collection[str],
    witnesses: Mapping[str, Collection[str]],
) -> list[Loss]:
    """Find the records that a witness names, and that are neither there nor replaced.

    Args:
        present: Names of the records that are there.
        replaced: Names that these records replace.
        witnesses: Names that each witness remembers.
    """
    gone: dict[str, list[str]] = {}
    for witness, names in sorted(witnesses.items()):
        for name in {*names} - {*present} - {*replaced}:
            gone.setdefault(name, []).append(witness)
    return sorted(Loss(name, tuple(told)) for name, told in gone.items())


def select_lost_proof(
    remembered: pl.DataFrame, winners: pl.DataFrame, proven: pl.DataFrame
) -> pl.DataFrame:
    """Select the sessions that were green once, and for which nothing stands any more.

    A later decision that turned a session red is no loss; an earlier answer in its place is one.

    Args:
        remembered: Columns of the key, ``revision`` and ``state``, as a witness has them.
        winners: Entries that count now.
        proven: Those of them that are proven.

    Returns:
        Rows of ``remembered``, sorted by key.
    """
    now = winners.select(*KEY, found=pl.col("revision"))
    proofs = proven.select(*KEY, is_proven=pl.lit(value=True))
    told = (
        remembered.filter(is_green()).join(now, on=KEY, how="left").join(proofs, on=KEY, how="left")
    )
    is_settled = pl.col("found") > pl.col("revision")
    stands = pl.col("is_proven") & (pl.col("found") == pl.col("revision"))
    is_lost = ~(is_settled | stands).fill_null(value=False)
    return told.filter(is_lost).select(remembered.columns).sort(KEY)
