"""Dagster's home below the data folder, and the instance in it."""

import os
from importlib import resources
from typing import TYPE_CHECKING

from smallcaps_assets.errors import StorageError
from smallcaps_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


def prepare_dagster_home(settings: Settings) -> str:
    """Make ``$SMALLCAPS_DATA_DIR/dagster``, put ``dagster.yaml`` there, and export DAGSTER_HOME.

    An existing ``dagster.yaml`` is left as it is: it may be the user's own.

    Raises:
        StorageError: The folder cannot be made.
    """
    home = settings.data_dir.absolute() / "dagster"
    config = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not config.exists():
            template = resources.files("smallcaps_assets.cli") / "dagster.yaml"
            config.write_bytes(template.read_bytes())
    except OSError as error:
        raise StorageError(
            f"cannot write {config}: {error.strerror}; choose a writable SMALLCAPS_DATA_DIR"
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    return str(home)


def open_instance() -> "dg.DagsterInstance":
    """Return the instance of DAGSTER_HOME, its storage migrated."""
    import dagster as dg  # noqa: PLC0415  half a second that `smallcaps status` does not need

    return dg.DagsterInstance.get()
