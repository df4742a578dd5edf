# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sleeps that do not go as sleeps should: short, failed, unannounced, or with somebody killed in their middle."""

import unittest

from lab import wait_for
from _case import MS, SECOND, SystemCase, of
from _outer import MEDIA

HOOK_SECONDS = 4
HOOK = "/usr/lib/systemd/system-sleep/lab"


class OddSleeps(SystemCase):
    """Each ends with all machines as they were, and with a record that tells the truth."""

    def setUp(self):
        super().setUp()
        self.inside.wait_known()
        self.assert_all_run()

    def tearDown(self):
        self.host.run("rm -f %s && systemctl start suspendd" % HOOK)
        self.assert_no_overrun()
        super().tearDown()

    def hook(self, command, after=False):
        """Has systemd-sleep run a command right before the kernel sleeps, or after it."""
        self.host.write(HOOK, "#!/bin/sh\n[ \"$1\" = %s ] || %s\n" % ("pre" if after else "post", command), "755")

    def slept(self, cycle):
        """How long the kernel says that it has slept, in nanoseconds: what its clocks are apart by since then."""
        return cycle.events.slept[-1] - cycle.events.slept[-2]

    def assert_stood(self, cycle):
        """All stood while the kernel slept."""
        entry, woke, awake = (cycle.events.find("kernel", x).at for x in
                              ("PM: suspend entry (deep)", "ACPI: PM: Low-level resume complete", "PM: suspend exit"))
        for name in self.inside.RUNNING:
            self.assertLess(cycle.events.find(name, "STOP").at, entry, name)
            self.assertGreater(cycle.events.find(name, "RESUME").at, woke, name)
            self.assertLess(cycle.events.find(name, "RESUME").at - awake, 10 * SECOND, name)

    def assert_told(self, cycle, **wanted):
        """What the record says of the whole."""
        self.assertEqual({x: cycle.record[x] for x in wanted}, wanted)
        self.assertLess(abs(cycle.record["slept_ns"] - self.slept(cycle)), 50 * MS)

    def test_sleep_shorter_than_a_second(self):
        cycle = self.inside.cycle(0.3)
        self.assertLess(cycle.sleep.length, 1)
        self.assert_stood(cycle)
        self.assert_told(cycle, kind="sleep", ended="woke", host_slept=True)
        self.assert_all_run()

    def test_hooks_are_not_waited_for(self):
        """logind says that the sleep is over when all hooks are; the machines run when it is."""
        self.hook("sleep %d" % HOOK_SECONDS, after=True)
        cycle = self.inside.cycle(4)
        self.assert_stood(cycle)
        self.assert_told(cycle, kind="sleep", ended="woke", host_slept=True)
        awake = cycle.events.find("kernel", "PM: suspend exit").at
        last = max(cycle.events.find(x, "RESUME").at for x in self.inside.RUNNING) - awake
        told = wait_for(lambda: self.inside.events().find("logind", "PrepareForSleep(false)", cycle.mark), 30,
                        "logind says that the sleep is over", interval=0.5).at - awake
        self.figure = "all run %.2f s after the wake, %.2f s before logind tells of it" % (last / SECOND, (told - last) / SECOND)
        self.assertGreater(told - last, HOOK_SECONDS / 2 * SECOND)
        self.inside.wait_lock()

    def test_sleep_that_the_kernel_refuses(self):
        self.host.run("install -D -m 755 %s/inside/refuse-sleep.sh %s" % (MEDIA, HOOK))
        cycle = self.inside.refused()
        self.assertIsNone(cycle.events.find("kernel", "ACPI: PM: Low-level resume complete"))
        for name in self.inside.RUNNING:
            self.assertEqual(cycle.events.of(name), ["STOP", "RESUME"])
        self.assert_told(cycle, kind="sleep", ended="failed", host_slept=False)
        self.assertGreaterEqual(cycle.record["suspend_stats"]["fail"], 1)
        self.assert_all_run()

    def test_unannounced_sleep(self):
        cycle = self.inside.cycle(4, "echo mem >/sys/power/state")
        for name in self.inside.RUNNING:
            self.assertEqual(cycle.events.of(name), [], "nobody has stopped it")
            self.assertIsNone(of(cycle.record, name)["stood"])
        self.assert_told(cycle, kind="unannounced", ended="woke", host_slept=True)
        time = of(cycle.record, "web")["time"]
        self.assertLess(time["before_ns"], -self.slept(cycle) + 100 * MS)
        self.assertLess(abs(time["after_ns"]), SECOND)
        self.assert_all_run()

    def test_logind_killed(self):
        self.hook("systemctl kill -s KILL systemd-logind")
        cycle = self.inside.cycle(4)
        self.assert_stood(cycle)
        self.assert_told(cycle, kind="sleep", ended="woke", host_slept=True)
        self.assertIsNone(cycle.events.find("logind", "PrepareForSleep(false)"))
        self.assert_all_run()

    def test_suspendd_killed(self):
        self.hook("systemctl kill -s KILL suspendd")
        cycle = self.inside.cycle(4)
        self.assert_stood(cycle)
        # Its next life begins when the host is awake, and knows by its journal how long the sleep was.
        self.assert_told(cycle, kind="recovery", ended="woke", host_slept=True)
        for name in self.inside.RUNNING:
            self.assertGreater(of(cycle.record, name)["stopped_ns"], self.slept(cycle))
        self.assert_all_run()

    def test_sleep_while_suspendd_was_away(self):
        self.host.run("systemctl stop suspendd")
        n_records = len(self.inside.records())
        cycle = self.inside.cycle(4, recorded=False)
        self.host.run("systemctl start suspendd")
        cycle = cycle._replace(record=self.inside.wait_record(n_records))
        for name in self.inside.RUNNING:
            self.assertEqual(cycle.events.of(name), [], "nobody has stopped it")
        self.assert_told(cycle, kind="unannounced", ended="woke", host_slept=True)
        self.assertLess(abs(of(cycle.record, "web")["time"]["after_ns"]), SECOND)
        self.assert_all_run()


if __name__ == "__main__":
    unittest.main()
