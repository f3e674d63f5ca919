import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from smallcaps_assets.core.research.prints import (
    CLASSES,
    count_unknown_conditions,
    find_halts,
    label_prints,
    sign_prints,
)
from smallcaps_assets.core.sessions import load_calendar
from smallcaps_assets_tests.core.tape_factories import OPENING_NS, make_trades, ny
from smallcaps_assets_tests.research_factories import SECOND_NS, make_hand_trades, read_oracle

Row = Mapping[str, Any]

NOTHING = [False] * 4


def label(*rows: Row) -> pl.DataFrame:
    return label_prints(make_trades(*rows))


def sign(*rows: Row) -> list[int | None]:
    prints = label(*rows)
    calendar = load_calendar()
    return sign_prints(prints, find_halts(prints, calendar), calendar)["sign"].to_list()


def test_each_class_is_part_of_the_one_before() -> None:
    prints = label(*({"conditions": [number]} for number in range(80)))

    volume, ranges, prices, live = (
        set(prints["conditions"].filter(prints[c]).explode()) for c in CLASSES[:4]
    )

    assert live == prices < ranges < volume
    assert set(range(80)) - volume == {15, 16, 38}
    assert volume - ranges == {2, 7, 12, 13, 20, 21, 29, 37, 52, 53}
    assert ranges - prices == {5, 10, 17, 22, 32, 33}


@pytest.mark.parametrize(
    ("row", "classes"),
    [
        ({"conditions": None}, [True] * 4),
        ({"conditions": []}, [True] * 4),
        ({"conditions": [14, 41]}, [True] * 4),
        ({"conditions": [14, 37]}, [True, False, False, False]),
        ({"correction": 12}, [True] * 4),
        ({"correction": 8}, NOTHING),
        ({"is_late_report": True}, [True, True, True, False]),
        ({"conditions": [12], "trading_phase": "pre_market"}, [True] * 4),
        ({"conditions": [12], "trading_phase": "after_hours"}, [True] * 4),
        ({"conditions": [12, 13], "trading_phase": "after_hours"}, [True, False, False, False]),
        ({"conditions": [12], "trading_phase": "closed"}, [True, False, False, False]),
        ({"conditions": [999, -1]}, [True] * 4),
    ],
)
def test_classes_of_one_print(row: Row, classes: list[bool]) -> None:
    assert list(label(row).select(CLASSES[:4]).row(0)) == classes


def test_unknown_conditions_are_counted() -> None:
    trades = make_trades({"conditions": [999, 14]}, {"conditions": None}, {"conditions": [999, 56]})

    assert count_unknown_conditions(trades) == {56: 1, 999: 2}


def test_no_prints_have_no_classes_halts_or_signs() -> None:
    prints = label()
    halts = find_halts(prints, load_calendar())

    assert halts.is_empty()
    assert sign_prints(prints, halts, load_calendar()).is_empty()


def test_hand_made_trades_have_the_known_signs() -> None:
    case = read_oracle("bars/hand_trades_expected.json")
    calendar = load_calendar()
    prints = label_prints(make_hand_trades())

    signed = sign_prints(prints, find_halts(prints, calendar), calendar)

    assert signed["sign"].to_list() == case["signs"]


def test_the_tick_rule_by_hand() -> None:
    cases: dict[str, Any] = {
        case["name"]: case for case in read_oracle("trade_sign/hand.json")["cases"]
    }
    carried, starts = cases["zero ticks carry"], cases["session start forgets"]
    withdrawn = cases["withdrawn trade between"]
    days = [dt.date(2024, 3, 14), dt.date(2024, 3, 15)]
    sessions: list[Row] = [
        {"price": price, "session_date": day, "sip_timestamp": ny(f"{day} 10:00:00", ns=number)}
        for day, prices in zip(days, starts["sessions"], strict=True)
        for number, price in enumerate(prices)
    ]
    pairs = zip(withdrawn["prices"], withdrawn["is_valid"], strict=True)

    assert sign(*({"price": price} for price in carried["prices"])) == carried["signs"]
    assert sign(*sessions) == [s for signs in starts["signs"] for s in signs]
    assert (
        sign(*({"price": price, "correction": 0 if valid else 8} for price, valid in pairs))
        == withdrawn["signs"]
    )


def test_an_auction_has_no_sign_and_sets_the_reference() -> None:
    auction = {"price": 9.0, "conditions": [8]}

    assert sign({"price": 10.0}, {"price": 10.1}, auction, {"price": 9.0}, {"price": 9.1}) == [
        0,
        1,
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("middle", "signs"),
    [
        ({"price": 50.0, "conditions": [37]}, [0, 1, 1, 1]),
        ({"price": 50.0, "is_late_report": True}, [0, 1, 1, 1]),
        ({"price": 50.0, "size": 0.0}, [0, 1, 0, 1]),
        ({"price": 50.0, "conditions": [15]}, [0, 1, None, 1]),
        ({"price": 9.0, "conditions": [17]}, [0, 1, 0, 0]),
    ],
)
def test_what_makes_no_price_makes_no_sign(middle: Row, signs: list[int | None]) -> None:
    assert sign({"price": 10.0}, {"price": 10.1}, middle, {"price": 10.1}) == signs


def test_signs_are_forgotten_at_the_edge_of_a_phase() -> None:
    before = ny("2024-03-15 09:29:59")
    rows: list[Row] = [
        {"price": 10.0, "sip_timestamp": before, "trading_phase": "pre_market"},
        {"price": 10.1, "sip_timestamp": before + 1, "trading_phase": "pre_market"},
        {"price": 10.2, "sip_timestamp": OPENING_NS},
    ]

    assert sign(*rows) == [0, 1, 0]


def make_stretch(before: int, gap_s: float, *after: Row, first_ns: int = OPENING_NS) -> list[Row]:
    """Return prints a second apart, then a gap, then what follows it, a second apart."""
    busy = [
        {"price": 10.0 + number % 2, "sip_timestamp": first_ns + number * SECOND_NS}
        for number in range(before)
    ]
    end = first_ns + (before - 1) * SECOND_NS + round(gap_s * SECOND_NS)
    late = [{"sip_timestamp": end + i * SECOND_NS, **row} for i, row in enumerate(after)]
    return [*busy, *late]


@pytest.mark.parametrize(
    ("rows", "evidence"),
    [
        (make_stretch(20, 290, {"price": 11.0}), ["activity"]),
        (make_stretch(20, 289.9, {"price": 11.0}), []),
        (make_stretch(19, 290, {"price": 11.0}), []),
        (make_stretch(1, 290, {"price": 11.0, "conditions": [28]}), ["reopening_print"]),
        (make_stretch(1, 290, {"price": 11.0, "conditions": [8]}), []),
    ],
)
def test_a_gap_is_a_halt_only_by_evidence(rows: list[Row], evidence: list[str]) -> None:
    assert find_halts(label(*rows), load_calendar())["evidence"].to_list() == evidence


def test_a_halt_to_the_close_and_one_from_the_open() -> None:
    early = ny("2024-03-15 09:29:30")
    busy = [
        {"sip_timestamp": early + number * SECOND_NS, "trading_phase": "pre_market"}
        for number in range(25)
    ]
    reopened = make_stretch(30, 0, first_ns=OPENING_NS + 600 * SECOND_NS)

    halts = find_halts(label(*busy, *reopened), load_calendar())

    assert halts["evidence"].to_list() == ["activity", "to_close"]
    assert halts["start"].to_physical()[0] == OPENING_NS
    assert halts["end"].to_physical()[0] == OPENING_NS + 600 * SECOND_NS
    assert halts["end"].to_physical()[1] == ny("2024-03-15 16:00:00")


def test_signs_are_forgotten_after_a_halt_and_not_after_a_gap() -> None:
    after = [{"price": 12.0}, {"price": 12.0}, {"price": 12.1}]

    assert sign(*make_stretch(20, 300, *after))[20:] == [0, 0, 1]
    assert sign(*make_stretch(2, 300, *after))[2:] == [1, 1, 1]


def test_halts_of_two_tickers_stay_apart() -> None:
    rows = make_stretch(25, 400, {"price": 11.0})
    both = label(
        *rows, *({**row, "ticker": "WXYZ"} for row in make_stretch(3, 400, {"price": 9.0}))
    )

    halts = find_halts(both, load_calendar())

    assert halts["ticker"].to_list() == ["ABCD"]
