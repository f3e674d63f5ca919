"""Archives as other downloaders leave them: whole ones, and every defect that was seen.

What does not belong here: lakes that they are imported into (``lakehouse_factories``).
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from smallcaps_assets.core.archive.findings import ArchiveVerdict, FindingKind
from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.core.ticks.conditions import build_daily_bar
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.lake.interchange.export_folders import PHASE_FILES
from smallcaps_assets.schemas import INSTANT, VENDOR_COLUMNS

SESSION: Final = dt.date(2024, 1, 10)
"""A Wednesday in winter: its last hour of after-hours is on the next day in UTC."""
TICKER: Final = "ABCD"
HOUR_NS: Final = 3600 * 10**9
ROWS: Final = 600
SHIFT_NS: Final = 5 * HOUR_NS
"""New York behind UTC in winter."""


class Layout(StrEnum):
    """The two layouts."""

    DATES = "dates"
    PHASES = "phases"


def make_vendor_trades(
    rows: int = ROWS, *, session_date: dt.date = SESSION, ticker: str = TICKER, seed: int = 1
) -> pl.DataFrame:
    """Return ``ticker`` and vendor columns of a whole day, labelled like ``schemas.TRADES``.

    A tenth lies before the market and a tenth after it, up to 20:00; one in four shares its
    nanosecond with the trade before.
    """
    rng = np.random.default_rng(seed)
    early, late = rows // 10, rows // 10
    hours = np.concatenate(
        [
            rng.uniform(4, 9.49, early),
            rng.uniform(9.51, 15.99, rows - early - late),
            rng.uniform(16.01, 19.99, late - late // 3),
            rng.uniform(19.01, 19.99, late // 3),
        ]
    )
    offsets = np.sort((hours * HOUR_NS).astype(np.int64))
    shared = np.flatnonzero(rng.random(rows - 1) < 0.25) + 1
    offsets[shared] = offsets[shared - 1]
    sip = day_bounds_ns(session_date, session_date)[0] + offsets
    is_extended = (offsets < 9.5 * HOUR_NS) | (offsets >= 16 * HOUR_NS)
    is_odd_lot = rng.random(rows) < 0.4
    codes = is_extended * 2 + is_odd_lot
    lists = pl.Series([None, [37], [12], [12, 37]], dtype=pl.List(pl.Int32))
    is_off = pl.Series(rng.random(rows) < 0.3)
    frame = pl.DataFrame(
        {
            "ticker": [ticker] * rows,
            "sip_timestamp": sip,
            "participant_timestamp": sip - rng.integers(20_001, 900_001, rows),
            "trf_timestamp": sip - 1_003,
            "sequence_number": 1_000 + np.cumsum(rng.integers(1, 30, rows)),
            "id": [str(number) for number in range(rows)],
            "price": (500 + rng.integers(-40, 41, rows)) / 100,
            "size": np.where(is_odd_lot, rng.integers(1, 99, rows) + 0.5, 100.0),
            "exchange": np.where(is_off.to_numpy(), 4, 11),
            "tape": np.full(rows, 3),
            "trf_id": [202] * rows,
            "conditions": lists.gather(codes.tolist()),
            "correction": np.zeros(rows, np.int64),
        }
    ).with_columns(
        pl.col("sip_timestamp", "participant_timestamp").cast(INSTANT),
        pl.when(is_off).then("trf_timestamp").alias("trf_timestamp").cast(INSTANT),
        pl.when(is_off).then("trf_id").alias("trf_id").cast(pl.Int16),
        pl.col("exchange").cast(pl.Int16),
        pl.col("tape", "correction").cast(pl.Int8),
    )
    return label_trades(frame, load_calendar())


def make_bar(trades: pl.DataFrame) -> dict[str, Any]:
    """Return the daily bar of the trades of one session."""
    return build_daily_bar(trades.lazy()).collect().row(0, named=True)


def to_wire(trades: pl.DataFrame) -> pl.DataFrame:
    """Return trades as a downloader has them: vendor columns, instants as numbers."""
    instants = pl.col(INSTANT).to_physical()
    return trades.select(VENDOR_COLUMNS).with_columns(instants)


def session_folder(root: Path, layout: Layout, ticker: str, session_date: dt.date) -> Path:
    """Return the folder of a session in a layout."""
    if layout is Layout.DATES:
        return root / ticker / f"date={session_date}"
    year, month, _ = str(session_date).split("-")
    return root / ticker / f"year={year}" / f"month={month}" / f"day={session_date}"


def write_session(
    root: Path,
    layout: Layout,
    files: Mapping[str, pl.DataFrame],
    ticker: str = TICKER,
    session_date: dt.date = SESSION,
) -> Path:
    """Write the files of a session, and ``_SUCCESS`` where the layout has it."""
    folder = session_folder(root, layout, ticker, session_date)
    folder.mkdir(parents=True)
    for name, rows in files.items():
        rows.write_parquet(folder / name)
    if layout is Layout.DATES:
        (folder / "_SUCCESS").touch()
    return folder


def cut_files(layout: Layout, trades: pl.DataFrame, change: "Change") -> dict[str, pl.DataFrame]:
    """Return the files of a session by name, with a change made to the rows of each.

    Args:
        layout: One file, or one a phase.
        trades: Rows of ``make_vendor_trades``.
        change: What the downloader did to the rows of a file.
    """
    if layout is Layout.DATES:
        return {"trades.parquet": change(to_wire(trades))}
    return {
        name: change(to_wire(rows))
        for phase, name in PHASE_FILES.items()
        if (rows := trades.filter(pl.col("trading_phase") == phase)).height
    }


Change = Callable[[pl.DataFrame], pl.DataFrame]
SIP: Final = pl.col("sip_timestamp")


def keep(rows: pl.DataFrame) -> pl.DataFrame:
    """Change nothing."""
    return rows


@dataclass(frozen=True)
class Defect:
    """One way in which an archive is not what the vendor sent.

    Attributes:
        change: What was done to the rows of each file.
        kinds: Findings that must be among those reported.
        verdict: The right one.
        select: What was done to the trades before they were cut into files.
        rows: Trades of the true session.
    """

    change: Change = keep
    kinds: tuple[FindingKind, ...] = ()
    verdict: ArchiveVerdict = ArchiveVerdict.UNPROVEN
    select: Change = keep
    rows: int = ROWS


def rename_short(rows: pl.DataFrame) -> pl.DataFrame:
    """Name columns as the vendor's old endpoint did."""
    return rows.rename(
        {
            "sip_timestamp": "t",
            "participant_timestamp": "y",
            "trf_timestamp": "f",
            "sequence_number": "q",
            "id": "i",
            "price": "p",
            "size": "s",
            "exchange": "x",
            "tape": "z",
            "trf_id": "r",
            "conditions": "c",
            "correction": "e",
        }
    )


def cast_otherwise(rows: pl.DataFrame) -> pl.DataFrame:
    """Give columns types that hold the same values: what pandas and CSV make of them."""
    ids = pl.col("conditions").list.eval(pl.element().cast(pl.String)).list.join(",")
    return rows.with_columns(
        pl.col("exchange", "tape", "trf_id").cast(pl.Float64),
        pl.col("sequence_number", "correction").cast(pl.String),
        ids.fill_null("").alias("conditions"),
    )


def read_locally(rows: pl.DataFrame) -> pl.DataFrame:
    """Write New York wall times without a zone."""
    wall = SIP.cast(INSTANT).dt.convert_time_zone("America/New_York").dt.replace_time_zone(None)
    return rows.with_columns(wall)


def select_utc_day(trades: pl.DataFrame) -> pl.DataFrame:
    """Cut by UTC midnights: the evening goes, that of the day before comes."""
    midnight = day_bounds_ns(SESSION, SESSION)[0] - SHIFT_NS
    before = shift_days(-1)(trades).with_columns(pl.col("sequence_number") + 10**9)
    both = pl.concat([before, trades]).sort("sip_timestamp")
    instants = SIP.to_physical()
    return both.filter((instants >= midnight) & (instants < midnight + 24 * HOUR_NS))


def select_phases(*phases: str) -> Change:
    """Return the change that leaves some phases."""
    return lambda trades: trades.filter(pl.col("trading_phase").is_in(phases))


def shift_days(days: int) -> Change:
    """Return the change that moves trades by days, so that they lie in a wrong folder."""
    moved = (SIP.to_physical() + days * 24 * HOUR_NS).cast(INSTANT)
    return lambda trades: trades.with_columns(moved)


def move_sizes(rows: pl.DataFrame) -> pl.DataFrame:
    """Give sizes to other trades of the same conditions, so that the same ones count."""
    kind = pl.col("conditions").list.len().fill_null(0)
    return rows.with_columns(pl.col("size").reverse().over(kind))


def shift_clocks(rows: pl.DataFrame) -> pl.DataFrame:
    """Take winter time for summer time."""
    clocks = pl.col("sip_timestamp", "participant_timestamp", "trf_timestamp")
    return rows.with_columns(clocks + HOUR_NS)


K = FindingKind
REGULAR_ROWS: Final = 50_000
DEFECTS: Final[dict[str, Defect]] = {
    "whole": Defect(verdict=ArchiveVerdict.PROVEN),
    "short_names": Defect(rename_short, (K.RENAMED_COLUMNS,), ArchiveVerdict.PROVEN),
    "other_types": Defect(cast_otherwise, (K.TYPES_DIFFER,), ArchiveVerdict.PROVEN),
    "naive_utc": Defect(
        lambda rows: rows.with_columns(SIP.cast(pl.Datetime("ns"))),
        (K.NAIVE_TIMES,),
        ArchiveVerdict.PROVEN,
    ),
    "cut_to_seconds": Defect(
        lambda rows: rows.with_columns(SIP // 10**9), (K.CUT_TO_SECONDS, K.TYPES_DIFFER)
    ),
    "cut_to_milliseconds": Defect(
        lambda rows: rows.with_columns(SIP // 10**6), (K.COARSE_TIMESTAMPS,)
    ),
    "cut_to_microseconds": Defect(
        lambda rows: rows.with_columns(SIP.cast(pl.Datetime("ns", "UTC")).dt.cast_time_unit("us")),
        (K.COARSE_TIMESTAMPS,),
    ),
    "float_timestamps": Defect(
        lambda rows: rows.with_columns(SIP.cast(pl.Float64)), (K.LOSSY_TYPES, K.COARSE_TIMESTAMPS)
    ),
    "local_times": Defect(read_locally, (K.LOCAL_TIMES,)),
    "shifted_clock": Defect(
        lambda rows: rows.with_columns(SIP - SHIFT_NS),
        (K.PHASES_IMPLAUSIBLE,),
        select=select_phases("regular"),
    ),
    "deduplicated": Defect(
        lambda rows: rows.unique("sip_timestamp", keep="first", maintain_order=True),
        (K.DEDUPLICATED, K.VOLUME_DIFFERS, K.COUNT_DIFFERS),
    ),
    "one_page": Defect(
        lambda rows: rows.head(REGULAR_ROWS),
        (K.WHOLE_PAGES, K.VOLUME_DIFFERS, K.COUNT_DIFFERS),
        rows=REGULAR_ROWS * 5 // 4 + 100,
    ),
    "no_after_hours": Defect(
        kinds=(K.PHASES_ABSENT, K.VOLUME_DIFFERS), select=select_phases("pre_market", "regular")
    ),
    "only_regular": Defect(
        kinds=(K.PHASES_ABSENT, K.VOLUME_DIFFERS), select=select_phases("regular")
    ),
    "utc_day": Defect(kinds=(K.UTC_DAY, K.VOLUME_DIFFERS), select=select_utc_day),
    "wrong_day": Defect(
        kinds=(K.WRONG_DAY,), verdict=ArchiveVerdict.UNUSABLE, select=shift_days(1)
    ),
    "no_conditions": Defect(lambda rows: rows.drop("conditions"), (K.MISSING_COLUMNS,)),
    "no_identity": Defect(
        lambda rows: rows.drop("id", "sequence_number", "correction"), (K.MISSING_COLUMNS,)
    ),
    "null_ids": Defect(
        lambda rows: rows.with_columns(id=pl.lit(None, pl.String)), (K.MISSING_VALUES,)
    ),
    "ambiguous_times": Defect(
        lambda rows: rows.rename({"sip_timestamp": "t", "participant_timestamp": "ts"}),
        (K.AMBIGUOUS_COLUMNS, K.BAD_VALUES),
        ArchiveVerdict.UNUSABLE,
    ),
    "whole_prices": Defect(
        lambda rows: rows.with_columns(pl.col("price").cast(pl.Int64)), (K.LOSSY_TYPES,)
    ),
    "short_floats": Defect(
        lambda rows: rows.with_columns(pl.col("price").cast(pl.Float32)), (K.LOSSY_TYPES,)
    ),
    "whole_sizes": Defect(
        lambda rows: rows.with_columns(pl.col("size").cast(pl.Int64)), (K.VOLUME_DIFFERS,)
    ),
    "adjusted_prices": Defect(
        lambda rows: rows.with_columns(pl.col("price") * 10),
        (K.PRICES_OUTSIDE, K.PRICES_DIFFER, K.VWAP_DIFFERS),
    ),
    "reversed_prices": Defect(
        kinds=(K.PRICES_DIFFER, K.VWAP_DIFFERS),
        select=lambda trades: trades.with_columns(pl.col("price").reverse()),
    ),
    "other_sizes": Defect(move_sizes, (K.VWAP_DIFFERS,)),
    "late_clock": Defect(lambda rows: rows.with_columns(SIP + 10**9), (K.CLOCKS_DIFFER,)),
    "summer_clock": Defect(shift_clocks, (K.PHASES_IMPLAUSIBLE,)),
    "one_id": Defect(lambda rows: rows.with_columns(id=pl.lit("7")), (K.REPEATED_IDS,)),
    "one_number": Defect(
        lambda rows: rows.with_columns(sequence_number=pl.lit(7)), (K.REPEATED_NUMBERS,)
    ),
    "upside_down": Defect(
        lambda rows: rows.with_columns(pl.col("sequence_number").reverse()),
        (K.DISORDERED_NUMBERS,),
    ),
    "one_venue": Defect(
        lambda rows: rows.with_columns(exchange=pl.lit(11)), (K.VENUES_CONTRADICT,)
    ),
    "repeated_rows": Defect(
        lambda rows: pl.concat([rows, rows.tail(5)]), (K.REPEATED_ROWS, K.COUNT_DIFFERS)
    ),
    "bars_not_trades": Defect(
        lambda rows: rows.select(t=SIP, o="price", h="price", l="price", c="price", v="size"),
        (K.BAD_VALUES,),
        ArchiveVerdict.UNUSABLE,
    ),
    "null_prices": Defect(
        lambda rows: rows.with_columns(
            pl.when(pl.int_range(pl.len()) > 2).then("price").alias("price")
        ),
        (K.BAD_VALUES,),
        ArchiveVerdict.UNUSABLE,
    ),
    "other_ticker": Defect(
        lambda rows: rows.with_columns(symbol=pl.lit("WXYZ")), (K.WRONG_TICKER,)
    ),
    "empty": Defect(lambda rows: rows.clear(), (K.EMPTY,), ArchiveVerdict.UNUSABLE),
}
"""Everything that was seen, and what an import must say of it."""
