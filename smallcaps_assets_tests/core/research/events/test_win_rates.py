import datetime as dt
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from smallcaps_assets.core.research.events.parameters import LabelRules
from smallcaps_assets.core.research.events.win_rates import (
    ALL_DECISIONS,
    bound_wilson,
    build_win_rates,
    correct_holm,
    draw_clusters,
    select_events,
)
from smallcaps_assets.schemas_research import LABELS, WIN_RATES
from smallcaps_assets_tests.research_factories import read_oracle

RULES: Final = LabelRules(draws=200)
START: Final = dt.datetime(2024, 1, 2, 15, tzinfo=dt.UTC)
E2, E7 = "E2_GapUp", "E7_FirstRedDay"


def make_label(number: int, net: float | None, **changes: object) -> dict[str, Any]:
    outcome = "no_exit" if net is None else "profit" if net > 0 else "stop"
    day = START + dt.timedelta(days=number)
    row: dict[str, object] = dict.fromkeys(LABELS.columns)
    return row | {
        "ticker": f"T{number % 3}",
        "session_date": day.date(),
        "entry_session": day.date(),
        "known_timestamp": day,
        "event": E2,
        "side": 1,
        "is_event_side": True,
        "is_dataset_row": True,
        "horizon": 1,
        "outcome": outcome,
        "net_return": net,
        **changes,
    }


def measure(*rows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    schema = {**LABELS.schema}
    table = build_win_rates(pl.DataFrame(list(rows), schema), RULES)
    return {row["event"]: row for row in table.iter_rows(named=True)}


def test_wilson_and_holm() -> None:
    oracle = read_oracle("research/win_rates.json")

    for name, (low, high) in oracle["wilson_95"].items():
        wins, count = map(int, name.split(" of "))
        assert bound_wilson(wins, count) == pytest.approx((low, high), abs=1e-9)
    assert correct_holm(oracle["p"]) == pytest.approx(oracle["holm_over_11"], abs=1e-12)
    assert correct_holm([None, 0.01]) == [None, 0.11]


def test_a_win_is_a_net_return_above_zero_of_the_side_of_the_event() -> None:
    found = measure(
        make_label(0, 0.1),
        make_label(1, 0.0),
        make_label(2, -0.1),
        make_label(3, 0.3, is_event_side=False),
        make_label(4, None),
        make_label(5, None, outcome="cut"),
    )[E2]

    assert (found["decisions"], found["sessions"], found["tickers"]) == (3, 3, 3)
    assert (found["cut"], found["no_exit"], found["no_entry"]) == (1, 1, 0)
    assert found["win_rate"] == pytest.approx(1 / 3)
    assert (found["mean_net_return"], found["median_net_return"]) == (pytest.approx(0), 0)
    assert (found["clustered_low"], found["p_value"], found["p_holm"]) == (None, None, None)
    assert (found["lowest_without_a_ticker"], found["highest_without_a_ticker"]) == (0, 0.5)


def test_labels_of_one_session_are_drawn_together() -> None:
    """Twenty sessions of ten alike labels: the honest interval is three times as wide."""
    rows = [
        make_label(day, 0.1 if day % 2 else -0.1, ticker=f"T{copy}")
        for day in range(20)
        for copy in range(10)
    ]

    found = measure(*rows)[E2]

    clustered = found["clustered_high"] - found["clustered_low"]
    assert clustered > 2.5 * (found["wilson_high"] - found["wilson_low"])
    assert found["p_value"] > 0.2


def test_an_event_that_pays_is_found_and_corrected() -> None:
    found = measure(*(make_label(day, 0.1 + day / 1_000) for day in range(40)))

    assert found[E2]["p_value"] == pytest.approx(1 / 201)
    assert found[E2]["p_holm"] == pytest.approx(11 / 201)
    assert found[ALL_DECISIONS]["decisions"] == 40


def test_no_label_makes_a_table_of_one_row() -> None:
    found = measure()

    assert list(found) == [ALL_DECISIONS]
    assert (found[ALL_DECISIONS]["decisions"], found[ALL_DECISIONS]["win_rate"]) == (0, None)


def test_draws_are_of_whole_groups() -> None:
    groups = np.array([0, 0, 1])

    means = draw_clusters(groups, np.array([[1.0], [1.0], [0.0]]), RULES)

    assert set(np.unique(means)) == {0.0, 2 / 3, 1.0}


def test_events_are_chosen_by_the_lower_end_and_need_enough() -> None:
    row: dict[str, object] = dict.fromkeys(WIN_RATES.columns)
    values = [
        (E7, 30, 20, 0.5),
        (E2, 30, 20, 0.5),
        ("E8_GapDownViolent", 300, 200, 0.6),
        ("E9_CrashIntraday", 29, 20, 0.9),
        ("E10_FirstGreenBounce", 30, 19, 0.9),
        (ALL_DECISIONS, 999, 999, 0.99),
    ]
    table = pl.DataFrame(
        [
            row | {"event": event, "decisions": n, "sessions": sessions, "clustered_low": low}
            for event, n, sessions, low in values
        ],
        WIN_RATES.schema,
    )

    assert select_events(table, 2) == ["E8_GapDownViolent", E2]
    assert select_events(table, 9) == ["E8_GapDownViolent", E2, E7]
