"""Whatever happens to a lake, users read exactly what the receipts prove, each row once."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallcaps_assets.core.keys import decode_key
from smallcaps_assets_tests.ingest.month_lakes import (
    KEYS,
    REMOVING,
    compact,
    hash_rows,
    make_month_lake,
    open_month_lake,
    quarantine_session,
    read_rows,
    store_session,
)
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk

pytestmark = pytest.mark.usefixtures("receipt_lakes")

Step = tuple[str, int]

keys = st.integers(0, len(KEYS) - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("store"), keys),
        st.tuples(st.just("fill"), st.just(0)),
        st.tuples(st.just("compact"), st.just(0)),
        st.tuples(st.just("kill"), st.integers(0, 60)),
        st.tuples(st.just("quarantine"), keys),
        st.tuples(st.just("reindex"), st.just(0)),
    ),
    min_size=3,
    max_size=9,
)


class Model:
    """A lake, and what users have to read of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lakehouse = make_month_lake(folder, changes=REMOVING)
        self.hashes: dict[str, str] = {}
        self.seed = 0

    def do(self, name: str, number: int) -> None:
        """Do one thing that happens to lakes."""
        getattr(self, name)(number)

    def fill(self, _number: int) -> None:
        """Store what is missing."""
        for number, key in enumerate(KEYS):
            if key not in self.hashes:
                self.store(number)

    def quarantine(self, number: int) -> None:
        """Move a session aside."""
        if self.hashes.pop(KEYS[number], None):
            quarantine_session(self.lakehouse, KEYS[number])

    def reindex(self, _number: int) -> None:
        """Make the ledger again from the receipts."""
        self.lakehouse.ledger.reindex(self.lakehouse.store.iter_receipts())

    def compact(self, _number: int) -> None:
        """Run the compaction."""
        compact(self.lakehouse)

    def store(self, number: int) -> None:
        """Store a session with rows of its own."""
        key = KEYS[number]
        self.seed += 1
        store_session(self.lakehouse, key, rows=1 + self.seed % 4, seed=self.seed)
        receipt = self.lakehouse.store.read_receipt(*decode_key(key))
        self.hashes[key] = receipt.content_hash

    def kill(self, operations: int) -> None:
        """Compact, and die after some operations; another process continues."""
        self.lakehouse.ledger.close()
        disk = ScriptedDisk(crash_at=operations)
        with contextlib.suppress(Crash):
            compact(open_month_lake(self.folder, disk, changes=REMOVING))
        self.lakehouse = open_month_lake(self.folder, changes=REMOVING)


@given(steps)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.slow
def test_users_read_what_the_receipts_prove_after_any_history(history: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        model = Model(Path(folder) / "data")
        for name, number in history:
            model.do(name, number)
            assert hash_rows(read_rows(model.lakehouse)) == model.hashes, (name, number)
        finish(model)


def finish(model: Model) -> None:
    """Complete the lake, and compact it until nothing is left to be done."""
    model.do("fill", 0)
    for _ in range(3):
        model.do("compact", 0)
    assert hash_rows(read_rows(model.lakehouse)) == model.hashes
    assert not list((model.lakehouse.layout.home.folder / "trades").rglob("trades.parquet"))
    model.lakehouse.ledger.close()
