"""Lakes that download day after day from a simulated vendor, and what must hold after each day.

What belongs here: days of a lake, and counts of what asking again took.  What does not: the
vendors themselves (``smallcaps_assets_tests.vendors``).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import polars as pl

from smallcaps_assets.core.keys import key_expression
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.states import COMPLETE, DISPUTED, GREEN
from smallcaps_assets.core.ticks.disputes import allow_requests
from smallcaps_assets.ingest.derived import index_stored, refresh_ledger
from smallcaps_assets.ingest.proof.judging import open_stored
from smallcaps_assets.ingest.ticks.download import Download
from smallcaps_assets.ingest.ticks.outcomes import Outcome
from smallcaps_assets.lake.segments.names import part_key
from smallcaps_assets.lake.segments.reading import read_month
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.ingest.ingest_factories import make_keys
from smallcaps_assets_tests.lake.disks import ScriptedDisk
from smallcaps_assets_tests.vendors import Clock, Model, SimulatedVendor, open_lakehouse, store_bars

TICKERS: Final[Mapping[str, int]] = {"ABCD": 240, "EFGH": 120, "TINY": 20}
"""Trades of an ordinary session; one lost of the last is 5 % already."""


@dataclass
class History:
    """A lake, the vendor that it downloads from, and what each day brought.

    Attributes:
        vendor: Its model may be changed between two days.
        lakehouse: The lake.
        keys: What each day asks for.
        dates: Their sessions.
        spent: Requests of each run that asked again, those for bars among them.
        allowed: Requests of each run that might have.
        wrong: Keys that were green, unmarked and not the truth at the end of some day.
    """

    vendor: SimulatedVendor
    lakehouse: Lakehouse
    dates: Sequence[dt.date]
    keys: list[str]
    spent: list[int] = field(default_factory=list)
    allowed: list[int] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    _truth: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        folder: Path,
        model: Model,
        today: dt.date,
        span: tuple[dt.date, dt.date],
        tickers: Mapping[str, int] = TICKERS,
        **changes: object,
    ) -> Self:
        """Return an empty lake whose bars came today."""
        vendor = SimulatedVendor(model, Clock(today), dict(tickers))
        dates = load_calendar().dates(*span)
        keys = [key for ticker in sorted(tickers) for key in make_keys(ticker, dates)]
        history = cls(vendor, open_lakehouse(folder, vendor, **changes), dates, keys)
        history.reopen()
        history.store_bars()
        return history

    def reopen(self, crash_at: int | None = None, vendor: SimulatedVendor | None = None) -> None:
        """Open the lake as a new process does, on a disk that syncs nothing and may end it.

        Args:
            crash_at: Operation of the disk before which the process ends.
            vendor: Another one to download from.
        """
        self.lakehouse = replace(self.lakehouse, fs=ScriptedDisk(crash_at=crash_at))
        self.vendor = vendor or self.vendor
        vars(self.lakehouse)["client"] = self.vendor

    def store_bars(self) -> None:
        """Store the bars of today, as a refresh of all months does."""
        months = sorted({f"{date:%Y-%m}" for date in self.dates})
        for month in months:
            store_bars(self.lakehouse, self.vendor, month, self.dates)
        self.lakehouse.ledger.record_unjudged(months)

    def run(
        self, keys: Sequence[str] | None = None, *, accept_disputed: bool = False
    ) -> dict[str, Outcome]:
        """Download as a run does; look at what it asked for, and at each green session."""
        chains, dates = len(self.vendor.asked), len(self.vendor.asked_bars)
        refresh_ledger(self.lakehouse)
        open_stored(self.lakehouse).judge_new()
        work = Download(
            self.lakehouse, run_id=f"run-{len(self.spent)}", accept_disputed=accept_disputed
        )
        outcomes = {outcome.key: outcome for outcome in work.run(keys or self.keys)}
        pages = {True: 0, False: 0}
        for chain in self.vendor.asked[chains:]:
            pages[chain.page_limit != self.lakehouse.settings.page_limit] += chain.pages
        self.spent.append(pages[True] + len(self.vendor.asked_bars) - dates)
        self.allowed.append(allow_requests(pages[False]))
        self.wrong |= self.find_wrong()
        return outcomes

    def run_days(self, days: int) -> None:
        """Download once a day."""
        for _ in range(days):
            self.run()
            self.vendor.clock.advance()

    def ask_again(self, keys: Sequence[str]) -> None:
        """Ask for stored sessions again, as a person does."""
        refresh_ledger(self.lakehouse)
        list(Download(self.lakehouse, run_id="again", asks_again=True).run(keys))
        self.wrong |= self.find_wrong()

    def lose_ledger(self) -> None:
        """Remove the ledger and make it again of the records."""
        self.lakehouse.ledger.close()
        for file in self.lakehouse.home.lake_dir.glob("ledger.sqlite*"):
            file.unlink()
        vars(self.lakehouse).pop("ledger")
        index_stored(self.lakehouse)

    @property
    def now(self) -> dt.datetime:
        return self.vendor.clock.now

    @property
    def marks(self) -> dict[str, int]:
        """Return how many green sessions have each mark."""
        return self.lakehouse.ledger.marks()

    def read_states(self) -> dict[str, str]:
        """Read what is known of each session; nobody plans them, so most are in records alone."""
        ledger = self.lakehouse.ledger
        plain = self.lakehouse.sessions.find_receipts(ledger.find_unlisted(self.keys))
        return ledger.states(self.keys) | {receipt.key: receipt.state for receipt in plain}

    def find_red(self) -> list[str]:
        states = self.read_states()
        return [key for key in self.keys if states.get(key) != COMPLETE]

    def describe(self) -> dict[str, tuple[object, ...]]:
        """Return state, marks, deficits and the number of answers of each session."""
        receipts = {receipt.key: receipt for receipt in self.lakehouse.sessions.iter_receipts()}
        assert receipts.keys() == set(self.keys)
        known = self.lakehouse.ledger.figures(self.dates[0], self.dates[-1])
        columns = known.select("state", "marks", "volume_deficit", "count_deficit").rows()
        rows = dict(zip(known.select(key_expression())["key"], columns, strict=True))
        plain = {
            key: (receipt.state, "", receipt.volume_deficit, receipt.count_deficit)
            for key, receipt in receipts.items()
            if key not in rows
        }
        described = rows | plain
        return {key: (*described[key], len(receipts[key].askings)) for key in self.keys}

    def find_wrong(self) -> set[str]:
        """Return the keys that are green, without a mark, and not what happened."""
        marked = set(
            self.lakehouse.ledger.receipts().drop_nulls("marks").select(key_expression())["key"]
        )
        green = [
            receipt
            for receipt in self.lakehouse.sessions.iter_receipts()
            if receipt.state in GREEN and receipt.key not in marked
        ]
        self._truth |= self.vendor.hash_truth(
            [(r.ticker, r.session_date) for r in green if r.key not in self._truth]
        )
        return {r.key for r in green if r.content_hash != self._truth[r.key]}

    def find_lacking(self, share: float) -> list[str]:
        columns = pl.max_horizontal("volume_deficit", "count_deficit")
        lacking = self.lakehouse.ledger.deficits().filter(columns > share)
        return [f"{t}_{date}" for t, date in lacking.select("ticker", "session_date").iter_rows()]

    def is_memory_kept(self) -> bool:
        """Say whether ledger and records know the same of each session."""
        states = self.read_states()
        receipts = {receipt.key: receipt for receipt in self.lakehouse.sessions.iter_receipts()}
        kept = {key: state for key, state in states.items() if state in (COMPLETE, DISPUTED)}
        return kept == {key: receipts[key].state for key in kept if key in receipts}

    def damage_rows(self, key: str, content: bytes | None = None) -> None:
        """Remove the file in which the rows of a session lie, or write something in its place."""
        month = read_month(self.lakehouse.sessions.lake, key[-10:-3])
        part = month.winners.filter(key_expression() == key)["part"].item()
        overwrite(self.lakehouse.home.lake_dir / part_key(month.name, part), content)


def overwrite(path: Path, content: bytes | None) -> None:
    """Remove a file, or write something else in its place."""
    path.unlink()
    if content is not None:
        path.write_bytes(content)
