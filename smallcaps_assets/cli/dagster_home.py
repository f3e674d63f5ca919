"""Dagster's home below the data folder, and the instance in it."""

import glob
import hashlib
import os
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from smallcaps_assets.core.decoding import DECODER_FAULTS, name_fault
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.lake.ledger.database import find_damage
from smallcaps_assets.lake.storage.disk_errors import storage_errors
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

EVENT_BATCH = 500
DATABASE_FOLDERS = ("history", "schedules")
"""Where Dagster keeps its databases, below its home."""


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
        fs.publish({config: template.read_bytes()}, root=home)
    named = find_alias(home) if glob.has_magic(str(home)) else home
    os.environ["DAGSTER_HOME"] = str(named)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    # A run begins with an event per partition; they are stored this many at once.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENT_BATCH))
    return str(named)


def find_alias(home: Path) -> Path:
    """Return a link to a home whose path Dagster would take for a pattern, made where it is not.

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
    """Return the instance of DAGSTER_HOME, its storage migrated.

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


def _refuse_config(config: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{config}: {why}; correct it, or remove the file: the next command writes it anew"
    )


def _explain_config(error: Exception) -> str:
    """Return what Dagster says of a wrong entry, without its long list of all right ones."""
    causes = [error]
    while causes[-1].__cause__ is not None and isinstance(causes[-1].__cause__, Exception):
        causes.append(causes[-1].__cause__)
    text = str(causes[-1])
    line = next((part for part in text.splitlines() if part.strip().startswith("Error 1: ")), text)
    line = re.sub("Error 1: |Failure condition: | of type \"<class '\\w+'>\"", "", line)
    return line.partition(" Expected: ")[0].strip().rstrip(".").replace("\n", " ")


def find_damaged_databases(settings: Settings) -> dict[Path, str]:
    """Return the databases of Dagster that cannot be believed, with what is wrong; all are read."""
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
