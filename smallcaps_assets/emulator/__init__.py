"""The vendor, emulated: a synthetic market or a replay of flat files behind its wire format.

What belongs here: everything a client of the vendor can see, and the faults it should survive.
What does not: anything the product imports; ``cli`` starts the emulator as a process of its own,
tests run it in theirs.
"""

from smallcaps_assets.emulator.answers.faults import Fault, FaultError, parse_fault
from smallcaps_assets.emulator.http.requestlog import Request, Stats
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.emulator.replay.folder import Replay
from smallcaps_assets.emulator.source import Source, SourceError, StaticSource

__all__ = [
    "EmulatorServer",
    "Fault",
    "FaultError",
    "Market",
    "MarketConfig",
    "Replay",
    "Request",
    "Source",
    "SourceError",
    "StaticSource",
    "Stats",
    "parse_fault",
]
