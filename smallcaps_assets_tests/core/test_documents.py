import datetime as dt
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smallcaps_assets
from smallcaps_assets.core.documents import (
    Document,
    Instant,
    Part,
    decode_json,
    describe_document,
    encode_document,
    read_attributes,
)
from smallcaps_assets.errors import DataError


class Member(Part, frozen=True, kw_only=True):
    """A member of the example.

    Attributes:
        ratio: A number
            between 0 and 1.
        word: Said or not.
    """

    ratio: float
    word: str | None = None


class Example(Document, frozen=True, kw_only=True):
    """An example.

    Attributes:
        schema_version: Its version.
        at: When.
        members: Some.
        by_name: The same by name.

    Words that are no attribute: of no member.
    """

    schema_version: Literal[1] = 1
    at: Instant
    members: list[Member] = msgspec.field(default_factory=list)
    by_name: dict[str, Member] = msgspec.field(default_factory=dict)


NOON = dt.datetime(2024, 6, 3, 12, tzinfo=dt.UTC)
members = st.builds(
    Member, ratio=st.floats(allow_nan=False, allow_infinity=False), word=st.none() | st.text()
)


@settings(max_examples=50)
@given(st.lists(members), st.dictionaries(st.text(), members))
def test_encode_document_is_read_back_whole(
    found: list[Member], by_name: dict[str, Member]
) -> None:
    document = Example(at=NOON, members=found, by_name=by_name)

    assert decode_json(encode_document(document), Example) == document


@settings(max_examples=50)
@given(st.lists(members))
def test_encode_document_satisfies_its_schema(found: list[Member]) -> None:
    text = encode_document(Example(at=NOON, members=found))

    validate(msgspec.json.decode(text))


def test_encode_document_of_defaults_has_every_member() -> None:
    plain = msgspec.json.decode(encode_document(Example(at=NOON)))

    assert list(plain) == ["schema_version", "at", "members", "by_name"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_encode_document_refuses_what_is_no_number(number: float) -> None:
    with pytest.raises(DataError, match=r"\$\.members\[0\]\.ratio"):
        encode_document(Example(at=NOON, members=[Member(ratio=number)]))


@pytest.mark.parametrize(
    "change",
    [{"at": 7}, {"members": [{"ratio": None, "word": ""}]}, {"schema_version": 2}],
)
def test_describe_document_refuses_what_the_type_does(change: dict[str, object]) -> None:
    plain = msgspec.json.decode(encode_document(Example(at=NOON)))

    with pytest.raises(jsonschema.ValidationError):
        validate(plain | change)


def test_describe_document_says_what_the_docstrings_say() -> None:
    schema = describe_document(Example, "example")

    member = schema["$defs"]["Member"]
    assert (schema["title"], member["description"]) == (
        "smallcaps example --json",
        "A member of the example.",
    )
    assert member["properties"]["ratio"]["description"] == "A number between 0 and 1."
    assert member["required"] == ["ratio", "word"]


def test_read_attributes_ends_with_its_section() -> None:
    assert list(read_attributes(Example)) == ["schema_version", "at", "members", "by_name"]


def validate(plain: object) -> None:
    schema = describe_document(Example, "example")
    jsonschema.Draft202012Validator(schema).validate(plain)


RACE: Final = """
import sys, threading
import msgspec
from smallcaps_assets.core.documents import convert_fields, decode_json

sys.setswitchinterval(1e-6)
for number in range(150):
    parts = [msgspec.defstruct(f"Part{number}_{n}", [("a", "int | None")]) for n in range(6)]
    whole = msgspec.defstruct(f"Whole{number}", [(f"f{n}", part) for n, part in enumerate(parts)])
    fields = {f"f{n}": {"a": 1} for n in range(6)}
    text = msgspec.json.encode(fields)
    begin = threading.Barrier(8)

    def read():
        begin.wait()
        assert decode_json(text, whole) == convert_fields(fields, whole)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
"""Threads that meet types for the first time all at once."""


def test_threads_that_meet_a_type_for_the_first_time_live_on() -> None:
    """L54: a plan ended by SIGSEGV: msgspec reads types that it has not finished."""
    ended = subprocess.run([sys.executable, "-c", RACE], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_types_are_read_through_one_door() -> None:
    """A decoder that is built elsewhere may be built by two threads at once."""
    package = Path(smallcaps_assets.__file__).parent
    built = re.compile(r"msgspec\.(json\.decode\(|convert\()|^ .*json\.Decoder\(", re.MULTILINE)
    readers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "emulator" not in path.parts and built.search(path.read_text())
    }

    assert readers == {"core/documents.py"}
