"""Watchlists with tickers outside the universe: reported, kept or dropped, never silently."""

from pathlib import Path
from typing import Any, Final

import pytest

from smallcaps_assets.core.verdicts import MadeTable
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.events.watchlist import make_watchlist
from smallcaps_assets.ingest.reference.universe import refresh_universe
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import WATCHLIST
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse, write_text

LISTINGS: Final = """\
ticker,type,primary_exchange,listed_date,delisted_date,market_cap,market_cap_as_of_date
AAAA,CS,XNAS,2010-01-04,,3000000000,2024-06-28
GONE,CS,XNYS,2010-01-04,2020-05-06,,
FUND,ETF,ARCX,2010-01-04,,,
"""
EVENTS: Final = """ticker,date
AAAA,2024-01-10
AAAA,2024-07-10
GONE,2019-01-10
GONE,2021-01-11
FUND,2024-01-10
"""
OUTSIDE: Final = 3


def open_lakehouse(folder: Path, *, with_universe: bool = True, **changes: object) -> Lakehouse:
    """Return a lakehouse with a watchlist of which three rows lie outside its universe."""
    values: dict[str, object] = {
        "watchlist": (write_text(folder / "watchlist.csv", EVENTS),),
        "universe": write_text(folder / "listings.csv", LISTINGS),
    }
    lakehouse = make_lakehouse(folder / "data", "http://127.0.0.1:9", **(values | changes))
    if with_universe:
        assert refresh_universe(lakehouse).verdict.passed
    return lakehouse


def list_rows(lakehouse: Lakehouse) -> list[str]:
    rows = lakehouse.tables.read_table(WATCHLIST).select("ticker", "session_date").rows()
    return [f"{ticker} {date}" for ticker, date in rows]


def read_outside(made: MadeTable) -> tuple[object, ...]:
    names = ("outside_universe_action", "outside_universe_rows", "outside_universe_tickers")
    return tuple(made.numbers[name] for name in names)


@pytest.mark.parametrize(
    ("action", "rows", "words"),
    [
        (None, 5, "3 rows of 3 tickers lie outside the universe and were kept"),
        ("keep", 5, ""),
        ("drop", 2, "were dropped"),
    ],
)
def test_rows_outside_are_counted_whatever_is_done_about_them(
    tmp_path: Path, action: str | None, rows: int, words: str
) -> None:
    """L22: dropped, the event of a delisted company stays, that of its ticker's later life goes."""
    changes: dict[str, Any] = {"outside_universe": action} if action else {}
    lakehouse = open_lakehouse(tmp_path, **changes)

    made = make_watchlist(lakehouse)

    assert read_outside(made) == (action or "report", OUTSIDE, 3)
    assert len(list_rows(lakehouse)) == rows
    assert {"AAAA 2024-01-10", "GONE 2019-01-10"} <= set(list_rows(lakehouse))
    assert made.verdict.passed
    assert words in made.verdict.summary
    assert bool(words) == ("outside" in made.verdict.summary)


def test_rows_outside_are_shown_with_the_reason(tmp_path: Path) -> None:
    made = make_watchlist(open_lakehouse(tmp_path))

    shown = made.tables["outside_universe"].select("ticker", "reason").rows()
    assert shown == [
        ("AAAA", "above the cap as of its date"),
        ("FUND", "no listing in the universe"),
        ("GONE", "outside the listing period"),
    ]
    assert made.numbers["outside_universe: outside the listing period"] == 1


def test_a_cap_is_applied_backwards_only_when_that_is_asked_for(tmp_path: Path) -> None:
    """L22: today's market cap decided membership of 2004."""
    lakehouse = open_lakehouse(tmp_path, outside_universe="drop", universe_cap_backwards=True)

    made = make_watchlist(lakehouse)

    assert list_rows(lakehouse) == ["GONE 2019-01-10"]
    assert made.numbers["outside_universe_cap_backwards"] == "yes: look-ahead"


def test_a_watchlist_that_is_outside_as_a_whole_is_not_published(tmp_path: Path) -> None:
    watchlist = write_text(tmp_path / "fund.csv", "ticker,date\nFUND,2024-01-10\n")
    lakehouse = open_lakehouse(tmp_path, outside_universe="drop", watchlist=(watchlist,))

    made = make_watchlist(lakehouse)

    assert not made.verdict.passed
    assert "expected at least one row, got none: none of 1 rows lies in" in made.verdict.summary


@pytest.mark.parametrize("action", ["report", "keep"])
def test_without_a_universe_nothing_changes(tmp_path: Path, action: str) -> None:
    lakehouse = open_lakehouse(tmp_path, with_universe=False, outside_universe=action)

    made = make_watchlist(lakehouse)

    assert len(list_rows(lakehouse)) == 5
    assert "outside_universe_rows" not in made.numbers


def test_nothing_can_be_dropped_without_a_universe(tmp_path: Path) -> None:
    lakehouse = open_lakehouse(tmp_path, with_universe=False, outside_universe="drop")

    with pytest.raises(MissingPartitionError, match="materialize universe"):
        make_watchlist(lakehouse)
