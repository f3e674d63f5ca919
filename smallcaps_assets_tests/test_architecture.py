"""The shape of the product: layers that hold, and the names that users rely on as literals."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from smallcaps_assets.definitions import build_definitions
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import Settings, Source

REPO_ROOT: Final = Path(__file__).parents[1]
LINT_IMPORTS: Final = "import sys; from importlinter.cli import lint_imports_command as c; c()"

FOLDER_LIMIT: Final = 12
ONE_KIND: Final = {"smallcaps_assets/cli/commands"}
"""Folders whose modules are all of one kind, so that more of them confuse nobody."""

CONTRACTS: Final = {
    "A layer imports only from the layers below it": [
        ("lake/paths/layout.py", "smallcaps_assets.ingest.derived"),
        ("polygon/http/config.py", "smallcaps_assets.lake.paths.layout"),
    ],
    "The core knows no clock, disk, network, log or Dagster": [
        ("core/keys.py", "time"),
        ("core/keys.py", "pathlib"),
    ],
    "Only cli, definitions and defs know Dagster": [("lake/paths/layout.py", "dagster")],
    "The product never imports the emulator": [
        ("ingest/derived.py", "smallcaps_assets.emulator.tape"),
    ],
    "The emulator stands on schemas and core alone": [
        ("emulator/answers/faults.py", "smallcaps_assets.settings"),
    ],
    "Wings of the core lean one way": [
        ("core/ticks/tape.py", "smallcaps_assets.core.plan.bounds"),
        ("core/ticks/tape.py", "smallcaps_assets.core.segments.merging"),
    ],
    "Wings of the lake lean one way": [
        ("lake/paths/layout.py", "smallcaps_assets.lake.ledger.reader"),
        ("lake/storage/protocol.py", "smallcaps_assets.lake.segments.names"),
    ],
    "Wings of the ingest lean one way": [
        ("ingest/derived.py", "smallcaps_assets.ingest.plan.choosing"),
    ],
    "Wings of the operations lean one way": [
        ("operations/repair/moving.py", "smallcaps_assets.operations.status.look"),
    ],
    "Upkeep and the download know no vendor": [
        ("ingest/ticks/download.py", "smallcaps_assets.polygon.client"),
        ("operations/repair/moving.py", "smallcaps_assets.polygon.client"),
    ],
    "Nothing below the use cases draws": [("lake/paths/layout.py", "matplotlib")],
    "Research reads the lake through its reader": [
        ("research/ground.py", "smallcaps_assets.lake.segment_store"),
        ("research/ground.py", "smallcaps_assets.ingest.derived"),
    ],
    "No feature knows an outcome": [
        (
            "core/research/events/features.py",
            "smallcaps_assets.core.research.events.outcomes",
        ),
    ],
}
"""Contracts, and imports that break each of them."""


def lint_imports(folder: Path) -> tuple[dict[str, bool], str]:
    """Return the contracts of the package in ``folder``, whether each is kept, and all words."""
    answer = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.strip() for line in answer.stdout.splitlines()]
    verdicts = [line.rpartition(" ") for line in lines if line.endswith((" KEPT", " BROKEN"))]
    assert verdicts, answer.stdout + answer.stderr
    return {name: word == "KEPT" for name, _, word in verdicts}, answer.stdout


def copy_package(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO_ROOT / "smallcaps_assets", folder / "smallcaps_assets", ignore=ignored)
    shutil.copy(REPO_ROOT / "setup.cfg", folder)
    return folder / "smallcaps_assets"


def test_import_contracts_hold() -> None:
    assert lint_imports(REPO_ROOT)[0] == dict.fromkeys(CONTRACTS, True)


def test_a_contract_broken_on_purpose_is_seen(tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    planted = [pair for pairs in CONTRACTS.values() for pair in pairs]
    for module, name in planted:
        with (package / module).open("a") as file:
            file.write(f"\nimport {name}\n")

    kept, words = lint_imports(tmp_path)

    said = " ".join(words.split())
    assert kept == dict.fromkeys(CONTRACTS, False)
    for module, name in planted:
        importer = f"smallcaps_assets.{module.removesuffix('.py').replace('/', '.')}"
        assert f"{importer} -> {name}" in said


def test_a_module_outside_the_layers_is_seen(tmp_path: Path) -> None:
    (copy_package(tmp_path) / "helpers.py").touch()

    kept, _ = lint_imports(tmp_path)

    assert [name for name, is_kept in kept.items() if not is_kept] == [next(iter(CONTRACTS))]


def test_no_folder_holds_more_than_twelve_modules() -> None:
    folders = Counter(
        str(module.parent.relative_to(REPO_ROOT))
        for module in (REPO_ROOT / "smallcaps_assets").rglob("*.py")
        if module.name != "__init__.py"
    )

    crowded = {name for name, count in folders.items() if count > FOLDER_LIMIT}

    assert crowded <= ONE_KIND
    commands = (REPO_ROOT / "smallcaps_assets/cli/commands").glob("*.py")
    assert all(path.stem.endswith(("_command", "__init__")) for path in commands)


def test_modules_that_a_docstring_points_to_exist() -> None:
    """What does not belong somewhere belongs elsewhere, and "elsewhere" moves."""
    package = REPO_ROOT / "smallcaps_assets"
    lost = [
        (str(module.relative_to(package)), name)
        for module in package.rglob("*.py")
        for bracket in re.findall(
            r"\(([^()]*``[^()]*)\)", ast.get_docstring(ast.parse(module.read_text())) or ""
        )
        for name in re.findall(r"``([^`]+)``", bracket)
        if not any(
            folder.joinpath(*name.split(".")).with_suffix(".py").is_file()
            or folder.joinpath(*name.split("."), "__init__.py").is_file()
            for folder in (package, module.parent)
        )
    ]

    assert lost == []


def test_docstrings_begin_with_what_is_special() -> None:
    """What a function hands back its type says already."""
    package = REPO_ROOT / "smallcaps_assets"
    plain = [
        f"{module.relative_to(package)}:{node.lineno}"
        for module in package.rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (ast.get_docstring(node) or "").startswith(("Return", "Get"))
    ]

    assert plain == []


def test_only_cli_and_definitions_read_settings_and_the_environment() -> None:
    package = REPO_ROOT / "smallcaps_assets"
    words = re.compile(r"\bload_settings\(|\bSettings\(|\bos\.(environ|getenv)\b")

    readers = {
        module.relative_to(package).parts[0]
        for module in package.rglob("*.py")
        if words.search(module.read_text())
    }

    assert readers == {"settings.py", "definitions.py", "cli"}


def test_nothing_forks_a_process_that_runs_threads_of_polars() -> None:
    """L20: a pool of forked processes dead-locked on Linux; here threads do the work."""
    forks = re.compile(r"\b(multiprocessing|ProcessPoolExecutor|os\.fork)\b")

    sources = (REPO_ROOT / "smallcaps_assets").rglob("*.py")

    assert [path.name for path in sources if forks.search(path.read_text())] == []


def test_readers_agree_on_what_a_decoder_may_raise() -> None:
    """L29: one list of classes; a reader with a list of its own forgets one of them."""
    lists = re.compile(r"except.*\b(msgspec|tomllib|UnicodeDecodeError|RecursionError)\b")

    sources = [
        p for p in (REPO_ROOT / "smallcaps_assets").rglob("*.py") if "emulator" not in str(p)
    ]

    # Both read text of a person and say where it stops being UTF-8.
    readers = {path.name for path in sources if lists.search(path.read_text())}
    assert readers == {"input_files.py", "settings.py"}


PATTERN_READERS: Final = re.compile(r"^(read|scan)_(avro|csv|delta|excel|ipc|ndjson|parquet)\w*$")
"""Functions that may take a path for a pattern; DuckDB's are called in one place, which escapes."""


def find_pattern_readers(source: str) -> list[str]:
    """Return the calls that would take a path for a pattern, and globs that nobody spelt out."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    named = [(call, call.func) for call in calls if isinstance(call.func, ast.Attribute)]
    found = [
        ast.unparse(call)
        for call, name in named
        if PATTERN_READERS.match(name.attr)
        and "metadata" not in name.attr
        and isinstance(name.value, ast.Name | ast.Attribute)
        and not any(word.arg == "glob" and "False" in ast.unparse(word) for word in call.keywords)
    ]
    globs = [call for call, name in named if name.attr in {"glob", "rglob", "iglob"}]
    return found + [
        ast.unparse(call)
        for call in globs
        if not isinstance(call.args[0], ast.Constant | ast.JoinedStr)
    ]


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("pl.read_csv(path)", True),
        ("pl.scan_parquet(paths, glob=True)", True),
        ("polars.read_parquet(paths, hive_partitioning=False)", True),
        ("connection.read_parquet(paths)", True),
        ("folder.glob(name)", True),
        ("pl.read_csv(path, glob=False)", False),
        ("folder.glob('*.csv')", False),
    ],
)
def test_a_reader_by_a_pattern_is_seen(line: str, is_found: bool) -> None:  # noqa: FBT001  a verdict
    assert bool(find_pattern_readers(line)) is is_found


def test_no_reader_finds_files_by_a_pattern() -> None:
    """L37: a folder called `a[1]` read another lake."""
    package = REPO_ROOT / "smallcaps_assets"
    found = {
        str(module.relative_to(package)): calls
        for module in package.rglob("*.py")
        if (calls := find_pattern_readers(module.read_text(encoding="utf-8")))
    }

    # DuckDB knows no other way: the paths that it is given are escaped there.
    assert found == {
        "lake/reading/scans.py": [
            "connection.read_parquet(list(paths), hive_partitioning=False, filename=is_named)"
        ]
    }


LOOKS: Final = re.compile(
    r"^(l?stat|l?exists|is_file|is_dir|is_symlink|r?glob|iterdir|readlink|samefile|read_bytes"
    r"|read_text|open|scandir|listdir|walk|access)$"
)
"""Calls that look at a disk."""
OWN_EYES: Final = {
    "interchange/archive_files.py": "an archive is a person's folder; no link is followed",
    "interchange/archives.py": "an archive is a person's folder, walked once with times and sizes",
    "interchange/input_files.py": "a watchlist or table is a person's file, wherever it lies",
    "ledger/database.py": "SQLite opens its file by path",
    "ledger/reader.py": "SQLite opens its file by path",
}
"""Modules of the lake that look at a disk themselves, and why."""


def find_looks(source: str) -> list[str]:
    """Return the calls that look at a disk, but for those of a ``FileSystem`` or a ``Storage``."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    methods = [name for name in calls if isinstance(name, ast.Attribute) and LOOKS.match(name.attr)]
    plain = [name for name in calls if isinstance(name, ast.Name) and LOOKS.match(name.id)]
    seam = re.compile(r"\b_?(fs|file_system|storage)\.\w+$")
    return [text for name in (*methods, *plain) if not seam.search(text := ast.unparse(name))]


def test_the_lake_looks_at_a_disk_through_one_seam() -> None:
    lake = REPO_ROOT / "smallcaps_assets/lake"
    found = {
        str(module.relative_to(lake)): find_looks(module.read_text(encoding="utf-8"))
        for module in lake.rglob("*.py")
        if module.parent.name != "storage"
    }

    assert {name for name, looks in found.items() if looks} == set(OWN_EYES)
    assert find_looks("path.stat(); open(path); fs.is_file(path); self._fs.exists(path)") == [
        "path.stat",
        "open",
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have names on Linux")
def test_importing_wakes_no_thread_of_polars() -> None:
    """L20: who forks after an import, as a fork server does, has children that work."""
    listing = "print(*(open(f'/proc/self/task/{t}/comm').read() for t in os.listdir(TASKS)))"
    program = (
        f"import os, smallcaps_assets.ingest.ticks.backfill; TASKS = '/proc/self/task'; {listing}"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO_ROOT, capture_output=True, text=True, check=True
    )

    assert not re.search(r"polars-\d|tokio", said.stdout)


@pytest.fixture
def repository(tmp_path: Path) -> dg.RepositoryDefinition:
    settings = Settings(source=Source.EMULATOR, data_dir=tmp_path)
    return build_definitions(Lakehouse(settings)).get_repository_def()


def test_asset_keys_and_groups_are_these(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph

    groups: dict[str | None, set[str]] = {}
    for key in graph.materializable_asset_keys:
        groups.setdefault(graph.get(key).group_name, set()).add(key.to_user_string())

    assert groups == {
        "reference": {"daily_bars", "splits", "universe"},
        "events": {"watchlist", "pilot_watchlist"},
        "plan": {"event_window_plan", "download_estimate", "download_queue"},
        "universe": {"universe_plan", "universe_queue", "universe_trades"},
        "ticks": {"trades"},
        "serve": {"lake_catalog"},
        "audit": {"download_report"},
        "research": {
            "minute_bars",
            "information_bars",
            "bar_features",
            "intraday_events",
            "event_features",
            "event_outcomes",
            "labels",
        },
    }


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_every_asset_is_in_the_picture(repository: dg.RepositoryDefinition, page: str) -> None:
    text = (REPO_ROOT / page).read_text(encoding="utf-8")

    keys = [key.to_user_string() for key in repository.asset_graph.materializable_asset_keys]

    assert [key for key in keys if not re.search(rf"\b{key}\b", text)] == []


def test_every_check_is_explained(repository: dg.RepositoryDefinition) -> None:
    text = (REPO_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

    checks = [key.name for key in repository.asset_graph.asset_check_keys]

    assert [name for name in checks if f"| `{name}` |" not in text] == []


def test_checks_are_these(repository: dg.RepositoryDefinition) -> None:
    checks: dict[str, set[str]] = {}
    for key in repository.asset_graph.asset_check_keys:
        checks.setdefault(key.asset_key.to_user_string(), set()).add(key.name)

    assert checks == {
        "daily_bars": {
            "daily_bars_are_fresh",
            "daily_bars_are_whole",
            "daily_bars_have_no_unrecorded_splits",
            "daily_bars_cover_listing_lives",
        },
        "splits": {"splits_do_not_contradict"},
        "universe": {"universe_holds_delisted_listings"},
        "watchlist": {"watchlist_is_publishable"},
        "pilot_watchlist": {"pilot_is_publishable"},
        "event_window_plan": {
            "plan_is_publishable",
            "plan_is_fresh",
            "planned_tickers_are_known",
        },
        "download_estimate": {"download_fits_the_disk"},
        "universe_plan": {
            "universe_plan_is_publishable",
            "universe_symbols_are_known",
            "universe_plan_holds_the_delisted",
            "universe_fits_the_disk",
        },
        "trades": {
            "planned_sessions_are_covered",
            "event_windows_are_covered",
            "size_is_as_planned",
            "sessions_reach_their_bar",
            "bars_prove_sessions",
            "proofs_are_kept",
            "answers_agree",
            "files_are_undamaged",
            "tape_is_in_order",
            "timestamps_lie_in_their_day",
            "prices_lie_within_the_bar",
            "volume_matches_the_bar",
            "no_orphans",
        },
        "minute_bars": {"minute_bars_sum_to_their_prints", "minute_bars_are_fresh"},
        "information_bars": {
            "information_bars_tile_their_sessions",
            "imbalance_bars_are_not_degenerate",
            "information_bars_are_fresh",
        },
        "bar_features": {"bar_features_do_not_look_ahead", "bar_features_are_fresh"},
        "intraday_events": {"events_are_known"},
        "event_features": {"features_know_no_future"},
        "event_outcomes": {"outcomes_are_whole"},
        "labels": {"labels_are_sound", "few_labels_are_cut"},
    }


def test_jobs_and_sensors_are_these(repository: dg.RepositoryDefinition) -> None:
    jobs = {job for job in repository.job_names if not job.startswith("__")}

    assert jobs == {
        "refresh_reference",
        "refresh_splits",
        "refresh_universe",
        "plan_pilot",
        "plan_new_sessions",
        "plan_sessions",
        "plan_universe",
        "download_missing",
        "download_units",
        "download_universe",
        "recheck_sessions",
        "audit_lake",
        "refresh_catalog",
        "make_bars",
        "study_events",
        "refresh_report",
        "repair_lake",
        "reconcile_partitions",
        "reindex_ledger",
        "import_archive",
        "relocate_lake",
        "tidy_lake",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "end_runs_of_dead_processes",
        "watch_freshness",
        "download_after_plan",
        "retry_failed_sessions",
        "plan_after_new_session",
        "report_changes",
        "alert_on_failure",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "add_yesterdays_session",
        "study_every_week",
    }


def test_nothing_is_made_of_outcomes_and_no_feature_of_labels(
    repository: dg.RepositoryDefinition,
) -> None:
    graph = repository.asset_graph

    assert graph.get(dg.AssetKey("event_outcomes")).child_keys == set()
    above = graph.get_ancestor_asset_keys(dg.AssetKey("event_features"))
    assert above.isdisjoint({dg.AssetKey("labels"), dg.AssetKey("event_outcomes")})


def test_trades_has_the_planned_keys_as_its_partition_set(
    repository: dg.RepositoryDefinition,
) -> None:
    trades = repository.asset_graph.get(dg.AssetKey("trades"))

    assert isinstance(trades.partitions_def, dg.DynamicPartitionsDefinition)
    assert trades.partitions_def.name == "planned_ticker_sessions"
    assert trades.backfill_policy == dg.BackfillPolicy.single_run()
    assert trades.pools == {"trades"}
    assert not repository.assets_defs_by_key[trades.key].op.output_defs[0].is_required
