"""Pages made from the code: data dictionary, settings, ``.env.example``, JSON of commands.

What belongs here: the text of pages that only repeat what ``schemas`` and ``settings`` declare, and
the list of all pages, those of ``json_contracts`` among them.
What does not: pages that explain; people write those.  ``make docs`` runs this module, and a test
fails when a page is stale.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from smallcaps_assets.cli.pages.json_contracts import CONTRACTS, PAGE, render_page
from smallcaps_assets.core import exchange_hours
from smallcaps_assets.lake.reading.catalog import PHASE_VIEWS
from smallcaps_assets.schemas import INSTANT, SCHEMA_VERSION, TABLES, Column, Table
from smallcaps_assets.schemas_research import RESEARCH_TABLES
from smallcaps_assets.settings import Settings

SECTIONS: Final = {
    "data_dir": "Where ticks come from and go to",
    "daily_bars": "Files instead of the vendor, windows, and the range of sessions",
    "plan_mode": "What is planned, and how much the disk may take",
    "requests_per_minute": "Requests and patience",
    "retries_per_day": "Automation: quotas, freshness, alerts (docs/operations.md#automation)",
    "commit_interval_s": "Writing",
}
"""Titles in ``.env.example``, by the first setting below each."""

INSTANTS: Final = (
    "An instant is nanoseconds in UTC. In the DuckDB catalog each instant is given twice: cut to "
    "microseconds under its own name, and whole as `NAME_ns`, an integer of nanoseconds since 1970."
)
PRECEDENCE: Final = (
    "Each is an environment variable, or a line of `.env` in the working folder; the environment "
    "wins. A name behind `SMALLCAPS_` that is not listed here is refused: it is a typing error."
)
YEARS: Final = (
    "And one for each year with trades, which opens no file of another: `trades_2024`, for example."
)
WIDTH: Final = 118
"""Characters of a line of Markdown."""

BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""Words for the bounds of a setting, by pydantic's names of them."""


def render_dictionary() -> str:
    """Render the data dictionary as Markdown."""
    tables = {**TABLES, **RESEARCH_TABLES}
    listed = [f"- [`{name}`](#{name}): {table.grain}" for name, table in tables.items()]
    views = ", ".join(f"`{view}` (`{phase}`)" for view, phase in PHASE_VIEWS.items())
    parts = [
        "# Data dictionary",
        "Made from `schemas.py` and `schemas_research.py` by `make docs`; do not edit it.",
        f"Version of the tables: {SCHEMA_VERSION}. Prices and volumes are unadjusted.",
        INSTANTS,
        "\n".join(listed),
        f"The catalog also has one view of `trades` per trading phase: {views}. {YEARS}",
        *(render_table(table) for table in tables.values()),
    ]
    return _wrap("\n\n".join(parts))


def render_table(table: Table) -> str:
    """Render the section of one table."""
    key = ", ".join(f"`{name}`" for name in table.key) or "none; rows may be equal"
    rows = [render_column(name, column) for name, column in table.columns.items()]
    return "\n".join(
        [
            f"## {table.name}",
            "",
            f"One row: {table.grain}. Key: {key}.",
            "",
            "| column | type | null | what it holds |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def render_column(name: str, column: Column) -> str:
    """Render the line of one column."""
    dtype = "instant" if column.dtype == INSTANT else str(column.dtype)
    nullable = "yes" if column.nullable else "no"
    return f"| `{name}` | {dtype} | {nullable} | {column.description} |"


def render_env_example() -> str:
    """Render ``.env.example``: every setting with its description, its bounds and its default."""
    head = [
        "# Every setting with its default, made by `make docs`; do not edit it.",
        "# Copy it to .env, remove the `#` of what you change; the environment wins over .env.",
        "# A name behind SMALLCAPS_ that is not listed here is refused: it is a typing error.",
    ]
    return "\n".join([*head, *_render_settings(Settings.model_fields)]) + "\n"


def render_settings() -> str:
    """Render the page of settings, for whoever has the wheel and no ``.env.example``."""
    head = [
        "# Settings",
        "",
        "Made from `smallcaps_assets/settings.py` by `make docs`; do not edit it.",
        "",
        PRECEDENCE,
    ]
    return _wrap("\n".join([*head, *_tabulate_settings(Settings.model_fields)]))


def _wrap(page: str) -> str:
    """Wrap a page so that no line is longer than others are; rows of tables cannot be parted."""
    lines = [
        line
        if line.startswith(("|", "#")) or not line
        else textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)
        for line in page.splitlines()
    ]
    return "\n".join([*lines, ""])


def _tabulate_settings(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        if name in SECTIONS:
            yield from ("", f"## {SECTIONS[name].partition(' (')[0]}", "")
            yield from ("| setting | default | what it is |", "|---|---|---|")
        names = " or ".join(f"`{other}`" for other in setting_names(name, field))
        default = format_default(field.default)
        bounds = "; ".join(_describe_bounds(field))
        text = f"{field.description}" + (f" ({bounds})" if bounds else "")
        yield f"| {names} | {default and f'`{default}`'} | {text.replace('|', chr(92) + '|')} |"


def _render_settings(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        if name in SECTIONS:
            yield from ("", f"# -- {SECTIONS[name]} --")
        first, *others = setting_names(name, field)
        notes = "; ".join([*_describe_bounds(field), *(f"also {other}" for other in others)])
        yield from ("", f"# {field.description}" + (f" ({notes})" if notes else ""))
        yield f"#{first}={format_default(field.default)}"


def setting_names(name: str, field: FieldInfo) -> list[str]:
    """List the environment variables a setting is read from."""
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [f"{Settings.model_config['env_prefix']}{name.upper()}"]


def format_default(default: object) -> str:
    """Format a default as a line of ``.env`` holds it; empty where there is none."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, StrEnum):
        return default.value
    return f"{default:.15g}" if isinstance(default, float) else str(default)


def _describe_bounds(field: FieldInfo) -> Iterator[str]:
    for constraint in field.metadata:
        for attribute, words in BOUNDS.items():
            if hasattr(constraint, attribute):
                yield f"{words} {getattr(constraint, attribute):,}"


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    Path("docs/data-dictionary.md"): render_dictionary,
    Path("docs/settings.md"): render_settings,
    Path(".env.example"): render_env_example,
    Path("smallcaps_assets/core/xnys.json"): exchange_hours.render_table,
    PAGE: render_page,
    **{contract.schema_file: contract.render_schema for contract in CONTRACTS},
}
"""How each page is made, by its path below the repository."""


def find_stale(root: Path) -> list[Path]:
    """Find the pages below ``root`` that are missing or not what the code says."""
    return [
        page
        for page, render in PAGES.items()
        if not (root / page).is_file() or (root / page).read_text(encoding="utf-8") != render()
    ]


def write_pages(root: Path) -> list[Path]:
    """Write the stale pages below ``root`` and return them."""
    stale = find_stale(root)
    for page in stale:
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        (root / page).write_text(PAGES[page](), encoding="utf-8", newline="\n")
    return stale


if __name__ == "__main__":
    written = write_pages(Path.cwd())
    print(f"wrote {', '.join(map(str, written)) or 'nothing: every page is up to date'}")
