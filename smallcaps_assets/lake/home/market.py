"""The source and the market that settings mean where they do not say it: those of the lake.

What belongs here: settings completed by what ``lake.json``, or an emulator that runs, is bound to.
What does not: the identity of a source (``identity``), and who serves it (``cli.runs``).
"""

from pathlib import Path

from smallcaps_assets.core.vendor import SCENARIOS_MARK
from smallcaps_assets.lake.home.identity import read_identity
from smallcaps_assets.lake.home.place import recall_home
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.settings import Settings, Source


def adopt_source(settings: Settings) -> Settings:
    """Adopt the source of the lake in its settings, where they name none.

    A lake is bound to its source forever, so nobody has to say it again; only what fetches from
    the vendor needs more: the key.

    Raises:
        LedgerMismatchError: ``lake.json`` is damaged.
        StorageError: The disk refuses.
    """
    fs = FileSystem()
    home = recall_home(settings.data_dir.absolute(), fs, settings.lake)
    is_named = names_market(settings) if settings.source else has_key(settings)
    if is_named or settings.source is Source.VENDOR or not fs.exists(home.identity_file):
        return settings
    source = read_identity(home, fs).source
    if settings.source not in {None, source.kind}:
        return settings
    named = settings.model_copy(update={"source": Source(source.kind)})
    return take_market(named, source.name)


def names_market(settings: Settings) -> bool:
    """Say whether settings name the market that an emulator is to serve."""
    named = {"emulator_seed", "emulator_replay", "emulator_scenarios"}
    return bool(named & settings.model_fields_set)


def take_market(settings: Settings, name: str) -> Settings:
    """Take into the settings the market that ``lake.json`` or an emulator calls ``name``."""
    kind, _, value = name.partition("=")
    seed = value.removesuffix(SCENARIOS_MARK)
    if kind == "seed" and seed.isdecimal():
        market = {"emulator_seed": int(seed), "emulator_scenarios": seed != value}
        return settings.model_copy(update=market)
    if kind == "replay":
        return settings.model_copy(update={"emulator_replay": Path(value)})
    return settings


def has_key(settings: Settings) -> bool:
    """Say whether settings have a key of the vendor."""
    return bool(settings.api_key and settings.api_key.get_secret_value())
