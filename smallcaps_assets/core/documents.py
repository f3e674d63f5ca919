"""JSON that programs may rely on: documents with a version, their text and their schema.

What belongs here: how a typed struct becomes JSON, the JSON Schema that describes it, and what a
decoder may raise: one list for every reader.  What does not: what the documents of the commands say
(``ingest``), and their pages (``cli``).
"""

import datetime as dt
import inspect
import re
import threading
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec

from smallcaps_assets.errors import DataError

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Instant = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""An aware instant, ``date-time`` in the schema."""

_ENTRY: Final = re.compile(r"^(\w+): ", re.MULTILINE)

DECODER_FAULTS: Final = (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)
"""Values out of range, texts that are no UTF-8 and all that msgspec says are a ``ValueError``; JSON
nested a thousand deep is a ``RecursionError``, one that is too large a ``MemoryError``."""


_DECODERS: Final[dict[object, msgspec.json.Decoder[Any]]] = {}
_BUILDING: Final = threading.Lock()

Kind = TypeVar("Kind")


def make_decoder(kind: type[Kind]) -> msgspec.json.Decoder[Kind]:
    """Build the decoder of a type once, one thread at a time.

    msgspec notes on a struct what it finds out about it before it is complete.  Another thread that
    meets the struct meanwhile follows a null pointer, and the process is gone (0.22.0).
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        with _BUILDING:
            decoder = _DECODERS.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder


def decode_json(text: str | bytes, kind: type[Kind]) -> Kind:
    """Read a value of a type from JSON; what it may raise are ``DECODER_FAULTS``."""
    return make_decoder(kind).decode(text)


def convert_fields(fields: object, kind: type[Kind]) -> Kind:
    """Make a value of a type from plain ones; what it may raise are ``DECODER_FAULTS``."""
    make_decoder(kind)
    return msgspec.convert(fields, kind)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What a command prints with ``--json``.

    A document declares ``schema_version: Literal[N] = N`` first.  Within one version members are
    added only, so that a program reads on what it knows; any other change raises the number.
    Members are described in the docstring, under ``Attributes:``.
    """


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a document that has members itself."""


def encode_document(document: Document) -> str:
    """Encode a document as indented JSON that was read back as strictly as anyone could.

    Raises:
        DataError: It is not what its type says.  A number that is not finite has no JSON and
            would be ``null``: where a member may be unknown its type says so.
    """
    text = msgspec.json.encode(document)
    try:
        decode_json(text, type(document))
    except DECODER_FAULTS as error:
        raise DataError(f"{type(document).__name__} is not what its type says: {error}") from error
    return msgspec.json.format(text, indent=1).decode()


def describe_document(kind: type[Document], name: str) -> dict[str, Any]:
    """Make the JSON Schema of what the command ``name`` prints, in the words of docstrings."""
    (reference,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    types = {part.__name__: part for part in _gather_structs(kind)}
    for title, part in parts.items():
        _describe_members(part, types[title])
    return {"$schema": DIALECT, "title": f"smallcaps {name} --json", **reference, "$defs": parts}


def read_attributes(kind: type) -> dict[str, str]:
    """Read what the section ``Attributes:`` of a docstring says of each name."""
    _, _, section = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")
    body = inspect.cleandoc(f"\n{section.partition(chr(10) * 2)[0]}")
    pieces = _ENTRY.split(body)[1:]
    return {
        name: " ".join(text.split()) for name, text in zip(pieces[::2], pieces[1::2], strict=True)
    }


def name_fault(error: BaseException) -> str:
    """Say why content could not be decoded, in one line of words."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    return " ".join(str(error).split()) or type(error).__name__


def _describe_members(schema: dict[str, Any], kind: type) -> None:
    """Put the docstring's words into the schema of one struct."""
    schema["description"] = inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
    # Defaults serve the program that writes; what is printed always has every member.
    members: Mapping[str, dict[str, Any]] = schema["properties"]
    schema["required"] = list(members)
    words = read_attributes(kind)
    for name, member in members.items():
        member.pop("default", None)
        if name in words:
            member["description"] = words[name]


def _gather_structs(kind: type[msgspec.Struct]) -> set[type]:
    """Gather a struct and every struct that it holds."""
    found: set[type] = set()
    queue: list[Any] = [msgspec.inspect.type_info(kind)]
    while queue:
        info = queue.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls not in found:
                found.add(info.cls)
                queue += [member.type for member in info.fields]
        elif isinstance(info, msgspec.inspect.Type):
            queue += [getattr(info, slot) for slot in _SLOTS if hasattr(info, slot)]
        elif isinstance(info, tuple):
            queue += info
    return found


_SLOTS: Final = ("types", "item_type", "item_types", "key_type", "value_type")
"""Where msgspec keeps the types inside of a type."""
