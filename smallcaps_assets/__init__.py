"""A Dagster lakehouse of US small-cap ticks that proves what it calls complete.

``smallcaps_assets.Lake`` reads it; it is imported when first asked for, so that importing the
package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smallcaps_assets.lake.reading.reader import Lake

__all__ = ["Lake"]


def __getattr__(name: str) -> object:
    """Import ``Lake`` once its name is asked for.

    Raises:
        AttributeError: It is another name.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    attribute: object = getattr(
        importlib.import_module("smallcaps_assets.lake.reading.reader"), name
    )
    return attribute
