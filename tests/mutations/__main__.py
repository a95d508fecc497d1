"""``python -m tests.mutations``: take each rule away in turn, and say which test noticed first.

Exit code 1 if a mutant survives: a test is missing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutations.mutation import Mutation, Suite, copy, load

FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?::[^\s\[]+)", re.MULTILINE)
PASSED, SOME_FAILED = 0, 1


def main() -> int:
    """Answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", default="", help="mutations whose rule or title contains this")
    parser.add_argument("--every-test", action="store_true", help="name every test that notices, which takes hours")
    given = parser.parse_args()
    only, stops_at_first = given.only, not given.every_test
    chosen = [(suite, each) for suite in load() for each in suite.mutations if only in f"{each.rule}: {each.title}"]
    if not chosen:
        parser.error(f"no mutation contains {only!r}")
    for suite in {suite.select: suite for suite, _ in chosen}.values():
        if noticed := caught(suite, None):
            print(f"fails without any mutation: {', '.join(noticed)}")
            return 1
    survivors = 0
    for suite, mutation in chosen:
        noticed = caught(suite, mutation, stops_at_first=stops_at_first)
        survivors += not noticed
        print(f"{mutation.rule}: {mutation.title}", flush=True)
        for test in noticed or ["SURVIVED: no test noticed"]:
            print(f"    {test}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants caught")
    return int(bool(survivors))


def caught(suite: Suite, mutation: Mutation | None, *, stops_at_first: bool = False) -> list[str]:
    """The tests that fail with the mutation; without one, those that fail anyway.

    ``stops_at_first``: answer only the first.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        copy(project, mutation)
        # From the copy's own folder, so that it is the copy's package that is imported.
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
        command += ["-x"] if stops_at_first else ["-n", "2"]
        ended = subprocess.run(
            [*command, "-k", suite.select, *suite.tests], cwd=project, capture_output=True, text=True, check=False
        )
    if ended.returncode not in (PASSED, SOME_FAILED):
        raise SystemExit(f"the tests could not be run: {mutation}\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}")
    return sorted(set(FAILED.findall(ended.stdout)))


if __name__ == "__main__":
    sys.exit(main())
