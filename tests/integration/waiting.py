#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What takes long to answer waits while a cycle does; what does not is answered. The daemon as it is, with the fake plugin."""

import subprocess
import unittest

from _bus import COMMAND, LIMIT, wait_for
from _daemon import DaemonCase
from _flood import connect, message

OBJECTS = ("/org/suspendd1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
HISTORY = ("/org/suspendd1", "org.suspendd1.Manager", "GetHistory", "u", "0")
WAITING_MAX = 64
BUSY = b"org.suspendd1.Error.Busy\0"


class Waiting(DaemonCase):
    """A machine that does not stand when it shall: the cycle prepares until its time is over."""

    machine = "Machine=web"

    def busctl(self, *arguments):
        """busctl on the test's bus."""
        return ["busctl", "--address=unix:path=" + self.bus.path, *arguments]

    def state(self):
        """Of the cycle."""
        return subprocess.run(self.busctl("get-property", "org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager",
                                          "State"), stdout=subprocess.PIPE, text=True, check=True,
                              timeout=LIMIT).stdout.split('"')[1]

    def call(self, what):
        """Calls, and does not wait for the answer."""
        child = self.spawn(self.busctl("call", "org.suspendd1", *what), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.stdout.close)
        return child

    def prepare(self):
        """Begins a cycle that goes on for a while."""
        wait_for(lambda: self.json("list"), "the machine")
        self.good("rehearse", "--for=0", "--quiet")
        self.reload("Machine=web suspend=none pause=never")
        self.spawn([COMMAND, "rehearse", "--for=0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.state() == "preparing", "the cycle")

    def test_what_takes_long_waits_and_is_answered(self):
        self.prepare()
        children = [self.call(OBJECTS), self.call(HISTORY)]
        self.good("list")
        self.assertEqual([x.poll() for x in children], [None, None])
        self.assertEqual(self.state(), "preparing", "in time to see it")
        objects, history = [x.communicate(timeout=LIMIT)[0] for x in children]
        self.assertIn("/org/suspendd1/machine/web", objects)
        self.assertIn("rehearsal", history)

    def test_no_more_wait_than_there_is_room_for(self):
        self.prepare()
        with connect(self.bus.path) as s:
            s.sendall(b"".join(message("org.suspendd1", HISTORY[0], *HISTORY[1:3], (0,), serial=2 + i)
                               for i in range(WAITING_MAX + 6)))
            s.settimeout(LIMIT)
            seen = b""
            while seen.count(BUSY) < 6:
                seen += s.recv(65536)
            self.assertEqual(self.state(), "preparing", "in time to see it")
            self.assertNotIn(b"rehearsal", seen)
            while seen.count(b'"rehearsal"') < WAITING_MAX:
                seen += s.recv(65536)
        self.assertEqual(seen.count(BUSY), 6)


if __name__ == "__main__":
    unittest.main()
