"""Every setting, declared and validated once.

Only ``definitions`` and ``cli`` build a :class:`Settings`; all other code is given the values
it needs.  Names on the outside are the field names in capitals behind ``SMALLCAPS_``; the key
is read from ``POLYGON_API_KEY`` or ``MASSIVE_API_KEY``.  ``.env.example`` lists them all.
"""

import datetime as dt
import difflib
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from smallcaps_assets.core.exchange_hours import CALENDAR_START
from smallcaps_assets.core.vendor import VENDOR_BASE_URL, VENDOR_DOMAINS
from smallcaps_assets.errors import ConfigError
from smallcaps_assets.paths import check_folder, expand_path, split_paths

EMULATED_FIRST_SESSION = dt.date(2023, 1, 3)
EMULATED_LAST_SESSION = dt.date(2024, 12, 31)
"""First and last session of the emulator's synthetic market."""

NOT_SETTINGS = frozenset({"SMALLCAPS_SHARED", "SMALLCAPS_SCREENSHOTS"})
"""Names behind the prefix that the tests read: where real data lie, where pictures go."""

_PACED: Final = "sessions are committed in segments, for which SMALLCAPS_COMMIT_INTERVAL_S waits"
REMOVED: Final = {
    "SMALLCAPS_REMOVE_COMPACTED": "`smallcaps tidy` packs months and removes what it replaced, "
    "without a setting",
    "SMALLCAPS_LAKE_ROOTS": "a lake lies in one folder, SMALLCAPS_LAKE says where it begins, "
    "`smallcaps relocate DEST` moves it, and `smallcaps import --lake` takes over one of several "
    "folders",
    "SMALLCAPS_SYNC_GROUP": _PACED,
    "SMALLCAPS_SYNC_INTERVAL_S": _PACED,
    "SMALLCAPS_ZSTD_LEVEL": "segments are compressed as was measured to be best",
}
"""Settings that an earlier version had, and what there is instead."""


class Source(StrEnum):
    """Where ticks come from."""

    VENDOR = "vendor"
    EMULATOR = "emulator"


class PlanMode(StrEnum):
    """How sessions are chosen."""

    EVENT_WINDOWS = "event_windows"
    EVENT_MONTHS = "event_months"
    SESSIONS = "sessions"


class BarsProve(StrEnum):
    """Which daily bars prove that a session is complete."""

    OWN = "own"
    YES = "yes"
    NO = "no"


class OutsideUniverse(StrEnum):
    """What is done about rows of the watchlist that no listing of the universe covers."""

    REPORT = "report"
    KEEP = "keep"
    DROP = "drop"


class Settings(BaseSettings):
    """The settings of one process, from the environment and from ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix="SMALLCAPS_", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    data_dir: Path = Field(default=Path("data"), description="Where everything is stored.")
    lake: Path | None = Field(
        default=None,
        description="Folder of the lake, on any disk; `lake` in the data folder if unset.  Ledger "
        "and plan stay in the data folder.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("POLYGON_API_KEY", "MASSIVE_API_KEY"),
        description="The vendor's key; sent in a header, never stored.",
    )
    base_url: str = Field(default=VENDOR_BASE_URL, description="Address of the vendor's API.")
    source: Source | None = Field(
        default=None, description="`vendor` or `emulator`; `vendor` when a key is set."
    )
    emulator_seed: int = Field(default=1, ge=0, description="Seed of the emulated market.")
    emulator_scenarios: bool = Field(
        default=False,
        description="Plant spikes, halts, late and withdrawn prints in the emulated market.",
    )
    emulator_replay: Path | None = Field(
        default=None, description="Folder of flat files that the emulator replays."
    )

    daily_bars: Path | None = Field(
        default=None, description="File of daily bars (parquet or CSV) instead of the vendor."
    )
    watchlist: Annotated[tuple[Path, ...] | None, NoDecode] = Field(
        default=None,
        description="Watchlists (files or folders) instead of the event rules, separated by commas "
        "or as in PATH; they are united.",
    )
    splits: Path | None = Field(default=None, description="File of splits instead of the vendor.")
    decided_splits: Path | None = Field(default=None, description="File of splits that win.")
    universe: Path | None = Field(default=None, description="File of listings (vendor if unset).")
    universe_types: str = Field(
        default="CS", description="Types of listings, separated by commas, or `all`."
    )
    universe_exchanges: str = Field(
        default="XNAS,XNYS,XASE", description="Primary exchanges by MIC, or `all`."
    )
    universe_keep_unknown: bool = Field(
        default=True, description="Keep listings whose type or exchange is unknown."
    )
    universe_max_cap_usd: float = Field(
        default=2e9,
        ge=0,
        description="Market cap that labels active listings, as of its date; 0 is no limit.",
    )
    universe_cap_backwards: bool = Field(
        default=False, description="Apply the cap to sessions before its date too: look-ahead."
    )
    outside_universe: OutsideUniverse = Field(
        default=OutsideUniverse.REPORT,
        description="Watchlist rows outside the universe: `report` and keep, `keep`, or `drop`.",
    )
    tickers_file: Path | None = Field(
        default=None,
        description="File of the symbols of `smallcaps plan --universe`, one a line; all listings "
        "if unset, or without those all tickers with a daily bar.",
    )
    batch_tickers: int = Field(
        default=60,
        ge=1,
        le=5_000,
        description="Tickers of a batch of a universe: a unit of its download is a month of one.",
    )
    event_config: Path | None = Field(
        default=None,
        description="TOML file with event windows, check thresholds, and rules of research.",
    )
    bars_prove: BarsProve = Field(
        default=BarsProve.OWN,
        description="Daily bars that prove a session complete: `own`, those of the lake's own "
        "source; `yes`, those of SMALLCAPS_DAILY_BARS too; `no`, none.",
    )
    first_session: dt.date | None = Field(
        default=None, description="First session wanted; 2004-01-02 for the vendor."
    )
    last_session: dt.date | None = Field(
        default=None, description="Last session wanted; the newest published one if unset."
    )
    publication_delay_h: float = Field(
        default=11.0, ge=0, le=72, description="Hours after New York midnight until published."
    )

    plan_mode: PlanMode = Field(
        default=PlanMode.EVENT_WINDOWS,
        description="Plan `event_windows`, `event_months` (whole months around events) or "
        "`sessions` (of the tickers below, from first to last session).",
    )
    plan_tickers: str | None = Field(
        default=None, description="Tickers of the mode `sessions`, separated by commas."
    )
    plan_months_before: int = Field(
        default=0, ge=0, le=12, description="Months before that of an event, in `event_months`."
    )
    plan_months_after: int = Field(
        default=0, ge=0, le=12, description="Months after that of an event, in `event_months`."
    )
    batch: str | None = Field(
        default=None,
        description="Part of the plan, by tickers and of about equal bytes: `2/5`, or `1/5,2/5`.",
    )
    pilot_tickers: int | None = Field(
        default=None, ge=0, description="Tickers of the pilot; 15 for detected events, 0 is all."
    )
    pilot_budget: bool = Field(
        default=False,
        description="Take only as many tickers as fit the disk budget and 80 % of the free disk.",
    )
    plan_events: str | None = Field(
        default=None, description="Plan these events alone, separated by commas: `E8,E10,E11`."
    )
    plan_events_by_win_rate: int | None = Field(
        default=None,
        ge=1,
        le=11,
        description="Plan so many events alone, those with the best win rates in `labels`.",
    )
    plan_rank_until: dt.date | None = Field(
        default=None, description="Rank tickers of the pilot by events before this date alone."
    )
    pilot_min_events: int | None = Field(
        default=None, ge=0, description="Events a session needs; 3 for detected events."
    )
    disk_budget_gb: float | None = Field(
        default=None, gt=0, description="Bytes the lake may take, in GB of 1024**3."
    )
    disk_reserve_gb: float | None = Field(
        default=None, ge=0, description="GB that stay free; 5 or 5 % of the disk if unset."
    )

    requests_per_minute: float = Field(
        default=100, ge=0, description="Rate shared by all processes; 0 is unlimited."
    )
    limiter_dir: Path | None = Field(
        default=None, description="Folder of the shared rate; one per machine if unset."
    )
    workers: int = Field(default=8, ge=1, le=256, description="Threads that fetch.")
    processes: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Processes that download a universe at once; one a core if unset.",
    )
    page_limit: int = Field(default=50_000, ge=1, le=50_000, description="Trades of one page.")
    range_max_rows: int = Field(
        default=250_000, ge=1, description="Expected trades of one request range."
    )
    range_max_sessions: int = Field(default=60, ge=1, description="Sessions of one range.")
    chain_max_rows: int = Field(
        default=5_000_000, ge=1, description="Most trades of one range that has no daily bars."
    )
    connect_timeout_s: float = Field(default=10.0, gt=0, description="Time-out to connect.")
    read_timeout_s: float = Field(default=45.0, gt=0, description="Time-out between bytes.")
    retries: int = Field(default=8, ge=0, le=50, description="Retries of a transient fault.")
    backoff_base_s: float = Field(default=0.5, ge=0, description="First pause before a retry.")
    backoff_factor: float = Field(default=1.6, ge=1, description="Growth of that pause.")
    retry_budget_s: float = Field(
        default=300.0, gt=0, description="Time one page may take, retries included."
    )
    outage_after: int = Field(
        default=20, ge=1, description="Tickers failing in a row that end a download."
    )

    retries_per_day: int = Field(
        default=3,
        ge=1,
        description="Runs a day that the sensor of retries grants a failed session.",
    )
    retry_sessions_per_day: int = Field(
        default=1_000, ge=1, description="Failed sessions that the sensor asks for again a day."
    )
    freshness_grace_h: float = Field(default=24.0, ge=0, description="Hours until data are old.")
    alert_log: Path | None = Field(
        default=None, description="File for alerts, a line of JSON each."
    )
    alert_webhook: SecretStr | None = Field(
        default=None, description="Address that gets alerts as a POST; a secret, never logged."
    )
    alert_timeout_s: float = Field(default=10.0, gt=0, le=60, description="Time-out of that POST.")

    commit_interval_s: float = Field(
        default=30.0, gt=0, description="Longest wait of a finished session for its segment."
    )
    stuck_after_min: float = Field(
        default=10.0, gt=0, description="Minutes without a commit: `status` says stuck."
    )
    catalog_interval_s: float = Field(
        default=300.0, gt=0, description="Pause between catalogs built during a download."
    )

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError("expected an address such as https://api.polygon.io")
        if parts.username or parts.password:
            raise ValueError("expected an address without a user name or password")
        if parts.scheme == "http" and parts.hostname.endswith(VENDOR_DOMAINS):
            raise ValueError("expected https, because the key would travel unencrypted")
        return value.rstrip("/")

    @field_validator("alert_webhook")
    @classmethod
    def _check_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"https?://[^/\s]+", value.get_secret_value()):
            raise ValueError("expected an address that begins with https:// or http://")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _expand_paths(cls, value: object) -> object:
        if isinstance(value, tuple):
            return tuple(expand_path(part) if isinstance(part, Path) else part for part in value)
        return expand_path(value) if isinstance(value, Path) else value

    @field_validator("data_dir", mode="after")
    @classmethod
    def _check_data_dir(cls, value: Path) -> Path:
        check_folder(value.absolute())
        return value

    @field_validator("watchlist", mode="before")
    @classmethod
    def _split_watchlists(cls, value: object) -> object:
        return split_paths(value) if isinstance(value, str | Path) else value

    @field_validator("first_session", "last_session", "plan_rank_until", mode="before")
    @classmethod
    def _check_date(cls, value: object) -> object:
        # pydantic takes 20241204 for seconds since 1970.
        if value is None or re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(value)):
            return value
        raise ValueError("expected a date as YYYY-MM-DD, such as 2024-12-04")

    @field_validator("batch")
    @classmethod
    def _check_batch(cls, value: str | None) -> str | None:
        if value is not None:
            parse_batch(value)
        return value

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        is_plain = self.plan_mode is PlanMode.SESSIONS
        if is_plain and not (self.plan_tickers and self.first_session):
            raise ValueError(
                "SMALLCAPS_PLAN_MODE=sessions: expected SMALLCAPS_PLAN_TICKERS and "
                "SMALLCAPS_FIRST_SESSION (--tickers and --from)"
            )
        if self.plan_tickers and not is_plain:
            raise ValueError(
                "SMALLCAPS_PLAN_TICKERS: expected SMALLCAPS_PLAN_MODE=sessions with it, got "
                f"{self.plan_mode.value}, which takes its tickers from the watchlist"
            )
        return self

    @model_validator(mode="after")
    def _check_events(self) -> Self:
        chosen = self.plan_events or self.plan_events_by_win_rate
        if chosen and self.plan_mode is PlanMode.SESSIONS:
            raise ValueError("SMALLCAPS_PLAN_MODE=sessions: it has no events to choose from")
        if self.plan_events and self.plan_events_by_win_rate:
            raise ValueError(
                "expected SMALLCAPS_PLAN_EVENTS or SMALLCAPS_PLAN_EVENTS_BY_WIN_RATE, got both"
            )
        if self.plan_rank_until and self.pilot_budget:
            raise ValueError(
                "SMALLCAPS_PLAN_RANK_UNTIL: expected a number of tickers (--pilot) with it, got a "
                "budget, which ranks by all events"
            )
        return self

    @model_validator(mode="after")
    def _check_sessions(self) -> Self:
        if self.first_session and self.first_session < CALENDAR_START:
            raise ValueError(f"first_session: the calendar starts on {CALENDAR_START}")
        if self.first_session and self.last_session and self.last_session < self.first_session:
            raise ValueError("last_session lies before first_session")
        return self

    @property
    def has_rules(self) -> bool:
        """Say whether the event rules choose the sessions, so that all daily bars are needed."""
        return self.watchlist is None and self.plan_mode is not PlanMode.SESSIONS

    @property
    def resolved_source(self) -> Source:
        """The source in force.

        Raises:
            ConfigError: Neither a source nor a key is set; the emulator is never a silent default.
        """
        if self.source is not None:
            return self.source
        if self.api_key is not None and self.api_key.get_secret_value():
            return Source.VENDOR
        raise ConfigError(
            "no source: expected POLYGON_API_KEY (or MASSIVE_API_KEY) for the vendor, or "
            "SMALLCAPS_SOURCE=emulator to try it without a key; found neither"
        )

    def require_key(self) -> str:
        """Demand the vendor's key.

        Raises:
            ConfigError: It is not set although the vendor is the source, or it is not a key.
        """
        key = self.api_key.get_secret_value().strip() if self.api_key else ""
        if not key and self.resolved_source is Source.VENDOR:
            raise ConfigError(
                f"no key for {self.base_url}: set POLYGON_API_KEY or MASSIVE_API_KEY in the "
                "environment or in .env, or SMALLCAPS_SOURCE=emulator"
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(
                "the key holds blanks or characters that no key has: set POLYGON_API_KEY or "
                "MASSIVE_API_KEY to the key alone, as the vendor's dashboard shows it"
            )
        return key or "emulated"


def parse_batch(text: str) -> tuple[tuple[int, ...], int]:
    """Parse the numbers of the batches that ``text`` names, from 1 on, and how many there are.

    Raises:
        ValueError: It is none, or batches overlap: one is named twice, or they divide a plan
            into different numbers of parts.
    """
    found = [re.fullmatch(r"\s*(\d{1,6})/(\d{1,6})\s*", part) for part in text.split(",")]
    pairs = [(int(match[1]), int(match[2])) for match in found if match]
    if len(pairs) < len(found) or any(not 1 <= number <= count for number, count in pairs):
        raise ValueError(f"expected a batch such as 2/5, from 1/5 to 5/5, got {text!r}")
    if len({count for _, count in pairs}) > 1 or len(set(pairs)) < len(pairs):
        raise ValueError(f"batches overlap: expected different ones of one number, got {text!r}")
    return tuple(sorted(number for number, _ in pairs)), pairs[0][1]


def load_settings() -> Settings:
    """Load the settings of this process.

    Raises:
        ConfigError: A value is not of its kind, or a name behind ``SMALLCAPS_`` is unknown.
    """
    _refuse_unknown_names()
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            (f"SMALLCAPS_{'.'.join(map(str, fault['loc'])).upper()}: " if fault["loc"] else "")
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError("; ".join(lines)) from error


def _refuse_unknown_names() -> None:
    """Refuse a misspelt setting, because ignoring one changes what is downloaded."""
    known = {f"SMALLCAPS_{name.upper()}" for name in Settings.model_fields if name != "api_key"}
    try:
        # A name in .env may be written in lower case, as pydantic-settings reads it.
        given = {*os.environ, *(name.upper() for name in dotenv_values(".env"))}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read .env: {error}; expected lines of NAME=value") from error
    for name in sorted(given):
        if name in REMOVED:
            raise ConfigError(
                f"unknown setting {name}, which was removed: {REMOVED[name]}; take the line out"
            )
        if name.startswith("SMALLCAPS_") and name not in known | NOT_SETTINGS:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"; did you mean {near[0]}?" if near else "; `smallcaps docs settings` lists them"
            )
            raise ConfigError(f"unknown setting {name}{hint}")
