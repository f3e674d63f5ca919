import datetime as dt
from pathlib import Path
from typing import Final

from smallcaps_assets.ingest.budget.estimates import estimate_lake
from smallcaps_assets.ingest.events.watchlist import weigh_sizes
from smallcaps_assets.ingest.plan.pictures import (
    BY_EVENT,
    CALENDAR,
    COMPARISON,
    LADDER,
    draw_estimate,
    draw_plan,
    publish_pictures,
)
from smallcaps_assets.ingest.plan.publishing import make_plan
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.lakehouse_factories import SmallLake

ALL: Final = {BY_EVENT, CALENDAR, COMPARISON, LADDER}


def publish_all(lakehouse: Lakehouse) -> dict[str, str]:
    comparison = estimate_lake(lakehouse).comparison
    figures = draw_estimate(comparison, weigh_sizes(lakehouse))
    plan = draw_plan(*lakehouse.tables.read_plan())
    return publish_pictures(lakehouse.layout, lakehouse.fs, {**plan, **figures})


def list_pictures(lakehouse: Lakehouse) -> set[str]:
    return {path.stem for path in lakehouse.layout.reports_dir.glob("*.png")}


def test_every_picture_is_shown_and_kept_and_those_of_events_go_with_them(
    small_lake: SmallLake, tmp_path: Path
) -> None:
    lakehouse = small_lake.copy(tmp_path)
    shown = publish_all(lakehouse)

    assert set(shown) == list_pictures(lakehouse) == ALL
    assert all(
        text.startswith("![") and "data:image/png;base64," in text for text in shown.values()
    )

    plain = small_lake.copy(
        tmp_path, plan_mode="sessions", plan_tickers="BCPC", first_session=dt.date(2024, 12, 2)
    )
    make_plan(plain)
    assert set(publish_all(plain)) == list_pictures(plain) == {CALENDAR, COMPARISON}
