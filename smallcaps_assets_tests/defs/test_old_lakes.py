"""The code location of a lake of format 1: it loads, and every run says what to do."""

import json

from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets_tests.defs.run_factories import Site, describe_failures


def test_the_code_location_loads_and_a_run_names_the_takeover(site: Site) -> None:
    path = site.lakehouse.home.identity_file
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 1}), encoding="utf-8")
    old = Site(Lakehouse(site.lakehouse.settings, clock=site.lakehouse.clock), site.instance)

    for job in ("refresh_catalog", "audit_lake", "repair_lake"):
        told = describe_failures(old.run(job))
        assert "found one of format 1" in told, job
        assert "`smallcaps import --lake`" in told, job
