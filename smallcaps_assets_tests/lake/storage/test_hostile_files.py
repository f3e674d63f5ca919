"""A document of the lake that no decoder takes is damage, whatever class the decoder raises."""

from collections.abc import Callable
from pathlib import Path

import pytest

from smallcaps_assets.errors import SmallcapsError
from smallcaps_assets.lake.home.identity import read_identity
from smallcaps_assets.lake.home.register import read_register
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.sessions.receipts import parse_receipt
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.plan_record import parse_plan_text
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse

NESTED = b'{"a":' * 2_000 + b"1" + b"}" * 2_000
NEARLY = b'{"receipt_version":1,"a":' + b"[" * 980 + b"]" * 980 + b"}"
HOSTILE = {"nested": NESTED, "nearly": NEARLY, "cut": b'{"a', "binary": b"\x80\xff", "empty": b""}


PARSERS: dict[str, Callable[[bytes], object]] = {
    "receipt": lambda content: parse_receipt(content, where="r"),
    "plan": lambda content: parse_plan_text(content, where="p"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
def test_a_text_that_cannot_be_decoded_is_an_error_of_ours(
    parse: Callable[[bytes], object], content: bytes
) -> None:
    """L29: JSON nested a thousand deep is no ``ValueError``, and ended whatever read it."""
    with pytest.raises(SmallcapsError):
        parse(content)


@pytest.mark.parametrize("content", [NESTED, b"\x80"], ids=["nested", "binary"])
def test_files_beside_the_sessions_are_damaged_likewise(tmp_path: Path, content: bytes) -> None:
    """L29: what names the lake, its roots, and its windows."""
    layout, fs = LakeLayout(tmp_path), FileSystem()
    layout.lake_dir.mkdir(parents=True)
    for path in (layout.identity_file, layout.roots_file, tmp_path / "windows.toml"):
        path.write_bytes(content.replace(b'{"a":', b"[").replace(b"}", b"]"))
    lakehouse = make_lakehouse(tmp_path, "http://x", event_config=tmp_path / "windows.toml")

    for read in (
        lambda: read_identity(layout, fs),
        lambda: read_register(layout, fs),
        lambda: lakehouse.event_config,
    ):
        with pytest.raises(SmallcapsError):
            read()
