# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of faults, tests/faults.md: what can go wrong, what becomes of it, and which tests show that."""

import collections
import os
import re

from .results import FAILED, PASSED

TABLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "faults.md")
NOT_SHOWN = "not shown: "

# How many there are of each kind. A row that is added is counted here as well; none goes unnoticed.
KINDS = {"L": 27, "D": 9, "H": 24, "Q": 18, "G": 20, "C": 20, "T": 12}
IDS = ["%s%d" % (kind, i) for kind, n in KINDS.items() for i in range(1, n + 1)]

# line: where it stands; tests: as ./dev test --only takes them; reason: why there are none, or ""
Row = collections.namedtuple("Row", "id line fault behaviour tests reason")


def rows_of(text):
    """The rows of the table."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        cells = [x.strip() for x in line.strip().strip("|").split(" | ")]
        if re.match(r"\| [A-Z]\d+ \|", line) and len(cells) == 4:
            shown = cells[3]
            reason = shown[len(NOT_SHOWN):] if shown.startswith(NOT_SHOWN) else ""
            tests = [] if reason else re.findall(r"`([^`]+)`", shown)
            rows.append(Row(cells[0], number, cells[1], cells[2], tests, reason))
    return rows


def outcome_states(reports):
    """{name: states} of the tests that have been run, without what tells the turns of one from each other."""
    states = collections.defaultdict(set)
    for report in reports:
        for outcome in report.outcomes:
            name = re.sub(r"(\[\d+\]| [\[(].*)$", "", outcome.name)
            states["%s:%s" % (report.title, name)].add(outcome.state)
    return states


def count(reports, rows):
    """One line: how many rows have been tested by these outcomes, and how many of them failed."""
    states = outcome_states(reports)
    seen = [set().union(*(states.get(x, set()) for x in row.tests)) for row in rows]
    n_failed = sum(FAILED in x for x in seen)
    n_tested = sum(PASSED in x and FAILED not in x for x in seen)
    n_not_shown = sum(bool(x.reason) for x in rows)
    n_left = len(rows) - n_failed - n_tested - n_not_shown
    text = "faults: %d rows tested, %d not shown, with their reasons" % (n_tested, n_not_shown)
    text += ", %d failed" % n_failed if n_failed else ""
    text += ", %d not this time" % n_left if n_left else ""
    return text + " (tests/faults.md)"


def summary(reports):
    """The same of the table as it is."""
    with open(TABLE, encoding="utf-8") as f:
        return count(reports, rows_of(f.read()))
