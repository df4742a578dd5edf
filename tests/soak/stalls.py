# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the machine itself stood still: a process at the daemon's priority that wants to run each few milliseconds
notes when it could not. Who shares a CPU with much else cannot be said to be late for that."""

import multiprocessing
import os
import time

PERIOD = 0.005
STALL = 0.025
KEPT = 32


class Stalls:
    """The last stalls, told to the processes that are made from this one."""

    def __init__(self, nice):
        self._ends = multiprocessing.Array("d", KEPT, lock=False)
        self._process = multiprocessing.Process(target=self._watch, args=(nice,), daemon=True)
        self._process.start()

    def since(self, start):
        """Whether there was one since then, on time.monotonic()."""
        return any(end > start for end in self._ends)

    def stop(self):
        """Ends the watch."""
        self._process.terminate()
        self._process.join()

    def _watch(self, nice):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        n, last = 0, time.monotonic()
        try:
            while True:
                time.sleep(PERIOD)
                now = time.monotonic()
                if now - last > STALL:
                    self._ends[n % KEPT] = now
                    n += 1
                last = now
        except KeyboardInterrupt:
            pass
