import datetime as dt
from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.archive.findings import (
    ArchiveVerdict,
    Finding,
    FindingKind,
    judge_findings,
)
from smallcaps_assets.core.archive.sessions import (
    ArchivedSession,
    ArchiveFile,
    classify_file,
    judge_session,
    refuse_file,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets_tests.archive_factories import (
    SESSION,
    TICKER,
    Layout,
    cut_files,
    keep,
    make_bar,
    make_vendor_trades,
    to_wire,
)

TRADES = make_vendor_trades(100)
BAR = make_bar(TRADES)


def judge(
    rows: pl.DataFrame,
    bar: Mapping[str, object] | None = BAR,
    session_date: dt.date = SESSION,
    phase: str | None = None,
) -> ArchivedSession:
    file = classify_file(ArchiveFile("trades.parquet", phase), rows, TICKER, load_calendar())
    return judge_session([file], TICKER, session_date, bar, load_calendar())


def kinds(session: ArchivedSession) -> set[FindingKind]:
    return {finding.kind for finding in session.findings}


def test_whole_session_is_proven_and_what_the_vendor_sent() -> None:
    session = judge(to_wire(TRADES))

    assert (session.verdict, session.findings) == (ArchiveVerdict.PROVEN, ())
    assert session.trades.equals(TRADES)
    assert (session.volume, session.trade_count) == (BAR["volume"], BAR["trade_count"])


def test_files_of_a_session_are_joined_in_the_order_of_the_tape() -> None:
    files = cut_files(Layout.PHASES, TRADES, keep)
    parts = [
        classify_file(ArchiveFile(name), rows, TICKER, load_calendar())
        for name, rows in files.items()
    ]

    session = judge_session(parts[::-1], TICKER, SESSION, BAR, load_calendar())

    assert session.verdict is ArchiveVerdict.PROVEN
    assert session.trades.equals(TRADES)


@settings(max_examples=30)
@given(st.integers(0, TRADES.height - 1))
def test_session_that_lacks_any_one_trade_is_not_proven(row: int) -> None:
    lacking = to_wire(TRADES).filter(pl.int_range(pl.len()) != row)

    assert judge(lacking).verdict is ArchiveVerdict.UNPROVEN


@settings(max_examples=20)
@given(st.integers(0, 2**16))
def test_order_of_rows_in_a_file_does_not_matter(seed: int) -> None:
    session = judge(to_wire(TRADES).sample(fraction=1, shuffle=True, seed=seed))

    assert session.trades.equals(TRADES)


@pytest.mark.parametrize(
    ("bar", "kind"),
    [
        (None, FindingKind.NO_BAR),
        (BAR | {"trade_count": None}, FindingKind.NO_BAR),
        (BAR | {"volume": float("nan")}, FindingKind.NO_BAR),
        (BAR | {"volume": BAR["volume"] + 1}, FindingKind.VOLUME_DIFFERS),
        (BAR | {"trade_count": BAR["trade_count"] + 1}, FindingKind.COUNT_DIFFERS),
        (BAR | {"high": BAR["low"]}, FindingKind.PRICES_OUTSIDE),
        (BAR | {"open": BAR["open"] + 0.01}, FindingKind.PRICES_DIFFER),
        (BAR | {"high": BAR["high"] + 0.01}, FindingKind.PRICES_DIFFER),
        (BAR | {"low": BAR["low"] - 0.01}, FindingKind.PRICES_DIFFER),
        (BAR | {"close": BAR["close"] - 0.01}, FindingKind.PRICES_DIFFER),
        (BAR | {"vwap": round(BAR["vwap"], 4) + 0.0002}, FindingKind.VWAP_DIFFERS),
        (BAR | {"vwap": None}, FindingKind.NO_BAR),
        (BAR | {"open": float("nan")}, FindingKind.NO_BAR),
    ],
)
def test_bar_that_says_otherwise_or_nothing_proves_nothing(
    bar: Mapping[str, object] | None, kind: FindingKind
) -> None:
    session = judge(to_wire(TRADES), bar)

    assert session.verdict is ArchiveVerdict.UNPROVEN
    assert kind in kinds(session)


@pytest.mark.parametrize("phase", ["pre_market", "regular", "after_hours"])
def test_session_of_one_phase_is_proven_when_the_bar_agrees(phase: str) -> None:
    """L11: completeness does not depend on the phases present."""
    trades = TRADES.filter(pl.col("trading_phase") == phase)

    session = judge(to_wire(trades), make_bar(trades), phase=phase)

    assert session.verdict is ArchiveVerdict.PROVEN
    assert kinds(session) == {FindingKind.PHASES_ABSENT}


def test_whole_page_is_proven_when_the_bar_agrees() -> None:
    """L2: a session of exactly one page is possible."""
    trades = make_vendor_trades(50_000)

    session = judge(to_wire(trades), make_bar(trades))

    assert session.verdict is ArchiveVerdict.PROVEN
    assert kinds(session) == {FindingKind.WHOLE_PAGES}


def test_file_of_another_phase_is_found() -> None:
    regular = TRADES.filter(pl.col("trading_phase") == "regular")

    session = judge(to_wire(regular), make_bar(regular), phase="pre_market")

    assert session.verdict is ArchiveVerdict.UNPROVEN
    assert FindingKind.WRONG_PHASE in kinds(session)


@pytest.mark.parametrize("date", ["2024-01-13", "2024-01-15", "1999-01-04", "2199-01-04"])
def test_date_that_is_no_session_is_unusable(date: str) -> None:
    """L6: phantom Saturdays of UTC days."""
    session = judge(to_wire(TRADES), session_date=dt.date.fromisoformat(date))

    assert session.verdict is ArchiveVerdict.UNUSABLE
    assert FindingKind.NO_SESSION in kinds(session)


def test_file_that_cannot_be_read_leaves_the_others_unproven() -> None:
    whole = classify_file(ArchiveFile("a"), to_wire(TRADES), TICKER, load_calendar())
    torn = refuse_file(ArchiveFile("b"), "torn")

    both = judge_session([whole, torn], TICKER, SESSION, BAR, load_calendar())
    alone = judge_session([torn], TICKER, SESSION, BAR, load_calendar())

    assert (both.verdict, alone.verdict) == (ArchiveVerdict.UNPROVEN, ArchiveVerdict.UNUSABLE)
    assert [finding.describe() for finding in alone.findings] == ["b: unreadable: torn"]


def test_empty_file_beside_others_is_no_fault() -> None:
    whole = classify_file(ArchiveFile("a"), to_wire(TRADES), TICKER, load_calendar())
    empty = classify_file(ArchiveFile("b"), to_wire(TRADES.clear()), TICKER, load_calendar())

    session = judge_session([whole, empty], TICKER, SESSION, BAR, load_calendar())

    assert session.verdict is ArchiveVerdict.PROVEN
    assert kinds(session) == {FindingKind.EMPTY}


def test_few_odd_trades_do_not_mean_a_shifted_clock() -> None:
    """Late reports and odd conditions occur; a shifted clock moves most of the trades."""
    form_t = pl.when(pl.int_range(pl.len()).is_between(40, 46)).then([12]).otherwise("conditions")
    trades = TRADES.with_columns(form_t.cast(pl.List(pl.Int32)).alias("conditions"))

    assert judge(to_wire(trades), make_bar(trades)).verdict is ArchiveVerdict.PROVEN


def test_judge_findings_weighs_them() -> None:
    note, doubt = Finding(FindingKind.NO_MARK, ""), Finding(FindingKind.NO_BAR, "")

    assert judge_findings(1, [note]) is ArchiveVerdict.PROVEN
    assert judge_findings(1, [note, doubt]) is ArchiveVerdict.UNPROVEN
    assert judge_findings(0, []) is ArchiveVerdict.UNUSABLE
