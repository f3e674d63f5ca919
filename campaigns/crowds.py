"""Many sessions under faults, and several processes and readers on one lake."""

import datetime as dt
import functools
import random
import threading
from dataclasses import replace
from pathlib import Path

import duckdb

from campaigns.ground import Ground, Part, hash_content
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.states import GREEN
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market, MarketConfig
from smallcaps_assets.errors import PartitionConflictError
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets_tests.defs.defs_factories import publish
from smallcaps_assets_tests.lakehouse_factories import (
    NOW,
    download_plan,
    make_lakehouse,
    planned_keys,
)

FAULTS = ("503", "429", "cut_json", "cut_gzip", "html", "reset", "missing_results", "lost_next_url")
LARGE_MARKET = MarketConfig(tickers=40, busy_trades=0, trades_scale=0.02)
MAX_ROUNDS = 30


def run_large(folder: Path, sessions: int) -> Part:
    """Download many sessions while 5 % of the answers are faulty, until nothing is missing."""
    part = Part("sessions downloaded with 5 % faulty answers", "the truth or a reason, and an end")
    market = Market(LARGE_MARKET)
    rng = random.Random(1)
    dates = load_calendar().dates(dt.date(2023, 1, 3), dt.date(2024, 12, 31))
    keys = sorted(
        rng.sample([encode_key(t, date) for t in market.tickers for date in dates], sessions)
    )
    faults = [
        Fault(kind, endpoint="trades", probability=0.05 / len(FAULTS), seed=number)
        for number, kind in enumerate(FAULTS)
    ]
    with EmulatorServer(market) as server:
        calm = make_lakehouse(folder / "large-calm", server.url, workers=4)
        publish(calm, keys)
        download_plan(calm)
        server.faults = faults
        sick = make_lakehouse(folder / "large-sick", server.url, workers=4)
        publish(sick, keys)
        rounds = 0
        while rounds < MAX_ROUNDS and (not rounds or sick.ledger.missing_keys().height):
            download_plan(sick)
            rounds += 1
    states = sick.ledger.states(keys)
    red = [key for key, state in states.items() if state not in GREEN]
    truth = {receipt.key: receipt.content_hash for receipt in calm.sessions.iter_receipts()}
    found = {receipt.key: receipt.content_hash for receipt in sick.sessions.iter_receipts()}
    # Without daily bars a first page without results cannot be told from an empty session.
    wrong = [key for key, content in found.items() if content != truth[key]]
    empty = [key for key in wrong if states[key] == "empty_unverified"]
    part.cases = sessions
    part.failures = [f"wrong rows: {key}" for key in wrong if key not in empty]
    part.failures += [f"still red: {key}" for key in red]
    part.notes = f"{rounds} rounds; {len(empty)} unverifiable without daily bars, marked as such"
    return part


def run_two_downloads(ground: Ground) -> Part:
    """Start a second download on one lake: it must refuse and name the holder."""
    part = Part("two downloads at once on one lake", "the second refuses and names the holder")
    folder = ground.copy("two")
    first, second = ground.open(folder), ground.open(folder)
    backfill = Backfill(first, run_id="first")
    problems = ["the second was let in"]
    with backfill.held(wait_s=0):
        try:
            with Backfill(second, run_id="second").held(wait_s=0):
                pass
        except PartitionConflictError as error:
            problems = [] if "run first" in str(error) else [f"holder not named: {error}"]
        list(backfill.run(planned_keys(first)))
    part.check("second download", problems)
    if hash_content(first) != ground.truth:
        part.failures.append("the first did not end well")
    return part


def run_readers(ground: Ground) -> Part:
    """Query the catalog all the while a download runs and rebuilds it."""
    part = Part("catalog queries during a download", "every query answered, whole sessions only")
    folder = ground.copy("readers")
    lakehouse = ground.open(folder, catalog_interval_s=0.01)
    whole = ground.open(ground.folder / "whole").ledger.receipts()
    rows = {(t, d): n for t, d, n in whole.select("ticker", "session_date", "rows").rows()}
    done = threading.Event()

    def work() -> None:
        download_plan(lakehouse)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    catalog = lakehouse.layout.catalog_file
    while not done.is_set():
        if not catalog.exists():
            continue
        with duckdb.connect(str(catalog), read_only=True) as connection:
            found = connection.sql(
                "SELECT ticker, session_date, count(*) FROM trades GROUP BY ALL"
            ).fetchall()
        part.check("query", [f"torn: {t} {d}" for t, d, n in found if rows[t, d] != n])
    thread.join()
    return part


def _tell(moment: dt.datetime) -> dt.datetime:
    return moment


def run_clock_jumps(ground: Ground) -> Part:
    """Let the clock jump by years between commands, back and forth."""
    part = Part("clock jumps between commands", "same content hash, nothing asked again")
    folder = ground.copy("clock")
    for number, days in enumerate((0, -700, 700, 0)):
        jumped = NOW + dt.timedelta(days=days)
        lakehouse = replace(ground.open(folder), clock=functools.partial(_tell, jumped))
        seen = len(ground.server.requests)
        download_plan(lakehouse)
        asked = len(ground.server.requests) - seen
        problems = [f"{asked} requests"] if number and asked else []
        problems += [] if hash_content(lakehouse) == ground.truth else ["content hash"]
        part.check(f"{days} days", problems)
        lakehouse.ledger.close()
    return part
