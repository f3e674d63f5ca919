"""What a judgement is: a verdict with its numbers, and the thresholds it goes by.

What belongs here: the values that every judgement returns or reads.  What does not: judging
(``core.ticks.audits`` and the modules of what is judged) and how Dagster shows it (``defs``).
"""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import polars as pl

from smallcaps_assets.errors import ConfigError

Number = float | int | str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one audit.

    Attributes:
        passed: Whether the property holds.
        summary: One sentence: what was found, and what was demanded.
        numbers: The numbers behind it.
        offenders: What to look at, worst first; no rows where all is well.
        is_warning: Where it does not hold, a person should look, and nothing is wrong: yellow.
    """

    passed: bool
    summary: str
    numbers: dict[str, Number]
    offenders: pl.DataFrame = field(default_factory=pl.DataFrame)
    is_warning: bool = False

    @property
    def is_failure(self) -> bool:
        """Say whether something is wrong."""
        return not self.passed and not self.is_warning

    @property
    def only_warns(self) -> bool:
        """Say whether it is yellow where it does not hold: a look is due, or none was taken yet."""
        return self.is_warning or bool(self.numbers.get("never_audited"))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the audits tolerate; every value is a ratio.

    Attributes:
        coverage: Share of the planned ticker-sessions that must be green.
        window_coverage: Share of the event windows that must be green as a whole.
        size_tolerance: Distance of stored from estimated bytes, over the estimated ones.
        volume_residual: Shares that differ from the daily bars, over those of the bars, in the
            whole lake; 0 demands equality.
        count_residual: The same for the number of trades.
        session_residual: Shares that differ in one session, over those of its bar: half a day
            that is missing must not hide in a large lake.  Above it no deficit of a session
            settles by itself.
        session_deficit: Shares or trades that a session lacks of its bar, over those of the bar:
            up to it nothing lacks.
        missing_bars: Sessions without a daily bar in the lives of listings, over all of those;
            a ticker that did not trade has no bar.
        price_outside: Trades outside high and low of their daily bar, over the trades that may
            set them.
        unknown_tickers: Planned tickers that no daily bar knows, over all planned ones, above
            which their check is red.
    """

    coverage: float = 0.95
    window_coverage: float = 0.95
    size_tolerance: float = 0.20
    volume_residual: float = 0.001
    count_residual: float = 0.001
    session_residual: float = 0.05
    session_deficit: float = 0.001
    missing_bars: float = 0.05
    price_outside: float = 0.001
    unknown_tickers: float = 0.05


DEFAULT_THRESHOLDS: Final = Thresholds()


def parse_thresholds(overrides: Mapping[str, object]) -> Thresholds:
    """Put ratios from 0 to 1, as a configuration file gives them, in place of the defaults.

    Raises:
        ConfigError: A name is unknown, or a value is no ratio.
    """
    known = asdict(DEFAULT_THRESHOLDS)
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"unknown threshold {name!r}: {hint}")
    return Thresholds(**known | {name: _parse_ratio(name, overrides[name]) for name in overrides})


@dataclass(frozen=True, slots=True)
class MadeTable:
    """A table that was made and judged.

    Attributes:
        verdict: Whether it may be published; it was not where this failed.
        tables: Small tables worth showing, by title.
    """

    rows: int
    numbers: dict[str, Number]
    verdict: Verdict
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)


def judge_problems(
    problems: tuple[str, ...], numbers: dict[str, Number], offenders: pl.DataFrame
) -> Verdict:
    """Judge a candidate by its problems: it passes without any."""
    summary = "; ".join(problems) or "nothing is wrong with it"
    return Verdict(not problems, summary, numbers, offenders)


def _parse_ratio(name: str, value: object) -> float:
    """Parse a number from 0 to 1; NaN is none, and true is no number here."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ConfigError(f"threshold {name}: expected a number from 0 to 1, got {value!r}")
