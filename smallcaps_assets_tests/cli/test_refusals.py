"""Refusals across commands, provoked: each speaks to a person, and of no class of a library.

A refusal that is found is added to :data:`REFUSALS`: what is done beforehand, and what is typed.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets_tests.cli.cli_factories import CLOSED_PORT, User
from smallcaps_assets_tests.lakehouse_factories import write_text

CLASSES: Final = re.compile(
    r"Traceback|\bdagster[._](?!yaml\b)|\b(polars|sqlite3|sqlalchemy|pyarrow|duckdb)[._]"
    r"|\b(Dagster|Polars|SQLAlchemy|Sqlite)\w*(Error|Exception)\b|<class |object at 0x"
    r"|\b(Check|Column\w*|Compute|Database|Integrity|InvalidOperation|NoData|Operational|PostProcessing"
    r"|Programming|Schema|Shape|UnicodeDecode)Error\b|\bPanicException\b"
)
"""What only a programmer reads: names of classes and modules of the libraries below us."""

Preparation = Callable[[User], None]


def do_nothing(_: User) -> None:
    """Leave the lake as it is."""


def overwrite(name: str, content: bytes) -> Preparation:
    """Return what puts other content into a file of the data folder."""

    def prepare(user: User) -> None:
        (user.data_dir / name).write_bytes(content)

    return prepare


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

    def prepare(user: User) -> None:
        write_text(user.folder / name, text)

    return prepare


LEDGER, CONFIG = "lake/ledger.sqlite", "dagster/dagster.yaml"
BARS: Final = "ticker,date,open,high,low,close,volume\n"

REFUSALS: Final[list[tuple[Preparation, str, dict[str, str]]]] = [
    (garble(LEDGER), "status", {}),
    (garble(LEDGER), "status --json", {}),
    (garble(LEDGER), "download", {}),
    (garble(LEDGER), "audit", {}),
    (garble(LEDGER), "export --layout date out", {}),
    (overwrite(LEDGER, b"nothing of the kind"), "report", {}),
    (garble("dagster/history/runs.db"), "download", {}),
    (overwrite(CONFIG, b"telemetry: ["), "reconcile", {}),
    (overwrite(CONFIG, b"telemtry: {enabled: false}"), "download", {}),
    (overwrite(CONFIG, b"run_queue: {max_concurrent_runs: many}"), "catalog", {}),
    (overwrite(CONFIG, b"event_log_storage: {module: no, class: No, config: {}}"), "plan", {}),
    (overwrite(CONFIG, b"run_queue: {max_concurrent_runs: {env: NO}}"), "reconcile", {}),
    (overwrite(CONFIG, b"\xff\xfe"), "audit --deep", {}),
    (overwrite("lake/lake.json", b"{"), "status", {}),
    (overwrite("lake/lake.json", b"{"), "download", {}),
    (overwrite("lake_roots.json", b"[]"), "status", {}),
    (overwrite("plan/plan.parquet", b"PAR1"), "download", {}),
    (overwrite("plan/plan.json", b"{}"), "report", {}),
    (remove("lake"), "status", {}),
    (remove("plan"), "download", {}),
    (do_nothing, "download --tickers NOPE", {}),
    (do_nothing, "download --from january", {}),
    (do_nothing, "download --tickers ../x", {}),
    (do_nothing, "compact --month 2024-13", {}),
    (do_nothing, "export --layout date data/lake", {}),
    (do_nothing, "relocate data", {}),
    (do_nothing, "import nowhere", {}),
    (do_nothing, "docs nowhere", {}),
    (do_nothing, "plan --batch 9/2", {}),
    (do_nothing, "report", {"SMALLCAPS_EMULATOR_SEED": "2"}),
    (do_nothing, "status", {"SMALLCAPS_DATA_DIR": "/lakes/a?b"}),
    (do_nothing, "status", {"SMALLCAPS_FIRST_SESSION": "soon"}),
    (do_nothing, "status", {"SMALLCAPS_WATCHLIST": "~nobody-of-that-name/a.csv"}),
    (do_nothing, "plan", {"SMALLCAPS_DAILY_BARS": "nowhere.csv"}),
    (
        hand_in("bars.csv", f"{BARS}ABCD,2024-01-03,x,9,8,8.5,100\n"),
        "plan",
        {"SMALLCAPS_DAILY_BARS": "bars.csv"},
    ),
    (
        hand_in("bad.csv", "ticker,date,events\nABCD,0001-01-01,E1\n"),
        "plan --watchlist bad.csv",
        {},
    ),
    (hand_in("bad.csv", 'ticker,date\n"ABCD,2024-01-03\n'), "plan --watchlist bad.csv", {}),
    (hand_in("bad.parquet", "PAR1"), "plan --watchlist bad.parquet", {}),
    (hand_in("e.toml", "[windows\n"), "plan", {"SMALLCAPS_EVENT_CONFIG": "e.toml"}),
    (do_nothing, "plan", {"SMALLCAPS_BASE_URL": CLOSED_PORT}),
]


@pytest.mark.parametrize(
    ("prepare", "line", "settings"),
    REFUSALS,
    ids=[f"{n}-{line}" for n, (_, line, _) in enumerate(REFUSALS)],
)
def test_a_refusal_names_no_class(
    filled: User, tmp_path: Path, prepare: Preparation, line: str, settings: dict[str, str]
) -> None:
    """L53: "1 blocking asset check failed" and its kind are no explanation."""
    prepare(filled)

    finished = filled.run(*line.split(), XDG_STATE_HOME=tmp_path, **settings)

    assert finished.code in {1, 2}, finished.text
    assert finished.err.strip() or finished.out.strip()
    text = f"{finished.out}\n{finished.err}"
    assert [match.group() for match in CLASSES.finditer(text)] == [], text
