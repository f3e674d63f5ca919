"""What the browser tests tear down: the vendor, the UI, Chromium, a folder in memory."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.emulator.market.synthetic import Market
from smallcaps_assets_tests.browser.dagster_ui import DagsterUi
from smallcaps_assets_tests.browser.pages import Pages, start_chromium
from smallcaps_assets_tests.browser.terminal import MARKET, Terminal, ui_settings
from smallcaps_assets_tests.lakehouse_factories import REPO_ROOT, open_memory


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return a folder in memory, where there is such a disk."""
    with open_memory() as folder:
        yield folder


@pytest.fixture
def vendor() -> Iterator[EmulatorServer]:
    """Serve a market of a few tickers."""
    with EmulatorServer(Market(MARKET)) as server:
        yield server


@pytest.fixture
def terminal(
    memory: Path, vendor: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """Return a terminal beside the UI, its instance made; the environment is restored."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    terminal = Terminal(memory / "data", vendor.url)
    with terminal.work.instance:
        yield terminal


@pytest.fixture
def screens(
    memory: Path, vendor: EmulatorServer, terminal: Terminal
) -> Iterator[tuple[DagsterUi, Pages]]:
    """Start Chromium and the UI, load bars meanwhile, and return both when they answer."""
    pictures = os.environ.get("SMALLCAPS_SCREENSHOTS")
    with ExitStack() as stack:
        chromium = start_chromium(memory / "chromium")
        stack.callback(chromium.quit)
        settings = ui_settings(terminal.data_dir, vendor.url)
        ui = stack.enter_context(DagsterUi(memory, settings))
        terminal.refresh_reference()
        ui.wait_until_up()
        yield ui, Pages(chromium, ui.url, REPO_ROOT / pictures if pictures else None)
