"""What a command works with: settings, Dagster's instance and definitions, a running source.

Everything is loaded when first asked for: `smallcaps status` needs no Dagster.
"""

import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from smallcaps_assets.cli.dagster_home import (
    find_damaged_databases,
    open_instance,
    prepare_dagster_home,
)
from smallcaps_assets.cli.runs.emulator_process import adopt_served_market, running_emulator
from smallcaps_assets.errors import LedgerMismatchError, StorageError
from smallcaps_assets.lake.ledger.database import DAMAGES
from smallcaps_assets.lakehouse import Lakehouse, adopt_source
from smallcaps_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    import dagster as dg

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""What Dagster may write on the terminal: commands say in their own words what failed."""


@dataclass(frozen=True)
class Workplace:
    """One command's settings and what is built from them."""

    settings: Settings

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """Return the lakehouse."""
        return Lakehouse(self.settings)

    @cached_property
    def instance(self) -> "dg.DagsterInstance":
        """Return Dagster's instance below the data folder."""
        prepare_dagster_home(self.settings)
        return open_instance()

    @cached_property
    def definitions(self) -> "dg.Definitions":
        """Return the code location, built from the same settings."""
        from smallcaps_assets.definitions import build_definitions  # noqa: PLC0415  loads Dagster

        return build_definitions(self.lakehouse)

    def run_job(self, name: str, tags: Mapping[str, str] | None = None) -> "dg.DagsterRun":
        """Execute a job in this process on the persistent instance, and return its run.

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
                run_config=QUIET,
            )
            is_interrupted = was_interrupted()
        run = settle_run(self.instance, result.run_id)
        if run is None:
            raise dg.DagsterInvariantViolationError(f"run {result.run_id} is not in the instance")
        if is_interrupted or run.status is dg.DagsterRunStatus.CANCELED:
            raise KeyboardInterrupt
        return run


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
                "then `smallcaps reconcile` moves it aside and makes it anew from the lake"
            ) from error
        if not isinstance(error, _storage_errors()):
            raise
        raise StorageError(
            f"Dagster's databases below {settings.data_dir.absolute() / 'dagster'} refuse: "
            f"{str(error).splitlines()[0]}; free space there or make it writable, then run the "
            "same command again"
        ) from error


def _storage_errors() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import DatabaseError  # noqa: PLC0415  only loaded when something failed

    return DatabaseError, sqlite3.DatabaseError


def _database_errors() -> tuple[type[Exception], ...]:
    """Return what the databases of Dagster raise, damaged ones above all."""
    return (*_storage_errors(), *DAMAGES)
