"""Lakes of receipts: sessions, replaced answers, month files and several roots, written."""

import datetime as dt
import hashlib
import io
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
from msgspec.structs import replace

from smallcaps_assets.core.ticks.content_hash import hash_lake
from smallcaps_assets.lake.adoption.old_months import MonthFile, MonthManifest
from smallcaps_assets.lake.paths.names import (
    RECEIPT_NAME,
    TICKER_PREFIX,
    TRADES_NAME,
    date_folder,
    encode_ticker,
    month_folder,
)
from smallcaps_assets.lake.sessions.parquet import open_trades_writer, to_arrow_trades
from smallcaps_assets.lake.sessions.receipts import FetchFacts, Receipt
from smallcaps_assets.lake.storage.files import (
    FileSystem,
    folders_below,
    refuse_links,
    temporary_path,
)
from smallcaps_assets.lake.storage.seals import encode_sealed
from smallcaps_assets.schemas import SCHEMA_VERSION

from .tapes import TRADES_TREE, ReceiptTape, StoredSession

ROW_GROUP = 32_768
CREATED = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)


class Write(NamedTuple):
    """The files of one session under way."""

    root: Path
    folder: Path
    content: bytes
    receipt_text: bytes
    staged_data: Path
    staged_receipt: Path


class ReceiptLake:
    """A lake of receipts in a data folder.

    Attributes:
        data_dir: The data folder.
        roots: Folders with sessions; the first is the folder of the lake.
        receipts: What was committed, by tree, ticker and session.
    """

    def __init__(self, data_dir: Path, source: str, fs: FileSystem | None = None) -> None:
        self.data_dir = data_dir
        self.source = source
        self.fs = fs or FileSystem()
        self.roots = [data_dir / "lake"]
        self.receipts: dict[tuple[str, str, dt.date], Receipt] = {}

    def begin(self) -> None:
        """Make the folder, and say what it is."""
        self.roots[0].mkdir(parents=True)
        kind, _, name = self.source.partition(":")
        identity = {"kind": kind, "name": name, "schema_version": SCHEMA_VERSION}
        identity |= {"created_at": CREATED.isoformat(), "id": uuid.uuid4().hex, "format": 1}
        self._write_json(self.roots[0] / "lake.json", identity)
        self._register({"id": identity["id"], "path": "lake", "state": "active", "moved_to": ""})

    def add_root(self, folder: Path) -> None:
        """Make a folder another root, which takes sessions when it is named."""
        folder.mkdir(parents=True)
        lake = json.loads((self.roots[0] / "lake.json").read_bytes())
        marker = {"id": uuid.uuid4().hex, "lake": lake["id"], "source": self.source}
        marker |= {"is_copy": False, "created_at": CREATED.isoformat()}
        self._write_json(folder / "root.json", marker)
        self._register({"id": marker["id"], "path": str(folder), "state": "active", "moved_to": ""})
        self.roots.append(folder)

    def open_tape(self, trades: pl.DataFrame) -> ReceiptTape:
        """Make the trades of a ticker ready."""
        return ReceiptTape(trades, self.source)

    def prepare(
        self,
        ticker: str,
        session_date: dt.date,
        trades: pl.DataFrame,
        facts: FetchFacts,
        tree: str = TRADES_TREE,
    ) -> StoredSession:
        """Make a session by itself ready."""
        return self.open_tape(trades).prepare(ticker, session_date, facts, tree=tree)

    def find(self, ticker: str, session_date: dt.date, tree: str = TRADES_TREE) -> Path:
        """Find the folder of a session; where none has it, that of the first root."""
        name = Path(tree, _ticker_folder(ticker), date_folder(session_date))
        held = (root for root in self.roots if (root / name / RECEIPT_NAME).is_file())
        return next(held, self.roots[0]) / name

    def commit(self, batch: Sequence[StoredSession], root: Path | None = None) -> list[Receipt]:
        """Store sessions, each whole or not at all: files first, receipts last."""
        if not batch:
            return []
        now = dt.datetime.now(dt.UTC)
        receipts = [replace(session.receipt, committed_at=now) for session in batch]
        pairs = zip(batch, receipts, strict=True)
        self._store([self._plan(session, receipt, root) for session, receipt in pairs])
        for session, receipt in zip(batch, receipts, strict=True):
            self.receipts[session.tree, receipt.ticker, receipt.session_date] = receipt
        return receipts

    def keep_revision(self, receipt: Receipt, content: bytes) -> None:
        """Keep an answer in ``revisions``, with its receipt."""
        name = f"{receipt.revision:04d}-{receipt.content_hash[:8]}"
        place = Path(_ticker_folder(receipt.ticker), date_folder(receipt.session_date), name)
        folder = self.data_dir / "revisions" / place
        files = {folder / TRADES_NAME: content} if content else {}
        text = encode_sealed(receipt, "receipt")
        self.fs.publish({**files, folder / RECEIPT_NAME: text}, root=self.data_dir)

    def compact(self, month: str, *, sessions_of_part: int = 512) -> None:
        """Write the files of a month, and remove those of its sessions."""
        kept = sorted(
            (ticker, date)
            for (tree, ticker, date), receipt in self.receipts.items()
            if tree == TRADES_TREE and receipt.rows and f"{date:%Y-%m}" == month
        )
        folder = self.roots[0] / "compacted_trades" / month_folder(month)
        parts, rows = [], []
        for start in range(0, len(kept), sessions_of_part):
            places = kept[start : start + sessions_of_part]
            parts.append(self._write_part(folder, places))
            first = 0
            for place in places:
                receipt = self.receipts[TRADES_TREE, *place]
                rows.append((*place, parts[-1].name, first, receipt.rows, receipt.content_hash))
                first += receipt.rows
        self._write_manifest(month, folder, parts, rows)
        for place in kept:
            (self.find(*place) / TRADES_NAME).unlink()

    def _write_part(self, folder: Path, places: Sequence[tuple[str, dt.date]]) -> MonthFile:
        paths = [self.find(*place) / TRADES_NAME for place in places]
        trades = pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in paths])
        sink = pa.BufferOutputStream()
        with open_trades_writer(sink) as writer:
            writer.write_table(to_arrow_trades(trades), row_group_size=ROW_GROUP)
        return self._write_file(folder, "trades", sink.getvalue().to_pybytes(), trades.height)

    def _write_manifest(
        self,
        month: str,
        folder: Path,
        parts: Sequence[MonthFile],
        rows: Sequence[tuple[str, dt.date, str, int, int, str]],
    ) -> None:
        columns = ["ticker", "session_date", "part", "first_row", "rows", "content_hash"]
        index = pl.DataFrame(rows, columns, orient="row")
        buffer = io.BytesIO()
        index.write_parquet(buffer, compression="zstd")
        manifest = MonthManifest(
            month=month,
            source=self.source,
            schema_version=SCHEMA_VERSION,
            sessions=index.height,
            rows=int(index["rows"].sum()),
            content_hash=hash_lake({f"{row[0]}_{row[1]}": row[-1] for row in rows}),
            parts=tuple(parts),
            index=self._write_file(folder, "sessions", buffer.getvalue(), index.height),
            compacted_at=dt.datetime.now(dt.UTC),
        )
        text = encode_sealed(manifest, "manifest")
        self.fs.publish({folder / "manifest.json": text}, root=self.roots[0])

    def _write_file(self, folder: Path, prefix: str, content: bytes, rows: int) -> MonthFile:
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{prefix}-{sha256[:16]}.parquet"
        self.fs.publish({folder / name: content}, root=self.roots[0])
        return MonthFile(name=name, rows=rows, bytes=len(content), sha256=sha256)

    def _register(self, entry: dict[str, object]) -> None:
        path = self.data_dir / "lake_roots.json"
        roots = json.loads(path.read_bytes())["roots"] if path.is_file() else []
        self._write_json(path, {"roots": [*roots, entry], "lake": "", "leaving": ""})

    def _write_json(self, path: Path, document: dict[str, object]) -> None:
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def _plan(self, session: StoredSession, receipt: Receipt, root: Path | None) -> Write:
        """Locate the files of a session; one that a root has stays there."""
        folder = self.find(receipt.ticker, receipt.session_date, session.tree)
        if root is not None and not (folder / RECEIPT_NAME).is_file():
            folder = root / folder.relative_to(self.roots[0])
        home = next(one for one in self.roots if folder.is_relative_to(one))
        staging = home / ".staging"
        text = encode_sealed(receipt, "receipt")
        staged = temporary_path(staging), temporary_path(staging)
        return Write(home, folder, session.content, text, *staged)

    def _store(self, writes: Sequence[Write]) -> None:
        """Make the files of all sessions appear, with everything before a step on the disk."""
        fs = self.fs
        lasting: list[Path] = []
        for root in dict.fromkeys(write.root for write in writes):
            folders = dict.fromkeys(write.folder for write in writes if write.root == root)
            for folder in (root / ".staging", *folders):
                refuse_links(folder, root)
                fs.make_folders(folder, root=root)
            lasting += folders_below(folders, root)
        self._write_data(writes, lasting)
        self._name_data(writes, lasting)
        for write in writes:
            fs.rename(write.staged_receipt, write.folder / RECEIPT_NAME)
        fs.sync_group(lasting)

    def _write_data(self, writes: Sequence[Write], lasting: Sequence[Path]) -> None:
        """Write the data; only then let the old receipts go."""
        filled = [write for write in writes if write.content]
        for write in filled:
            self.fs.write_new(write.staged_data, write.content)
        for path in [write.folder / RECEIPT_NAME for write in writes]:
            if self.fs.is_file(path):
                self.fs.remove(path)
        self.fs.sync_group([*(write.staged_data for write in filled), *lasting])

    def _name_data(self, writes: Sequence[Write], lasting: Sequence[Path]) -> None:
        for write in writes:
            if write.content:
                self.fs.rename(write.staged_data, write.folder / TRADES_NAME)
            elif self.fs.is_file(write.folder / TRADES_NAME):
                self.fs.remove(write.folder / TRADES_NAME)
            self.fs.write_new(write.staged_receipt, write.receipt_text)
        self.fs.sync_group([*(write.staged_receipt for write in writes), *lasting])


def _ticker_folder(ticker: str) -> str:
    return TICKER_PREFIX + encode_ticker(ticker)
