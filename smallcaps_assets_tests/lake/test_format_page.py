"""What ``docs/format.md`` says of the disk is so: names, and the proof that it gives."""

import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

from smallcaps_assets.lake.ledger.sql.schema import ADDITIONS, SCHEMA
from smallcaps_assets.lake.months.manifest import MonthFile, MonthManifest
from smallcaps_assets.lake.roots.identity import LakeIdentity
from smallcaps_assets.lake.roots.markers import RootMarker
from smallcaps_assets.lake.roots.register import RootEntry
from smallcaps_assets.lake.segments.commit import commit_segments
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.segments.records import Header, PartFacts
from smallcaps_assets.lake.sessions.receipts import ImportFacts, Receipt
from smallcaps_assets.lake.storage.holders import Holder
from smallcaps_assets_tests.lake.lake_factories import make_batch, make_store
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
    make_draft,
    make_lake,
    make_sessions,
)

PAGE: Final = Path(__file__).parents[2].joinpath("docs/format.md").read_text(encoding="utf-8")
STRUCTS: Final[list[type[msgspec.Struct]]] = [
    *(Receipt, ImportFacts, MonthManifest, MonthFile),
    *(LakeIdentity, RootMarker, RootEntry, Holder, Header, PartFacts),
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_of_a_file_is_named(struct: type[msgspec.Struct]) -> None:
    assert [name for name in struct.__struct_fields__ if f"`{name}`" not in PAGE] == []


def test_every_table_of_the_ledger_is_named() -> None:
    tables = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", " ".join((*SCHEMA, *ADDITIONS)))

    assert len(tables) == len(set(tables)) > 10
    assert [name for name in tables if f"`{name}`" not in PAGE] == []


def test_the_proof_of_the_page_believes_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    scope: dict[str, object] = {}
    exec(PAGE.split("```python\n")[2].partition("```")[0], scope)  # noqa: S102  a page of ours
    prove = scope["prove"]
    assert callable(prove)
    store = make_store(tmp_path)
    folders = [
        store.layout.session_dir(receipt.ticker, receipt.session_date)
        for receipt in store.commit(make_batch(seed=1))
    ]

    for folder in folders:
        prove(folder)
    receipt = folders[0] / "_SUCCESS"
    receipt.write_text(receipt.read_text().replace('"rows": 5', '"rows": 6'))
    with pytest.raises(AssertionError):
        prove(folders[0])


def test_the_page_proves_a_record_too(tmp_path: Path) -> None:
    scope: dict[str, object] = {}
    exec(PAGE.split("```python\n")[1].partition("```")[0], scope)  # noqa: S102  a page of ours
    prove = scope["prove_record"]
    assert callable(prove)
    (record,) = commit_segments(make_lake(tmp_path), [make_draft(make_sessions())])
    path = tmp_path / record_key(MONTH, record.header.name)

    prove(path)
    path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR2", 1))
    with pytest.raises(AssertionError):
        prove(path)
