"""The tutorial as it stands: the market that it names, every line, every promised figure."""

from collections.abc import Iterator

import pytest

from smallcaps_assets_tests.documents.blocks import read_blocks
from smallcaps_assets_tests.documents.reader import Reader, open_folder
from smallcaps_assets_tests.documents.rules import RULES

pytestmark = pytest.mark.slow

PAGE = "docs/tutorial.md"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with open_folder(tmp_path_factory.mktemp("tutorial")) as folder:
        yield Reader(folder, RULES, {"SMALLCAPS_REQUESTS_PER_MINUTE": "0"})


def test_every_line_in_order(reader: Reader) -> None:
    reader.read(read_blocks(PAGE))

    assert "smallcaps audit --deep" in reader.ran
    assert {"con", "lake", "profile"} <= reader.session.keys()
