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
KNOWN_TIMESTAMP: Final = Column(INSTANT, "From when on the row was known, included.")

_OPEN: Final = Column(pl.Float64(), "First price print, USD; null: there is none.", nullable=True)
_HIGH: Final = Column(pl.Float64(), "Highest range print, USD; null: none.", nullable=True)
_LOW: Final = Column(pl.Float64(), "Lowest range print, USD; null: none.", nullable=True)
_CLOSE: Final = Column(pl.Float64(), "Last price print, USD; null: none.", nullable=True)
_VOLUME: Final = Column(pl.Float64(), "Shares of all volume prints.")
_DOLLAR: Final = Column(pl.Float64(), "Price times size of all volume prints, USD.")
_VWAP: Final = Column(
    pl.Float64(), "`dollar` over `volume`, USD; null: volume is 0.", nullable=True
)
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
        "realised_variance": Column(
            pl.Float64(),
            "Sum of squared log returns from price print to price print inside the minute; null: "
            "fewer than two.",
            nullable=True,
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
    return Column(pl.Float64(), f"{description}; null: too few bars, or undefined.", nullable=True)


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

RESEARCH_TABLES: Final = {
    table.name: table for table in (HALTS, MINUTE_BARS, INFORMATION_BARS, BAR_FEATURES)
}
"""Every table of research by name."""
