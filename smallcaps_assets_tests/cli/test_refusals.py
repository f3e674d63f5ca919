"""Refusals across commands, provoked, of what no other module of tests provokes.

A refusal that is found is added to :data:`REFUSALS`: what is done beforehand, what is typed, and
the exit code and words that come.
"""

import shutil
from collections.abc import Callable
from typing import Final

import pytest

from smallcaps_assets_tests.cli.cli_factories import User, check_refusal
from smallcaps_assets_tests.lakehouse_factories import write_text

Preparation = Callable[[User], object]


def do_nothing(_: User) -> None:
    """Leave the lake as it is."""


def overwrite(name: str, content: bytes) -> Preparation:
    """Return what puts other content into a file of the data folder."""
    return lambda user: (user.data_dir / name).write_bytes(content)


def garble(name: str) -> Preparation:
    """Return what damages a database in its middle."""

    def prepare(user: User) -> None:
        path = user.data_dir / name
        content = bytearray(path.read_bytes())
        content[100:9_000] = b"\xee" * 8_900
        path.write_bytes(content)

    return prepare


def remove(name: str) -> Preparation:
    """Return what removes a folder of the data folder."""
    return lambda user: shutil.rmtree(user.data_dir / name)


def hand_in(name: str, text: str) -> Preparation:
    """Return what writes a file beside the data folder."""
    return lambda user: write_text(user.folder / name, text)


LEDGER, CONFIG = "lake/ledger.sqlite", "dagster/dagster.yaml"

REFUSALS: Final[list[tuple[Preparation, str, int, str]]] = [
    (garble(LEDGER), "export --layout date out", 1, "smallcaps reindex"),
    (overwrite(LEDGER, b"nothing of the kind"), "report", 1, "smallcaps reindex"),
    (overwrite(CONFIG, b"telemetry: ["), "reconcile", 2, "line 1: "),
    (overwrite(CONFIG, b"telemtry: {enabled: false}"), "download", 2, "telemtry"),
    (overwrite(CONFIG, b"run_queue: {max_concurrent_runs: many}"), "catalog", 2, "many"),
    (overwrite(CONFIG, b"event_log_storage: {module: no, class: No, config: {}}"), "plan", 2, "no"),
    (overwrite(CONFIG, b"run_queue: {max_concurrent_runs: {env: NO}}"), "reconcile", 2, "env"),
    (overwrite(CONFIG, b"\xff\xfe"), "audit --deep", 2, "utf-8"),
    (overwrite("lake/lake.json", b"{"), "status", 1, "lake.json is damaged"),
    (overwrite("lake/lake.json", b"{"), "download", 1, "restore it"),
    (overwrite("lake_roots.json", b"[]"), "status", 1, "lake_roots.json"),
    (overwrite("plan/plan.parquet", b"PAR1"), "download", 1, "is damaged"),
    (overwrite("plan/plan.json", b"{}"), "report", 1, "smallcaps plan"),
    (remove("lake"), "status", 1, "put the folder back"),
    (remove("plan"), "download", 1, "smallcaps plan"),
    (do_nothing, "export --layout date data/lake", 2, "data/lake"),
    (do_nothing, "relocate data", 2, "data"),
    (hand_in("b.csv", 'ticker,date\n"ABCD,2024-01-03\n'), "plan --watchlist b.csv", 2, "b.csv"),
    (hand_in("b.csv", "ticker,date\nABCD,0001-01-01\n"), "plan --watchlist b.csv", 2, "0001-01-01"),
]


@pytest.mark.parametrize(
    ("prepare", "line", "code", "words"),
    REFUSALS,
    ids=[f"{n}-{line}" for n, (_, line, *_) in enumerate(REFUSALS)],
)
def test_a_refusal_speaks_to_a_person(
    filled: User, prepare: Preparation, line: str, code: int, words: str
) -> None:
    """L53: "1 blocking asset check failed" and its kind are no explanation."""
    prepare(filled)

    check_refusal(filled.run(*line.split()), code, words)
