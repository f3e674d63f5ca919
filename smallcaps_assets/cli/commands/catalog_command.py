"""`smallcaps catalog`: the DuckDB file of views, rebuilt."""

import click

from smallcaps_assets.cli.runs.workplace import open_workplace
from smallcaps_assets.ingest.derived import refresh_catalog, require_lake


@click.command("catalog")
def command() -> None:
    """Rebuild catalog.duckdb from the ledger; each download and each move does it too."""
    with open_workplace() as work:
        require_lake(work.lakehouse.layout)
        from smallcaps_assets.defs.assets.serve import report_catalog  # noqa: PLC0415  loads Dagster

        facts = refresh_catalog(work.lakehouse)
        report_catalog(work.instance, work.lakehouse, facts)
        click.echo(
            f"{work.lakehouse.layout.catalog_file}: {facts['trades_files']:,} files of trades, "
            f"{facts['missing_files']:,} missing, {facts['sessions']:,} sessions in the coverage"
        )
