"""Segments beside writers that sleep for days, and on a storage whose answers get lost."""

import contextlib
import functools
import itertools
from collections.abc import Callable
from typing import Final

from campaigns.ground import Part
from campaigns.segment_ground import (
    PROMISE,
    SHAPE,
    TICKERS,
    download,
    find_problems,
    finish,
    list_proven,
    list_sizes,
    live,
    spread,
)
from smallcaps_assets.core.segments.upkeep import REST_NS
from smallcaps_assets.errors import LakeError, StorageError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.reading import read_month, survey_month
from smallcaps_assets.lake.upkeep.healing import heal_month
from smallcaps_assets.lake.upkeep.packing import pack_month, remove_displaced, remove_strays
from smallcaps_assets.lake.upkeep.proving import audit_month
from smallcaps_assets.schemas import ENTRIES
from smallcaps_assets_tests.lake.disks import Crash
from smallcaps_assets_tests.lake.memory_storage import LostAnswers, MemoryStorage
from smallcaps_assets_tests.lake.segments.lake_of_segments import (
    MONTH,
    SOURCE,
)

TOUCHED: Final = TICKERS[:4]
OTHERS: Final = TOUCHED[1:]
"""Tickers of these cases, and those of which something is there before."""


def run_lost_answers(limit: int) -> Part:
    """Do each operation, then say that it failed."""
    part = Part("segments: a storage that does the operation and then raises", PROMISE)
    counting = MemoryStorage()
    count = LostAnswers(counting, fail_at=10**9)
    _live_in_memory(counting)
    for point in spread(0, count.count - 1, limit):
        storage = MemoryStorage()
        LostAnswers(storage, fail_at=point)
        problems = ["nothing was said"]
        try:
            _live_in_memory(storage)
        except StorageError:
            problems = []
        storage.after = lambda _: None
        part.check(f"operation {point}", problems + find_problems(SegmentLake(storage, SOURCE)))
    part.notes = f"{count.count} operations in all"
    return part


def run_sleepers(limit: int) -> Part:
    """Stop a writer, or a packing, at each operation for days in which everything else is done.

    Then it goes on, or never does: the orphan of a kill, and SIGSTOP before a record.
    """
    name = "segments: a writer or a packing stopped at each operation for three days"
    part = Part(name, "what it left is not believed, what it says later neither loses nor hides")
    for actor in (_write_all, _pack):
        total = _count_operations(actor)
        for point in spread(0, total - 1, limit):
            for is_killed, others in itertools.product((False, True), (TOUCHED[:3], OTHERS)):
                case = f"{actor.__name__} at operation {point}, killed: {is_killed}, {others}"
                part.check(case, _sleep(actor, point, others, is_killed=is_killed))
    return part


def _live_in_memory(storage: MemoryStorage) -> None:
    def age() -> None:
        storage.now_ns += 2 * REST_NS

    live(SegmentLake(storage, SOURCE), age)


def _write_all(lake: SegmentLake) -> None:
    download(lake, TOUCHED[:2], is_one=False)


def _pack(lake: SegmentLake) -> None:
    pack_month(lake, MONTH, shape=SHAPE, is_forced=True)


@functools.cache
def _prepare_objects() -> dict[str, tuple[bytes, int]]:
    storage = MemoryStorage()
    for ticker in OTHERS:
        download(SegmentLake(storage, SOURCE), [ticker])
    return storage.objects


def prepare_storage() -> MemoryStorage:
    """Return a storage in which others have written already."""
    return MemoryStorage(_prepare_objects())


def _count_operations(actor: Callable[[SegmentLake], None]) -> int:
    storage = prepare_storage()
    count = LostAnswers(storage, fail_at=10**9)
    actor(SegmentLake(storage, SOURCE))
    return count.count


def _sleep(
    actor: Callable[[SegmentLake], None],
    point: int,
    others: tuple[str, ...],
    *,
    is_killed: bool,
) -> list[str]:
    """Stop an actor while others download; they ask for what it asked for, or for other things."""
    storage = prepare_storage()
    lake = SegmentLake(storage, SOURCE)
    left = [point]

    def pause(_: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            return
        storage.before = lambda _: None
        _pass_days(storage, others)
        if is_killed:
            raise Crash

    storage.before = pause
    # A packing whose parts were taken for strays says so, and leaves the month as it was; the old
    # parts may be gone as well where another one packed the month meanwhile.
    problems = []
    with contextlib.suppress(Crash, LakeError):
        actor(lake)
        problems = _find_open(lake, TOUCHED if actor is _write_all else OTHERS)
    storage.before = lambda _: None
    return problems + settle(lake)


def _find_open(lake: SegmentLake, tickers: tuple[str, ...]) -> list[str]:
    """Return what is not proven after somebody came to a good end."""
    wanted = {key for ticker in tickers for key in list_sizes(ticker)}
    return [f"lost: {key}" for key in sorted(wanted - list_proven(read_month(lake, MONTH)))]


def _pass_days(storage: MemoryStorage, tickers: tuple[str, ...]) -> None:
    """Do everything that may be done while somebody sleeps: strays are seen, then removed."""
    lake = SegmentLake(storage, SOURCE)
    sighted: dict[str, int] = {}
    for _ in range(3):
        storage.now_ns += REST_NS + 10**9
        download(lake, tickers, is_one=False)
        pack_month(lake, MONTH, shape=SHAPE, is_forced=True)
        remove_displaced(lake, MONTH)
        remove_strays(lake, read_month(lake, MONTH), (), sighted)


def settle(lake: SegmentLake) -> list[str]:
    """Heal and download; what was not named before must not have been wrong."""
    month = survey_month(lake, MONTH)
    named = {one.kind for one in audit_month(lake, month)} - {"stray"}
    problems = [f"damaged: {named}"] if named - {"missing_part"} else []
    open_keys = set(month.winners.select("ticker", "session_date").rows()) - list_proven(month)
    if open_keys and "missing_part" not in named:
        problems.append(f"lost silently: {sorted(open_keys)}")
    heal_month(lake, MONTH, ENTRIES.empty())
    return problems + finish(lake, TOUCHED)
