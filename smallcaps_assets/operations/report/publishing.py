"""A report as files: the figures as JSON, and one page with its pictures.

What belongs here: gathering what the pictures show, and writing both files.  What does not: the
figures (``figures``), the drawings (``plots.report``) and the page (``page``).
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl
from matplotlib.figure import Figure

from smallcaps_assets.core.documents import encode_document
from smallcaps_assets.core.states import GREEN, NOT_YET_AVAILABLE
from smallcaps_assets.lake.ledger.reader import LedgerReader
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.report.document import ReportDocument
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets.operations.report.page import Picture, render_page
from smallcaps_assets.operations.report.profile import Profile, profile_lake
from smallcaps_assets.plots.report import (
    draw_coverage,
    draw_failures,
    draw_profile,
    draw_reality,
    draw_sizes,
)
from smallcaps_assets.plots.style import embed, render_figure


@dataclass(frozen=True, slots=True)
class PublishedReport:
    """A report that was written.

    Attributes:
        report: The figures.
        page: The HTML file.
        file: The JSON file.
        coverage: The map of coverage as Markdown, for Dagster's UI; empty: nothing is planned.
    """

    report: ReportDocument
    page: Path
    file: Path
    coverage: str


def publish_report(lakehouse: Lakehouse) -> PublishedReport:
    """Gather the figures, draw them, and put page and JSON in place of the last ones.

    Raises:
        LedgerMismatchError: The ledger is lost or damaged.
        MissingPartitionError: Nothing is planned yet.
        StorageError: The disk refuses.
    """
    report = measure_lake(lakehouse)
    pictures = draw_report(lakehouse, report)
    layout = lakehouse.layout
    contents = {
        layout.report_file: encode_document(report).encode(),
        layout.report_page: render_page(report, pictures).encode(),
    }
    lakehouse.fs.make_folders(layout.reports_dir, root=layout.data_dir)
    lakehouse.fs.publish(contents, root=layout.data_dir)
    coverage = pictures[0]
    return PublishedReport(
        report=report,
        page=layout.report_page,
        file=layout.report_file,
        coverage=embed(coverage.png, coverage.title) if coverage.png else "",
    )


def draw_report(lakehouse: Lakehouse, report: ReportDocument) -> list[Picture]:
    """Draw the pictures of a report, coverage first.

    Raises:
        StorageError: The disk refuses what is remembered of the times of trades.
    """
    ledger, tolerance = lakehouse.ledger, lakehouse.thresholds.size_tolerance
    profile = profile_lake(lakehouse.layout, lakehouse.fs, ledger, lakehouse.calendar)
    return [
        _picture(
            "Coverage",
            _draw_coverage(ledger),
            "planned sessions, blank where none is planned; tickers with the most missing first",
            "nothing is planned",
        ),
        _picture("Size by ticker", _draw_sizes(ledger), "", "nothing is stored yet"),
        _picture(
            "Estimate against reality",
            _draw_reality(report, tolerance),
            "each session against the newest estimate made before it landed; requests of failed "
            "attempts are included",
            "nothing landed yet",
        ),
        _picture(
            "A day of trades",
            _draw_profile(profile),
            _describe_profile(profile),
            "no trades are stored yet",
        ),
        _picture(
            "Failures over time",
            _draw_failures(ledger),
            "attempts that failed for good; retries inside of a request are not counted here",
            "no attempt failed",
        ),
    ]


def _picture(title: str, figure: Figure | None, caption: str, nothing: str) -> Picture:
    if figure is None:
        return Picture(title, nothing, None)
    return Picture(title, caption, render_figure(figure))


def _draw_coverage(ledger: LedgerReader) -> Figure | None:
    states = ledger.coverage().filter(pl.col("state") != NOT_YET_AVAILABLE)
    if states.is_empty():
        return None
    return draw_coverage(states.with_columns(is_green=pl.col("state").is_in(list(GREEN))))


def _draw_sizes(ledger: LedgerReader) -> Figure | None:
    sessions = pl.col("proven").bitwise_count_ones().sum()
    sizes = ledger.ticker_months().group_by("ticker").agg(pl.col("bytes").sum(), sessions=sessions)
    sizes = sizes.filter(pl.col("sessions") > 0)
    return draw_sizes(sizes) if sizes.height else None


def _draw_reality(report: ReportDocument, tolerance: float) -> Figure | None:
    rows = report.estimate_against_reality.by_ticker
    if not rows:
        return None
    by_ticker = pl.DataFrame(msgspec.to_builtins(rows)).drop("year", "bytes_error_ratio")
    return draw_reality(by_ticker, tolerance)


def _draw_profile(profile: Profile) -> Figure | None:
    return draw_profile(profile.trades, profile.sessions) if profile.sessions else None


def _describe_profile(profile: Profile) -> str:
    """Tell of how many sessions the profile is made."""
    rest = profile.stored - profile.sessions
    text = f"mean of {profile.sessions:,} of {profile.stored:,} stored sessions with trades"
    return f"{text}; {rest:,} are not read yet, or cannot be read" if rest else text


def _draw_failures(ledger: LedgerReader) -> Figure | None:
    attempts = ledger.attempts_by_hour()
    return draw_failures(attempts) if (attempts["kind"] != "").any() else None
