import datetime as dt
import os
import re
from pathlib import Path
from typing import Final

import pytest

from smallcaps_assets.errors import ConfigError
from smallcaps_assets.paths import split_paths
from smallcaps_assets.settings import Settings, Source, load_settings, parse_batch
from smallcaps_assets_tests.lakehouse_factories import write_text

KEY: Final = "sk_live_0123456789abcdef"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run without settings, in a folder without `.env`."""
    for name in os.environ:
        if name.startswith(("SMALLCAPS_", "POLYGON_", "MASSIVE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_load_settings_has_the_defaults_of_the_vendor() -> None:
    settings = load_settings()

    assert settings.base_url == "https://api.polygon.io"
    assert (settings.data_dir, settings.page_limit) == (Path("data"), 50_000)
    assert (settings.requests_per_minute, settings.read_timeout_s) == (100, 45)
    assert (settings.retries, settings.backoff_factor) == (8, 1.6)
    assert settings.api_key is None


def test_load_settings_reads_environment_before_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_text(tmp_path / ".env", "SMALLCAPS_WORKERS=3\nsmallcaps_retries=4\n")
    monkeypatch.setenv("SMALLCAPS_WORKERS", "5")

    settings = load_settings()

    assert (settings.workers, settings.retries) == (5, 4)


@pytest.mark.parametrize("name", ["POLYGON_API_KEY", "MASSIVE_API_KEY"])
def test_load_settings_finds_the_key_under_both_names_of_the_vendor(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f" {KEY}\n")

    settings = load_settings()

    assert settings.require_key() == KEY
    assert settings.resolved_source is Source.VENDOR


def test_the_key_is_in_no_representation_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """L14: settings may be logged."""
    monkeypatch.setenv("POLYGON_API_KEY", KEY)

    settings = load_settings()

    assert (
        KEY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    )


def test_the_emulator_is_never_a_silent_default() -> None:
    settings = load_settings()

    with pytest.raises(ConfigError, match=r"POLYGON_API_KEY.*SMALLCAPS_SOURCE=emulator"):
        _ = settings.resolved_source


def test_a_source_that_is_named_needs_no_key_to_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLCAPS_SOURCE", "emulator")

    settings = load_settings()

    assert settings.resolved_source is Source.EMULATOR
    assert settings.require_key()


@pytest.mark.parametrize("key", ["", "  "])
def test_require_key_of_the_vendor_says_where_to_set_it(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("SMALLCAPS_SOURCE", "vendor")
    monkeypatch.setenv("POLYGON_API_KEY", key)

    with pytest.raises(ConfigError, match="set POLYGON_API_KEY or MASSIVE_API_KEY"):
        load_settings().require_key()


@pytest.mark.parametrize("key", ["two words", "line\nline", "schlüssel", "tab\tbed", "bell\a"])
def test_require_key_refuses_what_no_header_can_hold(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", key)

    with pytest.raises(ConfigError, match="no key has") as raised:
        load_settings().require_key()

    assert key not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SMALLCAPS_WORKERS", "many", "SMALLCAPS_WORKERS: .*integer"),
        ("SMALLCAPS_WORKERS", "0", "greater than or equal to 1"),
        ("SMALLCAPS_PAGE_LIMIT", "50001", "less than or equal to 50000"),
        ("SMALLCAPS_REQUESTS_PER_MINUTE", "-1", "greater than or equal to 0"),
        ("SMALLCAPS_SOURCE", "bloomberg", "'vendor' or 'emulator'"),
        ("SMALLCAPS_FIRST_SESSION", "yesterday", "SMALLCAPS_FIRST_SESSION: .*date"),
        ("SMALLCAPS_FIRST_SESSION", "2002-12-31", "calendar starts on 2003-01-02"),
        ("SMALLCAPS_BASE_URL", "api.polygon.io", "expected an address such as"),
        ("SMALLCAPS_BASE_URL", "ftp://api.polygon.io", "expected an address such as"),
        ("SMALLCAPS_BASE_URL", "https://api.polygon.io?apiKey=x", "expected an address such as"),
        ("SMALLCAPS_BASE_URL", "https://me:pw@api.polygon.io", "without a user name"),
        ("SMALLCAPS_BASE_URL", "http://api.massive.com", "expected https"),
        ("SMALLCAPS_PLAN_MODE", "windows", "'event_windows', 'event_months' or 'sessions'"),
        ("SMALLCAPS_PLAN_MODE", "sessions", "^SMALLCAPS_PLAN_MODE=sessions: .*PLAN_TICKERS"),
        ("SMALLCAPS_PLAN_TICKERS", "A,B", "^SMALLCAPS_PLAN_TICKERS: .*got event_windows"),
        ("SMALLCAPS_PLAN_MONTHS_AFTER", "13", "less than or equal to 12"),
        ("SMALLCAPS_DISK_BUDGET_GB", "0", "SMALLCAPS_DISK_BUDGET_GB: .*greater than 0"),
        ("SMALLCAPS_PILOT_BUDGET", "maybe", "SMALLCAPS_PILOT_BUDGET: .*boolean"),
        ("SMALLCAPS_FIRST_SESSION", "20241204", "^SMALLCAPS_FIRST_SESSION: .* as YYYY-MM-DD"),
        ("SMALLCAPS_FIRST_SESSION", "1733270400", "^SMALLCAPS_FIRST_SESSION: .* as YYYY-MM-DD"),
        ("SMALLCAPS_LAST_SESSION", "2024-12-04T00:00", "^SMALLCAPS_LAST_SESSION: .* as YYYY-MM-DD"),
        ("SMALLCAPS_BATCH", "2", "^SMALLCAPS_BATCH: expected a batch such as 2/5"),
        ("SMALLCAPS_BATCH", "0/5", "from 1/5 to 5/5, got '0/5'"),
        ("SMALLCAPS_BATCH", "6/5", "from 1/5 to 5/5, got '6/5'"),
        ("SMALLCAPS_BATCH", "1/0", "expected a batch such as"),
        ("SMALLCAPS_BATCH", "-1/5", "expected a batch such as"),
        ("SMALLCAPS_BATCH", "1/2,1/3", "batches overlap"),
        ("SMALLCAPS_BATCH", "1/2,1/2", "batches overlap"),
        ("SMALLCAPS_WORKRES", "3", "SMALLCAPS_WORKRES; did you mean SMALLCAPS_WORKERS"),
        ("SMALLCAPS_REMOVE_COMPACTED", "true", "REMOVE_COMPACTED, which was removed: .*tidy"),
        ("SMALLCAPS_LAKE_ROOTS", "/mnt/a", "which was removed: .*SMALLCAPS_LAKE says.*relocate"),
        ("SMALLCAPS_SYNC_GROUP", "50", "which was removed: .*SMALLCAPS_COMMIT_INTERVAL_S"),
        ("SMALLCAPS_DAILY_BARS", "~nobody-at-all/b.csv", "DAILY_BARS: ~nobody.*home of a user"),
        *(
            ("SMALLCAPS_DATA_DIR", f"/{name}/a", re.escape(f"DATA_DIR: /{name}/a") + f".*'{found}'")
            for name, found in {
                "a?b": "[?]",
                "a%41b": "%41",
                "a%2fb": "%2f",
                "a%E9": "%E9",
            }.items()
        ),
    ],
)
def test_load_settings_refuses_a_value_and_names_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """L37, L51: a folder that Dagster would put elsewhere, a home of nobody."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=words):
        load_settings()


def test_load_settings_refuses_a_range_of_sessions_that_ends_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMALLCAPS_FIRST_SESSION", "2024-02-01")
    monkeypatch.setenv("SMALLCAPS_LAST_SESSION", "2024-01-31")

    with pytest.raises(ConfigError, match="last_session lies before first_session"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"SMALLCAPS_LAST_SESION=2024-01-31\nUNRELATED=1\n", "did you mean SMALLCAPS_LAST_SESSION"),
        (b"SMALLCAPS_WORKERS=\xff\xfe", r"cannot read \.env"),
    ],
)
def test_load_settings_refuses_a_file(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(ConfigError, match=words):
        load_settings()


def test_load_settings_names_every_fault_at_once_and_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L14: a value in the wrong place may be the key."""
    monkeypatch.setenv("SMALLCAPS_WORKERS", KEY)
    monkeypatch.setenv("SMALLCAPS_LAST_SESSION", KEY)

    with pytest.raises(ConfigError) as raised:
        load_settings()

    assert "SMALLCAPS_WORKERS" in str(raised.value)
    assert "SMALLCAPS_LAST_SESSION" in str(raised.value)
    assert KEY not in str(raised.value)


def test_load_settings_takes_a_loopback_address_without_encryption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMALLCAPS_BASE_URL", "http://127.0.0.1:8080/")
    monkeypatch.setenv("SMALLCAPS_FIRST_SESSION", "2024-01-02")

    settings = load_settings()

    assert settings.base_url == "http://127.0.0.1:8080"
    assert settings.first_session == dt.date(2024, 1, 2)


def test_load_settings_bears_the_variable_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLCAPS_SHARED", "folder")

    assert load_settings().workers == 8


def test_parse_batch_names_the_parts_and_how_many_there_are() -> None:
    assert parse_batch("2/5") == ((2,), 5)
    assert parse_batch(" 3/5 ,1/5") == ((1, 3), 5)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", None),
        (" , ", None),
        ("a.csv", ("a.csv",)),
        ("a.csv, b.csv", ("a.csv", "b.csv")),
        (f"a.csv{os.pathsep}b.csv", ("a.csv", "b.csv")),
        (f"a,1.csv{os.pathsep}b.csv", ("a,1.csv", "b.csv")),
        ("here, there.csv", ("here, there.csv",)),
    ],
)
def test_split_paths_takes_lists_and_what_exists_as_it_stands(
    tmp_path: Path, text: str, paths: tuple[str, ...] | None
) -> None:
    write_text(tmp_path / "here, there.csv", "")

    assert split_paths(text) == (None if paths is None else tuple(map(Path, paths)))


@pytest.mark.parametrize(
    ("changes", "has_rules"),
    [
        ({}, True),
        ({"SMALLCAPS_PLAN_MODE": "event_months"}, True),
        ({"SMALLCAPS_WATCHLIST": "a.csv"}, False),
        (
            {
                "SMALLCAPS_PLAN_MODE": "sessions",
                "SMALLCAPS_PLAN_TICKERS": "A",
                "SMALLCAPS_FIRST_SESSION": "2024-01-02",
            },
            False,
        ),
    ],
)
def test_the_rules_choose_unless_a_watchlist_or_tickers_do(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], *, has_rules: bool
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)

    assert load_settings().has_rules is has_rules


PATHS: Final = [
    name
    for name, field in Settings.model_fields.items()
    if "Path" in str(field.annotation) and name != "data_dir"
]


@pytest.mark.parametrize("name", ["data_dir", *PATHS])
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "environment"])
def test_load_settings_expands_the_home_in_every_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, *, is_file: bool
) -> None:
    """L51: a line of `.env` made a folder called `~`."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if is_file:
        write_text(tmp_path / ".env", f"SMALLCAPS_{name.upper()}=~/there\n")
    else:
        monkeypatch.setenv(f"SMALLCAPS_{name.upper()}", "~/there")

    value = getattr(load_settings(), name)

    expected = tmp_path / "home" / "there"
    assert value == ((expected,) if name == "watchlist" else expected)


def test_load_settings_expands_every_home_of_a_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """L51."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SMALLCAPS_WATCHLIST", "~/a.csv,~/b.csv")

    settings = load_settings()

    assert settings.watchlist == (tmp_path / "a.csv", tmp_path / "b.csv")


@pytest.mark.parametrize("text", ["a[1]", "a*b", "100%", "a%b", "a#b", "a b", "aé", "a{b}", "a'b"])
def test_load_settings_takes_any_other_data_folder(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SMALLCAPS_DATA_DIR", f"/lakes/{text}/data")

    assert load_settings().data_dir == Path(f"/lakes/{text}/data")
