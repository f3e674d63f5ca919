"""What a reader sees of the texts of a picture: where they are, whether they are whole."""

from itertools import combinations
from typing import Final, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from smallcaps_assets.plots.style import PIXELS_PER_INCH, render_figure

SLACK_PX: Final = 1.0


def check_texts(figure: Figure) -> None:
    """Check that every text is whole and overlaps no other."""
    texts = measure_texts(figure)
    frame = figure.bbox.padded(SLACK_PX)
    cut = [text for text, box in texts if not frame.containsx(box.x0) or box.x1 > frame.x1]
    cut += [text for text, box in texts if not frame.containsy(box.y0) or box.y1 > frame.y1]
    boxes = [(text, box.padded(-SLACK_PX)) for text, box in texts]
    overlaps = [(a, b) for (a, x), (b, y) in combinations(boxes, 2) if x.overlaps(y)]
    assert (cut, overlaps) == ([], [])


def measure_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return the visible texts of a figure and where they are, in pixels."""
    render_figure(figure)
    figure.set_dpi(PIXELS_PER_INCH)
    idle = {label for axes in figure.axes for label in find_idle_labels(axes)}
    texts = cast(list[Text], figure.findobj(Text))
    return [
        (text.get_text(), text.get_window_extent())
        for text in texts
        if text.get_visible() and text.get_text().strip() and text not in idle
    ]


def find_idle_labels(axes: Axes) -> list[Text]:
    """Return the labels of ticks that lie outside the view, which are not drawn."""
    idle = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        outside = [tick for tick in ticks if not low <= tick.get_loc() <= high]
        idle += [label for tick in outside for label in (tick.label1, tick.label2)]
    return idle
