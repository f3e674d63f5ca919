"""Pages as a reader tries them: blocks of code, the commands in them, what is said to come out.

What belongs here: Markdown, and where one command of a shell ends.  What does not: running them
(``reader``).
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

SHELL: Final = "bash"
PYTHON: Final = "python"
SQL: Final = "sql"
OUTPUT: Final = "text"
"""A block of this language says what the block above it prints; `...` is anything."""
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"`((?:\.venv/bin/)?(?:smallcaps|make|dagster) [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: Path of the page below the repository.
        line: Line of its fence.
        heading: Heading it stands below.
        language: What stands behind the fence.
        text: What stands in it.
        output: What it prints, as the page says; ``None``: the page does not say.
    """

    page: str
    line: int
    heading: str
    language: str
    text: str
    output: str | None = None

    @property
    def place(self) -> str:
        """Return page and line, for messages."""
        return f"{self.page}:{self.line}"


def read_page(page: str) -> str:
    """Return the text of a page of the repository."""
    return (REPO_ROOT / page).read_text(encoding="utf-8")


def read_blocks(page: str, text: str | None = None) -> list[Block]:
    """Return the blocks of a page, each with the output that follows it."""
    text = read_page(page) if text is None else text
    found = [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            heading=_find_heading(text[: match.start()]),
            language=match[1],
            text=match[2],
        )
        for match in _BLOCK.finditer(text)
    ]
    first = found[0].language if found else ""
    assert first != OUTPUT, f"{page}: an output has nothing above it that prints it"
    outputs = {
        before.line: after.text for before, after in pairwise(found) if after.language == OUTPUT
    }
    return [
        replace(block, output=outputs.get(block.line))
        for block in found
        if block.language != OUTPUT
    ]


def list_spans(page: str) -> list[str]:
    """Return the commands that stand in a line of text: with an argument, or a make target."""
    prose = _BLOCK.sub("", read_page(page))
    return [match[1] for match in _COMMAND.finditer(prose)]


def split_commands(script: str) -> Iterator[str]:
    """Yield the commands of a shell script, whole lines each, without comments."""
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if pending.strip() and _is_whole(pending):
            if command := _remove_comment(pending.strip()):
                yield command
            pending = ""
    assert not pending.strip(), f"not a whole command: {pending}"


def find_unprinted(printed: str, promised: str) -> list[str]:
    """Return the promised lines that were not printed, in their order; ``...`` is anything."""
    lines = iter(_squeeze(line) for line in printed.splitlines())
    wanted = [_squeeze(line) for line in promised.splitlines()]
    return [
        line
        for line in wanted
        if line not in {"", "..."}
        and not any(re.fullmatch(_make_pattern(line), found) for found in lines)
    ]


def _find_heading(text: str) -> str:
    """Return the last heading of a text, blocks aside."""
    return next(iter(re.findall(r"^#+ (.*)$", _BLOCK.sub("", text), re.MULTILINE)[::-1]), "")


def _make_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


def _squeeze(line: str) -> str:
    return " ".join(line.split())


def _is_whole(text: str) -> bool:
    if text.endswith("\\\n"):
        return False
    parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return parsed.returncode == 0 and not parsed.stderr


def _remove_comment(command: str) -> str:
    """Return a command without what stands behind a ``#`` that begins a word outside quotes."""
    return "\n".join(line[: _find_comment(line)].rstrip() for line in command.splitlines()).strip()


def _find_comment(line: str) -> int | None:
    quote = ""
    for place, letter in enumerate(line):
        if letter in "'\"" and quote in {"", letter}:
            quote = "" if quote else letter
        if letter == "#" and not quote and not line[:place].rstrip(" ")[place - 1 : place]:
            return place
    return None
