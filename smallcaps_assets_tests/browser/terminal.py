"""What the user does in a terminal beside the UI: the functions of the commands, in this process.

What belongs here: plans, downloads, audits and repairs of one lake, and what its ledger says.
What does not: the UI (``dagster_ui``).
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from smallcaps_assets.cli.commands.audit_command import run_audit
from smallcaps_assets.cli.runs.download import run_download
from smallcaps_assets.cli.runs.plan import refresh_reference, run_plan
from smallcaps_assets.cli.runs.workplace import Workplace
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import GREEN, PLANNED
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.defs.instance.internals import RANGE_END, RANGE_START
from smallcaps_assets.defs.partitions import PLANNED_SET
from smallcaps_assets.emulator.market.synthetic import MarketConfig
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.reading.sources import Selection
from smallcaps_assets.operations.repair.upkeep import rebuild_ledger
from smallcaps_assets_tests.lakehouse_factories import make_settings
from smallcaps_assets_tests.stored_rows import damage_rows, lose_session

MARKET: Final = MarketConfig(tickers=8, busy_trades=0, trades_scale=0.3)
MORE_TICKERS: Final = 3
"""Tickers of the larger plan that the terminal makes later."""
SETTINGS: Final[dict[str, object]] = {
    "first_session": "2023-04-03",
    "last_session": "2023-06-30",
    "pilot_min_events": 2,
    "pilot_tickers": 1,
    "workers": 1,
    "range_max_sessions": 2,
    "retries": 0,
    "commit_interval_s": 0.05,
}
"""Settings of terminal and UI: small ranges, one at a time, so that a run can be caught halfway."""


def ui_settings(data_dir: Path, url: str) -> dict[str, str]:
    """Return the environment of the UI: the same settings as those of the terminal."""
    shared = {"data_dir": data_dir, "base_url": url, "source": "emulator", "requests_per_minute": 0}
    return {f"SMALLCAPS_{name.upper()}": str(value) for name, value in (SETTINGS | shared).items()}


class Terminal:
    """A terminal with one lakehouse.

    Attributes:
        data_dir: Its folder.
        work: What commands work with.
    """

    def __init__(self, data_dir: Path, url: str) -> None:
        self.data_dir = data_dir
        self._url = url
        self._console = Console(file=io.StringIO())
        self.work = self._open()

    def refresh_reference(self) -> None:
        """The first half of `smallcaps plan`: daily bars and splits."""
        refresh_reference(self.work, self._console)

    def report(self) -> Path:
        """`smallcaps report`, as the job of the UI; return the page."""
        assert self.work.run_job("refresh_report").is_success
        return self.work.lakehouse.layout.report_page

    def plan(self, **changes: object) -> None:
        """`smallcaps plan`, with these settings changed."""
        work = self._open(**changes)
        assert run_plan(work, self._console), self._said()

    def download(self, *tickers: str) -> bool:
        """`smallcaps download --tickers`; return whether these are complete."""
        return run_download(self.work, Selection(tickers or None, None, None), self._console)

    def download_session(self, key: str) -> bool:
        """`smallcaps download` of one session; return whether it is complete."""
        ticker, session_date = decode_key(key)
        selection = Selection((ticker,), session_date, session_date)
        return run_download(self.work, selection, self._console)

    def audit(self) -> dict[str, Verdict]:
        """`smallcaps audit --deep`."""
        return run_audit(self.work, deep=True)

    def list_keys(self) -> list[str]:
        """Return the planned keys in the order of Dagster's partitions."""
        return list(self.work.instance.get_dynamic_partitions(PLANNED_SET))

    def find_green(self) -> set[str]:
        """Return the planned keys that are finished, by the ledger."""
        keys = self.list_keys()
        with self._read_ledger() as ledger:
            states = ledger.states(keys)
        return {key for key in keys if states.get(key) in GREEN}

    def list_missing(self) -> list[str]:
        """Return the planned keys that were never tried, by the ledger, in their order."""
        keys = self.list_keys()
        with self._read_ledger() as ledger:
            states = ledger.states(keys)
        return [key for key in keys if states[key] == PLANNED]

    def count_states(self) -> dict[str, int]:
        """Return how many planned sessions are in each state, by the ledger."""
        with self._read_ledger() as ledger:
            return ledger.counts()

    def damage(self, key: str) -> None:
        """Damage the rows of a session."""
        damage_rows(self.work.lakehouse, key)

    def forget(self, key: str) -> None:
        """Remove all that is stored of a session, and `smallcaps reindex`."""
        lose_session(self.work.lakehouse, key)
        rebuild_ledger(self.work.lakehouse)

    def _open(self, **changes: object) -> Workplace:
        return Workplace(make_settings(self.data_dir, self._url, **(SETTINGS | changes)))

    def _read_ledger(self) -> LedgerReader:
        return LedgerReader(self.work.lakehouse.layout.ledger_file)

    def _said(self) -> str:
        file = self._console.file
        return file.getvalue() if isinstance(file, io.StringIO) else ""


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """Return the tags of a run over neighbouring partitions."""
    return {RANGE_START: keys[0], RANGE_END: keys[-1]}
