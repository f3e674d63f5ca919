"""Tables of research: a file a month, or one file, each with the hash of what it was made from.

What belongs here: writing a table batch by batch, and telling from what it was made.  What does
not: when a month is stale (``research.months``), which columns there are (``schemas_research``).

A file is written under a temporary name and gets its own when it is whole, so that a reader meets
the old table or the new one.  Equal rows and facts give equal bytes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem, temporary_path
from smallcaps_assets.schemas import Table

ZSTD_LEVEL: Final = 2
ROW_GROUP_ROWS: Final = 131_072

_FACTS_KEY: Final = "smallcaps"
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_UNREADABLE: Final = (pa.ArrowInvalid, OSError)


class ResearchStore:
    """The tables of research below one data folder.

    Attributes:
        layout: Paths of the data folder.
        fs: The disk.
    """

    def __init__(self, layout: LakeLayout, fs: FileSystem) -> None:
        """Bind the store to a folder; nothing is read yet."""
        self.layout = layout
        self.fs = fs

    def path(self, table: Table, month: str | None = None) -> Path:
        """Say where a table lies, or a month of it, given as ``YYYY-MM``.

        Raises:
            DataError: It is no month.
        """
        return self.layout.research_file(table.name, month)

    def write(
        self,
        table: Table,
        month: str | None,
        batches: Iterable[pl.DataFrame],
        facts: Mapping[str, object],
    ) -> int:
        """Write a table in place of the one that was there, one batch in memory at a time.

        Args:
            table: Its contract.
            month: The month, ``YYYY-MM``; ``None``: the table is one file.
            batches: Its rows in the order of the key.
            facts: What is known of them, ``input_hash`` among it; read when all are written.

        Returns:
            The rows written.

        Raises:
            SchemaError: The rows break the contract; the old table stays.
            StorageError: The disk refuses; the old table stays.
        """
        target = self.path(table, month)
        self.fs.make_folders(target.parent, root=self.layout.data_dir)
        temporary = temporary_path(target.parent)
        try:
            rows = _write_file(temporary, table, batches, facts)
            self.fs.adopt(temporary, target)
        finally:
            self.fs.remove(temporary)
        return rows

    def discard(self, table: Table, month: str | None = None) -> None:
        """Remove a table that failed its checks; it is no error when there is none.

        Raises:
            StorageError: The disk refuses.
        """
        self.fs.remove(self.path(table, month))

    def read_facts(self, table: Table, month: str | None = None) -> dict[str, object]:
        """Read what is known of a table; nothing where there is none, or it is damaged."""
        path = self.path(table, month)
        if not self.fs.size(path):
            return {}
        try:
            stored = pq.read_metadata(path).metadata or {}
            return decode_json(stored[_FACTS_KEY.encode()], dict[str, object])
        except (*_UNREADABLE, *DECODER_FAULTS, KeyError):
            return {}

    def list_months(self, table: Table) -> list[str]:
        """List the months of which a table is stored, sorted."""
        folder = self.path(table, "2000-01").parent
        names = [entry.name for entry in self.fs.list_folder(folder) if not entry.is_folder]
        return [name[:7] for name in names if name.endswith(".parquet") and name[0].isdigit()]

    def scan(self, table: Table, months: Iterable[str] | None = None) -> pl.LazyFrame:
        """Scan the rows of a table, or of some months of it, in the order of the key.

        Args:
            table: Its contract.
            months: Months, ``YYYY-MM``; ``None``: the table is one file.

        Raises:
            MissingPartitionError: A file is not there.
        """
        wanted = [None] if months is None else sorted(months)
        paths = [self.path(table, month) for month in wanted]
        if lost := [path for path in paths if not self.fs.size(path)]:
            raise MissingPartitionError(
                f"expected {table.name} in {lost[0]}, found none: materialize {table.name}, or "
                "run `smallcaps research`"
            )
        if not paths:
            return table.empty().lazy()
        return pl.scan_parquet(paths, hive_partitioning=False, glob=False)


def _write_file(
    path: Path, table: Table, batches: Iterable[pl.DataFrame], facts: Mapping[str, object]
) -> int:
    """Write all batches into one new file; return their rows."""
    schema = _to_arrow(table.empty()).schema
    rows = 0
    with (
        storage_errors("write", path),
        pq.ParquetWriter(path, schema, compression="zstd", compression_level=ZSTD_LEVEL) as file,
    ):
        for batch in batches:
            file.write_table(_to_arrow(table.conform(batch)), row_group_size=ROW_GROUP_ROWS)
            rows += batch.height
        file.add_key_value_metadata({_FACTS_KEY: _ENCODER.encode(facts).decode()})
    return rows


def _to_arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
