# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon killed or told to end while machines are held: none is left stopped, none is started that was not ours."""

from lab import Qemu, wait_for
from _suspendd import HeldCase, Suspendd, of, start_host


class Crash(HeldCase):
    """Machines a and b run; `theirs` was paused by its user; `guest` is a Linux guest that suspends."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        cls.guest = Qemu(cls.host.scratch, "guest", cls.host).start()
        cls.a, cls.b, cls.theirs = (
            Qemu(cls.host.scratch, n, cls.host, kind="none").start() for n in ("a", "b", "theirs"))
        cls.vms = (cls.guest, cls.a, cls.b)
        for vm in (*cls.vms, cls.theirs):
            cls.addClassCleanup(vm.kill)
        cls.theirs.stop()
        cls.guest.wait_up()
        cls.suspendd.start()

    def setUp(self):
        if self.host.unit_property("suspendd.service", "ActiveState") != "active":
            self.suspendd.start()
        self.suspendd.wait_machine("guest", at_sleep="suspend")
        self.wait_ready()

    def assert_journal_is_empty(self):
        """The next start after this one has nothing to take over."""
        before = self.takeovers()
        self.suspendd.wait_state("idle", 40)
        mark = {vm: vm.monitor.mark() for vm in self.vms}
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        self.suspendd.wait_state("idle")
        for vm in self.vms:
            self.assertEqual([e.name for e in vm.monitor.events[mark[vm]:]
                              if e.name in ("STOP", "RESUME", "SUSPEND", "WAKEUP")], [])
        self.assertEqual(self.takeovers(), before)

    def prepare(self):
        """A sleep that hangs in preparing: a and guest stand, b does not answer."""
        self.b.freeze()
        self.addCleanup(self.b.thaw)
        self.host.request_suspend()
        self.a.wait_status("paused", 5)
        self.guest.wait_status("suspended", 5)

    def sleep(self):
        """A sleep that holds: all stand."""
        self.host.request_suspend()
        self.host.wait_asleep()
        for vm, status in ((self.a, "paused"), (self.b, "paused"), (self.guest, "suspended")):
            self.assertEqual(vm.status(), status)

    def restart_by(self, signal):
        """The signal, and systemd's restart."""
        pid = self.suspendd.pid()
        if signal == "KILL":
            self.suspendd.kill()
            self.suspendd.wait_restarted(pid)
        else:
            self.host.systemctl("restart", "suspendd.service")

    def in_preparing(self, signal):
        self.prepare()
        self.restart_by(signal)
        self.host.wait_asleep()
        self.b.thaw()
        self.host.wake()
        self.host.wait_awake()
        self.assert_all_run()
        self.assert_journal_is_empty()

    def in_sleep(self, signal):
        self.sleep()
        self.restart_by(signal)
        if signal == "KILL":
            self.assertEqual((self.a.status(), self.guest.status()), ("paused", "suspended"),
                             "the host is still asleep by logind's word")
        self.host.wake()
        self.host.wait_awake()
        self.assert_all_run()
        self.assert_journal_is_empty()

    def in_waking(self, signal):
        self.sleep()
        self.b.freeze()
        self.addCleanup(self.b.thaw)
        self.host.wake()
        self.a.wait_status("running", 5)
        self.restart_by(signal)
        self.b.thaw()
        self.host.wait_awake()
        self.assert_all_run()
        self.assert_journal_is_empty()

    def test_killed_in_preparing(self):
        self.in_preparing("KILL")

    def test_killed_while_asleep(self):
        self.in_sleep("KILL")

    def test_killed_in_waking(self):
        self.in_waking("KILL")

    def test_terminated_in_preparing(self):
        self.in_preparing("TERM")

    def test_terminated_while_asleep(self):
        self.in_sleep("TERM")

    def test_terminated_in_waking(self):
        self.in_waking("TERM")

    def test_killed_and_started_without_a_word_of_its_machines(self):
        """A configuration that is broken meanwhile does not make the daemon forget what it holds, nor where that is."""
        self.addCleanup(self.suspendd.configure)
        self.sleep()
        self.host.write("/etc/suspendd/suspendd.conf", "[Manager]\nPlugins=\nPlugins=none-such\n")
        self.restart_by("KILL")
        self.host.wake()
        self.host.wait_awake()
        self.assert_all_run()
        self.suspendd.wait_state("idle", 40)
        self.suspendd.configure()
        self.host.systemctl("restart", "suspendd.service")
        self.assert_journal_is_empty()

    def test_what_was_found_by_an_old_configuration_goes_with_what_was_held(self):
        self.addCleanup(self.suspendd.configure)
        self.sleep()
        self.host.write("/etc/suspendd/suspendd.conf", "[Plugin qmp]\nDirectory=/run/nowhere\n")
        self.restart_by("KILL")
        self.host.wake()
        self.host.wait_awake()
        self.assert_all_run()
        self.suspendd.wait_state("idle", 40)
        wait_for(lambda: self.suspendd.machine("a") is None, 10, "a is no machine any more", interval=0.05)
        self.suspendd.configure()
        self.suspendd.reload()
        self.suspendd.wait_machine("a", run_state="running")
        self.assert_journal_is_empty()

    def test_stopped_for_good_while_asleep(self):
        self.sleep()
        number = self.suspendd.last_number() + 1
        self.suspendd.stop()
        self.assert_all_run()
        # Nobody is there any more to make up for what was left undone.
        record = next(r for r in self.suspendd.records() if r["number"] == number)
        self.assertEqual(record["ended"], "stopped")
        self.assertIn(of(record, "guest")["time"]["verdict"], ("set", "right"))
        self.host.wake()
        self.host.wait_awake()

    def test_machine_that_a_user_paused_after_its_wake_stays_paused(self):
        self.sleep()
        self.b.freeze()
        self.addCleanup(self.b.thaw)
        self.host.wake()
        self.a.wait_status("running", 5)
        self.a.stop()
        self.addCleanup(self.a.cont)
        self.suspendd.wait_machine("a", run_state="paused")
        self.restart_by("KILL")
        self.b.thaw()
        self.b.wait_status("running")
        self.guest.wait_status("running")
        self.assertEqual(self.a.status(), "paused")
