# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checks on the whole tree: "./dev check [NAME...]"."""

import sys
import time

sys.dont_write_bytecode = True
from _all import CHECKS  # noqa: E402
from _tree import Tree, Unavailable  # noqa: E402


def main(wanted):
    """Makes the checks, all or those wanted. Returns the exit code."""
    tree = Tree()
    n_problems = 0
    checks = [x for x in CHECKS if not wanted or x.__name__ in wanted]
    for i, check in enumerate(checks, 1):
        started = time.monotonic()
        try:
            problems = check(tree)
            word = "%d problems" % len(problems) if problems else "ok"
        except Unavailable as reason:
            problems, word = [], "skipped: %s" % reason
        print("[%d/%d] %-16s %s (%.1f s)" % (i, len(checks), check.__name__, word, time.monotonic() - started))
        for problem in problems:
            print("    " + problem)
        sys.stdout.flush()
        n_problems += len(problems)
    return 1 if n_problems else 0


sys.exit(main(sys.argv[1:]))
