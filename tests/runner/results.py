# SPDX-License-Identifier: LGPL-2.1-or-later
"""What came out: one outcome a test, one row a suite, and the line that everything ends with."""

import collections
import fnmatch
import sys
import time

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

Outcome = collections.namedtuple("Outcome", "name state detail")


def print_line(text):
    """Prints a line as a whole: others print beside us."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Report:
    """The outcomes of one suite; prints each line as it comes."""

    def __init__(self, title):
        self.title = title
        self.outcomes = []
        self.started = time.monotonic()
        self.seconds = 0

    def add(self, name, state, detail=""):
        """Counts one test."""
        self.outcomes.append(Outcome(name, state, detail))

    def line(self, state, text):
        """Shows how it goes."""
        print_line("  %-7s %s:%s" % (state, self.title, text))

    def add_line(self, name, state, detail=""):
        """Counts one test and shows it."""
        self.add(name, state, detail)
        self.line(state, name + (": " + detail.strip().splitlines()[-1] if detail.strip() else ""))

    def count(self, state):
        """How many ended so."""
        return sum(1 for x in self.outcomes if x.state == state)

    def finish(self):
        """Stops the watch."""
        self.seconds = time.monotonic() - self.started
        return self


def matches(pattern, name):
    """Whether --only PATTERN means the test @name: a part of its name, or a glob for the whole."""
    return not pattern or pattern in name or fnmatch.fnmatchcase(name, pattern)


def print_details(reports):
    """What failed and why; what was skipped and why."""
    for report in reports:
        for outcome in report.outcomes:
            if outcome.state == FAILED:
                print("\nFAILED %s: %s" % (report.title, outcome.name))
                for text in outcome.detail.strip().splitlines()[-60:]:
                    print("    " + text)
    print()
    for report in reports:
        reasons = collections.Counter(x.detail or "no reason given" for x in report.outcomes if x.state == SKIPPED)
        for reason, n in reasons.items():
            print("skipped %s: %d x %s" % (report.title, n, reason))


def print_table(reports):
    """A row a suite."""
    width = max([len(x.title) for x in reports] + [5])
    print("\n%-*s  %7s %7s %7s %7s" % (width, "suite", PASSED, FAILED, SKIPPED, "time"))
    for report in reports:
        counts = tuple(report.count(x) for x in (PASSED, FAILED, SKIPPED))
        print("%-*s  %7d %7d %7d %6.0fs" % ((width, report.title) + counts + (report.seconds,)))


def summarize(reports, *more):
    """Prints everything, @more lines too; the last line is what machines read. Returns the exit code."""
    totals = {state: sum(x.count(state) for x in reports) for state in (PASSED, FAILED, SKIPPED)}
    print_details(reports)
    print_table(reports)
    print()
    for line in more:
        print(line)
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % totals)
    sys.stdout.flush()
    return 1 if totals[FAILED] or not totals[PASSED] else 0
