"""The objects of one lakehouse, built from its settings in one place.

What does not belong here: any work.  Use cases take a :class:`Lakehouse` and do theirs.  What
takes long to load is imported when it is first asked for: `smallcaps status` needs none of it.
"""

import datetime as dt
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any

from platformdirs import user_state_path

from smallcaps_assets.core.budget.calibration import DEFAULT_LATENCY_S, Calibration, assume_costs
from smallcaps_assets.core.documents import DECODER_FAULTS, name_fault
from smallcaps_assets.core.plan.bounds import PlanBounds
from smallcaps_assets.core.plan.ranges import RangeRules
from smallcaps_assets.core.plan.windows import EventWindow, parse_windows
from smallcaps_assets.core.research.events.parameters import CostRules, LabelRules, parse_rules
from smallcaps_assets.core.research.information_bars import BarRules
from smallcaps_assets.core.sessions import SessionCalendar, load_calendar
from smallcaps_assets.core.vendor import VENDOR_BASE_URL
from smallcaps_assets.core.verdicts import Thresholds, parse_thresholds
from smallcaps_assets.errors import ConfigError, MissingPartitionError
from smallcaps_assets.lake.home.identity import (
    LakeIdentity,
    LakeSource,
    check_format,
    check_lake,
    describe_source,
    open_lake,
    read_identity,
)
from smallcaps_assets.lake.home.market import has_key
from smallcaps_assets.lake.home.place import (
    find_home,
    refuse_lost_place,
    remember_place,
    require_mounted,
)
from smallcaps_assets.lake.ledger.writer import Ledger, tell_time
from smallcaps_assets.lake.paths.layout import LakeLayout
from smallcaps_assets.lake.storage.files import FileSystem, find_existing
from smallcaps_assets.lake.storage.free_space import FreeSpace
from smallcaps_assets.lake.storage.local import LocalStorage
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets.lake.tables.store import TableStore
from smallcaps_assets.settings import (
    EMULATED_FIRST_SESSION,
    EMULATED_LAST_SESSION,
    Settings,
    Source,
)

if TYPE_CHECKING:
    from smallcaps_assets.lake.segment_store import SegmentStore
    from smallcaps_assets.polygon.client import PolygonClient
    from smallcaps_assets.polygon.http.limiter import RequestLimiter

VENDOR_FIRST_SESSION = dt.date(2004, 1, 2)
"""First session wanted when nothing else is said: 252 warm-up sessions fit before it."""
CONFIG_SECTIONS = ("windows", "thresholds", "bars", "labels", "costs")
"""Tables of the file of windows and thresholds."""
WARM_UP_SESSIONS = 252
"""Bars that the slowest event rule looks back."""
PLAN_WAIT_S = 60.0
"""Longest wait for another process that publishes or registers a plan."""


@dataclass(frozen=True)
class Lakehouse:
    """Everything a use case needs, opened when first asked for.

    Attributes:
        clock: Source of the time, aware and in UTC.
        fs: The seam through which every change of the disk goes.
    """

    settings: Settings
    clock: Callable[[], dt.datetime] = tell_time
    fs: FileSystem = field(default_factory=FileSystem)
    stop: Event = field(default_factory=Event)

    @cached_property
    def home(self) -> LakeLayout:
        """The paths of the data folder and its lake, be that mounted or not.

        Raises:
            ConfigError: The lake lies elsewhere than ``SMALLCAPS_LAKE`` says.
            LedgerMismatchError: The register or ``lake.json`` is damaged.
            PartitionConflictError: It is one that this version does not read.
        """
        home = find_home(self.settings.data_dir.absolute(), self.fs, self.settings.lake)
        with suppress(MissingPartitionError):
            check_format(home, read_identity(home, self.fs))
        return home

    @cached_property
    def layout(self) -> LakeLayout:
        """The paths, once the lake has shown that it lies there.

        Raises:
            LedgerMismatchError: The register is lost.
            PartitionConflictError: Another lake lies there.
            StorageError: The lake is not mounted.
        """
        return require_mounted(self.home, self.fs)

    @cached_property
    def free_space(self) -> FreeSpace:
        """What is free on the disks, the reserve of the settings kept."""
        return FreeSpace(self.fs, self.settings.disk_reserve_gb)

    @cached_property
    def calendar(self) -> SessionCalendar:
        """The XNYS sessions."""
        return load_calendar()

    @cached_property
    def source(self) -> LakeSource:
        """The source that the lake is bound to.

        Without a key nothing can be asked of a vendor, so a vendor's lake is what it says it is.

        Raises:
            ConfigError: The settings name none.
        """
        kind = self.settings.resolved_source
        if kind is Source.VENDOR and not has_key(self.settings):
            with suppress(MissingPartitionError):
                found = read_identity(self.home, self.fs).source
                if found.kind == kind:
                    return found
        return describe_source(
            kind.value,
            base_url=self.settings.base_url,
            seed=self.settings.emulator_seed,
            replay=self.settings.emulator_replay,
            has_scenarios=self.settings.emulator_scenarios,
        )

    @cached_property
    def identity(self) -> LakeIdentity:
        """What the lake is bound to, after it has agreed to the source.

        Store, ledger and client ask for it first: a lake of another source is refused before
        the first request and the first write.
        """
        refuse_lost_place(self.home, self.fs)
        return open_lake(self.home, self.fs, self.source)

    @cached_property
    def sessions(self) -> "SegmentStore":
        """The ticker-sessions."""
        from smallcaps_assets.lake.segment_store import SegmentStore  # noqa: PLC0415  loads pyarrow
        from smallcaps_assets.lake.segments.commit import SegmentLake  # noqa: PLC0415  as above

        _ = self.identity
        storage = LocalStorage(self.layout.lake_dir, self.fs)
        return SegmentStore(SegmentLake(storage, str(self.source)), self.calendar)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of the lake."""
        _ = self.identity
        folder = self.home.index_dir
        self.fs.make_folders(folder, root=find_existing(folder))
        return Ledger(self.home.ledger_file, clock=self.clock)

    @cached_property
    def tables(self) -> TableStore:
        """The store of whole tables; those of a lake of another source are refused."""
        check_lake(self.home, self.fs, self.source)
        return TableStore(self.home, self.fs)

    @cached_property
    def lock(self) -> LakeLock:
        """The lock of those that write, whom it keeps apart as far as each of them asks."""
        return LakeLock(LakeLayout(self.settings.data_dir.absolute()).lock_file)

    @contextmanager
    def writing(
        self,
        owner: str,
        wait_s: float | None,
        *,
        run_id: str = "",
        shared: bool = False,
    ) -> Iterator[None]:
        """Hold the lock of the lake.

        What was opened before may know a folder that a move has emptied while this process waited,
        so it is opened again.

        Args:
            owner: What this process does, for those that it makes wait.
            wait_s: Longest wait for another holder; ``None`` waits as long as it lives.
            run_id: Run that downloads; empty: nothing is downloaded.
            shared: Others may write too.

        Raises:
            ConfigError: The lake lies elsewhere than the settings say.
            PartitionConflictError: Another process holds the lock, or the lake is another one.
            StorageError: The disk refuses.
        """
        with self.lock.hold(owner, wait_s, run_id=run_id, shared=shared):
            _ = self.identity
            self.forget_place()
            remember_place(self.home, self.fs)
            yield

    def planning(self, owner: str, wait_s: float = PLAN_WAIT_S) -> AbstractContextManager[object]:
        """Hold the lock of the plan: what publishes it, and what makes anything equal to it.

        Who holds the lake too took that first.

        Args:
            owner: What this process does, for those that it makes wait.
            wait_s: Longest wait for another holder.

        Raises:
            PartitionConflictError: Another process holds it, when the context is entered.
            StorageError: The disk refuses.
        """
        return LakeLock(self.home.plan_lock_file).hold(owner, wait_s)

    def giving_units(
        self, owner: str, wait_s: float | None, *, shared: bool = False
    ) -> AbstractContextManager[object]:
        """Hold the lock of who gives units of a universe to processes, so that nobody else does.

        Args:
            owner: What this process does, for those that it makes wait.
            wait_s: Longest wait for another holder; ``None`` waits as long as it lives.
            shared: It gives none, and does units that Dagster gives it, as others may.

        Raises:
            PartitionConflictError: Another process holds it, when the context is entered.
            StorageError: The disk refuses.
        """
        lock = LakeLock(self.home.universe_lock_file, locks_folder=False)
        return lock.hold(owner, wait_s, shared=shared)

    def forget_place(self) -> None:
        """Find the lake again when it is next asked for."""
        for name in ("home", "layout", "sessions"):
            vars(self).pop(name, None)

    @cached_property
    def client(self) -> "PolygonClient":
        """The vendor's client.

        Raises:
            ConfigError: The key is missing, or the emulator was not started.
        """
        from smallcaps_assets.polygon.client import PolygonClient  # noqa: PLC0415  loads requests
        from smallcaps_assets.polygon.http.config import ClientConfig  # noqa: PLC0415  loads requests

        _, settings = self.identity, self.settings
        is_emulated = settings.resolved_source is Source.EMULATOR
        if is_emulated and settings.base_url == VENDOR_BASE_URL:
            raise ConfigError(
                "SMALLCAPS_SOURCE=emulator, but no emulator is running: use the `smallcaps` "
                "command, which starts one, or start `smallcaps emulator` and set "
                "SMALLCAPS_BASE_URL to the address it prints"
            )
        config = ClientConfig(
            base_url=settings.base_url,
            api_key=settings.require_key(),
            page_limit=settings.page_limit,
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            retries=settings.retries,
            backoff_base_s=settings.backoff_base_s,
            backoff_factor=settings.backoff_factor,
            retry_budget_s=settings.retry_budget_s,
            chain_max_rows=settings.chain_max_rows,
            emulated_market=self.source.name if is_emulated else "",
        )
        return PolygonClient(config, self.limiter, stop=self.stop)

    @cached_property
    def limiter(self) -> "RequestLimiter":
        """The request rate that all processes of this machine share."""
        from smallcaps_assets.polygon.http.limiter import RequestLimiter  # noqa: PLC0415  as above

        folder = self.settings.limiter_dir or user_state_path("smallcaps_assets") / "limiter"
        return RequestLimiter(self.settings.requests_per_minute, folder, self.settings.base_url)

    @cached_property
    def event_config(self) -> Mapping[str, Any]:
        """What the file of windows and thresholds says, empty when none is set.

        Raises:
            ConfigError: It cannot be read, is no TOML, or has an unknown section.
        """
        path = self.settings.event_config
        if path is None:
            return {}
        try:
            config = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, *DECODER_FAULTS) as error:
            raise ConfigError(f"SMALLCAPS_EVENT_CONFIG={path}: {name_fault(error)}") from error
        if unknown := sorted(config.keys() - {*CONFIG_SECTIONS}):
            known = ", ".join(f"[{name}]" for name in CONFIG_SECTIONS)
            raise ConfigError(f"{path}: expected some of the sections {known}; found {unknown}")
        return config

    @cached_property
    def windows(self) -> dict[str, EventWindow]:
        """The window of each event."""
        return parse_windows(self.event_config.get("windows", {}))

    @cached_property
    def thresholds(self) -> Thresholds:
        """The thresholds of the checks."""
        return parse_thresholds(self.event_config.get("thresholds", {}))

    @cached_property
    def bar_rules(self) -> BarRules:
        """How large information bars are."""
        return parse_rules(BarRules(), self.event_config.get("bars", {}), "bars")

    @cached_property
    def label_rules(self) -> LabelRules:
        """How decisions become labels."""
        return parse_rules(LabelRules(), self.event_config.get("labels", {}), "labels")

    @cached_property
    def cost_rules(self) -> CostRules:
        """What trades cost."""
        return parse_rules(CostRules(), self.event_config.get("costs", {}), "costs")

    @property
    def default_costs(self) -> Calibration:
        """Tell what things cost before anything has landed."""
        settings = self.settings
        is_emulated = settings.resolved_source is Source.EMULATOR
        is_replay = is_emulated and settings.emulator_replay is not None
        return replace(
            assume_costs(is_replay=is_replay),
            page_limit=settings.page_limit,
            requests_per_minute=settings.requests_per_minute,
            request_s=DEFAULT_LATENCY_S / settings.workers,
        )

    @property
    def range_rules(self) -> RangeRules:
        """Tell how sessions become request ranges."""
        settings = self.settings
        return RangeRules(self.calendar, settings.range_max_rows, settings.range_max_sessions)

    def check_settings(self) -> None:
        """Refuse settings that are wrong, before the first request and the first write.

        Raises:
            ConfigError: There is no source, or the file of windows and thresholds is wrong.
            PartitionConflictError: The lake is bound to another source or a newer version.
        """
        _ = self.tables, self.windows, self.thresholds
        _ = self.bar_rules, self.label_rules, self.cost_rules

    @property
    def last_available(self) -> dt.date:
        """The newest session that is closed and published."""
        newest = self.calendar.last_available(self.clock(), self.settings.publication_delay_h)
        return min(newest, EMULATED_LAST_SESSION) if self.is_synthetic else newest

    @property
    def is_synthetic(self) -> bool:
        """Say whether bars and trades are those of the emulator's synthetic market."""
        settings = self.settings
        is_own = settings.emulator_replay is None and settings.daily_bars is None
        return settings.source is Source.EMULATOR and is_own

    @property
    def bounds(self) -> PlanBounds:
        """The sessions that a plan may hold."""
        last = EMULATED_LAST_SESSION if self.is_synthetic else None
        return PlanBounds(
            first=self.settings.first_session,
            last_available=self.last_available,
            calendar=self.calendar,
            last=self.settings.last_session or last,
        )

    @property
    def first_wanted(self) -> dt.date:
        """The first session in which an event is wanted."""
        if self.settings.first_session:
            return self.settings.first_session
        if self.is_synthetic:
            return EMULATED_FIRST_SESSION
        return VENDOR_FIRST_SESSION

    @property
    def last_wanted(self) -> dt.date:
        """The last session in which an event is wanted, or that can be had."""
        return self.bounds.last or self.bounds.last_available

    def describe_wanted(self) -> str:
        """Name the dates that the settings ask for, the first and the last one."""
        return f"{self.first_wanted} to {self.last_wanted}"
