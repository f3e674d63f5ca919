"""Pictures: every text is whole and free of the others, and bars stand beside their own names."""

import datetime as dt
from typing import Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.budget.costs import Comparison, Estimate, compare_estimates, judge_disk
from smallcaps_assets.core.budget.pilot import Rung
from smallcaps_assets.core.events.rules import EVENT_NAMES
from smallcaps_assets.core.figures import GB, MB
from smallcaps_assets.core.plan.windows import DEFAULT_WINDOWS
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.plots.plan import (
    draw_batches,
    draw_calendar,
    draw_comparison,
    draw_events,
    draw_ladder,
    draw_years,
)
from smallcaps_assets.plots.style import COLOUR_MAP, embed, render_figure
from smallcaps_assets_tests.plots.chart_texts import check_texts

WHITE: Final = 1.0


def make_events(factor: int = 1) -> pl.DataFrame:
    counts = [factor * (place + 1) ** 3 for place in range(len(EVENT_NAMES))]
    return pl.DataFrame({"event": EVENT_NAMES, "sessions": counts})


def make_estimate(sessions: int, stored: int) -> Estimate:
    hours = sessions / 6_000
    return Estimate("calibrated", sessions, sessions, stored * 10, stored, hours, "")


def make_comparison(sessions: int, stored: int) -> Comparison:
    return compare_estimates(
        make_estimate(2 * sessions, 2 * stored), make_estimate(sessions, stored)
    )


def make_rung(tickers: int, free_bytes: int) -> Rung:
    estimate = make_estimate(tickers * 1_234, tickers * 700 * MB)
    return Rung(
        tickers=tickers,
        rows=tickers * 20,
        ticker_sessions=estimate.ticker_sessions * 3,
        unique_ticker_sessions=estimate.ticker_sessions,
        requests=estimate.requests,
        bytes_stored=estimate.bytes_stored,
        hours=estimate.hours,
        verdict=judge_disk(estimate, free_bytes),
    )


def make_ladder(*sizes: int, free_bytes: int = 30 * GB) -> list[Rung]:
    return [make_rung(size, free_bytes) for size in sizes]


def make_plan(tickers: int, years: int) -> pl.DataFrame:
    first = dt.date(2004, 1, 2)
    dates = load_calendar().dates(first, first.replace(year=first.year + years))[::4]
    names = pl.DataFrame({"ticker": [f"LONG{number}.WS" for number in range(tickers)]})
    return names.join(pl.DataFrame({"session_date": dates}), how="cross")


PICTURES: Final = {
    "events": lambda: draw_events(make_events(), DEFAULT_WINDOWS),
    "many events": lambda: draw_events(make_events(9_999), DEFAULT_WINDOWS),
    "comparison": lambda: draw_comparison(make_comparison(1_128, 310 * MB)),
    "whole market": lambda: draw_comparison(make_comparison(10_289_384, 900 * GB)),
    "nothing": lambda: draw_comparison(make_comparison(0, 0)),
    "ladder": lambda: draw_ladder(make_ladder(8_500, 100, 30, 15)),
    "ladder that fits": lambda: draw_ladder(make_ladder(100, 30, free_bytes=9_999 * GB)),
    "one rung": lambda: draw_ladder(make_ladder(15)),
    "calendar": lambda: draw_calendar(make_plan(15, 2)),
    "long calendar": lambda: draw_calendar(make_plan(60, 21)),
    "small calendar": lambda: draw_calendar(make_plan(1, 1)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_text_is_whole_overlaps_no_other_and_axes_say_what_they_count(name: str) -> None:
    figure = PICTURES[name]()

    check_texts(figure)
    for axes in figure.axes:
        x_label, y_label = axes.get_xlabel(), axes.get_ylabel()
        assert x_label or y_label
        assert y_label or axes.get_shared_y_axes().get_siblings(axes) or axes.get_yticks() == []


def test_bars_stand_beside_their_own_event() -> None:
    events = make_events()
    axes = draw_events(events, DEFAULT_WINDOWS).axes[0]

    names = dict(
        zip(axes.get_yticks(), (t.get_text() for t in axes.get_yticklabels()), strict=True)
    )
    shown = {
        names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width()
        for container in axes.containers
        for bar in container
    }
    assert shown == dict(events.iter_rows())


def test_widths_of_windows_differ_in_lightness_and_in_hatching() -> None:
    axes = draw_events(make_events(), DEFAULT_WINDOWS).axes[0]

    styles = {
        container.get_label(): (sum(container[0].get_facecolor()[:3]), container[0].get_hatch())
        for container in axes.containers
    }
    assert list(styles) == ["3 sessions", "5 sessions", "7 sessions"]
    lightness, hatches = zip(*styles.values(), strict=True)
    assert list(lightness) == sorted(lightness, reverse=True)
    assert len(set(hatches)) == 3


def test_the_colours_of_the_calendar_get_darker_and_none_is_white() -> None:
    weights = (0.2126, 0.7152, 0.0722)
    shades = [
        sum(part * weight for part, weight in zip(COLOUR_MAP(place)[:3], weights, strict=True))
        for place in range(0, 256, 5)
    ]

    assert shades == sorted(shades, reverse=True)
    assert shades[0] < 0.8 * WHITE


def test_the_calendar_counts_the_sessions_of_each_month() -> None:
    plan = make_plan(2, 1).head(30)

    grid: np.ma.MaskedArray = np.ma.asarray(draw_calendar(plan).axes[0].images[0].get_array())

    assert grid.shape == (1, plan["session_date"].dt.month_start().n_unique())
    assert grid.sum() == plan.height


def test_the_calendar_shows_the_tickers_with_the_most_sessions_and_says_so() -> None:
    axes = draw_calendar(make_plan(60, 1)).axes[0]

    assert len(axes.get_yticklabels()) == 40
    assert "the 40 of 60 tickers" in axes.get_title()


def test_render_figure_is_repeatable_and_embed_shows_it() -> None:
    pictures = [render_figure(draw_calendar(make_plan(2, 1))) for _ in range(2)]

    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")
    assert embed(b"abc", "a title") == "![a title](data:image/png;base64,YWJj)"


@pytest.mark.parametrize("years", [1, 22])
def test_years_of_a_universe_carry_their_number(years: int) -> None:
    counts = [1_000 * (year + 1) ** 2 for year in range(years)]
    frame = pl.DataFrame({"year": range(2004, 2004 + years), "ticker_months": counts})

    figure = draw_years(frame)

    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert texts == {f"{count:,}" for count in counts}
    check_texts(figure)


@pytest.mark.parametrize("batches", [1, 107])
def test_batches_of_a_universe_are_counted_from_one(batches: int) -> None:
    frame = pl.DataFrame(
        {"batch": range(1, batches + 1), "sessions": [131_000 - 700 * n for n in range(batches)]}
    )

    figure = draw_batches(frame)

    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == frame["sessions"].to_list()
    assert axes.get_xlabel() == "batch"
    check_texts(figure)
