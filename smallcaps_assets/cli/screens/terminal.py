"""The terminal that commands write on: what others say cannot steer it.

What belongs here: the console.  What does not: what is written on it.
"""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from smallcaps_assets.errors import show_controls


class ShowingConsole(Console):
    """A console that shows control characters of what it is given, and sends its own alone."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield what is to be printed, piece by piece."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else show_controls(text), style, control)


def open_console() -> Console:
    """Make a console of the terminal."""
    return ShowingConsole()
