import dataclasses
import datetime as dt

import msgspec
import polars as pl
import pytest
from hypothesis import given

from smallcaps_assets.core.segments.entries import Entry, frame_entries, list_entries
from smallcaps_assets.core.ticks.disputes import Asking
from smallcaps_assets.errors import SchemaError
from smallcaps_assets.schemas import ENTRIES
from smallcaps_assets_tests.core.segments.segment_factories import draw_entries, make_entry


def test_an_entry_has_the_columns_of_its_table() -> None:
    names = [field.name for field in msgspec.structs.fields(Entry)]

    assert sorted(names) == sorted(ENTRIES.columns)


def test_a_whole_entry_survives_its_frame() -> None:
    entry = make_entry(
        first_sip=1_710_495_000_123_456_789,
        last_sip=1_710_495_000_123_456_791,
        askings=(Asking(dt.date(2024, 3, 20), 100, "h0"),),
        marks=("bar_residual",),
        volume=1.5,
        is_accepted=True,
    )

    frame = frame_entries([entry])

    assert list_entries(frame) == [entry]
    assert frame["first_sip"].to_physical().item() == 1_710_495_000_123_456_789
    assert frame["askings"].to_list() == [[dataclasses.asdict(_Plain("2024-03-20", 100, "h0"))]]


@given(draw_entries())
def test_entries_survive_their_frame(entries: list[Entry]) -> None:
    assert list_entries(frame_entries(entries)) == entries


def test_no_entries_are_a_frame_too() -> None:
    assert frame_entries([]).schema == ENTRIES.schema


def test_a_hole_is_refused() -> None:
    holed = frame_entries([make_entry()]).with_columns(state=pl.lit(None, pl.String))

    with pytest.raises(SchemaError, match="state"):
        ENTRIES.conform(holed)


@dataclasses.dataclass
class _Plain:
    asked_on: object
    page_limit: int
    content_hash: str

    def __post_init__(self) -> None:
        self.asked_on = dt.date.fromisoformat(str(self.asked_on))
