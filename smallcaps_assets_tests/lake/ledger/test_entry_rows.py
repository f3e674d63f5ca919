import datetime as dt
import json
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from smallcaps_assets.core.segments.entries import Entry, frame_entries
from smallcaps_assets.core.segments.indexing import count_entries
from smallcaps_assets.core.ticks.disputes import Asking, measure_deficit
from smallcaps_assets.core.verdicts import Thresholds
from smallcaps_assets.lake.ledger.entry_rows import Listing, import_rows, session_rows
from smallcaps_assets.lake.ledger.rows import Row, receipt_row
from smallcaps_assets_tests.core.segments.segment_factories import STARTED, make_entry
from smallcaps_assets_tests.lake.ledger_factories import make_receipt

PARTS = pl.DataFrame({"part": ["p1.parquet"], "bytes": [20_000], "rows": [500]})
DATE = dt.date(2024, 3, 15)
FIGURES = {
    "volume": 900.0,
    "trade_count": 500,
    "original_volume": 900.0,
    "original_trade_count": 500,
    "bar_volume": 1000.0,
    "bar_trade_count": 500,
}
ASKED = (Asking(DATE, 50_000, "b" * 64), Asking(dt.date(2024, 3, 18), 40_000, "b" * 64))
COMMON = {"pages": 1, "requests": 2, "run_id": "run", "content_hash": "b" * 64, "revision": 3}

UNUSED = {
    *("askings", "receipt_version", "schema_version", "source", "rows_by_phase", "archive"),
    *("gte_ns", "lt_ns", "vendor_status", "started_at", "is_imported"),
    *("first_sip_timestamp", "last_sip_timestamp", "is_accepted_disputed", "is_accepted_empty"),
}
"""Fields of a receipt that are in no row of the ledger."""


def make_rows(entry: Entry) -> list[Row]:
    counted = count(entry)
    return list(session_rows(counted, Listing("now"), attempts=1))


def count(entry: Entry) -> pl.DataFrame:
    entries = frame_entries([entry]).with_columns(segment=pl.lit("s1"))
    return count_entries(entries, PARTS)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"marks": ("bar_residual", "unproven_by_bar"), "is_seam_ambiguous": True},
        {"state": "disputed", "askings": ASKED, **FIGURES},
        {"marks": ("bar_residual",), "askings": ASKED, **FIGURES},
        {"rows": 0, "state": "empty", "volume": 0.0, "trade_count": 0},
        {"repeats_dropped": 7, "committed_at": STARTED.replace(microsecond=1)},
    ],
)
def test_an_entry_leaves_the_rows_of_its_receipt(fields: dict[str, object]) -> None:
    receipt = make_receipt("ABCD_2024-03-15", **COMMON | fields)
    if receipt.rows:
        deficit = measure_deficit(receipt.figures, Thresholds())
        receipt = replace(receipt, volume_deficit=deficit.volume, count_deficit=deficit.trade_count)
    lacks = {name: getattr(receipt, name) for name in ("volume_deficit", "count_deficit")}
    changes = {"committed_at": receipt.committed_at, "rows": 500, **COMMON, **lacks, **fields}
    entry = replace(make_entry(), **changes)
    entry = replace(entry, part=entry.part if entry.rows else None)

    (row,) = make_rows(entry)

    expected = receipt_row(receipt, "now", attempts=1) | {"sha256": None}
    names = row.keys() & expected.keys() - {"askings"}
    assert {name: row[name] for name in names} == {name: expected[name] for name in names}
    assert expected.keys() - names <= UNUSED


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"state": "quarantined"}, (0, None)),
        ({"state": "empty_disputed", "askings": ASKED}, (2, "2024-03-18")),
        ({"state": "empty_disputed", "committed_at": STARTED}, (1, "2024-03-16")),
    ],
)
def test_an_entry_that_stores_nothing_says_why(
    changes: dict[str, Any], asked: tuple[int, str | None]
) -> None:
    (row,) = make_rows(make_entry(**changes))

    assert (row["state"], row["kind"]) == (changes["state"], changes["state"])
    assert row["message"]
    assert (row["rows"], row["content_hash"], row["committed_at"]) == (None, None, None)
    assert (row["asked"], row["asked_date"]) == asked


def test_a_green_entry_without_its_part_is_no_proof() -> None:
    (row,) = make_rows(make_entry(part="gone.parquet", revision=2))

    assert (row["state"], row["kind"], row["rows"]) == ("quarantined", "lost_proof", None)
    assert "s1" in row["message"]
    assert row["revision"] == 2


def test_what_an_import_did_not_prove_is_remembered() -> None:
    archive = {"fingerprint": "f", "verdict": "unproven", "findings": ["a gap"]}
    entry = make_entry(state="imported_unproven", rows=250, archive=json.dumps(archive))

    (row,) = import_rows(count(entry), "now")

    told = {name: row[name] for name in ("ticker", "session_date", "verdict", "rows", "bytes")}
    assert told == {
        "ticker": "ABCD",
        "session_date": "2024-03-15",
        "verdict": "unproven",
        "rows": 250,
        "bytes": 10_000,
    }
    assert (row["fingerprint"], json.loads(row["findings"])) == ("f", ["a gap"])
    assert import_rows(count(make_entry()), "now") == []
