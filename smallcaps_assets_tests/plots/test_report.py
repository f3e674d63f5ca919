"""Pictures of a report: readable however large the lake is, and true to their figures."""

import datetime as dt
from typing import Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.phases import PHASES
from smallcaps_assets.core.ticks.profile import PROFILE
from smallcaps_assets.plots.report import (
    MAX_KINDS,
    MAX_ROWS,
    draw_coverage,
    draw_failures,
    draw_profile,
    draw_reality,
    draw_sizes,
)
from smallcaps_assets_tests.plots.chart_texts import check_texts

START: Final = dt.datetime.fromisoformat("2025-01-01T05:00")
KINDS: Final = (
    "unavailable",
    "payload",
    "rate_limit",
    "timeout",
    "not_entitled",
    "coverage",
    "a_b",
)


def make_states(tickers: int, years: int, missing_every: int = 97) -> pl.DataFrame:
    first = dt.date(2004, 1, 2)
    dates = load_calendar().dates(first, first.replace(year=first.year + years))[::6]
    names = pl.DataFrame({"ticker": [f"LONG{number}.WS" for number in range(tickers)]})
    states = names.join(pl.DataFrame({"session_date": dates}), how="cross").with_row_index()
    return states.with_columns(is_green=pl.col("index") % missing_every > 0).drop("index")


def make_sizes(tickers: int) -> pl.DataFrame:
    sizes = [int(1_000 * 1.06**place) for place in range(tickers)]
    names = [f"LONG{number}.WS" for number in range(tickers)]
    return pl.DataFrame({"ticker": names, "bytes": sizes, "sessions": range(1, tickers + 1)})


def make_reality(tickers: int, factor: float = 1.1) -> pl.DataFrame:
    landed = make_sizes(tickers).with_columns(
        rows=pl.col("bytes") // 20, requests=pl.col("sessions")
    )
    estimates = {
        f"estimated_{name}": (pl.col(name) * factor).cast(pl.Int64)
        for name in ("rows", "bytes", "requests")
    }
    return landed.with_columns(**estimates)


def make_attempts(hours: int, kinds: int) -> pl.DataFrame:
    rows = [
        (START + dt.timedelta(hours=hour), kind, hour % 7 + 1)
        for hour in range(0, hours, max(1, hours // 50))
        for kind in ("", *KINDS[:kinds])
    ]
    schema = [("hour", pl.Datetime("us")), ("kind", pl.String()), ("attempts", pl.Int64())]
    return pl.DataFrame(rows, schema, orient="row")


def make_profile() -> pl.DataFrame:
    rows = [(PHASES[quarter // 24], quarter, 10 ** (quarter % 6)) for quarter in range(96)]
    return pl.DataFrame(rows, PROFILE, orient="row")


PICTURES: Final = {
    "coverage": lambda: draw_coverage(make_states(15, 2)),
    "coverage of the whole market": lambda: draw_coverage(make_states(400, 21)),
    "coverage of one ticker": lambda: draw_coverage(make_states(1, 1).head(1)),
    "sizes": lambda: draw_sizes(make_sizes(15)),
    "sizes of the whole market": lambda: draw_sizes(make_sizes(400)),
    "one size": lambda: draw_sizes(make_sizes(1)),
    "reality": lambda: draw_reality(make_reality(15), 0.2),
    "reality of the whole market": lambda: draw_reality(make_reality(400, 3.0), 0.2),
    "one ticker": lambda: draw_reality(make_reality(1), 0.2),
    "empty sessions alone": lambda: draw_reality(
        make_reality(1).with_columns(bytes=pl.lit(0), estimated_bytes=pl.lit(0)), 0.2
    ),
    "profile": lambda: draw_profile(make_profile(), 10),
    "failures": lambda: draw_failures(make_attempts(1, 1)),
    "failures of two days": lambda: draw_failures(make_attempts(48, 3)),
    "failures of a month": lambda: draw_failures(make_attempts(24 * 30, 7)),
    "failures of years": lambda: draw_failures(make_attempts(24 * 2_000, 7)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_text_is_whole_and_overlaps_no_other(name: str) -> None:
    check_texts(PICTURES[name]())


def test_draw_coverage_shows_shares_and_blanks() -> None:
    states = make_states(2, 1, missing_every=10**6).head(60)
    holed = states.with_columns(is_green=pl.col("session_date") != states["session_date"][3])

    image = draw_coverage(holed).axes[0].images[0]
    grid: np.ma.MaskedArray = np.ma.asarray(image.get_array())

    months = states["session_date"].dt.month_start().n_unique()
    assert grid.shape == (2, months)
    assert 0 < grid.min() < 1


def test_draw_coverage_puts_the_most_missing_first_and_the_rest_in_one_row() -> None:
    states = make_states(60, 1, missing_every=10**6)
    worst = states.with_columns(is_green=(pl.col("ticker") != "LONG7.WS"))

    axes = draw_coverage(worst).axes[0]

    names = [label.get_text() for label in axes.get_yticklabels()]
    assert (names[0], names[-1], len(names)) == ("LONG7.WS", "20 others", MAX_ROWS + 1)
    assert "20 more tickers" in axes.get_title()


def test_draw_sizes_leaves_no_byte_out() -> None:
    sizes = make_sizes(100)

    axes = draw_sizes(sizes).axes[0]

    shown = sum(bar.get_width() for container in axes.containers for bar in container)
    unit = {"GB": 1024**3, "MB": 1024**2, "KB": 1024}[axes.get_xlabel().rpartition(" ")[2]]
    assert shown * unit == pytest.approx(sizes["bytes"].sum())


def test_draw_failures_counts_every_failure_and_no_success() -> None:
    attempts = make_attempts(24 * 30, len(KINDS))

    axes = draw_failures(attempts).axes[0]

    shown = sum(bar.get_height() for container in axes.containers for bar in container)
    assert shown == attempts.filter(pl.col("kind") != "")["attempts"].sum()
    assert len(axes.containers) == MAX_KINDS + 1
