#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of the packages on a host: they come, are replaced and go."""

import os
import unittest

from _packages import ALL, NEWER, RESCUE, UNIT, VMS, PackagesCase


class Install(PackagesCase):
    """Nobody sleeps."""

    def test_installed_it_runs_and_will_after_a_boot(self):
        self.packages.install(*ALL)
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "active")
        self.assertEqual(self.host.unit_property(UNIT, "UnitFileState"), "enabled")
        self.assertEqual(self.host.unit_property(RESCUE, "ActiveState"), "inactive")
        self.assertEqual(self.packages.ctl("list", check=False).returncode, 0)
        self.assertIn("org.suspendd1", str(self.host.run("busctl", "--acquired", "list").stdout))
        # In a guest its udev rule starts it.
        self.assertEqual(self.host.unit_property("suspend-guest.service", "UnitFileState"), "disabled")

    def test_upgrade_has_the_new_one_run(self):
        a, = self.start_machines("a")
        old = self.packages.pid()
        self.packages.install(self.packages.newer("suspendd", NEWER))
        self.assertEqual(self.packages.version("suspendd"), NEWER)
        self.packages.wait_restarted(old)
        self.assertEqual(os.readlink("/proc/%d/exe" % self.packages.pid()), "/usr/lib/suspendd/suspendd")
        self.packages.wait_machine("a", run_state="running")
        self.assert_run([a])
        self.assertIn(VMS, self.host.read("/etc/suspendd/suspendd.conf.d/vms.conf"))

    def test_what_an_admin_stopped_and_disabled_stays_so_over_an_upgrade(self):
        self.packages.install("suspendd")
        self.host.systemctl("disable", "--now", UNIT)
        self.packages.install(self.packages.newer("suspendd", NEWER))
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "inactive")
        self.assertEqual(self.host.unit_property(UNIT, "UnitFileState"), "disabled")

    def test_plugin_is_loaded_when_it_comes_and_gone_when_it_goes(self):
        self.packages.install("suspendd")

        def maps():
            with open("/proc/%d/maps" % self.packages.pid()) as f:
                return "/plugins/libvirt.so" in f.read()
        self.assertFalse(maps())
        self.packages.install("suspendd-libvirt")
        self.assertTrue(maps())
        self.packages.dpkg("--remove", "suspendd-libvirt")
        self.assertFalse(maps())
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "active")

    def test_purged_it_leaves_nothing(self):
        before = self.packages.files()
        machines = self.start_machines("a", "b")
        self.packages.install(*ALL)
        self.packages.ctl("page", "create", "a")
        self.packages.suspend()
        self.assertNotEqual(self.packages.records(), [])
        self.host.write("/etc/suspend-guest/hooks.d/own", "#!/bin/sh\n", 0o755)
        self.packages.dpkg("--remove", *ALL)
        self.assert_run(machines)
        self.assertTrue(self.host.exists("/etc/suspendd/suspendd.conf.d/vms.conf"), "a removal is no purge")
        self.packages.dpkg("--purge", *ALL)
        self.assertEqual(sorted(self.packages.files() - before), [])
        self.assertEqual(sorted(before - self.packages.files()), [])
        self.assertEqual(self.host.systemctl("list-units", "--all", "--no-legend", "suspend[d-]*").stdout.strip(), "")


if __name__ == "__main__":
    unittest.main()
