# SPDX-License-Identifier: LGPL-2.1-or-later
"""Suspend-then-hibernate: two sleeps of the host that are one to its machines.

The first ends by the alarm that systemd-sleep has set. For the second the kernel writes its image to the disk, and then
sleeps in memory instead of switching itself off: this is as far as it goes without a machine that starts anew."""

import unittest

from _case import MS, SECOND, SystemCase, of

HOOK = "/usr/lib/systemd/system-sleep/lab"
CONFIG = "[Sleep]\nHibernateMode=suspend\nHibernateDelaySec=6s\n"
# Between the sleeps systemd-sleep looks whether its time is over; the alarm may come up to a second before that.
PAUSE = "#!/bin/sh\n[ \"$1\" = pre ] || sleep 2\n"
SLEEP_SECONDS = 5


class SuspendThenHibernate(SystemCase):
    """What one of these has shown."""

    @classmethod
    def prepare(cls):
        """The sleeps."""
        super().prepare()
        cls.host.run("swapon /dev/vdc && echo $(stat -c %Hr:%Lr /dev/vdc) >/sys/power/resume")
        cls.host.write("/etc/systemd/sleep.conf.d/lab.conf", CONFIG)
        cls.host.write(HOOK, PAUSE, "755")
        cls.cycle = cls.inside.double_cycle(SLEEP_SECONDS)

    def at(self, what):
        """When the kernel has told so."""
        return self.cycle.events.find("kernel", what).at

    def test_host_was_awake_between_them(self):
        awake = self.at("PM: hibernation: hibernation entry") - self.at("PM: suspend exit")
        self.assertGreater(awake, SECOND)
        self.figure = "for %.1f s" % (awake / SECOND)

    def test_machines_stand_until_both_are_over(self):
        for name in self.inside.RUNNING:
            self.assertEqual(self.cycle.events.of(name), ["STOP", "RESUME"])
            self.assertLess(self.cycle.events.find(name, "STOP").at, self.at("PM: suspend entry (deep)"), name)
            self.assertGreater(self.cycle.events.find(name, "RESUME").at, self.at("PM: hibernation: hibernation exit"), name)
        self.assert_all_run()

    def test_it_is_one_record_with_both_lengths(self):
        record = self.cycle.record
        self.assertEqual((record["kind"], record["ended"], record["host_slept"]), ("sleep", "woke", True))
        self.assertEqual(len(self.inside.records()), 1)
        slept = self.cycle.events.slept[-1] - self.cycle.events.slept[-3]
        self.assertLess(abs(record["slept_ns"] - slept), 50 * MS)
        wrong = record["slept_ns"] / SECOND - self.cycle.sleep.length
        self.assertLess(abs(wrong), 2)
        self.figure = "slept is off by %+.2f s" % wrong

    def test_guest_has_the_right_time(self):
        left = of(self.cycle.record, "web")["time"]["after_ns"]
        self.assertLess(abs(left), SECOND)
        self.figure = "left: %+.0f ms" % (left / MS)

    def test_lock_was_never_overrun(self):
        self.assert_no_overrun()
        self.inside.wait_lock()


if __name__ == "__main__":
    unittest.main()
