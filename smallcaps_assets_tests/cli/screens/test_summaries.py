import datetime as dt
import io

import polars as pl
import pytest
from rich.console import Console

from smallcaps_assets.cli.screens.summaries import print_revisions

REVISION = {
    "ticker": "ABCD",
    "session_date": dt.date(2024, 3, 4),
    "old_rows": 1,
    "new_rows": 1_200,
    "counts": "new",
    "folder": "revisions/1",
}


@pytest.mark.parametrize(
    ("count", "title"),
    [(1, "1 answer differs from what was stored"), (2, "2 answers differ from what was stored")],
)
def test_revisions_are_told_as_one_or_many(count: int, title: str) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=200)

    print_revisions(pl.DataFrame([REVISION] * count), console)

    text = shown.getvalue()
    assert title in text
    assert "1 trade " in text
    assert "1,200 trades" in text
