"""The lake in the folders that other tools expect: by date, by trading phase, and the watchlist.

What belongs here: writing what is exported, and the certainty that a second export writes nothing.
What does not: the layouts (``export_folders``), where sessions come from (``export_sources``).

Beside the files of a session lies its receipt, named last: where that is what the lake says of the
session, it needs no second look.  Only proven rows are read, nothing is written outside the
destination, and every file appears whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from smallcaps_assets.errors import (
    ConfigError,
    DataError,
    LedgerMismatchError,
    MissingPartitionError,
)
from smallcaps_assets.lake.interchange.export_folders import (
    DateFolders,
    PhaseFolders,
    SessionFolders,
)
from smallcaps_assets.lake.interchange.export_sources import ExportSource, iter_sources
from smallcaps_assets.lake.interchange.input_files import DAILY_FOLDER, WATCHLIST_NAME
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import (
    DATE_PREFIX,
    RECEIPT_NAME,
    date_folder,
    parse_date_folder,
)
from smallcaps_assets.lake.reading.sources import EVERYTHING, Selection
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.files import encode_rows

GROUP_FILES: Final = 200
GROUP_BYTES: Final = 64 * 1024**2
"""Files and bytes from which on what was gathered is written by one sync."""

_DAMAGES: Final = (DataError, LedgerMismatchError, MissingPartitionError)


@dataclass(slots=True)
class ExportFacts:
    """What an export did, counted while it runs.

    Attributes:
        units: Ticker-sessions, or dates of a watchlist, that were looked at.
        unchanged: Those that lay there already.
        files: Files written, receipts included.
        bytes: Their size.
        damages: Why ticker-sessions were left out, by key.
    """

    units: int = 0
    unchanged: int = 0
    files: int = 0
    bytes: int = 0
    damages: dict[str, str] = field(default_factory=dict)


def export_dates(
    layout: LakeLayout,
    fs: FileSystem,
    dest: Path,
    selection: Selection = EVERYTHING,
    *,
    is_portable: bool = False,
) -> ExportFacts:
    """Write ``TICKER/date=YYYY-MM-DD/trades.parquet`` below ``dest``.

    Sessions without trades have no folder; damaged ones are left out and told.

    Raises:
        ConfigError: The destination is part of the data folder, or leads out of itself.
        LakeError: There is no ledger, a record is damaged, or the disk refuses; what was written
            stays.
    """
    folders = DateFolders(is_portable=is_portable)
    return _SessionExport(layout, _Writer(layout, fs, dest), folders).run(selection)


def export_session_files(
    layout: LakeLayout,
    fs: FileSystem,
    dest: Path,
    selection: Selection = EVERYTHING,
    *,
    is_portable: bool = False,
) -> ExportFacts:
    """Write ``TICKER/year=/month=/day=YYYY-MM-DD/{premarket,market,afterhours}.parquet``.

    A phase without trades has no file.  Prints outside all phases are in ``closed.parquet``, so
    the files of a day hold all of its rows.  Sessions without trades have no folder; damaged ones
    are left out and told.  Errors are those of :func:`export_dates`.
    """
    folders = PhaseFolders(is_portable=is_portable)
    return _SessionExport(layout, _Writer(layout, fs, dest), folders).run(selection)


def export_watchlist(
    layout: LakeLayout, fs: FileSystem, dest: Path, watchlist: pl.DataFrame
) -> ExportFacts:
    """Write ``daily/date=YYYY-MM-DD/watchlist.parquet`` with ``ticker`` and ``info_rich``.

    A date of an earlier export that the watchlist no longer has is left with a file without rows:
    a downloader would go on fetching what lies there.

    Raises:
        ConfigError: The destination is part of the data folder, or leads out of itself.
        StorageError: The disk refuses; what was written stays.
    """
    writer = _Writer(layout, fs, dest)
    daily = writer.dest / DAILY_FOLDER
    rich = watchlist.sort("ticker").select("session_date", "ticker", info_rich=pl.lit(value=True))
    days = rich.partition_by("session_date", as_dict=True, include_key=False)
    wanted = {date: rows for (date,), rows in days.items()}
    gone = {parse_date_folder(entry.name) for entry in fs.list_folder(daily, DATE_PREFIX)}
    nothing = rich.drop("session_date").clear()
    for date in sorted(wanted.keys() | gone):
        path = daily / date_folder(date) / WATCHLIST_NAME
        content = encode_rows(wanted.get(date, nothing))
        writer.facts.units += 1
        if fs.is_file(path) and fs.read(path) == content:
            writer.facts.unchanged += 1
        else:
            writer.add({path: content})
    writer.flush()
    return writer.facts


class _Writer:
    """Writes groups of files below one folder."""

    def __init__(self, layout: LakeLayout, fs: FileSystem, dest: Path) -> None:
        self.fs = fs
        self.dest = dest.expanduser().absolute()
        self.facts = ExportFacts()
        self._group: dict[Path, bytes] = {}
        _check_destination(layout, self.dest)
        root = next(folder for folder in self.dest.parents if fs.is_folder(folder))
        fs.make_folders(self.dest, root=root)
        self._real_dest = self.dest.resolve()

    def add(self, contents: Mapping[Path, bytes]) -> None:
        """Write files with the next group, in the order given."""
        folders = {path.parent for path in contents}
        for folder in folders:
            self.check_inside(folder)
        self.fs.sweep_temporary(folders)
        self._group.update(contents)
        if len(self._group) >= GROUP_FILES or self._size() >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._group:
            self.fs.publish(self._group, root=self.dest)
        self.facts.files += len(self._group)
        self.facts.bytes += self._size()
        self._group = {}

    def check_inside(self, folder: Path) -> None:
        """Refuse a folder that a link takes out of the destination."""
        if not folder.resolve().is_relative_to(self._real_dest):
            raise ConfigError(
                f"{folder} leads out of {self.dest} by a link: remove it, or choose another folder"
            )

    def _size(self) -> int:
        return sum(map(len, self._group.values()))


class _SessionExport:
    """Brings the sessions of a lake into one layout."""

    def __init__(self, layout: LakeLayout, writer: _Writer, folders: SessionFolders) -> None:
        self.layout = layout
        self.writer = writer
        self.folders = folders

    def run(self, selection: Selection) -> ExportFacts:
        """Export what is selected, and return what was done."""
        facts = self.writer.facts
        for source in iter_sources(self.layout, self.writer.fs, selection):
            facts.units += 1
            try:
                self._export(source)
            except _DAMAGES as error:
                facts.damages[source.place] = str(error)
        self.writer.flush()
        return facts

    def _export(self, source: ExportSource) -> None:
        folder = self.writer.dest / self.folders.locate(source.ticker, source.session_date)
        if self._is_exported(folder, source):
            self.writer.facts.unchanged += 1
            return
        session = source.read()
        contents = self.folders.cut(session.content, session.receipt)
        self._remove_older(folder, keep=contents)
        files = {folder / name: data for name, data in contents.items()}
        self.writer.add(files | {folder / RECEIPT_NAME: session.text})

    def _is_exported(self, folder: Path, source: ExportSource) -> bool:
        fs, marker = self.writer.fs, folder / RECEIPT_NAME
        receipt = source.recall(fs.read(marker)) if fs.is_file(marker) else None
        return receipt is not None and all(
            fs.is_file(folder / name) for name in self.folders.list_files(receipt)
        )

    def _remove_older(self, folder: Path, keep: Mapping[str, bytes]) -> None:
        """Remove what an older version of the session left, its receipt first."""
        if self.writer.fs.is_folder(folder):
            self.writer.check_inside(folder)
            outdated = [name for name in self.folders.names if name not in keep]
            for name in (RECEIPT_NAME, *outdated):
                self.writer.fs.remove(folder / name)


def _check_destination(layout: LakeLayout, dest: Path) -> None:
    """Refuse to write among the files of the lakehouse itself."""
    real, data_dir = dest.resolve(), layout.data_dir.resolve()
    own = (
        layout.index_dir,
        layout.lake_dir,
        layout.lake_dir,
        layout.daily_bars_dir.parent,
        layout.watchlist_file.parent,
        layout.plan_file.parent,
        layout.quarantine_dir,
        layout.reports_dir,
        layout.dagster_dir,
    )
    if real == data_dir or any(real.is_relative_to(folder.resolve()) for folder in own):
        raise ConfigError(
            f"cannot export to {dest}, which belongs to the lakehouse: choose another folder, such "
            f"as {layout.data_dir / 'export'}"
        )
