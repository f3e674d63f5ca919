"""Conditions and exchanges, as the vendor lists them.

What belongs here: facts that no source changes.  What does not: the rules' use (``core``).
"""

from functools import cache
from typing import Any, Final

from smallcaps_assets.core.ticks.conditions import CONDITION_RULES, UPDATE_RULES, ConditionRule

LEGACY: Final = {6, 27, 31, 33, 35, 55}
_WITHOUT_RULES: Final = {41, *range(57, 72)}
_TRF: Final = (
    ("FINRA NYSE TRF", "FINY", "XNYS"),
    ("FINRA Nasdaq TRF Carteret", "FINN", "FINR"),
    ("FINRA Nasdaq TRF Chicago", "FINC", "FINR"),
    ("FINRA Alternative Display Facility", "XADF", "FINR"),
)
_EXCHANGES: Final = (
    (1, "exchange", "NYSE American, LLC", "XASE", "XNYS", "A"),
    (2, "exchange", "Nasdaq OMX BX, Inc.", "XBOS", "XNAS", "B"),
    (3, "exchange", "NYSE National, Inc.", "XCIS", "XNYS", "C"),
    *((4, "TRF", name, mic, operator, "D") for name, mic, operator in _TRF),
    (5, "SIP", "Unlisted Trading Privileges", None, "XNAS", "E"),
    (6, "TRF", "International Securities Exchange, LLC - Stocks", "XISE", "XNAS", "I"),
    (7, "exchange", "Cboe EDGA", "EDGA", "XCBO", "J"),
    (8, "exchange", "Cboe EDGX", "EDGX", "XCBO", "K"),
    (9, "exchange", "NYSE Chicago, Inc.", "XCHI", "XNYS", "M"),
    (10, "exchange", "New York Stock Exchange", "XNYS", "XNYS", "N"),
    (11, "exchange", "NYSE Arca, Inc.", "ARCX", "XNYS", "P"),
    (12, "exchange", "Nasdaq", "XNAS", "XNAS", "T"),
    (13, "SIP", "Consolidated Tape Association", None, "XNYS", "S"),
    (14, "exchange", "Long-Term Stock Exchange", "LTSE", "LTSE", "L"),
    (15, "exchange", "Investors Exchange", "IEXG", "IEXG", "V"),
    (16, "TRF", "Cboe Stock Exchange", "CBSX", "XCBO", "W"),
    (17, "exchange", "Nasdaq Philadelphia Exchange LLC", "XPHL", "XNAS", "X"),
    (18, "exchange", "Cboe BYX", "BATY", "XCBO", "Y"),
    (19, "exchange", "Cboe BZX", "BATS", "XCBO", "Z"),
    (20, "exchange", "MIAX Pearl", "EPRL", "MIHI", "H"),
    (21, "exchange", "Members Exchange", "MEMX", "MEMX", "U"),
    (62, "ORF", "OTC Equity Security", "OOTC", "FINR", None),
)
_QUOTE_CONDITIONS: Final = ((1, "Regular, Two-Sided Open"), (41, "Cash Only Settlement"))


@cache
def list_conditions() -> tuple[dict[str, Any], ...]:
    """List conditions of trades, and two of quotes that share their ids."""
    trades = tuple(_describe_condition(rule) for rule in CONDITION_RULES.values())
    quotes = tuple(
        {
            "id": number,
            "type": "quote_condition",
            "name": name,
            "asset_class": "stocks",
            "data_types": ["nbbo"],
            "sip_mapping": {},
        }
        for number, name in _QUOTE_CONDITIONS
    )
    return trades + quotes


@cache
def list_exchanges() -> tuple[dict[str, Any], ...]:
    """List exchanges; id 4 is four reporting facilities."""
    names = ("id", "type", "name", "mic", "operating_mic", "participant_id")
    return tuple(
        {
            **{name: value for name, value in zip(names, row, strict=True) if value is not None},
            "asset_class": "stocks",
            "locale": "us",
        }
        for row in _EXCHANGES
    )


def _describe_condition(rule: ConditionRule) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": rule.id,
        "type": "trade_thru_exempt" if rule.id == 41 else "sale_condition",  # noqa: PLR2004
        "name": rule.name,
        "asset_class": "stocks",
        "data_types": ["trade"],
        "sip_mapping": {},
    }
    if rule.id not in _WITHOUT_RULES:
        rules = {name: getattr(rule, name) for name in UPDATE_RULES}
        row["update_rules"] = {"consolidated": rules, "market_center": rules}
    if rule.id in LEGACY:
        row["legacy"] = True
    return row
