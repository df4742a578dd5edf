# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whole cycles with a real libvirtd: who suspends, who is paused, who is left alone, and how they come back."""

from statistics import median

from lab import wait_for
from lab.domain import Domain
from lab.libvirt import Libvirt
from _libvirt import MS, LibvirtCase
from _suspendd import of


class Cycle(LibvirtCase):
    """One host with Linux guests of each sort; each test is a cycle of its own."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        cls.web = Domain(cls.libvirt, "web").start()
        cls.db = Domain(cls.libvirt, "db", channel=False).start()
        cls.off = Domain(cls.libvirt, "off", pm=False).start()
        for domain in (cls.web, cls.db, cls.off):
            domain.wait_up()
            domain.set_clock_error(0)  # a guest that booted on a busy machine may be seconds ahead of it
        cls.events = cls.libvirt.events()
        cls.addClassCleanup(cls.events.close)
        cls.suspendd.start()
        cls.suspendd.wait_machine("web", at_sleep="suspend")
        cls.suspendd.wait_machine("db", at_sleep="pause")
        cls.suspendd.wait_machine("off", at_sleep="pause")

    def test_each_stands_as_it_can_and_clocks_are_right_after(self):
        mark = self.events.mark()
        before = self.web.clocks()
        record = self.suspendd.suspend()
        self.assert_in_time(record)
        self.assertTrue(record["host_slept"])

        web, db, off = (of(record, name) for name in ("web", "db", "off"))
        self.assertEqual((web["asked"], web["stood"], web["failed"]), ("suspend", "suspended", False))
        self.assertEqual(web["seen_ns"], web["stopped_ns"])
        self.assertEqual((db["asked"], db["stood"], db["failed"]), ("pause", "paused", False))
        self.assertIn("no guest agent", db["why"])
        self.assertEqual((off["asked"], off["stood"], off["failed"]), ("pause", "paused", False))
        self.assertEqual(off["why"], "S3 is switched off in its definition; virt-install does so")
        for machine in (web, db, off):
            self.assertGreaterEqual(machine["stopped_ns"], 900 * MS)

        self.assertIn("lifecycle PMSuspended Memory", self.events.of("web", mark))
        self.assertIn("lifecycle Suspended Paused", self.events.of("db", mark))
        self.assertIn("lifecycle Resumed Unpaused", self.events.of("db", mark))
        for domain in (self.web, self.db, self.off):
            domain.wait_state("running")
        for name, domain in (("web", self.web), ("off", self.off)):
            self.assertLessEqual(abs(of(record, name)["time"]["after_ns"]), 5 * MS)
            self.assert_clock(domain)

        after = self.web.clocks()
        lost = (after["host_realtime"] - before["host_realtime"]) - (after["monotonic"] - before["monotonic"])
        self.assertGreaterEqual(lost, 900 * MS, "its MONOTONIC has stopped, as on bare metal")

    test_each_stands_as_it_can_and_clocks_are_right_after.quick = True

    def test_all_stand_before_the_lock_goes(self):
        number = self.hold()
        self.assertEqual(self.web.state()[0], "pmsuspended")
        self.assertEqual(self.db.state(), ("paused", "user"))
        self.assertEqual(self.off.state(), ("paused", "user"))
        self.host.wake()
        self.assert_in_time(self.suspendd.wait_record(number))

    def test_agents_time_limit_is_put_back(self):
        self.suspendd.suspend()
        xml = self.host.read("/run/libvirt/qemu/web.xml")
        self.assertTrue("agentTimeout" not in xml or "<agentTimeout>-2<" in xml, "limit left at web")

    def test_user_paused_domain_stays_paused(self):
        vm = self.domain("user-paused")
        vm.suspend()
        self.suspendd.wait_machine("user-paused", run_state="paused")
        mark = self.events.mark()
        record = self.suspendd.suspend()
        self.assertEqual(of(record, "user-paused")["asked"], "nothing")
        self.assertEqual(vm.state(), ("paused", "user"))
        self.assertEqual(self.events.of("user-paused", mark), [], "it was not touched")

    def test_domain_stopped_by_an_io_error_is_not_touched(self):
        vm = self.domain("broken", kind="linux", disk=True)
        vm.break_disk()
        vm.write_disk()
        vm.wait_state("paused", "I/O error")
        self.suspendd.wait_machine("broken", run_state="stopped")
        mark = self.events.mark()
        record = self.suspendd.suspend()
        broken = of(record, "broken")
        self.assertEqual((broken["asked"], broken["failed"]), ("nothing", False))
        self.assertIn("I/O error", broken["why"])
        self.assertEqual(vm.state(), ("paused", "I/O error"))
        self.assertEqual(self.events.of("broken", mark), [], "it was not touched")
        vm.fix_disk()
        vm.resume()
        self.suspendd.wait_machine("broken", run_state="running")

    def test_destroyed_domain_is_forgotten(self):
        vm = self.domain("dying")
        number = self.hold()
        self.assertEqual(vm.state(), ("paused", "user"))
        vm.destroy()
        wait_for(lambda: self.suspendd.machine("dying") is None, 5, "dying gone", interval=0.05)
        self.host.wake()
        record = self.suspendd.wait_record(number)
        self.assertNotIn("dying", [m["name"] for m in record["machines"]])

    def test_domain_created_while_the_host_falls_asleep_is_stopped_too(self):
        hung = self.domain("hung")
        hung.freeze()  # keeps the cycle preparing, to 90 % of the budget
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.suspendd.wait_state("preparing")
        late = Domain(self.libvirt, "late", kind="none").start()
        self.addCleanup(self.end, late)
        late.wait_state("paused", "user", 3)
        hung.thaw()
        record = self.suspendd.wait_record(number)
        self.assertEqual(of(record, "late")["stood"], "paused")
        late.wait_state("running")
        hung.wait_state("running")

    def test_a_pause_is_as_long_as_qemu_says(self):
        vm = self.domain("stamped", monitor=True)
        off = []
        for _ in range(5):
            mark, number = vm.monitor.mark(), self.suspendd.last_number() + 1
            done = self.suspendd.ctl("rehearse", "--for=100ms", check=False)
            self.assertIn(done.returncode, (0, 6), done.stderr)  # 6: on a busy machine a clock may not be right so soon
            stop, resume = (vm.monitor.wait_event(x, 5, mark) for x in ("STOP", "RESUME"))
            stopped_ns = of(self.suspendd.wait_record(number), "stamped")["stopped_ns"]
            off.append(abs(stopped_ns - (resume.realtime - stop.realtime) * 1e9))
        # libvirtd may pass on an event after the answer to the call that caused it: once or twice it may be late.
        self.assertLess(median(off), 0.1 * MS, off)

    def test_domain_created_in_the_sleep_is_left_alone(self):
        number = self.hold()
        vm = Domain(self.libvirt, "new", kind="none").start()
        self.addCleanup(self.end, vm)
        other = Domain(self.libvirt, "new-paused", kind="none").start(paused=True)
        self.addCleanup(self.end, other)
        self.suspendd.wait_machine("new", run_state="running")
        self.suspendd.wait_machine("new-paused", run_state="paused")
        self.host.wake()
        self.suspendd.wait_record(number)
        self.assertEqual(vm.state()[0], "running")
        self.assertEqual(other.state()[0], "paused")

    def test_domain_that_is_started_anew_under_another_name_is_another(self):
        vm = self.domain("old-name", persistent=True)
        number = self.hold()
        self.assertEqual(vm.state(), ("paused", "user"))
        vm.destroy()
        vm.rename("new-name")
        vm.start(paused=True)
        self.suspendd.wait_machine("new-name", run_state="paused")
        self.assertIsNone(self.suspendd.machine("old-name"))
        self.host.wake()
        self.suspendd.wait_record(number)
        self.assertEqual(vm.state()[0], "paused", "the one that we stopped is gone; this one is its user's")

    def test_domain_resumed_by_another_hand_is_left_running(self):
        vm = self.domain("meddled")
        number = self.hold()
        vm.resume()  # right after our pause, whose own event may still be on its way
        try:
            self.suspendd.wait_machine("meddled", run_state="running")
            vm.suspend()  # and paused again: that is no longer our pause
        finally:
            self.host.wake()
            self.suspendd.wait_record(number)
        self.assertEqual(vm.state(), ("paused", "user"))

    def test_killed_daemon_leaves_no_domain_stopped(self):
        vm = self.domain("paused-by-user")
        vm.suspend()
        self.suspendd.wait_machine("paused-by-user", run_state="paused")
        self.hold()
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        self.host.wake()
        for domain in (self.web, self.db, self.off):
            domain.wait_state("running", timeout=15)
        self.assertEqual(vm.state(), ("paused", "user"))
        self.suspendd.wait_state("idle", 40)


class Policy(LibvirtCase):
    """The mode that a domain's own metadata asks for."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host("[Machine from-config]\nMode=ignore\n[Machine both]\nMode=ignore\n")
        cls.suspendd.start()

    def test_precedence_of_modes(self):
        own = "<suspendd:sleep xmlns:suspendd='urn:suspendd:domain:1' mode='pause'/>"
        self.domain("from-config")
        self.domain("own", metadata=own)
        self.domain("both", metadata=own)
        self.suspendd.wait_machine("from-config", mode="ignore")
        self.suspendd.wait_machine("own", mode="pause", mode_source="its definition in libvirt")
        self.suspendd.wait_machine("both", mode="pause", mode_source="its definition in libvirt")
        self.suspendd.ctl("mode", "both", "auto")
        self.suspendd.wait_machine("both", mode="auto", mode_source="command")
        self.suspendd.ctl("mode", "both", "default")
        self.suspendd.wait_machine("both", mode="pause")

    def test_persistent_mode_is_in_the_definition(self):
        vm = self.domain("kept", persistent=True)
        self.suspendd.ctl("mode", "--persistent", "kept", "ignore")
        self.suspendd.wait_machine("kept", mode="ignore", mode_source="its definition in libvirt")
        vm.destroy()
        self.libvirt.virsh("start", "kept")
        self.suspendd.wait_machine("kept", run_state="running", mode="ignore")
        self.suspendd.ctl("mode", "--persistent", "kept", "default")
        self.suspendd.wait_machine("kept", mode="auto", mode_source="default")
        self.assertNotIn("urn:suspendd", self.libvirt.virsh("dumpxml", "kept").stdout)

    def test_mode_set_by_virsh_is_seen(self):
        self.domain("by-virsh")
        self.libvirt.virsh("metadata", "by-virsh", "urn:suspendd:domain:1", "--key", "suspendd",
                           "--set", "<sleep mode='block'/>", "--live")
        self.suspendd.wait_machine("by-virsh", mode="block")
        self.assertNotEqual(self.host.request_suspend("--check-inhibitors=yes", check=False).returncode, 0)
        self.libvirt.virsh("metadata", "by-virsh", "urn:suspendd:domain:1", "--remove", "--live")
        self.suspendd.wait_machine("by-virsh", mode="auto")


class Session(LibvirtCase):
    """A user's own session daemon, reached by its socket, beside the system's."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        cls.session = Libvirt(cls.host, user="alice").start()
        cls.suspendd.configure("[Manager]\nPlugins=\nPlugins=libvirt\n[Plugin libvirt]\nURI=qemu:///system\nURI=%s\n" %
                               cls.session.uri_for_root)
        cls.suspendd.start()

    def test_domain_of_a_session_is_stopped_and_runs_again(self):
        system = self.domain("system")
        vm = Domain(self.session, "alices").start()
        self.addCleanup(self.end, vm)
        vm.wait_up()
        self.suspendd.wait_machine("alices", at_sleep="suspend")
        record = self.suspendd.suspend()
        self.assert_in_time(record)
        self.assertEqual(of(record, "alices")["stood"], "suspended")
        self.assertEqual(of(record, "system")["stood"], "paused")
        vm.wait_state("running")
        system.wait_state("running")
        self.assertLessEqual(abs(of(record, "alices")["time"]["after_ns"]), 5 * MS)
        self.assert_clock(vm)
        self.assertEqual(self.suspendd.machine("alices")["address"], self.session.uri_for_root)
