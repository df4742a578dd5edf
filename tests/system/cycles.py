# SPDX-License-Identifier: LGPL-2.1-or-later
"""Five real sleeps in a row, on a host with QEMUs of its own and a domain of libvirt's, where suspendd was installed."""

import re
import unittest

from lab import wait_for
from _case import MS, SECOND, SystemCase, of

EXPOSURE_MAX = 1.2
N_SLEEPS = 5
SLEEP_SECONDS = 3
TOLD_MAX = SECOND // 2  # between an event and what the record says of it, in an emulated machine


class FiveSleeps(SystemCase):
    """What each of five sleeps has shown."""

    @classmethod
    def prepare(cls):
        """The sleeps."""
        super().prepare()
        cls.cycles = [cls.inside.cycle(SLEEP_SECONDS + i % 2) for i in range(N_SLEEPS)]

    def test_all_stood_before_the_kernel_slept(self):
        for cycle in self.cycles:
            entry = cycle.events.find("kernel", "PM: suspend entry (deep)")
            for name in self.inside.RUNNING:
                self.assertLess(cycle.events.find(name, "STOP").at, entry.at, name)
                self.assertEqual(of(cycle.record, name)["stood"], "paused")

    def test_all_run_after(self):
        for cycle in self.cycles:
            awake = cycle.events.find("kernel", "ACPI: PM: Low-level resume complete")
            for name in self.inside.RUNNING:
                self.assertGreater(cycle.events.find(name, "RESUME").at, awake.at, name)
                self.assertEqual(cycle.events.of(name), ["STOP", "RESUME"])
        self.assert_all_run()

    def test_what_its_user_had_paused_is_left_alone(self):
        for cycle in self.cycles:
            self.assertEqual(cycle.events.of("mine"), [])
            self.assertEqual(of(cycle.record, "mine")["asked"], "nothing")

    def test_record_tells_how_long_it_slept(self):
        wrong = []
        for cycle in self.cycles:
            self.assertEqual((cycle.record["kind"], cycle.record["ended"], cycle.record["host_slept"]), ("sleep", "woke", True))
            wrong.append(cycle.record["slept_ns"] / SECOND - cycle.sleep.length)
            self.assertLessEqual(abs(wrong[-1]), 1)
        self.figure = "slept is off by %s s" % ", ".join("%+.2f" % x for x in wrong)

    def test_record_tells_how_long_each_stood(self):
        for cycle in self.cycles:
            for name in self.inside.RUNNING:
                stood = cycle.events.find(name, "RESUME").at - cycle.events.find(name, "STOP").at
                told = of(cycle.record, name)["stopped_ns"]
                self.assertGreaterEqual(told, cycle.record["slept_ns"])
                self.assertLess(abs(told - stood), TOLD_MAX, name)

    def test_guest_has_the_right_time(self):
        left = []
        for cycle in self.cycles:
            time = of(cycle.record, "web")["time"]
            self.assertLess(time["before_ns"], -cycle.record["slept_ns"] + 100 * MS)
            left.append(time["after_ns"] / MS)
            self.assertLess(abs(time["after_ns"]), SECOND)
        self.figure = "left: %s ms" % ", ".join("%+.0f" % x for x in left)

    def test_history_has_five_records(self):
        self.assertEqual([x["number"] for x in self.inside.records()], list(range(1, N_SLEEPS + 1)))

    def test_lock_was_never_overrun(self):
        for cycle in self.cycles:
            self.assertEqual((cycle.record["protected"], cycle.record["overdue"]), (True, False))
        self.assert_no_overrun()

    def test_machines_run_before_logind_says_that_it_is_awake(self):
        """Of a plain suspend, whose one sleep is over."""
        told = []
        for cycle in self.cycles:
            awake = cycle.events.find("kernel", "PM: suspend exit").at
            first = min(cycle.events.find(x, "RESUME").at for x in self.inside.RUNNING)
            false = wait_for(lambda x=cycle: self.inside.events().find("logind", "PrepareForSleep(false)", x.mark), 30,
                             "logind says that it is awake", interval=0.5).at
            told.append("%.0f (%.0f)" % ((first - awake) / MS, (false - awake) / MS))
            self.assertLess(first, false)
        self.figure = "ms from the wake to the first machine (to logind's signal): %s" % ", ".join(told)

    # what was installed

    def test_systemd_has_nothing_to_say_against_the_units(self):
        # The machine has no manual.
        self.assertEqual(self.host.run("systemd-analyze verify --man=no suspendd.service suspendd-rescue.service 2>&1"), "")

    def test_service_is_exposed_as_little_as_it_was_made(self):
        told = self.host.run("systemd-analyze security --no-pager suspendd.service")
        exposure = float(re.search(r"exposure level for suspendd.service: ([0-9.]+)", told)[1])
        self.figure = str(exposure)
        self.assertLessEqual(exposure, EXPOSURE_MAX)

    def test_its_session_has_the_nice_value_of_the_unit(self):
        told = self.host.run("cat /proc/$(systemctl show --value -p MainPID suspendd)/autogroup")
        self.assertRegex(told, r" nice -10$")


if __name__ == "__main__":
    unittest.main()
