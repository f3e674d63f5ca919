"""The documents as they were installed: where they lie, their pages, and sections of a page.

What belongs here: Markdown as far as its headings.  What does not: how a page looks on the screen
(``cli.commands.docs_command``).
"""

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import smallcaps_assets
from smallcaps_assets.errors import ConfigError

DISTRIBUTION: Final = "smallcaps-assets"
FIRST_PAGE: Final = "operations.md"
_FENCE: Final = "```"


def find_folder() -> Path:
    """Find the folder of the documents: that of the checkout, else the one a wheel brought.

    Raises:
        ConfigError: There is none.
    """
    checkout = Path(smallcaps_assets.__file__).parents[1] / "docs"
    if (checkout / FIRST_PAGE).is_file():
        return checkout
    for file in metadata.files(DISTRIBUTION) or ():
        if file.parts[-2:] == (DISTRIBUTION, FIRST_PAGE):
            return Path(str(file.locate())).resolve().parent
    raise ConfigError(
        "the documents are not installed beside the program; they are the folder docs of its source"
    )


def list_pages() -> dict[str, str]:
    """List the title of each page by its name, ``decisions/0001-own-client`` for example."""
    folder = find_folder()
    return {
        page.relative_to(folder).with_suffix("").as_posix(): _read_title(page)
        for page in sorted(folder.rglob("*.md"))
    }


def read_page(name: str, section: str | None = None) -> str:
    """Read the text of a page, or of one of its sections.

    Args:
        name: Name of the page as listed, with or without its suffix, or with ``#SECTION``.
        section: Heading of the section, or what a link to it says.

    Raises:
        ConfigError: There is no such page or section; the message lists what there is.
    """
    name, _, fragment = name.removeprefix("docs/").partition("#")
    page = name.removesuffix(".md")
    pages = list_pages()
    if page not in pages:
        raise ConfigError(f"no page {page!r}; there are {', '.join(pages)}")
    text = (find_folder() / f"{page}.md").read_text(encoding="utf-8")
    wanted = section or fragment
    return _cut_section(page, text, make_anchor(wanted)) if wanted else text


def make_anchor(heading: str) -> str:
    """Make what a link to a heading says behind its ``#``."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def _cut_section(page: str, text: str, anchor: str) -> str:
    lines = text.splitlines()
    headings = list(_iter_headings(lines))
    for place, level, heading in headings:
        if make_anchor(heading) == anchor:
            ends = (later for later, other, _ in headings if later > place and other <= level)
            return "\n".join(lines[place : next(ends, len(lines))]).rstrip() + "\n"
    known = ", ".join(make_anchor(heading) for _, _, heading in headings)
    raise ConfigError(f"no section {anchor!r} in {page}; there are {known}")


def _iter_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield line, level and text of the headings; a comment in a block of code is not one."""
    is_code = False
    for place, line in enumerate(lines):
        is_code ^= line.startswith(_FENCE)
        if not is_code and (match := re.match(r"(#+) (.*)", line)):
            yield place, len(match[1]), match[2]


def _read_title(page: Path) -> str:
    lines = page.read_text(encoding="utf-8").splitlines()
    return next((heading for _, _, heading in _iter_headings(lines)), page.stem)
