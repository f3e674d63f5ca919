from typing import Final

import polars as pl
from matplotlib.figure import Figure

from smallcaps_assets.plots.research.events import (
    draw_confirmations,
    draw_outcomes,
    draw_win_rates,
)
from smallcaps_assets.schemas_research import LABELS, WIN_RATES
from smallcaps_assets_tests.plots.chart_texts import check_texts, measure_texts

YEARS: Final = pl.DataFrame(
    {
        "event": ["E3_PriceSpikeIntraday"] * 2 + ["E9_CrashIntraday"],
        "year": [2023, 2024, 2024],
        "confirmed": [48, 75, 3],
        "refuted": [14, 0, 0],
        "unknown": [0, 5, 0],
    }
)


def make_rates() -> pl.DataFrame:
    row: dict[str, object] = dict.fromkeys(WIN_RATES.columns)
    rows = [
        {"event": "E7_FirstRedDay", "side": -1, "decisions": 40, "sessions": 38, "win_rate": 0.9},
        {"event": "E8_GapDownViolent", "side": 1, "decisions": 0, "sessions": 0},
        {"event": "all_decisions", "side": 1, "decisions": 99, "sessions": 60, "win_rate": 0.5},
    ]
    ends = {"wilson_low": 0.4, "wilson_high": 0.6, "clustered_low": 0.3, "clustered_high": 0.7}
    return pl.DataFrame([row | ends | changes for changes in rows], WIN_RATES.schema)


def make_labels() -> pl.DataFrame:
    row: dict[str, object] = dict.fromkeys(LABELS.columns)
    rows = [("E2_GapUp", "profit"), ("E10_FirstGreenBounce", "cut"), ("E2_GapUp", "stop")]
    return pl.DataFrame(
        [row | {"event": e, "outcome": o, "is_event_side": True} for e, o in rows], LABELS.schema
    )


def read_words(figure: Figure) -> str:
    return " | ".join(text for text, _ in measure_texts(figure))


def test_confirmations_show_years_and_counts() -> None:
    figure = draw_confirmations(YEARS)

    check_texts(figure)
    words = read_words(figure)
    assert all(word in words for word in ("2023", "48", "E9_CrashIntraday", "refuted"))


def test_win_rates_show_n_and_side_and_leave_out_what_has_none() -> None:
    figure = draw_win_rates(make_rates())

    check_texts(figure)
    words = read_words(figure)
    assert "E7_FirstRedDay, sold  n = 40, 38 sessions" in words
    assert "E8_GapDownViolent" not in words


def test_outcomes_are_in_the_order_of_events() -> None:
    figure = draw_outcomes(make_labels())

    check_texts(figure)
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["E2_GapUp", "E10_FirstGreenBounce"]
    assert "no_entry" not in read_words(figure)
