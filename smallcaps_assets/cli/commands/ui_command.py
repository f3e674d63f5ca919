"""`smallcaps ui`: Dagster's web UI and daemon, with the source running where it is ours."""

import errno
import ipaddress
import os
import socket

import click

from smallcaps_assets.cli.runs.workplace import Workplace, open_workplace
from smallcaps_assets.errors import ConfigError, SmallcapsError

LOCALHOST = "127.0.0.1"


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option(
    "--host",
    default=LOCALHOST,
    show_default=True,
    help="Address to listen on; whoever reaches it may do everything: there is no password.",
)
def command(port: int, host: str) -> None:
    """Serve Dagster's UI on localhost with a running daemon, until Ctrl-C.

    It listens on this machine alone, because the UI has no password, and answers its own pages
    and programs alone: pages of other sites, other names, and changes asked for by GET are refused.
    """
    with listen(host, port) as listener, open_workplace(needs_source=True) as work:
        serve(work, listener, host)


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket to the address, before anything is started for it.

    Raises:
        ConfigError: Another program has it, or it is none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except PermissionError as error:
        raise ConfigError(
            f"--port {port}: this user may not listen on it: take one above 1023, such as 3000"
        ) from error
    except OSError as error:
        if host_error := _explain_host(host, error):
            raise ConfigError(host_error) from error
        raise ConfigError(
            f"port {port} of {host} is taken by another program: stop that one, or choose "
            f"another: smallcaps ui --port {port % 65535 + 1}"
        ) from error


def serve(work: Workplace, listener: socket.socket, host: str) -> None:
    """Run web server and daemon until this process is told to stop.

    Raises:
        SmallcapsError: The daemon ended by itself.
    """
    os.environ["SMALLCAPS_DATA_DIR"] = str(work.settings.data_dir.absolute())
    # The storage is migrated here: webserver and daemon started on a fresh home would race.
    instance = work.instance
    from smallcaps_assets.cli.runs.ui_server import serve_ui  # noqa: PLC0415  loads all of Dagster

    address = f"[{host}]" if ":" in host else host
    url = f"http://{address}:{listener.getsockname()[1]}"
    greeting = f"Dagster's UI: {url} (home: {instance.root_directory}); stop with Ctrl-C"
    if not serve_ui(instance, listener, _list_names(host), greeting):
        raise SmallcapsError(
            "Dagster's daemon ended by itself, and without it no backfill, sensor or schedule "
            "runs; its last words are above: start `smallcaps ui` again"
        )


def _list_names(host: str) -> tuple[str, ...]:
    """List the names that one gets by listening on a host; all addresses together have none."""
    try:
        return () if ipaddress.ip_address(host).is_unspecified else (host,)
    except ValueError:
        return (host,)


def _explain_host(host: str, error: OSError) -> str:
    """Explain what is wrong with the name of a host; empty: nothing is."""
    if isinstance(error, socket.gaierror):
        return f"--host {host}: no address is known by this name ({error.strerror})"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host}: no interface of this machine has this address"
    return ""
