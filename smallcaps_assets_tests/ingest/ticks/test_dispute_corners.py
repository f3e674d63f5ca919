"""What may happen while sessions are disputed: damage, kills, wrong clocks, few requests.

L27 in all of it.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.core.states import COMPLETE, DISPUTED
from smallcaps_assets.core.ticks.disputes import DIFFERS, LEAST_BUDGET, RESIDUAL, UNPROVEN
from smallcaps_assets.core.ticks.tape import FetchedTrades
from smallcaps_assets.errors import VendorUnavailableError
from smallcaps_assets.ingest.archive.importing import Import
from smallcaps_assets.ingest.archive.outcomes import Action, ImportedSession
from smallcaps_assets.ingest.derived import refresh_catalog
from smallcaps_assets.lake.interchange.export import export_dates
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.tables.bar_months import BarOrigin
from smallcaps_assets.lake.tables.plan_record import PlanRecord, hash_plan
from smallcaps_assets.lake.unlisted import read_receipts
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.archive_factories import Layout, cut_files, keep, write_session
from smallcaps_assets_tests.ingest.ingest_factories import list_kept
from smallcaps_assets_tests.ingest.vendor_histories import History
from smallcaps_assets_tests.lake.disks import Crash
from smallcaps_assets_tests.lake.reader_factories import make_window_plan
from smallcaps_assets_tests.vendors import (
    DOUBLED_DATE,
    CountsHigher,
    DateDoubled,
    Loss,
    Model,
    Recalculated,
    SimulatedVendor,
    WithoutCounts,
)

WEEK = (dt.date(2024, 3, 11), dt.date(2024, 3, 15))
MONDAY = (WEEK[0], WEEK[0])
TWO_DATES = (WEEK[0], WEEK[0] + dt.timedelta(days=1))
"""One date alone of which most tickers lack some would be taken for one whose bars are wrong."""
LATER, SOON = dt.date(2024, 7, 1), dt.date(2024, 3, 27)
ONE = {"ABCD": 240}
HALF = Model(Loss(share=0.5, by="row"))
FEW = Model(Loss(rows=3, by="row"))


@dataclass
class TroubledVendor(SimulatedVendor):
    """A vendor that is in trouble when it is asked again.

    Attributes:
        trouble: ``down``, ``empty`` or ``interrupt``.
        troubles: How often it was.
    """

    trouble: str = ""
    troubles: int = 0

    def fetch_trades(
        self,
        *args: Any,  # noqa: ANN401  as they came
        page_limit: int | None = None,
        **named: Any,  # noqa: ANN401  as they came
    ) -> FetchedTrades:
        """Return what it sends, or what its trouble makes of it."""
        found = super().fetch_trades(*args, page_limit=page_limit, **named)
        if page_limit == self.page_limit or not self.trouble:
            return found
        self.troubles += 1
        if self.trouble == "down":
            error = VendorUnavailableError("503", url="http://vendor")
            error.requests = 1
            raise error
        if self.trouble == "interrupt":
            # The main thread gets it with the answer, in the middle of its loop.
            raise KeyboardInterrupt
        return replace(found, trades=found.trades.clear()) if self.trouble == "empty" else found


def begin(
    folder: Path,
    model: Model,
    today: dt.date = LATER,
    *,
    span: tuple[dt.date, dt.date] = WEEK,
    tickers: Mapping[str, int] = ONE,
    **changes: object,
) -> History:
    return History.begin(folder / "lake", model, today, span, tickers, **changes)


def trouble(history: History, name: str) -> TroubledVendor:
    """Let the vendor of a history be in trouble from now on."""
    old = history.vendor
    vendor = TroubledVendor(old.model, old.clock, old.sizes, trouble=name)
    history.reopen(vendor=vendor)
    return vendor


def assert_whole(history: History) -> None:
    """Assert that all is green, and what the ledger says of it lies on the disk."""
    assert history.find_red() == []
    assert not history.wrong | history.find_wrong()
    assert_proven(history)


def assert_proven(history: History) -> None:
    """Assert that each green session of the ledger has its receipt and the whole file of it."""
    store = history.lakehouse.sessions
    green = read_receipts(history.lakehouse.ledger, lambda: store.lake)
    for ticker, date, content in green.select("ticker", "session_date", "content_hash").rows():
        receipt = store.read_receipt(ticker, date)
        assert (receipt.state, receipt.content_hash) == (COMPLETE, content)
        assert not store.verify_session(receipt)


MODELS = pytest.mark.parametrize("model", [HALF, FEW, Model()], ids=["half", "few", "honest"])
CONTENTS = pytest.mark.parametrize(
    "content", [None, b"", b"PAR1 garbage PAR1"], ids=["gone", "cut", "other"]
)


@MODELS
@CONTENTS
def test_a_disputed_session_whose_rows_are_damaged_is_whole_after_a_download(
    tmp_path: Path, content: bytes | None, model: Model
) -> None:
    history = begin(tmp_path, HALF)
    history.run()
    assert history.find_red() == history.keys
    history.damage_rows(history.keys[2], content)

    assert_heals(history, model)


def assert_heals(history: History, model: Model) -> None:
    """Assert that nothing is damaged after the next day, on which the vendor is another one."""
    history.vendor.clock.advance()
    history.vendor.model = model
    history.run()

    store = history.lakehouse.sessions
    for receipt in store.iter_receipts():
        assert store.verify_session(receipt) == []
    if model.loss is None:
        assert_whole(history)
    assert not history.wrong


def test_each_disputed_session_is_asked_for_again_in_its_turn(tmp_path: Path) -> None:
    """What never settles must not take the budget of what would heal, run by run."""
    tickers = {f"T{number:02}": 60 for number in range(30)}
    history = begin(tmp_path, HALF, tickers=tickers, span=TWO_DATES)
    history.run_days(3)

    again = {chain.ticker for chain in history.vendor.asked if chain.page_limit != 50_000}
    assert again == set(tickers)
    assert max(history.spent) <= LEAST_BUDGET
    assert len(history.find_red()) == 60


def test_what_waits_says_from_when_it_is_asked_again(tmp_path: Path) -> None:
    tickers = {f"T{number:02}": 60 for number in range(30)}
    history = begin(tmp_path, FEW, SOON, tickers=tickers, span=TWO_DATES)
    history.run()
    messages = {key: outcome.message for key, outcome in history.run().items()}
    counts = {
        receipt.key: len(receipt.askings) for receipt in history.lakehouse.sessions.iter_receipts()
    }

    assert len(set(counts.values())) > 1
    for key, count in counts.items():
        assert f"{count} answers" in messages[key]
        assert f"asked again from {SOON + dt.timedelta(days=1)}" in messages[key]


def test_answers_are_weighed_by_the_bars_of_now(tmp_path: Path) -> None:
    """Bars that were asked for again in the same run count when trades are."""
    model = Model(Loss(rows=14, by="row", asks=1), (Recalculated(share=0.2),))
    history = begin(tmp_path, model, MONDAY[0] + dt.timedelta(days=1), span=MONDAY)
    history.vendor.clock.advance(days=5)
    history.run()

    (receipt,) = history.lakehouse.sessions.iter_receipts()
    bar = history.vendor.read_bars(*MONDAY).row(0, named=True)
    assert (receipt.bar_trade_count, receipt.bar_volume) == (bar["trade_count"], bar["volume"])
    assert_whole(history)
    assert history.marks == {}


def test_bars_that_are_asked_for_again_are_within_the_budget(tmp_path: Path) -> None:
    """A lake of months whose bars came day by day has young ones for every date."""
    span = (dt.date(2024, 1, 2), dt.date(2024, 3, 28))
    history = begin(tmp_path, FEW, span=span)
    for month in {f"{date:%Y-%m}" for date in history.dates}:
        dates = [date for date in history.dates if f"{date:%Y-%m}" == month]
        came = {date: date + dt.timedelta(days=1) for date in dates}
        bars = history.vendor.read_bars(dates[0], dates[-1])
        history.lakehouse.tables.write_daily_bars(
            month, bars, covered=dates, is_closed=True, origin=BarOrigin(came)
        )
    history.run_days(4)

    assert max(history.spent) <= LEAST_BUDGET
    assert {date for date, _ in history.vendor.asked_bars} == set(history.dates)
    assert history.find_red() == []


def test_bars_of_a_file_are_asked_for_of_nobody(tmp_path: Path) -> None:
    model = Model(bars=(DateDoubled(DOUBLED_DATE),), has_own_bars=False)
    tickers = {f"T{number:02}": 60 for number in range(25)}
    history = begin(tmp_path, model, tickers=tickers, bars_prove="yes")
    history.run_days(2)

    assert len(history.find_red()) == 25
    assert history.vendor.asked_bars == []


@pytest.mark.parametrize("today", [LATER, SOON])
def test_a_clock_that_was_wrong_does_not_stop_the_asking(tmp_path: Path, today: dt.date) -> None:
    history = begin(tmp_path, HALF, today)
    history.vendor.clock.advance(days=4_000)
    history.run()
    history.run()
    history.vendor.clock.advance(days=-4_000)
    history.vendor.model = Model()
    history.run_days(2)

    assert_whole(history)


def test_bars_of_a_clock_that_was_wrong_are_young(tmp_path: Path) -> None:
    history = begin(tmp_path, Model(bars=(Recalculated(),)), WEEK[1], span=MONDAY)
    month = history.lakehouse.tables.read_bar_months()[0]
    history.lakehouse.tables.write_daily_bars(
        "2024-03",
        history.lakehouse.tables.read_daily_bars().collect(),
        covered=month.covered,
        is_closed=True,
        origin=BarOrigin(dict.fromkeys(month.covered, dt.date(2031, 1, 1))),
    )
    history.vendor.clock.advance(days=5)
    history.run()

    assert_whole(history)
    assert history.marks == {}


def test_an_outage_in_the_middle_ends_the_asking(tmp_path: Path) -> None:
    tickers = {f"T{number:02}": 60 for number in range(40)}
    history = begin(tmp_path, HALF, span=TWO_DATES, tickers=tickers, outage_after=5, workers=1)
    vendor = trouble(history, "down")
    outcomes = history.run()

    assert vendor.troubles <= 10
    assert {outcome.state for outcome in outcomes.values()} == {DISPUTED}
    vendor.trouble, vendor.model = "", Model()
    history.run_days(3)
    assert_whole(history)


def test_an_empty_answer_is_remembered_and_takes_nothing(tmp_path: Path) -> None:
    history = begin(tmp_path, HALF)
    vendor = trouble(history, "empty")
    history.run()
    before = {receipt.key: receipt for receipt in history.lakehouse.sessions.iter_receipts()}

    assert all(receipt.rows for receipt in before.values())
    assert history.find_red() == history.keys
    assert {len(receipt.askings) for receipt in before.values()} == {2}
    assert history.lakehouse.ledger.revisions()["new_rows"].to_list() == [0] * 5
    history.run()
    history.run()
    assert vendor.troubles == 2
    vendor.trouble, vendor.model = "", Model()
    vendor.clock.advance()
    history.run()
    assert_whole(history)


def test_an_interrupt_in_the_middle_keeps_what_came(tmp_path: Path) -> None:
    tickers = {f"T{number:02}": 60 for number in range(8)}
    history = begin(tmp_path, HALF, span=MONDAY, tickers=tickers)
    vendor = trouble(history, "interrupt")
    with pytest.raises(KeyboardInterrupt):
        history.run()

    assert history.find_red() == history.keys
    assert history.is_memory_kept()
    vendor.trouble, vendor.model = "", Model()
    history.run()
    assert_whole(history)


@pytest.mark.parametrize("is_green", [False, True])
def test_a_kill_in_the_middle_leaves_no_green_session_without_its_rows(
    tmp_path: Path, *, is_green: bool
) -> None:
    """Whatever the disk was at: what the ledger calls green is, and the next run heals the rest."""
    crash_at, is_ended = 0, False
    while not is_ended:
        folder = tmp_path / str(crash_at)
        folder.mkdir()
        history = begin(folder, FEW if is_green else HALF, span=MONDAY)
        history.run()
        assert (history.find_red() == []) == is_green
        history.vendor.model = Model()
        history.reopen(crash_at)
        ask = history.ask_again if is_green else history.run
        with suppress(Crash):
            ask(history.keys)
            is_ended = True
        history.reopen()
        assert_proven(history)
        history.run()
        assert_proven(history)
        if history.marks:
            history.ask_again(history.keys)
        assert_whole(history)
        assert history.marks == {}
        assert history.is_memory_kept()
        crash_at += 1
    assert crash_at > 5


@pytest.mark.parametrize("loss", [FEW, HALF], ids=["few", "half"])
def test_what_a_person_accepts_stays_accepted_until_the_vendor_has_more(
    tmp_path: Path, loss: Model
) -> None:
    history = begin(tmp_path, loss, SOON)
    history.run()
    assert len(history.find_red()) == 5
    history.run(accept_disputed=True)
    assert history.marks == {RESIDUAL: 5}
    spent = sum(history.spent)
    history.lose_ledger()
    history.vendor.clock.advance()
    history.run()
    assert (sum(history.spent), history.marks) == (spent, {RESIDUAL: 5})
    history.vendor.model = Model()
    history.ask_again(history.keys)

    assert_whole(history)
    assert history.marks == {}
    assert len(list_kept(history.lakehouse)) == 5


def test_a_ticker_without_bars_is_unproven_beside_one_that_is_disputed(tmp_path: Path) -> None:
    history = begin(tmp_path, HALF, tickers={"ABCD": 240, "NOBAR": 100})
    tables = history.lakehouse.tables
    bars = history.vendor.read_bars(dt.date(2024, 3, 1), dt.date(2024, 3, 28))
    came = dict.fromkeys(history.dates, LATER)
    tables.write_daily_bars(
        "2024-03",
        bars.filter(ticker="ABCD"),
        covered=history.dates,
        is_closed=True,
        origin=BarOrigin(came),
    )
    history.run()

    assert {decode_key(key)[0] for key in history.find_red()} == {"ABCD"}
    assert history.marks == {UNPROVEN: 5}
    assert {chain.ticker for chain in history.vendor.asked if chain.page_limit != 50_000} == {
        "ABCD"
    }


def test_a_settled_session_whose_bar_was_mended_is_unmarked_whatever_is_lost(
    tmp_path: Path,
) -> None:
    """The receipt is told too: a ledger made again says the same."""
    history = begin(tmp_path, Model(bars=(DateDoubled(WEEK[0]),)))
    history.run(accept_disputed=True)
    assert history.marks == {RESIDUAL: 1}
    history.vendor.model = Model()
    history.store_bars()
    history.run()
    assert history.marks == {}
    history.lose_ledger()
    history.run()

    assert history.marks == {}
    assert_whole(history)


def publish_plan(history: History) -> None:
    """Publish what the history asks for as a plan, so that whole commands run on its lake."""
    plan = make_window_plan(*history.keys)
    record = PlanRecord(
        plan_hash=hash_plan(plan),
        sessions=plan.height,
        tickers=1,
        created_at=history.vendor.clock(),
    )
    history.lakehouse.tables.write_plan(plan, record, is_published=True)
    history.lakehouse.ledger.record_plan(plan)


def begin_with_one_red(folder: Path) -> History:
    """Return a lake of a published plan of which one session is disputed."""
    history = begin(folder, Model(Loss(share=0.5, by="row", dates=frozenset({WEEK[1]}))))
    publish_plan(history)
    history.run()
    assert len(history.find_red()) == 1
    return history


def test_no_reader_and_no_command_takes_disputed_rows_for_proven(tmp_path: Path) -> None:
    """They are not read or exported; repair, audit and reindex keep them."""
    history = begin_with_one_red(tmp_path)
    red, lakehouse = history.find_red(), history.lakehouse
    before = {receipt.key: receipt for receipt in lakehouse.sessions.iter_receipts()}
    refresh_catalog(lakehouse)

    rows = Lake(lakehouse.home.data_dir).trades().collect()
    assert set(rows.select(key_expression()).to_series()) == set(history.keys) - set(red)
    with duckdb.connect(str(lakehouse.home.catalog_file), read_only=True) as catalog:
        assert catalog.table("trades").shape[0] == rows.height
    assert export_dates(lakehouse.layout, lakehouse.fs, tmp_path / "out").units == 4
    repaired = repair_lake(lakehouse)
    assert (repaired.keys, repaired.orphans, repaired.moved) == ([], [], [])
    audit = audit_lake(lakehouse)
    assert audit["no_orphans"].passed
    assert audit["files_are_undamaged"].passed
    assert not audit["sessions_reach_their_bar"].passed
    history.lose_ledger()
    history.reopen()
    assert history.find_red() == red
    assert {r.key: r for r in history.lakehouse.sessions.iter_receipts()} == before


def test_an_import_leaves_disputed_rows_to_the_vendor(tmp_path: Path) -> None:
    history = begin(tmp_path, HALF)
    publish_plan(history)
    history.run()
    history.vendor.model = Model()
    archive = tmp_path / "archive"
    for date in history.dates:
        files = cut_files(Layout.DATES, history.vendor.truth("ABCD", date), keep)
        write_session(archive, Layout.DATES, files, "ABCD", date)
    actions = {
        found.action
        for found in Import(history.lakehouse, archive).run()
        if isinstance(found, ImportedSession)
    }

    assert actions == {Action.KNOWN}
    assert history.find_red() == history.keys
    history.run()
    assert_whole(history)


def test_a_first_look_again_is_cut_otherwise_than_the_first_answer(tmp_path: Path) -> None:
    history = begin(tmp_path, Model(), span=MONDAY, page_limit=100)
    history.run()
    history.ask_again(history.keys)

    first, second = (chain.page_limit for chain in history.vendor.asked)
    assert first == 100 != second


def test_an_answer_that_came_before_is_kept_once(tmp_path: Path) -> None:
    history = begin(tmp_path, Model(Loss(rows=3)), SOON, span=TWO_DATES)
    history.run_days(6)

    contents = list_kept(history.lakehouse)
    assert len(contents) == len(set(contents)) > 2


def test_a_field_that_was_set_aside_counts_again_when_answers_heal(tmp_path: Path) -> None:
    """What it excused is red then, and the next downloads heal it."""
    tickers = {f"T{number:02}": 60 for number in range(12)}
    model = Model(Loss(rows=1, by="row"), (WithoutCounts(),))
    span = (dt.date(2024, 3, 4), dt.date(2024, 3, 15))
    history = begin(tmp_path, model, SOON, span=span, tickers=tickers)
    history.run()
    assert history.marks[DIFFERS] > 60
    history.vendor.model = Model(bars=(WithoutCounts(),))
    history.ask_again([key for key in history.keys if key.startswith(("T00", "T01", "T02"))])
    assert DIFFERS not in history.marks
    history.run_days(3)

    assert_whole(history)
    assert history.marks == {}


def test_a_field_set_aside_excuses_sessions_of_other_downloads_by_their_own_bars(
    tmp_path: Path,
) -> None:
    """What the run did not ask for has bars too."""
    tickers = {f"T{number:02}": 120 for number in range(14)}
    span = (dt.date(2024, 3, 4), dt.date(2024, 3, 15))
    history = begin(tmp_path, Model(bars=(CountsHigher(2024),)), SOON, span=span, tickers=tickers)
    early = [key for key in history.keys if key < "T05"]
    history.run(early)
    assert history.find_red()
    history.run([key for key in history.keys if key >= "T05"])

    assert history.find_red() == []
    assert history.marks.keys() == {DIFFERS}
