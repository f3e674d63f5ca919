from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import User
from smallcaps_assets_tests.lakehouse_factories import WATCHLIST_TEXT, write_text

LISTINGS = "ticker,delisted_date\nBCPC,\nGONE,2020-05-06\n"


def test_universe_says_how_far_it_is_and_resumes(user: User, market_server: EmulatorServer) -> None:
    market_server.faults = [Fault("503", endpoint="details")]
    failed = user.run("universe")
    market_server.faults = []

    finished = user.run("universe", SMALLCAPS_UNIVERSE_TYPES="all")

    assert failed.code == 1
    assert "universe: 4 listings active, page 1" in failed.out
    assert "run `smallcaps universe` again to go on" in failed.text
    assert finished.code == 1
    assert "universe: 4 of 4 details" in finished.out
    assert "none of 4 listings is delisted" in finished.text


def test_universe_reads_a_file_without_a_source(user: User) -> None:
    write_text(user.folder / "listings.csv", LISTINGS)

    finished = user.run("universe", "--file", "listings.csv")

    assert (finished.code, finished.err) == (0, "")
    assert "2 listings of 2 tickers, 1 active and 1 delisted" in finished.out


def test_plan_reads_the_file_of_listings_and_drops_what_lies_outside(user: User) -> None:
    write_text(user.folder / "listings.csv", LISTINGS)
    write_text(user.folder / "watchlist.csv", WATCHLIST_TEXT)

    finished = user.run(
        "plan",
        "--watchlist",
        "watchlist.csv",
        SMALLCAPS_UNIVERSE="listings.csv",
        SMALLCAPS_OUTSIDE_UNIVERSE="drop",
    )

    assert finished.code == 0, finished.text
    assert "watchlist 1 rows of 1 tickers" in finished.text
    outside = "2 watchlist rows of 2 tickers lie outside the universe and were dropped"
    assert outside in finished.text


def test_plan_refuses_a_file_of_survivors(user: User) -> None:
    """L22."""
    write_text(user.folder / "listings.csv", "ticker\nBCPC\n")

    finished = user.run("plan", SMALLCAPS_UNIVERSE="listings.csv")

    assert finished.code == 1
    assert "the universe is not published" in finished.text
    assert "only survivors would be studied" in finished.text
    assert not (user.data_dir / "reference" / "universe.parquet").exists()
