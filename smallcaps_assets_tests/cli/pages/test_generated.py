from pathlib import Path

import pytest

from smallcaps_assets.cli.pages.generated import (
    PAGES,
    find_stale,
    format_default,
    render_dictionary,
    render_env_example,
    render_settings,
    setting_names,
    write_pages,
)
from smallcaps_assets.schemas import TABLES, Table
from smallcaps_assets.settings import Settings, Source

REPO_ROOT = Path(__file__).parents[3]


def read_env(text: str) -> dict[str, str]:
    """Return the settings of ``.env.example`` that have a default, by field name."""
    lines = [line[1:] for line in text.splitlines() if line.startswith("#SMALLCAPS_")]
    pairs = dict(line.split("=", 1) for line in lines)
    return {
        name.removeprefix("SMALLCAPS_").lower(): value for name, value in pairs.items() if value
    }


def test_pages_of_the_repository_are_what_the_code_says() -> None:
    assert find_stale(REPO_ROOT) == [], "run `make docs` and commit what it writes"


def test_write_pages_writes_what_is_stale_and_nothing_else(tmp_path: Path) -> None:
    first = write_pages(tmp_path)
    (tmp_path / ".env.example").write_text("old\n")

    second = write_pages(tmp_path)

    assert (first, second) == (list(PAGES), [Path(".env.example")])
    assert write_pages(tmp_path) == []


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_column_of_every_table_is_in_the_dictionary(table: Table) -> None:
    text = render_dictionary()

    section = text.split(f"\n## {table.name}\n")[1].split("\n## ")[0]

    rows = [line.split("|")[1].strip(" `") for line in section.splitlines() if line[:3] == "| `"]
    assert rows == list(table.columns)


def test_every_setting_is_in_the_env_example_once() -> None:
    names = [line[1:].split("=")[0] for line in render_env_example().splitlines() if "=" in line]

    expected = [setting_names(name, field)[0] for name, field in Settings.model_fields.items()]
    assert names == expected


def test_every_setting_is_on_its_page_once() -> None:
    rows = [line.split(" | ") for line in render_settings().splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in row[0].removeprefix("| ").split(" or ")]

    assert len(rows) == len(Settings.model_fields)
    assert len(set(names)) == len(names)
    assert "`POLYGON_API_KEY`" in names
    assert ["| `SMALLCAPS_WORKERS`", "`8`"] in [row[:2] for row in rows]


def test_the_defaults_of_the_env_example_are_those_of_the_settings() -> None:
    texts = read_env(render_env_example())

    settings = Settings.model_validate(texts)

    fields = Settings.model_fields.items()
    defaults = {name: field.default for name, field in fields if field.default is not None}
    assert {name: getattr(settings, name) for name in texts} == defaults


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (None, ""),
        (11.0, "11"),
        (1.6, "1.6"),
        (50_000, "50000"),
        (False, "false"),
        (Source.VENDOR, "vendor"),
    ],
)
def test_format_default_writes_what_the_settings_read(default: object, text: str) -> None:
    assert format_default(default) == text
