"""The simulated vendors do what they say, so that a rule may be judged by them."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.conditions import measure_volume
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.polygon.reference import BarRow
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.ingest.ingest_factories import download, hash_stored, make_keys
from smallcaps_assets_tests.vendors import (
    DOUBLED_DATE,
    GROUPED,
    HEALS_ON,
    MODELS,
    Clock,
    DateDoubled,
    Loss,
    Model,
    Recalculated,
    SimulatedVendor,
    WithoutCounts,
    label_counted,
    open_lakehouse,
    store_bars,
)

DATES = load_calendar().dates(dt.date(2024, 3, 11), dt.date(2024, 3, 15))
TODAY = dt.date(2024, 7, 1)


def make_vendor(model: Model, today: dt.date = TODAY, **sizes: int) -> SimulatedVendor:
    return SimulatedVendor(model, Clock(today), sizes or {"ABCD": 240})


def read_bar(vendor: SimulatedVendor, date: dt.date = DATES[0]) -> dict[str, object]:
    return vendor.read_bars(date, date).row(0, named=True)


def count_lost(vendor: SimulatedVendor, page_limit: int | None = None) -> list[int]:
    """Return how many rows that count are missing of each date of one chain."""
    found = vendor.answer("ABCD", DATES, page_limit)
    return [
        measure_volume(vendor.truth("ABCD", date)).trade_count
        - measure_volume(found.filter(pl.col("session_date") == date)).trade_count
        for date in DATES
    ]


@pytest.mark.parametrize("name", ["honest", "honest with cancels"])
def test_an_honest_vendor_sends_what_its_bars_count(name: str) -> None:
    vendor = make_vendor(MODELS[name])

    found = vendor.answer("ABCD", DATES, 100)

    assert TRADES.conform(found).equals(pl.concat([vendor.truth("ABCD", d) for d in DATES]))
    assert not label_counted(found).all()
    for date in DATES:
        bar, own = read_bar(vendor, date), measure_volume(vendor.truth("ABCD", date))
        assert (bar["trade_count"], bar["volume"]) == (own.trade_count, pytest.approx(own.volume))
    assert vendor.asked[0].pages == -(-found.height // 100) > 1


def test_by_row_the_same_rows_are_lost_whatever_the_cut() -> None:
    vendor = make_vendor(MODELS["drops by row"])

    hashes = {hash_trades(vendor.answer("ABCD", DATES, limit)) for limit in (100, 333, 50_000)}

    assert len(hashes) == 1
    assert count_lost(vendor) == [3] * 5
    alone = vendor.answer("ABCD", DATES[:1])
    assert alone.equals(vendor.answer("ABCD", DATES)[: alone.height])


def test_by_page_another_cut_loses_other_rows() -> None:
    vendor = make_vendor(MODELS["drops by page"])

    answers = [vendor.answer("ABCD", DATES, limit) for limit in (400, 400, 401)]
    hashes = [hash_trades(answer) for answer in answers]

    assert hashes[0] == hashes[1] != hashes[2]
    pages = [asked.pages for asked in vendor.asked]
    whole = sum(vendor.truth("ABCD", date).height for date in DATES)
    assert [answer.height for answer in answers] == [whole - 3 * number for number in pages]


@pytest.mark.parametrize("by", ["page", "row"])
def test_a_vendor_heals_by_being_asked_or_by_a_date(by: str) -> None:
    asked = make_vendor(Model(Loss(rows=3, by=by, asks=1)))
    dated = make_vendor(Model(Loss(rows=3, by=by, until=HEALS_ON)), HEALS_ON - dt.timedelta(days=1))

    assert [sum(count_lost(asked)) > 0 for _ in range(3)] == [True, False, False]
    assert sum(count_lost(dated)) == sum(count_lost(dated)) > 0
    dated.clock.advance()
    assert sum(count_lost(dated)) == 0


def test_losses_may_be_of_some_dates_and_of_a_share() -> None:
    half = make_vendor(Model(Loss(share=0.5, by="row", dates=frozenset(DATES[2:3]))))

    lost = count_lost(half)

    rows = measure_volume(half.truth("ABCD", DATES[2])).trade_count
    assert lost == [0, 0, round(rows * 0.5), 0, 0]


@pytest.mark.parametrize("page", ["first", "middle", "last"])
def test_losses_may_be_of_one_page(page: str) -> None:
    vendor = make_vendor(Model(Loss(rows=2, page=page)))

    lost = sum(count_lost(vendor, 100))

    assert lost == 2 * (vendor.asked[-1].pages - 2 if page == "middle" else 1)


def test_counts_are_higher_in_sessions_of_enough_trades() -> None:
    vendor = make_vendor(MODELS["counts higher by two"], ABCD=240, TINY=20)
    honest = replace(vendor, model=MODELS["honest"])
    more = pl.col("trade_count").sub(honest.read_bars(DATES[0], DATES[-1])["trade_count"])

    bars = vendor.read_bars(DATES[0], DATES[-1]).with_columns(more=more)

    assert dict(bars.select("ticker", "more").unique().rows()) == {"ABCD": 2, "TINY": 0}


def test_one_date_is_doubled_until_the_vendor_mends_it() -> None:
    vendor = make_vendor(Model(bars=(DateDoubled(DOUBLED_DATE, HEALS_ON),)))
    volume = measure_volume(vendor.truth("ABCD", DOUBLED_DATE)).volume

    doubled = [read_bar(vendor, date)["volume"] for date in (DOUBLED_DATE, DATES[0])]
    vendor.clock = Clock(HEALS_ON)

    assert doubled[0] == pytest.approx(volume * 2)
    assert doubled[1] == pytest.approx(measure_volume(vendor.truth("ABCD", DATES[0])).volume)
    assert read_bar(vendor, DOUBLED_DATE)["volume"] == pytest.approx(volume)


def test_bars_are_recalculated_after_some_days() -> None:
    vendor = make_vendor(Model(bars=(Recalculated(days=5),)), DATES[0] + dt.timedelta(days=4))
    own = measure_volume(vendor.truth("ABCD", DATES[0])).trade_count

    fresh = read_bar(vendor)["trade_count"]
    vendor.clock.advance()

    assert fresh == own + -(-own * 26 // 1000)
    assert read_bar(vendor)["trade_count"] == own


def test_bars_older_than_a_cancel_count_the_withdrawn_originals() -> None:
    vendor = make_vendor(MODELS["bars older than a cancel"])
    trades = vendor.truth("ABCD", DATES[0])

    assert read_bar(vendor)["trade_count"] == measure_volume(trades).trade_count + 3


def test_bars_of_another_vendor_are_near_and_never_the_same() -> None:
    vendor = make_vendor(MODELS["bars of another vendor"])
    bars = vendor.read_bars(DATES[0], DATES[-1])
    own = [measure_volume(vendor.truth("ABCD", date)).volume for date in DATES]

    assert bars["volume"].to_list() == pytest.approx(own, rel=0.031)
    assert bars["volume"].to_list() != pytest.approx(own, rel=0.001)
    assert not vendor.model.has_own_bars


def test_bars_may_lack_counts_on_some_dates() -> None:
    vendor = make_vendor(Model(bars=(WithoutCounts(frozenset(DATES[:1])),)))

    counts = vendor.read_bars(DATES[0], DATES[-1])["trade_count"]

    assert counts.is_null().to_list() == [True, False, False, False, False]
    assert (
        make_vendor(MODELS["bars without counts"])
        .read_bars(DATES[0], DATES[0])["trade_count"]
        .is_null()
        .all()
    )


def test_the_download_core_runs_on_a_simulated_vendor(tmp_path: Path) -> None:
    vendor = make_vendor(MODELS["honest with cancels"], ABCD=240, TINY=3)
    lakehouse = open_lakehouse(tmp_path / "lake", vendor)
    store_bars(lakehouse, vendor, "2024-03")
    keys = [*make_keys("ABCD", DATES), *make_keys("TINY", DATES)]

    downloaded = download(lakehouse, keys)

    assert downloaded.keys_in("complete") == sorted(keys)
    truth = vendor.hash_truth([(ticker, date) for ticker in vendor.sizes for date in DATES])
    assert hash_stored(lakehouse) == truth
    assert {asked.on for asked in vendor.asked} == {TODAY}


def test_bars_may_be_asked_for_by_date() -> None:
    vendor = make_vendor(MODELS["honest"], ABCD=240, TINY=3)

    rows = [
        row
        for page in vendor.iter_pages(f"{GROUPED}{DATES[0]}", {}, row_type=BarRow)
        for row in page
    ]

    assert [row.trade_count for row in rows] == vendor.read_bars(DATES[0], DATES[0])[
        "trade_count"
    ].to_list()
    assert vendor.asked_bars == [(DATES[0], TODAY)]
