"""`smallcaps plan --universe`: what it prints and publishes, what waits, what is refused."""

import datetime as dt
from typing import Final

import pytest

from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.ingest.universe.document import UniverseChangeDocument
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets_tests.cli.cli_factories import FAILED, REFUSED, User, check_refusal
from smallcaps_assets_tests.lakehouse_factories import count_trade_requests, write_text

WINTER: Final = ("--from", "2024-01-02", "--to", "2024-02-29")


def read_tickers(user: User) -> list[str]:
    """Return the planned tickers, sorted."""
    _, plan = TableStore(LakeLayout(user.data_dir), FileSystem()).read_universe_plan()
    return plan["ticker"].unique().sort().to_list()


def test_a_universe_of_daily_bars_is_planned_printed_and_drawn(
    user: User, market_server: EmulatorServer
) -> None:
    finished = user.run("plan", "--universe", *WINTER, SMALLCAPS_BATCH_TICKERS=3)

    assert finished.code == 0, finished.text
    assert "4 units with 8 months of 4 tickers from daily_bars, 2024-01-02 to 2024-02-29" in (
        finished.text
    )
    assert "daily bars: 2024-01 to 2024-02" in finished.text
    for words in ("requests", "still missing", "at 100/min", "at 50/s", "of one processor"):
        assert words in finished.text
    assert "disk: fits" in finished.text
    assert "none of 4 tickers ended before 2024-02-29, so only survivors" in finished.text
    pictures = {path.name for path in (user.data_dir / "reports").glob("universe*.png")}
    assert pictures == {"universe_by_year.png", "universe_by_batch.png"}
    assert count_trade_requests(market_server) == 0


def test_a_universe_of_a_file_grows_and_shrinks_only_when_a_person_says_so(user: User) -> None:
    write_text(user.folder / "symbols.txt", "CON\nBCPC\n")
    options = ("plan", "--universe", "--tickers-file", "symbols.txt", *WINTER)

    first = user.run(*options, SMALLCAPS_BATCH_TICKERS=1)
    write_text(user.folder / "symbols.txt", "CON\nBRK.A\nZZZZ\n")
    told = user.run(*options, "--diff", SMALLCAPS_BATCH_TICKERS=1)
    document = user.run(*options, "--diff", "--json", SMALLCAPS_BATCH_TICKERS=1)
    waiting = user.run(*options, SMALLCAPS_BATCH_TICKERS=1)
    kept = read_tickers(user)
    accepted = user.run(*options, "--yes", SMALLCAPS_BATCH_TICKERS=1)

    assert (first.code, accepted.code) == (0, 0), first.text + accepted.text
    assert kept == ["BCPC", "CON"]
    assert read_tickers(user) == ["BRK.A", "CON"]
    change = decode_json(document.out, UniverseChangeDocument)
    assert (document.code, change.is_publishable, change.reopened) == (FAILED, False, ())
    assert {unit.before is None for unit in change.changed} == {True, False}
    assert [unit.unit for unit in change.changed if unit.after is None] == [
        "b001_2024-01",
        "b001_2024-02",
    ]
    check_refusal(told, FAILED, "dropped units: 2", "new units: 2", "nothing was published")
    check_refusal(waiting, FAILED, "drops 2 planned units of 4", "publish it with --yes")
    assert "1 of 3 symbols have neither a listing nor a daily bar: ZZZZ" in accepted.text


def test_diff_of_a_universe_writes_nothing_and_passes_where_it_would_be_published(
    user: User,
) -> None:
    write_text(user.folder / "symbols.txt", "CON\n")

    finished = user.run("plan", "--universe", "--tickers-file", "symbols.txt", *WINTER, "--diff")

    assert finished.code == 0, finished.text
    assert "b001_2024-02" in finished.out
    assert user.list_files() == []


def test_listings_of_a_file_are_planned_by_their_lives(user: User) -> None:
    rows = "ticker,list_date,delisted_date\nCON,2010-01-04,\nBCPC,2010-01-04,2023-11-30\n"
    write_text(user.folder / "listings.csv", rows + "GONE,2005-01-04,2010-01-04\n")

    finished = user.run("plan", "--universe", *WINTER, SMALLCAPS_UNIVERSE="listings.csv")

    assert finished.code == 0, finished.text
    assert "tickers from universe" in finished.text
    assert read_tickers(user) == ["BCPC", "CON"], "BCPC has bars all the same"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--universe", "--watchlist", "watchlist.csv"], "leave out --watchlist"),
        (["--universe", "--tickers", "CON", "--batch", "1/2"], "leave out --tickers, --batch"),
        (["--universe", "--pilot", "0"], "leave out --pilot"),
        (["--universe", "--json"], "--json prints the difference: add --diff"),
        (["--tickers-file", "watchlist.csv"], "--tickers-file: of a universe alone"),
        (["--yes"], "--yes: of a universe alone"),
        (["--universe", "--tickers-file", "none.txt"], "none.txt"),
        (["--universe", "--from", "2024-02-01", "--to", "2024-01-02"], "last_session lies before"),
        (["--universe", "--tickers-file", "lower.txt"], "line 2: 'bcpc' (did you mean BCPC?)"),
        (["--universe", "--tickers-file", "empty.txt"], "expected symbols, one a line"),
    ],
)
def test_bad_options_and_files_are_refused_before_any_request(
    user: User, market_server: EmulatorServer, arguments: list[str], words: str
) -> None:
    write_text(user.folder / "lower.txt", "CON\nbcpc\n")
    write_text(user.folder / "empty.txt", "# nothing\n")

    check_refusal(user.run("plan", *arguments), REFUSED, words)

    assert market_server.requests == []


def test_dates_without_a_month_that_is_over_are_refused(user: User) -> None:
    tomorrow = dt.datetime.now(dt.UTC).date()

    finished = user.run(
        "plan",
        "--universe",
        *("--from", tomorrow.replace(day=1).isoformat()),
        SMALLCAPS_SOURCE="vendor",
        POLYGON_API_KEY="x",
    )

    check_refusal(finished, REFUSED, "is over and published", "plan again when the month is over")
