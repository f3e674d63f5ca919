"""Damage at rest: every one must be found, and named."""

import json
import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from campaigns.ground import Ground, Part
from smallcaps_assets.core.keys import encode_key
from smallcaps_assets.lake.paths.names import RECEIPT_NAME, decode_ticker, encode_ticker
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
        for other in sorted(path.parents[2].rglob(path.name))
        if other.read_bytes() != path.read_bytes()
    ]
    shutil.copyfile(rng.choice(others), path)


def edit_receipt(path: Path, rng: random.Random) -> None:
    """Change one number of a receipt and leave its seal as it is."""
    receipt_file = path.with_name(RECEIPT_NAME)
    receipt = json.loads(receipt_file.read_text(encoding="utf-8"))
    name = rng.choice([key for key, value in receipt.items() if type(value) is int])
    receipt[name] += rng.choice([-1, 1])
    receipt_file.write_text(json.dumps(receipt), encoding="utf-8")


KINDS: dict[str, tuple[Damage, int, int]] = {
    "bit flips": (flip_bit, 1_000, 60),
    "truncations": (truncate, 200, 20),
    "deletions": (delete, 48, 8),
    "swapped files": (swap, 100, 10),
    "edited receipts": (edit_receipt, 100, 10),
}
"""What is done to a file, how often in the campaign, how often in its short form."""


def run_damage(ground: Ground, *, is_short: bool) -> list[Part]:
    """Damage a finished lake in each way; the deep audit must name the session."""
    lakehouse = ground.open(ground.copy("damaged", "whole"))
    files = [
        path for path in sorted((lakehouse.layout.lake_dir / "trades").rglob("*")) if path.is_file()
    ]
    parts: list[Part] = []
    for name, (damage, full, short) in KINDS.items():
        part = Part(f"damage at rest: {name}", "found, with its session and kind")
        kinds: Counter[str] = Counter()
        started = time.monotonic()
        for number in range(short if is_short else full):
            rng = random.Random(f"{name} {number}")
            path = rng.choice(files)
            with restored(path):
                damage(path, rng)
                part.check(f"{name} {number}", find_silent(lakehouse, path, kinds))
        part.notes = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        part.seconds = time.monotonic() - started
        parts.append(part)
    lakehouse.ledger.close()
    return parts


def find_damaged(lakehouse: Lakehouse) -> dict[str, set[str]]:
    """Return the kinds of damage that `smallcaps audit --deep` finds, by key of the session."""
    found: dict[str, set[str]] = defaultdict(set)
    offenders = audit_lake(lakehouse)["files_are_undamaged"].offenders
    # Files of months that several sessions share name no session.
    named = offenders.select("ticker", "session_date", "kind").drop_nulls()
    for ticker, date, kind in named.rows():
        found[encode_key(ticker, date)].add(kind)
    return dict(found)


def find_silent(lakehouse: Lakehouse, path: Path, kinds: Counter[str]) -> list[str]:
    """Return a problem unless the audit names the session of ``path``, it alone, and a kind."""
    ticker = decode_ticker(path.parents[1].name.removeprefix("ticker="))
    key = f"{ticker}_{path.parent.name.removeprefix('date=')}"
    found = find_damaged(lakehouse)
    for named in found.values():
        kinds.update(named)
    return [] if list(found) == [key] else [f"silent: {path.name} of {key}, found {found}"]


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Put a session's files back afterwards."""
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    try:
        yield
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def run_old_copies(ground: Ground) -> Part:
    """Restore the ledger of before the download, or sessions of before under a new ledger."""
    part = Part(
        "a ledger, or sessions, restored from before the download",
        "the audit tells; receipts are believed, nothing stored is asked again, same content hash",
    )
    for name, restore in (("old ledger", _restore_ledger), ("old sessions", _restore_sessions)):
        folder = ground.copy("restored", "whole")
        gone = restore(ground, folder)
        lakehouse = ground.open(folder)
        verdicts = audit_lake(lakehouse)
        problems = [f"silent: {sorted(gone)}"] if set(find_damaged(lakehouse)) != gone else []
        is_covered = verdicts["planned_sessions_are_covered"].passed
        problems += ["silent: an old ledger"] if is_covered and not gone else []
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
    shutil.rmtree(folder / "lake" / "trades" / f"ticker={encode_ticker('CON')}")
    return {key for key in ground.keys if key.startswith("CON_")}
