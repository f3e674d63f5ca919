import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from smallcaps_assets.emulator.__main__ import build_parser, main
from smallcaps_assets_tests.emulator.emulator_factories import REPO_ROOT

COMMAND = [sys.executable, "-m", "smallcaps_assets.emulator", "serve"]
QUICK = ["--tickers", "3", "--from", "2023-03-01", "--to", "2023-03-31", "--busy-trades", "0"]


@contextmanager
def run_emulator(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = {**os.environ, "PYTHONPATH": str(REPO_ROOT)}
    process = subprocess.Popen(
        [*COMMAND, *QUICK, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_serves_and_stops_on_a_signal(number: signal.Signals) -> None:
    with run_emulator("--fault", "429:times=1", "--latency-ms", "5") as (process, url):
        headers = {"Authorization": "Bearer any"}
        statuses = [
            requests.get(f"{url}/v3/trades/CON", headers=headers, timeout=10).status_code
            for _ in range(2)
        ]
        process.send_signal(number)

        assert statuses == [429, 200]
        assert process.wait(10) == 0


def test_it_stops_when_its_parent_is_gone() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent,
        run_emulator("--parent-pid", str(parent.pid)) as (process, url),
    ):
        assert url.startswith("http://127.0.0.1:")
        assert process.poll() is None
        parent.communicate(b"\n")

        assert process.wait(10) == 0


def test_it_does_not_outlive_a_parent_that_is_gone_already() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        parent.wait()
    started = time.monotonic()

    with run_emulator("--parent-pid", str(parent.pid)) as (process, _):
        assert process.wait(10) == 0

    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "teapot"], "unknown fault"),
        (["--replay", "nowhere"], "no flat files"),
        (["--from", "yesterday"], "invalid"),
        (["--from", "1999-01-04"], "calendar"),
        (["--seed", "2", "--replay", "."], "not allowed"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    placed = [str(tmp_path) if word == "nowhere" else word for word in arguments]

    with pytest.raises(SystemExit) as stopped:
        main(["serve", *placed])

    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_help_names_every_kind_of_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["serve", "--help"])

    assert "gzip_bomb" in capsys.readouterr().out
