"""How far a universe is, from its plan and the ledger.

What belongs here: the groups, the forecast and the disk.  What does not: the document
(``document``), event windows (``operations.status``).

What a million ticker-months say is summed up at once, without a row of Python for any of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from smallcaps_assets.core.documents import convert_fields
from smallcaps_assets.core.progress.pace import Work, measure_pace
from smallcaps_assets.core.segments.indexing import explode_days
from smallcaps_assets.core.universe.costs import calibrate_units
from smallcaps_assets.core.universe.progress import (
    PROVEN,
    Standing,
    label_status,
    measure_standing,
    select_units,
)
from smallcaps_assets.core.universe.units import encode_unit
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.universe.standing import choose_months
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.standing.document import (
    UniversePart,
    UniverseTicker,
    UniverseYear,
    WaitingUnits,
)

FEW: Final = 3
"""Sessions that a unit lacks which is all but done."""
SHOWN_TICKERS: Final = 200
NAMED_TICKERS: Final = 5
STATUSES: Final = ("complete", "partial", "none")

_KEY: Final = ("ticker", "session_date")
_KINDS: Final = ("few", "begun", "none")
_MISSING: Final = pl.col("owed") - pl.col("proven")


def measure_universe(lakehouse: Lakehouse, ledger: LedgerReader | None) -> UniversePart | None:
    """Measure how far the universe is; ``None``: none is planned.

    Args:
        lakehouse: The lake.
        ledger: Its ledger, open; ``None``: there is none yet, and nothing is proven.

    Raises:
        DataError: The plan is damaged.
        LedgerMismatchError: The ledger is.
    """
    try:
        _, plan = lakehouse.tables.read_universe_plan()
    except MissingPartitionError:
        return None
    proven = PROVEN.to_frame() if ledger is None else ledger.proven_bits()
    return Counting(lakehouse, ledger, measure_standing(plan, proven)).describe()


@dataclass(frozen=True, slots=True)
class Counting:
    """A universe that was counted.

    Attributes:
        lakehouse: The lake.
        ledger: Its ledger, open; ``None``: there is none.
        standing: What was counted.
    """

    lakehouse: Lakehouse
    ledger: LedgerReader | None
    standing: Standing

    def describe(self) -> UniversePart:
        """Describe how far it is."""
        units = self.standing.units
        tickers = self.standing.years.group_by("ticker").agg(
            pl.col("owed", "proven", "expected_rows").sum()
        )
        tickers = tickers.with_columns(status=label_status())
        owed, proven = (int(units[name].sum()) for name in ("owed", "proven"))
        open_units = units.filter(_MISSING > 0)
        work = self._weigh(tickers)
        seconds, basis = self._forecast(work)
        needed, fits = self._measure_disk(work)
        return UniversePart(
            units=units.height,
            units_done=units.height - open_units.height,
            units_left=open_units.height,
            tickers=tickers.height,
            **{name: tickers.filter(pl.col("status") == name).height for name in STATUSES},
            owed=owed,
            proven=proven,
            missing=owed - proven,
            resting=self._count_resting(),
            share=_divide(proven, owed),
            next_unit=encode_unit(*open_units.row(0)[:2]) if open_units.height else "",
            waiting=list(_group(self.standing, open_units)),
            years=_list_years(self.standing.years),
            tickers_left=_list_tickers(tickers),
            left_requests=work.requests,
            left_rows=work.rows,
            left_seconds=seconds,
            basis=basis,
            needed_bytes=needed,
            fits=fits,
        )

    def _count_resting(self) -> int:
        """Count the missing sessions that failed again and again, and are not asked for today."""
        if self.ledger is None:
            return 0
        resting = self.ledger.resting_sessions(self.lakehouse.clock().date())
        rows = choose_months(self.standing.missing, resting)
        left = rows.with_columns(left=pl.col("owed") & ~pl.col("proven"))
        return explode_days(left, "left").join(resting, on=_KEY, how="semi").height

    def _weigh(self, tickers: pl.DataFrame) -> Work:
        """Weigh what is missing: chains of a ticker are as long as they may be, at best."""
        settings = self.lakehouse.settings
        chains = (_MISSING + settings.range_max_sessions - 1) // settings.range_max_sessions
        pages = (pl.col("expected_rows") + settings.page_limit - 1) // settings.page_limit
        requests = pl.max_horizontal(chains, pages).sum()
        return Work(
            *tickers.select(
                _MISSING.sum(), requests.alias("requests"), pl.sum("expected_rows")
            ).row(0)
        )

    def _forecast(self, work: Work) -> tuple[float | None, Literal["pace", "limit"] | None]:
        """Forecast the seconds that work takes, and what they rest on."""
        if not work.sessions:
            return 0.0, None
        limit = self.lakehouse.settings.requests_per_minute
        least_s = 60 * work.requests / limit if limit else 0.0
        pace = measure_pace(self.ledger.recent_steps()) if self.ledger else None
        pace_s = pace.predict_seconds(work) if pace else 0.0
        if pace_s > least_s:
            return pace_s, "pace"
        return (least_s, "limit") if least_s else (None, None)

    def _measure_disk(self, work: Work) -> tuple[int, bool]:
        """Measure what work will take on the disk, and tell whether it fits."""
        costs, place = calibrate_units(self.lakehouse.default_costs), self.lakehouse.layout.lake_dir
        totals = self.ledger.totals() if self.ledger else None
        each = totals.bytes / totals.rows if totals and totals.rows else costs.bytes_per_trade
        needed = round(each * work.rows) + work.sessions * costs.block_bytes
        space = self.lakehouse.free_space
        return needed, space.measure(place) - space.measure_reserve(place) >= needed


def _group(standing: Standing, open_units: pl.DataFrame) -> Iterator[WaitingUnits]:
    """Group the units that are not green by how much they lack."""
    kind = (
        pl.when(_MISSING <= FEW)
        .then(pl.lit("few"))
        .when(pl.col("proven") > 0)
        .then(pl.lit("begun"))
        .otherwise(pl.lit("none"))
    )
    labelled = open_units.with_columns(missing=_MISSING, kind=kind)
    for name in _KINDS:
        units = labelled.filter(pl.col("kind") == name)
        if units.is_empty():
            continue
        holding = select_units(standing.missing, units).group_by("ticker").agg(units=pl.len())
        named = holding.sort(-pl.col("units").cast(pl.Int64), "ticker")["ticker"]
        yield WaitingUnits(
            kind=name,
            units=units.height,
            **_sum_up(units["missing"]),
            tickers=named.head(NAMED_TICKERS).to_list(),
            tickers_more=max(0, named.len() - NAMED_TICKERS),
        )


def _sum_up(missing: pl.Series) -> dict[str, Any]:
    return {"least": missing.min(), "most": missing.max(), "sessions": missing.sum()}


def _list_years(years: pl.DataFrame) -> list[UniverseYear]:
    """Count tickers by year and status."""
    labelled = years.with_columns(status=label_status())
    counted = labelled.group_by("year").agg(
        pl.col("owed", "proven").sum(),
        *((pl.col("status") == name).sum().alias(name) for name in STATUSES),
    )
    return convert_fields(counted.sort("year").to_dicts(), list[UniverseYear])


def _list_tickers(tickers: pl.DataFrame) -> list[UniverseTicker]:
    """List the tickers with most sessions missing."""
    left = tickers.filter(_MISSING > 0).sort(-_MISSING, "ticker").head(SHOWN_TICKERS)
    share = pl.col("proven") / pl.col("owed")
    told = left.select("ticker", "owed", "proven", "status", share=share)
    return convert_fields(told.to_dicts(), list[UniverseTicker])


def _divide(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
