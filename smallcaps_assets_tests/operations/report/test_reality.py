import dataclasses
import datetime as dt

import pytest

from smallcaps_assets.errors import LedgerMismatchError
from smallcaps_assets.ingest.budget.estimate_history import read_estimates, record_estimate
from smallcaps_assets.ingest.budget.estimates import estimate_lake
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.report.document import EstimateAndReality
from smallcaps_assets.operations.report.history import gather_history
from smallcaps_assets.operations.report.reality import measure_reality
from smallcaps_assets_tests.lakehouse_factories import NOW, SESSIONS

LONG_AGO = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


def measure(lakehouse: Lakehouse, stored: int = SESSIONS) -> EstimateAndReality:
    """Hold the first stored sessions against the estimates that were made."""
    _, plan = lakehouse.tables.read_plan()
    estimates = read_estimates(lakehouse.layout, lakehouse.fs)
    history = gather_history(lakehouse.ledger, estimates)
    history = dataclasses.replace(history, receipts=history.receipts.head(stored))
    return measure_reality(history, plan, lakehouse.tables, lakehouse.default_costs)


def promise(lakehouse: Lakehouse, made_at: dt.datetime, bytes_per_trade: float) -> None:
    """Record an estimate that somebody made with this cost of a trade."""
    estimate = estimate_lake(lakehouse)
    costs = dataclasses.replace(estimate.calibration, bytes_per_trade=bytes_per_trade, file_bytes=0)
    record_estimate(lakehouse.tables, dataclasses.replace(estimate, calibration=costs), made_at)


def test_measure_reality_sums_what_landed_by_ticker_and_year(lakehouse: Lakehouse) -> None:
    reality = measure(lakehouse)

    totals = lakehouse.ledger.totals()
    assert [row.ticker for row in reality.by_ticker] == ["BCPC", "BCpC", "CON"]
    assert [row.year for row in reality.by_year] == [2024]
    for rows in ([reality.total], reality.by_ticker, reality.by_year):
        for name, wanted in {
            "sessions": SESSIONS,
            "rows": totals.rows,
            "bytes": totals.bytes,
            "requests": 3,
            "estimated_requests": 3,
        }.items():
            assert sum(getattr(row, name) for row in rows) == wanted, name


def test_measure_reality_counts_trades_by_the_bars_alone(lakehouse: Lakehouse) -> None:
    total = measure(lakehouse).total

    bars = lakehouse.tables.read_daily_bars().collect()
    planned = bars.join(lakehouse.tables.read_plan()[1], on=["ticker", "session_date"], how="semi")
    assert total.estimated_rows == planned["trade_count"].sum()
    assert total.bytes_error_ratio == total.estimated_bytes / total.bytes - 1


def test_measure_reality_holds_a_session_against_the_last_estimate_before_it_landed(
    lakehouse: Lakehouse,
) -> None:
    """An estimate that learned from a session is not judged by it."""
    promise(lakehouse, LONG_AGO, 100.0)
    promise(lakehouse, LONG_AGO + dt.timedelta(days=1), 10.0)
    later = max(lakehouse.ledger.receipts()["committed_timestamp"]) + dt.timedelta(seconds=1)
    promise(lakehouse, later, 1_000.0)

    total = measure(lakehouse).total

    assert total.estimated_bytes == total.estimated_rows * 10


def test_measure_reality_of_nothing_is_empty(lakehouse: Lakehouse) -> None:
    reality = measure(lakehouse, stored=0)

    assert (reality.by_ticker, reality.by_year) == ([], [])
    assert (reality.total.sessions, reality.total.bytes_error_ratio) == (0, None)


def test_record_estimate_adds_a_line(lakehouse: Lakehouse) -> None:
    estimate = estimate_lake(lakehouse)

    entries = [record_estimate(lakehouse.tables, estimate, NOW) for _ in range(2)]

    assert read_estimates(lakehouse.layout, lakehouse.fs) == entries
    assert (entries[0].made_at, entries[0].requests) == (NOW, 3)


def test_read_estimates_refuses_an_edited_history(lakehouse: Lakehouse) -> None:
    record_estimate(lakehouse.tables, estimate_lake(lakehouse), lakehouse.clock())
    lakehouse.layout.estimates_file.write_text("{}\n", encoding="utf-8")

    with pytest.raises(LedgerMismatchError, match="no history of estimates"):
        read_estimates(lakehouse.layout, lakehouse.fs)
