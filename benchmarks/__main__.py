"""``python -m benchmarks [--quick] [--only PART …] [--to FOLDER]``: everything side by side, in one run.

With all parts the results are written: numbers as JSON, a page with tables and plots. A part alone is only printed,
unless ``--to`` says where to.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.results_page import page, plots
from benchmarks.suite import DATABASES, FULL, PARTS, QUICK, Size
from benchmarks.system import started

_RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Answers 1 if something was not measured for another reason than that it is not there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes instead of under twenty")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts")
    parser.add_argument("--to", type=Path, help=f"folder for the results; of a whole run: {_RESULTS.name}/")
    asked = parser.parse_args()
    results = run(tuple(asked.only or PARTS), QUICK if asked.quick else FULL, "quick" if asked.quick else "full")
    text = page(results)
    print(text)
    folder = asked.to or (None if asked.only else _RESULTS)
    if folder is not None:
        write(results, text, folder)
    return int(any(line.get("failed") for name in PARTS for line in results.get(name, ())))


def run(parts: tuple[str, ...], size: Size, mode: str) -> dict[str, Any]:
    """The results of these parts; what is done is told on stderr."""
    results: dict[str, Any] = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "mode": mode}
    for name in parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with started(DATABASES.get(name, ())) as system:
            results.setdefault("machine", machine.facts(system.redis))
            results[name] = []
            for line in PARTS[name](system, size):
                print(f"  {line}"[:200], file=sys.stderr, flush=True)
                results[name].append(line)
    return results


def write(results: dict[str, Any], text: str, folder: Path) -> None:
    """Numbers under their date, the page and the plots under their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{results['date']}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(text)
    for name, picture in plots(results).items():
        (folder / name).write_text(picture)


if __name__ == "__main__":
    sys.exit(main())
