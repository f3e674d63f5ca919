"""Two writers, packing, removal and a reader on one storage, in every order of their operations.

What belongs here: a scheduler under the storage protocol.  What does not: the model
(``segment_ground``), and what one sleeper does to all others (``segment_sleepers``).

Each actor is a thread that waits for its turn before each operation, so a schedule is a list of
actors, and the same list gives the same run.
"""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from campaigns.ground import Part
from campaigns.segment_ground import (
    SHAPE,
    Key,
    download,
    find_untrue,
    list_proven,
    list_sizes,
    spread,
)
from campaigns.segment_sleepers import TOUCHED, prepare_storage, settle
from smallcaps_assets.core.segments.upkeep import REST_NS
from smallcaps_assets.errors import LakeError, MissingPartitionError
from smallcaps_assets.lake.segments.commit import SegmentLake
from smallcaps_assets.lake.segments.reading import read_month, read_rows
from smallcaps_assets.lake.storage.protocol import Stored
from smallcaps_assets.lake.upkeep.packing import pack_month, remove_displaced, remove_strays
from smallcaps_assets_tests.lake.disks import Crash
from smallcaps_assets_tests.lake.memory_storage import MemoryStorage
from smallcaps_assets_tests.lake.segments.lake_of_segments import MONTH, SOURCE

PATIENCE_S: Final = 60
Act = Callable[[SegmentLake, MemoryStorage], None]


class Actor:
    """A thread that does one operation of a storage each time that it is its turn.

    Attributes:
        is_done: It came to its end, or crashed.
        error: What it ended with, other than an end or a crash.
        is_doomed: It crashes at its next operation.
    """

    def __init__(self, act: Act, storage: MemoryStorage) -> None:
        self.is_done = False
        self.is_doomed = False
        self.error: BaseException | None = None
        self._act = act
        self._storage = storage
        self._turn = threading.Semaphore(0)
        self._idle = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> None:
        """Do one operation, and all that follows until the next one."""
        self._turn.release()
        self._wait()

    def _wait(self) -> None:
        if not self._idle.acquire(timeout=PATIENCE_S):
            raise TimeoutError("an actor does not come to its next operation")
        if self.is_done:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._act(SegmentLake(_Turns(self._pass, self._storage), SOURCE), self._storage)
        except Crash:
            pass
        except (LakeError, AssertionError) as error:
            self.error = error
        finally:
            self.is_done = True
            self._idle.release()

    def _pass(self) -> None:
        self._idle.release()
        self._turn.acquire()
        if self.is_doomed:
            raise Crash


class _Turns:
    """A storage that waits for a turn before each operation."""

    def __init__(self, wait: Callable[[], None], storage: MemoryStorage) -> None:
        self._wait = wait
        self._storage = storage

    def save(self, contents: Mapping[str, bytes]) -> None:
        self._wait()
        self._storage.save(contents)

    def load(self, key: str) -> bytes:
        self._wait()
        return self._storage.load(key)

    def load_range(self, key: str, start: int, size: int) -> bytes:
        self._wait()
        return self._storage.load_range(key, start, size)

    def stat(self, key: str) -> Stored | None:
        self._wait()
        return self._storage.stat(key)

    def list_keys(self, prefix: str) -> list[Stored]:
        self._wait()
        return self._storage.list_keys(prefix)

    def remove(self, key: str) -> None:
        self._wait()
        self._storage.remove(key)


def write_first(lake: SegmentLake, _: MemoryStorage) -> None:
    """Download two tickers, one of which another writer asks for as well."""
    download(lake, TOUCHED[:2], is_one=False)


def write_second(lake: SegmentLake, _: MemoryStorage) -> None:
    """Download two tickers likewise."""
    download(lake, TOUCHED[1:3], is_one=False)


def pack(lake: SegmentLake, _: MemoryStorage) -> None:
    """Pack the month; it may say that it has to be run again."""
    pack_month(lake, MONTH, shape=SHAPE, is_forced=True)


def remove(lake: SegmentLake, storage: MemoryStorage) -> None:
    """Look at strays, and a day later remove them and what was displaced."""
    sighted: dict[str, int] = {}
    remove_strays(lake, read_month(lake, MONTH), (), sighted)
    storage.now_ns += REST_NS + 10**9
    remove_displaced(lake, MONTH)
    remove_strays(lake, read_month(lake, MONTH), (), sighted)


def read(lake: SegmentLake, _: MemoryStorage) -> None:
    """Read what is proven; a part that goes meanwhile leads to another look, or to ``reopen``."""
    month = read_month(lake, MONTH)
    rows = read_rows(lake, MONTH, month.proven)
    expected = sum(month.proven["rows"])
    assert rows.height == expected, f"read {rows.height} rows of {expected}"


ACTORS: Final[tuple[Act, ...]] = (write_first, pack, remove, write_second, read)


def run_orders(depth: int, interruptions: int, seeds: int) -> Part:
    """Try orders of operations, each with and without a crash.

    Args:
        depth: Every order of so many first operations.
        interruptions: Orders in which one actor is stopped at any of its operations, another one
            at any of its own, and the others come to their end before these two go on; so many of
            them, evenly spread.
        seeds: Orders at random.
    """
    part = Part(
        "segments: orders of two writers, packing, removal and a reader",
        "each green entry has its part with its hash, or is named and healed; readers see truth",
    )
    numbers = range(len(ACTORS))
    schedules = [list(prefix) for prefix in itertools.product(numbers, repeat=depth)]
    pairs = _list_interruptions()
    schedules += [pairs[place] for place in spread(0, len(pairs) - 1, interruptions)]
    for number, schedule in enumerate(schedules):
        for crash in (None, number % max(1, len(schedule))):
            part.check(f"{schedule}, crash {crash}", play(schedule, crash))
    for seed in range(seeds):
        rng = random.Random(seed)
        schedule = [rng.choice(numbers) for _ in range(200)]
        crash = rng.choice([None, rng.randrange(60)])
        part.check(f"seed {seed}, crash {crash}", play(schedule, crash))
    part.notes = (
        f"all orders to depth {depth}; {min(interruptions, len(pairs)):,} of {len(pairs):,} with "
        f"two interruptions; {seeds} at random"
    )
    return part


def play(schedule: Sequence[int], crash: int | None = None) -> list[str]:
    """Play a schedule to the end of all actors; return what did not hold.

    Args:
        schedule: Actors by number; one that is at its end is passed over, and beyond the schedule
            those go on first that it did not name last.
        crash: Step at which the actor whose turn it is dies; ``None``: nobody does.
    """
    storage = prepare_storage()
    before = list_proven(read_month(SegmentLake(storage, SOURCE), MONTH))
    actors = [Actor(act, storage) for act in ACTORS]
    last = {number: place for place, number in enumerate(schedule)}
    rest = sorted(range(len(ACTORS)), key=lambda number: last.get(number, -1))
    for step, number in enumerate(_iter_turns(actors, schedule, rest)):
        actors[number].is_doomed = step == crash
        actors[number].step()
    return _judge(SegmentLake(storage, SOURCE), actors, before, is_whole=crash is None)


def _iter_turns(
    actors: Sequence[Actor], schedule: Sequence[int], rest: Sequence[int]
) -> Iterator[int]:
    """Yield whose turn it is, until all are at their end."""
    for number in schedule:
        if not actors[number].is_done:
            yield number
    for number in rest:
        while not actors[number].is_done:
            yield number


def _list_interruptions() -> list[list[int]]:
    """List the schedules that stop two actors, each at one of its operations."""
    counts = [_count_steps(number) for number in range(len(ACTORS))]
    return [
        [one] * first + [two] * second
        for one, two in itertools.permutations(range(len(ACTORS)), 2)
        for first in range(1, counts[one])
        for second in range(counts[two])
    ]


def _count_steps(number: int) -> int:
    actor = Actor(ACTORS[number], prepare_storage())
    for count in itertools.count():
        if actor.is_done:
            return count
        actor.step()
    raise AssertionError("no actor goes on for ever")


def _judge(
    lake: SegmentLake, actors: Sequence[Actor], before: set[Key], *, is_whole: bool
) -> list[str]:
    """Say what is wrong at the end of all actors."""
    problems = [
        f"{act.__name__}: {actor.error}"
        for act, actor in zip(ACTORS, actors, strict=True)
        if actor.error and not (act in {read, pack} and _may_say(actor.error))
    ]
    if not is_whole:
        return problems + settle(lake)
    wanted = before | {key for ticker in TOUCHED[:3] for key in list_sizes(ticker)}
    lost = wanted - list_proven(read_month(lake, MONTH))
    return problems + [f"lost: {key}" for key in sorted(lost)] + find_untrue(lake)


def _may_say(error: BaseException) -> bool:
    """Say whether a reader or a packing may end like this: files went away while it looked."""
    return isinstance(error, MissingPartitionError) or "run the same command again" in str(error)
