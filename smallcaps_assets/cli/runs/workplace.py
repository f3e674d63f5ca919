"""What a command works with: settings, Dagster's instance and definitions, a running source.

Everything is loaded when first asked for: `smallcaps status` needs no Dagster.
"""

import glob
import hashlib
import os
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from smallcaps_assets.cli.runs.emulator_process import adopt_served_market, running_emulator
from smallcaps_assets.core.documents import DECODER_FAULTS, name_fault
from smallcaps_assets.errors import ConfigError, LedgerMismatchError, StorageError
from smallcaps_assets.lake.home.market import adopt_source
from smallcaps_assets.lake.ledger.database import DAMAGES, find_damage
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    import dagster as dg

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""What Dagster may write on the terminal: commands say in their own words what failed."""

EVENT_BATCH = 500
MOST_RUNS = 4
"""Runs at once that the template of ``dagster.yaml`` allows."""
DATABASE_FOLDERS = ("history", "schedules")
"""Where Dagster keeps its databases, below its home."""


@dataclass(frozen=True)
class Workplace:
    """One command's settings and what is built from them."""

    settings: Settings

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """The lakehouse of the settings."""
        return Lakehouse(self.settings)

    @cached_property
    def instance(self) -> "dg.DagsterInstance":
        """Dagster's instance below the data folder."""
        prepare_dagster_home(self.settings)
        instance = open_instance()
        from smallcaps_assets.defs.instance.runs import limit_pool  # noqa: PLC0415  loads Dagster
        from smallcaps_assets.defs.instance.units import UNITS_POOL  # noqa: PLC0415  as above

        limit_pool(instance, UNITS_POOL, count_processes(self.settings))
        return instance

    @cached_property
    def definitions(self) -> "dg.Definitions":
        """The code location, built from the same settings."""
        from smallcaps_assets.definitions import build_definitions  # noqa: PLC0415  loads Dagster

        return build_definitions(self.lakehouse)

    def run_job(
        self,
        name: str,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, object] | None = None,
    ) -> "dg.DagsterRun":
        """Execute a job in this process on the persistent instance, and return its run.

        Args:
            name: The job.
            tags: Tags of the run.
            config: What the launchpad would be given, by the name of the asset.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it; the run is canceled.
        """
        import dagster as dg  # noqa: PLC0415  half a second

        from smallcaps_assets.defs.instance.runs import claim_tags, settle_run  # noqa: PLC0415  loads it

        job = self.definitions.resolve_job_def(name)
        with noticing_interrupts() as was_interrupted:
            result = job.execute_in_process(
                instance=self.instance,
                tags=claim_tags() | dict(tags or {}),
                raise_on_error=False,
                run_config=QUIET
                | {"ops": {op: {"config": told} for op, told in (config or {}).items()}},
            )
            is_interrupted = was_interrupted()
        run = settle_run(self.instance, result.run_id)
        if run is None:
            raise dg.DagsterInvariantViolationError(f"run {result.run_id} is not in the instance")
        if is_interrupted or run.status is dg.DagsterRunStatus.CANCELED:
            raise KeyboardInterrupt
        return run

    def align_dagster(self, keys: Sequence[str]) -> None:
        """Make Dagster show sessions whose colour changed as they are, where it has a plan."""
        if keys and self.lakehouse.layout.dagster_dir.is_dir():
            from smallcaps_assets.defs.instance.reconciliation import align_changed  # noqa: PLC0415  loads it

            align_changed(self.instance, self.lakehouse, keys)


def count_processes(settings: Settings) -> int:
    """Count the processes that download a universe at once."""
    return settings.processes or os.cpu_count() or 1


@contextmanager
def noticing_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield what says whether Ctrl-C, or SIGTERM, came during the block.

    Dagster holds such a signal back between steps, and forgets it where no step follows: a plan
    would go on with its next run.  What the interpreter writes to a file of ours is not held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        theirs.settimeout(0)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield lambda: _has_come(ours)
        finally:
            signal.set_wakeup_fd(before)


def _has_come(signals: socket.socket) -> bool:
    try:
        return not {signal.SIGINT, signal.SIGTERM}.isdisjoint(signals.recv(64))
    except BlockingIOError:
        return False


def apply_options(options: Mapping[str, object | None]) -> None:
    """Export options as settings, so that processes started by the command see them too."""
    for name, value in options.items():
        if value is not None:
            os.environ[f"SMALLCAPS_{name.upper()}"] = str(value)


@contextmanager
def open_workplace(*, needs_source: bool = False, **options: object | None) -> Iterator[Workplace]:
    """Yield the workplace of a command.

    Args:
        needs_source: The command asks the source, so the emulator is started where it is that.
        **options: Settings given as options, by field name; ``None`` is not given.

    Raises:
        ConfigError: A setting is wrong, or there is no source.
        StorageError: The disk refuses what Dagster writes.
    """
    apply_options(options)
    settings = adopt_source(load_settings())
    if not needs_source:
        with dagster_storage_errors(settings):
            yield Workplace(settings)
        return
    settings = adopt_served_market(settings)
    Lakehouse(settings).check_settings()
    with running_emulator(settings) as running, dagster_storage_errors(settings):
        yield Workplace(running)


@contextmanager
def dagster_storage_errors(settings: Settings) -> Iterator[None]:
    """Turn the errors of Dagster's own databases, on a full disk above all, into one of ours.

    Raises:
        LedgerMismatchError: One of them is damaged.
        StorageError: The disk refuses one.
    """
    try:
        yield
    except _database_errors() as error:
        if damaged := find_damaged_databases(settings):
            path, reason = next(iter(damaged.items()))
            raise LedgerMismatchError(
                f"{path}, one of Dagster's databases, is damaged ({reason}); stop `smallcaps ui`, "
                "then `smallcaps reconcile` moves it aside and makes it again from the lake"
            ) from error
        if not isinstance(error, _storage_errors()):
            raise
        said = getattr(error, "orig", error)  # SQLAlchemy puts the name of its class before it
        raise StorageError(
            f"Dagster's databases below {settings.data_dir.absolute() / 'dagster'} refuse: "
            f"{str(said).splitlines()[0]}; free space there or make it writable, then run the "
            "same command again"
        ) from error


def prepare_dagster_home(settings: Settings) -> str:
    """Make ``$SMALLCAPS_DATA_DIR/dagster``, put ``dagster.yaml`` there, and export DAGSTER_HOME.

    An existing ``dagster.yaml`` is left as it is: it may be the user's own.

    Raises:
        StorageError: The disk refuses.
    """
    home = settings.data_dir.absolute() / "dagster"
    config = home / "dagster.yaml"
    fs = FileSystem()
    fs.make_folders(home, root=find_existing(home))
    if not config.exists():
        template = resources.files("smallcaps_assets.cli") / "dagster.yaml"
        text = template.read_text(encoding="utf-8")
        # Beside the runs of a universe there is room for as many others as there always is.
        runs = MOST_RUNS + count_processes(settings) - 1
        text = text.replace(f"runs: {MOST_RUNS}\n", f"runs: {runs}\n")
        fs.publish({config: text.encode()}, root=home)
    named = find_alias(home) if glob.has_magic(str(home)) else home
    os.environ["DAGSTER_HOME"] = str(named)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    # A run begins with an event per partition; they are stored this many at once.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    return str(named)


def find_alias(home: Path) -> Path:
    """Find or make a link to a home whose path Dagster would take for a pattern.

    Dagster looks for ``dagster.yaml`` by a pattern, and would find none, or another lake's.

    Raises:
        StorageError: The disk refuses.
    """
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    alias = user_state_path("smallcaps_assets") / "homes" / name
    with storage_errors("make", alias):
        if not alias.is_symlink():
            alias.parent.mkdir(parents=True, exist_ok=True)
            fresh = alias.with_name(f"{name}.{os.getpid()}")
            fresh.symlink_to(home, target_is_directory=True)
            fresh.replace(alias)
    return alias


def open_instance() -> "dg.DagsterInstance":
    """Open the instance of DAGSTER_HOME, its storage migrated.

    Raises:
        ConfigError: Its ``dagster.yaml`` cannot be taken.
    """
    import dagster as dg  # noqa: PLC0415  half a second that `smallcaps status` does not need

    from smallcaps_assets.defs.instance.internals import CheckError, PostProcessingError  # noqa: PLC0415

    config = Path(os.environ["DAGSTER_HOME"], "dagster.yaml")
    check_yaml(config)
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterError, CheckError, PostProcessingError) as error:
        raise _refuse_config(config, _explain_config(error)) from error


def check_yaml(config: Path) -> None:
    """Refuse a ``dagster.yaml`` that is no list of names and values.

    Raises:
        ConfigError: It is not, or it cannot be read.
    """
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415  Dagster brings it, without types

    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _refuse_config(config, f"line {line}: {error.problem}") from error
    except (yaml.YAMLError, *DECODER_FAULTS) as error:
        raise _refuse_config(config, name_fault(error)) from error
    if not isinstance(content, dict | None):
        raise _refuse_config(config, "expected names and values, such as `nux: {enabled: false}`")


def find_damaged_databases(settings: Settings) -> dict[Path, str]:
    """Find the databases of Dagster that cannot be believed, with what is wrong; all are read."""
    home = settings.data_dir.absolute() / "dagster"
    files = [path for name in DATABASE_FOLDERS for path in sorted((home / name).rglob("*.db"))]
    found = {path: find_damage(path) for path in files}
    return {path: reason for path, reason in found.items() if reason}


def set_aside(path: Path) -> None:
    """Move a damaged database of Dagster aside; Dagster makes an empty one in its place.

    Raises:
        StorageError: The disk refuses.
    """
    fs = FileSystem()
    # The log goes first: one left behind would be played into the new database.
    for suffix in ("-wal", "-shm"):
        fs.remove(path.with_name(path.name + suffix))
    fs.rename(path, path.with_name(f"{path.name}.damaged"))


def _storage_errors() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import DatabaseError  # noqa: PLC0415  only loaded when something failed

    return DatabaseError, sqlite3.DatabaseError


def _database_errors() -> tuple[type[Exception], ...]:
    """List what the databases of Dagster raise, damaged ones above all."""
    return (*_storage_errors(), *DAMAGES)


def _refuse_config(config: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{config}: {why}; correct it, or remove the file: the next command rewrites it"
    )


def _explain_config(error: Exception) -> str:
    """Explain a wrong entry as Dagster does, without its long list of all right ones."""
    causes = [error]
    while causes[-1].__cause__ is not None and isinstance(causes[-1].__cause__, Exception):
        causes.append(causes[-1].__cause__)
    text = str(causes[-1])
    line = next((part for part in text.splitlines() if part.strip().startswith("Error 1: ")), text)
    line = re.sub("Error 1: |Failure condition: | of type \"<class '\\w+'>\"", "", line)
    return line.partition(" Expected: ")[0].strip().rstrip(".").replace("\n", " ")
