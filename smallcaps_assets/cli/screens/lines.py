"""Lines that screens are made of: a label with its text, a bar with its share.

What does not belong here: what they say (``status``, ``universe``).
"""

from typing import Final

from rich.text import Text

from smallcaps_assets.core.figures import format_share

LABEL_WIDTH: Final = 10
MIN_BAR, MAX_BAR = 10, 40


def label(name: str, text: str, style: str = "") -> Text:
    """Make a line of a name in its column and a text."""
    return Text.assemble((name.ljust(LABEL_WIDTH), "bold"), (text, style))


def draw_bar(share: float, text: str, width: int) -> Text:
    """Draw a bar of a share, from 0 to 1, with a text and the share in per cent behind it."""
    words = f"{text}, {format_share(share)}"
    length = min(max(width - len(words), MIN_BAR), MAX_BAR)
    filled = int(length * share)
    return Text.assemble(("━" * filled, "green"), ("━" * (length - filled), "grey37"), words)
