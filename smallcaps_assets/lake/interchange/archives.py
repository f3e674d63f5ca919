"""Archives of other downloaders: what lies in their folders, in two layouts.

What belongs here: the walk through them, which trusts no name. What does not: their files
(``archive_files``), what the rows are worth (``core.archive.sessions``), and storing them
(``ingest``).

Nothing outside the folder is ever looked at: a symbolic link is reported and not followed, and a
name that is no ticker or date is reported and not entered.
"""

import datetime as dt
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smallcaps_assets.core.archive.sessions import ArchiveFile
from smallcaps_assets.core.keys import check_ticker, encode_key
from smallcaps_assets.errors import ConfigError, DataError
from smallcaps_assets.lake.interchange.archive_files import ArchivedFile
from smallcaps_assets.lake.interchange.export_folders import PHASE_FILES
from smallcaps_assets.lake.paths.names import (
    DATE_PREFIX,
    RECEIPT_NAME,
    TICKER_PREFIX,
    TRADES_NAME,
    decode_ticker,
    find_date,
)

_NO_TICKERS: Final = re.compile(r"(date|year|month|day)=.*")
_YEAR: Final = re.compile(r"year=(\d{4})")
_MONTH: Final = re.compile(r"month=(\d{1,2})")
_DAY_PREFIX: Final = "day="
_PHASES: Final = {name: phase for phase, name in PHASE_FILES.items()}


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """The files of one session of an archive.

    Attributes:
        ticker: Vendor's symbol, by the name of the folder.
        session_date: New York date, by the name of the folder.
        files: One, or one a trading phase.
    """

    ticker: str
    session_date: dt.date
    files: tuple[ArchivedFile, ...]

    @property
    def key(self) -> str:
        """The partition key."""
        return encode_key(self.ticker, self.session_date)

    @property
    def fingerprint(self) -> str:
        """A hash of names, sizes and times: equal files were looked at before."""
        facts = [(file.facts.name, file.bytes, file.changed_ns) for file in self.files]
        return hashlib.sha256(repr(facts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Stray:
    """Something in an archive that is no file of a session.

    Attributes:
        name: Where it lies, relative to the archive.
        message: Why it is not looked at.
    """

    name: str
    message: str


def open_archive(folder: Path, own: Iterable[Path]) -> Path:
    """Find the folder of an archive, with all links in its own path resolved.

    Raises:
        ConfigError: It is no folder, or overlaps with a folder of the lake's ``own``.
    """
    try:
        root = folder.resolve(strict=True)
    except OSError as error:
        raise ConfigError(f"expected a folder of an archive, got {folder}: {error}") from error
    if not root.is_dir():
        raise ConfigError(f"expected a folder of an archive, got the file {folder}")
    for path in (path.resolve() for path in own):
        if root.is_relative_to(path) or path.is_relative_to(root):
            raise ConfigError(
                f"{folder} and {path} of the lake lie in one another: expected an archive apart "
                "from the lake"
            )
    return root


def walk_archive(root: Path) -> Iterator[SessionFiles | Stray]:
    """Yield every session of an archive by ticker and date, and what is not one.

    Memory is bounded by the folders of one ticker.  The root is one of :func:`open_archive`.
    """
    walk = _Walk(root)
    for entry in walk.enter(root):
        if isinstance(entry, Stray):
            yield entry
            continue
        try:
            ticker = _parse_ticker(entry.name)
        except DataError as error:
            yield Stray(entry.name, str(error))
            continue
        yield from walk.walk_ticker(entry, ticker)


class _Walk:
    """One walk through an archive, which remembers what it has met.

    Where a session lies in several places, the first by name is taken: a date before a year.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tickers: dict[str, str] = {}
        self._dates: dict[dt.date, str] = {}

    def enter(self, folder: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str] | Stray]:
        """Yield what lies in a folder, in order of names, but for what file managers leave."""
        try:
            if not isinstance(folder, Path) and not folder.is_dir(follow_symlinks=False):
                yield self._refuse(folder)
                return
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            yield Stray(self._relate(folder), f"cannot be read: {error.strerror}")
            return
        yield from sorted(visible, key=lambda entry: entry.name)

    def walk_ticker(self, folder: os.DirEntry[str], ticker: str) -> Iterator[SessionFiles | Stray]:
        """Yield the sessions of a ticker."""
        first = self._tickers.setdefault(ticker, folder.name)
        if first != folder.name:
            yield Stray(folder.name, f"{ticker} has another folder, {first}")
            return
        self._dates.clear()
        for entry in self.enter(folder):
            if isinstance(entry, Stray):
                yield entry
            elif _YEAR.fullmatch(entry.name):
                yield from self._walk_year(entry, ticker)
            elif (session_date := find_date(entry.name)) is not None:
                yield from self._list_session(entry, ticker, session_date)
            else:
                yield self._reject(entry, "date=YYYY-MM-DD or year=YYYY")

    def _walk_year(self, year: os.DirEntry[str], ticker: str) -> Iterator[SessionFiles | Stray]:
        for month in self.enter(year):
            if isinstance(month, Stray):
                yield month
            elif _MONTH.fullmatch(month.name):
                yield from self._walk_month(month, year.name, ticker)
            else:
                yield self._reject(month, "month=MM")

    def _walk_month(
        self, month: os.DirEntry[str], year: str, ticker: str
    ) -> Iterator[SessionFiles | Stray]:
        for day in self.enter(month):
            if isinstance(day, Stray):
                yield day
            elif (session_date := _parse_day(day.name, month.name, year)) is not None:
                yield from self._list_session(day, ticker, session_date)
            else:
                yield self._reject(day, f"day=YYYY-MM-DD of {year}/{month.name}")

    def _list_session(
        self, folder: os.DirEntry[str], ticker: str, session_date: dt.date
    ) -> Iterator[SessionFiles | Stray]:
        """Yield the files of one session, and what else lies beside them."""
        place = self._relate(folder)
        first = self._dates.setdefault(session_date, place)
        if first != place:
            yield Stray(place, f"the session lies in {first} too, which is taken")
            return
        is_whole_day = folder.name.startswith(DATE_PREFIX)
        names: Mapping[str, str | None] = {TRADES_NAME: None} if is_whole_day else _PHASES
        found = [self._judge_entry(entry, names) for entry in self.enter(folder)]
        yield from (entry for entry in found if isinstance(entry, Stray))
        entries = {entry.name: entry for entry in found if not isinstance(entry, Stray)}
        has_mark = entries.pop(RECEIPT_NAME, None) is not None or not is_whole_day
        if entries:
            files = (self._look_at(entry, names, has_mark=has_mark) for entry in entries.values())
            yield SessionFiles(ticker, session_date, tuple(files))
        elif not any(isinstance(entry, Stray) for entry in found):
            yield Stray(place, f"expected {' or '.join(names)} in it")

    def _judge_entry(
        self, entry: os.DirEntry[str] | Stray, names: Mapping[str, str | None]
    ) -> os.DirEntry[str] | Stray:
        """Pass on an entry of a session's folder if it is one of its files, or say why not."""
        if isinstance(entry, Stray):
            return entry
        try:
            # The answer is kept by the entry, so a file that goes later is no surprise.
            is_file = stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
        except OSError as error:
            return Stray(self._relate(entry), f"cannot be read: {error.strerror}")
        if not is_file:
            return self._refuse(entry)
        if entry.name in names or entry.name == RECEIPT_NAME:
            return entry
        return self._reject(entry, " or ".join(names))

    def _look_at(
        self, entry: os.DirEntry[str], names: Mapping[str, str | None], *, has_mark: bool
    ) -> ArchivedFile:
        facts = entry.stat(follow_symlinks=False)
        shown = ArchiveFile(self._relate(entry), names[entry.name], has_mark)
        return ArchivedFile(Path(entry.path), shown, facts.st_size, facts.st_mtime_ns)

    def _refuse(self, entry: os.DirEntry[str]) -> Stray:
        """Say why something of the wrong kind is not looked at."""
        what = "a symbolic link, not followed" if entry.is_symlink() else "of the wrong kind"
        return Stray(self._relate(entry), what)

    def _reject(self, entry: os.DirEntry[str], expected: str) -> Stray:
        """Say why a name is not looked at."""
        if entry.is_symlink():
            return self._refuse(entry)
        return Stray(self._relate(entry), f"expected {expected}")

    def _relate(self, entry: Path | os.DirEntry[str]) -> str:
        return Path(entry).relative_to(self._root).as_posix()


def _parse_ticker(name: str) -> str:
    """Parse the ticker a folder is called after, written as it is or as the lake writes it.

    Raises:
        DataError: It is called after none.
    """
    if _NO_TICKERS.fullmatch(name):
        raise DataError("expected folders of tickers: give the folder above")
    text = name.removeprefix(TICKER_PREFIX)
    return check_ticker(decode_ticker(text) if "%" in text else text)


def _parse_day(name: str, month: str, year: str) -> dt.date | None:
    """Parse the date of a folder that lies in the month and year it names."""
    session_date = find_date(f"{DATE_PREFIX}{name.removeprefix(_DAY_PREFIX)}")
    if session_date is None or not name.startswith(_DAY_PREFIX):
        return None
    is_there = (f"year={session_date:%Y}", int(month.removeprefix("month="))) == (
        year,
        session_date.month,
    )
    return session_date if is_there else None
