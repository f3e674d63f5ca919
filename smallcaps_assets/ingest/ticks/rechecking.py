"""Stored sessions asked for again without a cause: does the vendor still say the same?

What belongs here: which sessions, and what came of it.  What does not: asking and weighing
(``asking_again``).
"""

import datetime as dt
import math
from dataclasses import dataclass, field

import polars as pl

from smallcaps_assets.core.keys import decode_key, key_expression
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.ingest.ticks.backfill import Backfill
from smallcaps_assets.lake.interchange.export import EVERYTHING, Selection
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lake.ledger.rows import Revision

DEFAULT_SHARE = 0.01
"""Share of the stored sessions that is asked for again unless another one is given."""


@dataclass(frozen=True, slots=True)
class RecheckChoice:
    """Which stored sessions are asked for again.

    Attributes:
        share: Share of those that the rest allows, chosen by the seed; above 0, at most 1.
        seed: Another one chooses others.
        older_than_days: Only sessions at least so old.
        selection: Only these tickers and dates.
    """

    share: float = DEFAULT_SHARE
    seed: int = 0
    older_than_days: int = 0
    selection: Selection = EVERYTHING


@dataclass(slots=True)
class RecheckFacts:
    """What a recheck found.

    Attributes:
        stored: Sessions that it could have asked for.
        settled: Those asked for because a deficit of theirs settled.
        keys: Those asked for.
        unanswered: Those of them that the vendor did not answer about.
        revisions: Answers that differ from what was stored.
        changed: Keys whose colour may be another one now.
        aborted: Why it ended early; empty: it did not.
    """

    stored: int
    settled: int
    keys: list[str]
    unanswered: list[str] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    aborted: str = ""

    @property
    def unchanged(self) -> int:
        """Return how many answers were what is stored."""
        return len(self.keys) - len(self.unanswered) - len(self.revisions)


def parse_share(text: str) -> float:
    """Return a share given as ``1%`` or ``0.01``.

    Raises:
        ConfigError: It is no number, or not above 0 and at most 1.
    """
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise ConfigError(
            f"--sample: expected a share above 0 and at most 100%, such as 1% or 0.01, got {text!r}"
        )
    return number


def choose_stored(ledger: LedgerReader, choice: RecheckChoice, today: dt.date) -> RecheckFacts:
    """Choose the stored sessions to ask for: those that settled first, then a sample."""
    asked = choice.selection
    stored = ledger.stored_sessions(asked.tickers, asked.first, asked.last)
    newest = today - dt.timedelta(days=choice.older_than_days)
    stored = stored.filter(pl.col("session_date") <= newest)
    keys = stored.select(key_expression()).to_series()
    settled = [key for key in ledger.settled_keys() if key in set(keys)]
    count = math.ceil(choice.share * len(keys))
    sample = keys.sample(count, seed=choice.seed).sort().to_list()
    chosen = list(dict.fromkeys([*settled, *sample]))
    return RecheckFacts(len(keys), len(settled), chosen)


def recheck_sessions(
    backfill: Backfill, facts: RecheckFacts, *, wait_s: float | None = 0.0
) -> None:
    """Ask the vendor again for the stored sessions that were chosen, and note what differs.

    Args:
        backfill: One that asks again.
        facts: Which sessions; it learns what came of them.
        wait_s: Longest wait for another holder of the lake; ``None`` waits as long as it lives.

    Raises:
        PartitionConflictError: Another process holds the lake.
        StorageError: The disk refuses; what was stored stays.
    """
    if not facts.keys:
        return
    with backfill.held(wait_s=wait_s):
        for _ in backfill.run(sorted(facts.keys, key=decode_key)):
            pass
    asking = backfill.download.asking
    facts.unanswered, facts.revisions = asking.unanswered, asking.revisions
    facts.changed = sorted({*backfill.changed, *(r.old.key for r in facts.revisions)})
    facts.aborted = backfill.summary.aborted
