"""Dagster's web server behind our guard, its daemon, and the code location that both ask.

What belongs here: these three processes from start to end, as `dagster dev` has them.  What does
not: which requests are answered (``ui_guard``).

`dagster dev` cannot be used, because it starts a web server that nothing can be put in front of.
Besides public names this needs, of the pinned version,

- `DagsterWebserver.build_middleware`: the hook that puts middleware in front of Dagster's own;
- `WorkspaceProcessContext`, `ModuleTarget`, `WorkspaceFileTarget`: what its command line builds;
- `ProxyServerManager`: the code server of `dagster dev`, so that the daemon and the web server
  load the code once, and "Reload" in the UI reaches both.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dagster as dg
import uvicorn
from dagster._cli.proxy_server_manager import ProxyServerManager
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from smallcaps_assets.cli.runs.ui_guard import LocalGuard

MODULE: Final = "smallcaps_assets.definitions"
POLL_RATE_MS: Final = 2000
"""How often an open page asks for new states, as in `dagster dev`."""
LOOK_EVERY_S: Final = 2.0
STOP_TIMEOUT_S: Final = 30.0
OPEN_REQUESTS_S: Final = 3
"""Seconds that requests under way are given when the server is told to stop."""


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's web server with the guard in front of everything it answers."""

    def __init__(self, context: WorkspaceProcessContext, names: Collection[str]) -> None:
        """Serve a workspace, under names of this machine besides the loopback ones."""
        self._names = names
        super().__init__(context, live_data_poll_rate=POLL_RATE_MS)

    def build_middleware(self) -> list[Middleware]:
        """Put Dagster's own middleware behind the guard."""
        return [Middleware(LocalGuard, names=self._names), *super().build_middleware()]


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._greeting, flush=True)


def serve_ui(
    instance: dg.DagsterInstance, listener: socket.socket, names: Collection[str], greeting: str
) -> bool:
    """Serve the UI until this process is told to stop by SIGINT or SIGTERM.

    Args:
        instance: Its storage is migrated: web server and daemon started on a fresh home would race.
        listener: A bound socket.
        names: Names of this machine besides the loopback ones.
        greeting: What is printed once the UI answers.

    Returns:
        Whether it ended because it was told to; else the daemon ended by itself.
    """
    # Code servers load Dagster's beta parameters too, and a user can do nothing about them.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:Parameter `backfill_policy`")
    # Unwinds as Ctrl-C does, so that nothing that was started is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    instance.optimize_for_webserver(
        DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW
    )
    try:
        with (
            _served_code(instance) as workspace,
            _running_daemon(workspace) as daemon,
            WorkspaceProcessContext(
                instance,
                version=__version__,
                workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
            ) as context,
        ):
            app = GuardedWebserver(context, names).create_asgi_app()
            config = uvicorn.Config(
                app, log_level="warning", timeout_graceful_shutdown=OPEN_REQUESTS_S
            )
            server = _Server(config, greeting)
            with _stopped_with(daemon, server):
                server.run([listener])
            return daemon.poll() is None
    except KeyboardInterrupt:
        return True


@contextmanager
def _served_code(instance: dg.DagsterInstance) -> Iterator[Path]:
    """Run the server of the code location, and yield the workspace file that names it."""
    target = ModuleTarget(
        module_name=MODULE, attribute=None, working_directory=str(Path.cwd()), location_name=None
    )
    with (
        ProxyServerManager(instance, target, code_server_log_level="WARNING") as manager,
        tempfile.TemporaryDirectory(prefix="smallcaps-ui-") as folder,
    ):
        workspace = Path(folder) / "workspace.yaml"
        # JSON is YAML.
        workspace.write_text(json.dumps({"load_from": list(manager.get_code_server_specs())}))
        yield workspace


@contextmanager
def _running_daemon(workspace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon; it says warnings only, since sensors tick all day."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", "warning"]
    # A group of its own: Ctrl-C in the terminal must not reach it twice.
    daemon = subprocess.Popen(  # noqa: S603  our own interpreter and a file of ours
        [*command, "--workspace", str(workspace)], start_new_session=True
    )
    try:
        yield daemon
    finally:
        daemon.send_signal(signal.SIGINT)
        try:
            daemon.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextmanager
def _stopped_with(daemon: subprocess.Popen[bytes], server: uvicorn.Server) -> Iterator[None]:
    """Stop the server when the daemon ends: a UI without it would launch nothing, silently."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            if daemon.poll() is not None:
                server.should_exit = True
                return

    watcher = threading.Thread(target=watch, name="daemon-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
