"""Rows of the vendor that contradict one another or have no ticker, over HTTP."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets.core import states
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.source import StaticSource
from smallcaps_assets.errors import DataError
from smallcaps_assets.ingest.budget.expectations import STORED, label_sessions, read_bar_facts
from smallcaps_assets.ingest.events.watchlist import find_watchlist
from smallcaps_assets.ingest.reference.daily_bars import (
    due_months,
    judge_daily_bars,
    refresh_daily_bars,
    refresh_splits,
)
from smallcaps_assets.lake.tables.files import encode_table
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import DAILY_BARS
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse, write_text

MONTH: Final = "2024-12"
SESSIONS: Final = load_calendar().dates(dt.date(2024, 12, 2), dt.date(2024, 12, 31))
BAD: Final = dt.date(2024, 12, 5)
SPLIT: Final = {"ticker": "AAA", "execution_date": "2024-12-05", "split_from": 15, "split_to": 1}
GARBAGE: Final = ("\x00HTLP^\ufffd-$b", "", " ", "ztest", "T" * 21, "../A", "A/B", None)


def make_bar(ticker: str | None, **changes: object) -> dict[str, Any]:
    return {"T": ticker, "o": 1, "h": 2, "l": 1, "c": 2, "v": 10, "vw": 1.5, "n": 3} | changes


@pytest.fixture
def source() -> StaticSource:
    return StaticSource(
        bars={date.isoformat(): [make_bar("AAA"), make_bar("BBB")] for date in SESSIONS}
    )


@pytest.fixture
def server(source: StaticSource) -> Iterator[EmulatorServer]:
    with EmulatorServer(source) as server:
        yield server


@pytest.fixture
def lakehouse(tmp_path: Path, server: EmulatorServer) -> Lakehouse:
    return make_lakehouse(
        tmp_path, server.url, source="vendor", first_session=BAD, last_session=SESSIONS[-1]
    )


def refresh(lakehouse: Lakehouse) -> dict[str, object]:
    (month,) = refresh_daily_bars(lakehouse, [MONTH])
    assert month.is_closed
    return dict(month.numbers)


def test_equal_bars_are_merged_and_counted(lakehouse: Lakehouse, source: StaticSource) -> None:
    """L44: one ticker twice in an answer ended every later plan."""
    source.bars[BAD.isoformat()] = [make_bar("AAA"), make_bar("BBB"), make_bar("AAA")]

    numbers = refresh(lakehouse)

    assert (numbers["repeated_bars"], numbers["bars_set_aside"]) == (1, 0)
    assert lakehouse.tables.read_daily_bars(BAD, BAD).collect()["ticker"].to_list() == [
        "AAA",
        "BBB",
    ]
    assert judge_daily_bars(lakehouse).passed
    assert MONTH not in due_months(lakehouse)


def test_contradicting_bars_are_asked_for_again(
    lakehouse: Lakehouse, server: EmulatorServer
) -> None:
    """L44: an answer that heals is taken."""
    stamp = int(dt.datetime(2024, 12, 5, 21, tzinfo=dt.UTC).timestamp() * 1000)
    rows = [make_bar("AAA", t=stamp), make_bar("AAA", t=stamp, v=99)]
    body = json.dumps({"status": "OK", "resultsCount": 2, "results": rows}).encode()
    server.faults = [Fault(endpoint="grouped", date=BAD, body=body, times=1)]

    numbers = refresh(lakehouse)

    assert numbers["bars_set_aside"] == 0
    assert len(server.requests) == len(SESSIONS) + 1
    assert lakehouse.tables.read_bar_months()[0].covered == tuple(SESSIONS)


def test_bars_that_stay_contradicting_are_set_aside_and_named_until_they_heal(
    lakehouse: Lakehouse, source: StaticSource
) -> None:
    """L44: neither is stored, the date proves no absence, and the next plan asks again."""
    good = source.bars[BAD.isoformat()]
    source.bars[BAD.isoformat()] = [*good, make_bar("AAA", v=99)]

    refresh(lakehouse)
    verdict = judge_daily_bars(lakehouse)

    assert not verdict.passed
    assert verdict.offenders.rows() == [("AAA", BAD, "different bars of one session")]
    assert lakehouse.tables.read_daily_bars(BAD, BAD).collect()["ticker"].to_list() == ["BBB"]
    asked = pl.DataFrame({"ticker": ["AAA"], "session_date": [BAD]})
    facts = read_bar_facts(lakehouse.tables, asked)
    assert facts.judge_empty("AAA", BAD) == states.EMPTY_UNVERIFIED
    assert MONTH in due_months(lakehouse)

    source.bars[BAD.isoformat()] = good
    refresh(lakehouse)

    assert judge_daily_bars(lakehouse).passed
    assert MONTH not in due_months(lakehouse)


@pytest.mark.parametrize("symbol", GARBAGE)
def test_symbols_that_are_none_are_left_out_and_shown(
    lakehouse: Lakehouse, source: StaticSource, symbol: str | None
) -> None:
    """L45: one that fires a rule stopped the plan and was not named."""
    garbage = make_bar(symbol, o=2, h=9, c=8)
    source.bars[BAD.isoformat()] = [*source.bars[BAD.isoformat()], garbage]

    numbers = refresh(lakehouse)
    verdict = judge_daily_bars(lakehouse)

    assert numbers["garbage_symbols"] == verdict.numbers["garbage_symbols"] == 1
    assert verdict.passed
    assert "1 rows of the vendor had no ticker for a symbol" in verdict.summary
    ((shown, date, problem),) = verdict.offenders.rows()
    assert (date, problem) == (BAD, "no ticker")
    assert shown.isprintable()
    assert set(find_watchlist(lakehouse)["ticker"]) <= {"AAA", "BBB"}


def test_a_month_stored_unsound_by_an_earlier_version_is_fetched_again(
    lakehouse: Lakehouse,
) -> None:
    """L44: until then it is refused with the way out, and not by an error of a library."""
    refresh(lakehouse)
    bars = lakehouse.tables.read_daily_bars().collect()
    doubled = pl.concat([bars, bars.head(1).with_columns(volume=99.0)])
    old = {"month": MONTH, "rows": 1, "is_closed": True, "sessions": 21, "covered": []}
    path = lakehouse.layout.daily_bars_file(MONTH)
    path.write_bytes(encode_table(DAILY_BARS, doubled, old))

    assert MONTH in due_months(lakehouse)
    with pytest.raises(DataError, match=r"2024-12 hold bars .* run `smallcaps plan`"):
        find_watchlist(lakehouse)
    with pytest.raises(DataError, match=r"2024-12 hold different bars .* run `smallcaps plan`"):
        label_sessions(lakehouse.tables, bars.select("ticker", "session_date"), STORED.to_frame())

    refresh(lakehouse)

    assert MONTH not in due_months(lakehouse)


def test_contradicting_splits_are_set_aside_and_decided_in_a_file(
    tmp_path: Path, lakehouse: Lakehouse, source: StaticSource, server: EmulatorServer
) -> None:
    """L43: two contradicting records refused the whole plan, and no file could be corrected."""
    source.splits = [SPLIT, SPLIT | {"split_from": 1, "split_to": 15}, SPLIT | {"ticker": "BBB"}]

    made = refresh_splits(lakehouse)

    assert not made.verdict.passed
    assert "SMALLCAPS_DECIDED_SPLITS" in made.verdict.summary
    assert made.verdict.offenders["ticker"].to_list() == ["AAA", "AAA"]
    assert len(server.requests) == 2
    assert lakehouse.tables.read_splits().rows() == [
        ("AAA", BAD, None, None),
        ("BBB", BAD, 15.0, 1.0),
    ]

    text = "ticker,execution_date,split_from,split_to\nAAA,2024-12-05,15,1\n"
    decided = write_text(tmp_path / "decided.csv", text)
    deciding = make_lakehouse(
        tmp_path, server.url, source="vendor", first_session=BAD, decided_splits=decided
    )
    made = refresh_splits(deciding)

    assert made.verdict.passed
    assert deciding.tables.read_splits()["split_from"].to_list() == [15.0, 15.0]

    write_text(decided, text + "AAA,2024-12-05,1,15\n")
    with pytest.raises(DataError, match=r"decided\.csv: splits: 2 rows that contradict"):
        refresh_splits(deciding)
