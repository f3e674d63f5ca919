"""Folders of lakes, and what lies in them."""

from pathlib import Path
from typing import Final

from smallcaps_assets.lake.home.identity import LakeSource

SOURCE: Final = LakeSource("emulator", "seed=1")


def make_folder(path: Path) -> Path:
    """Make a folder, as a person makes the place for a lake, and return it."""
    path.mkdir(parents=True)
    return path


def list_files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
