"""What ``docs/format.md`` says of the disk is so: names, and the proof that it gives."""

import hashlib
import re
from pathlib import Path
from typing import Final

import msgspec
import pytest
from msgspec.structs import replace

from smallcaps_assets.lake.home.identity import LakeIdentity
from smallcaps_assets.lake.home.register import RootEntry
from smallcaps_assets.lake.ledger.sql.schema import ADDITIONS, SCHEMA
from smallcaps_assets.lake.segments.commit import commit_segments
from smallcaps_assets.lake.segments.names import record_key
from smallcaps_assets.lake.segments.records import Header, PartFacts
from smallcaps_assets.lake.sessions.parquet import encode_trades
from smallcaps_assets.lake.sessions.receipts import ImportFacts, Receipt, encode_receipt
from smallcaps_assets.lake.storage.holders import Holder
from smallcaps_assets_tests.lake.lake_factories import make_session, make_store
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
    make_draft,
    make_lake,
    make_sessions,
)

PAGE: Final = Path(__file__).parents[2].joinpath("docs/format.md").read_text(encoding="utf-8")
STRUCTS: Final[list[type[msgspec.Struct]]] = [
    *(Receipt, ImportFacts),
    *(LakeIdentity, RootEntry, Holder, Header, PartFacts),
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
    prepared = make_session(make_store(tmp_path))
    content = encode_trades(prepared.trades)
    sha256 = hashlib.sha256(content).hexdigest()
    receipt = replace(prepared.receipt, bytes=len(content), sha256=sha256)
    text = encode_receipt(receipt)
    (tmp_path / "trades.parquet").write_bytes(content)
    (tmp_path / "_SUCCESS").write_bytes(text)

    prove(tmp_path)
    (tmp_path / "_SUCCESS").write_bytes(text.replace(b'"rows": 5', b'"rows": 6'))
    with pytest.raises(AssertionError):
        prove(tmp_path)


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
