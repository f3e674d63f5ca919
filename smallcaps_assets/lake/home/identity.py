"""One lake, one source: what a lake is bound to, and the refusal of anything else.

What belongs here: ``lake.json`` and the names of sources.  What does not: reaching a source
(``polygon``), or choosing one (``settings``).  Mixing sources in one lake cannot be undone, so
the comparison comes before the first request and the first write.
"""

import datetime as dt
import ipaddress
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from smallcaps_assets.core.documents import DECODER_FAULTS, decode_json, name_fault
from smallcaps_assets.core.vendor import SCENARIOS_MARK, VENDOR_HOSTS
from smallcaps_assets.errors import (
    ConfigError,
    LedgerMismatchError,
    MissingPartitionError,
    PartitionConflictError,
    StorageError,
)
from smallcaps_assets.lake.home.register import (
    RootRegister,
    home_entry,
    read_register,
    write_register,
)
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.paths.trees import Tree
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.schemas import SCHEMA_VERSION
from smallcaps_assets.settings import Source

VENDOR: Final = "polygon"

RECEIPTS_FORMAT: Final = 1
SEGMENTS_FORMAT: Final = 2
"""How ticker-sessions lie: each with a receipt beside it, as earlier versions wrote them, or many
in a segment."""

LOOPBACK: Final = "loopback"
CREATION_WAIT_S: Final = 30.0
"""Longest wait for another process that is creating the same lake."""


@dataclass(frozen=True, slots=True)
class LakeSource:
    """Where the ticks of a lake come from.

    Attributes:
        kind: ``vendor`` or ``emulator``.
        name: Vendor or host; seed or replay folder.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class LakeIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What ``lake.json`` holds.

    Attributes:
        kind: Kind of the source.
        name: Name of the source.
        schema_version: Version of the tables.
        created_at: When the lake was created.
        id: Names the lake, in the register too.
        format: How its ticker-sessions lie: :data:`SEGMENTS_FORMAT`, in an old lake
            :data:`RECEIPTS_FORMAT`.
        adopting: Folder beside the lake that it is taken over from at present; empty: none.
    """

    kind: str
    name: str
    schema_version: int
    created_at: dt.datetime
    id: str = ""
    format: int = RECEIPTS_FORMAT
    adopting: str = ""

    @property
    def source(self) -> LakeSource:
        """The source the lake is bound to."""
        return LakeSource(self.kind, self.name)


def describe_source(
    kind: str,
    *,
    base_url: str,
    seed: int = 0,
    replay: Path | None = None,
    has_scenarios: bool = False,
) -> LakeSource:
    """Name a source as lakes are bound to it.

    The vendor's two addresses are one source, and so are all addresses of this machine: the port
    of an emulator changes with every start, its seed or replay folder does not.

    Args:
        kind: ``vendor`` or ``emulator``.
        base_url: Address of the vendor.
        seed: Seed of the emulator's market.
        replay: Folder that the emulator replays instead.
        has_scenarios: Scenarios are planted in the emulator's market.

    Raises:
        ConfigError: The kind is unknown, or the address has no host.
    """
    if kind == Source.EMULATOR:
        market = f"seed={seed}{SCENARIOS_MARK if has_scenarios else ''}"
        name = market if replay is None else f"replay={replay.resolve().as_posix()}"
        return LakeSource(kind, name)
    if kind != Source.VENDOR:
        raise ConfigError(f"expected a source of {[*map(str, Source)]}, got {kind!r}")
    return LakeSource(kind, _name_host(base_url))


def open_lake(layout: LakeLayout, fs: FileSystem, source: LakeSource) -> LakeIdentity:
    """Open a lake by its identity, which is created when there is none.

    Raises:
        PartitionConflictError: It belongs to another source or a newer version, or it holds
            ticker-sessions and does not say whose.
        LedgerMismatchError: ``lake.json`` is damaged.
        StorageError: The disk refuses.
    """
    try:
        identity = read_identity(layout, fs)
        if not fs.is_file(layout.ledger_file):
            # A kill while it was created may have left it without its register.
            _register_home(layout, fs, identity)
    except MissingPartitionError:
        _refuse_unmounted(layout, fs)
        fs.make_folders(layout.lake_dir, root=find_existing(layout.lake_dir))
        # Who works on the lake already has the lock of the folder.
        creation = LakeLock(layout.lake_dir / ".creation.lock", fs, locks_folder=False)
        with creation.hold("creating the lake", CREATION_WAIT_S):
            identity = _create_unless_there(layout, fs, source)
            _register_home(layout, fs, identity)
    _check_identity(layout, identity, source)
    return identity


def check_lake(layout: LakeLayout, fs: FileSystem, source: LakeSource) -> None:
    """Refuse a lake of another source; one that is not there yet is made by :func:`open_lake`.

    Raises:
        PartitionConflictError: It belongs to another source or a newer version.
        LedgerMismatchError: ``lake.json`` is damaged.
        StorageError: The disk refuses.
    """
    if fs.is_file(layout.identity_file):
        _check_identity(layout, read_identity(layout, fs), source)


def read_identity(layout: LakeLayout, fs: FileSystem) -> LakeIdentity:
    """Read the identity of a lake.

    Raises:
        MissingPartitionError: There is no lake.
        LedgerMismatchError: ``lake.json`` is damaged.
        StorageError: The disk refuses.
    """
    return read_identity_file(layout.identity_file, fs)


def read_identity_file(path: Path, fs: FileSystem) -> LakeIdentity:
    """Read the identity of the lake that a file lies in, and raise as :func:`read_identity` does.

    The lake may lie in a folder of another name.
    """
    try:
        return decode_json(fs.read(path), LakeIdentity)
    except DECODER_FAULTS as error:
        raise LedgerMismatchError(
            f"{path} is damaged ({name_fault(error)}): expected kind, name, schema_version and "
            "created_at: restore it from a copy"
        ) from error


def _create_unless_there(layout: LakeLayout, fs: FileSystem, source: LakeSource) -> LakeIdentity:
    try:
        return read_identity(layout, fs)
    except MissingPartitionError:
        _refuse_anonymous(layout, fs)
    identity = LakeIdentity(
        kind=source.kind,
        name=source.name,
        schema_version=SCHEMA_VERSION,
        created_at=dt.datetime.now(dt.UTC),
        id=uuid.uuid4().hex,
        format=SEGMENTS_FORMAT,
    )
    write_identity(layout, fs, identity)
    return identity


def write_identity(layout: LakeLayout, fs: FileSystem, identity: LakeIdentity) -> None:
    """Replace ``lake.json``, whose folder is there; every process sees the old one or this one.

    Raises:
        StorageError: The disk refuses; the old one stays.
    """
    text = msgspec.json.format(msgspec.json.encode(identity), indent=1)
    fs.publish({layout.identity_file: text}, root=layout.lake_dir)


def _register_home(layout: LakeLayout, fs: FileSystem, identity: LakeIdentity) -> None:
    if identity.id and not fs.is_file(layout.roots_file):
        write_register(layout, fs, RootRegister(roots=(home_entry(identity.id),)))


def _refuse_unmounted(layout: LakeLayout, fs: FileSystem) -> None:
    """Refuse to begin a lake where there was one."""
    is_registered = read_register(layout, fs) is not None
    # Another process may just have begun it: the identity is there before the register.
    if is_registered and not fs.is_file(layout.identity_file):
        raise StorageError(
            f"{layout.identity_file} is gone, and {layout.roots_file.name} says that there was a "
            f"lake: mount the disk of {layout.lake_dir} again, or restore lake.json from a copy; "
            "to start over, set SMALLCAPS_DATA_DIR to an empty folder"
        )


def _refuse_anonymous(layout: LakeLayout, fs: FileSystem) -> None:
    """Refuse to adopt ticker-sessions of nobody knows which source."""
    for name in ("segments", *Tree):
        folder = layout.object_file(name)
        if fs.list_folder(folder):
            raise PartitionConflictError(
                f"{folder} holds ticker-sessions, but {layout.identity_file} is gone: restore "
                "it from a copy, or set SMALLCAPS_DATA_DIR to an empty folder"
            )


def _check_identity(layout: LakeLayout, identity: LakeIdentity, source: LakeSource) -> None:
    if identity.schema_version > SCHEMA_VERSION:
        raise PartitionConflictError(
            f"{layout.lake_dir} has tables of version {identity.schema_version}, this program "
            f"knows up to {SCHEMA_VERSION}: update smallcaps-assets"
        )
    check_format(layout, identity)
    if identity.source != source:
        raise PartitionConflictError(
            f"{layout.lake_dir} is bound to {identity.source}, this process would fetch from "
            f"{source}: set SMALLCAPS_SOURCE and SMALLCAPS_BASE_URL to the lake's source, or "
            "SMALLCAPS_DATA_DIR to another folder"
        )


def check_format(layout: LakeLayout, identity: LakeIdentity) -> None:
    """Refuse a lake whose ticker-sessions nobody here can read, or that is not whole yet.

    Raises:
        PartitionConflictError: An old version wrote it, or a newer one, or it is being taken over.
    """
    if identity.format < SEGMENTS_FORMAT:
        raise PartitionConflictError(
            f"expected a lake of segments in {layout.lake_dir}, found one of format "
            f"{identity.format}, with a file and a receipt for each session: `smallcaps import "
            "--lake` makes it one of segments and asks the vendor for nothing; where "
            f"SMALLCAPS_DATA_DIR is another folder, `smallcaps import --lake {layout.data_dir}`"
        )
    if identity.format > SEGMENTS_FORMAT:
        raise PartitionConflictError(
            f"{layout.lake_dir} is of format {identity.format}, this program knows up to "
            f"{SEGMENTS_FORMAT}: update smallcaps-assets"
        )
    if identity.adopting:
        raise PartitionConflictError(
            f"{layout.lake_dir} is being taken over from {identity.adopting}, and part of it would "
            "read as all of it: finish `smallcaps import --lake` first"
        )


def _name_host(base_url: str) -> str:
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    if not host:
        raise ConfigError(f"expected an address with a host, got {base_url!r}")
    if host in VENDOR_HOSTS:
        return VENDOR
    return LOOPBACK if _is_loopback(host) else host


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
