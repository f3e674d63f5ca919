"""Who holds a lock, in notes beside it.

What belongs here: what a note says, its name, and which notes a dead process left.  What does not:
the lock itself (``lock``).  A note names a holder to people and to those that wait; it decides
nothing.

The one that holds ``lake.lock`` exclusively is named by ``lake.lock.json``, and each of those that
share it by ``lake.lock.PROCESS.TOKEN.json``.
"""

import contextlib
import datetime as dt
import platform
import secrets
from pathlib import Path
from typing import Literal

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json
from smallcaps_assets.errors import LakeError, StorageError
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.lake.storage.processes import (
    Liveness,
    identify_process,
    judge_process,
    parse_identity,
)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock, or waits for it.

    Attributes:
        owner: What it is doing.
        process: Its identity: machine and boot, pid, start.
        pid: Its pid, for people; 0: it left no note.
        host: Its machine, for people.
        since: When it got the lock.
        kind: Whether it downloads, or does anything else.
        run_id: Run of the download; empty: it is none.
        mode: Whether others may share the lock with it.
    """

    owner: str
    process: str
    pid: int
    host: str
    since: dt.datetime
    kind: Literal["download", "upkeep"] = "upkeep"
    run_id: str = ""
    mode: Literal["exclusive", "shared"] = "exclusive"

    def __str__(self) -> str:
        if not self.pid:
            return self.owner
        since = self.since.isoformat(timespec="seconds")
        way = "shared, " if self.mode == "shared" else ""
        return f"{self.owner} ({way}pid {self.pid} on {self.host}, since {since})"

    @property
    def liveness(self) -> Liveness:
        """What can be said of its process."""
        identity = parse_identity(self.process)
        return judge_process(identity) if identity else Liveness.UNKNOWN


def make_holder(owner: str, run_id: str = "", *, shared: bool = False) -> Holder:
    """Make what names this process as a holder from now on."""
    process = identify_process()
    return Holder(
        owner=owner,
        process=str(process),
        pid=process.pid,
        host=platform.node(),
        since=dt.datetime.now(dt.UTC),
        kind="download" if run_id else "upkeep",
        run_id=run_id,
        mode="shared" if shared else "exclusive",
    )


def make_unknown_holder() -> Holder:
    """Make what can be said of a holder that left no note."""
    epoch = dt.datetime.fromtimestamp(0, dt.UTC)
    return Holder(owner="another process", process="", pid=0, host="unknown", since=epoch)


class Notes:
    """The notes beside one lock; a disk that refuses keeps no lock from being held."""

    def __init__(self, lock: Path, fs: FileSystem) -> None:
        """Name the lock; nothing is read or written yet."""
        self._exclusive = lock.with_name(f"{lock.name}.json")
        self._prefix = f"{lock.name}."
        self._fs = fs

    def name(self, holder: Holder) -> Path:
        """Name the note of a holder; each that shares has one of its own."""
        if holder.mode == "exclusive":
            return self._exclusive
        token = secrets.token_hex(4)
        return self._exclusive.with_name(f"{self._prefix}{holder.process}.{token}.json")

    def leave(self, note: Path, holder: Holder) -> None:
        """Leave a note of who holds the lock."""
        with contextlib.suppress(StorageError):
            self._fs.publish({note: msgspec.json.encode(holder)}, root=note.parent)

    def remove(self, note: Path) -> None:
        """Remove a note."""
        with contextlib.suppress(StorageError):
            self._fs.remove(note)

    def read(self) -> list[Holder]:
        """Read who holds the lock, as far as it is known and not dead: downloads first."""
        found = (self._read(note) for note in self._list())
        living = [one for one in found if one and one.liveness is not Liveness.DEAD]
        return sorted(living, key=lambda holder: (holder.kind, holder.since))

    def sweep(self, *, shared: bool) -> None:
        """Remove the notes that a new holder knows to be left by others.

        Beside one that is alone there is no other holder; beside one that shares there is none
        that is alone.  Of those that share, one whose process cannot be judged may live.
        """
        for note in self._list():
            holder = self._read(note) if shared and note != self._exclusive else None
            if holder is None or holder.liveness is Liveness.DEAD:
                self.remove(note)

    def _list(self) -> list[Path]:
        try:
            entries = self._fs.list_folder(self._exclusive.parent, self._prefix)
        except StorageError:
            return []
        notes = [self._exclusive.with_name(entry.name) for entry in entries]
        return [note for note in notes if note == self._exclusive or self._is_shared(note)]

    def _is_shared(self, note: Path) -> bool:
        process, _, rest = note.name.removeprefix(self._prefix).partition(".")
        return rest.endswith(".json") and parse_identity(process) is not None

    def _read(self, note: Path) -> Holder | None:
        try:
            return decode_json(self._fs.read(note), Holder)
        except (LakeError, *DECODER_FAULTS):
            return None
