"""The universe, from the vendor or from a file: loaded, filtered, judged, published.

What does not belong here: pages and parts of a load (``universe_load``), and what the universe
does to a watchlist (``ingest.events.outside_universe``).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import msgspec
import polars as pl

from smallcaps_assets.core.reference.listings import (
    attach_details,
    merge_listings,
    parse_universe,
    plan_details,
)
from smallcaps_assets.core.reference.universe import (
    ListingRepairs,
    SelectionFacts,
    UniverseRules,
    build_universe,
    judge_universe,
    measure_universe,
    parse_codes,
    select_listings,
)
from smallcaps_assets.core.verdicts import MadeTable, Number
from smallcaps_assets.ingest.reference.universe_load import (
    PART_VERSION,
    LoadIdentity,
    Tell,
    UniverseLoad,
)
from smallcaps_assets.lake.interchange.input_files import read_parsed
from smallcaps_assets.lake.tables.load_parts import PartStore
from smallcaps_assets.lakehouse import Lakehouse
from smallcaps_assets.schemas import UNIVERSE
from smallcaps_assets.settings import Settings


@dataclass(frozen=True)
class Loaded:
    """Listings that passed the filters, not yet checked.

    Attributes:
        listings: The columns of ``schemas.UNIVERSE`` without ``is_below_cap``.
        finish: Call it when the universe is stored.
    """

    listings: pl.DataFrame
    selection: SelectionFacts
    numbers: dict[str, Number]
    finish: Callable[[], None] = field(default=lambda: None)


def refresh_universe(lakehouse: Lakehouse, tell: Tell = str) -> MadeTable:
    """Load the listings, judge them, and publish what passes.

    A load from the vendor that was interrupted continues where it stopped, and a long one tells a
    line each time that it comes further.

    Raises:
        DataError: The file breaks its contract.
        VendorError: The vendor refuses; what came is kept for the next time.
    """
    rules = read_rules(lakehouse.settings)
    path = lakehouse.settings.universe
    loaded = _load(lakehouse, rules, tell) if path is None else _import(path, rules)
    universe, repairs = build_universe(loaded.listings, rules)
    verdict = judge_universe(measure_universe(universe))
    origin = "vendor" if path is None else path.name
    facts = {"origin": origin, **_describe_rules(lakehouse.settings)}
    lakehouse.tables.write_table(UNIVERSE, universe, is_published=verdict.passed, facts=facts)
    loaded.finish()
    return MadeTable(
        universe.height,
        {
            **facts,
            **loaded.numbers,
            **_count(loaded.selection),
            **_count(repairs),
            **verdict.numbers,
        },
        verdict,
        {"left_out": loaded.selection.left_out, "repaired": repairs.offenders},
    )


def read_rules(settings: Settings) -> UniverseRules:
    """Read the filters from the settings.

    Raises:
        ConfigError: A list of codes is none.
    """
    return UniverseRules(
        types=parse_codes(settings.universe_types, "SMALLCAPS_UNIVERSE_TYPES"),
        exchanges=parse_codes(settings.universe_exchanges, "SMALLCAPS_UNIVERSE_EXCHANGES"),
        max_cap_usd=settings.universe_max_cap_usd,
        keeps_unknown=settings.universe_keep_unknown,
    )


def _import(path: Path, rules: UniverseRules) -> Loaded:
    """Read the file that the settings name."""
    listings = read_parsed(path, parse_universe)
    kept, selection = select_listings(listings, rules)
    return Loaded(kept, selection, {"rows_read": listings.height})


def _load(lakehouse: Lakehouse, rules: UniverseRules, tell: Tell) -> Loaded:
    """Ask the vendor for both lists, and for details of what passes the filters."""
    layout = lakehouse.layout
    fresh = LoadIdentity(
        version=PART_VERSION,
        source=str(lakehouse.source),
        as_of=lakehouse.last_available,
        started_at=lakehouse.clock(),
    )
    load = UniverseLoad(
        lakehouse.client,
        PartStore(layout.universe_parts_dir, lakehouse.fs, root=layout.data_dir),
        fresh,
        lakehouse.settings.workers,
        tell,
    )
    lists = pl.concat([load.fetch_list(active=True), load.fetch_list(active=False)])
    merged, merge_facts = merge_listings(lists)
    kept, selection = select_listings(merged, rules)
    details = load.fetch_details(plan_details(kept, load.as_of))
    listings, detail_facts = attach_details(kept, details, load.as_of)
    numbers: dict[str, Number] = {
        "as_of": load.as_of.isoformat(),
        **msgspec.to_builtins(load.counts),
        **asdict(merge_facts),
        **{f"details_{name}": value for name, value in asdict(detail_facts).items()},
    }
    return Loaded(listings, selection, numbers, load.clear)


def _describe_rules(settings: Settings) -> dict[str, Number]:
    return {
        "types": settings.universe_types,
        "exchanges": settings.universe_exchanges,
        "max_cap_usd": settings.universe_max_cap_usd,
        "keeps_unknown": "yes" if settings.universe_keep_unknown else "no",
    }


def _count(facts: SelectionFacts | ListingRepairs) -> Mapping[str, Number]:
    """Pick the numbers and the texts among facts."""
    values = {member.name: getattr(facts, member.name) for member in fields(facts)}
    joined = {
        name: ", ".join(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }
    return {name: value for name, value in joined.items() if isinstance(value, int | str)}
