"""Units of estimates and how figures are written in words.

What belongs here: byte units and the text of bytes, times and shares.  What does not: any
computation of an estimate (``core.budget.estimates``).
1 GB is 1,024 MB of 1,048,576 bytes and 1 TB is 1,000 GB, as in the published figures.
"""

from typing import Final

KB: Final = 1024
MB: Final = 1024 * KB
GB: Final = 1024 * MB
TB: Final = 1000 * GB

_TERABYTES_FROM: Final = 10 * TB
_HOURS_PER_DAY: Final = 24
_SECONDS_PER_HOUR: Final = 3_600
_SECONDS_PER_MINUTE: Final = 60
_DAYS_FROM_H: Final = 100
_MINUTES_ALONE_FROM: Final = 10


def format_count(count: int, noun: str) -> str:
    """Count things in words: ``1 request``, ``1,200 requests``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_bytes(size: float) -> str:
    """Format bytes in the largest unit that suits, ``2,684.6 GB``; many GB in TB as well."""
    if abs(size) >= _TERABYTES_FROM:
        return f"{size / GB:,.1f} GB = {size / TB:,.1f} TB"
    for unit, name in ((GB, "GB"), (MB, "MB"), (KB, "KB")):
        if abs(size) >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,.0f} bytes"


def format_hours(hours: float) -> str:
    """Format hours, and days as well where they are many; less than one in minutes or seconds."""
    if hours < 1:
        seconds = hours * _SECONDS_PER_HOUR
        is_minutes = seconds >= _SECONDS_PER_MINUTE
        return (
            f"{seconds / _SECONDS_PER_MINUTE:,.1f} minutes"
            if is_minutes
            else f"{seconds:,.1f} seconds"
        )
    text = f"{hours:,.2f} hours"
    return text if hours < _DAYS_FROM_H else f"{text} = {hours / _HOURS_PER_DAY:,.1f} days"


def format_duration(seconds: float) -> str:
    """Format a time in the two largest units that suit: ``3 d 4 h``, ``12 min``, ``9 s``."""
    whole = round(seconds)
    days, rest = divmod(whole, _HOURS_PER_DAY * _SECONDS_PER_HOUR)
    hours, rest = divmod(rest, _SECONDS_PER_HOUR)
    minutes, rest = divmod(rest, _SECONDS_PER_MINUTE)
    if days:
        return f"{days:,} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes >= _MINUTES_ALONE_FROM:
        return f"{minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_share(ratio: float) -> str:
    """Format a ratio as per cent with one decimal: ``26.1 %``."""
    return f"{ratio:.1%}".replace("%", " %")
