"""What is done on a small disk: download until it stops, move the lake away, go on.

Run as a program by ``tmpfs``: address of the vendor, folder of the small disk, folder of a large
one.  It prints what happened as JSON.
"""

import json
import shutil
import sys
from pathlib import Path

from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.repair.moving import move_lake
from smallcaps_assets_tests.ingest.bulky import KEYS, make_bulky_lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import download, hash_stored


def run(url: str, small: Path, large: Path) -> dict[str, object]:
    disk = FileSystem()
    lakehouse = make_bulky_lakehouse(small / "data", url, disk)
    stopped = download(lakehouse, KEYS)
    free_bytes = disk.free_bytes(small)
    lakehouse = move(lakehouse, large)
    free_after_move = disk.free_bytes(small)
    resumed = download(lakehouse, KEYS)
    return {
        "aborted": stopped.summary.aborted,
        "stopped_after": stopped.summary.finished,
        "free_bytes": free_bytes,
        "free_after_move": free_after_move,
        "reused": resumed.summary.reused,
        "hashes": hash_stored(lakehouse),
    }


def move(lakehouse: Lakehouse, large: Path) -> Lakehouse:
    """Move a lake to the large disk; one of segments is whatever lies in its data folder."""
    if not lakehouse.has_segments:
        move_lake(lakehouse, large)
        return lakehouse
    lakehouse.ledger.close()
    data_dir = large / "data"
    shutil.move(lakehouse.home.data_dir, data_dir)
    return Lakehouse(lakehouse.settings.model_copy(update={"data_dir": data_dir}), fs=FileSystem())


if __name__ == "__main__":
    facts = run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write(json.dumps(facts))
