# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon cannot be started with domains held: they run again, and so do machines of another plugin."""

import os

from lab import Qemu, wait_for
from lab.domain import Domain
from lab.suspendd import RESCUE
from _libvirt import LibvirtCase

BOTH = "[Manager]\nPlugins=libvirt\n"


class Rescue(LibvirtCase):
    """`web` suspends, `idle` is paused, `theirs` was paused by its user; `bare` is a QEMU of no libvirt's."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host(sleep="hold")
        cls.suspendd.configure(BOTH)
        cls.web = Domain(cls.libvirt, "web", pm=True).start().wait_up()
        cls.idle = Domain(cls.libvirt, "idle", kind="none").start()
        cls.theirs = Domain(cls.libvirt, "theirs", kind="none").start()
        cls.theirs.suspend()
        cls.bare = Qemu(cls.host.scratch, "bare", cls.host, kind="none").start()
        cls.addClassCleanup(cls.bare.kill)
        cls.suspendd.start()

    def setUp(self):
        self.suspendd.mend_start()
        self.suspendd.start()
        self.suspendd.wait_machine("web", 40, at_sleep="suspend")
        for name in ("idle", "bare"):
            self.suspendd.wait_machine(name, run_state="running")
        self.since = self.host.run("date", "+%s.%N").stdout.strip()

    def log(self):
        return self.host.journal("-t", "suspendd", "--since=@" + self.since)

    def give_up(self):
        """Asleep, with all held, the service dies and cannot be started again; then the host wakes."""
        self.hold()
        self.assertEqual([self.web.state()[0], self.idle.state()[0], self.bare.status()],
                         ["pmsuspended", "paused", "paused"])
        self.suspendd.break_start()
        self.suspendd.kill()
        wait_for(lambda: "waiting for the host to wake" in self.log(), 15, "rescue", interval=0.1)
        self.host.wake()

    def test_machines_of_both_plugins_run_again(self):
        self.web.set_clock_error(-100 * 10**9)
        self.give_up()
        self.web.wait_state("running", timeout=20)
        self.idle.wait_state("running", timeout=20)
        self.bare.wait_status("running", 60)
        wait_for(lambda: self.host.unit_property(RESCUE, "ActiveState") == "inactive", 60, "rescue over")
        self.assertEqual(self.theirs.state(), ("paused", "user"))
        self.assert_clock(self.web)

    def test_plugin_that_crashes_costs_the_other_nothing(self):
        plugin = self.host.path("/usr/lib/suspendd/plugins/libvirt.so")
        os.rename(plugin, plugin + ".away")
        self.addCleanup(self.come_back, plugin)
        # What looks like a plugin and dies as soon as it is looked at.
        self.host.run("sh", "-c", "echo 'void die(void) __attribute__((constructor));"
                      "void die(void) { __builtin_trap(); }' | cc -shared -fPIC -x c - -o "
                      "/usr/lib/suspendd/plugins/crash.so")
        os.rename(self.host.path("/usr/lib/suspendd/plugins/crash.so"), plugin)
        self.give_up()
        self.bare.wait_status("running", 20)
        wait_for(lambda: "The rescue of plugin libvirt was killed by signal" in self.log(), 20, "crash told")
        self.assertEqual(self.idle.state()[0], "paused")
        self.come_back(plugin)
        self.host.systemctl("restart", RESCUE, timeout=70)
        self.idle.wait_state("running", timeout=20)
        self.web.wait_state("running", timeout=20)
        self.assertEqual(self.theirs.state(), ("paused", "user"))

    @staticmethod
    def come_back(plugin):
        if os.path.exists(plugin + ".away"):
            os.rename(plugin + ".away", plugin)
