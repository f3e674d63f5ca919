"""What a use case that makes a table hands back: numbers, a verdict and rows to look at."""

from dataclasses import dataclass, field

import polars as pl

from smallcaps_assets.core.verdicts import Number, Verdict


@dataclass(frozen=True, slots=True)
class MadeTable:
    """A table that was made and judged.

    Attributes:
        rows: Rows of the table.
        numbers: Facts about it, by name.
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
    """Return the verdict of a candidate: it passes without problems."""
    summary = "; ".join(problems) or "nothing is wrong with it"
    return Verdict(not problems, summary, numbers, offenders)
