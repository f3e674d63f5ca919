"""A wheel of this checkout: built, installed into an environment without the checkout, tried.

What belongs here: what `make wheel-check` does, which is more than a test has time for: it installs
every dependency into an empty environment.  What does not: what has to be in the wheel
(``test_wheel``).
"""

import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from smallcaps_assets_tests.documents.reader import Reader, open_folder
from smallcaps_assets_tests.documents.rules import RULES
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

SOURCES: Final = ("smallcaps_assets", "docs", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built from."""
QUICK: Final = {
    "SMALLCAPS_SOURCE": "emulator",
    "SMALLCAPS_FIRST_SESSION": "2023-03-01",
    "SMALLCAPS_LAST_SESSION": "2023-03-31",
    "SMALLCAPS_PILOT_TICKERS": "2",
}
TRIED: Final = (
    "smallcaps --version",
    "smallcaps docs operations full-disk",
    "smallcaps emulator",
    "dagster definitions validate -m smallcaps_assets.definitions",
)
"""What works wherever the wheel is installed."""
TRIED_AT_LENGTH: Final = (
    *TRIED,
    "smallcaps demo --data-dir demo",
    "SMALLCAPS_DATA_DIR=demo smallcaps status",
    "dagster dev -m smallcaps_assets.definitions",
)


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy, so that nothing is left in the checkout."""
    source = folder / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "images")
    for name in SOURCES:
        if (REPO_ROOT / name).is_dir():
            shutil.copytree(REPO_ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(REPO_ROOT / name, source)
    run_pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_beside(wheel: Path, environment: Path) -> None:
    """Install a wheel into a new environment that sees the dependencies of this one.

    The checkout, which is installed here too, is not seen: files of paths are read in an
    environment's own folder alone.
    """
    venv.create(environment)
    python = environment / "bin" / "python"
    run_pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    script = Path(sys.prefix) / "bin" / "dagster"
    own = script.read_text(encoding="utf-8").replace(sys.prefix, str(environment))
    (environment / "bin" / "dagster").write_text(own, encoding="utf-8")
    (environment / "bin" / "dagster").chmod(0o755)


def install_alone(wheel: Path, environment: Path, interpreter: str) -> None:
    """Install a wheel into an empty environment, with the versions the project is tested with."""
    subprocess.run([interpreter, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    constraints = str(REPO_ROOT / "constraints.txt")
    run_pip("--python", str(python), "install", "-c", constraints, str(wheel))


def try_out(folder: Path, commands: Sequence[str]) -> Reader:
    """Type commands in a folder that holds nothing but the environment ``.venv``."""
    reader = Reader(folder, RULES, QUICK)
    for command in commands:
        reader.type(command)
    return reader


def run_pip(*arguments: str) -> None:
    """Run pip, and show what it said if it failed."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def main() -> None:
    """Build the wheel, install it into an empty environment, and use it there.

    The Python of that environment is the argument; that of this one by default.
    """
    interpreter = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    with tempfile.TemporaryDirectory() as name, open_folder(Path(name), linked=()) as folder:
        wheel = build_wheel(Path(name))
        sys.stdout.write(f"built {wheel.name}; installing it with its dependencies\n")
        install_alone(wheel, folder / ".venv", interpreter)
        reader = try_out(folder, TRIED_AT_LENGTH)
        sys.stdout.write("\n".join(f"works: {command}" for command in reader.ran) + "\n")


if __name__ == "__main__":
    main()
