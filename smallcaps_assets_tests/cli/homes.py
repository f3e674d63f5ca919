"""What a user's Dagster home and lake hold, after commands ran there."""

import json
from typing import Any

import duckdb

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
