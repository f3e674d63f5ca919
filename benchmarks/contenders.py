"""Ways to turn a ticker-session of the vendor's API into a Parquet file; one process each.

``python benchmarks/contenders.py NAME URL TICKER DATE... --dest DIR`` fetches every date and
prints CPU seconds, wall seconds, peak memory, rows and bytes as JSON.  Imports are not counted.

* ``ours``: the product's client, labels, proof, encoding and commit, in request ranges of up to ten
  neighbouring sessions, as a download makes them; ``single``: one range per session.
* ``naive``: requests, json, a frame from a list of dicts, polars zstd 2; keep-alive.
* ``official``: the vendor's own client (``massive``) and its iterator, then the same frame.
* ``floor``: inflate and msgspec decode of the same bytes, and a plain write of the same rows, whose
  columns are made before the clock starts.
"""

import argparse
import datetime as dt
import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl
import requests
from isal import isal_zlib
from measuring import measure_peak_mb
from stores import open_store, store_groups

from smallcaps_assets.core.sessions import day_bounds_ns, load_calendar
from smallcaps_assets.ingest.proof.bars import BarJudge
from smallcaps_assets.ingest.ticks.fetching import RangeFetcher
from smallcaps_assets.ingest.ticks.ranges import RequestRange
from smallcaps_assets.lake.sessions.preparing import PreparedSession
from smallcaps_assets.polygon.client import PolygonClient
from smallcaps_assets.polygon.http.config import ClientConfig
from smallcaps_assets.polygon.http.limiter import RequestLimiter
from smallcaps_assets.polygon.wire.trades import TradeRow

KEY = "bench"
LIMIT = 50_000
RUN = 10
"""Sessions of a request range: what event windows make of neighbouring sessions, about."""
WARM_UP = (("N500.1", 10), ("N20000.1", 1))
"""Tickers and how many sessions of them go before the clock starts: a download runs for hours,
and what its first second costs is not what its trades cost."""

READY: dict[tuple[str, dt.date], pl.DataFrame] = {}
"""The columns that the floor writes."""

Fetch = Callable[[str, str, list[dt.date], Path], int]


def fetch_ours(url: str, ticker: str, dates: list[dt.date], dest: Path, run: int = RUN) -> int:
    """Fetch, label, prove, encode and commit, as a worker and the committer of a download do."""
    client = PolygonClient(_configure(url), RequestLimiter(0, dest, url))
    store = open_store(dest)
    fetcher = RangeFetcher(client, store, load_calendar(), BarJudge(), "bench")
    spans = [
        RequestRange(ticker, dates[start], dates[min(start + run, len(dates)) - 1], None)
        for start in range(0, len(dates), run)
    ]
    rows = 0

    def fetch() -> Iterator[list[PreparedSession]]:
        nonlocal rows
        for span in spans:
            result = fetcher.fetch(span)
            rows += result.rows
            yield result.sessions

    store_groups(store, fetch())
    return rows


def fetch_naive(
    url: str,
    ticker: str,
    dates: list[dt.date],
    dest: Path,
    session: requests.Session | None = None,
) -> int:
    """Do what most scripts do, without their bugs: every page, every column."""
    session, rows = session or requests.Session(), 0
    for date in dates:
        gte_ns, lt_ns = day_bounds_ns(date, date)
        query = {
            "timestamp.gte": gte_ns,
            "timestamp.lt": lt_ns,
            "order": "asc",
            "sort": "timestamp",
            "limit": LIMIT,
        }
        address, found = f"{url}/v3/trades/{ticker}", []
        while address:
            answer = session.get(address, params=query, headers=_headers(), timeout=60)
            body = answer.json()
            found += body.get("results") or []
            address, query = _follow(url, body.get("next_url")), {}
        _write_plain(_frame_dicts(found), dest, ticker, date)
        rows += len(found)
    return rows


def fetch_official(url: str, ticker: str, dates: list[dt.date], dest: Path) -> int:
    """Iterate over the official client's trades."""
    from massive import RESTClient  # noqa: PLC0415  its imports are not to be counted for others

    client, rows = RESTClient(api_key=KEY, base=url), 0
    for date in dates:
        gte_ns, lt_ns = day_bounds_ns(date, date)
        trades = client.list_trades(
            ticker,
            timestamp_gte=gte_ns,
            timestamp_lt=lt_ns,
            order="asc",
            sort="timestamp",
            limit=LIMIT,
        )
        found = [vars(trade) for trade in trades]
        _write_plain(_frame_dicts(found), dest, ticker, date)
        rows += len(found)
    return rows


class _Page(msgspec.Struct):
    results: list[TradeRow] = []
    next_url: str = ""


def prepare_floor(url: str, ticker: str, dates: list[dt.date], dest: Path) -> None:
    """Fetch the columns that the floor writes; not counted."""
    with PolygonClient(_configure(url), RequestLimiter(0, dest, url)) as client:
        for date in dates:
            READY[ticker, date] = client.fetch_trades(ticker, *day_bounds_ns(date, date)).trades


def fetch_floor(url: str, ticker: str, dates: list[dt.date], dest: Path) -> int:
    """Inflate, decode, and write columns that are ready: no check, no column built, no proof."""
    session, decoder, rows = requests.Session(), msgspec.json.Decoder(_Page), 0
    for date in dates:
        gte_ns, lt_ns = day_bounds_ns(date, date)
        address = (
            f"{url}/v3/trades/{ticker}?timestamp.gte={gte_ns}&timestamp.lt={lt_ns}"
            f"&order=asc&sort=timestamp&limit={LIMIT}"
        )
        while address:
            answer = session.get(address, headers=_headers(), timeout=60, stream=True)
            packed = answer.raw.read(decode_content=False)
            page = decoder.decode(isal_zlib.decompress(packed, wbits=31))
            rows += len(page.results)
            address = _follow(url, page.next_url)
        _write_plain(READY[ticker, date], dest, ticker, date)
    return rows


def _configure(url: str) -> ClientConfig:
    return ClientConfig(base_url=url, api_key=KEY)


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}", "Accept-Encoding": "gzip"}


def _follow(url: str, next_url: str | None) -> str:
    """Return the next page's address on our host, empty at the end."""
    return f"{url}/v3/trades/{next_url.split('/v3/trades/', 1)[1]}" if next_url else ""


def _frame_dicts(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def _write_plain(trades: pl.DataFrame, dest: Path, ticker: str, date: dt.date) -> None:
    folder = dest / ticker / f"date={date}"
    folder.mkdir(parents=True, exist_ok=True)
    trades.write_parquet(folder / "trades.parquet", compression="zstd", compression_level=2)


CONTENDERS: dict[str, Fetch] = {
    "ours": fetch_ours,
    "single": lambda *cell: fetch_ours(*cell, run=1),
    "naive": fetch_naive,
    "official": fetch_official,
    "floor": fetch_floor,
}


def main() -> None:
    """Run one contender and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("url")
    parser.add_argument("ticker")
    parser.add_argument("dates", nargs="+", type=dt.date.fromisoformat)
    parser.add_argument("--dest", type=Path, required=True)
    options = parser.parse_args()
    options.dest.mkdir(parents=True)
    contend = CONTENDERS[options.name]
    work = [*WARM_UP, (options.ticker, len(options.dates))]
    for ticker, sessions in work if options.name == "floor" else ():
        prepare_floor(options.url, ticker, options.dates[:sessions], options.dest)
    # Beside the files that count, and not removed: a file system that has just lost files
    # (ext4 keeps their inodes for half a minute) takes several times as long for new ones.
    warm_up = options.dest.with_name(f"{options.dest.name}_warm_up")
    warm_up.mkdir()
    for ticker, sessions in WARM_UP:
        contend(options.url, ticker, options.dates[:sessions], warm_up)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    rows = contend(options.url, options.ticker, options.dates, options.dest)
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    files = [path for path in options.dest.rglob("*.parquet") if path.is_file()]
    print(
        json.dumps(
            {
                "rows": rows,
                "cpu_s": cpu_s,
                "wall_s": wall_s,
                "peak_mib": measure_peak_mb(),
                "bytes": sum(path.stat().st_size for path in files),
            }
        )
    )


if __name__ == "__main__":
    main()
