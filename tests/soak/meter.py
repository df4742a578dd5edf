# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon keeps: memory, descriptors, threads, each time measured when there is no machine."""

import os

from house import Violation

# What a heap may differ by without having grown.
SLACK_KIB = 64
SLACK_PERCENT = 5
NEEDED = 6


def sample(pid):
    """{what: how much} of a process; memory in KiB."""
    found = {"fds": len(os.listdir("/proc/%d/fd" % pid)), "threads": len(os.listdir("/proc/%d/task" % pid))}
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            words = line.split()
            if words[0] in ("Pss:", "Anonymous:"):
                found[words[0][:-1].lower()] = int(words[1])
    return found


class Meter:
    """Samples of one daemon over its life."""

    def __init__(self):
        self.samples = []

    def add(self, pid):
        """One more, of what has no machines."""
        self.samples.append(sample(pid))

    def check(self):
        """A Violation if anything grew: no descriptor, no thread; no memory from the second third to the last."""
        if len(self.samples) < NEEDED:
            return
        third = len(self.samples) // 3
        middle, last = self.samples[third:2 * third], self.samples[-third:]
        for what in ("fds", "threads"):
            counts = sorted({x[what] for x in middle + last})
            if len(counts) > 1:
                raise Violation("%s are as many as before" % what, [x[what] for x in self.samples])
        for what in ("pss", "anonymous"):
            before, after = (min(x[what] for x in part) for part in (middle, last))
            if after > before * (100 + SLACK_PERCENT) / 100 + SLACK_KIB:
                raise Violation("%s is flat (KiB)" % what, [x[what] for x in self.samples])

    def tell(self):
        """A line with the first and the last."""
        if not self.samples:
            return "not measured"
        first, last = self.samples[0], self.samples[-1]
        return ", ".join("%s %d → %d%s" % (what, first[what], last[what], unit) for what, unit in (
            ("pss", " KiB"), ("anonymous", " KiB"), ("fds", ""), ("threads", ""))) + " (%d samples)" % len(self.samples)
