"""What daily bars dispute, from the terminal: named, red, healed, accepted, asked again."""

import json

from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets_tests.cli.cli_factories import FAILED, REFUSED, User, check_refusal
from smallcaps_assets_tests.cli.homes import list_data_files, show_partitions

SHORT = Fault("short_page", endpoint="trades", share=0.5, by="row")


def status(user: User) -> dict[str, object]:
    partitions: dict[str, object] = json.loads(user.run("status", "--json").out)["partitions"]
    return partitions


def test_disputed_sessions_are_named_and_an_honest_vendor_heals_all(
    user: User, market_server: EmulatorServer
) -> None:
    """L27: a vendor that loses rows of every session, and no longer does."""
    market_server.faults = [SHORT]
    lossy = user.run("download", "--watchlist", "watchlist.csv")
    disputed = status(user)["disputed"]
    shown = show_partitions(user)

    assert lossy.code == FAILED
    assert disputed
    assert "the daily bar has more" in lossy.text
    assert "asked again from" in lossy.text
    assert "; 1 answers" not in lossy.text
    assert len(shown["FAILED"]) >= disputed  # type: ignore[operator]

    market_server.faults = []
    healed = user.run("download")

    assert healed.code == 0, healed.text
    assert "answers differ from what was stored; both are kept" in healed.text
    assert status(user)["disputed"] == 0
    assert "FAILED" not in show_partitions(user)


def test_a_person_accepts_what_no_answer_settles(user: User, market_server: EmulatorServer) -> None:
    """L27: `--accept-disputed`, as `--accept-empty` for sessions without trades."""
    market_server.faults = [SHORT]
    user.run("download", "--watchlist", "watchlist.csv")

    accepted = user.run("download", "--accept-disputed")

    assert accepted.code == 0, accepted.text
    assert status(user)["marks"]
    audit = json.loads(user.run("audit", "--json").out)
    checks = {check["name"]: check for check in audit["checks"]}
    assert checks["sessions_reach_their_bar"]["passed"]
    assert not checks["bars_prove_sessions"]["passed"]
    assert checks["bars_prove_sessions"]["severity"] == "warning"
    assert "bars_prove_sessions" not in audit["failed"]


def test_green_sessions_can_be_asked_for_again(filled: User, market_server: EmulatorServer) -> None:
    """L28: nothing changed is said; what changed is listed, and both answers are kept."""
    stored = list_data_files(filled.data_dir)
    same = filled.run("recheck", "--sample", "100%")
    market_server.faults = [Fault("revised_history", endpoint="trades", revision="price")]
    changed = filled.run("recheck", "--sample", "100%", "--seed", "7")
    again = filled.run("download", "--again", "--from", "2024-01-01")

    assert same.code == 0, same.text
    assert "0 differ" in same.text
    assert changed.code == FAILED
    assert "answers differ from what was stored; both are kept" in changed.text
    assert {*list_data_files(filled.data_dir)} > {*stored}
    assert again.code == 0, again.text
    assert "are asked for again" in again.text


def test_asking_for_the_whole_lake_again_is_refused(filled: User) -> None:
    """L28: it would be paid for twice."""
    check_refusal(filled.run("download", "--again"), REFUSED, "--tickers", "smallcaps recheck")
    for sample in ("0", "101%", "many", "nan", "-1%"):
        check_refusal(
            filled.run("recheck", "--sample", sample), REFUSED, "expected a share", sample
        )
