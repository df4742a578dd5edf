# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults of the bus and of whoever calls us, and what the programs cannot do; see tests/faults.md."""

import glob
import os
import re
import subprocess
import tempfile
import time
import unittest

from _bus import BUILD, LIMIT, wait_for
from _daemon import DAEMON, DaemonCase

MANY = 500


class Bus(DaemonCase):
    """The bus goes."""

    machine = "Machine=web"

    def test_daemon_ends_with_the_bus(self):
        self.bus.process.kill()
        self.assertNotEqual(self.daemon.wait(LIMIT), 0)


class NoBus(unittest.TestCase):
    """None to connect to."""

    quick = True

    def test_daemon_without_a_bus_says_so_and_ends(self):
        with tempfile.TemporaryDirectory(prefix="suspendd-faults-") as folder:
            done = subprocess.run([DAEMON, "--config=/dev/null"], timeout=LIMIT, stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=%s/nowhere" % folder,
                                       "RUNTIME_DIRECTORY": folder + "/run", "STATE_DIRECTORY": folder + "/state"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("Cannot connect to the system bus", done.stderr)


class NoLogind(DaemonCase):
    """None yet."""

    machine = "Machine=web"
    has_logind = False

    def test_without_logind_it_says_so_and_waits(self):
        status = self.json("status")
        self.assertEqual((status["lock_held"], status["status"]), (False, "1 machine, no lock: the host does not wait for us"))
        self.start_logind()
        wait_for(lambda: self.json("status")["lock_held"], "the lock")
        self.assertIn("lock held, budget", self.json("status")["status"])


class Many(DaemonCase):
    """So many machines."""

    machine = "\n".join("Machine=m%d latency=20" % i for i in range(MANY))

    def test_hundreds_are_told_at_once_and_stop_at_once(self):
        began = time.monotonic()
        text = subprocess.run(["busctl", "--address=unix:path=" + self.bus.path, "call", "org.suspendd1", "/org/suspendd1",
                               "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"], stdout=subprocess.PIPE,
                              check=True, timeout=LIMIT).stdout
        self.assertEqual(text.count(b'"Id" s'), MANY)
        self.assertEqual(len(self.json("list")), MANY)
        self.assertLess(time.monotonic() - began, 10)
        record = self.json("rehearse", "--for=0")
        self.assertEqual(len([x for x in record["machines"] if x["stood"] and not x["failed"]]), MANY)
        self.assertLess(record["released_after_usec"], 2000000)


class Callers(DaemonCase):
    """Whoever asks and does not wait for the answer."""

    machine = "Machine=web store=never"

    def test_caller_that_leaves_is_not_answered(self):
        child = self.spawn(["busctl", "--address=unix:path=" + self.bus.path, "call", "org.suspendd1",
                            "/org/suspendd1/machine/web", "org.suspendd1.Machine", "StoreMode", "s", "pause"])
        wait_for(lambda: "asked to store a mode" in self.log(), "the plugin to be asked")
        child.kill()
        child.wait(LIMIT)
        self.good("notify", "fake", "stopped", "web")  # ends the request
        self.good("notify", "fake", "started", "web")
        self.assertEqual([x["id"] for x in self.json("list")], ["web"])
        self.assertIsNone(self.daemon.poll())


class Programs(unittest.TestCase):
    """What the programs are made of."""

    quick = True

    def test_no_name_is_looked_up_in_a_cycle(self):
        names = re.compile(r" U (getpw|getgr|getaddrinfo|gethost|getserv|initgroups|getlogin)\w*")
        programs = [DAEMON] + glob.glob(os.path.join(BUILD, "src/plugins/*/*.so"))
        self.assertGreaterEqual(len(programs), 4)
        found = set()
        for program in programs:
            symbols = subprocess.run(["nm", "-D", "--undefined-only", program], check=True, stdout=subprocess.PIPE,
                                     text=True).stdout
            found |= {(os.path.basename(program), x.group().split()[1]) for x in names.finditer(symbols)}
        # The page's plugin alone, for the owner of a page that is made.
        self.assertEqual({x for x, _ in found} - {"page.so"}, set(), found)


if __name__ == "__main__":
    unittest.main()
