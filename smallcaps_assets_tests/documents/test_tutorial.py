"""The tutorial as it stands: the market that it names, every line, every promised figure."""

from collections.abc import Iterator

import pytest

from smallcaps_assets_tests.documents.blocks import Block, read_blocks
from smallcaps_assets_tests.documents.reader import Reader, open_folder
from smallcaps_assets_tests.documents.rules import RULES

pytestmark = pytest.mark.slow

PAGE = "docs/tutorial.md"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with open_folder(tmp_path_factory.mktemp("tutorial")) as folder:
        yield Reader(folder, RULES, {"SMALLCAPS_REQUESTS_PER_MINUTE": "0"})


@pytest.mark.parametrize("block", read_blocks(PAGE), ids=lambda block: block.place)
def test_line_by_line(reader: Reader, block: Block) -> None:
    reader.do(block)
