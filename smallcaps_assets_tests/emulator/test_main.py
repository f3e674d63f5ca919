import os
import signal
import subprocess
import sys
import threading
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


def test_it_prints_its_address_serves_and_stops_on_a_signal() -> None:
    with run_emulator("--fault", "429:times=1", "--latency-ms", "5") as (process, url):
        headers = {"Authorization": "Bearer any"}
        statuses = [
            requests.get(f"{url}/v3/trades/CON", headers=headers, timeout=10).status_code
            for _ in range(2)
        ]
        process.send_signal(signal.SIGINT)

        assert statuses == [429, 200]
        assert process.wait(10) == 0


@pytest.mark.parametrize("life_s", [0, 0.7])
def test_main_returns_when_its_parent_is_gone(
    life_s: float, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({life_s})"]) as parent:
        if not life_s:
            parent.wait()

        assert main(["serve", *QUICK, "--parent-pid", str(parent.pid)]) == 0

    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    assert signal.getsignal(signal.SIGTERM) is handler


def test_main_stops_on_a_signal() -> None:
    timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()

    assert main(["serve", *QUICK]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "teapot"], "unknown fault"),
        (["--replay", "nowhere"], "no flat files"),
        (["--from", "yesterday"], "invalid"),
        (["--from", "1999-01-04"], "calendar"),
        (["--from", "2024-01-04", "--to", "2024-01-03"], "first <= last"),
        (["--seed", "-1"], "0 or more"),
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
