from typing import Any

import polars as pl
import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.segments.entries import KEY
from smallcaps_assets.core.segments.merging import select_proven, select_winners
from smallcaps_assets.core.segments.witnesses import (
    Loss,
    find_lost_records,
    select_lost_proof,
)
from smallcaps_assets_tests.core.segments.segment_factories import frame_records, make_entry


def test_a_record_that_is_gone_is_told_with_its_witnesses() -> None:
    witnesses = {"ledger": {"a", "b", "c"}, "seen by b": {"a", "d"}, "snapshot": set[str]()}

    losses = find_lost_records({"b"}, {"c"}, witnesses)

    assert losses == [Loss("a", ("ledger", "seen by b")), Loss("d", ("seen by b",))]


@pytest.mark.parametrize(
    ("now", "is_lost"),
    [
        ({}, False),
        ({"revision": 3, "state": states.QUARANTINED}, False),
        ({"revision": 3}, False),
        ({"revision": 1}, True),
        ({"state": states.DISPUTED}, True),
        ({"part": "gone.parquet"}, True),
        ({"ticker": "OTHER"}, True),
    ],
    ids=["stands", "quarantined", "newer", "older", "red", "part", "record"],
)
def test_what_was_green_is_never_silently_gone(now: dict[str, Any], *, is_lost: bool) -> None:
    remembered = frame_records({"w": [make_entry(revision=2)]}).select(*KEY, "revision", "state")
    winners = select_winners(frame_records({"s1": [make_entry(**({"revision": 2} | now))]}))

    lost = select_lost_proof(remembered, winners, select_proven(winners, {"p1.parquet"}))

    assert lost.height == is_lost
    assert lost.columns == remembered.columns


def test_what_was_red_cannot_be_lost() -> None:
    remembered = frame_records({"w": [make_entry(state=states.DISPUTED)]})
    nothing = frame_records({})

    assert select_lost_proof(remembered, nothing, nothing).equals(
        pl.DataFrame(schema=remembered.schema)
    )
