"""Real small disks: a program runs with a tmpfs of a few megabytes mounted where it works.

What belongs here: finding out whether this machine can, and running.  What does not: what is done
there (``small_disk``, ``cli.small_lake``).  The mount lies in a name space of its own, so it ends
with the program, however that ends.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

WAYS: Final = (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount"))
"""As root, and as a user where the kernel lets users have name spaces."""
MOUNT: Final = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'


@functools.cache
def find_way() -> tuple[str, ...] | None:
    """Return how a tmpfs can be mounted here; ``None``: it cannot."""
    if shutil.which("unshare") is None:
        return None
    for way in WAYS:
        test = [*way, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
        if subprocess.run(test, capture_output=True, check=False).returncode == 0:
            return way
    return None


def run_on_tmpfs(size: str, place: Path, module: str, *arguments: str) -> dict[str, Any]:
    """Run a module with a tmpfs of some size at ``place``; return the JSON that it prints last.

    The test is skipped where no tmpfs can be mounted.
    """
    way = find_way()
    if way is None:
        pytest.skip("no tmpfs can be mounted here: neither as root nor by `unshare -Urm`")
    place.mkdir()
    program = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    path = os.pathsep.join(filter(None, [str(REPO_ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*way, "sh", "-c", MOUNT, "sh", size, str(place), *program],
        capture_output=True,
        text=True,
        check=False,
        cwd=place.parent,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts
