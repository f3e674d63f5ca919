"""Answers that others took the place of: kept beside the lake, whole, with their receipts.

What belongs here: where they lie and how one gets there. What does not: which of two answers
counts (``core.ticks.disputes``), and when the vendor is asked again (``ingest``). Nothing here is
read by the lake: a revision is evidence.
"""

from pathlib import Path

from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, TRADES_NAME
from smallcaps_assets.lake.sessions.receipts import Receipt, encode_receipt
from smallcaps_assets.lake.storage.files import FileSystem, refuse_links


def keep_revision(layout: LakeLayout, fs: FileSystem, receipt: Receipt, content: bytes) -> Path:
    """Write an answer to the folder of revisions; return where it lies.

    The name is the number of the revision and the begin of its content hash; an answer that is
    there already is not kept twice.

    Args:
        layout: Paths of the lake.
        fs: The disk.
        receipt: Its receipt.
        content: Its data file; empty when it has no trades.

    Raises:
        StorageError: The disk refuses; nothing is half written.
    """
    root = layout.find_root(receipt.ticker, receipt.session_date)
    name = f"{receipt.revision:04d}-{receipt.content_hash[:8]}"
    folder = root.revision_folder(receipt.ticker, receipt.session_date, name)
    base = root.revisions_dir.parent
    refuse_links(folder, base)
    for entry in fs.list_folder(folder.parent):
        has_same_content = entry.name.partition("-")[2] == receipt.content_hash[:8]
        if has_same_content and fs.is_file(folder.parent / entry.name / RECEIPT_NAME):
            return folder.parent / entry.name
    files = {folder / TRADES_NAME: content} if content else {}
    # The receipt goes last: a folder without one is no revision.
    fs.publish({**files, folder / RECEIPT_NAME: encode_receipt(receipt)}, root=base)
    return folder
