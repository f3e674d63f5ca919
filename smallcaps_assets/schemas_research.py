"""Contracts of the tables of research: what is made of the lake, and can be made again.

What belongs here: their columns, in the form of ``schemas``.  What does not: how a table is made
(``core.research``) or where it lies (``lake``).  Signs are those of the tick rule, right for about
four of five prints off the middle of the quote, and the names of columns say so.
"""

from typing import Final

import polars as pl

from smallcaps_assets.schemas import INSTANT, Column, Table

TICKER: Final = Column(pl.String(), "Vendor's symbol on that session; case matters.")
SESSION_DATE: Final = Column(pl.Date(), "New York date of the XNYS session.")


def _figure(text: str) -> Column:
    """Make a column of floats whose text says when it is null."""
    return Column(pl.Float64(), text, nullable=True)


_OPEN: Final = _figure("First price print, USD; null: there is none.")
_HIGH: Final = _figure("Highest range print, USD; null: none.")
_LOW: Final = _figure("Lowest range print, USD; null: none.")
_CLOSE: Final = _figure("Last price print, USD; null: none.")
_VOLUME: Final = Column(pl.Float64(), "Shares of all volume prints.")
_DOLLAR: Final = Column(pl.Float64(), "Price times size of all volume prints, USD.")
_VWAP: Final = _figure("`dollar` over `volume`, USD; null: volume is 0.")
_TRADE_COUNT: Final = Column(pl.Int64(), "Volume prints.")
_BUY_VOLUME: Final = Column(pl.Float64(), "Shares of prints that the tick rule calls bought.")
_SELL_VOLUME: Final = Column(pl.Float64(), "Shares of prints that the tick rule calls sold.")
_AUCTION_VOLUME: Final = Column(pl.Float64(), "Shares of auctions and crosses, without a sign.")

HALTS: Final = Table(
    "halts",
    "one stretch of the regular phase without any print that only a halt explains",
    ("ticker", "session_date", "start"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "start": Column(INSTANT, "Last print before it, or the open."),
        "end": Column(INSTANT, "First print after it, or the close."),
        "evidence": Column(
            pl.String(),
            "`reopening_print` ends it, `activity`: at least 20 prints in the 300 s before, "
            "`to_close`: the same, and no print until the close.",
        ),
    },
)

MINUTE_BARS: Final = Table(
    "minute_bars",
    "one minute of a ticker and session in which a volume print came",
    ("ticker", "session_date", "minute"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "minute": Column(INSTANT, "Its start; it ends before the next one."),
        "known_timestamp": Column(INSTANT, "Its end, from when on the bar was known."),
        "trading_phase": Column(pl.String(), "Phase of the minute, `pre_market` for example."),
        "open": _OPEN,
        "high": _HIGH,
        "low": _LOW,
        "close": _CLOSE,
        "volume": _VOLUME,
        "dollar": _DOLLAR,
        "vwap": _VWAP,
        "trade_count": _TRADE_COUNT,
        "price_count": Column(pl.Int64(), "Price prints among them."),
        "tick_rule_buy_volume": _BUY_VOLUME,
        "tick_rule_sell_volume": _SELL_VOLUME,
        "signed_dollar": Column(pl.Float64(), "Bought less sold by the tick rule, USD."),
        "odd_lot_volume": Column(pl.Float64(), "Shares of volume prints below 100 shares."),
        "trf_volume": Column(pl.Float64(), "Shares printed off exchange, by a TRF."),
        "auction_volume": _AUCTION_VOLUME,
        "has_auction_print": Column(pl.Boolean(), "An auction or cross is among its prints."),
        "realised_variance": _figure(
            "Sum of squared log returns from price print to price print inside the minute; null: "
            "fewer than two."
        ),
    },
)

INFORMATION_BARS: Final = Table(
    "information_bars",
    "one bar of a kind over the regular phase of a ticker and session",
    ("ticker", "session_date", "kind", "bar"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "kind": Column(
            pl.String(),
            "`tick`, `volume`, `dollar`, `tick_imbalance`, `volume_imbalance` or "
            "`dollar_imbalance`.",
        ),
        "bar": Column(pl.UInt32(), "Number of the bar in its session, from 0."),
        "first_print": Column(pl.UInt32(), "Number of its first volume print, from 0."),
        "last_print": Column(pl.UInt32(), "Number of its last one; the next bar follows it."),
        "first_timestamp": Column(INSTANT, "When the SIP received the first print."),
        "last_timestamp": Column(INSTANT, "When the SIP received the last print."),
        "known_timestamp": Column(
            INSTANT, "That instant; the close of the session where nothing else closed the bar."
        ),
        "open": _OPEN,
        "high": _HIGH,
        "low": _LOW,
        "close": _CLOSE,
        "volume": _VOLUME,
        "dollar": _DOLLAR,
        "vwap": _VWAP,
        "trade_count": _TRADE_COUNT,
        "tick_rule_buy_volume": _BUY_VOLUME,
        "tick_rule_sell_volume": _SELL_VOLUME,
        "auction_volume": _AUCTION_VOLUME,
        "theta": Column(
            pl.Float64(),
            "Signed prints, shares or USD since the bar began, whichever the kind counts; of "
            "plain bars their number, shares or USD.",
        ),
        "threshold": Column(
            pl.Float64(), "What `theta` had to reach when the last print came; 0: warm-up."
        ),
        "wanted": Column(
            pl.Float64(), "Prints (T), shares or USD that a bar of the session should have."
        ),
        "threshold_source": Column(
            pl.String(), "`daily_bars` before the session, or `default`: too few of them count."
        ),
        "doublings": Column(
            pl.UInt8(), "Times that `wanted` was doubled because the session has too many bars."
        ),
        "closed_by": Column(
            pl.String(), "`threshold`, `imbalance`, `warm_up`, `cap` or `session_end`."
        ),
    },
)


def _feature(description: str) -> Column:
    return _figure(f"{description}; null: too few bars, or undefined.")


BAR_FEATURES: Final = Table(
    "bar_features",
    "one minute bar of the regular phase, seen with what came before it in its session",
    ("ticker", "session_date", "minute"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "minute": Column(INSTANT, "The bar."),
        "known_timestamp": Column(INSTANT, "End of the minute; nothing later is used."),
        "log_return": _feature("Log of the close over the last close in the session before"),
        "minutes_since_trade": _feature("Minutes from that close's bar to this one"),
        "minutes_since_halt": _feature("Minutes from the end of the last halt of the session"),
        "session_return": _feature("Log of the close over the first open of the session"),
        "vwap_distance": _feature("Close over the session's vwap so far, less 1"),
        "order_imbalance": _feature("Bought less sold over volume, of the minute"),
        "order_imbalance_30": _feature("The same over 30 bars"),
        "realised_volatility_30": _feature("Root of the summed squared log returns of 30 bars"),
        "intensity_30": _feature("Mean `trade_count` of 30 bars"),
        "relative_volume": _feature("Session's shares so far over the median day of 20 before"),
        "roll_spread_30": _feature("Roll's spread, a fraction; null too where it is undefined"),
        "corwin_schultz_30": _feature("Mean signed Corwin-Schultz spread of 30 bars, or 0"),
        "amihud_30": _feature("Mean of absolute log return over dollars, per USD"),
        "kyle_30": _feature("Slope of log returns on signed dollars, with intercept, per USD"),
        "hasbrouck_30": _feature("Slope of log returns on the signed root of dollars, through 0"),
        "vpin": _feature("Mean imbalance of the last 50 buckets of 1/50 of a median day"),
        "odd_lot_share": _feature("Odd lots over volume, of the minute"),
        "trf_share": _feature("Off-exchange shares over volume, of the minute"),
    },
)

_EVENT: Final = Column(pl.String(), "Name of the event, `E1_VolExplosion` for example.")
_DECIDED: Final = Column(
    INSTANT, "Known time of the decision: the latest of its event and of the selection of the row."
)

INTRADAY_EVENTS: Final = Table(
    "intraday_events",
    "one event of a chosen ticker and session, when it was known, and what prints say of it",
    ("ticker", "session_date", "event"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "event": _EVENT,
        "known_timestamp": Column(
            INSTANT,
            "From when on the event was known, included: a print of the regular phase for E2, E3, "
            "E8 and E9 that prints confirm, else the end of the after-hours.",
        ),
        "known_price": _figure("Price of that print, USD; null: the bar told, no print."),
        "is_confirmed": Column(
            pl.Boolean(),
            "E3 and E9: at least two live prints at or beyond the level; E2 and E8: the first "
            "price print opens as the bar does; null: `reason` says why nobody can say.",
            nullable=True,
        ),
        "reason": Column(
            pl.String(),
            "`daily_bar`: prints are not asked; `not_proven`: the session is not in the lake; "
            "`no_open`: no price print; `no_bar`: no daily bar; `opens_differ`: by more than "
            "0.5 %; null: prints told.",
            nullable=True,
        ),
        "open_used": _figure("First price print of the regular phase, USD; null: none."),
        "level": _figure("Price to reach, USD; null: E3 and E9 alone."),
        "extreme": _figure("Live print farthest that way, USD; null: none."),
        "prints_beyond": Column(
            pl.Int64(), "Live prints at or beyond it; null: not asked.", nullable=True
        ),
        "shares_beyond": _figure("Their shares; null: not asked."),
        "minutes_beyond": Column(
            pl.Int64(), "Minutes that hold one of them; null: not asked.", nullable=True
        ),
    },
)

DECISIONS: Final = Table(
    "decisions",
    "one instant at which events of a ticker and session could be acted on",
    ("ticker", "known_timestamp"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "known_timestamp": _DECIDED,
        "events": Column(pl.List(pl.String()), "Events decided on then, in E order."),
        "known_events": Column(
            pl.List(pl.String()), "Events of the session known by then, in E order."
        ),
        "is_intraday": Column(pl.Boolean(), "Known early enough for an entry the same session."),
        "entry_session": Column(pl.Date(), "Session in which an entry is looked for."),
        "decision_timestamp": Column(INSTANT, "First instant at which an entry may be."),
        "known_price": _figure("Last price known then, USD; null: no usable bar."),
        "sigma": _figure(
            "Root mean square of 20 daily log returns, the last one up to `known_price`; null: "
            "fewer than 10 within 40 sessions."
        ),
        "day_volume": _figure(
            "Median shares of the 20 usable bars before, or those of the event's session where "
            "they are known and more; null: no bar."
        ),
        "half_spread": Column(
            pl.Float64(), "Estimated half spread as a fraction of the price, from what was known."
        ),
        "is_selection_point_in_time": Column(
            pl.Boolean(), "No ranking of tickers used events of this session or later."
        ),
    },
)

LABELS: Final = Table(
    "labels",
    "one decision, event and side: what became of a trade",
    ("ticker", "known_timestamp", "event", "side"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "known_timestamp": _DECIDED,
        "event": _EVENT,
        "side": Column(pl.Int8(), "1: bought first; -1: sold first."),
        "is_event_side": Column(pl.Boolean(), "The side that the settings give the event."),
        "is_dataset_row": Column(
            pl.Boolean(), "The longest horizon of the decision, and bought: one a decision."
        ),
        "horizon": Column(pl.Int16(), "Sessions after that of the event until time is up."),
        "outcome": Column(
            pl.String(),
            "`profit`, `stop`, `time`; without a return: `no_entry`, `no_exit`, `no_target`, "
            "`cut` (a session until the end of the horizon is not proven).",
        ),
        "reason": Column(
            pl.String(),
            "Of `no_entry`: `not_in_lake`, `no_print`, `halted`, `no_horizon`; of `cut`: "
            "`not_proven`, `unknown_split`; null: none is needed.",
            nullable=True,
        ),
        "barrier": _figure("Return that is profit, or stop below 0; null: no target."),
        "entry_session": Column(pl.Date(), "Session in which an entry was looked for."),
        "entry_timestamp": Column(INSTANT, "Print of the entry; null: none.", nullable=True),
        "entry_price": _figure("Its price, USD; null: none."),
        "vertical_timestamp": Column(INSTANT, "When time is up; null: no entry.", nullable=True),
        "exit_timestamp": Column(INSTANT, "Print of the exit; null: none.", nullable=True),
        "exit_session": Column(pl.Date(), "Session of the exit; null: none.", nullable=True),
        "exit_price": _figure("Its price in shares of the entry, USD; null: none."),
        "gross_return": _figure("Of the side, from print to print; null: no exit."),
        "net_return": _figure("The same after costs; null: no exit."),
        "concurrency": _figure(
            "Mean of the dataset's labels of the ticker over its minutes; null: no exit."
        ),
        "uniqueness": _figure("Mean of one over them; null: no exit."),
        "attribution": _figure(
            "Absolute sum of its minute returns, each over the labels that share it; it knows the "
            "outcome; null: no exit."
        ),
    },
)

WIN_RATES: Final = Table(
    "win_rates",
    "one event on its side, and all decisions together in the last row",
    ("event",),
    {
        "event": Column(pl.String(), "Name of the event, or `all_decisions`."),
        "side": Column(pl.Int8(), "1: bought first; -1: sold first."),
        "decisions": Column(pl.Int64(), "Decisions with a return, which every n counts."),
        "sessions": Column(pl.Int64(), "Entry sessions among them."),
        "tickers": Column(pl.Int64(), "Tickers among them."),
        "cut": Column(pl.Int64(), "Decisions without one, because a session is not proven."),
        "no_entry": Column(pl.Int64(), "Decisions that found no entry."),
        "no_exit": Column(pl.Int64(), "Decisions that found no exit."),
        "no_target": Column(pl.Int64(), "Decisions without a volatility."),
        "profit_share": _figure("Share that reached profit; null: no decision."),
        "win_rate": _figure("Share with a net return above 0; null: no decision."),
        "wilson_low": _figure("Wilson 95 %, as if independent; null: none."),
        "wilson_high": _figure("Its upper end; null: none."),
        "clustered_low": _figure(
            "95 % by drawing whole entry sessions; null: fewer than 20 of them."
        ),
        "clustered_high": _figure("Its upper end; null: the same."),
        "lowest_without_a_ticker": _figure(
            "Lowest win rate when one ticker is left out; null: one."
        ),
        "highest_without_a_ticker": _figure("Highest one; null: there is one ticker."),
        "mean_net_return": _figure("Mean; null: no decision."),
        "median_net_return": _figure("Median; null: no decision."),
        "p_value": _figure(
            "Of a mean above 0, one-sided, by the same draws; null: fewer than 20 sessions."
        ),
        "p_holm": _figure("The same, corrected by Holm over the 11 events; null: none."),
    },
)

EVENT_FEATURES: Final = Table(
    "event_features",
    "one decision, seen with what was known then",
    ("ticker", "known_timestamp"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "known_timestamp": _DECIDED,
        "known_event_count": Column(pl.UInt32(), "Events of the session known by then."),
        "minutes_since_open": _feature("Minutes from the open to then, at most to the close"),
        "gap": _feature("First regular price over the close before, less 1"),
        "session_return": _feature("Log of the last regular price over the first"),
        "distance_from_high": _feature("Last regular price over the highest, less 1"),
        "distance_from_low": _feature("Last regular price over the lowest, less 1"),
        "vwap_distance": _feature("Last regular price over the session's vwap, less 1"),
        "relative_volume": _feature("Shares so far over the median day of 20 before"),
        "dollar_volume": _feature("USD traded so far"),
        "pre_market_share": _feature("Shares before the open over all so far"),
        "order_imbalance": _feature("Bought less sold by the tick rule over shares so far"),
        "odd_lot_share": _feature("Odd lots over shares so far"),
        "trf_share": _feature("Off-exchange shares over shares so far"),
        "auction_share": _feature("Shares of auctions and crosses over shares so far"),
        "realised_volatility": _feature("Root of the variance of regular minutes so far"),
        "halts": _feature("Halts of the session that were over by then"),
        "sigma": _feature("`sigma` of the decision, a day"),
        "half_spread": _feature("`half_spread` of the decision"),
        "return_5": _feature("Log return of the 5 sessions before"),
        "distance_from_high_20": _feature("Close before over the highest of 20, less 1"),
        "median_dollar_volume": _feature("Median of close times shares of the 20 bars before, USD"),
    },
)

EVENT_OUTCOMES: Final = Table(
    "event_outcomes",
    "one decision and session after its event: what came later, and no dataset may hold",
    ("ticker", "known_timestamp", "offset"),
    {
        "ticker": TICKER,
        "session_date": SESSION_DATE,
        "known_timestamp": _DECIDED,
        "offset": Column(pl.Int16(), "Sessions after that of the event, from 1."),
        "outcome_session": Column(pl.Date(), "That session."),
        "close_return": _figure(
            "Its close over `known_price`, less 1, splits undone; null: no usable bar."
        ),
        "high_return": _figure("The same of its high."),
        "low_return": _figure("The same of its low."),
        "volume_ratio": _figure("Shares over the median day before the event; null: none."),
    },
)

RESEARCH_TABLES: Final = {
    table.name: table
    for table in (
        HALTS,
        MINUTE_BARS,
        INFORMATION_BARS,
        BAR_FEATURES,
        INTRADAY_EVENTS,
        DECISIONS,
        LABELS,
        WIN_RATES,
        EVENT_FEATURES,
        EVENT_OUTCOMES,
    )
}
"""Every table of research by name."""

ONE_FILE_TABLES: Final = tuple(
    table.name
    for table in (
        INTRADAY_EVENTS,
        DECISIONS,
        EVENT_FEATURES,
        EVENT_OUTCOMES,
        LABELS,
        WIN_RATES,
    )
)
"""Tables that are one file; the others have a file a month."""
