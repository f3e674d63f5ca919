"""Months of research: minute bars with halts, information bars, and features of minute bars.

What belongs here: what a month is made of, whether it is current, and the way from batches of
whole tickers to a file.  What does not: the rules (``core.research``), events and labels
(``events``, ``labelling``).

A month is a function of its sessions and of daily bars before them.  The hash of both lies in its
file: a repaired session makes its month stale, and nothing else.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from smallcaps_assets.core.keys import list_session_months, month_expression
from smallcaps_assets.core.research.information_bars import (
    BarRules,
    build_information_bars,
    judge_bar_lengths,
    judge_tiling,
    measure_bar_lengths,
    scale_sessions,
)
from smallcaps_assets.core.research.microstructure import (
    SAMPLE,
    build_bar_features,
    judge_truncation,
)
from smallcaps_assets.core.research.minute_bars import (
    build_minute_bars,
    judge_sums,
    prepare_prints,
    sum_prints,
)
from smallcaps_assets.core.research.prints import count_unknown_conditions
from smallcaps_assets.core.sessions import month_bounds
from smallcaps_assets.core.ticks.phases import REGULAR
from smallcaps_assets.core.verdicts import Number, Verdict
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.research.ground import INPUT_HASH, KEY, Ground, cut_batches
from smallcaps_assets.schemas import Table
from smallcaps_assets.schemas_research import BAR_FEATURES, HALTS, INFORMATION_BARS, MINUTE_BARS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERSIONS: Final = {MINUTE_BARS.name: 1, INFORMATION_BARS.name: 1, BAR_FEATURES.name: 1}
"""Raised when the same inputs make other rows."""

TRADE_ROWS: Final = 2_000_000
"""Trades in memory at once, at most: with bars of three kinds they take less than 1 GiB.  A larger
session is read alone."""
FEATURE_ROWS: Final = 1_000_000
"""Minute bars in memory at once while features are made."""

_HISTORY: Final = dt.timedelta(days=100)
"""Days that hold the sessions which tell the size of bars, holidays included."""

Batches = Iterator[pl.DataFrame]


@dataclass(frozen=True, slots=True)
class MadeMonth:
    """A month that was looked at.

    Attributes:
        name: The month, ``YYYY-MM``.
        rows: Rows of its table.
        numbers: Facts about it, by name.
        input_hash: Hash of what it was made of.
        is_reused: Nothing had changed, and nothing was read.
        is_empty: The lake has no trades of it, so that nothing was made.
    """

    name: str
    rows: int = 0
    numbers: dict[str, Number] = field(default_factory=dict)
    input_hash: str = ""
    is_reused: bool = False
    is_empty: bool = False


@dataclass(frozen=True)
class Months:
    """The monthly tables of one lake.

    Attributes:
        ground: The lake, and the tables of research.
        rules: How large information bars are.
    """

    ground: Ground
    rules: BarRules
    _scales: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    def list_months(self) -> list[str]:
        """List the months of which the lake has trades, sorted."""
        return list_session_months(self.ground.traded)

    def make(self, table: Table, months: Sequence[str]) -> Iterator[MadeMonth]:
        """Make a monthly table where its inputs changed, a month at a time.

        Args:
            table: ``MINUTE_BARS`` (with ``HALTS``), ``INFORMATION_BARS`` or ``BAR_FEATURES``.
            months: The months, ``YYYY-MM``.

        Yields:
            Each month, when it is stored.

        Raises:
            MissingPartitionError: Features want minute bars that were not made.
            StorageError: The disk refuses; months made before stay.
        """
        writers: dict[str, Callable[[str, str], MadeMonth]] = {
            MINUTE_BARS.name: self._write_minute_bars,
            INFORMATION_BARS.name: self._write_information_bars,
            BAR_FEATURES.name: self._write_bar_features,
        }
        for month in months:
            if self._sessions_of(month).is_empty():
                yield MadeMonth(month, is_empty=True)
                continue
            input_hash = self.hash_inputs(table, month)
            facts = self.ground.store.read_facts(table, month)
            if facts.get(INPUT_HASH) == input_hash and self._has_companion(table, month):
                numbers = _read_numbers(facts)
                rows = int(numbers.pop("rows", 0))
                yield MadeMonth(month, rows, numbers, input_hash, is_reused=True)
            else:
                yield writers[table.name](month, input_hash)

    def hash_inputs(self, table: Table, month: str) -> str:
        """Hash all that a month of a table is made of.

        Raises:
            MissingPartitionError: Features want minute bars that were not made.
        """
        first, last = month_bounds(month)
        is_inside = pl.col("session_date").is_between(first, last)
        sessions = self.ground.sessions.filter(is_inside)
        version = (table.name, VERSIONS[table.name])
        if table == MINUTE_BARS:
            return self.ground.hash_inputs(version, sessions)
        scales = self.scale(month)
        if table == INFORMATION_BARS:
            return self.ground.hash_inputs(version, sessions, scales, self.rules)
        bars = self.ground.store.read_facts(MINUTE_BARS, month).get(INPUT_HASH)
        if bars is None:
            raise MissingPartitionError(
                f"expected minute bars of {month}, found none: materialize minute_bars first"
            )
        return self.ground.hash_inputs(version, str(bars), scales)

    def scale(self, month: str) -> pl.DataFrame:
        """Scale the sessions of a month by ``information_bars.scale_sessions``, once.

        So what is hashed, what is made and what is judged rest on the same daily bars.
        """
        if month not in self._scales:
            self._scales[month] = self._scale(month)
        return self._scales[month]

    def _scale(self, month: str) -> pl.DataFrame:
        sessions = self._sessions_of(month).select(KEY)
        first, last = month_bounds(month)
        bars = self.ground.lake.daily_bars(first - _HISTORY, last)
        wanted = bars.filter(pl.col("ticker").is_in(sessions["ticker"].unique().to_list()))
        daily = (wanted.collect(), self.ground.splits)
        return scale_sessions(sessions, daily, self.ground.calendar, self.rules)

    def list_stale(self, table: Table) -> list[str]:
        """List the months whose table is missing, or was made of something else."""
        return [month for month in self.list_months() if not self._is_current(table, month)]

    def judge_freshness(self, table: Table) -> Verdict:
        """Judge whether each month is made of what the lake holds now."""
        months, stale = self.list_months(), self.list_stale(table)
        summary = (
            f"{len(stale):,} of {len(months):,} months of {table.name} are missing or were made of "
            "something else than the lake holds now; expected 0"
        )
        numbers: dict[str, Number] = {"months": len(months), "stale": len(stale)}
        return Verdict(not stale, summary, numbers, pl.DataFrame({"month": stale}))

    def judge_minute_bars(self, months: Sequence[str]) -> Verdict:
        """Judge whether stored minute bars hold every volume print of the lake, once."""
        bars = self.ground.store.scan(MINUTE_BARS, months)
        return judge_sums(bars, self._sum_months(months, is_regular=False))

    def judge_information_bars(self, months: Sequence[str]) -> Verdict:
        """Judge whether stored bars of each kind tile the regular prints and sum to them.

        The first kind that does not is told.
        """
        bars = self.ground.store.scan(INFORMATION_BARS, months)
        expected = self._sum_months(months, is_regular=True)
        sizes = pl.concat([self.scale(month) for month in months])
        verdicts = [judge_tiling(bars)]
        for kind in self.rules.kinds:
            size = "tick" if kind.endswith("_imbalance") else kind
            known = expected.join(sizes.filter(pl.col(size) > 0), on=KEY, how="semi")
            verdicts.append(judge_sums(bars.filter(pl.col("kind") == kind), known))
        failed = [verdict for verdict in verdicts if not verdict.passed]
        return failed[0] if failed else verdicts[-1]

    def judge_bar_lengths(self, months: Sequence[str]) -> Verdict:
        """Judge whether imbalance bars are of a sound length."""
        return judge_bar_lengths(self.measure_lengths(months))

    def measure_lengths(self, months: Sequence[str]) -> pl.DataFrame:
        """Measure some months by ``information_bars.measure_bar_lengths``."""
        return measure_bar_lengths(self.ground.store.scan(INFORMATION_BARS, months))

    def judge_bar_features(self, months: Sequence[str]) -> Verdict:
        """Judge by a sample whether stored features look ahead; the first month that does tells."""
        verdicts = [self._judge_features(month) for month in months]
        failed = [verdict for verdict in verdicts if not verdict.passed]
        return failed[0] if failed else verdicts[-1]

    def discard(self, table: Table, months: Sequence[str]) -> None:
        """Remove months that failed their check, so that nobody reads them.

        Raises:
            StorageError: The disk refuses.
        """
        for month in months:
            self.ground.store.discard(table, month)

    def draw_minutes(self, months: Sequence[str]) -> "dict[str, Figure]":
        """Draw the session with the most trades of some months."""
        from smallcaps_assets.plots.research.bars import draw_session  # noqa: PLC0415  matplotlib

        is_of = month_expression().is_in(months)
        busiest = self.ground.traded.filter(is_of).sort("rows", *KEY).tail(1).select(KEY).lazy()
        bars, halts = (
            self.ground.store.scan(table, months).join(busiest, on=KEY, how="semi").collect()
            for table in (MINUTE_BARS, HALTS)
        )
        return {"busiest_session": draw_session(bars, halts)} if bars.height else {}

    def draw_lengths(self, months: Sequence[str]) -> "dict[str, Figure]":
        """Draw how long imbalance bars of some months are."""
        from smallcaps_assets.plots.research.bars import draw_bar_lengths  # noqa: PLC0415  as above

        lengths = self.measure_lengths(months)
        return {"imbalance_bar_lengths": draw_bar_lengths(lengths)} if lengths.height else {}

    def _sessions_of(self, month: str) -> pl.DataFrame:
        first, last = month_bounds(month)
        return self.ground.traded.filter(pl.col("session_date").is_between(first, last))

    def _is_current(self, table: Table, month: str) -> bool:
        try:
            input_hash = self.hash_inputs(table, month)
        except MissingPartitionError:
            return False
        return self.ground.store.read_facts(table, month).get(INPUT_HASH) == input_hash

    def _has_companion(self, table: Table, month: str) -> bool:
        """Say whether the halts beside minute bars are of the same hash."""
        if table != MINUTE_BARS:
            return True
        facts = (self.ground.store.read_facts(one, month) for one in (MINUTE_BARS, HALTS))
        return len({str(fact.get(INPUT_HASH)) for fact in facts}) == 1

    def _read_batches(self, month: str) -> Batches:
        """Read the trades of whole tickers, as many as may be in memory at once."""
        most_rows = min(self.ground.batch_rows, TRADE_ROWS)
        return self.ground.read_trades(self._sessions_of(month), most_rows)

    def _write_minute_bars(self, month: str, input_hash: str) -> MadeMonth:
        halts = [HALTS.empty()]
        numbers: dict[str, Number] = {"trades": 0, "unknown_conditions": 0}

        def build() -> Batches:
            for trades in self._read_batches(month):
                prints, found = prepare_prints(trades, self.ground.calendar)
                halts.append(found)
                unknown = sum(count_unknown_conditions(trades).values())
                _count(numbers, trades=trades.height, halts=found.height)
                _count(numbers, unknown_conditions=unknown)
                bars = build_minute_bars(prints)
                _count(numbers, rows=bars.height)
                yield bars

        return self._write(MINUTE_BARS, month, build(), (input_hash, numbers), halts)

    def _write_information_bars(self, month: str, input_hash: str) -> MadeMonth:
        scales = self.scale(month)
        unsized = scales.filter(pl.col("volume").is_null() | pl.col("dollar").is_null()).height
        numbers: dict[str, Number] = {
            "trades": 0,
            "sessions_without_daily_bars": unsized,
            "sessions_with_default_size": scales.filter(threshold_source="default").height,
        }

        def build() -> Batches:
            for trades in self._read_batches(month):
                prints, _ = prepare_prints(trades, self.ground.calendar)
                bars = build_information_bars(prints, scales, self.ground.calendar, self.rules)
                _count(numbers, trades=trades.height, rows=bars.height)
                _count(numbers, **{f"{kind}_bars": 0 for kind in self.rules.kinds})
                _count(numbers, **{f"{k}_bars": n for k, n in bars["kind"].value_counts().rows()})
                yield bars

        return self._write(INFORMATION_BARS, month, build(), (input_hash, numbers))

    def _write_bar_features(self, month: str, input_hash: str) -> MadeMonth:
        scales = self.scale(month)
        numbers: dict[str, Number] = {}

        def build() -> Batches:
            for bars, halts in self._read_bars(month):
                features = build_bar_features(bars, halts, scales)
                _count(numbers, rows=features.height)
                yield features

        return self._write(BAR_FEATURES, month, build(), (input_hash, numbers))

    def _write(
        self,
        table: Table,
        month: str,
        batches: Batches,
        facts: tuple[str, dict[str, Number]],
        halts: Sequence[pl.DataFrame] = (),
    ) -> MadeMonth:
        """Write a month; facts are completed while its batches are made."""
        input_hash, numbers = facts
        stored = {INPUT_HASH: input_hash, "numbers": numbers}
        rows = self.ground.store.write(table, month, batches, stored)
        if halts:
            self.ground.store.write(HALTS, month, halts, {INPUT_HASH: input_hash})
        shown = {name: value for name, value in numbers.items() if name != "rows"}
        return MadeMonth(month, rows, shown, input_hash)

    def _read_bars(self, month: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield minute bars and halts of whole tickers, as many as may be in memory at once."""
        stored = self.ground.store.scan(MINUTE_BARS, [month])
        halts = self.ground.store.scan(HALTS, [month]).collect()
        counts = stored.group_by(KEY).agg(rows=pl.len().cast(pl.Int64)).sort(KEY).collect()
        for batch in cut_batches(counts, FEATURE_ROWS):
            keys = batch.select(KEY).lazy()
            bars = stored.join(keys, on=KEY, how="semi", maintain_order="left")
            yield bars.collect(), halts

    def _sum_months(self, months: Sequence[str], *, is_regular: bool) -> pl.DataFrame:
        """Sum what the lake holds by ``minute_bars.sum_prints``."""
        columns = ("price", "size", "conditions", "correction", *KEY)
        phases = REGULAR if is_regular else None
        sums = []
        for month in months:
            first, last = month_bounds(month)
            trades = self.ground.lake.trades(None, first, last, phases=phases, columns=columns)
            sums.append(sum_prints(trades).collect(engine="streaming"))
        return pl.concat(sums)

    def _judge_features(self, month: str) -> Verdict:
        features, bars, halts = (
            self.ground.store.scan(table, [month]) for table in (BAR_FEATURES, MINUTE_BARS, HALTS)
        )
        sessions = features.select(KEY).unique().sort(KEY).collect()
        few = sessions.sample(min(SAMPLE, sessions.height), seed=1).lazy()
        chosen = [
            rows.join(few, on=KEY, how="semi", maintain_order="left").collect()
            for rows in (features, bars, halts)
        ]
        return judge_truncation(chosen[0], chosen[1], chosen[2], self.scale(month))


def _count(numbers: dict[str, Number], **further: int) -> None:
    """Add to the numbers of a month."""
    for name, count in further.items():
        numbers[name] = int(numbers.get(name, 0)) + count


def _read_numbers(facts: dict[str, object]) -> dict[str, Number]:
    """Read the numbers that a file has of itself."""
    numbers = facts.get("numbers")
    return dict(numbers) if isinstance(numbers, dict) else {}
