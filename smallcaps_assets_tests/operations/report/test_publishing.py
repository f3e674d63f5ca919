"""The files of a report: whole, without requests to anyone, and with nobody else's HTML."""

import dataclasses
import re
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from smallcaps_assets.core.documents import decode_json
from smallcaps_assets.core.keys import decode_key
from smallcaps_assets.core.states import QUARANTINED
from smallcaps_assets.emulator.http.server import EmulatorServer
from smallcaps_assets.lake.ledger.rows import Attempt
from smallcaps_assets.lake.ledger.rows import Failure as FailedSession
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.report.document import ReportDocument
from smallcaps_assets.operations.report.figures import measure_lake
from smallcaps_assets.operations.report.page import MESSAGE_LENGTH, SHOWN, Picture, render_page
from smallcaps_assets.operations.report.profile import Profile, profile_lake
from smallcaps_assets.operations.report.publishing import PublishedReport, publish_report
from smallcaps_assets_tests.lakehouse_factories import SmallLake, plan_small_lake
from smallcaps_assets_tests.stored_rows import count_neighbours, find_data_file, list_data_files

KEY = "BCPC_2024-01-10"
SECRET = "secret-key-of-a-user"
EVIL = "<script>alert('$x^2$ & \"more\"')</script>" + "long " * 1_000


def profile(lakehouse: Lakehouse, limit: int = 100) -> Profile:
    """Return the profile as another process would see it."""
    other = dataclasses.replace(lakehouse)
    return profile_lake(other.layout, other.fs, other.ledger, other.calendar, limit)


def fail_session(lakehouse: Lakehouse, message: str) -> None:
    ticker, session_date = decode_key(KEY)
    lakehouse.ledger.record_failures([FailedSession(KEY, QUARANTINED, "sha256", message)])
    lakehouse.ledger.record_attempt(
        Attempt(ticker, session_date, session_date, 1, kind="payload", message=message)
    )


@pytest.fixture(scope="module")
def published(small_lake: SmallLake, tmp_path_factory: pytest.TempPathFactory) -> PublishedReport:
    """Return the report of a finished lake, made once."""
    folder = tmp_path_factory.mktemp("published")
    return publish_report(small_lake.copy(folder, POLYGON_API_KEY=SECRET))


def test_publish_report_writes_what_was_measured(published: PublishedReport) -> None:
    page = published.page.read_text(encoding="utf-8")

    assert published.report.content_hash in page
    assert published.report.recommendation.split(":")[0] in page
    assert page.count("data:image/png;base64,") == 4
    assert "no attempt failed" in page
    assert published.coverage.startswith("![Coverage](data:image/png;base64,")
    assert decode_json(published.file.read_bytes(), ReportDocument) == published.report


def test_the_page_asks_nobody_for_anything(published: PublishedReport) -> None:
    page = published.page.read_text(encoding="utf-8")

    assert set(re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(\w+:)", page)) == {"data:"}
    assert not re.findall(r"https?://|<script|@import", page)


def test_the_page_and_the_json_hold_no_key(published: PublishedReport) -> None:
    """L14."""
    for file in (published.page, published.file):
        assert SECRET.encode() not in file.read_bytes()


def test_the_page_escapes_and_cuts_messages(lakehouse: Lakehouse) -> None:
    fail_session(lakehouse, EVIL)

    page = publish_report(lakehouse).page.read_text(encoding="utf-8")

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "long " * (MESSAGE_LENGTH // 5) not in page
    assert KEY in page


def test_the_page_shows_the_first_of_many_missing_sessions(lakehouse: Lakehouse) -> None:
    fail_session(lakehouse, "cut")
    report = measure_lake(lakehouse)
    many = report.missing * (SHOWN + 5)

    page = render_page(
        replace(report, missing=many, left_sessions=5_000),
        [Picture("a <b>", "nothing & nobody", None)],
    )

    assert page.count('<td class="name">quarantined</td>') == SHOWN
    assert f"and {5_000 - SHOWN:,} more" in page
    assert "a &lt;b&gt;" in page
    assert "nothing &amp; nobody" in page


def test_publish_report_of_a_plan_alone_draws_the_plan(
    market_server: EmulatorServer, tmp_path: Path
) -> None:
    lakehouse = plan_small_lake(tmp_path, market_server.url)
    lakehouse.ledger.record_plan(lakehouse.tables.read_plan()[1])

    page = publish_report(lakehouse).page.read_text(encoding="utf-8")

    assert page.count("data:image/png;base64,") == 1
    assert "nothing landed yet" in page
    assert "never audited" in page


def test_profile_lake_counts_every_trade(lakehouse: Lakehouse) -> None:
    found = profile(lakehouse)

    trades = Lake(lakehouse.layout.data_dir).trades(columns=["trading_phase"]).collect()
    counts = found.trades.group_by("trading_phase").agg(pl.col("trades").sum())
    assert dict(counts.iter_rows()) == dict(trades["trading_phase"].value_counts().iter_rows())
    assert found.sessions == found.stored == 8


def test_profile_lake_reads_a_session_once(lakehouse: Lakehouse) -> None:
    """Later reports read what is new: files that are gone are not missed."""
    first = profile(lakehouse)
    for file in list_data_files(lakehouse):
        file.unlink()

    again = profile(lakehouse)

    assert again.trades.equals(first.trades)


def test_profile_lake_goes_on_where_it_stopped(lakehouse: Lakehouse) -> None:
    sessions = [profile(lakehouse, limit=3).sessions for _ in range(4)]

    assert sessions == [3, 6, 8, 8]


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing PAR1", bytes(4_000)])
def test_profile_lake_leaves_out_what_cannot_be_read(lakehouse: Lakehouse, content: bytes) -> None:
    lost = count_neighbours(lakehouse, KEY)
    find_data_file(lakehouse, KEY).write_bytes(content)

    found = profile(lakehouse)

    assert (found.sessions, found.stored) == (8 - lost, 8)


def test_profile_lake_makes_a_damaged_memory_anew(lakehouse: Lakehouse) -> None:
    first = profile(lakehouse)
    lakehouse.layout.profile_file.write_bytes(b"PAR1")

    assert profile(lakehouse).trades.equals(first.trades)
