"""From a small lake to decisions, labels and win rates: whole, with holes, and again."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.ingest.derived import index_stored
from smallcaps_assets.research.document import document_research
from smallcaps_assets.research.events import make_intraday_events
from smallcaps_assets.research.ground import Ground, cut_batches
from smallcaps_assets.research.labelling import make_labels
from smallcaps_assets.research.pictures import draw_events, draw_labels
from smallcaps_assets.research.studies import (
    make_event_features,
    make_event_outcomes,
    prove_no_future,
)
from smallcaps_assets.schemas_research import (
    DECISIONS,
    EVENT_FEATURES,
    EVENT_OUTCOMES,
    INTRADAY_EVENTS,
    LABELS,
    WIN_RATES,
)
from smallcaps_assets_tests.lakehouse_factories import (
    REPO_ROOT,
    SmallLake,
    plan_small_lake,
)
from smallcaps_assets_tests.research.ground_factories import open_ground, write_pilot
from smallcaps_assets_tests.stored_rows import rewrite_session

ENTRY: Final = "CON_2024-01-31"


def study(ground: Ground) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return decisions and labels, made now."""
    assert make_intraday_events(ground).verdict.passed
    assert make_labels(ground).verdict.passed
    return ground.read(DECISIONS), ground.read(LABELS)


@pytest.fixture
def ground(small_lake: SmallLake, tmp_path: Path) -> Ground:
    lakehouse = small_lake.copy(tmp_path)
    write_pilot(lakehouse)
    return open_ground(lakehouse)


def test_every_event_is_known_and_every_decision_is_labelled_on_both_sides(ground: Ground) -> None:
    decisions, labels = study(ground)

    events = ground.read(INTRADAY_EVENTS)
    assert events.height == 5
    told = events.filter(pl.col("reason").is_null())
    assert set(told["event"]) <= {"E2_GapUp", "E3_PriceSpikeIntraday", "E9_CrashIntraday"}
    refuted = events.filter(~pl.col("is_confirmed"))
    wanted = events.height - refuted.height
    assert decisions["events"].list.len().sum() == wanted
    assert labels.height == 2 * wanted
    assert labels["is_dataset_row"].sum() == decisions.height


def test_labels_enter_after_the_decision_and_end_inside_the_plan(ground: Ground) -> None:
    _, labels = study(ground)

    made = labels.drop_nulls("net_return")
    assert made.height > 0
    assert (made["entry_timestamp"] > made["known_timestamp"]).all()
    assert (made["exit_timestamp"] <= made["vertical_timestamp"]).all()
    assert (made["net_return"] < made["gross_return"]).all()


def test_a_second_run_reads_nothing_and_a_changed_session_is_seen(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    write_pilot(lakehouse)
    first = open_ground(lakehouse)
    study(first)
    rows = first.read(LABELS)

    again = open_ground(lakehouse)
    assert make_intraday_events(again).numbers["is_reused"] == 1
    assert make_labels(again).numbers["is_reused"] == 1

    rewrite_session(lakehouse, ENTRY, lambda t: t.with_columns(pl.col("price") * 1.01))
    index_stored(lakehouse)
    later = open_ground(lakehouse)
    assert make_intraday_events(later).numbers["is_reused"] == 0
    assert make_labels(later).numbers["is_reused"] == 0
    assert not later.read(LABELS).equals(rows)


def test_batches_change_nothing(small_lake: SmallLake, tmp_path: Path) -> None:
    lakehouse = small_lake.copy(tmp_path)
    write_pilot(lakehouse)
    _, whole = study(open_ground(lakehouse))

    small = open_ground(lakehouse, batch_rows=1)
    (small.store.path(WIN_RATES)).unlink()
    (small.store.path(DECISIONS)).unlink()
    _, labels = study(small)

    assert_frame_equal(labels, whole)


def test_without_a_download_events_are_not_proven_and_nothing_is_entered(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = plan_small_lake(tmp_path, market_server.url)
    write_pilot(lakehouse)
    lakehouse.ledger.close()
    lakehouse.home.lake_dir.mkdir(exist_ok=True)

    ground = open_ground(lakehouse)
    decisions, labels = study(ground)

    reasons = ground.read(INTRADAY_EVENTS)["reason"].to_list()
    assert set(reasons) == {"daily_bar", "not_proven"}
    assert decisions.height == 2
    assert set(labels["outcome"]) == {"no_entry"}
    assert set(labels["reason"]) == {"not_in_lake"}
    assert ground.read(WIN_RATES)["decisions"].to_list()[-1] == 0


def test_without_daily_bars_nothing_is_compared_and_there_is_no_target(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    write_pilot(lakehouse)
    shutil.rmtree(lakehouse.home.daily_bars_dir)

    ground = open_ground(lakehouse)
    decisions, labels = study(ground)

    reasons = ground.read(INTRADAY_EVENTS)["reason"].to_list()
    assert set(reasons) == {"daily_bar", "no_bar"}
    assert decisions["sigma"].null_count() == decisions.height
    assert set(labels["outcome"]) <= {"no_target", "no_entry", "cut"}
    assert labels["net_return"].null_count() == labels.height


def test_features_are_proven_and_outcomes_lie_apart(ground: Ground) -> None:
    decisions, _ = study(ground)

    assert make_event_features(ground).verdict.passed
    assert make_event_outcomes(ground).verdict.passed

    features, outcomes = ground.read(EVENT_FEATURES), ground.read(EVENT_OUTCOMES)
    assert features.height == decisions.height
    assert not set(features.columns) & {"close_return", "high_return", "low_return"}
    assert outcomes.height == 3 * decisions.height


def test_a_feature_that_looks_ahead_turns_the_check_red(ground: Ground) -> None:
    decisions, _ = study(ground)
    make_event_features(ground)
    tomorrow = ground.read(EVENT_FEATURES).with_columns(pl.col("return_5") + 1e-15 + 0.01)

    verdict = prove_no_future(ground, tomorrow, decisions)

    assert not verdict.passed
    assert "return_5" in verdict.summary


def test_the_document_and_the_pictures_tell_what_was_made(ground: Ground) -> None:
    assert not document_research(ground).is_made
    decisions, labels = study(ground)

    document = document_research(ground)

    assert (document.decisions, document.labels) == (decisions.height, labels.height)
    assert document.win_rates[-1].event == "all_decisions"
    assert {*draw_events(ground), *draw_labels(ground)} == {
        "confirmed_events",
        "win_rates",
        "label_outcomes",
    }


def test_labels_before_decisions_say_what_to_do(ground: Ground) -> None:
    with pytest.raises(MissingPartitionError, match="materialize decisions"):
        make_labels(ground)


def test_batches_are_of_whole_tickers_unless_one_is_too_large() -> None:
    sessions = pl.DataFrame({"ticker": ["A", "A", "B", "C"], "rows": [3, 3, 2, 2]})

    cut = [part["ticker"].to_list() for part in cut_batches(sessions, 6)]
    tiny = [part["rows"].to_list() for part in cut_batches(sessions, 1)]

    assert cut == [["A", "A"], ["B", "C"]]
    assert tiny == [[3], [3], [2], [2]]


def test_the_notebook_runs_from_lake_to_win_rates(ground: Ground) -> None:
    study(ground)
    notebook = json.loads((REPO_ROOT / "docs/research.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    data = str(ground.store.layout.data_dir)
    names: dict[str, Any] = {}

    for cell in cells:
        exec(cell.replace("data/demo", data), names)  # noqa: S102  cells of our own page

    assert cells[0].count("data/demo") == 1
    assert names["is_a_print"]
    assert names["rates"]["event"].to_list()[-1] == "all_decisions"
    assert names["by_session"].height > 0


def test_a_table_of_months_is_not_one_file(ground: Ground) -> None:
    with pytest.raises(ConfigError, match="no table of research in one file"):
        ground.lake.research("minute_bars")
