import datetime as dt
import math
from typing import Literal

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.documents import (
    Document,
    Instant,
    Part,
    decode_document,
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


@settings(max_examples=50, deadline=None)
@given(st.lists(members), st.dictionaries(st.text(), members))
def test_encode_document_is_read_back_whole(
    found: list[Member], by_name: dict[str, Member]
) -> None:
    document = Example(at=NOON, members=found, by_name=by_name)

    assert decode_document(encode_document(document), Example) == document


@settings(max_examples=50, deadline=None)
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


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 2, "at": "2024-06-03T12:00:00Z"}'])
def test_decode_document_refuses_what_is_another(text: str) -> None:
    with pytest.raises(DataError, match="expected a Example as JSON"):
        decode_document(text, Example)


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
