"""A reader who types what a page says, in a folder of their own, on an emulated market.

What belongs here: a shell that remembers, programs that are started and stopped, and Python that
continues from block to block.  What does not: which pages there are (the tests).
"""

import contextlib
import io
import os
import pty
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
import psutil

from smallcaps_assets_tests.cli.cli_factories import OURS, find_free_port
from smallcaps_assets_tests.documents.blocks import (
    PYTHON,
    SHELL,
    SQL,
    Block,
    find_unprinted,
    split_commands,
)
from smallcaps_assets_tests.lakehouse_factories import MEMORY, REPO_ROOT

PATIENCE_S: Final = 120.0
LINKED: Final = ("Makefile", "pyproject.toml", "constraints.txt", "workspace.yaml", "docs")
"""What of the checkout a reader's folder shows."""
PRELUDE: Final = """
set -o pipefail
make() { command make --silent --old-file .venv/.complete "$@"; }
"""
"""The environment is there: the tests run in it."""


@dataclass(frozen=True)
class Served:
    """A program that runs until it is stopped.

    Attributes:
        path: What its web server answers to; empty: it has none.
        says: What it prints when it works.
    """

    path: str = ""
    says: str = ""


@dataclass(frozen=True)
class Left:
    """A command that is not run; of a make target it is seen what would be run.

    Attributes:
        reason: Why not, and what is done instead.
        shows: What `make --dry-run` has to show; empty: it is no make target.
    """

    reason: str
    shows: str = ""


Rules = Mapping[str, Served | Left]
"""What is special about a command, by a pattern of it; any other is run to its end."""


@dataclass
class Reader:
    """Someone who reads a page.

    Attributes:
        folder: Where commands are typed.
        rules: Commands that are not simply run.
        environment: Settings that make the page quick.
        placeholders: What the reader puts in place of words that stand for something.
        ran: The commands that were typed, in order.
        said: What each of them printed.
        session: What the blocks of Python have defined.
        answers: Rows of the last query below each heading.
    """

    folder: Path
    rules: Rules
    environment: Mapping[str, str]
    placeholders: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    session: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, pl.DataFrame] = field(default_factory=dict)

    def read(self, blocks: list[Block]) -> None:
        """Do what the blocks say, in order."""
        for block in blocks:
            self.do(block)

    def do(self, block: Block) -> None:
        """Do what one block says, and compare what comes out with what the page promises."""
        if block.language == SHELL:
            printed = "".join([self.type(command) for command in split_commands(block.text)])
        elif block.language in {PYTHON, SQL}:
            printed = self.run_python(block)
        else:
            return
        missing = find_unprinted(printed, block.output or "")
        assert not missing, f"{block.place} promises {missing}, but this was printed:\n{printed}"

    def type(self, command: str) -> str:
        """Type one command and return what it prints, errors among it."""
        for word, meaning in self.placeholders.items():
            command = command.replace(word, meaning)
        self.ran.append(command)
        rule = next((self.rules[rule] for rule in self.rules if re.search(rule, command)), None)
        if isinstance(rule, Left):
            shown = self._run(f"{command} --dry-run") if rule.shows else ""
            assert rule.shows in shown, shown
            return ""
        printed = self._serve(command, rule) if rule else self._run(command)
        self.said.append(printed)
        return printed

    def run_python(self, block: Block) -> str:
        """Run a block in the Python session of this reader, and return what it prints.

        SQL goes to the connection ``con`` of the session; its answer is kept by heading.
        """
        said = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(said):
            if block.language == SQL:
                self.answers[block.heading] = self.session["con"].sql(block.text).pl()
                self.session["con"].sql(block.text).show()
            else:
                script = self.folder / f".block-{block.line}.py"
                script.write_text(block.text, encoding="utf-8")
                self.session |= runpy.run_path(str(script), init_globals=self.session)
        return said.getvalue()

    def _run(self, command: str) -> str:
        process = self._start(self._remember(command), subprocess.PIPE)
        try:
            printed = str(process.communicate(timeout=PATIENCE_S)[0])
        except subprocess.TimeoutExpired:
            stop_group(process)
            raise
        assert process.returncode == 0, f"{command}\n{printed}"
        return printed

    def _serve(self, command: str, rule: Served) -> str:
        """Start a program, wait until it works, and press Ctrl-C."""
        port = find_free_port()
        ports = f"export UI_PORT={port} DAGSTER_CLI_DEV_PORT={port} PYTHONUNBUFFERED=1"
        with Screen() as screen:
            process = self._start(f"{ports}\n{command}", screen.end)
            try:
                self._await(process, port, rule, screen)
            finally:
                stop_group(process)
        return screen.text

    def _start(self, script: str, output: int) -> psutil.Popen:
        """Start a script in the environment that the last command left, as a group of its own."""
        return psutil.Popen(
            ["bash", "-c", f"test -f {self._state} && . {self._state}\n{PRELUDE}\n{script}"],
            cwd=self.folder,
            env=self._environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def _await(self, process: psutil.Popen, port: int, rule: Served, screen: "Screen") -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            works = rule.says in screen.text and (not rule.path or answers(port, rule.path))
            if works:
                return
            assert process.poll() is None, screen.text
            time.sleep(0.1)
        raise AssertionError(f"{rule} did not come: {screen.text}")

    @property
    def _state(self) -> Path:
        return self.folder / ".state"

    def _remember(self, command: str) -> str:
        """Return a script that leaves its environment and its folder to the next command."""
        keep = f"export -p > {self._state}\necho \"cd '$PWD'\" >> {self._state}"
        return f"{command}\ncode=$?\n{keep}\nexit $code"

    def _environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        programs = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        home = {"HOME": str(self.folder), "PATH": programs, "PYTHONPATH": ""}
        return kept | home | {"COLUMNS": "120"} | dict(self.environment)


class Screen:
    """A terminal that a program believes in, and what is on it.

    Attributes:
        end: The end that programs write to.
    """

    def __init__(self) -> None:
        self._own, self.end = pty.openpty()
        self._parts: list[bytes] = []
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.end)
        self._watcher.join(PATIENCE_S)
        os.close(self._own)

    @property
    def text(self) -> str:
        """Return all that was written."""
        return b"".join(self._parts).decode(errors="replace")

    def _watch(self) -> None:
        # A terminal that nobody holds any more is an error to Linux and an empty read elsewhere.
        with contextlib.suppress(OSError):
            while part := os.read(self._own, 65_536):
                self._parts.append(part)


@contextlib.contextmanager
def open_folder(folder: Path, linked: Sequence[str] = LINKED) -> Iterator[Path]:
    """Yield a new folder, in memory where there is such a disk, that looks like a checkout.

    Args:
        folder: Where it is if there is no disk in memory, else what its name is made of.
        linked: What of the checkout it shows.
    """
    place = MEMORY / f"smallcaps-{folder.name}-{os.getpid()}" if MEMORY.is_dir() else folder
    place.mkdir(parents=True, exist_ok=True)
    for name in linked:
        (place / name).symlink_to(REPO_ROOT / name)
    if linked:
        (place / ".venv").symlink_to(sys.prefix)
    yield place
    shutil.rmtree(place)


def answers(port: int, path: str) -> bool:
    """Say whether a web server answers well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def stop_group(process: psutil.Popen, patience_s: float = 60.0) -> None:
    """Press Ctrl-C for a program and all that it started, and see that nothing is left."""
    family = [process, *process.children(recursive=True)] if process.is_running() else []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    _, waited = psutil.wait_procs(family, timeout=patience_s)
    left = [straggler for straggler in waited if is_alive(straggler)]
    for straggler in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            straggler.kill()
    assert not left, f"Ctrl-C did not end {left}"


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process runs; one that nobody has waited for does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
