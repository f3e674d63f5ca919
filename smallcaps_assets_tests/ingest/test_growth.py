"""One lake for universes and event windows: what one has fetched the other does not ask for."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.core.keys import decode_key, encode_key, key_expression, list_key_months
from smallcaps_assets.core.sessions import month_bounds
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.budget.estimates import estimate_lake
from smallcaps_assets.ingest.derived import ensure_indexed, record_published_plan
from smallcaps_assets.ingest.proof.judging import StoredJudge, open_stored
from smallcaps_assets.ingest.ticks.backfill import (
    Backfill,
    RecheckChoice,
    choose_stored,
    recheck_sessions,
)
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lake.tables.bar_months import BarOrigin
from smallcaps_assets.lake.unlisted import read_receipts
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.sessions import repair_lake
from smallcaps_assets_tests.ingest.vendor_histories import History
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    SESSIONS,
    count_trade_requests,
    plan_small_lake,
    planned_keys,
)
from smallcaps_assets_tests.vendors import Loss, Model

TICKERS = ("BCPC", "BCpC", "CON")
FIRST, LAST = dt.date(2024, 1, 2), dt.date(2024, 1, 31)


def fetch(lakehouse: Lakehouse, keys: Sequence[str]) -> Backfill:
    """Fetch sessions, whatever asks for them."""
    backfill = Backfill(lakehouse, run_id="universe")
    with backfill.held(wait_s=0):
        list(backfill.run(keys))
    return backfill


@pytest.fixture
def lakehouse(tmp_path: Path, market_server: EmulatorServer) -> Lakehouse:
    """Return a planned pilot, of which nothing is fetched and the ledger knows nothing."""
    return plan_small_lake(tmp_path, market_server.url)


@pytest.fixture
def whole_month(lakehouse: Lakehouse) -> list[str]:
    """List the sessions of a month of a universe, in its order."""
    dates = lakehouse.calendar.dates(FIRST, LAST)
    return [encode_key(ticker, date) for ticker in TICKERS for date in dates]


def begin(lakehouse: Lakehouse) -> None:
    """Begin a lake of a universe alone: no event window is planned yet."""
    lakehouse.ledger.record_plan(
        pl.DataFrame(schema={"ticker": pl.String, "session_date": pl.Date})
    )
    lakehouse.ledger.record_unjudged([])


def test_a_pilot_inside_a_stored_universe_makes_no_request(
    lakehouse: Lakehouse, whole_month: list[str], market_server: EmulatorServer
) -> None:
    begin(lakehouse)
    fetch(lakehouse, whole_month)
    ledger = lakehouse.ledger
    plain = ledger.find_unlisted(whole_month)
    assert len(plain) > len(whole_month) // 2, "the ledger lists what needs it alone"
    assert ledger.find_proofs(whole_month) == {*whole_month}
    assert ledger.totals().sessions == len(whole_month)
    requests, content = (
        count_trade_requests(market_server),
        Lake(lakehouse.layout.data_dir).receipts(),
    )
    estimate = estimate_lake(lakehouse)
    assert (estimate.remaining.ticker_sessions, estimate.remaining.requests) == (0, 0)

    record_published_plan(lakehouse)
    assert ledger.missing_keys().is_empty()
    pilot = fetch(lakehouse, planned_keys(lakehouse))

    assert count_trade_requests(market_server) == requests
    assert pilot.summary.requests == 0
    assert sum(ledger.counts().values()) == SESSIONS
    assert Lake(lakehouse.layout.data_dir).receipts().equals(content)
    assert ledger.totals().sessions == len(whole_month)
    assert fetch(lakehouse, whole_month).summary.requests == 0


def test_a_universe_over_a_pilot_asks_for_the_rest_alone(
    lakehouse: Lakehouse, whole_month: list[str]
) -> None:
    ensure_indexed(lakehouse)
    fetch(lakehouse, planned_keys(lakehouse))
    stored = lakehouse.ledger.find_proofs(whole_month)
    assert stored

    rest = fetch(lakehouse, [key for key in whole_month if key not in stored])
    again = fetch(lakehouse, whole_month)

    assert rest.summary.requests > 0
    assert again.summary.requests == 0
    assert lakehouse.ledger.find_proofs(whole_month) == {*whole_month}


def test_audit_repair_and_reindex_see_sessions_without_a_row(
    lakehouse: Lakehouse, whole_month: list[str]
) -> None:
    begin(lakehouse)
    fetch(lakehouse, whole_month)
    record_published_plan(lakehouse)
    verdicts = audit_lake(lakehouse)
    red = {name: verdict for name, verdict in verdicts.items() if not verdict.passed}
    assert {*red} <= {"no_orphans"}, "nobody plans these sessions by event windows"
    assert repair_lake(lakehouse, is_dry_run=True).keys == []
    assert len(verdicts) > len(red)
    assert isinstance(verdicts["files_are_undamaged"], Verdict)


def test_recheck_asks_for_sessions_without_a_row(
    lakehouse: Lakehouse, whole_month: list[str]
) -> None:
    begin(lakehouse)
    fetch(lakehouse, whole_month)
    plain = {*lakehouse.ledger.find_unlisted(whole_month)}
    choice = RecheckChoice(share=0.2, seed=1)
    facts = choose_stored(lakehouse.ledger, choice, NOW.date())
    other = choose_stored(lakehouse.ledger, RecheckChoice(share=0.2, seed=2), NOW.date())
    old = choose_stored(lakehouse.ledger, RecheckChoice(older_than_days=9999), NOW.date())
    assert facts.stored == len(whole_month)
    assert plain.intersection(facts.keys)
    assert facts.keys != other.keys
    assert (old.stored, old.keys) == (0, [])
    before = lakehouse.ledger.totals()

    recheck_sessions(Backfill(lakehouse, run_id="recheck", asks_again=True), facts)

    assert (facts.unchanged, facts.revisions, facts.unanswered) == (len(facts.keys), [], [])
    after = lakehouse.ledger.totals()
    assert (after.sessions, after.rows, after.bytes) == (before.sessions, before.rows, before.bytes)
    assert after.requests > before.requests
    assert {*lakehouse.ledger.find_unlisted(whole_month)} == plain, "unchanged: nothing to list"


def test_bars_that_come_later_judge_sessions_without_a_row(
    lakehouse: Lakehouse, whole_month: list[str]
) -> None:
    begin(lakehouse)
    fetch(lakehouse, whole_month)
    ledger, judge = lakehouse.ledger, open_stored(lakehouse)
    assert isinstance(judge, StoredJudge)
    plain = ledger.find_unlisted(whole_month)
    key = next(one for one in plain if ledger.find_proofs([one]))
    raise_bar(lakehouse, key)
    ledger.record_unjudged(list_key_months([key]))

    changed = judge.judge_new()

    assert key in changed
    assert ledger.states([key]) == {key: "disputed"}
    assert ledger.find_proofs([key]) == frozenset()
    assert ledger.totals().sessions == len(whole_month) - 1
    ledger.check()


def raise_bar(lakehouse: Lakehouse, key: str) -> None:
    """Let the daily bar of a session promise twice of what came."""
    ticker, date = decode_key(key)
    month, tables = f"{date:%Y-%m}", lakehouse.tables
    (facts,) = tables.read_bar_months(date, date)
    bars = tables.read_daily_bars(*month_bounds(month)).collect()
    is_it = (pl.col("ticker") == ticker) & (pl.col("session_date") == date)
    assert bars.filter(is_it).height == 1
    double = pl.when(is_it).then(pl.col("volume", "trade_count") * 2)
    raised = bars.with_columns(double.otherwise(pl.col("volume", "trade_count")))
    origin = BarOrigin(dict(facts.fetched), dict(facts.asked_again))
    tables.write_daily_bars(
        month, raised, covered=facts.covered, is_closed=facts.is_closed, origin=origin
    )


def test_an_answer_that_differs_from_a_session_without_a_row_is_listed_and_kept(
    tmp_path: Path,
) -> None:
    week = (dt.date(2024, 3, 11), dt.date(2024, 3, 15))
    history = History.begin(tmp_path / "lake", Model(), dt.date(2024, 7, 1), week)
    history.run()
    ledger = history.lakehouse.ledger
    plain = {*ledger.find_unlisted(history.keys)}
    assert plain
    before = read_receipts(ledger, lambda: history.lakehouse.sessions.lake)
    history.vendor.model = Model(Loss(rows=7))
    facts = choose_stored(ledger, RecheckChoice(share=1.0), history.now.date())
    assert facts.stored == len(history.keys)

    recheck_sessions(Backfill(history.lakehouse, run_id="recheck", asks_again=True), facts)

    changed = {one.old.key for one in facts.revisions}
    assert changed & plain
    told = ledger.revisions()
    assert {*told.select(key_expression()).to_series()} == changed
    assert {*told["counts"]} == {"old"}, "the one that is nearer to its bar counts"
    after = read_receipts(ledger, lambda: history.lakehouse.sessions.lake)
    content = ["ticker", "session_date", "state", "rows", "content_hash", "marks"]
    assert after.select(content).equals(before.select(content))
    month = read_month(history.lakehouse.sessions.lake, "2024-03")
    beside = month.entries.filter(pl.col("revision") == 0)
    assert {*beside.select(key_expression()).to_series()} == changed, "both are kept"
    ledger.check()
