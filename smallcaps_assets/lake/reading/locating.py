"""Where the trades asked for lie, in a lake of either format.

What belongs here: the choice by the format, so that no reader has to know it.  What does not: how
files are found in either (``receipt_sources``, ``segment_sources``).
"""

from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading import receipt_sources
from smallcaps_assets.lake.reading.landing_files import list_imported_files
from smallcaps_assets.lake.reading.segment_sources import Rows, open_segments
from smallcaps_assets.lake.reading.sources import EVERYTHING, Selection, TradesSources
from smallcaps_assets.lake.storage.files import FileSystem


def locate_trades(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader, selection: Selection
) -> TradesSources:
    """Locate the files that the proven trades asked for are read from.

    Raises:
        LakeError: The ledger or a record is damaged.
        PartitionConflictError: The lake is being taken over, or a newer version wrote it.
    """
    if segments := open_segments(layout, fs):
        return segments.locate(selection, [Rows.PROVEN], ledger)[Rows.PROVEN]
    return receipt_sources.locate_proven(layout, fs, ledger, selection)


def locate_shown(
    layout: LakeLayout, fs: FileSystem, ledger: LedgerReader
) -> tuple[TradesSources, TradesSources]:
    """Locate all proven trades, and all of imported sessions that nothing proves; errors as above.

    Records are read once for both.
    """
    if segments := open_segments(layout, fs):
        found = segments.locate(EVERYTHING, [Rows.PROVEN, Rows.IMPORTED], ledger)
        return found[Rows.PROVEN], found[Rows.IMPORTED]
    imported = TradesSources(files=list_imported_files(layout, fs, ledger))
    return receipt_sources.locate_proven(layout, fs, ledger, EVERYTHING), imported


def locate_off_session(layout: LakeLayout, fs: FileSystem, selection: Selection) -> TradesSources:
    """Locate the files of prints on dates that are no session; errors as above."""
    if segments := open_segments(layout, fs):
        return segments.locate(selection, [Rows.OFF_SESSION])[Rows.OFF_SESSION]
    return receipt_sources.locate_off_session(layout, fs, selection)
