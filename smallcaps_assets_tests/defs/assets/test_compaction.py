"""`compacted_trades` on a lake that has nothing to compact."""

import dagster as dg

from smallcaps_assets_tests.defs.run_factories import Site

COMPACTED = dg.AssetKey("compacted_trades")


def test_months_of_segments_say_that_they_need_no_compaction(segment_site: Site) -> None:
    result = segment_site.run_range("compact_closed_months", "2024-01-01", "2024-02-01")

    records = segment_site.instance.fetch_observations(COMPACTED, limit=9).records
    told = [found for record in records if (found := record.asset_observation)]
    words = {found.partition: found.description or "" for found in told}
    assert result.success
    assert words.keys() == {"2024-01-01", "2024-02-01"}
    assert all("`smallcaps tidy`, or the job `tidy_lake`" in text for text in words.values())
    assert segment_site.instance.get_materialized_partitions(COMPACTED) == set()
