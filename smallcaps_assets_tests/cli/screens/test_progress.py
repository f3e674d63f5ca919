import io

import pytest
from rich.console import Console

from smallcaps_assets.cli.screens.progress import count_along, show_progress, watch_bytes


@pytest.mark.parametrize("is_terminal", [True, False])
def test_show_progress_shows_the_text_as_it_is(*, is_terminal: bool) -> None:
    out = io.StringIO()

    with show_progress(Console(file=out, force_terminal=is_terminal), line_every_s=0) as show:
        show("1/4 [red]", 1, 4)
        show("2/4 [red]", 2, 4)

    assert "2/4 [red]" in out.getvalue()
    assert is_terminal == ("━" in out.getvalue())


def test_show_progress_is_silent_while_it_is_quick() -> None:
    out = io.StringIO()

    with show_progress(Console(file=out)) as show:
        show("1/4", 1, 4)

    assert out.getvalue() == ""


def test_count_along_yields_the_items_and_counts_them() -> None:
    out = io.StringIO()

    items = list(count_along(range(3), lambda: 3, Console(file=out, force_terminal=True)))

    assert items == [0, 1, 2]
    assert "3/3 sessions, ETA 0 s" in out.getvalue()


def test_watch_bytes_adds_up_each_kind() -> None:
    out = io.StringIO()

    with watch_bytes(Console(file=out, force_terminal=True)) as watch:
        watch("copied", 1 << 20)
        watch("copied", 2 << 20)

    assert "copied 3.0 MB" in out.getvalue()
