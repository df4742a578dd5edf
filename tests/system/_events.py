# SPDX-License-Identifier: LGPL-2.1-or-later
"""What inside/watch.py has written, with all moments by one clock: the outer machine's CLOCK_BOOTTIME, in nanoseconds.

That clock counts the sleep, and CLOCK_REALTIME keeps its distance to it as long as nobody sets that. The kernel's own
stamps are compared with it by marks, one at the start and one after each wake."""

import collections
import json

Event = collections.namedtuple("Event", "source what at")


class Events:
    """All that was written until now, in the order of writing."""

    def __init__(self, text):
        self.rows = [json.loads(x) for x in text.splitlines(True) if x.endswith("\n")]
        self.offsets = self._read_marks()
        self.all = list(self._events())

    def _read_marks(self):
        """[what to add to the kernel's stamps], of each mark; and the part of it that is sleep: [boottime - monotonic]."""
        written = {x["what"]: x for x in self.rows if x["source"] == "mark"}
        stamped = {x["what"]: x["stamp"] for x in self.rows if x["source"] == "kernel"}
        self.slept = []
        offsets = []
        for what, row in written.items():
            if what not in stamped:
                continue  # it is under way
            monotonic, boottime, _ = row["clocks"]
            self.slept.append(boottime - monotonic)
            offsets.append(row["stamp"] - stamped[what] + boottime - monotonic)
        return offsets

    def _events(self):
        n_sleeps, resumed = 0, 0
        for row in self.rows:
            if row["source"] == "kernel":
                resumed |= "Low-level resume" in row["what"]
                yield Event("kernel", row["what"], row["stamp"] + self.offsets[min(n_sleeps + resumed, len(self.offsets) - 1)])
                if row["what"].endswith(" exit"):
                    n_sleeps, resumed = n_sleeps + 1, 0
            elif row["stamp"] and row["source"] != "mark":
                _, boottime, realtime = row["clocks"]
                yield Event(row["source"], row["what"], row["stamp"] - realtime + boottime)

    def mark(self):
        """How many there are, for `since`."""
        return len(self.all)

    def find(self, source, what, since=0):
        """The first such event after the mark, or None."""
        return next((x for x in self.all[since:] if x.source == source and x.what.startswith(what)), None)

    def of(self, source, since=0):
        """What a source has told since the mark."""
        return [x.what for x in self.all[since:] if x.source == source]
