import json
import os
import shutil
from pathlib import Path

import jsonschema
import polars as pl
import pytest

from smallcaps_assets.core.documents import decode_json, describe_document
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.archive.document import ImportDocument
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.lakehouse_factories import (
    EMPTY_KEY,
    SESSIONS,
    count_trade_requests,
    make_lakehouse,
)

UNPROVEN = "BCPC_2024-01-10"


@pytest.fixture
def archive(filled: User) -> Path:
    """Return an archive of what the user had downloaded, a session of it cut to seconds."""
    folder = filled.folder / "archive"
    assert filled.run("export", "--layout", "date", str(folder)).code == 0
    shutil.rmtree(filled.data_dir)
    file = folder / "BCPC" / "date=2024-01-10" / "trades.parquet"
    rows = pl.read_parquet(file, hive_partitioning=False)
    rows.with_columns(pl.col("sip_timestamp").dt.truncate("1s")).write_parquet(file)
    (folder / "LINK").symlink_to(folder / "CON")
    (folder / "\x1b[31m").mkdir()
    return folder


def test_import_turns_partitions_green_and_the_download_fetches_the_rest(
    filled: User, archive: Path, market_server: EmulatorServer
) -> None:
    """L24: what proves complete is not fetched again, what does not is."""
    filled.run("plan", "--watchlist", "watchlist.csv")

    imported = filled.run("import", str(archive))
    partitions = json.loads(filled.run("status", "--json").out)["partitions"]
    downloaded = filled.run("download")

    assert imported.code == 1
    assert f"{UNPROVEN}: unproven" in imported.out
    assert "cut_to_seconds" in imported.out
    assert (partitions["done"], partitions["left"]) == (SESSIONS - 2, 2)
    assert partitions["by_state"]["imported_unproven"] == 1
    assert "2 sessions are missing" in downloaded.out
    assert count_trade_requests(market_server) == len({UNPROVEN, EMPTY_KEY})
    assert "0 shown as stored, 0 marked missing" in filled.run("reconcile").out


def test_import_names_what_is_no_session_and_no_terminal_obeys_it(
    filled: User, archive: Path
) -> None:
    imported = filled.run("import", str(archive), "--dry-run")

    assert "LINK: no session: a symbolic link, not followed" in imported.out
    assert "\\x1b[31m: no session" in imported.out
    assert "\x1b" not in imported.out
    assert "nothing is written" in imported.out


def test_import_prints_json_with_every_finding(filled: User, archive: Path) -> None:
    (archive / os.fsdecode(b"\xff")).mkdir()

    printed = filled.run("import", str(archive), "--dry-run", "--json").out

    imported = json.loads(printed)
    schema = describe_document(ImportDocument, "import ARCHIVE")
    jsonschema.Draft202012Validator(schema).validate(imported)
    assert isinstance(decode_json(printed, ImportDocument), ImportDocument)
    by_key = {item.get("key"): item for item in imported["items"]}
    assert by_key[UNPROVEN]["verdict"] == "unproven"
    assert by_key[UNPROVEN]["files"] == ["BCPC/date=2024-01-10/trades.parquet"]
    assert any("cut_to_seconds" in finding for finding in by_key[UNPROVEN]["findings"])
    assert imported["summary"]["files"] == SESSIONS - 1
    assert imported["summary"]["strays"] == 3
    assert "\\xff" in {item.get("stray") for item in imported["items"]}
    assert all(("stray" in item) == (item["kind"] == "stray") for item in imported["items"])


def test_import_accepts_what_is_unproven_on_request(filled: User, archive: Path) -> None:
    imported = filled.run("import", str(archive), "--accept-unproven")
    again = filled.run("import", str(archive), "--accept-unproven")

    assert (imported.code, again.code) == (0, 0)
    assert "because it was accepted" in imported.out
    assert f"{SESSIONS - 1} │ in the lake before" in " ".join(again.out.split())
    lakehouse = make_lakehouse(filled.data_dir, filled.environment["SMALLCAPS_BASE_URL"])
    receipt = lakehouse.sessions.read_receipt(*decode_key(UNPROVEN))
    assert receipt.archive is not None
    assert receipt.archive.is_accepted_unproven


def test_import_refuses_what_is_no_folder(filled: User) -> None:
    missing = filled.run("import", "nowhere")
    half = filled.run("import", "nowhere", "--json")
    own = filled.run("import", "data")

    assert (missing.code, own.code, half.code, half.out) == (2, 2, 2, "")
    assert "expected a folder of an archive" in missing.err
    assert "apart from the lake" in own.err
