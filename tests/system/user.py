# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QEMU of a user's session, which systemd freezes before the host sleeps (from 256 on)."""

import unittest

from lab import LabUnavailable, wait_for
from _case import SECOND, Inside, SystemCase, of
from _machines import Machine
from _outer import VERSION, VMS

HOOK = "/usr/lib/systemd/system-sleep/lab"
# Slow after the sleep: all that while the machine is run in vain, for it is thawed after the hooks.
FROZEN = """#!/bin/sh
[ "$1" = pre ] || sleep 6
echo "lab-hook $1 $(grep frozen /sys/fs/cgroup/user.slice/cgroup.events)" >/dev/kmsg
"""
USER = "alice"


class UserSession(SystemCase):
    """It stands before the freeze and runs after the thaw."""

    @classmethod
    def setUpClass(cls):
        if VERSION == "12":
            raise LabUnavailable("systemd 252 freezes no user sessions")
        super().setUpClass()

    @classmethod
    def prepare(cls):
        """A machine of the user's beside the others."""
        cls.inside = Inside(cls.host)
        cls.host.run("useradd --create-home %s && loginctl enable-linger %s" % (USER, USER))
        wait_for(lambda: cls.host.run(cls.host.as_user(USER, "systemctl --user is-system-running"), check=False).strip() in
                 ("running", "degraded"), 60, "a session of %s's" % USER, interval=1)
        cls.own = Machine(cls.host, "own", user=USER).start()
        cls.inside.machines.append(cls.own)
        cls.inside.start_suspendd("Directory=%s/%s\n" % (VMS, USER))
        cls.host.write(HOOK, FROZEN, "755")

    def test_machine_stands_before_the_freeze_and_runs_after_the_thaw(self):
        cycle = self.inside.cycle(5, run=self.inside.RUNNING + ("own",))
        frozen = cycle.events.find("kernel", "lab-hook pre")
        thawed = cycle.events.find("kernel", "lab-hook post")
        self.assertEqual([frozen.what, thawed.what], ["lab-hook pre frozen 1", "lab-hook post frozen 1"])
        self.assertEqual(cycle.events.of("own"), ["STOP", "RESUME"])
        self.assertLess(cycle.events.find("own", "STOP").at, frozen.at)
        self.assertGreater(cycle.events.find("own", "RESUME").at, thawed.at)
        self.assertEqual((of(cycle.record, "own")["stood"], of(cycle.record, "own")["failed"]), ("paused", False))
        late = cycle.events.find("own", "RESUME").at - thawed.at
        first = min(cycle.events.find(x, "RESUME").at for x in self.inside.RUNNING) - thawed.at
        self.assertLess(late, 3 * SECOND)
        self.figure = "runs %.2f s after the last hook, those of root's from %.2f s on" % (late / SECOND, first / SECOND)
        self.assert_no_overrun()


if __name__ == "__main__":
    unittest.main()
