"""What is done on a small disk: download until it stops, move the lake away, go on.

Run as a program by ``tmpfs``: address of the vendor, folder of the small disk, folder of a large
one.  It prints what happened as JSON.
"""

import json
import sys
from pathlib import Path

from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.operations.repair.moving import move_lake
from smallcaps_assets_tests.ingest.bulky import KEYS, make_bulky_lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import download, hash_stored


def run(url: str, small: Path, large: Path) -> dict[str, object]:
    disk = FileSystem()
    lakehouse = make_bulky_lakehouse(small / "data", url, disk)
    stopped = download(lakehouse, KEYS)
    free_bytes = disk.free_bytes(small)
    move_lake(lakehouse, large)
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


if __name__ == "__main__":
    facts = run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write(json.dumps(facts))
