import dagster as dg
import pytest

from smallcaps_assets.defs.failures import dagster_failures
from smallcaps_assets.errors import StorageError


def test_a_failure_says_what_kind_it_is_and_where_to_read_on() -> None:
    with pytest.raises(dg.Failure, match="no room") as raised, dagster_failures():
        raise StorageError("no room")

    told = {name: value.value for name, value in raised.value.metadata.items()}
    assert told == {"kind": "storage", "what_to_do": "docs/operations.md#full-disk"}
    assert not raised.value.allow_retries
