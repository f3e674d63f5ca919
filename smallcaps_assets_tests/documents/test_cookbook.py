"""The cookbook on an emulated lake: every recipe runs, and its answer is worked out once more.

The lake holds three tickers of March 2023: halts, a change of clocks, every kind of event, a
session that failed, one that lacks some of its bar, and rows of an archive that nobody has proven.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from smallcaps_assets import Lake
from smallcaps_assets.core.ticks.conditions import build_daily_bar, label_update_rules
from smallcaps_assets.core.ticks.disputes import RESIDUAL
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.archive_factories import (
    Layout,
    cut_files,
    keep,
    make_vendor_trades,
    write_session,
)
from smallcaps_assets_tests.documents.blocks import PYTHON, SQL, read_blocks
from smallcaps_assets_tests.documents.reader import Reader, open_folder
from smallcaps_assets_tests.documents.rules import RULES
from smallcaps_assets_tests.lakehouse_factories import (
    download_plan,
    make_lakehouse,
    publish_plan,
    refresh_due_bars,
)

PAGE: Final = "docs/cookbook.md"
FAILED: Final = ("JHHW", dt.date(2023, 3, 8))
"""The session that the vendor refuses, and of which an archive has rows."""
SETTLED: Final = ("LJTP", dt.date(2023, 3, 7))
"""The session of which the vendor lacks some trades, whoever asks."""
IMPORTED_ROWS: Final = 300
CLOCKS_CHANGE: Final = dt.date(2023, 3, 12)
KEY: Final = ("ticker", "session_date")
RECIPES: Final = 13


def fill(folder: Path) -> None:
    """Fill a lake of three tickers around a change of clocks."""
    ticker, date = FAILED
    fails = Fault("cut_json", ticker=ticker, date=date)
    lacks = Fault("short_page", ticker=SETTLED[0], date=SETTLED[1], rows=20, by="row")
    with EmulatorServer(Market(), [fails, lacks]) as server:
        lakehouse = make_lakehouse(
            folder / "data" / "demo",
            server.url,
            first_session="2023-03-01",
            last_session="2023-03-31",
            pilot_tickers=3,
        )
        refresh_due_bars(lakehouse)
        publish_plan(lakehouse)
        download_plan(lakehouse)
    import_rows(lakehouse, folder / "archive")
    refresh_catalog(lakehouse)
    lakehouse.ledger.close()


def import_rows(lakehouse: Lakehouse, archive: Path) -> None:
    """Import rows of the failed session that do not agree with its daily bar."""
    ticker, date = FAILED
    trades = make_vendor_trades(IMPORTED_ROWS, ticker=ticker, session_date=date)
    write_session(archive, Layout.DATES, cut_files(Layout.DATES, trades, keep), ticker, date)
    with lakehouse.writing("test", 0.0):
        assert len(list(Import(lakehouse, archive).run())) == 1


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Return a reader who has done all recipes on the lake."""
    with open_folder(tmp_path_factory.mktemp("cookbook")) as folder:
        fill(folder)
        reader = Reader(folder, RULES, {})
        reader.read(read_blocks(PAGE))
        yield reader


@pytest.fixture(scope="module")
def trades(reader: Reader) -> pl.DataFrame:
    """Return all trades with the vendor's rules, and their time in New York."""
    lazy = label_update_rules(Lake(reader.folder / "data" / "demo").trades())
    clock = pl.col("sip_timestamp").dt.convert_time_zone("America/New_York")
    return lazy.with_columns(clock=clock.dt.replace_time_zone(None)).collect()


@pytest.fixture(scope="module")
def counted(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades that count as volume."""
    return trades.filter("updates_volume")


def find_answer(reader: Reader, number: int) -> pl.DataFrame:
    """Return the answer to a recipe in SQL."""
    (answer,) = [rows for name, rows in reader.answers.items() if name.startswith(f"{number}. ")]
    assert answer.height > 0
    return answer


def find_row(answer: pl.DataFrame, **values: object) -> dict[str, Any]:
    """Return the row of an answer with these values."""
    is_it = pl.all_horizontal(pl.col(name) == value for name, value in values.items())
    return answer.row(by_predicate=is_it, named=True)


def test_there_are_thirteen_recipes_and_each_is_compared() -> None:
    headings = [block.heading for block in read_blocks(PAGE) if block.language in {SQL, PYTHON}]
    numbers = {int(heading.split(".")[0]) for heading in headings if heading[0].isdigit()}
    compared = {int(name.split("_")[2]) for name in globals() if name.startswith("test_recipe_")}

    assert numbers == compared == set(range(1, RECIPES + 1))


def test_recipe_1_gives_means_by_event_and_offset(reader: Reader, counted: pl.DataFrame) -> None:
    plan = Lake(reader.folder / "data" / "demo").plan()
    cover = plan.explode("events", "offsets").filter(events="E1_VolExplosion", offsets=-2)
    sums = counted.group_by(KEY).agg(trades=pl.len(), shares=pl.col("size").sum())
    expected = cover.join(sums, on=KEY)

    row = find_row(find_answer(reader, 1), event="E1_VolExplosion", session_offset=-2)

    assert row["sessions"] == expected.height > 1
    assert row["mean_trades"] == pytest.approx(expected["trades"].mean(), abs=0.5)
    assert row["mean_shares"] == pytest.approx(expected["shares"].mean(), abs=0.5)


def test_recipe_2_divides_by_the_whole_day(reader: Reader, counted: pl.DataFrame) -> None:
    answer = find_answer(reader, 2)
    size = pl.col("size")
    shares = counted.group_by(KEY).agg(
        share=size.filter(pl.col("clock").dt.time() < dt.time(9, 30)).sum() / size.sum()
    )

    joined = answer.join(shares, on=KEY, how="full", coalesce=True)

    assert max((joined["pre_market_share"] - joined["share"]).abs()) < 1e-12
    assert 0 < max(answer["pre_market_share"]) < 0.5
    assert answer["pre_market_share"].is_sorted(descending=True)


def test_recipe_3_finds_halts_that_the_market_made(reader: Reader, trades: pl.DataFrame) -> None:
    found = find_answer(reader, 3).with_columns(
        pl.col("stopped", "resumed").dt.convert_time_zone("UTC").dt.cast_time_unit("ns")
    )
    printed = trades.filter(trading_phase="regular").join(found, on=KEY)
    # Ends are cut to microseconds, so the print before a halt may lie behind its start.
    begun = pl.col("stopped") + pl.duration(microseconds=1)

    inside = printed.filter(pl.col("sip_timestamp").is_between(begun, "resumed", closed="none"))

    assert inside.is_empty()
    assert min(found["minutes"]) >= 5
    assert found.filter(ticker="LJTP", session_date=dt.date(2023, 3, 7)).height == 3


def test_recipe_4_counts_unique_sessions(reader: Reader) -> None:
    plan = Lake(reader.folder / "data" / "demo").plan()
    answer = find_answer(reader, 4)
    total, gaps = find_row(answer, event="all"), find_row(answer, event="E2_GapUp")
    covered = plan.filter(pl.col("events").list.contains("E2_GapUp"))

    assert total["effective_days"] == plan.height
    assert gaps["effective_days"] == covered.height
    assert gaps["window_days"] == covered["events"].list.count_matches("E2_GapUp").sum()
    assert answer["effective_days"].sum() > 2 * plan.height
    assert answer["event"][-1] == "all"


def test_recipe_5_bars_hold_the_volume_and_lie_in_the_daily_bar(
    reader: Reader, counted: pl.DataFrame
) -> None:
    bars: pl.DataFrame = reader.session["minute_bars"]
    daily = Lake(reader.folder / "data" / "demo").daily_bars().collect()
    regular = counted.filter(trading_phase="regular")
    priced = bars.group_by(KEY).agg(pl.col("high").max(), pl.col("low").min()).join(daily, on=KEY)

    assert bars["volume"].sum() == regular["size"].sum()
    assert bars["trade_count"].sum() == regular.height
    assert (priced["high"] == priced["high_right"]).all()
    assert (priced["low"] == priced["low_right"]).all()
    assert bars.select("ticker", "minute").is_unique().all()


def test_recipe_6_agrees_with_the_daily_bar(reader: Reader, trades: pl.DataFrame) -> None:
    answer = find_answer(reader, 6)
    bars = build_daily_bar(trades.lazy()).collect()

    whole = answer.filter(pl.col("shares") == pl.col("bar_shares"))

    assert answer.height == bars.height == whole.height + 1
    assert answer.row(0)[:2] == SETTLED
    assert (whole["trades"] == whole["bar_trades"]).all()
    assert max((whole["vwap"] - whole["bar_vwap"]).abs()) < 1e-4
    assert answer["shares"].sum() == bars["volume"].sum()


def test_recipe_7_stays_at_four_o_clock_when_clocks_change(reader: Reader) -> None:
    answer = find_answer(reader, 7)
    before = answer.filter(pl.col("session_date") < CLOCKS_CHANGE)
    after = answer.filter(pl.col("session_date") > CLOCKS_CHANGE)

    assert set(before["utc_hours"]) == {-5}
    assert set(after["utc_hours"]) == {-4}
    assert min(answer["first_print"]) == "16:00"
    assert max(answer["last_print"]) < "20:00"
    assert min(before.height, after.height) > 5


def test_recipe_8_counts_late_reports(reader: Reader, trades: pl.DataFrame) -> None:
    answer = find_answer(reader, 8)
    late = (answer["late_share"] * answer["trades"]).sum()
    worst = find_row(answer, trading_phase="pre_market", is_off_exchange=True)

    assert late == pytest.approx(trades["is_late_report"].sum())
    assert answer["trades"].sum() == trades.height
    assert worst["latest_s"] > 3_600
    assert answer["late_share"].is_between(0, 1).all()


def test_recipe_9_shares_are_those_of_the_tape(reader: Reader, counted: pl.DataFrame) -> None:
    answer = find_answer(reader, 9)
    row = find_row(answer, ticker="LJTP")
    mine = counted.filter(ticker="LJTP")
    off = mine.filter(exchange=4)

    assert row["trades_share"] == off.height / mine.height
    assert row["shares_share"] == pytest.approx(sum(off["size"]) / sum(mine["size"]))
    assert answer["trades_share"].is_between(0.1, 0.5).all()


def test_recipe_10_takes_the_first_minute_in_new_york(
    reader: Reader, counted: pl.DataFrame
) -> None:
    answer = find_answer(reader, 10)
    size, time = pl.col("size"), pl.col("clock").dt.time()
    regular = counted.filter(trading_phase="regular")
    expected = regular.group_by(KEY).agg(
        minute=size.filter(time < dt.time(9, 31)).sum() / size.sum(),
        auction=size.filter(pl.col("conditions").list.contains(25)).sum(),
    )

    joined = answer.join(expected, on=KEY)

    assert joined.height == expected.height == answer.height
    assert max((joined["first_minute_share"] - joined["minute"]).abs()) < 1e-12
    assert (joined["auction_shares"] == joined["auction"]).all()
    assert min(answer["auction_shares"]) > 0


def test_recipe_11_describes_sizes(reader: Reader, counted: pl.DataFrame) -> None:
    sizes: pl.DataFrame = reader.session["sizes"]
    odd = counted.filter(pl.col("size") < 100).height / counted.height
    mean = sum(sizes["odd_lot_share"] * sizes["trades"]) / sum(sizes["trades"])

    assert mean == pytest.approx(odd)
    assert sizes["fraction_share"].is_between(0.005, 0.05).all()
    assert (sizes["quarter"] <= sizes["median"]).all()
    assert (sizes["shares_in_largest_hundredth"] > 0.01).all()


def test_recipe_12_names_what_is_not_proven(reader: Reader) -> None:
    answer = find_answer(reader, 12)

    assert answer.rows() == [(*FAILED, "imported_unproven", None, IMPORTED_ROWS)]


def test_recipe_13_counts_sessions_by_mark(reader: Reader) -> None:
    answer = find_answer(reader, 13)
    complete = Lake(reader.folder / "data" / "demo").coverage().filter(state="complete")
    marks = complete["marks"].fill_null("none").str.split(",").explode()

    assert dict(answer.select("mark", "sessions").iter_rows()) == dict(
        marks.value_counts().iter_rows()
    )
    assert find_row(answer, mark=RESIDUAL)["sessions"] == 1
    assert answer.filter(mark="none")["trades"].item() == (
        complete.filter(pl.col("marks").is_null())["rows"].sum()
    )
