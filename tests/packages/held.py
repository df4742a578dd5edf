#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packages are replaced and go in the middle of a sleep."""

import unittest

from lab import wait_for
from _packages import NEWER, RESCUE, DomainTests, HeldCase, HeldDomainCase


class Held(HeldCase):
    """In the middle of a sleep, with two machines held."""

    def test_upgrade_holds_on_and_they_run_after_the_wake(self):
        self.hold()
        old = self.packages.pid()
        self.packages.install(self.packages.newer("suspendd", NEWER))
        self.assert_goes_on(old)
        self.assertEqual(self.packages.version("suspendd"), NEWER)

    def test_upgrade_with_its_plugin_does_so_too(self):
        old = self.packages.pid()
        self.packages.install("suspendd-libvirt")
        self.packages.wait_restarted(old)
        for machine in self.machines:
            self.packages.wait_machine(machine.name, run_state="running")
        self.hold()
        old = self.packages.pid()
        self.packages.install(*[self.packages.newer(x, NEWER) for x in ("suspendd", "suspendd-libvirt")])
        self.assert_goes_on(old)

    def test_plugin_that_comes_leaves_them_held(self):
        self.hold()
        old = self.packages.pid()
        self.packages.install("suspendd-libvirt")
        self.assert_goes_on(old)

    def test_renewal_is_over_when_they_are_held_again(self):
        self.hold()
        old = self.packages.pid()
        for machine in self.machines:
            machine.freeze()
        renewal = self.host.popen(["/usr/lib/suspendd/renew"])
        self.packages.wait_restarted(old)
        self.assertIsNone(renewal.poll())
        for machine in self.machines:
            machine.thaw()
        self.assertEqual(renewal.wait(10), 0)
        self.assertGreater(self.packages.manager("NHeld"), 0)
        self.assert_goes_on(old)

    def test_removal_has_them_run(self):
        self.hold()
        self.packages.remove("suspendd")
        self.assert_run(self.machines)
        self.packages.wake()
        self.assert_run(self.machines)

    def test_purge_has_them_run(self):
        self.hold()
        self.packages.dpkg("--purge", "suspendd")
        self.assert_run(self.machines)
        self.assertFalse(self.host.exists("/run/suspendd"))
        self.assertFalse(self.host.exists("/var/lib/suspendd"))

    def test_purge_of_one_that_died_has_them_run_after_the_wake(self):
        self.die_for_good()
        self.hold()
        self.packages.kill()
        wait_for(lambda: self.host.unit_property(RESCUE, "ActiveState") == "activating", 10, "a rescue")
        self.packages.dpkg("--purge", "suspendd")
        for machine in self.machines:
            self.assertEqual(machine.status(), "paused", "the host still sleeps")
        self.assertTrue(self.host.exists("/run/suspendd/cycle"), "the rescue needs it")
        self.assertFalse(self.host.exists("/var/lib/suspendd"))
        self.packages.wake()
        self.assert_run(self.machines)

    def test_removal_of_one_that_died_has_them_run_if_the_host_is_awake(self):
        self.strand()
        for machine in self.machines:
            self.assertEqual(machine.status(), "paused", "nobody has run it again")
        self.packages.remove("suspendd")
        self.assert_run(self.machines)


class HeldDomain(DomainTests, HeldDomainCase):
    """A domain of libvirt, held."""


if __name__ == "__main__":
    unittest.main()
