"""Damage at rest: every one must be found, and named."""

import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from campaigns.ground import Ground, Part
from campaigns.session_files import find_needed, is_parquet
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.operations.audit.audits import audit_lake
from smallcaps_assets.operations.repair.sessions import repair_lake

Damage = Callable[[Path, random.Random], None]


def flip_bit(path: Path, rng: random.Random) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))


def truncate(path: Path, rng: random.Random) -> None:
    """Cut a file anywhere."""
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def delete(path: Path, _: random.Random) -> None:
    """Delete a file."""
    path.unlink()


def swap(path: Path, rng: random.Random) -> None:
    """Put another session's file of the same kind in its place."""
    others = [
        other
        for other in sorted(path.parents[2].rglob("*"))
        if other.is_file()
        and is_parquet(other) == is_parquet(path)
        and other.read_bytes() != path.read_bytes()
    ]
    shutil.copyfile(rng.choice(others), path)


def edit(path: Path, rng: random.Random) -> None:
    """Change one number of a record and leave its seal as it is."""
    seal, entries = pl.read_parquet_metadata(path), pl.read_parquet(path)
    name = rng.choice([name for name, dtype in entries.schema.items() if dtype.is_integer()])
    edited = entries.with_columns(pl.col(name).fill_null(0) + 1)
    edited.write_parquet(path, metadata={"smallcaps": seal["smallcaps"]})


KINDS: dict[str, tuple[Damage, int, int]] = {
    "bit flips": (flip_bit, 1_000, 60),
    "truncations": (truncate, 200, 20),
    "deletions": (delete, 48, 8),
    "swapped files": (swap, 100, 10),
    "edited records": (edit, 100, 10),
}
"""What is done to a file, how often in the campaign, how often in its short form."""


def run_damage(ground: Ground, *, is_short: bool) -> list[Part]:
    """Damage a finished lake in each way; the deep audit must name the file and its sessions."""
    whole = ground.open(ground.folder / "whole")
    needed = {path.relative_to(whole.home.data_dir): v for path, v in find_needed(whole).items()}
    whole.ledger.close()
    parts: list[Part] = []
    for name, (damage, full, short) in KINDS.items():
        part = Part(f"damage at rest: {name}", "found, with its sessions and kind")
        files = sorted(path for path in needed if damage is not edit or not is_parquet(path))
        kinds: Counter[str] = Counter()
        started = time.monotonic()
        for number in range(short if is_short else full):
            rng = random.Random(f"{name} {number}")
            path = rng.choice(files)
            folder = ground.copy("damaged", "whole")
            damage(folder / path, rng)
            lakehouse = ground.open(folder)
            silent = find_silent(lakehouse, folder / path, needed[path], kinds)
            lakehouse.ledger.close()
            part.check(f"{name} {number}", silent)
        part.notes = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        part.seconds = time.monotonic() - started
        parts.append(part)
    return parts


LOSSES = "proofs_are_kept"
"""The check that names sessions whose record is gone, where the ledger remembers records."""


@dataclass(frozen=True)
class Found:
    """What `smallcaps audit --deep` finds damaged.

    Attributes:
        sessions: Kinds of damage, by key of the session.
        files: What it says of files that hold many sessions.
    """

    sessions: dict[str, set[str]]
    files: list[str]

    def names(self, path: Path) -> bool:
        """Say whether a file of many sessions is among them."""
        name = path.name.removesuffix(".record.parquet")
        return any(f"{path.parent.name}/{name}: " in message for message in self.files)


def find_damaged(lakehouse: Lakehouse) -> Found:
    """Find what is damaged, as a new process would."""
    lakehouse.forget_place()
    found: dict[str, set[str]] = defaultdict(set)
    verdicts = audit_lake(lakehouse)
    offenders = verdicts["files_are_undamaged"].offenders
    for ticker, date, kind in offenders.select("ticker", "session_date", "kind").rows():
        if ticker is not None:
            found[encode_key(ticker, date)].add(kind)
    if LOSSES in verdicts:
        for place in verdicts[LOSSES].offenders.select("ticker", "session_date").rows():
            found[encode_key(*place)].add("lost_proof")
    files = offenders.filter(pl.col("ticker").is_null())["message"].to_list()
    return Found(dict(found), files)


def find_silent(
    lakehouse: Lakehouse, path: Path, needed: set[str], kinds: Counter[str]
) -> list[str]:
    """Return a problem unless the audit names the sessions of ``path``, them alone, and a kind.

    Of a part with many sessions those still prove whose rows are elsewhere in it; then the file
    is named.
    """
    found = find_damaged(lakehouse)
    for named in found.sessions.values():
        kinds.update(named)
    keys = set(found.sessions)
    is_shared = is_parquet(path) and found.names(path)
    if keys == needed or (is_shared and keys <= needed):
        return []
    return [f"silent: {path.name} of {sorted(needed)}, found {found}"]


def run_old_copies(ground: Ground) -> Part:
    """Restore the ledger of before the download, or sessions of before under a new ledger."""
    part = Part(
        "a ledger, or sessions, restored from before the download",
        "the audit tells; records are believed, nothing stored is asked again, same content hash",
    )
    for name, restore in (("old ledger", _restore_ledger), ("old sessions", _restore_sessions)):
        folder = ground.copy("restored", "whole")
        gone = restore(ground, folder)
        lakehouse = ground.open(folder)
        verdicts = audit_lake(lakehouse)
        found = set(find_damaged(lakehouse).sessions)
        problems = [f"silent: {sorted(gone)}"] if found != gone else []
        is_covered = verdicts["planned_sessions_are_covered"].passed
        is_behind = lakehouse.ledger.missing_keys().height > 0
        problems += ["silent: an old ledger"] if is_covered and is_behind else []
        repair_lake(lakehouse)
        lakehouse.ledger.close()
        part.check(name, problems + ground.find_problems(folder))
    return part


def _restore_ledger(ground: Ground, folder: Path) -> set[str]:
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
        (folder / "lake" / name).unlink(missing_ok=True)
    shutil.copyfile(ground.planned / "lake" / "ledger.sqlite", folder / "lake" / "ledger.sqlite")
    return set()


def _restore_sessions(ground: Ground, folder: Path) -> set[str]:
    lakehouse = ground.open(folder)
    gone: set[str] = set()
    for path, keys in find_needed(lakehouse).items():
        if any(key.startswith("CON_") for key in keys):
            path.unlink()
            gone |= keys
    lakehouse.ledger.close()
    return gone
