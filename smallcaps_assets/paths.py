"""Paths that a person writes: what they stand for, and those that cannot be taken.

What belongs here: from text in a setting to paths.  What does not: the paths of the lake
(``lake.paths.layout``).
"""

import os
import re
from pathlib import Path

_UNTAKEN = re.compile("\\?|%[0-9a-fA-F]{2}")
"""What ends a path, or stands for another letter, in the addresses of Dagster's databases."""


def expand_path(path: Path) -> Path:
    """Expand the ``~`` of a path to the home it stands for: no shell reads a line of ``.env``.

    Raises:
        ValueError: There is no such user.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: expected the home of a user, found none: {error}") from error


def check_folder(folder: Path) -> None:
    """Refuse a data folder, an absolute path, that Dagster would take for another one.

    Raises:
        ValueError: It would; the message names the characters.
    """
    text = str(folder)
    if found := _UNTAKEN.search(text):
        raise ValueError(
            f"{text}: expected a folder without {found[0]!r} in its path, where Dagster cannot "
            "keep its databases; name it otherwise"
        )
    if not text.isascii() and text.encode(errors="ignore").decode() != text:
        raise ValueError(f"{text!a}: expected a folder whose path is UTF-8; name it otherwise")


def split_paths(value: str | Path) -> tuple[Path, ...] | None:
    """Split a list of paths at its commas, or as in PATH; ``None``: it has none.

    What names a file or a folder as it stands is one path, whatever it contains.

    Raises:
        ValueError: It begins with the home of nobody.
    """
    text = str(value)
    if text and expand_path(Path(text)).exists():
        return (Path(text),)
    separator = os.pathsep if os.pathsep in text else ","
    return tuple(Path(part.strip()) for part in text.split(separator) if part.strip()) or None
