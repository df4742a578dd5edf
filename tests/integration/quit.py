#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon that is told to end while a machine does not run again yet: no sleep waits for it any more."""

import json
import signal
import subprocess
import unittest

from _bus import LIMIT, wait_for
from _daemon import DaemonCase

LOGIND = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"]
CONTROL = ["org.suspendd.FakeLogin1", "/org/suspendd/FakeLogin1", "org.suspendd.FakeLogin1"]


class Quit(DaemonCase):
    """A machine that takes longer to run again than logind waits."""

    machine = "Machine=web resume=never wake=never"

    def busctl(self, *arguments):
        """What busctl says, as JSON."""
        done = subprocess.run(["busctl", "--address=unix:path=" + self.bus.path, "--json=short", *arguments],
                              stdout=subprocess.PIPE, check=True, timeout=LIMIT)
        return json.loads(done.stdout)["data"] if done.stdout else None

    def inhibited(self):
        """What logind delays."""
        return self.busctl("get-property", *LOGIND, "DelayInhibited")

    def test_sleep_after_the_word_to_end_is_not_delayed(self):
        self.busctl("call", *CONTROL, "SleepAndWait", "t", "10000")
        wait_for(lambda: self.inhibited() == "sleep", "the lock for the next sleep")
        self.daemon.send_signal(signal.SIGTERM)
        self.wait_status("STOPPING=1")
        wait_for(lambda: self.inhibited() == "", "no lock")
        self.assertIsNone(self.daemon.poll(), "it is still at it")
        told = json.loads(self.busctl("call", *CONTROL, "SleepAndWait", "t", "10000")[0])
        self.assertFalse(told["overrun"])


if __name__ == "__main__":
    unittest.main()
