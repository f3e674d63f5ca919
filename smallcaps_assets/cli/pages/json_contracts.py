"""The contracts of ``--json``: which document each command prints, and what its exit codes mean.

What belongs here: the list, the schemas in ``docs/schemas`` and the page ``docs/json.md``.  What
does not: what the documents say (``ingest``).  A command that prints a new document is added to
:data:`CONTRACTS`; its page, its schema and a test of what it prints follow from that.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from smallcaps_assets.cli.endings import ErrorDocument
from smallcaps_assets.core.documents import Document, describe_document
from smallcaps_assets.ingest.archive.document import ImportDocument
from smallcaps_assets.ingest.plan.document import PlanChangeDocument
from smallcaps_assets.ingest.universe.document import UniverseChangeDocument
from smallcaps_assets.operations.audit.document import AuditDocument
from smallcaps_assets.operations.report.document import ReportDocument
from smallcaps_assets.operations.status.document import StatusDocument
from smallcaps_assets.research.document import ResearchDocument

SCHEMAS: Final = Path("docs/schemas")
PAGE: Final = Path("docs/json.md")

INTRODUCTION: Final = """\
# JSON for scripts

Made from the code by `make docs`; do not edit it.

With `--json` these commands print one document on standard output and nothing else; what goes
wrong is on standard error. Each document has a `schema_version`. Within a version members may be
added, and nothing else changes: read what you know, and ignore the rest. Every member listed is
always there. A number is never NaN or infinite: what is not known is `null`. Instants are in UTC,
as in RFC 3339. The schemas ([JSON Schema](https://json-schema.org), 2020-12) lie in
[schemas/](schemas/).

Every command ends with exit code 2 on a wrong option, a wrong setting, a file that is refused, or a
lake that belongs to another source or is in use, with 130 when Ctrl-C ended it, and with 1 on any
other error. Then standard output has no document, and standard error has [one](#errors)."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What a command promises to scripts.

    Attributes:
        command: The command with what it needs, without ``--json``; capitals are an argument.
        document: What it prints.
        exit_codes: What each code means once a document was printed.
    """

    command: str
    document: type[Document]
    exit_codes: Mapping[int, str]

    @property
    def schema_file(self) -> Path:
        """The path of the schema, below the repository."""
        words = self.command.replace(" --diff", "").replace(" --", "-").split()
        return SCHEMAS / f"{words[0]}.json"

    def render_schema(self) -> str:
        """Render the schema as the text of its file."""
        return json.dumps(describe_document(self.document, self.command), indent=1) + "\n"


CONTRACTS: Final = (
    Contract(
        "status",
        StatusDocument,
        {
            0: "the status could be told, whatever it is",
            1: "with `--check` alone: `download.is_well` is false, a person should look",
        },
    ),
    Contract(
        "audit",
        AuditDocument,
        {0: "every check passed", 1: "a check failed, or was never made: `failed` names it"},
    ),
    Contract(
        "report",
        ReportDocument,
        {0: "the figures were gathered, whatever the verdict: read `verdict`"},
    ),
    Contract(
        "research",
        ResearchDocument,
        {0: "what was made last could be told: read `win_rates`"},
    ),
    Contract(
        "plan --diff",
        PlanChangeDocument,
        {0: "the new plan would be published", 1: "it would be refused: `problems` says why"},
    ),
    Contract(
        "plan --universe --diff",
        UniverseChangeDocument,
        {
            0: "the new plan would be published",
            1: "it waits for `--yes`, or owes nothing: `summary` says why",
        },
    ),
    Contract(
        "import ARCHIVE",
        ImportDocument,
        {
            0: "the lake has every session of the archive",
            1: "it lacks some: those whose `action` is `kept_apart`, `left` or `unchanged`",
        },
    ),
)


def render_page() -> str:
    """Render the page that lists every document, its members and its exit codes."""
    contracts = (_render_contract(item) for item in CONTRACTS)
    return "\n\n".join([INTRODUCTION, *contracts, _render_errors()]) + "\n"


def _render_errors() -> str:
    schema = describe_document(ErrorDocument, "COMMAND")
    (members,) = (_render_members(title, part) for title, part in schema["$defs"].items())
    return "\n\n".join(
        [
            "## Errors",
            "On standard error, of every command with `--json`. Lines of a log may come before it.",
            "\n".join(members),
        ]
    )


def _render_contract(contract: Contract) -> str:
    schema = describe_document(contract.document, contract.command)
    file = contract.schema_file.relative_to(PAGE.parent)
    top = schema["$ref"].rpartition("/")[2]
    parts: Mapping[str, dict[str, Any]] = schema["$defs"]
    ordered = [top, *(title for title in parts if title != top)]
    codes = "\n".join(f"- {code}: {text}" for code, text in contract.exit_codes.items())
    return "\n\n".join(
        [
            f"## smallcaps {contract.command} --json",
            f"Schema: [{file}]({file}). Exit codes:",
            codes,
            *("\n".join(_render_members(title, parts[title])) for title in ordered),
        ]
    )


def _render_members(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"**{title}**: {schema['description']}"
    yield ""
    yield "| member | type | what it says |"
    yield "|---|---|---|"
    for name, member in schema["properties"].items():
        yield f"| `{name}` | {_describe_type(member)} | {member.get('description', '')} |"


def _describe_type(member: Mapping[str, Any]) -> str:
    """Describe the type of a member in words."""
    if "anyOf" in member:
        return " or ".join(dict.fromkeys(_describe_type(choice) for choice in member["anyOf"]))
    if "enum" in member:
        return " or ".join(f"`{json.dumps(choice)}`" for choice in member["enum"])
    if "$ref" in member:
        return str(member["$ref"]).rpartition("/")[2]
    if member.get("type") == "array":
        return f"list of {_describe_type(member['items'])}"
    if "additionalProperties" in member:
        return f"object of {_describe_type(member['additionalProperties'])}"
    return {"date-time": "instant", "date": "date"}.get(
        member.get("format", ""), str(member.get("type", "anything"))
    )
