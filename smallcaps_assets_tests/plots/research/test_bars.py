import datetime as dt

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from smallcaps_assets.core.research.minute_bars import build_minute_bars, prepare_prints
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets.plots.research.bars import SHOWN_TICKERS, draw_bar_lengths, draw_session
from smallcaps_assets.schemas_research import HALTS
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, make_trades
from smallcaps_assets_tests.plots.chart_texts import check_texts

MINUTE_NS = 60_000_000_000


def make_session() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return five minutes, one of them without a price, and a halt in the last one."""
    rows = [
        {
            "price": 10.0 + number,
            "sip_timestamp": OPENING_NS + number * MINUTE_NS,
            "conditions": [37] if number == 2 else None,
        }
        for number in range(5)
    ]
    prints, _ = prepare_prints(make_trades(*rows), load_calendar())
    bars = build_minute_bars(prints)
    start = bars["minute"][4]
    halt = (*bars.select("ticker", "session_date").row(0), start, start + dt.timedelta(minutes=5))
    return bars, pl.DataFrame([(*halt, "activity")], HALTS.schema, orient="row")


def make_lengths(tickers: int) -> pl.DataFrame:
    rows = [
        {"ticker": f"T{number:03}", "kind": kind, "bars": 100, "length_ratio": 1.0 + number / 100}
        for number in range(tickers)
        for kind in ("dollar_imbalance", "volume_imbalance")
    ]
    return pl.DataFrame(rows)


def list_texts(figure: Figure) -> list[str]:
    return [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def test_a_session_shows_prices_where_there_are_some_and_its_halt() -> None:
    figure = draw_session(*make_session())

    prices, flow = figure.axes
    assert prices.get_title() == "ABCD, 2024-03-15: 5 trades in 5 minutes, 1 halt"
    assert np.asarray(prices.lines[0].get_ydata()).tolist() == [10.0, 11.0, 13.0, 14.0]
    assert len(prices.patches) == 1
    heights = [bar.get_height() for bar in flow.patches if isinstance(bar, Rectangle)]
    assert heights == [0.0, 0.1, 0.1, 0.1, 0.1]
    assert flow.get_xlabel() == "hours since 13:30 UTC"


def test_lengths_are_drawn_by_ticker_between_the_bounds_of_the_check() -> None:
    figure = draw_bar_lengths(make_lengths(3))

    (axes,) = figure.axes
    assert list_texts(figure) == ["T000", "T001", "T002"]
    assert {float(np.asarray(line.get_xdata())[0]) for line in axes.lines} == {0.3, 1.0, 3.0}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "dollar_imbalance",
        "volume_imbalance",
    ]


def test_texts_neither_meet_nor_leave_the_picture() -> None:
    for figure in (draw_session(*make_session()), draw_bar_lengths(make_lengths(15))):
        check_texts(figure)


def test_of_many_tickers_the_worst_are_drawn() -> None:
    assert len(list_texts(draw_bar_lengths(make_lengths(SHOWN_TICKERS + 10)))) == SHOWN_TICKERS
