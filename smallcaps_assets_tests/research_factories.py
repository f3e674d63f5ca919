"""Known answers and made-up inputs for the tests of research."""

import json
from typing import Any

import polars as pl

from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.core.ticks.phases import label_trades
from smallcaps_assets.core.ticks.tape import sort_tape
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, make_trades, read_flat_file
from smallcaps_assets_tests.lakehouse_factories import find_shared

SECOND_NS = 1_000_000_000
REAL_DAYS = ("07", "08", "09", "10", "11")
"""Days of October 2013 of which real prints may be there."""


def read_oracle(name: str) -> Any:  # noqa: ANN401  JSON, or text
    """Return a known answer; skip the test where they are absent."""
    path = find_shared(f"../oracles/{name}")
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text


def make_hand_trades() -> pl.DataFrame:
    """Return the thirteen trades of which bars and signs are known by hand."""
    rows = [
        {
            "sip_timestamp": OPENING_NS + round(trade["seconds_after_open"] * SECOND_NS),
            **{name: trade[name] for name in ("price", "size", "conditions", "correction")},
        }
        for trade in read_oracle("bars/hand_trades_expected.json")["trades"]
    ]
    return make_trades(*rows)


def read_real_trades(ticker: str) -> pl.DataFrame:
    """Return real trades of AIG or IBM in tape order; skip the test where they are absent."""
    days = (f"us_stocks_sip/trades_v1/2013/10/2013-10-{day}.csv.gz" for day in REAL_DAYS)
    tapes = [sort_tape(read_flat_file(day).filter(ticker=ticker)) for day in days]
    return label_trades(pl.concat(tapes), load_calendar())
