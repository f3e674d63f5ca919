"""Plans of universes: symbols, months, what waits for a person, and bad input."""

import datetime as dt
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.core.universe.units import list_owed
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.errors import (
    ConfigError,
    DataError,
    MissingPartitionError,
    RefusedFileError,
    SmallcapsError,
)
from smallcaps_assets.ingest.derived import ensure_indexed
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.ingest.universe.publishing import make_universe_plan, measure_universe
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import UNIVERSE
from smallcaps_assets_tests.core.unit_factories import list_month
from smallcaps_assets_tests.core.universe_factories import make_universe
from smallcaps_assets_tests.lake.disks import PausingDisk
from smallcaps_assets_tests.lakehouse_factories import (
    make_lakehouse,
    planned_keys,
    publish_plan,
    refresh_due_bars,
    write_text,
)

ADDRESS: Final = "http://127.0.0.1:9"
"""Nothing listens here."""
WINTER: Final = {"first_session": dt.date(2024, 1, 2), "last_session": dt.date(2024, 2, 29)}
JANUARY: Final = list_month("2024-01")


def plan_symbols(folder: Path, text: str, **changes: object) -> Lakehouse:
    """Return a lakehouse that plans the symbols of a file; nothing else is known."""
    file = write_text(folder / "symbols.txt", text)
    options = {**WINTER, "tickers_file": file, "batch_tickers": 2, **changes}
    return make_lakehouse(folder / "data", ADDRESS, **options)


def change(lakehouse: Lakehouse, **changes: object) -> Lakehouse:
    """Return the lakehouse with other settings."""
    settings = lakehouse.settings.model_copy(update=changes)
    return Lakehouse(settings, clock=lakehouse.clock)


def list_listings(lakehouse: Lakehouse, *rows: dict[str, object]) -> None:
    lakehouse.tables.write_table(UNIVERSE, make_universe(*rows), is_published=True)


def read_units(lakehouse: Lakehouse) -> set[tuple[int, str, str]]:
    _, plan = lakehouse.tables.read_universe_plan()
    return set(plan.select("batch", "month", "ticker").rows())


def store(lakehouse: Lakehouse, url: str) -> None:
    """Prove everything that the universe owes, as a download of its sessions does."""
    _, plan = lakehouse.tables.read_universe_plan()
    keys = [encode_key(ticker, date) for ticker, date in list_owed(plan).rows()]
    connected = change(lakehouse, base_url=url)
    backfill = Backfill(connected, run_id="test")
    ensure_indexed(connected)
    with backfill.held(wait_s=0):
        list(backfill.run(keys))
    connected.ledger.close()


def test_symbols_of_a_file_owe_whole_months_where_nothing_else_is_known(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "CON\nBCPC\n\nBCpC # mine\n")

    made = make_universe_plan(lakehouse)

    record, plan = lakehouse.tables.read_universe_plan()
    assert made.is_published
    assert record == made.record
    assert record.symbols == "symbols.txt"
    assert (record.tickers, record.units, record.sessions) == (3, 4, 3 * 41)
    assert list_owed(plan).filter(pl.col("ticker") == "CON")["session_date"].to_list() == [
        *JANUARY,
        *list_month("2024-02"),
    ]
    assert read_units(lakehouse) == {
        (batch, month, ticker)
        for batch, ticker in ((1, "BCPC"), (1, "BCpC"), (2, "CON"))
        for month in ("2024-01", "2024-02")
    }
    assert not made.symbols.passed, "nothing says whether they exist"


def test_listings_are_planned_by_their_lives(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, ADDRESS, **WINTER)
    list_listings(
        lakehouse,
        {
            "ticker": "OLD",
            "listed_date": dt.date(2010, 1, 4),
            "delisted_date": dt.date(2023, 12, 15),
        },
        {
            "ticker": "GONE",
            "listed_date": dt.date(2010, 1, 4),
            "delisted_date": dt.date(2013, 1, 4),
        },
        {"ticker": "NEW", "listed_date": dt.date(2024, 2, 20)},
    )

    made = make_universe_plan(lakehouse)

    assert made.record.symbols == "universe"
    assert read_units(lakehouse) == {
        (1, "2024-01", "OLD"),
        (1, "2024-01", "NEW"),
        (1, "2024-02", "NEW"),
    }
    assert made.numbers["symbols_outside_the_dates"] == 1
    assert made.survivors.passed
    assert made.symbols.passed


def test_without_listings_the_daily_bars_tell_symbols_and_lives(
    tmp_path: Path, market_server: EmulatorServer
) -> None:
    lakehouse = make_lakehouse(tmp_path, market_server.url, **WINTER)
    refresh_due_bars(lakehouse)

    made = make_universe_plan(lakehouse)

    _, plan = lakehouse.tables.read_universe_plan()
    bars = lakehouse.tables.read_daily_bars(*WINTER.values()).collect()
    assert made.record.symbols == "daily_bars"
    assert set(plan["ticker"]) == set(bars["ticker"])
    owed = set(list_owed(plan).rows())
    assert set(bars.select("ticker", "session_date").rows()) <= owed
    assert plan["expected_rows"].sum() == bars["trade_count"].sum()


def test_a_plan_without_any_symbols_says_where_they_could_come_from(tmp_path: Path) -> None:
    lakehouse = make_lakehouse(tmp_path, ADDRESS, **WINTER)

    with pytest.raises(MissingPartitionError, match=r"--tickers-file.*smallcaps universe"):
        make_universe_plan(lakehouse)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CON\nbcpc\n", "1 texts are no symbols: line 2: 'bcpc' .did you mean BCPC"),
        ("C$N\n../x\n", "2 texts are no symbols: line 1: 'C$N'; line 2"),
        ("\n" + "x\n" * 9, "line 2: 'x'.* and 4 more; expected one symbol a line"),
        ("\n# none\n", "expected symbols, one a line, found none"),
        ("", "expected symbols, one a line, found none"),
    ],
)
def test_a_file_with_things_that_are_no_symbols_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    lakehouse = plan_symbols(tmp_path, text)

    with pytest.raises(RefusedFileError, match=words.replace("$", r"\$")):
        make_universe_plan(lakehouse)

    assert not lakehouse.tables.has_universe_plan()


def test_a_file_that_is_no_text_or_is_not_there_is_refused(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "CON")
    (tmp_path / "symbols.txt").write_bytes(b"CON\n\xff\xfe\x00")

    with pytest.raises(RefusedFileError, match="not UTF-8"):
        make_universe_plan(lakehouse)
    with pytest.raises(RefusedFileError, match="cannot read"):
        make_universe_plan(change(lakehouse, tickers_file=tmp_path / "other.txt"))


def test_symbols_that_nothing_knows_are_named_and_owe_nothing(
    tmp_path: Path, market_server: EmulatorServer
) -> None:
    lakehouse = plan_symbols(tmp_path, "CON\nCON\nBRK-A\nZZZZ\n", base_url=market_server.url)
    refresh_due_bars(change(lakehouse))

    made = make_universe_plan(lakehouse)

    assert made.is_published
    assert made.record.tickers == 1
    assert made.record.unknown_tickers == {"BRK-A": "BRK.A", "ZZZZ": ""}
    assert made.symbols.numbers["is_red"] == 1
    assert "2 of 3 symbols have neither a listing nor a daily bar: BRK-A: did you mean BRK.A?" in (
        made.symbols.summary
    )
    assert made.numbers["repeated_symbols"] == 1


def test_a_long_file_is_planned(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "\n".join(f"T{n}" for n in range(100_000)), batch_tickers=60)

    made = make_universe_plan(lakehouse)

    assert made.record.ticker_months == 200_000
    assert made.record.units == 2 * 1_667


def test_the_open_month_waits_until_it_is_over_and_published(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "CON", source="vendor", last_session=None)
    last_days = [dt.date(2024, 2, 29), dt.date(2024, 3, 1)]
    planned = []
    for day in last_days:
        now = dt.datetime(day.year, day.month, day.day, 17, tzinfo=dt.UTC)
        made = measure_universe(replace(lakehouse, clock=lambda now=now: now))  # type: ignore[misc]
        planned.append(made.record.last)

    assert planned == [dt.date(2024, 1, 31), dt.date(2024, 2, 29)]


@pytest.mark.parametrize(
    ("wanted", "planned"),
    [
        (dt.date(2024, 3, 27), dt.date(2024, 2, 29)),
        (dt.date(2024, 3, 28), dt.date(2024, 3, 31)),  # the Friday after it has no session
        (dt.date(2024, 3, 31), dt.date(2024, 3, 31)),
    ],
)
def test_a_month_is_planned_whole_or_not_at_all(
    tmp_path: Path, wanted: dt.date, planned: dt.date
) -> None:
    lakehouse = plan_symbols(tmp_path, "CON", last_session=wanted)

    assert measure_universe(lakehouse).record.last == planned


def test_a_key_that_reaches_back_to_a_date_is_planned_from_there(tmp_path: Path) -> None:
    reach = dt.date(2024, 1, 17)
    lakehouse = plan_symbols(tmp_path, "CON", first_session=reach)
    make_universe_plan(change(lakehouse, first_session=dt.date(2023, 12, 1)))
    lakehouse.ledger.record_refused(reach - dt.timedelta(days=1))

    early = measure_universe(change(lakehouse, first_session=dt.date(2023, 12, 1)))
    made = measure_universe(lakehouse)

    assert early.estimate.refused_until == dt.date(2024, 1, 16)
    assert list_owed(made.plan)["session_date"].min() == reach


def test_dates_without_a_month_that_is_over_are_refused(tmp_path: Path) -> None:
    dates = {"first_session": dt.date(2024, 12, 2), "last_session": dt.date(2025, 1, 31)}
    lakehouse = plan_symbols(tmp_path, "CON", source="vendor", **dates)
    now = dt.datetime(2024, 12, 20, tzinfo=dt.UTC)

    with pytest.raises(ConfigError, match="no month from 2024-12-02 to 2025-01-31 is over"):
        make_universe_plan(replace(lakehouse, clock=lambda: now))


def test_a_plan_that_shrinks_to_nothing_is_not_published_whatever_a_person_says(
    tmp_path: Path,
) -> None:
    lakehouse = plan_symbols(tmp_path, "CON\nBCPC")
    make_universe_plan(lakehouse)
    before = read_units(lakehouse)
    list_listings(lakehouse, {"ticker": "CON", "delisted_date": dt.date(2010, 1, 4)})
    write_text(tmp_path / "symbols.txt", "CON")

    made = make_universe_plan(lakehouse, is_accepted=True)

    assert not made.is_published
    assert "none of 1 symbols was listed or had a bar" in made.tell().verdict.summary
    assert read_units(lakehouse) == before
    assert lakehouse.tables.read_universe_plan(is_candidate=True)[1].is_empty()


def test_a_plan_that_drops_much_waits_until_it_is_accepted(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "A\nB\nC\nD")
    make_universe_plan(lakehouse)
    before = read_units(lakehouse)
    write_text(tmp_path / "symbols.txt", "A\nB")

    waiting = make_universe_plan(lakehouse)
    kept = read_units(lakehouse)
    candidate, _ = lakehouse.tables.read_universe_plan(is_candidate=True)
    accepted = make_universe_plan(lakehouse, is_accepted=True)

    assert (waiting.is_published, kept == before) == (False, True)
    assert "drops 2 planned units of 4 (50.0 %" in waiting.verdict.summary
    assert "publish it with --yes" in waiting.verdict.summary
    assert candidate == waiting.record
    assert accepted.is_published
    assert accepted.verdict.summary.startswith("accepted, although it drops 2 planned units")
    assert {ticker for *_, ticker in read_units(lakehouse)} == {"A", "B"}
    with pytest.raises(MissingPartitionError):
        lakehouse.tables.read_universe_plan(is_candidate=True)


def test_tickers_and_months_that_come_later_reopen_nothing_and_keep_batches(
    tmp_path: Path, market_server: EmulatorServer
) -> None:
    lakehouse = plan_symbols(tmp_path, "CON\nBCPC\nBCpC", last_session=dt.date(2024, 1, 31))
    make_universe_plan(lakehouse)
    before = read_units(lakehouse)
    store(lakehouse, market_server.url)
    write_text(tmp_path / "symbols.txt", "AAAA\nCON\nBCPC\nBCpC")

    made = make_universe_plan(change(lakehouse, last_session=dt.date(2024, 2, 29)))

    assert made.is_published
    assert before <= read_units(lakehouse)
    assert {batch for batch, _, ticker in read_units(lakehouse) if ticker == "AAAA"} == {3}
    assert (made.numbers["green_units"], made.numbers["reopened_units"]) == (2, 0)
    assert made.estimate.missing_units == 4
    assert made.estimate.missing.ticker_sessions == 3 * 20 + 41


def test_a_corrected_life_reopens_its_unit_and_waits(
    tmp_path: Path, market_server: EmulatorServer
) -> None:
    lakehouse = plan_symbols(tmp_path, "CON\nBCPC", last_session=dt.date(2024, 1, 31))
    ended = {"ticker": "BCPC", "delisted_date": dt.date(2023, 12, 15)}
    list_listings(lakehouse, {"ticker": "CON"}, ended)
    make_universe_plan(lakehouse)
    store(lakehouse, market_server.url)
    list_listings(lakehouse, {"ticker": "CON"}, {"ticker": "BCPC"})

    made = make_universe_plan(lakehouse)

    assert not made.is_published
    assert made.verdict.offenders.rows() == [("b001_2024-01", "plan grew: BCPC")]
    assert made.estimate.missing.ticker_sessions == 12
    assert made.changes.rows() == [("b001_2024-01", 30, 42)]


def test_what_event_windows_have_stored_is_not_missing(
    tmp_path: Path, market_server: EmulatorServer
) -> None:
    watchlist = write_text(tmp_path / "watchlist.csv", "ticker,date,events\nCON,2024-01-30,E6\n")
    lakehouse = plan_symbols(tmp_path, "CON", base_url=market_server.url, watchlist=watchlist)
    publish_plan(lakehouse)
    ensure_indexed(lakehouse)
    backfill = Backfill(lakehouse, run_id="test")
    with backfill.held(wait_s=0):
        list(backfill.run(planned_keys(lakehouse)))

    made = make_universe_plan(lakehouse)

    assert made.estimate.whole.ticker_sessions == 41
    assert made.estimate.missing.ticker_sessions == 41 - 3
    assert made.estimate.disk.fits


def test_an_unreadable_plan_is_made_again(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "CON\nBCPC")
    make_universe_plan(lakehouse)
    before = read_units(lakehouse)
    lakehouse.layout.universe_plan_file.write_bytes(b"PAR1")

    with pytest.raises(DataError, match="damaged"):
        lakehouse.tables.read_universe_plan()
    make_universe_plan(lakehouse)

    assert read_units(lakehouse) == before


def test_a_file_of_another_program_has_no_record(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "CON")
    make_universe_plan(lakehouse)
    _, plan = lakehouse.tables.read_universe_plan()
    plan.write_parquet(lakehouse.layout.universe_plan_file)

    with pytest.raises(DataError, match=r"no record of a universe.*plan --universe"):
        lakehouse.tables.read_universe_plan()


def test_two_plans_at_once_leave_one_that_knows_the_batches_of_the_other(tmp_path: Path) -> None:
    disk = PausingDisk("rename", "universe.parquet", number=1)
    first = plan_symbols(tmp_path, "A\nB")
    slow = threading.Thread(target=make_universe_plan, args=[replace(first, fs=disk)])
    slow.start()
    assert disk.reached.wait(30)
    others = write_text(tmp_path / "others.txt", "B\nC\nD")
    second = change(first, tickers_file=others)

    fast = threading.Thread(target=make_universe_plan, args=[second], kwargs={"is_accepted": True})
    fast.start()
    time.sleep(0.2)
    disk.others_done.set()
    for thread in (slow, fast):
        thread.join()

    record, _ = second.tables.read_universe_plan()
    assert record.symbols == "others.txt"
    assert record.batches == {"A": 1, "B": 1, "C": 2, "D": 2}


def test_measuring_a_plan_writes_nothing(tmp_path: Path) -> None:
    lakehouse = plan_symbols(tmp_path, "CON")

    made = measure_universe(lakehouse)

    assert made.is_published
    assert not lakehouse.tables.has_universe_plan()
    with pytest.raises(SmallcapsError):
        lakehouse.tables.read_universe_plan(is_candidate=True)
