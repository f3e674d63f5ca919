import threading
from pathlib import Path

import pytest

from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
)
from smallcaps_assets.lake.home.identity import (
    LakeIdentity,
    LakeSource,
    describe_source,
    open_lake,
    read_identity,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem
from smallcaps_assets.schemas import SCHEMA_VERSION
from smallcaps_assets_tests.lake.disks import Crash, ScriptedDisk

FS = FileSystem()
POLYGON = LakeSource("vendor", "polygon")
SEED_1 = LakeSource("emulator", "seed=1")


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.polygon.io", "polygon"),
        ("https://api.massive.com", "polygon"),
        ("https://API.Massive.com./", "polygon"),
        ("http://127.0.0.1:8080", "loopback"),
        ("http://127.8.8.8", "loopback"),
        ("http://localhost:1", "loopback"),
        ("http://vendor.localhost", "loopback"),
        ("http://[::1]:9", "loopback"),
        ("http://10.0.0.7:8080/api", "10.0.0.7"),
        ("https://proxy.example.com:444", "proxy.example.com"),
    ],
)
def test_describe_source_names_a_vendor_by_its_host(base_url: str, name: str) -> None:
    assert describe_source("vendor", base_url=base_url) == LakeSource("vendor", name)


def test_describe_source_names_the_emulator_by_its_market_and_not_by_its_port() -> None:
    one = describe_source("emulator", base_url="http://127.0.0.1:1", seed=1)
    other = describe_source("emulator", base_url="http://127.0.0.1:2", seed=1)

    assert one == other == SEED_1
    assert str(one) == "emulator:seed=1"


def test_describe_source_names_a_replay_by_its_folder(tmp_path: Path) -> None:
    source = describe_source("emulator", base_url="", replay=tmp_path / "x" / ".." / "flat")

    assert source.name == f"replay={(tmp_path / 'flat').resolve().as_posix()}"


@pytest.mark.parametrize(("kind", "base_url"), [("tape", "http://a"), ("vendor", "nowhere")])
def test_describe_source_refuses_what_is_none(kind: str, base_url: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        describe_source(kind, base_url=base_url)


def test_open_lake_creates_it_once(tmp_path: Path) -> None:
    layout = LakeLayout(tmp_path / "deep/data")

    created = open_lake(layout, FS, SEED_1)

    assert open_lake(layout, FS, SEED_1) == created == read_identity(layout, FS)
    assert created.source == SEED_1
    assert created.schema_version == SCHEMA_VERSION


@pytest.mark.parametrize(
    "other",
    [POLYGON, LakeSource("emulator", "seed=2"), LakeSource("vendor", "loopback")],
    ids=str,
)
def test_open_lake_refuses_another_source(tmp_path: Path, other: LakeSource) -> None:
    layout = LakeLayout(tmp_path)
    open_lake(layout, FS, SEED_1)

    with pytest.raises(PartitionConflictError, match=f"emulator:seed=1.*{other}.*SMALLCAPS_"):
        open_lake(layout, FS, other)


def test_open_lake_refuses_newer_tables(tmp_path: Path) -> None:
    layout = LakeLayout(tmp_path)
    open_lake(layout, FS, SEED_1)
    text = layout.identity_file.read_text()
    newer = text.replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 999')
    layout.identity_file.write_text(newer)

    with pytest.raises(PartitionConflictError, match=r"version 999.*update smallcaps-assets"):
        open_lake(layout, FS, SEED_1)


@pytest.mark.parametrize("text", [b"", b"{", b'{"kind": "vendor"}', b"\xff\xfe"], ids=repr)
def test_open_lake_refuses_a_damaged_identity(tmp_path: Path, text: bytes) -> None:
    layout = LakeLayout(tmp_path)
    open_lake(layout, FS, SEED_1)
    layout.identity_file.write_bytes(text)

    with pytest.raises(LedgerMismatchError, match=r"lake\.json is damaged"):
        open_lake(layout, FS, SEED_1)


@pytest.mark.parametrize("folder", ["segments/2024-03", "trades/ticker=ABCD"])
def test_open_lake_adopts_no_sessions_of_an_unknown_source(tmp_path: Path, folder: str) -> None:
    layout = LakeLayout(tmp_path)
    layout.object_file(folder).mkdir(parents=True)

    with pytest.raises(PartitionConflictError, match=r"lake\.json is gone"):
        open_lake(layout, FS, SEED_1)

    assert not layout.identity_file.exists()


def test_read_identity_needs_a_lake(tmp_path: Path) -> None:
    with pytest.raises(MissingPartitionError, match=r"lake\.json"):
        read_identity(LakeLayout(tmp_path), FS)


def test_processes_that_create_a_lake_at_once_agree(tmp_path: Path) -> None:
    layout = LakeLayout(tmp_path)
    outcomes: list[LakeIdentity | PartitionConflictError] = []

    def create(seed: int) -> None:
        try:
            outcomes.append(open_lake(layout, FS, LakeSource("emulator", f"seed={seed}")))
        except PartitionConflictError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=create, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [outcome for outcome in outcomes if isinstance(outcome, LakeIdentity)]
    assert len(outcomes) == 4
    assert winners == [read_identity(layout, FS)]


class Overtaken(FileSystem):
    """A disk on which another process begins the lake while this one looks for it."""

    def read(self, path: Path) -> bytes:
        """Find no identity, which is there a moment later."""
        if path.name == "lake.json" and not path.exists():
            open_lake(LakeLayout(path.parent.parent), FS, SEED_1)
            raise MissingPartitionError(f"expected a file, found none: {path}")
        return super().read(path)


def test_a_lake_that_another_process_has_just_begun_is_not_gone(tmp_path: Path) -> None:
    layout = LakeLayout(tmp_path)

    found = open_lake(layout, Overtaken(), SEED_1)

    assert found == read_identity(layout, FS)


def test_a_kill_while_creating_leaves_no_half_identity(tmp_path: Path) -> None:
    """L13: the next start creates the lake, or finds it whole."""
    for crash_at in range(30):
        layout = LakeLayout(tmp_path / str(crash_at))
        try:
            open_lake(layout, ScriptedDisk(crash_at=crash_at), SEED_1)
        except Crash:
            assert open_lake(layout, FS, SEED_1).source == SEED_1
        else:
            break
    assert 3 < crash_at < 29
