import io

from rich.console import Console

from smallcaps_assets.cli.screens.progress import count_along


def test_count_along_shows_a_bar_on_a_terminal() -> None:
    out = io.StringIO()

    items = list(count_along(range(3), lambda: 3, Console(file=out, force_terminal=True)))

    assert items == [0, 1, 2]
    assert "3/3" in out.getvalue()


def test_count_along_writes_lines_elsewhere() -> None:
    out = io.StringIO()

    items = list(count_along(range(2), lambda: 4, Console(file=out), line_every_s=0))

    assert items == [0, 1]
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == ["1/4", "2/4"]


def test_count_along_is_silent_while_it_is_quick() -> None:
    out = io.StringIO()

    assert list(count_along("ab", lambda: 2, Console(file=out))) == ["a", "b"]
    assert out.getvalue() == ""
