"""The simulated vendors do what they say, so that a rule may be judged by them."""

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.conditions import measure_volume
from smallcaps_assets.core.ticks.content_hash import hash_trades
from smallcaps_assets.schemas import TRADES
from smallcaps_assets_tests.ingest.ingest_factories import download, hash_stored, make_keys
from smallcaps_assets_tests.vendors import (
    DOUBLED_DATE,
    HEALS_ON,
    MODELS,
    Clock,
    Loss,
    Model,
    SimulatedVendor,
    label_counted,
    open_lakehouse,
    store_bars,
)

DATES = load_calendar().dates(dt.date(2024, 3, 11), dt.date(2024, 3, 15))
TODAY = dt.date(2024, 7, 1)


def make_vendor(model: Model, today: dt.date = TODAY, **sizes: int) -> SimulatedVendor:
    return SimulatedVendor(model, Clock(today), sizes or {"ABCD": 240})


def read_bar(vendor: SimulatedVendor, date: dt.date, ticker: str = "ABCD") -> dict[str, Any]:
    return vendor.read_bars(date, date).row(by_predicate=pl.col("ticker") == ticker, named=True)


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


@pytest.mark.parametrize("page", ["first", "middle", "last"])
def test_losses_may_be_of_one_page(page: str) -> None:
    vendor = make_vendor(Model(Loss(rows=2, page=page)))

    lost = sum(count_lost(vendor, 100))

    assert lost == 2 * (vendor.asked[-1].pages - 2 if page == "middle" else 1)


FRESH = DATES[-1] + dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "today", "ticker", "more", "factor"),
    [
        ("counts higher by two", TODAY, "ABCD", 2, 1),
        ("counts higher by two", TODAY, "TINY", 0, 1),  # of few trades
        ("bars older than a cancel", TODAY, "ABCD", 3, None),
        ("one date doubled until a date", TODAY, "ABCD", 0, 2),
        ("one date doubled until a date", HEALS_ON, "ABCD", 0, 1),
        ("bars recalculated after days", FRESH, "ABCD", None, 1.026),
        ("bars recalculated after days", TODAY, "ABCD", 0, 1),
        ("bars without counts", TODAY, "ABCD", None, 1),
    ],
)
def test_bars_differ_from_the_tape_as_their_model_says(
    name: str, today: dt.date, ticker: str, more: int | None, factor: float | None
) -> None:
    vendor = make_vendor(MODELS[name], today, ABCD=240, TINY=20)
    own = measure_volume(vendor.truth(ticker, DOUBLED_DATE))

    bar = read_bar(vendor, DOUBLED_DATE, ticker)

    assert more is None or bar["trade_count"] == own.trade_count + more
    assert factor is None or bar["volume"] == pytest.approx(own.volume * factor)
    assert (bar["trade_count"] is None) == (name == "bars without counts")


def test_bars_of_another_vendor_are_near_and_never_the_same() -> None:
    vendor = make_vendor(MODELS["bars of another vendor"])
    bars = vendor.read_bars(DATES[0], DATES[-1])
    own = [measure_volume(vendor.truth("ABCD", date)).volume for date in DATES]

    assert bars["volume"].to_list() == pytest.approx(own, rel=0.031)
    assert bars["volume"].to_list() != pytest.approx(own, rel=0.001)
    assert not vendor.model.has_own_bars


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
