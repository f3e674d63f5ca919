"""Files that a person hands in, read and parsed.

What belongs here: an error that names the file. What does not: formats
(``lake.interchange.input_files``) and what the columns mean (``core``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import polars as pl

from smallcaps_assets.errors import DataError, RefusedFileError
from smallcaps_assets.lake.interchange.input_files import read_input

Parsed = TypeVar("Parsed")


def read_parsed(path: Path, parse: Callable[[pl.DataFrame], Parsed]) -> Parsed:
    """Return what ``parse`` makes of the rows of a file or folder.

    Raises:
        RefusedFileError: It cannot be read, or its rows break their contract.
    """
    file = path.expanduser().absolute()
    try:
        rows = read_input(file)
    except DataError as error:
        raise RefusedFileError(str(error)) from error
    try:
        return parse(rows)
    except DataError as error:
        raise RefusedFileError(f"{file}: {error}") from error
