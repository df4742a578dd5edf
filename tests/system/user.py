# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QEMU and a domain of a user's session, which systemd freezes before the host sleeps (from 256 on)."""

import unittest

from lab import LabUnavailable, wait_for
from _case import SECOND, Inside, SystemCase, of
from _machines import Machine, SessionDomain
from _outer import VERSION, VMS

HOOK = "/usr/lib/systemd/system-sleep/lab"
# Slow after the sleep: all that while the machine is run in vain, for it is thawed after the hooks.
FROZEN = """#!/bin/sh
[ "$1" = pre ] || sleep 6
echo "lab-hook $1 $(grep frozen /sys/fs/cgroup/user.slice/cgroup.events)" >/dev/kmsg
"""
USER = "alice"


class UserSession(SystemCase):
    """They stand before the freeze and run after the thaw."""

    OWN = ("own", "desk")

    @classmethod
    def setUpClass(cls):
        if VERSION == "12":
            raise LabUnavailable("systemd 252 freezes no user sessions")
        super().setUpClass()

    @classmethod
    def prepare(cls):
        """Machines of the user's beside the others."""
        cls.inside = Inside(cls.host)
        cls.host.run("useradd --create-home %s && loginctl enable-linger %s" % (USER, USER))
        wait_for(lambda: cls.host.run(cls.host.as_user(USER, "systemctl --user is-system-running"), check=False).strip() in
                 ("running", "degraded"), 60, "a session of %s's" % USER, interval=1)
        desk = SessionDomain(cls.host, "desk", USER).start()
        cls.inside.machines += [Machine(cls.host, "own", user=USER).start(), desk]
        cls.inside.start_suspendd("Directory=%s/%s\n[Plugin libvirt]\nURI=qemu:///system\nURI=%s\n" % (VMS, USER, desk.uri()))
        cls.host.write(HOOK, FROZEN, "755")

    def test_machines_stand_before_the_freeze_and_run_after_the_thaw(self):
        cycle = self.inside.cycle(5, run=self.inside.RUNNING + self.OWN)
        frozen = cycle.events.find("kernel", "lab-hook pre")
        thawed = cycle.events.find("kernel", "lab-hook post")
        self.assertEqual([frozen.what, thawed.what], ["lab-hook pre frozen 1", "lab-hook post frozen 1"])
        late = []
        for name in self.OWN:
            self.assertEqual(cycle.events.of(name), ["STOP", "RESUME"])
            self.assertLess(cycle.events.find(name, "STOP").at, frozen.at)
            late.append((cycle.events.find(name, "RESUME").at - thawed.at) / SECOND)
            self.assertLess(late[-1], 3)
            self.assertEqual((of(cycle.record, name)["stood"], of(cycle.record, name)["failed"]), ("paused", False))
        first = min(cycle.events.find(x, "RESUME").at for x in self.inside.RUNNING) - thawed.at
        self.figure = "run %s s after the last hook, those of root's from %.2f s on" % (
            ", ".join("%.2f" % x for x in late), first / SECOND)
        self.assert_no_overrun()


if __name__ == "__main__":
    unittest.main()
