"""The part of ``docs/performance.md`` that ``make bench`` writes, between two markers.

What belongs here: results to Markdown.  What does not: running and judging them (``run``).
"""

from pathlib import Path

from measuring import show

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
Row = dict[str, object]


def write_page(path: Path, report: dict[str, object]) -> None:
    """Put a report in place of the one between the markers of a page."""
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise SystemExit(f"{path}: expected the markers {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{format_report(report)}{END}{tail}", encoding="utf-8")


def format_report(report: dict[str, object]) -> str:
    """Return a report as Markdown."""
    machine, benches = report["machine"], report["benches"]
    seconds = sum(bench.get("seconds", 0) for bench in benches)
    intro = (
        f"Measured on {report['date']}: {machine['cpus']} CPUs, {machine['system']}, Python "
        f"{machine['python']}, all in one run of {seconds / 60:.0f} minutes.\n"
    )
    targets = [row for bench in benches for row in bench["rows"] if "target" in row]
    parts = [intro, format_targets(targets), *(format_bench(bench) for bench in benches)]
    return "\n" + "\n".join(parts)


def format_targets(rows: list[Row]) -> str:
    """Return the table of targets."""
    lines = ["| target | wanted | measured | |", "|---|---|---|---|"]
    for row in rows:
        verdict = "pass" if row["holds"] else "**short**"
        measured = f"{show(row['median'])} {row['unit']}"
        lines.append(f"| {row['target']} | {row['limit']} | {measured} | {verdict} |")
    return "\n".join(lines) + "\n"


def format_bench(bench: dict[str, object]) -> str:
    """Return the table of one benchmark."""
    lines = [f"### {bench['bench']}\n", f"{bench.get('error') or bench.get('about', '')}\n"]
    lines += ["| measure | median | lowest | highest | runs |", "|---|---|---|---|---|"]
    for row in bench["rows"]:
        lowest, highest = show(row["lowest"]), show(row["highest"])
        median = f"{show(row['median'])} {row['unit']}"
        lines.append(f"| {row['measure']} | {median} | {lowest} | {highest} | {row['runs']} |")
    return "\n".join(lines) + "\n"
