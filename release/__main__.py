"""``python -m release [dist|audit]``: all steps of a release, or one. Ends with 3 if vulnerabilities can't be known."""

from __future__ import annotations

import argparse
import sys
import tomllib

from release import PROJECT, Refused, steps
from release.advisories import Unknown


def main() -> int:
    """0 done; 1 a step was refused; 3 there are no data about vulnerabilities here."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("dist", "audit"), help="only this step")
    part = parser.parse_args().part
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    try:
        if part == "dist":
            steps.dist(version)
        elif part == "audit":
            steps.audit()
        else:
            steps.run(steps.release(version), lambda line: print(line, flush=True))
    except Refused as fault:
        print(f"release {part or version}: {fault}", file=sys.stderr)
        return 3 if isinstance(fault, Unknown) else 1
    if part == "audit":
        print("No known vulnerability in the runtime dependencies.")
    else:
        print(f"{steps.DIST.name}/: {', '.join(sorted(each.name for each in steps.DIST.iterdir()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
