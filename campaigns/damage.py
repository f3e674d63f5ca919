"""Damage at rest: every one must be found, and named."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from campaigns.ground import Ground, Part
from smallcaps_assets.ingest.lakehouse import Lakehouse
from smallcaps_assets.ingest.repair import repair_lake
from smallcaps_assets.lake.layout import RECEIPT_NAME
from smallcaps_assets_tests.lakehouse_factories import download_plan

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
    parts = []
    for name, (damage, full, short) in KINDS.items():
        part = Part(f"damage at rest: {name}", "found, with its session and kind")
        kinds: Counter[str] = Counter()
        for number in range(short if is_short else full):
            rng = random.Random(f"{name} {number}")
            path = rng.choice(files)
            with restored(path):
                damage(path, rng)
                part.check(f"{name} {number}", find_silent(lakehouse, path, kinds))
        part.notes = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        parts.append(part)
    lakehouse.ledger.close()
    return [*parts, run_old_ledger(ground)]


def find_silent(lakehouse: Lakehouse, path: Path, kinds: Counter[str]) -> list[str]:
    """Return a problem when a damage to the session of ``path`` is not found."""
    facts = repair_lake(lakehouse, is_dry_run=True)
    ticker = path.parents[1].name.removeprefix("ticker=")
    key = f"{ticker}_{path.parent.name.removeprefix('date=')}".replace("%70", "p")
    key = key.replace("%43", "C")
    kinds.update({damage.kind.value for found in facts.damages.values() for damage in found})
    kinds.update(["lost"] * len(facts.lost))
    return [] if facts.keys == [key] else [f"silent: {path.name} of {key}, found {facts.keys}"]


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Put a session's files back afterwards."""
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    try:
        yield
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def run_old_ledger(ground: Ground) -> Part:
    """Restore the ledger of before the download: receipts tell, nothing is asked again."""
    part = Part("a ledger restored from before the download", "0 requests, everything green")
    folder = ground.copy("old_ledger", "whole")
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
        (folder / "lake" / name).unlink(missing_ok=True)
    shutil.copyfile(ground.planned / "lake" / "ledger.sqlite", folder / "lake" / "ledger.sqlite")
    seen = len(ground.server.requests)
    lakehouse = ground.open(folder)
    download_plan(lakehouse)
    requests = len(ground.server.requests) - seen
    left = lakehouse.ledger.missing_keys().height
    lakehouse.ledger.close()
    part.check("old ledger", [f"{requests} requests, {left} missing"] if requests or left else [])
    return part
