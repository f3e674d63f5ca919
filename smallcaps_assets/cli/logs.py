"""What of a process's log reaches the terminal: errors, and for whom it waits."""

import logging
import warnings
from typing import Final

LOCK_LOGGER: Final = "smallcaps_assets.lake.storage.lock"
"""Where it is told for whom a command waits."""


def is_for_people(record: logging.LogRecord) -> bool:
    """Say whether a line of a log is told: an error, or for whom a command waits."""
    return record.levelno >= logging.ERROR or record.name == LOCK_LOGGER


def set_up_logs() -> None:
    """Write what is for people to standard error, and nothing else."""
    # Dagster's beta parameters are used on purpose, and a user can do nothing about them.
    warnings.filterwarnings("ignore", message=".*is currently in beta")
    handler = logging.StreamHandler()
    # On the handler: Dagster sets levels of its own on our loggers, and runs record warnings.
    handler.addFilter(is_for_people)
    logging.basicConfig(handlers=[handler], format="%(levelname)s %(name)s %(message)s")
