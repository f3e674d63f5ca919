"""The container file, read: there is no engine where the tests run."""

import fnmatch
import ipaddress
import json
import re
from typing import Final

import pytest

from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT

TEXT: Final = (REPO_ROOT / "Containerfile").read_text(encoding="utf-8")
STEPS: Final = [
    (match[1], " ".join(match[2].replace("\\\n", " ").split()))
    for match in re.finditer(r"^([A-Z]+) ((?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
]
COPIED: Final = [name for word, rest in STEPS if word == "COPY" for name in rest.split()[:-1]]
IGNORED: Final = (REPO_ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()


def find_step(word: str) -> str:
    (rest,) = [rest for name, rest in STEPS if name == word]
    return rest


@pytest.mark.parametrize("name", COPIED)
def test_what_it_copies_is_there_and_reaches_the_builder(name: str) -> None:
    assert (REPO_ROOT / name).exists()
    assert f"!{name}" in IGNORED


def test_everything_else_stays_outside() -> None:
    patterns = [line for line in IGNORED if line and not line.startswith(("#", "!"))]

    assert patterns[0] == "*"
    assert sorted(line[1:] for line in IGNORED if line.startswith("!")) == sorted(COPIED)
    assert not any(fnmatch.fnmatch(secret, name) for secret in (".env", "data") for name in COPIED)


def test_it_runs_as_a_user_without_rights_on_a_volume() -> None:
    words = [word for word, _ in STEPS]

    assert find_step("VOLUME") == "/data"
    assert find_step("ENV") == "SMALLCAPS_DATA_DIR=/data"
    assert find_step("USER") == "smallcaps"
    assert words.index("USER") > max(place for place, word in enumerate(words) if word == "RUN")


def test_its_python_is_one_that_is_supported() -> None:
    version = re.fullmatch(r"python:(3\.\d+)-slim", find_step("FROM"))

    assert version is not None
    assert f':: {version[1]}"' in (REPO_ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_it_listens_outside_on_purpose_and_says_so() -> None:
    command = json.loads(find_step("CMD"))
    sources = (REPO_ROOT / "smallcaps_assets").rglob("*.py")

    assert command[:-1] == ["smallcaps", "ui", "--host"]
    assert ipaddress.ip_address(command[-1]).is_unspecified
    assert "publish to 127.0.0.1 alone" in TEXT
    assert [path.name for path in sources if command[-1] in path.read_text(encoding="utf-8")] == []


def test_its_health_is_that_of_the_ui() -> None:
    check = json.loads(find_step("HEALTHCHECK").split("CMD ")[1])

    compile(check[2], "healthcheck", "exec")
    assert f"127.0.0.1:{find_step('EXPOSE')}/server_info" in check[2]
