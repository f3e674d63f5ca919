from pathlib import Path

from smallcaps_assets.ingest.derived import refresh_catalog_if_free
from smallcaps_assets.lake.storage.lock import LakeLock
from smallcaps_assets_tests.lakehouse_factories import make_lakehouse


def test_a_catalog_that_another_process_builds_is_left_to_it(tmp_path: Path) -> None:
    """A download goes on meanwhile: a later catalog, at its end at the latest, has the rest."""
    lakehouse = make_lakehouse(tmp_path, "http://127.0.0.1:9")

    with LakeLock(lakehouse.layout.catalog_lock_file, locks_folder=False).hold("another"):
        refresh_catalog_if_free(lakehouse)
        assert not lakehouse.layout.catalog_file.exists()
    refresh_catalog_if_free(lakehouse)

    assert lakehouse.layout.catalog_file.exists()
