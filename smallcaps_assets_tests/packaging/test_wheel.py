"""The wheel: all of the product in it, nothing else, and it works where there is no checkout."""

import email
import re
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from smallcaps_assets_tests.documents.reader import Reader, open_folder
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT
from smallcaps_assets_tests.packaging.wheels import TRIED, build_wheel, install_beside, try_out

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((REPO_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = REPO_ROOT / "smallcaps_assets"
SHARED = f"smallcaps_assets-{PROJECT['version']}.data/data/share/doc/smallcaps-assets/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Return someone who installed the wheel and has tried it."""
    with open_folder(tmp_path_factory.mktemp("installed"), linked=()) as folder:
        install_beside(wheel, folder / ".venv")
        yield try_out(folder, TRIED)


def test_every_file_of_the_package_is_in_it(names: set[str]) -> None:
    files = {
        path.relative_to(REPO_ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in names if name.startswith("smallcaps_assets/")} == files
    data = {"cli/dagster.yaml", "operations/report/page.html", "py.typed"}
    assert {f"smallcaps_assets/{name}" for name in data} <= files


def test_the_pages_are_in_it_and_nothing_else(names: set[str]) -> None:
    pages = {
        f"{SHARED}{path.relative_to(REPO_ROOT / 'docs').as_posix()}"
        for path in (REPO_ROOT / "docs").rglob("*")
        if path.suffix in {".md", ".json"}
    }
    rest = {name for name in names if not name.startswith("smallcaps_assets/")}

    assert {name for name in rest if ".dist-info/" not in name} == pages
    assert any(name.endswith("/licenses/LICENSE") for name in rest)


def test_its_metadata_are_those_of_the_project(metadata: Message) -> None:
    assert metadata["Name"] == "smallcaps-assets"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == "Apache-2.0"
    extra = [
        f'{name}; extra == "research"' for name in PROJECT["optional-dependencies"]["research"]
    ]
    assert metadata.get_all("Requires-Dist") == [*PROJECT["dependencies"], *extra]
    # There is no home page to name; an invented one would belong to somebody else.
    assert metadata["Home-page"] is metadata.get_all("Project-URL") is None


def test_classifiers_name_every_python_that_is_tested(metadata: Message) -> None:
    named = re.findall(r":: (3\.\d+)$", "\n".join(metadata.get_all("Classifier", [])), re.MULTILINE)
    workflow = (REPO_ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tested = set(re.findall(r'"(3\.\d+)"', workflow))

    assert f">={named[0]}" == PROJECT["requires-python"]
    assert tested <= set(named)


def test_it_works_where_there_is_no_checkout(installed: Reader) -> None:
    version, page, _, validated = installed.said

    assert version.split()[-1] == PROJECT["version"]
    assert page.startswith("## Full disk\n")
    assert "successful" in validated.lower()
    assert not (installed.folder / "smallcaps_assets").exists()


def test_it_is_the_wheel_that_was_tried(installed: Reader) -> None:
    place = installed.type("python -c 'import smallcaps_assets as s; print(s.__file__)'")

    assert Path(place.strip()).is_relative_to(installed.folder / ".venv")
