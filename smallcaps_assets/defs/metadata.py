"""Facts, tables and contracts as Dagster's metadata."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import dagster as dg
import polars as pl

from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.defs.lineage import column_lineage, describe_upstream
from smallcaps_assets.schemas import Table

SHOWN_ROWS = 50
"""Rows of a table in metadata; each event is a row in SQLite, so tables stay small."""

DICTIONARY: Final = "docs/data-dictionary.md"
"""The page that explains every column."""

NO_PICTURES: Final[Mapping[str, str]] = MappingProxyType({})


def column_schema(table: Table) -> dict[str, Any]:
    """Make the metadata that shows a table's contract on its asset."""
    columns = [
        dg.TableColumn(
            name=name,
            type=str(column.dtype),
            description=column.description + describe_upstream(table.name, name),
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for name, column in table.columns.items()
    ]
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "grain": table.grain,
        "key": ", ".join(table.key) or "none: rows have no identity of their own",
        "dictionary": dg.MetadataValue.path(f"{DICTIONARY}#{table.name}"),
        **column_lineage(table.name),
    }


def show_file(table: Table, path: Path) -> dict[str, Any]:
    """Show where a table lies, and its column lineage, which Dagster takes from events."""
    return {"path": dg.MetadataValue.path(str(path)), **column_lineage(table.name)}


def show_numbers(numbers: Mapping[str, Number]) -> dict[str, Any]:
    """Show plain numbers; Dagster plots them over time by itself.

    It shows every digit of a float, so these are rounded to six significant ones.
    """
    return {name: _round(value) for name, value in numbers.items() if value not in ("", None)}


def show_table(frame: pl.DataFrame) -> dg.MetadataValue[Any]:
    """Show the first rows of ``frame`` as a table."""
    records = [
        dg.TableRecord({name: _plain(value) for name, value in row.items()})
        for row in frame.head(SHOWN_ROWS).iter_rows(named=True)
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in frame.columns])
    return dg.MetadataValue.table(records=records, schema=schema)


def show_tables(frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Show the tables that have rows."""
    return {title: show_table(frame) for title, frame in frames.items() if frame.height}


def show_pictures(pictures: Mapping[str, str]) -> dict[str, Any]:
    """Show pictures given as Markdown."""
    return {name: dg.MetadataValue.md(text) for name, text in pictures.items()}


def show_verdict(verdict: Verdict) -> dict[str, Any]:
    """Show summary, numbers and offenders of a verdict."""
    shown = {"summary": verdict.summary, **show_numbers(verdict.numbers)}
    if verdict.offenders.height:
        shown["offender_count"] = verdict.offenders.height
        shown["offenders"] = show_table(verdict.offenders)
    return shown


def show_check(
    verdict: Verdict,
    check_name: str | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    """Show a verdict as a check's result; unless told otherwise it warns and stops nothing."""
    return dg.AssetCheckResult(
        check_name=check_name,
        passed=verdict.passed,
        severity=severity,
        metadata=show_verdict(verdict),
    )


def _round(value: Number) -> Number:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _plain(value: object) -> str | int | float | bool | None:
    """Turn a value into what a table cell can hold."""
    if isinstance(value, float):
        return _round(value)
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)
