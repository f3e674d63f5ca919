"""Plans of chosen events: by name, by win rate, ranked without hindsight; and what is recorded."""

import datetime as dt
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from pydantic import ValidationError

from smallcaps_assets.core.events.watchlist import narrow_watchlist
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.ingest.events.choice import choose_events
from smallcaps_assets.ingest.events.watchlist import make_pilot, make_watchlist
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lake.tables.plan_record import PlanRecord
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import PILOT_WATCHLIST, WATCHLIST
from smallcaps_assets.schemas_research import LABELS, WIN_RATES
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse, write_text

ADDRESS: Final = "http://127.0.0.1:9"
"""Nothing listens here."""
TEXT: Final = """ticker,date,events
AA,2024-03-05,E6|E8
AA,2024-03-12,E6
BB,2024-03-05,E6
BB,2024-03-19,E8
BB,2024-03-26,E8
"""


def make_choosing(folder: Path, **changes: object) -> Lakehouse:
    folder.mkdir(exist_ok=True)
    watchlist = write_text(folder / "watchlist.csv", TEXT)
    lakehouse = make_lakehouse(folder / "data", ADDRESS, watchlist=watchlist, **changes)
    make_watchlist(lakehouse)
    return lakehouse


def plan(lakehouse: Lakehouse) -> tuple[PlanRecord, list[tuple[str, dt.date]]]:
    """Publish the plan; return its record and the rows of the pilot."""
    assert make_pilot(lakehouse).verdict.passed
    assert make_plan(lakehouse).verdict.passed
    pilot = lakehouse.tables.read_table(PILOT_WATCHLIST)
    return lakehouse.tables.read_plan()[0], pilot.select("ticker", "session_date").rows()


def store_rates(lakehouse: Lakehouse, *rows: tuple[str, int, float]) -> None:
    """Store win rates of events, and a label on a day in March."""
    store = ResearchStore(lakehouse.home, lakehouse.fs)
    rate = dict.fromkeys(WIN_RATES.columns)
    counts = dict.fromkeys(("sessions", "tickers", "cut", "no_entry", "no_exit", "no_target"), 40)
    rates = [
        rate | counts | {"event": event, "side": 1, "decisions": n, "clustered_low": low}
        for event, n, low in rows
    ]
    store.write(WIN_RATES, None, [pl.DataFrame(rates, WIN_RATES.schema)], {})
    instant = dt.datetime(2024, 3, 5, 21, tzinfo=dt.UTC)
    label: dict[str, object] = dict.fromkeys(LABELS.columns)
    label |= {"ticker": "AA", "session_date": dt.date(2024, 3, 5), "known_timestamp": instant}
    label |= {"event": "E6_MultipleGreenDays", "side": 1, "is_event_side": True, "horizon": 1}
    label |= {"is_dataset_row": True, "outcome": "cut", "entry_session": dt.date(2024, 3, 6)}
    store.write(LABELS, None, [pl.DataFrame([label], LABELS.schema)], {})


def test_chosen_events_are_planned_alone(tmp_path: Path) -> None:
    lakehouse = make_choosing(tmp_path, plan_events="e8")

    record, rows = plan(lakehouse)

    assert record.events == ("E8_GapDownViolent",)
    assert record.rows_per_event == {"E8_GapDownViolent": 3}
    assert [ticker for ticker, _ in rows] == ["AA", "BB", "BB"]
    assert lakehouse.tables.read_table(WATCHLIST).height == 5


def test_events_are_counted_again_when_some_are_left_out() -> None:
    rows = {"ticker": ["A", "B"], "session_date": [dt.date(2024, 3, 5)] * 2}
    watchlist = pl.DataFrame(
        rows | {"events": [["E1", "E2"], ["E1"]], "event_count": [2, 1]}, WATCHLIST.schema
    )

    narrowed = narrow_watchlist(watchlist, ["E2"])

    assert narrowed.rows() == [("A", dt.date(2024, 3, 5), ["E2"], 1)]


def test_win_rates_choose_and_the_record_says_on_which_sessions(tmp_path: Path) -> None:
    lakehouse = make_choosing(tmp_path, plan_events_by_win_rate=1)
    store_rates(lakehouse, ("E8_GapDownViolent", 30, 0.6), ("E6_MultipleGreenDays", 30, 0.7))

    record, rows = plan(lakehouse)

    assert record.events == ("E6_MultipleGreenDays",)
    assert record.chosen_on == ("2024-03-05",)
    assert len(rows) == 3


def test_a_choice_without_enough_says_what_it_needs(tmp_path: Path) -> None:
    lakehouse = make_choosing(tmp_path, plan_events_by_win_rate=1)

    with pytest.raises(MissingPartitionError, match="smallcaps research"):
        choose_events(lakehouse)
    store_rates(lakehouse, ("E8_GapDownViolent", 29, 0.6))
    with pytest.raises(ConfigError, match="no event has the 30 decisions"):
        choose_events(lakehouse)


def test_an_unknown_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no event 'E12'"):
        choose_events(make_choosing(tmp_path, plan_events="E8,E12"))


def test_a_ranking_until_a_date_looks_at_nothing_later(tmp_path: Path) -> None:
    """BB has more sessions in all, and AA more of them before the date."""
    until = dt.date(2024, 3, 18)

    later = plan(make_choosing(tmp_path / "a", pilot_tickers=1))
    record, rows = plan(make_choosing(tmp_path / "b", pilot_tickers=1, plan_rank_until=until))

    assert {ticker for ticker, _ in later[1]} == {"BB"}
    assert {ticker for ticker, _ in rows} == {"AA"}
    assert (record.is_ranked, record.rank_until) == (True, until)
    assert (later[0].is_ranked, later[0].rank_until) == (True, None)


@pytest.mark.parametrize(
    ("changes", "min_events", "is_ranked"),
    [({}, None, False), ({"pilot_min_events": 0}, 1, False), ({"pilot_min_events": 2}, 2, False)],
)
def test_the_record_says_how_rows_were_chosen(
    tmp_path: Path, changes: dict[str, object], min_events: int | None, *, is_ranked: bool
) -> None:
    record, _ = plan(make_choosing(tmp_path, **changes))

    assert (record.min_events, record.is_ranked) == (min_events, is_ranked)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan_events": "E8", "plan_events_by_win_rate": 1}, "got both"),
        ({"pilot_budget": True, "plan_rank_until": "2024-01-02"}, "got a budget"),
        (
            {
                "plan_mode": "sessions",
                "plan_tickers": "A",
                "first_session": "2024-01-02",
                "plan_events": "E8",
            },
            "it has no events",
        ),
    ],
)
def test_choices_that_contradict_are_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        make_lakehouse(tmp_path, ADDRESS, **changes)
