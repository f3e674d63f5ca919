"""How a command ends: its exit code, and what goes wrong in words or as JSON, never as a trace.

What belongs here: errors of ours, of usage and of the operating system, Ctrl-C, and streams that
refuse what is written to them.  What does not: what a command finds out about a lake, which it
tells by itself.
"""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import click

from smallcaps_assets.core.documents import Document, encode_document
from smallcaps_assets.errors import SmallcapsError, StorageError
from smallcaps_assets.lake.storage.disk_errors import explain_refusal

INTERRUPTED: Final = 130
"""Exit code of what Ctrl-C ended, as shells give it: 128 and the number of the signal."""

REPEAT_S: Final = 0.05
"""Time after which an interrupt that was dropped comes again."""

USAGE_PAGE: Final = "operations#a-setting-or-an-argument-is-refused"
RESUME_PAGE: Final = "operations#backfill-and-resume"


class ErrorDocument(Document, frozen=True, kw_only=True):
    """What went wrong, on standard error, where a command has ``--json``.

    Attributes:
        schema_version: Version of this document.
        kind: Short word for it, as in the table of kinds of failure; ``usage``, ``interrupted``.
        message: What was expected, what came, what to do.
        exit_code: Exit code of the command.
        page: Page and section of the documents that help.
    """

    schema_version: Literal[1] = 1
    kind: str
    message: str
    exit_code: int
    page: str


def point_to(page: str) -> str:
    """Write the line that leads to a page, or to a section of it."""
    return f"see: smallcaps docs {page.replace('#', ' ')}"


def run_to_end(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command and say what went wrong; return the exit code.

    Args:
        command: The command.
        arguments: What follows its name; with ``--json`` among them an error is JSON.
    """
    is_json = "--json" in arguments
    _make_streams_bear_all()
    try:
        with _keeping_interrupts():
            code = _run(command, arguments)
        sys.stdout.flush()
    except SmallcapsError as error:
        return _tell(error.kind, str(error), error.exit_code, error.page, is_json=is_json)
    except click.ClickException as error:
        if not is_json:
            error.show()
            return error.exit_code
        return _tell("usage", error.format_message(), error.exit_code, USAGE_PAGE, is_json=True)
    except (click.Abort, KeyboardInterrupt):
        return _tell(
            "interrupted",
            "interrupted; what is finished stays, and the same command continues",
            INTERRUPTED,
            RESUME_PAGE,
            is_json=is_json,
        )
    except OSError as error:
        _give_up_stdout(error)
        text, kind = explain_refusal(error), StorageError
        return _tell(kind.kind, text, kind.exit_code, kind.page, is_json=is_json)
    return code


def _run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command that says itself how it ended, for its exit code."""
    try:
        code = command.main(args=list(arguments), prog_name="smallcaps", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else int(code is not None)


def _tell(kind: str, message: str, code: int, page: str, *, is_json: bool) -> int:
    document = ErrorDocument(kind=kind, message=message, exit_code=code, page=page)
    text = encode_document(document) if is_json else f"error: {message}\n{point_to(page)}"
    # Where nobody can read what is said, the exit code says it.
    with contextlib.suppress(OSError):
        click.echo(text, err=True)
    return code


@contextlib.contextmanager
def _keeping_interrupts() -> Iterator[None]:
    """Let no Ctrl-C be lost that falls into a callback of the garbage collector.

    Python prints what such a callback raises, as a trace, and drops it.
    """
    before = sys.unraisablehook

    def repeat(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # Here it would be dropped again.
            main = threading.main_thread().ident or 0
            threading.Timer(REPEAT_S, signal.pthread_kill, (main, signal.SIGINT)).start()
        else:
            before(dropped)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = before


def _make_streams_bear_all() -> None:
    """Let a stream of few letters show others as a question mark, a closed one take anything."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  open to the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _give_up_stdout(error: OSError) -> None:
    """Write nothing more where standard output refuses; Python would try so again at the end."""
    if error.filename is None and isinstance(sys.stdout, io.TextIOWrapper):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
