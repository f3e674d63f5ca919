"""No block and no command of a page escapes: it is run, or it is listed here with a reason."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from smallcaps_assets_tests.cli.cli_factories import find_free_port
from smallcaps_assets_tests.documents.blocks import (
    OUTPUT,
    PYTHON,
    SHELL,
    SQL,
    Block,
    list_spans,
    read_blocks,
    split_commands,
)
from smallcaps_assets_tests.documents.reader import Left, Reader, Rules, open_folder
from smallcaps_assets_tests.documents.rules import RULES
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

TESTED: Final = {
    "README.md": "test_readme",
    "docs/tutorial.md": "test_tutorial",
    "docs/cookbook.md": "test_cookbook",
}
"""Pages whose blocks are run in order, and where."""
OTHERS: Final = sorted(
    page
    for folder, pattern in ((".", "*.md"), ("data", "*.md"), ("docs", "**/*.md"))
    for path in (REPO_ROOT / folder).glob(pattern)
    if (page := path.relative_to(REPO_ROOT).as_posix()) not in TESTED
)
NOT_RUN: Final = {
    "mermaid": "a picture",
    "": "a figure in letters",
    "json": "an example of what is printed",
    "toml": "test_docs reads it as the product does",
}
"""Languages of blocks that nothing runs, and why."""
SPANS: Final = {
    "make help": "it prints the targets",
    "smallcaps ui": "test_ui_command serves it",
    "smallcaps emulator": "operations run it, and so do the tests of the wheel",
}
"""Commands in the text that no block of the tested pages types, and why."""
OTHER_RULES: Final[Rules] = {
    r"^(podman|docker) ": Left("there is no engine here; test_container reads the file"),
    r"^smallcaps research": Left("test_research_command runs it on a small lake"),
    r"smallcaps relocate ": Left("test_relocate_command moves a lake"),
    r"smallcaps import --lake": Left("test_tidy_command takes a lake over and uses it on"),
    r"smallcaps import ": Left("test_import_command runs it on archives"),
    r"^smallcaps plan && ": Left("the tutorial runs both; test_faults meets them with faults"),
    r"^make test-fast$": Left("the suite that this test belongs to", shows="not slow"),
    r"^make format$": Left("it changes the checkout", shows="ruff format ."),
    r"^make check$": Left("the gate runs it beside this suite", shows="lint-imports"),
    r"^make docs$": Left("it changes the checkout", shows="pages.generated"),
    **RULES,
}


@pytest.fixture
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with open_folder(tmp_path_factory.mktemp("others")) as folder:
        yield Reader(folder, OTHER_RULES, {}, placeholders={"8901": str(find_free_port())})


def list_typed() -> list[str]:
    """Return the commands that the blocks of the tested pages type."""
    blocks = [block for page in TESTED for block in read_blocks(page) if block.language == SHELL]
    typed = [command for block in blocks for command in split_commands(block.text)]
    return [command.replace(".venv/bin/", "") for command in typed]


@pytest.mark.parametrize("page", TESTED)
def test_a_page_is_run_by_a_module_that_names_it(page: str) -> None:
    module = REPO_ROOT / "smallcaps_assets_tests" / "documents" / f"{TESTED[page]}.py"

    assert f'"{page}"' in module.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*TESTED, *OTHERS])
def test_each_language_is_run_or_listed(page: str) -> None:
    unknown = [
        block.place
        for block in read_blocks(page)
        if block.language not in {SHELL, PYTHON, SQL, *NOT_RUN}
    ]

    assert unknown == []


@pytest.mark.parametrize("page", [page for page in OTHERS if page != "docs/format.md"])
def test_python_and_sql_stand_on_tested_pages_alone(page: str) -> None:
    """The page of the format has a test of its own, which runs its block on a lake."""
    assert [b.place for b in read_blocks(page) if b.language in {PYTHON, SQL}] == []


@pytest.mark.parametrize(
    "block",
    [block for page in OTHERS for block in read_blocks(page) if block.language == SHELL],
    ids=lambda block: block.place,
)
def test_blocks_of_other_pages_are_run_or_listed(reader: Reader, block: Block) -> None:
    reader.do(block)


@pytest.mark.parametrize("page", TESTED)
def test_commands_in_the_text_are_run_or_listed(page: str) -> None:
    typed = list_typed()

    loose = [
        span
        for span in list_spans(page)
        if not any(command.startswith(span) for command in [*typed, *SPANS])
    ]

    assert loose == []


def test_no_reason_outlives_its_command() -> None:
    everything = "\n".join(
        (REPO_ROOT / page).read_text(encoding="utf-8") for page in [*TESTED, *OTHERS]
    )
    commands = {
        command
        for page in [*TESTED, *OTHERS]
        for block in read_blocks(page)
        if block.language == SHELL
        for command in split_commands(block.text)
    }
    idle = [rule for rule in OTHER_RULES if not any(re.search(rule, text) for text in commands)]

    assert [span for span in SPANS if f"`{span}" not in everything] == []
    assert idle == []


# -- the mechanism -----------------------------------------------------------------------

PAGE: Final = """# Title

```bash
export A=1   # it's a comment
echo "$A # no comment" && \\
  echo two
```

```text
1 # no ...
two
```

```python
print("three")
```
"""


def test_blocks_know_their_place_and_what_they_promise() -> None:
    shell, python = read_blocks("page.md", PAGE)

    assert (shell.place, shell.heading, shell.language) == ("page.md:3", "Title", SHELL)
    assert (python.place, python.output) == ("page.md:14", None)
    assert shell.output == "1 # no ...\ntwo\n"
    assert list(split_commands(shell.text)) == [
        "export A=1",
        'echo "$A # no comment" && \\\n  echo two',
    ]


def test_a_shell_goes_on_where_it_was_and_promises_are_compared(reader: Reader) -> None:
    shell, python = read_blocks("page.md", PAGE)

    reader.do(shell)
    reader.do(python)

    assert reader.said == ["", "1 # no comment\ntwo\n"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Block("page.md", 1, "", SHELL, "false\n"), "false"),
        (Block("page.md", 1, "", SHELL, "echo one\n", "two\n"), r"promises \['two'\]"),
        (Block("page.md", 1, "", SHELL, "smallcaps nonsense\n"), "No such command"),
    ],
    ids=["fails", "prints something else", "does not exist"],
)
def test_what_a_page_gets_wrong_is_seen(reader: Reader, block: Block, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        reader.do(block)


def test_an_output_without_a_command_is_refused() -> None:
    assert OUTPUT not in NOT_RUN
    with pytest.raises(AssertionError, match="nothing above it"):
        read_blocks("page.md", "# Title\n\n```text\nalone\n```\n")
