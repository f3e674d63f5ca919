"""What a person does on a small disk, command by command: plan, download, relocate, download.

Run as a program by ``ingest.tmpfs``: address of the vendor, data folder on the small disk, folder
on a large one.  It prints exit codes, words and figures as JSON.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TICKERS = ("ABCD", "EFGH", "IJKL")
FIRST, LAST = "2024-01-02", "2024-02-29"


def run(url: str, data_dir: Path, dest: Path, bars: Path) -> dict[str, object]:
    """Do it all; each command is a process of its own."""
    environment = os.environ | {
        "POLYGON_API_KEY": "test-key",
        "SMALLCAPS_SOURCE": "vendor",
        "SMALLCAPS_BASE_URL": url,
        "SMALLCAPS_DATA_DIR": str(data_dir),
        "SMALLCAPS_DAILY_BARS": str(bars),
        "SMALLCAPS_PLAN_MODE": "sessions",
        "SMALLCAPS_PLAN_TICKERS": ",".join(TICKERS),
        "SMALLCAPS_FIRST_SESSION": FIRST,
        "SMALLCAPS_LAST_SESSION": LAST,
        "SMALLCAPS_REQUESTS_PER_MINUTE": "0",
        "SMALLCAPS_RANGE_MAX_SESSIONS": "3",
    }
    facts: dict[str, object] = {}
    for name, *arguments in (
        ("planned", "plan"),
        ("stopped", "download"),
        ("moved", "relocate", str(dest)),
        ("resumed", "download"),
        ("report", "report", "--json"),
    ):
        command = [sys.executable, "-W", "ignore", "-m", "smallcaps_assets.cli", *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=data_dir
        )
        facts[name] = {
            "code": done.returncode,
            "output": " ".join((done.stdout + done.stderr).split()),
            "free_bytes": shutil.disk_usage(data_dir).free,
        }
    return facts


if __name__ == "__main__":
    answer = run(sys.argv[1], *map(Path, sys.argv[2:]))
    sys.stdout.write(json.dumps(answer))
