"""What the documents say is so: links, commands, names, limits; and lessons that tests name."""

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from smallcaps_assets import errors
from smallcaps_assets.cli import COMMANDS
from smallcaps_assets.cli.pages.installed import make_anchor
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS, parse_windows
from smallcaps_assets.core.states import GREEN, STATES
from smallcaps_assets.core.verdicts import parse_thresholds
from smallcaps_assets.settings import NOT_SETTINGS, REMOVED, Settings

REPO_ROOT: Final = Path(__file__).parents[1]
DATA: Final = REPO_ROOT / "data"
LINE_LIMIT: Final = 120
TESTS: Final = Path(__file__).parent
PAGES: Final = sorted(
    page.relative_to(REPO_ROOT).as_posix()
    for folder, pattern in ((".", "*.md"), ("data", "*.md"), ("docs", "**/*.md"))
    for page in (REPO_ROOT / folder).glob(pattern)
)
SOURCES: Final = sorted((REPO_ROOT / "smallcaps_assets").rglob("*.py"))
LESSONS: Final = [f"L{number}" for number in range(1, 56)]
TEXT_SUFFIXES: Final = {
    "",
    ".cfg",
    ".csv",
    ".example",
    ".json",
    ".md",
    ".py",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
FOLDERS: Final = (
    ".ci",
    ".github",
    "benchmarks",
    "docs",
    "smallcaps_assets",
    "smallcaps_assets_tests",
)


def read(name: str | Path) -> str:
    return (REPO_ROOT / name).read_text(encoding="utf-8")


def read_targets() -> set[str]:
    """Return the documented targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))


def iter_own_files() -> Iterator[Path]:
    """Yield the text files of the project, whatever else lies in the checkout."""
    yield from (
        path
        for path in REPO_ROOT.iterdir()
        # In a worktree `.git` is a file with a path.
        if path.is_file() and path.name != ".git" and not path.name.startswith(".cov")
    )
    yield REPO_ROOT / "data" / "README.md"
    for folder in FOLDERS:
        for path in (REPO_ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts:
                yield path


def read_code(page: str) -> list[str]:
    """Return the blocks and spans of code of a page."""
    text = read(page)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    return [*blocks, *spans]


def load_command(name: str) -> click.Command:
    module = importlib.import_module(f"smallcaps_assets.cli.commands.{name}_command")
    command: click.Command = module.command
    return command


def iter_tests() -> Iterator[Path]:
    yield from (path for path in TESTS.rglob("test_*.py") if path != Path(__file__))


# -- limits and links ------------------------------------------------------------------


@pytest.mark.parametrize(("page", "most"), [("README.md", 120), ("ARCHITECTURE.md", 200)])
def test_pages_are_no_longer_than_they_promise(page: str, most: int) -> None:
    assert len(read(page).splitlines()) <= most


def test_lines_of_pages_are_readable_side_by_side() -> None:
    """Rows of tables cannot be parted, and links are as long as they are."""
    pages = [*REPO_ROOT.glob("*.md"), *(REPO_ROOT / "docs").rglob("*.md"), *DATA.glob("*.md")]
    long = [
        f"{page.relative_to(REPO_ROOT)}:{number}"
        for page in pages
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > LINE_LIMIT and not line.lstrip().startswith("|") and " " in line.strip()
    ]

    assert long == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", read(page))

    broken = [
        link
        for link in links
        if not link.startswith(("https://", "#")) and not resolves(page, link)
    ]

    assert broken == []


def resolves(page: str, link: str) -> bool:
    """Say whether a link of a page leads to a file, and its fragment to a heading of it."""
    name, _, fragment = link.partition("#")
    target = (REPO_ROOT / page).parent / name
    if not fragment:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", read(target), re.MULTILINE)
    return fragment in map(make_anchor, headings)


def test_decisions_are_numbered_without_gaps_and_have_their_parts() -> None:
    pages = sorted((REPO_ROOT / "docs" / "decisions").glob("[0-9]*.md"))

    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        assert "Last edited 20" in text, page.name


def test_the_index_of_decisions_lists_each_by_its_title() -> None:
    pages = sorted((REPO_ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").splitlines()[0].split(". ", 1)[1] for page in pages]

    rows = re.findall(
        r"^\| \d+ \| \[(.+)\]\((.+)\) \|$", read("docs/decisions/README.md"), re.MULTILINE
    )

    assert rows == [(title, page.name) for title, page in zip(titles, pages, strict=True)]


def test_every_dependency_is_among_the_libraries_that_were_chosen() -> None:
    text = read("docs/decisions/0012-libraries.md")
    dependencies = tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]

    names = [re.split(r"[<>=~! \[]", dependency)[0] for dependency in dependencies]

    assert [name for name in names if name not in text] == []


def test_no_path_of_a_machine_is_in_any_file() -> None:
    """A path below a home or a working folder tells of a machine and works on no other."""
    machine = re.compile(r"(?<![\w.~])/(work|root|home|Users|tmp)/\w")

    found = [
        f"{path.relative_to(REPO_ROOT)}: {match.group()}"
        for path in iter_own_files()
        if (match := machine.search(path.read_text(encoding="utf-8", errors="replace")))
    ]

    assert found == []


# -- commands, settings, names ---------------------------------------------------------


def test_every_make_target_is_in_the_readme_and_every_target_there_exists() -> None:
    targets = read_targets()
    named = {
        name
        for page in PAGES
        for name in re.findall(r"\bmake ([a-z-]+)", " ".join(read_code(page)))
    }
    listed = set(re.findall(r"`([a-z-]+)`", read("README.md"))) | named

    assert targets - {"help"} <= listed
    assert named - targets == {"help"} - targets


def test_every_target_has_its_equivalent_without_make() -> None:
    table = dict(
        re.findall(r"^\| `make ([a-z-]+)` \| (.*) \|$", read("docs/operations.md"), re.MULTILINE)
    )
    makefile = read("Makefile").replace("$(BIN)", ".venv/bin").replace("$(VENV)", ".venv")
    recipes = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", makefile, re.MULTILINE))

    strange = [
        command
        for target, text in table.items()
        for command in re.findall(r"`(\.venv/bin/\S+(?: -m)? [\w./]+)[^`]*`", text)
        if target != "setup" and command not in recipes[target]
    ]

    assert table.keys() == read_targets() - {"help"}
    assert strange == []


@pytest.mark.parametrize("script", [".ci/run", ".github/workflows/ci.yml"])
def test_the_gates_call_targets_that_exist(script: str) -> None:
    calls = re.findall(r"^(?: *- run: )?make (.+)$", read(script), re.MULTILINE)
    called = {word for call in calls for word in call.split() if not word.startswith("-")}

    assert {"check", "demo", "faults-short", "bench-short"} <= called <= read_targets()
    assert called & {"test", "coverage"}


def test_the_workflow_has_no_rights_and_pins_its_actions() -> None:
    workflow = read(".github/workflows/ci.yml")
    actions = re.findall(r"uses: (\S+)", workflow)

    assert "\npermissions: {}\n" in workflow
    assert [action for action in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


@pytest.mark.parametrize("page", sorted({*PAGES} - {"CHANGELOG.md"}))
def test_commands_in_documents_exist_with_their_options(page: str) -> None:
    for code in read_code(page):
        for line in code.replace("\\\n", " ").splitlines():
            for name, rest in re.findall(r"(?<![\w/])(?:\S*/)?smallcaps ([a-z]+)([^#|&;]*)", line):
                assert name in COMMANDS, line
                known = {option for item in load_command(name).params for option in item.opts}
                assert set(re.findall(r"--[a-z-]+", rest)) <= known, line


def test_every_command_is_in_the_table_of_operations() -> None:
    table = read("docs/operations.md")

    assert [name for name in COMMANDS if f"| `smallcaps {name}` |" not in table] == []


def test_commands_named_by_messages_exist() -> None:
    named = {name for path in SOURCES for name in re.findall(r"`smallcaps ([a-z]+)", read(path))}

    assert named - set(COMMANDS) == set()


def test_settings_named_by_documents_and_messages_exist() -> None:
    known = {f"SMALLCAPS_{name.upper()}" for name in Settings.model_fields}
    known |= {*NOT_SETTINGS, *REMOVED}
    texts = [read(page) for page in PAGES] + [read(path) for path in SOURCES]

    named = {name for text in texts for name in re.findall(r"\bSMALLCAPS_[A-Z_]+[A-Z]\b", text)}

    assert named <= known


@pytest.mark.parametrize("page", ["docs/glossary.md", "docs/operations.md"])
def test_every_state_is_explained(page: str) -> None:
    assert set(STATES) <= set(re.findall(r"^\| `(\w+)` \|", read(page), re.MULTILINE))


def test_the_glossary_knows_which_states_are_green() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \|", read("docs/glossary.md"), re.MULTILINE)

    assert {state: word == "yes" for state, word in rows} == {
        state: state in GREEN for state in STATES
    }


def test_operations_explain_every_kind_of_failure() -> None:
    text = read("docs/operations.md")
    kinds = {error.kind for error in find_errors()} - {errors.SmallcapsError.kind}

    assert {kind for kind in kinds if f"`{kind}`" not in text} == set()


def test_windows_of_the_research_choices_are_the_defaults() -> None:
    cells = re.findall(r"\b(E\d+_\w+) \| (\d+)", read("docs/research-choices.md"))

    documented = {name: int(side) for name, side in cells}

    assert documented == {name: window.before for name, window in DEFAULT_WINDOWS.items()}
    assert all(window.before == window.after for window in DEFAULT_WINDOWS.values())


def test_the_event_config_of_the_research_choices_is_read() -> None:
    (block,) = re.findall(
        r"^```toml\n(.*?)^```", read("docs/research-choices.md"), re.MULTILINE | re.DOTALL
    )
    config = tomllib.loads(block)

    windows = parse_windows(config["windows"])

    assert (windows["E2_GapUp"].after, windows["E8_GapDownViolent"].before) == (5, 1)
    assert parse_thresholds(config["thresholds"]).coverage == 0.99


def iter_recipe_lines() -> Iterator[tuple[list[Path], list[str]]]:
    """Yield the modules that each line of a recipe names, and the other names in it."""
    recipes = read("CONTRIBUTING.md").partition("## Recipes")[2].partition("## Commits")[0]
    for line in re.findall(r"^\d\. .*(?:\n   .*)*", recipes, re.MULTILINE):
        spans = re.findall(r"`([^`]+)`", line)
        files = [name for name in spans if name.endswith(".py") and name == name.lower()]
        roots = [REPO_ROOT / "smallcaps_assets", TESTS]
        yield (
            [next((r / name for r in roots if (r / name).exists()), Path(name)) for name in files],
            [name for name in spans if re.fullmatch(r"_?[A-Z]?[A-Za-z]+_[A-Za-z_]*|[A-Z]+", name)],
        )


def test_recipes_name_what_there_is() -> None:
    lines = list(iter_recipe_lines())

    files = [path for paths, _ in lines for path in paths]
    lost = [
        name
        for paths, names in lines
        for name in names
        if paths and not any(name in path.read_text(encoding="utf-8") for path in paths)
    ]

    assert [path for path in files if not path.is_absolute()] == []
    assert lost == []
    assert len(files) > 20


# -- tests about tests -----------------------------------------------------------------


def find_errors() -> list[type[errors.SmallcapsError]]:
    members = inspect.getmembers(errors, inspect.isclass)
    return [member for _, member in members if issubclass(member, errors.SmallcapsError)]


def find_expected_names(path: Path) -> set[str]:
    """Return the names in a module of tests that expects something to be raised."""
    text = path.read_text(encoding="utf-8")
    if "pytest.raises" not in text:
        return set()
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def test_every_error_is_raised_in_some_test() -> None:
    abstract = {"SmallcapsError", "VendorError", "LakeError"}
    expected = set().union(*(find_expected_names(path) for path in iter_tests()))

    names = {error.__name__ for error in find_errors()}

    assert names - abstract - expected == set()


def test_every_lesson_is_named_by_a_test() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in iter_tests())

    assert [lesson for lesson in LESSONS if not re.search(rf"\b{lesson}\b", text)] == []


def test_every_lesson_of_reliability_has_a_promise_and_a_test_that_names_it() -> None:
    page = (REPO_ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    promises = set(re.findall(r"^\| (P\d+) \|", page, re.MULTILINE))
    row = r"^\| (L\d+) \| [^|]+ \| ([^|]+) \| `([^`]+)` \|$"
    lessons = re.findall(row, page, re.MULTILINE)

    tests = REPO_ROOT / "smallcaps_assets_tests"
    unnamed = [
        lesson
        for lesson, _, name in lessons
        if not re.search(rf"\b{lesson}\b", (tests / name).read_text(encoding="utf-8"))
    ]

    assert len(lessons) > 10
    assert unnamed == []
    assert {word for _, proven, _ in lessons for word in proven.split(", ")} <= promises
