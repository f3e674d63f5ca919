"""What a user's Dagster home and lake hold, after commands ran there."""

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.defs.defs_factories import open_instance, read_statuses


def show_partitions(user: User) -> dict[str, set[str]]:
    """Return the keys of `trades` by the status that the UI shows."""
    with open_instance(user.data_dir / "dagster") as instance:
        return {status: keys for status, keys in read_statuses(instance).items() if keys}


def read_figures(user: User) -> dict[str, Any]:
    """Return what `smallcaps report --json` prints."""
    figures: dict[str, Any] = json.loads(user.run("report", "--json").out)
    return figures


def hash_content(user: User) -> str:
    """Return the content hash of the lake."""
    content_hash: str = read_figures(user)["content_hash"]
    return content_hash


def count_rows(user: User) -> int:
    """Return the trades that plain DuckDB sees in the catalog."""
    with duckdb.connect(str(user.data_dir / "catalog.duckdb"), read_only=True) as connection:
        rows: int = connection.sql("SELECT count(*) FROM trades").fetchall()[0][0]
        return rows


def list_data_files(folder: Path) -> list[Path]:
    """Return the files below a folder that have trades."""
    return sorted(path for path in folder.rglob("????-??/*.parquet") if not _is_record(path))


def list_proofs(folder: Path) -> list[Path]:
    """Return the records below a folder."""
    return sorted(folder.rglob("*.record.parquet"))


def list_stored(user: User) -> list[str]:
    """Return the keys of all that a record says is stored with trades."""
    return sorted(key for path in list_proofs(user.data_dir) for key in _read_keys(path))


def find_file(user: User, key: str) -> tuple[Path, set[str]]:
    """Find the file with the trades of a session, and the keys of all that lie in it."""
    for proof in list_proofs(user.data_dir):
        if key in (keys := _read_keys(proof)):
            return proof.with_name(proof.name.replace(".record", "")), keys
    raise AssertionError(f"{key} is not stored")


def lose_file(user: User, key: str) -> set[str]:
    """Remove the file with the trades of a session, and what says so; return all that it said."""
    path, _ = find_file(user, key)
    (proof,) = (proof for proof in list_proofs(path.parent) if key in _read_keys(proof))
    keys = _read_keys(proof, least=0)
    proof.unlink()
    path.unlink()
    return keys


def _is_record(path: Path) -> bool:
    return path.name.endswith(".record.parquet")


def _read_keys(proof: Path, *, least: int = 1) -> set[str]:
    """Return the keys of the sessions of a record that have so many rows."""
    entries = pl.read_parquet(proof).filter(pl.col("rows") >= least)
    return {*entries.select(key_expression()).to_series()}
