# SPDX-License-Identifier: LGPL-2.1-or-later
"""A new user space under VMs that live on (systemd 254), and a crash, which systemd treats otherwise since then."""

import subprocess
import unittest

from lab import LabCase, LabError, Qemu, wait_for
from lab.suspendd import RESCUE
from _suspendd import UNIT, Suspendd, is_newer, start_host

# systemd-soft-reboot.service(8): what a unit needs to live on.
SURVIVOR = """[Unit]
DefaultDependencies=no
IgnoreOnIsolate=yes
SurviveFinalKillSignal=yes
[Service]
ExecStart=/bin/sleep infinity
"""


@unittest.skipUnless(is_newer(), "no soft-reboot before systemd 254: the suite \"integration, systemd 257\" has it")
class SoftReboot(LabCase):
    """`a` runs and `theirs` was paused by its user, both in a unit that survives."""

    def setUp(self):
        self.host = start_host(sleep="hold")
        self.addCleanup(self.host.stop)
        self.suspendd = Suspendd(self.host)
        self.host.write("/run/systemd/system/vms.service", SURVIVOR)
        self.host.write("/run/systemd/system/run-scratch.mount.d/stay.conf", "[Unit]\nDefaultDependencies=no\n")
        self.host.systemctl("daemon-reload")
        self.host.systemctl("start", "vms")
        self.a, self.theirs = (Qemu(self.host.scratch, n, self.host, kind="none").start() for n in ("a", "theirs"))
        procs = "%s%s/cgroup.procs" % (self.host.cgroup, self.host.unit_property("vms", "ControlGroup"))
        for vm in (self.a, self.theirs):
            self.addCleanup(vm.kill)
            with open(procs, "w") as f:
                f.write(str(vm.pid))
        self.theirs.stop()
        self.suspendd.start()
        self.suspendd.wait_machine("a", run_state="running")
        self.suspendd.wait_machine("theirs", run_state="paused")
        self.host.request_suspend()
        self.host.wait_asleep()
        self.assertEqual(self.a.status(), "paused")

    def soft_reboot(self):
        """Past logind, for which a sleep is under way."""
        # What is mounted in /run lives on if its unit says so, and the lab's sockets are elsewhere.
        scratch, kept = self.host.scratch.path, "/run/scratch"
        self.host.run("mkdir", kept)
        self.host.run("mount", "--bind", scratch, kept)
        self.mark = self.theirs.monitor.mark()
        before = self.told("dbus.service", "InvocationID")
        self.host.systemctl("--no-block", "--job-mode=replace-irreversibly", "start", "soft-reboot.target")
        wait_for(lambda: self.told("dbus.service", "InvocationID") not in ("", before), 40,
                 "new user space", interval=0.2)
        self.host.run("mkdir", "-p", scratch)
        self.host.run("mount", "--bind", kept, scratch)
        self.host.systemctl("start", UNIT)  # the lab's own target does not want it

    def told(self, unit, name):
        """A property, of a systemd that may be away."""
        try:
            return self.host.systemctl("show", "-P", name, unit, check=False, timeout=2).stdout.strip()
        except (LabError, subprocess.TimeoutExpired):
            return ""

    def assert_protected_again(self):
        self.a.wait_status("running", 10)
        self.suspendd.wait_machine("a", run_state="running")
        self.suspendd.wait_machine("theirs", run_state="paused")
        self.suspendd.wait_state("idle", 40)
        self.suspendd.ctl("rehearse", "--for=1ms")
        self.assertEqual(self.a.status(), "running")
        self.assertEqual(self.theirs.status(), "paused")
        self.assertEqual([e.name for e in self.theirs.monitor.events[self.mark:]], [])

    def test_what_is_held_runs_before(self):
        mark = self.a.monitor.mark()
        self.soft_reboot()
        self.a.monitor.wait_event("RESUME", 5, mark)
        self.assert_protected_again()

    def test_what_was_left_is_taken_up_after(self):
        self.host.write("/run/systemd/system/suspendd.service.d/zz-no-restart.conf", "[Service]\nRestart=no\n")
        self.host.systemctl("daemon-reload")
        self.host.systemctl("mask", "--runtime", RESCUE)
        self.suspendd.kill()
        wait_for(lambda: self.host.unit_property(UNIT, "ActiveState") == "failed", 10, "suspendd dead")
        self.assertEqual(self.a.status(), "paused")
        self.soft_reboot()
        self.assertIn("were held when suspendd ended before", self.suspendd.log())
        self.assert_protected_again()


class Restarts(LabCase):
    """OnFailure= is for what systemd gives up."""

    def test_crash_that_is_made_up_for_is_no_case_for_a_rescue(self):
        self.host = start_host(sleep=1)
        self.addCleanup(self.host.stop)
        suspendd = Suspendd(self.host).start()
        pid = suspendd.pid()
        suspendd.kill()
        suspendd.wait_restarted(pid)
        self.assertEqual(self.host.unit_property(RESCUE, "ExecMainStartTimestampMonotonic"), "0")
        suspendd.break_start()
        suspendd.kill()
        wait_for(lambda: self.host.unit_property(RESCUE, "ExecMainStartTimestampMonotonic") != "0", 10, "rescue")
