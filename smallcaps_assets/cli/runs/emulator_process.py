"""The emulator as a process of its own, started and stopped with the command that needs it."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from smallcaps_assets.core.vendor import VENDOR_BASE_URL
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.lake.home.market import names_market, take_market
from smallcaps_assets.settings import Settings, Source

STOP_TIMEOUT_S = 10.0


def has_own_address(settings: Settings) -> bool:
    """Say whether an address was set, so that no emulator has to be started."""
    return settings.base_url != VENDOR_BASE_URL


def emulator_arguments(settings: Settings) -> list[str]:
    """List the arguments that make the emulator serve the source of ``settings``."""
    if settings.emulator_replay is not None:
        return ["--replay", str(settings.emulator_replay.expanduser().absolute())]
    planted = ["--scenarios"] if settings.emulator_scenarios else []
    return ["--seed", str(settings.emulator_seed), *planted]


def adopt_served_market(settings: Settings) -> Settings:
    """Adopt into the settings the market which an emulator of the user's own serves.

    A lake that is made now is bound to it, and no setting has to say again what
    `smallcaps emulator --replay` was told.  The processes started meanwhile are told too.
    """
    is_own = settings.source is Source.EMULATOR and has_own_address(settings)
    if not is_own or names_market(settings):
        return settings
    name = _ask_market(settings.base_url)
    served = take_market(settings, name)
    kind = name.partition("=")[0]
    if kind in {"seed", "replay"}:
        os.environ[f"SMALLCAPS_EMULATOR_{kind.upper()}"] = str(getattr(served, f"emulator_{kind}"))
    if served.emulator_scenarios:
        os.environ["SMALLCAPS_EMULATOR_SCENARIOS"] = "true"
    return served


def _ask_market(base_url: str) -> str:
    """Ask an emulator what it calls its market; empty: nothing there says it."""
    request = urllib.request.Request(f"{base_url}/_emulator/identity")  # noqa: S310  http or https
    try:
        with urllib.request.urlopen(request, timeout=STOP_TIMEOUT_S) as answer:  # noqa: S310  the same
            return str(json.load(answer)["name"])
    except (OSError, ValueError, LookupError, TypeError, HTTPException):
        # Who answers is asked again before anything is believed, and refused there.
        return ""


@contextmanager
def running_emulator(settings: Settings, *extra: str) -> Iterator[Settings]:
    """Yield settings whose ``base_url`` answers, starting the emulator where it is the source.

    The address is exported as SMALLCAPS_BASE_URL too, for the processes started meanwhile.
    With a base URL of the user's own nothing is started.

    Raises:
        ConfigError: The emulator does not start; its last words are in the message.
    """
    if settings.source is not Source.EMULATOR or has_own_address(settings):
        yield settings
        return
    command = [sys.executable, "-m", "smallcaps_assets.emulator", "serve"]
    command += [*emulator_arguments(settings), "--parent-pid", str(os.getpid()), *extra]
    # A group of its own: Ctrl-C in the terminal must reach the download first, not its vendor.
    process = subprocess.Popen(  # noqa: S603  our own module and validated settings
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url.startswith("http://"):
            raise ConfigError(f"the emulator did not start: `{' '.join(command)}` said {url!r}")
        os.environ["SMALLCAPS_BASE_URL"] = url
        yield settings.model_copy(update={"base_url": url})
    finally:
        os.environ.pop("SMALLCAPS_BASE_URL", None)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def emulator_outage(settings: Settings, *, after: int) -> Iterator[None]:
    """Make the running emulator fail for good after some more requests for trades.

    It is healthy again at the end of the block.
    """
    # Counted per fault, so requests made before it was injected do not count.
    fault = {"kind": "outage", "endpoint": "trades", "after": after, "seconds": 86_400}
    _post_faults(settings, [fault])
    try:
        yield
    finally:
        _post_faults(settings, [])


def _post_faults(settings: Settings, faults: list[dict[str, object]]) -> None:
    request = urllib.request.Request(  # noqa: S310  our own emulator on loopback
        f"{settings.base_url}/_emulator/faults",
        data=json.dumps(faults).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=STOP_TIMEOUT_S) as answer:  # noqa: S310  the same
        answer.read()
