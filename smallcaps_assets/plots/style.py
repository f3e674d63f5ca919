"""How pictures look: colours, hatches, labels, and their way into a page.

Does not belong here: what a picture shows (``plan``, ``report``).
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

LIGHT: Final = "#cfcfcf"
DARK: Final = "#225ea8"
EDGE: Final = "black"
COLOUR_MAP: Final = ListedColormap(
    mpl.colormaps["cividis"].reversed()(np.linspace(0.12, 1.0, 256)), name="little_to_much"
)
"""Even for colour-blind people too: light is little, dark is much, and none of it is white."""
HATCHES: Final = ("", "//", "..", "xx", "--", "\\\\")
MONTHS_LABELLED: Final = 30
"""Months up to which each has its label; with more of them only years have."""
YEARS_LABELLED: Final = 16
"""Years up to which each has its label."""
PIXELS_PER_INCH: Final = 110


def render_figure(figure: Figure) -> bytes:
    """Render a figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def embed(picture: bytes, title: str) -> str:
    """Embed a PNG as a Markdown image: Dagster's UI shows it without a file."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(picture).decode('ascii')})"


def scale_values(
    values: Sequence[float], units: Mapping[str, float]
) -> tuple[tuple[float, ...], str]:
    """Scale values to the largest unit that the greatest one reaches, and name that unit."""
    fitting = [name for name, size in units.items() if max(values) >= size]
    name = fitting[0] if fitting else list(units)[-1]
    return tuple(value / units[name] for value in values), name


def format_count(value: float, _place: float) -> str:
    """Write the text of a tick."""
    return f"{value:,.6g}"


def label_months(axes: Axes, months: Sequence[str]) -> None:
    """Label each month, or the years where there are many months."""
    if len(months) <= MONTHS_LABELLED:
        axes.set_xticks(range(len(months)), months, rotation=90)
        axes.set_xlabel("month")
        axes.set_xticks([place - 0.5 for place in range(1, len(months))], minor=True)
        axes.grid(which="minor", axis="x", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        return
    januaries = [place for place, month in enumerate(months) if month.endswith("-01")]
    januaries = januaries[:: -(-len(januaries) // YEARS_LABELLED) or 1]
    axes.set_xticks(januaries, [months[place][:4] for place in januaries])
    axes.set_xlabel("year; each column is a month")
