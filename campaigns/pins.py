"""`python -m campaigns.pins`: what `pip-audit` says of the pinned versions, read from its JSON.

Exit code 1 when a version has a known vulnerability.  An index that knows no advisories is not a
failure, but it is said: nothing was found because nothing was looked up.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

FOUND = 1


def describe(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each vulnerability, then how many versions were looked up.

    Args:
        report: The JSON of ``pip-audit``.
    """
    pins = report["dependencies"]
    for pin in pins:
        for flaw in pin.get("vulns", ()):
            cure = ", ".join(flaw["fix_versions"]) or "no version yet"
            yield f"{pin['name']} {pin['version']}: {flaw['id']}, cured by {cure}"
    skipped = [pin for pin in pins if "skip_reason" in pin]
    yield f"{len(pins) - len(skipped)} of {len(pins)} pinned versions were looked up"
    if skipped:
        yield (
            f"{len(skipped)} were not: {skipped[0]['skip_reason']}. That proves nothing: run it "
            "where an index with advisories can be reached"
        )


def is_flawed(report: Mapping[str, Any]) -> bool:
    """Say whether a pinned version has a known vulnerability."""
    return any(pin.get("vulns") for pin in report["dependencies"])


def main() -> int:
    """Read the report of standard input and judge it."""
    text = sys.stdin.read()
    if not text.strip():
        sys.stdout.write("nothing was looked up: pip-audit gave no report\n")
        return 0
    report = json.loads(text)
    for line in describe(report):
        sys.stdout.write(f"{line}\n")
    return FOUND if is_flawed(report) else 0


if __name__ == "__main__":
    sys.exit(main())
