"""Errors and helps lead to a page, and the page is there."""

import inspect
from pathlib import Path

import pytest

from smallcaps_assets import errors
from smallcaps_assets.cli import COMMANDS, PAGES
from smallcaps_assets.cli.pages.installed import list_pages, read_page
from smallcaps_assets.errors import ConfigError, SmallcapsError
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User, check_refusal
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

ERRORS = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, SmallcapsError)
]


@pytest.fixture
def reader(tmp_path: Path) -> User:
    """Return someone without any settings."""
    return User(tmp_path, {})


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_leads_to_a_section(error: type[SmallcapsError]) -> None:
    assert read_page(error.page).startswith("## ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_leads_to_a_page(reader: User, name: str) -> None:
    finished = reader.run(name, "--help")
    pointer = PAGES[name].replace("#", " ")

    assert finished.code == 0
    assert f"see: smallcaps docs {pointer}" in finished.text
    assert len(read_page(PAGES[name])) > 100


def test_the_help_of_the_group_leads_to_the_pages(reader: User) -> None:
    text = reader.run("--help").text

    assert [name for name in ["smallcaps docs operations", *COMMANDS] if name not in text] == []


def test_an_error_says_where_to_read_on(reader: User) -> None:
    finished = reader.run("plan", SMALLCAPS_WORKERS="many")

    check_refusal(finished, REFUSED, "error: SMALLCAPS_WORKERS")
    pointer = "see: smallcaps docs operations a-setting-or-an-argument-is-refused"
    assert finished.err.splitlines()[-1] == pointer


def test_pages_are_listed_with_their_titles(reader: User) -> None:
    text = reader.run("docs").text

    assert [name for name in ("operations", "glossary", "decisions/0001") if name not in text] == []
    assert len(list_pages()) == len(list((REPO_ROOT / "docs").rglob("*.md")))


@pytest.mark.parametrize(
    "arguments", [["operations", "full-disk"], ["docs/operations.md#full-disk"]]
)
def test_a_section_ends_where_the_next_begins(reader: User, arguments: list[str]) -> None:
    text = reader.run("docs", *arguments).out

    assert text.startswith("## Full disk\n")
    assert "SMALLCAPS_DISK_RESERVE_GB" in text
    assert "\n## " not in text


def test_a_page_is_printed_as_it_is(reader: User) -> None:
    page = REPO_ROOT / "docs" / "glossary.md"

    assert reader.run("docs", "glossary").out == page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["poetry"], ("no page 'poetry'", "operations", "glossary")),
        (["operations", "haiku"], ("no section 'haiku' in operations", "full-disk")),
        (["operations", "elsewhere"], ("no section 'elsewhere'",)),
    ],
    ids=["page", "section", "comment in code"],
)
def test_what_is_not_there_is_refused_with_what_is(
    reader: User, arguments: list[str], words: tuple[str, ...]
) -> None:
    check_refusal(reader.run("docs", *arguments), REFUSED, *words)


def test_a_page_outside_the_folder_is_none() -> None:
    with pytest.raises(ConfigError, match="no page"):
        read_page("../README")
