"""The command ``python -m smallcaps_assets.emulator serve``.

What belongs here: arguments, signals, and the first line of stdout, which is the address.  What
does not: the server.
"""

import argparse
import datetime as dt
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from smallcaps_assets.emulator.answers.faults import KINDS, OPTIONS, FaultError, parse_fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import (
    FIRST_SESSION,
    LAST_SESSION,
    Market,
    MarketConfig,
)
from smallcaps_assets.emulator.replay.folder import Replay
from smallcaps_assets.emulator.source import Source, SourceError
from smallcaps_assets.errors import SmallcapsError

_LOOK_AT_PARENT_S: Final = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal arrives or the parent is gone."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        faults = [parse_fault(text) for text in options.fault]
        server = EmulatorServer(
            _build_source(options),
            faults,
            port=options.port,
            latency_s=options.latency_ms / 1_000,
        )
    except (FaultError, SourceError, SmallcapsError, OSError) as error:
        parser.error(str(error))
    with server, _stopping_on_signals() as stop:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        _wait(stop, options.parent_pid)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m smallcaps_assets.emulator")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve until stopped",
        epilog=_describe_faults(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = serve.add_mutually_exclusive_group()
    source.add_argument("--seed", type=int, default=1, help="seed of the synthetic market")
    source.add_argument("--replay", type=Path, metavar="DIR", help="folder of flat files instead")
    serve.add_argument("--port", type=int, default=0, help="port; 0 for a free one")
    serve.add_argument(
        "--fault", action="append", default=[], metavar="SPEC", help="KIND[:name=value,...]"
    )
    serve.add_argument("--latency-ms", type=float, default=0.0, help="wait before each answer")
    serve.add_argument("--parent-pid", type=int, help="stop when this process is gone")
    _add_market_options(serve)
    return parser


def _describe_faults() -> str:
    """Describe every kind of fault and every option, a paragraph each."""
    lists = {
        "KIND of a fault, and its own options": KINDS,
        "options of every fault": OPTIONS,
    }
    lines = []
    for title, entries in lists.items():
        lines += ["", f"{title}:"]
        for name, text in entries.items():
            said = f"{name:<20} {text.replace('`', '')}"
            lines += textwrap.wrap(said, 96, initial_indent="  ", subsequent_indent=" " * 23)
    return "\n".join(lines).strip()


def _add_market_options(serve: argparse.ArgumentParser) -> None:
    market = serve.add_argument_group("the synthetic market")
    day = dt.date.fromisoformat
    market.add_argument("--from", type=day, dest="first", default=FIRST_SESSION, metavar="DATE")
    market.add_argument("--to", type=day, dest="last", default=LAST_SESSION, metavar="DATE")
    market.add_argument("--tickers", type=int, default=40, help="companies that trade")
    market.add_argument("--listings", type=int, default=0, help="rows of the list of tickers")
    market.add_argument("--trades-scale", type=float, default=1.0, help="more or fewer trades")
    market.add_argument("--scenarios", action="store_true", help="plant traps for research")
    market.add_argument("--busy-trades", type=int, default=60_000, help="trades of a busy day")


def _build_source(options: argparse.Namespace) -> Source:
    if options.replay is not None:
        return Replay(options.replay)
    return Market(
        MarketConfig(
            seed=options.seed,
            tickers=options.tickers,
            first=options.first,
            last=options.last,
            listings=options.listings,
            trades_scale=options.trades_scale,
            busy_trades=options.busy_trades,
            scenarios=options.scenarios,
        )
    )


@contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set, instead of what they usually do."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    usual = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, usual, strict=True):
            signal.signal(number, handler)


def _wait(stop: threading.Event, parent_pid: int | None) -> None:
    """Wait for a signal, or for the parent to end; its pid may be given to another process."""
    if parent_pid is None:
        stop.wait()
        return
    try:
        parent = psutil.Process(parent_pid)
    except psutil.NoSuchProcess:
        return
    while not stop.wait(_LOOK_AT_PARENT_S):
        if not parent.is_running() or parent.status() == psutil.STATUS_ZOMBIE:
            return


if __name__ == "__main__":
    sys.exit(main())
