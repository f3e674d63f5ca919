"""Commands run as a user runs them: in this process where that is enough, else in their own."""

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smallcaps_assets.cli import main
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

OURS: Final = ("SMALLCAPS_", "POLYGON_", "MASSIVE_", "DAGSTER_")
QUICK: Final = {
    "SMALLCAPS_REQUESTS_PER_MINUTE": "0",
    "SMALLCAPS_RETRIES": "1",
    "SMALLCAPS_BACKOFF_BASE_S": "0.001",
    "SMALLCAPS_WORKERS": "2",
    "COLUMNS": "200",
}
"""A command that loses no time and whose lines are not folded."""
TIMEOUT_S: Final = 300
REFUSED: Final = 2
"""Exit code of wrong usage, wrong settings and conflicts."""
FAILED: Final = 1
"""Exit code of work that ended with failures."""
CLOSED_PORT: Final = "http://127.0.0.1:9"
"""Nothing listens here."""
CLASSES: Final = re.compile(
    r"Traceback|\bdagster[._](?!yaml\b)|\b(polars|sqlite3|sqlalchemy|pyarrow|duckdb)[._]"
    r"|\b(Dagster|Polars|SQLAlchemy|Sqlite)\w*(Error|Exception)\b|<class |object at 0x"
    r"|\b(Check|Column\w*|Compute|Database|Integrity|InvalidOperation|NoData|Operational|PostProcessing"
    r"|Programming|Schema|Shape|UnicodeDecode)Error\b|\bPanicException\b"
)
"""What only a programmer reads: traces, and names of the libraries below us."""


@dataclass(frozen=True)
class Finished:
    """What a command left behind.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Return all it said, without line breaks that only fit it to the terminal."""
        return " ".join(f"{self.out}\n{self.err}".split())


@dataclass(frozen=True)
class User:
    """Someone who types commands in a folder, with some settings in the environment."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def data_dir(self) -> Path:
        """Return the folder of the lake."""
        return self.folder / "data"

    def run(self, *arguments: str, **settings: object) -> Finished:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            changed_environment(self._settings(settings)),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = _exit_code(arguments)
        return Finished(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, **settings: object) -> subprocess.Popen[str]:
        """Start a command in a process of its own."""
        with changed_environment(self._settings(settings)):
            return subprocess.Popen(
                [sys.executable, "-m", "smallcaps_assets.cli", *arguments],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def run_process(self, *arguments: str, **settings: object) -> Finished:
        """Run a command in a process of its own."""
        with self.start(*arguments, **settings) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
            return Finished(process.returncode, out, err)

    def list_files(self) -> list[str]:
        """Return the files below the data folder that are not Dagster's own."""
        paths = (path.relative_to(self.data_dir) for path in self.data_dir.rglob("*"))
        return sorted(
            str(path)
            for path in paths
            if path.parts[0] != "dagster" and (self.data_dir / path).is_file()
        )

    def _settings(self, settings: Mapping[str, object]) -> dict[str, str]:
        own = {"SMALLCAPS_DATA_DIR": str(self.data_dir), "PYTHONPATH": str(REPO_ROOT)}
        given = {name: str(value) for name, value in settings.items() if value is not None}
        return QUICK | own | dict(self.environment) | given


def check_refusal(finished: Finished, code: int, *words: str) -> None:
    """Check the code and the words, and that they are those of a person (L53)."""
    assert finished.code == code, finished.text
    assert [match.group() for match in CLASSES.finditer(finished.text)] == [], finished.text
    missing = [word for word in words if word not in finished.text]
    assert not missing, finished.text


def find_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def changed_environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Put settings in place of all of ours that the environment has, for a while."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _exit_code(arguments: tuple[str, ...]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
