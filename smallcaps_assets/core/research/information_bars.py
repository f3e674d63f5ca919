"""Information bars: bars by activity and by imbalance of the regular phase, one session at a time.

What belongs here: how large a bar is to be, the cut, and whether bars are degenerate.  What does
not: the loops (``kernels``), sums of prints (``minute_bars``).

The size of a bar follows from daily bars before the session, never from the session itself: an
eventful day has more bars, which is the point.  Nothing crosses a session.  The textbook's rule
for imbalance bars, whose threshold feeds on its own bars, collapses to bars of two prints; here it
is calibrated on blocks of the tape.
"""

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import polars as pl

from smallcaps_assets.core.reference.daily_bars import select_usable_bars
from smallcaps_assets.core.reference.splits import label_split_factor
from smallcaps_assets.core.research.kernels import (
    CLOSED_BY,
    Cuts,
    Floats,
    Integers,
    cut_imbalance_bars,
    cut_plain_bars,
)
from smallcaps_assets.core.research.minute_bars import aggregate_prints, select_counted
from smallcaps_assets.core.research.prints import mark_changes
from smallcaps_assets.core.sessions import SessionCalendar
from smallcaps_assets.core.ticks.phases import REGULAR
from smallcaps_assets.core.verdicts import Verdict
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.schemas_research import INFORMATION_BARS

PLAIN: Final = ("tick", "volume", "dollar")
IMBALANCE: Final = tuple(f"{name}_imbalance" for name in PLAIN)
KINDS: Final = (*PLAIN, *IMBALANCE)

SHORTEST: Final = 0.3
LONGEST: Final = 3.0
"""Mean prints of a bar over those wanted, within which imbalance bars are sound."""
TOLERATED: Final = 0.05
"""Share of bars at the cap, and of bars of one or two prints, above which they are not."""
JUDGED_BARS: Final = 50
"""Bars of a ticker and kind from which on they are judged."""


@dataclass(frozen=True, slots=True)
class BarRules:
    """How large information bars are: the table ``[bars]`` of the file of thresholds.

    Attributes:
        kinds: Kinds that are made, of :data:`KINDS`.
        per_session: Bars that a usual session is to have.
        min_trades: Fewest prints wanted in a bar.
        default_trades: Prints wanted where daily bars do not tell.
        history: Usable daily bars before the session that tell it, at most.
        history_sessions: Sessions before it within which they lie.
        min_history: Daily bars that tell it, at the least.
        blocks: Blocks that the mean of imbalances remembers.
        cap: Prints of a bar at most, in those wanted.
        max_bars_per_session: Bars of a session after which the wanted size doubles.
    """

    kinds: tuple[str, ...] = ("dollar", "volume_imbalance", "dollar_imbalance")
    per_session: int = 50
    min_trades: int = 20
    default_trades: int = 100
    history: int = 20
    history_sessions: int = 40
    min_history: int = 5
    blocks: int = 30
    cap: int = 10
    max_bars_per_session: int = 20_000

    def __post_init__(self) -> None:
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ConfigError(f"[bars] kinds: expected some of {', '.join(KINDS)}, got {unknown}")
        numbers = {name: value for name, value in asdict(self).items() if name != "kinds"}
        if low := [name for name, value in numbers.items() if value < 1]:
            raise ConfigError(f"[bars] {low[0]}: expected at least 1, got {numbers[low[0]]}")


def scale_sessions(
    sessions: pl.DataFrame,
    daily: tuple[pl.DataFrame, pl.DataFrame],
    calendar: SessionCalendar,
    rules: BarRules,
) -> pl.DataFrame:
    """Say how large bars of each session are to be, by daily bars before it.

    Args:
        sessions: ``ticker`` and ``session_date``, each once.
        daily: ``schemas.DAILY_BARS`` that reach back far enough, and ``schemas.SPLITS``.
        calendar: Sessions.
        rules: Sizes and history.

    Returns:
        The sessions with ``tick``, ``volume``, ``dollar`` (what a bar should have; null: unknown),
        ``day_volume`` (shares of a usual day, on the basis of the session; null: unknown) and
        ``threshold_source`` of ``tick``, sorted by ticker and session.
    """
    history = _join_history(sessions, daily, calendar, rules)
    amount = pl.coalesce(pl.col("vwap").fill_nan(None), "close") * pl.col("volume")
    is_same_era = pl.col("split_era") == pl.col("split_era_of_bar")
    volume = pl.col("volume") * pl.col("split_factor") / pl.col("split_factor_of_bar")
    medians = history.group_by("ticker", "session_date").agg(
        _median(pl.col("trade_count"), rules).alias("trades"),
        _median(volume.filter(is_same_era), rules).alias("day_volume"),
        _median(amount, rules).alias("day_dollar"),
    )
    is_known = pl.col("trades").is_not_null()
    wanted = (pl.col("trades") / rules.per_session).round().clip(lower_bound=rules.min_trades)
    return (
        sessions.select("ticker", "session_date")
        .join(medians, on=["ticker", "session_date"], how="left")
        .sort("ticker", "session_date")
        .select(
            "ticker",
            "session_date",
            wanted.fill_null(rules.default_trades).alias("tick"),
            (pl.col("day_volume") / rules.per_session).alias("volume"),
            (pl.col("day_dollar") / rules.per_session).alias("dollar"),
            "day_volume",
            pl.when(is_known)
            .then(pl.lit("daily_bars"))
            .otherwise(pl.lit("default"))
            .alias("threshold_source"),
        )
    )


def build_information_bars(
    prints: pl.DataFrame, scales: pl.DataFrame, calendar: SessionCalendar, rules: BarRules
) -> pl.DataFrame:
    """Cut the regular phase of sessions to bars of each kind.

    Args:
        prints: ``minute_bars.prepare_prints``.
        scales: :func:`scale_sessions` of their sessions.
        calendar: Sessions and their phases.
        rules: Kinds and bounds.

    Returns:
        ``schemas_research.INFORMATION_BARS``, sorted by its key; a session of which the size is
        unknown has no plain bars of the kind.
    """
    counted = select_counted(prints).filter(pl.col("trading_phase") == REGULAR)
    closes = calendar.frame.select("session_date", "regular_close")
    sized = scales.join(closes, on="session_date", how="left")
    bars = [_build_kind(kind, counted, sized, rules) for kind in rules.kinds]
    return INFORMATION_BARS.conform(
        pl.concat([INFORMATION_BARS.empty(), *bars]).sort(INFORMATION_BARS.key)
    )


def measure_bar_lengths(bars: pl.LazyFrame) -> pl.DataFrame:
    """Measure how long imbalance bars are, by ticker and kind.

    Sessions whose size is a default are left out: nobody knows what to expect of them.

    Args:
        bars: ``schemas_research.INFORMATION_BARS``.

    Returns:
        ``ticker``, ``kind``, ``bars``, ``length_ratio`` (mean prints over those wanted),
        ``cap_share`` and ``tiny_share`` (bars of one or two prints; ends of sessions left out),
        the worst first.
    """
    is_end = pl.col("closed_by") == "session_end"
    is_tiny = (pl.col("trade_count") <= 2) & ~is_end  # noqa: PLR2004  what the textbook's rule ends at
    ratio = pl.col("length_ratio")
    return (
        bars.filter(pl.col("kind").is_in(IMBALANCE), pl.col("threshold_source") == "daily_bars")
        .group_by("ticker", "kind")
        .agg(
            bars=pl.len(),
            length_ratio=pl.col("trade_count").sum() / pl.col("wanted").sum(),
            cap_share=(pl.col("closed_by") == "cap").mean(),
            tiny_share=is_tiny.mean(),
        )
        .sort(
            pl.max_horizontal(ratio, 1 / ratio), "ticker", "kind", descending=[True, False, False]
        )
        .collect()
    )


def judge_bar_lengths(lengths: pl.DataFrame) -> Verdict:
    """Judge whether imbalance bars collapsed, ran away, or end at the cap.

    Args:
        lengths: :func:`measure_bar_lengths`; tickers with few bars are reported, not judged.
    """
    judged = lengths.filter(pl.col("bars") >= JUDGED_BARS)
    is_sound = (
        pl.col("length_ratio").is_between(SHORTEST, LONGEST)
        & (pl.col("cap_share") <= TOLERATED)
        & (pl.col("tiny_share") <= TOLERATED)
    )
    offenders = judged.filter(~is_sound)
    summary = (
        f"{offenders.height:,} of {judged.height:,} tickers and kinds have imbalance bars that are "
        f"degenerate; expected {SHORTEST} to {LONGEST} times the wanted prints, and at most "
        f"{TOLERATED:.0%} of bars at the cap, or of two prints"
    )
    numbers = {"judged": judged.height, "too_few_bars": lengths.height - judged.height}
    return Verdict(offenders.is_empty(), summary, {**numbers}, offenders)


def judge_tiling(bars: pl.LazyFrame) -> Verdict:
    """Judge whether the bars of each session and kind follow one another without gap or overlap."""
    keys = ["ticker", "session_date", "kind"]
    before = pl.col("last_print").cast(pl.Int64).shift(1).over(keys)
    expected = (before + 1).fill_null(0)
    holes = bars.filter(
        (pl.col("first_print") != expected)
        | (pl.col("trade_count") != pl.col("last_print") - pl.col("first_print") + 1)
        | ~pl.col("closed_by").is_in(CLOSED_BY)
    )
    offenders = holes.select(*keys, "bar", "first_print", "last_print", "closed_by").collect()
    summary = f"{offenders.height:,} bars do not follow the one before; expected 0"
    return Verdict(offenders.is_empty(), summary, {"bars": offenders.height}, offenders)


def _build_kind(
    kind: str, counted: pl.DataFrame, sized: pl.DataFrame, rules: BarRules
) -> pl.DataFrame:
    """Build the bars of one kind, of the sessions of which their size is known."""
    size = "tick" if kind in IMBALANCE else kind
    sessions, counted = _select_sized(counted, sized.filter(pl.col(size) > 0))
    if counted.is_empty():
        return INFORMATION_BARS.empty()
    starts = np.flatnonzero(mark_changes(counted["session"]))
    firsts = np.append(starts, counted.height)
    cuts = _cut(kind, counted, firsts, sessions[size].to_numpy(), rules)
    return _frame_bars(kind, counted, sessions, starts, cuts)


def _select_sized(counted: pl.DataFrame, sized: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Select the sessions of prints that have a size, with it, and their prints."""
    starts = mark_changes(counted["session"])
    keys = ["ticker", "session_date"]
    sessions = counted.filter(starts).select(*keys, "session")
    known = sessions.join(sized, on=keys, how="inner", maintain_order="left")
    if known.height == sessions.height:
        return known, counted
    return known, counted.filter(pl.col("session").is_in(known["session"].implode()))


def _cut(
    kind: str, counted: pl.DataFrame, firsts: Integers, wanted: Floats, rules: BarRules
) -> Cuts:
    """Find where bars of a kind end."""
    counts = {
        "tick": pl.lit(1.0),
        "volume": pl.col("size"),
        "dollar": pl.col("price") * pl.col("size"),
    }
    count = counts[kind.removesuffix("_imbalance")]
    values = counted.with_columns(counted=count)["counted"].to_numpy()
    if kind in PLAIN:
        return cut_plain_bars(values, firsts, wanted, rules.max_bars_per_session)
    signs = counted["sign"].to_numpy()
    limits = (2.0 / (rules.blocks + 1), rules.cap, rules.max_bars_per_session)
    return cut_imbalance_bars(values * signs, signs, firsts, wanted, limits)


def _frame_bars(
    kind: str, counted: pl.DataFrame, sessions: pl.DataFrame, starts: Integers, cuts: Cuts
) -> pl.DataFrame:
    """Frame bars with their sums, by their last prints."""
    lasts, closed_by, doublings, figures = cuts
    firsts = np.append(0, lasts[:-1] + 1)
    of_session = np.searchsorted(starts, lasts, side="right") - 1
    begins = starts[of_session]
    first_bars = np.searchsorted(of_session, of_session, side="left")
    instants = counted["sip_timestamp"]
    words = dict(enumerate(CLOSED_BY))
    last_timestamp = instants[lasts].alias("last_timestamp")
    is_end = pl.col("closed_by") == "session_end"
    sums = aggregate_prints(counted, lasts)
    keys = sessions.select("ticker", "session_date", "threshold_source", "regular_close")
    return (
        keys[of_session]
        .hstack(sums)
        .with_columns(
            pl.lit(kind).alias("kind"),
            pl.Series("bar", np.arange(lasts.size) - first_bars, dtype=pl.UInt32),
            pl.Series("first_print", firsts - begins, dtype=pl.UInt32),
            pl.Series("last_print", lasts - begins, dtype=pl.UInt32),
            instants[firsts].alias("first_timestamp"),
            last_timestamp,
            *(
                pl.Series(name, figures[:, place])
                for place, name in enumerate(("theta", "threshold", "wanted"))
            ),
            pl.Series("doublings", doublings).cast(pl.UInt8),
            pl.Series("closed_by", closed_by).replace_strict(words, return_dtype=pl.String),
        )
        .with_columns(
            known_timestamp=pl.when(is_end).then("regular_close").otherwise("last_timestamp")
        )
        .select(INFORMATION_BARS.schema.names())
    )


def _join_history(
    sessions: pl.DataFrame,
    daily: tuple[pl.DataFrame, pl.DataFrame],
    calendar: SessionCalendar,
    rules: BarRules,
) -> pl.DataFrame:
    """Join the usable bars before each session that tell its size, one row each."""
    bars, splits = daily
    index = calendar.frame.lazy().select("session_date", "session_index")
    keys = ["ticker", "session_date"]
    asked = label_split_factor(sessions.lazy().select(keys), splits.lazy())
    asked = asked.join(index, on="session_date").with_columns(
        before=pl.int_ranges(pl.col("session_index") - rules.history_sessions, "session_index")
    )
    usable = label_split_factor(select_usable_bars(bars.lazy()), splits.lazy())
    usable = usable.join(index, on="session_date").drop("session_date")
    return (
        asked.drop("session_index")
        .explode("before", empty_as_null=False)
        .with_columns(pl.col("before").cast(pl.Int32))
        .join(
            usable,
            left_on=["ticker", "before"],
            right_on=["ticker", "session_index"],
            suffix="_of_bar",
        )
        .sort(*keys, "before")
        .group_by(keys, maintain_order=True)
        .tail(rules.history)
        .collect()
    )


def _median(values: pl.Expr, rules: BarRules) -> pl.Expr:
    """Take the median of the values that are known; null: they are too few."""
    known = values.drop_nulls()
    return pl.when(known.len() >= rules.min_history).then(known.median())
