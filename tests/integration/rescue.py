# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon cannot be started, or the host goes down, with machines held: they run again, and only they."""

import fcntl
import os
import re
import time
import unittest

from lab import LabCase, Qemu, wait_for
from lab.suspendd import REPOSITORY, RESCUE
from _suspendd import EVIL_WORDS, UNIT, HeldCase, Suspendd, start_host

JOURNAL = "/run/suspendd/cycle"
PLUGINS = "/usr/lib/suspendd/plugins"
# Nobody has an agent that would be waited for.
CONFIG = "[Manager]\nTimeLimitSec=1\n"


class Units(unittest.TestCase):
    """What both units must have in common."""

    quick = True

    def sandbox(self, name, begin):
        """The settings of a unit from a line on."""
        with open(os.path.join(REPOSITORY, "units", name)) as f:
            text = f.read()
        text = text[text.index(begin):].split("[Install]")[0]
        return [x for x in text.splitlines() if re.match(r"\w+=", x)]

    def test_rescue_has_the_sandbox_of_the_daemon(self):
        begin = "\nCapabilityBoundingSet="
        ours = self.sandbox("suspendd.service.in", begin)
        self.assertGreater(len(ours), 20)
        self.assertEqual(self.sandbox("suspendd-rescue.service.in", begin), ours)


class RescueCase(HeldCase):
    """Machines `a` and `b` run, `theirs` was paused by its user; `elsewhere` was registered by hand."""

    run_within = 15

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, CONFIG)
        cls.start_machines()
        cls.suspendd.start()
        cls.suspendd.ctl("register", cls.vms[-1].qmp_path)

    @classmethod
    def start_machines(cls):
        """The machines, of which `theirs` is not ours."""
        cls.vms = [Qemu(cls.host.scratch, n, cls.host, kind="none").start() for n in "ab"]
        cls.vms.append(Qemu(cls.host.scratch, "elsewhere", cls.host, kind="none",
                            folder=cls.host.scratch.sub("else")).start())
        cls.theirs = Qemu(cls.host.scratch, "theirs", cls.host, kind="none").start()
        for vm in cls.vms + [cls.theirs]:
            cls.addClassCleanup(vm.kill)
        cls.theirs.stop()

    def setUp(self):
        self.mend()
        self.wait_ready()
        self.since = self.host.run("date", "+%s.%N").stdout.strip()

    def mend(self):
        """The service is as it should be, and runs."""
        self.suspendd.configure(CONFIG)
        self.suspendd.mend_start()
        if self.host.unit_property(UNIT, "ActiveState") != "active":
            self.suspendd.start()
        # One that waits for its minute to be over would only be started then.
        self.host.systemctl("stop", RESCUE)

    def tearDown(self):
        if self.host.pid:
            if self.host.asleep():
                self.host.wake()
                self.host.wait_awake()
            for bad in EVIL_WORDS:
                self.assertNotIn(bad, self.log())
        super().tearDown()

    def sleep(self):
        """A sleep that holds: all of ours stand."""
        self.host.request_suspend()
        self.host.wait_asleep()
        for vm in self.vms:
            self.assertEqual(vm.status(), "paused")

    def wait_rescue(self, states=("inactive",), timeout=20):
        """Waits until the rescue is over, and has come to that."""
        wait_for(lambda: self.host.unit_property(RESCUE, "ActiveState") in states, timeout,
                 "rescue over", interval=0.05)

    def log(self):
        """What daemon and rescue said in this test. Of a process that has gone journald may not know the unit any more."""
        return self.host.journal("-t", "suspendd", "--since=@" + self.since)

    def assert_nothing_is_held(self):
        """The daemon, once it can be started, has nothing to take over."""
        marks = [vm.monitor.mark() for vm in self.vms]
        before = self.takeovers()
        self.mend()
        self.suspendd.wait_state("idle")
        for vm, mark in zip(self.vms, marks):
            self.assertEqual([e.name for e in vm.monitor.events[mark:]], [])
        self.assertEqual(self.takeovers(), before)


class Rescue(RescueCase):
    """By the unit, which systemd starts when it gives up the service."""

    def test_crash_loop_amidst_a_sleep_is_rescued_at_the_wake(self):
        self.sleep()
        self.suspendd.break_start("/bin/sh -c 'kill -SEGV $$$$'")
        self.suspendd.kill()
        wait_for(lambda: "waiting for the host to wake" in self.log(), 15, "rescue", interval=0.1)
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "failed")
        for vm in self.vms:
            self.assertEqual(vm.status(), "paused", "the host is asleep")
        self.host.wake()
        self.assert_all_run()
        self.wait_rescue()
        self.assert_nothing_is_held()

    def test_machines_are_found_where_the_configuration_has_lost_them(self):
        self.sleep()
        self.host.write("/etc/suspendd/suspendd.conf", "Plugins=\n[Plugin qmp\nDirectory=/nowhere\n\x00\xff[")
        self.suspendd.break_start("/usr/lib/suspendd/suspendd --config=/nowhere")
        self.suspendd.kill()
        self.host.wake()
        self.assert_all_run()
        self.wait_rescue()
        self.assert_nothing_is_held()

    def test_start_by_another_configuration_does_not_make_it_forget(self):
        """It comes up with one that has lost the machines, and is killed before it has run them."""
        self.sleep()
        self.host.write("/etc/suspendd/suspendd.conf", "[Plugin qmp]\nDirectory=/run/nowhere\n")
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        self.suspendd.break_start()
        self.suspendd.kill()
        self.host.wake()
        self.assert_all_run()
        self.wait_rescue()
        self.assert_nothing_is_held()

    def test_command_line_that_is_wrong_is_rescued_at_once(self):
        self.sleep()
        self.suspendd.break_start("/usr/lib/suspendd/suspendd --nonsense")
        self.suspendd.kill()
        wait_for(lambda: "waiting for the host to wake" in self.log(), 10, "rescue", interval=0.1)
        self.host.wake()
        self.assert_all_run()
        self.wait_rescue()

    def test_missing_plugin_is_said_and_tried_again(self):
        plugin = self.host.path(PLUGINS + "/qmp.so")
        self.sleep()
        self.suspendd.break_start()
        os.rename(plugin, plugin + ".away")
        try:
            self.suspendd.kill()
            self.host.wake()
            wait_for(lambda: self.log().count("was stopped by suspendd and could not be run again") == 3, 15, "what is left", interval=0.1)
            self.assertIn("Cannot load plugin %s/qmp.so" % PLUGINS, self.log())
            self.wait_rescue(("activating", "failed"))
            for vm in self.vms:
                self.assertEqual(vm.status(), "paused")
        finally:
            os.rename(plugin + ".away", plugin)
        # What systemd would do a minute later.
        self.host.systemctl("restart", RESCUE)
        self.assert_all_run()
        self.assert_nothing_is_held()

    def test_one_that_runs_already_or_has_ended_is_left(self):
        """What has become of them while nobody looked: resumed by another hand; another VM under the same name."""
        a, b, elsewhere = self.vms
        self.sleep()
        self.suspendd.kill("STOP")
        self.suspendd.break_start()
        b.cont()
        mark = b.monitor.mark()
        elsewhere.kill()
        for path in (elsewhere.qmp_path, elsewhere.own_path("mon")):
            os.unlink(path)
        again = Qemu(self.host.scratch, "elsewhere", self.host, kind="none",
                     folder=os.path.dirname(elsewhere.qmp_path), uuid=elsewhere.uuid).start()
        self.addClassCleanup(again.kill)
        again.stop()
        self.vms[-1] = again
        self.suspendd.kill()
        self.host.wake()
        a.wait_status("running", 15)
        self.wait_rescue()
        self.assertEqual([e.name for e in b.monitor.events[mark:]], [], "it ran already")
        self.assertEqual(again.status(), "paused", "this one was never ours")
        again.cont()

    def test_daemon_at_work_is_left_alone(self):
        self.sleep()
        done = self.host.systemctl("start", RESCUE)
        self.assertEqual(done.returncode, 0)
        self.assertIn("suspendd is at work", self.log())
        for vm in self.vms:
            self.assertEqual(vm.status(), "paused")
        self.host.wake()
        self.assert_all_run()

    def test_daemon_that_is_started_takes_over_from_the_rescue(self):
        a, b, elsewhere = self.vms
        b.freeze()
        self.addCleanup(b.thaw)
        self.host.request_suspend()
        self.host.wait_asleep()
        a.wait_status("paused", 5)
        self.suspendd.break_start()
        self.suspendd.kill()
        self.host.wake()
        a.wait_status("running", 15)
        elsewhere.wait_status("running", 15)
        self.assertEqual(self.host.unit_property(RESCUE, "ActiveState"), "activating", "b hangs")
        self.suspendd.mend_start()
        self.suspendd.start()
        self.wait_rescue()
        self.assertIn("Taking over from the rescue", self.suspendd.log())
        b.thaw()
        b.wait_status("running", 15)
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "active")

    def test_daemon_waits_for_a_rescue_that_has_only_begun(self):
        self.suspendd.stop()
        self.wait_rescue()
        before = self.host.unit_property(UNIT, "NRestarts")
        with open(self.host.path(JOURNAL), "rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX)  # as the rescue does to read it, before it can be found
            self.host.systemctl("start", "--no-block", UNIT)
            wait_for(lambda: self.host.unit_property(UNIT, "ActiveState") == "activating", 5, "the daemon waits",
                     interval=0.01)
            time.sleep(0.1)
        wait_for(lambda: self.host.unit_property(UNIT, "ActiveState") == "active", 5, "the daemon runs", interval=0.05)
        self.assertEqual(self.host.unit_property(UNIT, "NRestarts"), before)

    def test_machine_that_hangs_when_the_service_is_stopped_is_rescued_later(self):
        a, b, elsewhere = self.vms
        self.sleep()
        b.freeze()
        self.addCleanup(b.thaw)
        self.host.systemctl("stop", UNIT)
        a.wait_status("running")
        elsewhere.wait_status("running")
        self.host.wake()
        self.host.wait_awake()
        b.thaw()
        b.wait_status("running", 20)
        self.wait_rescue()
        self.assert_nothing_is_held()


class Unread(RescueCase):
    """A journal that cannot be read: nothing is run by it, it is kept, and a person is told."""

    def broken(self, change):
        """The daemon dies asleep, and its next start finds that journal."""
        self.sleep()
        self.suspendd.break_start()
        self.suspendd.kill()
        wait_for(lambda: self.host.unit_property(UNIT, "ActiveState") == "failed", 10, "failed", interval=0.05)
        self.host.systemctl("stop", RESCUE)
        with open(self.host.path(JOURNAL), "rb") as f:
            before = f.read()
        with open(self.host.path(JOURNAL), "r+b") as f:
            change(f)
        with open(self.host.path(JOURNAL), "rb") as f:
            found = f.read()
        self.host.systemctl("start", RESCUE)
        kept = self.host.path(JOURNAL + ".unread-0")
        with open(kept, "rb") as f:
            self.assertEqual(f.read(), found)
        wait_for(lambda: "no machine is run by it. It is kept as %s.unread-0" % JOURNAL in self.log(), 5,
                 "a person is told", interval=0.1)
        self.host.wake()
        self.host.wait_awake()
        self.mend()
        self.suspendd.wait_state("idle")
        for vm in self.vms:
            self.assertEqual(vm.status(), "paused", "nobody knows that it is ours")

        # Given back as it was, it is as if nothing had been.
        self.suspendd.break_start()
        self.host.systemctl("stop", UNIT)
        os.unlink(kept)
        with open(self.host.path(JOURNAL), "wb") as f:
            f.write(before)
        self.mend()
        self.assert_all_run()

    def test_newer_version(self):
        def change(f):
            f.seek(8)
            f.write(b"\x02")
        self.broken(change)

    def test_broken(self):
        def change(f):
            f.seek(20)
            f.write(b"broken")
        self.broken(change)


class Shutdown(LabCase):
    """The host goes down while machines stand."""

    def down(self, *command):
        """Their last events before the end of the host."""
        self.host = start_host(sleep="hold")
        self.addCleanup(self.host.stop)
        self.suspendd = Suspendd(self.host)
        a = Qemu(self.host.scratch, "a", self.host, kind="none").start()
        theirs = Qemu(self.host.scratch, "theirs", self.host, kind="none").start()
        for vm in (a, theirs):
            self.addCleanup(vm.kill)
        theirs.stop()
        self.suspendd.start()
        self.suspendd.wait_machine("a", run_state="running")
        self.suspendd.wait_machine("theirs", run_state="paused")
        self.host.request_suspend()
        self.host.wait_asleep()
        self.assertEqual(a.status(), "paused")
        marks = [vm.monitor.mark() for vm in (a, theirs)]
        self.host.run(*command, check=False)
        a.monitor.wait_event("RESUME", 15, marks[0])
        self.assertNotIn("RESUME", [e.name for e in theirs.monitor.events[marks[1]:]])

    def test_poweroff_past_logind(self):
        self.down("systemctl", "--no-block", "--job-mode=replace-irreversibly", "start", "poweroff.target")

    def test_reboot_by_force(self):
        self.down("systemctl", "--no-block", "--force", "reboot")
