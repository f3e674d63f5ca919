"""Months of bars and features: made where inputs changed, in batches, and judged."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from smallcaps_assets.core.research.information_bars import KINDS, BarRules
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.errors import MissingPartitionError
from smallcaps_assets.ingest.plan.pictures import publish_pictures
from smallcaps_assets.lake.ledger.writer import Ledger
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.reading.reader import Lake
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.tables.research import ResearchStore
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.research.ground import Ground
from smallcaps_assets.research.months import MadeMonth, Months
from smallcaps_assets.schemas import Table
from smallcaps_assets.schemas_research import BAR_FEATURES, HALTS, INFORMATION_BARS, MINUTE_BARS
from smallcaps_assets_tests.core.tape_factories import make_bars
from smallcaps_assets_tests.lake.reader_factories import ALL_PHASES, fill_lake, store_sessions
from smallcaps_assets_tests.lakehouse_factories import SmallLake
from smallcaps_assets_tests.stored_rows import rewrite_session

MARCH, APRIL = "2024-03", "2024-04"
TABLES = (MINUTE_BARS, INFORMATION_BARS, BAR_FEATURES)
SESSIONS = {
    "AAA_2024-03-27": ALL_PHASES,
    "AAA_2024-03-28": ("regular", "regular"),
    "BBB_2024-03-28": (),
    "AAA_2024-04-01": ("regular",),
}
CHANGED = "CON_2024-01-30"
JANUARY = "2024-01"


def open_months(
    data_dir: Path, rules: BarRules | None = None, batch_rows: int = 5_000_000
) -> Months:
    layout = LakeLayout(data_dir)
    store = ResearchStore(layout, FileSystem())
    ground = Ground(Lake(data_dir), store, load_calendar(), batch_rows=batch_rows)
    return Months(ground, rules or BarRules())


def make_all(months: Months) -> dict[str, list[MadeMonth]]:
    return {table.name: list(months.make(table, months.list_months())) for table in TABLES}


def read_bytes(months: Months, month: str) -> dict[str, bytes]:
    tables: tuple[Table, ...] = (*TABLES, HALTS)
    return {t.name: months.ground.store.path(t, month).read_bytes() for t in tables}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a lake of two months."""
    return fill_lake(tmp_path, SESSIONS).data_dir


@pytest.fixture
def emulated(small_lake: SmallLake, tmp_path: Path) -> Lakehouse:
    """Return a lake of nine sessions of the emulated market."""
    return small_lake.copy(tmp_path)


def add_session(data_dir: Path, key: str) -> None:
    layout = LakeLayout(data_dir)
    receipts = store_sessions(layout, {key: ("regular", "regular", "regular")})
    with Ledger(layout.ledger_file) as ledger:
        ledger.record_receipts(receipts)


def test_months_are_those_that_have_trades(data_dir: Path) -> None:
    months = open_months(data_dir)

    assert months.list_months() == [MARCH, APRIL]
    (empty,) = months.make(MINUTE_BARS, ["2024-05"])
    assert (empty.is_empty, empty.rows) == (True, 0)
    assert not months.ground.store.list_months(MINUTE_BARS)


def test_a_second_run_makes_nothing(data_dir: Path) -> None:
    first = make_all(open_months(data_dir))
    stored = read_bytes(open_months(data_dir), MARCH)

    second = make_all(open_months(data_dir))

    assert not any(month.is_reused for made in first.values() for month in made)
    assert all(month.is_reused for made in second.values() for month in made)
    assert [m.rows for m in second[MINUTE_BARS.name]] == [m.rows for m in first[MINUTE_BARS.name]]
    assert read_bytes(open_months(data_dir), MARCH) == stored


def test_a_new_session_makes_its_month_again_and_no_other(data_dir: Path) -> None:
    make_all(open_months(data_dir))
    before = {month: read_bytes(open_months(data_dir), month) for month in (MARCH, APRIL)}
    add_session(data_dir, "AAA_2024-04-02")

    months = open_months(data_dir)
    assert months.list_stale(MINUTE_BARS) == months.list_stale(INFORMATION_BARS) == [APRIL]
    assert not months.judge_freshness(MINUTE_BARS).passed
    made = make_all(months)

    assert [[m.is_reused for m in made[table.name]] for table in TABLES] == [[True, False]] * 3
    assert read_bytes(months, MARCH) == before[MARCH]
    assert read_bytes(months, APRIL) != before[APRIL]
    assert all(months.judge_freshness(table).passed for table in TABLES)


def test_a_repaired_session_makes_its_month_again(emulated: Lakehouse) -> None:
    make_all(open_months(emulated.home.data_dir))
    rewrite_session(emulated, CHANGED, lambda trades: trades.head(trades.height - 1))
    with Ledger(emulated.home.ledger_file) as ledger:
        ledger.record_receipts([emulated.sessions.read_receipt("CON", dt.date(2024, 1, 30))])

    months = open_months(emulated.home.data_dir)

    assert months.list_stale(MINUTE_BARS) == [JANUARY]
    make_all(months)
    assert months.judge_minute_bars([JANUARY]).passed


def test_daily_bars_that_tell_other_sizes_make_bars_again_and_minutes_not(data_dir: Path) -> None:
    make_all(open_months(data_dir))
    days = [dt.date(2024, 3, day) for day in range(1, 28) if dt.date(2024, 3, day).weekday() < 5]
    bars = make_bars(
        *({"ticker": "AAA", "session_date": day, "trade_count": 5_000} for day in days)
    )
    tables = TableStore(LakeLayout(data_dir), FileSystem())
    tables.write_daily_bars(MARCH, bars, covered=days, is_closed=False)

    months = open_months(data_dir)

    assert months.list_stale(MINUTE_BARS) == []
    assert months.list_stale(INFORMATION_BARS) == [MARCH, APRIL]
    make_all(months)
    stored = months.ground.store.scan(INFORMATION_BARS, [APRIL]).collect()
    assert set(stored["threshold_source"]) == {"daily_bars"}
    assert set(stored["wanted"].filter(stored["kind"] == "volume_imbalance")) == {100.0}


def test_other_rules_make_information_bars_again(data_dir: Path) -> None:
    make_all(open_months(data_dir))

    months = open_months(data_dir, BarRules(kinds=("tick",)))

    assert months.list_stale(INFORMATION_BARS) == [MARCH, APRIL]
    assert months.list_stale(BAR_FEATURES) == []


def test_features_want_minute_bars(data_dir: Path) -> None:
    with pytest.raises(MissingPartitionError, match="materialize minute_bars first"):
        list(open_months(data_dir).make(BAR_FEATURES, [MARCH]))


def test_lost_halts_are_made_again_with_their_bars(data_dir: Path) -> None:
    months = open_months(data_dir)
    make_all(months)
    months.ground.store.discard(HALTS, MARCH)

    made = make_all(open_months(data_dir))

    assert [month.is_reused for month in made[MINUTE_BARS.name]] == [False, True]


def test_a_lake_without_trades_has_no_months(tmp_path: Path) -> None:
    data_dir = fill_lake(tmp_path, {"BBB_2024-03-28": ()}).data_dir

    months = open_months(data_dir)

    assert months.list_months() == []
    assert months.judge_freshness(MINUTE_BARS).passed


def test_without_daily_bars_sizes_are_defaults_and_plain_bars_are_left_out(data_dir: Path) -> None:
    made = make_all(open_months(data_dir, BarRules(kinds=KINDS)))[INFORMATION_BARS.name]

    assert made[0].numbers["sessions_without_daily_bars"] == 2
    assert made[0].numbers["sessions_with_default_size"] == 2
    assert made[0].numbers["dollar_bars"] == 0
    assert made[0].numbers["dollar_imbalance_bars"] == 2


def test_unknown_conditions_forbid_nothing_and_are_counted(emulated: Lakehouse) -> None:
    unknown = pl.lit([999], pl.List(pl.Int32))
    rewrite_session(emulated, CHANGED, lambda trades: trades.with_columns(conditions=unknown))
    with Ledger(emulated.home.ledger_file) as ledger:
        ledger.record_receipts([emulated.sessions.read_receipt("CON", dt.date(2024, 1, 30))])
    months = open_months(emulated.home.data_dir)

    (made,) = months.make(MINUTE_BARS, [JANUARY])

    session = Lake(emulated.home.data_dir).trades("CON", "2024-01-30", "2024-01-30").collect()
    bars = Lake(emulated.home.data_dir).minute_bars("CON", "2024-01-30", "2024-01-30").collect()
    withdrawn = session.filter(~pl.col("correction").is_in([0, 12])).height
    assert made.numbers["unknown_conditions"] == session.height
    assert bars["price_count"].sum() == session.height - withdrawn


@pytest.mark.parametrize("batch_rows", [1, 1_000])
def test_batches_of_any_size_make_the_same_rows(emulated: Lakehouse, batch_rows: int) -> None:
    data_dir = emulated.home.data_dir
    whole = open_months(data_dir)
    make_all(whole)
    rows = {table.name: whole.ground.store.scan(table, [JANUARY]).collect() for table in TABLES}
    for table in TABLES:
        whole.discard(table, [JANUARY])

    cut = open_months(data_dir, batch_rows=batch_rows)
    make_all(cut)

    for table in TABLES:
        assert cut.ground.store.scan(table, [JANUARY]).collect().equals(rows[table.name])


def test_the_lake_shows_the_bars_that_were_made(data_dir: Path) -> None:
    make_all(open_months(data_dir))

    bars = Lake(data_dir).minute_bars("AAA", "2024-03-28", "2024-04-01").collect()

    assert bars["session_date"].unique().sort().to_list() == [
        dt.date(2024, 3, 28),
        dt.date(2024, 4, 1),
    ]
    assert bars.equals(MINUTE_BARS.conform(bars))


def tamper(months: Months, table: Table, change: pl.Expr) -> None:
    """Write a stored month with other values, and with the facts that it has."""
    store = months.ground.store
    rows, facts = store.scan(table, [JANUARY]).collect(), store.read_facts(table, JANUARY)
    store.write(table, JANUARY, [rows.with_columns(change)], facts)


def lose_a_row(months: Months, table: Table) -> None:
    store = months.ground.store
    rows, facts = store.scan(table, [JANUARY]).collect(), store.read_facts(table, JANUARY)
    store.write(table, JANUARY, [rows.slice(1)], facts)


def judge(months: Months) -> dict[str, bool]:
    return {
        "minute_bars": months.judge_minute_bars([JANUARY]).passed,
        "information_bars": months.judge_information_bars([JANUARY]).passed,
        "bar_features": months.judge_bar_features([JANUARY]).passed,
    }


@pytest.fixture
def made(emulated: Lakehouse) -> Months:
    """Return months whose tables are sound."""
    months = open_months(emulated.home.data_dir)
    make_all(months)
    assert all(judge(months).values())
    return months


def test_a_trade_that_changed_turns_the_sums_red(made: Months, emulated: Lakehouse) -> None:
    rewrite_session(emulated, CHANGED, lambda t: t.with_columns(size=pl.col("size") + 1))
    with Ledger(emulated.home.ledger_file) as ledger:
        ledger.record_receipts([emulated.sessions.read_receipt("CON", dt.date(2024, 1, 30))])

    judged = judge(open_months(made.ground.lake.layout.data_dir))

    assert judged == {"minute_bars": False, "information_bars": False, "bar_features": True}


@pytest.mark.parametrize("table", [MINUTE_BARS, INFORMATION_BARS], ids=lambda table: table.name)
def test_a_lost_bar_turns_its_sums_red(made: Months, table: Table) -> None:
    lose_a_row(made, table)

    judged = judge(made)

    assert not judged[table.name]
    assert sum(judged.values()) >= 1


def test_a_feature_that_looks_ahead_turns_its_check_red(made: Months) -> None:
    tamper(made, BAR_FEATURES, pl.col("vwap_distance").shift(-1))

    assert judge(made) == {"minute_bars": True, "information_bars": True, "bar_features": False}


def test_pictures_show_the_busiest_session_and_the_lengths(made: Months) -> None:
    store = made.ground.store

    minutes, lengths = (
        publish_pictures(store.layout, store.fs, figures)
        for figures in (made.draw_minutes([JANUARY]), made.draw_lengths([JANUARY]))
    )

    assert minutes["busiest_session"].startswith("![busiest session](data:image/png;base64,")
    assert lengths["imbalance_bar_lengths"].startswith("![imbalance bar lengths](")
    assert made.ground.store.layout.picture_file("busiest_session").exists()
