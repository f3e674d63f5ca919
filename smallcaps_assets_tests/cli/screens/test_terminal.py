"""What others say is shown on a terminal and cannot steer it."""

import io
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from smallcaps_assets.cli.screens.terminal import ShowingConsole
from smallcaps_assets.emulator.answers.faults import Fault
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets.errors import SmallcapsError, VendorError, show_controls
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.operations.report.page import TEMPLATES
from smallcaps_assets_tests.lakehouse_factories import (
    SMALL_MARKET,
    download_plan,
    plan_small_lake,
)

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x00nul \x9b2J \u202eright"
SHOWN = r"\x1b[31mred\x1b]0;title\x07 \x00nul \x9b2J \u202eright"


def is_harmless(text: str) -> bool:
    """Say whether a text holds nothing but what is printed, line ends and tabs."""
    controls = {*map(chr, range(32)), *map(chr, range(127, 160))} - {"\n", "\t"}
    return not controls & set(text)


@given(st.text())
def test_no_error_holds_a_control_character(text: str) -> None:
    """L41: the vendor's words reach ledger, logs, terminal and pages as an error of ours."""
    error, refusal = SmallcapsError(text), VendorError(text, url="u")

    assert is_harmless(str(error))
    assert is_harmless(str(refusal))
    str(error).encode()


def test_control_characters_are_shown() -> None:
    rendered = TEMPLATES.from_string("{{ text }}").render(text=HOSTILE)
    assert show_controls(HOSTILE) == str(SmallcapsError(HOSTILE)) == rendered == SHOWN
    assert show_controls("a\tb\n\u00e9 \u4e2d") == "a\tb\n\u00e9 \u4e2d"


def test_a_console_shows_what_it_is_given_and_sends_its_own_codes_alone() -> None:
    """L41: a ledger written by an older version holds them raw."""
    stream = io.StringIO()
    console = ShowingConsole(file=stream, force_terminal=True, width=200, color_system="standard")
    table = Table("ticker")
    table.add_row(HOSTILE)

    console.print(HOSTILE, table, style="bold", markup=False, highlight=False)

    text = stream.getvalue()
    assert text.count(r"\x1b[31mred") == 2
    assert "\x1b[1m" in text
    assert not [raw for raw in ("\x1b[31m", "\x07", "\x00", "\x9b", "\u202e") if raw in text]


def test_words_of_the_vendor_are_shown_in_the_ledger_and_in_logs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """L41: raw ESC, BEL and NUL stood in the ledger, and in the page made from it."""
    body = b'{"status": "ERROR", "error": "\\u001b[31mboom\\u0007\\u0000"}'
    with EmulatorServer(Market(SMALL_MARKET)) as server, caplog.at_level(logging.INFO):
        lakehouse = plan_small_lake(tmp_path, server.url)
        server.faults = [Fault(body=body, status=500, endpoint="trades")]
        download_plan(lakehouse)
    with LedgerReader(lakehouse.home.ledger_file) as ledger:
        messages = ledger.failed_sessions()["error_message"].to_list()

    assert messages
    assert all(r"\x1b[31mboom\x07\x00" in message for message in messages)
    assert all(is_harmless(text) for text in [*messages, *(r.getMessage() for r in caplog.records)])
