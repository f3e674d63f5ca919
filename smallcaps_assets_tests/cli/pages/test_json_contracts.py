"""What `--json` prints: each document as its schema says, and every exit code that is promised."""

import json
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
import pytest

from smallcaps_assets.cli.endings import ErrorDocument
from smallcaps_assets.cli.pages.json_contracts import CONTRACTS, Contract, render_page
from smallcaps_assets.core.documents import Document, decode_json, describe_document
from smallcaps_assets.ingest.archive.document import ImportDocument
from smallcaps_assets_tests.cli.cli_factories import REFUSED, User

each_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda item: item.command)
PLANNED: Final = [contract for contract in CONTRACTS if contract.document is not ImportDocument]
"""An archive needs no plan to be judged."""


def type_command(contract: Contract, user: User) -> list[str]:
    """Return a command as it is typed, a folder in place of an argument."""
    archive = user.folder / "archive"
    archive.mkdir()
    words = contract.command.split()
    return [str(archive) if word.isupper() else word for word in words] + ["--json"]


def refuse_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


@each_contract
def test_a_command_prints_what_its_schema_says(contract: Contract, filled: User) -> None:
    finished = filled.run(*type_command(contract, filled))

    plain = json.loads(finished.out, parse_constant=refuse_constant)
    schema = json.loads(contract.render_schema())
    jsonschema.Draft202012Validator(schema).validate(plain)
    assert finished.code in contract.exit_codes
    assert isinstance(decode_json(finished.out, contract.document), contract.document)


@pytest.mark.parametrize("contract", PLANNED, ids=lambda item: item.command)
def test_a_command_without_a_plan_prints_no_document(contract: Contract, user: User) -> None:
    finished = user.run(*type_command(contract, user))

    assert (finished.code, finished.out) == (1, "")
    error = decode_json(finished.err, ErrorDocument)
    assert (error.kind, error.exit_code) == ("missing", 1)
    assert "smallcaps plan" in error.message or "materialize daily_bars" in error.message


@each_contract
def test_a_wrong_option_prints_no_document(contract: Contract, user: User) -> None:
    finished = user.run(*type_command(contract, user), "--no-such-option")

    assert (finished.code, finished.out) == (REFUSED, "")
    error = decode_json(finished.err, ErrorDocument)
    assert (error.kind, error.exit_code) == ("usage", REFUSED)
    assert "--no-such-option" in error.message


@each_contract
def test_every_member_of_a_document_is_explained(contract: Contract) -> None:
    parts: Mapping[str, Any] = describe_document(contract.document, contract.command)["$defs"]

    silent = [
        f"{title}.{name}"
        for title, part in parts.items()
        for name, member in part["properties"].items()
        if not member.get("description")
    ]
    assert silent == []


@each_contract
def test_a_document_begins_with_its_version(contract: Contract) -> None:
    assert next(iter(contract.document.__struct_fields__)) == "schema_version"


def test_every_document_is_the_contract_of_a_command() -> None:
    known = [kind for kind in Document.__subclasses__() if "_tests" not in kind.__module__]

    assert {contract.document for contract in CONTRACTS} == set(known) - {ErrorDocument}


def test_the_page_lists_every_exit_code() -> None:
    page = render_page()

    assert all(
        f"- {code}: {text}" in page for item in CONTRACTS for code, text in item.exit_codes.items()
    )
