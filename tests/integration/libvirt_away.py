# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd killed, restarted, stopped or not there in each phase of a cycle."""

from lab import wait_for
from lab.domain import Domain
from _libvirt import LibvirtCase
from _suspendd import of


class Away(LibvirtCase):
    """One host; each test takes libvirtd away in another phase."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        cls.web = Domain(cls.libvirt, "web").start().wait_up()
        cls.idle = Domain(cls.libvirt, "idle", kind="none").start()
        cls.user_paused = Domain(cls.libvirt, "user-paused", kind="none").start()
        cls.user_paused.suspend()
        cls.suspendd.start()
        cls.suspendd.wait_machine("web", at_sleep="suspend")
        cls.suspendd.wait_machine("user-paused", run_state="paused")

    def setUp(self):
        self.suspendd.wait_state("idle", 60)
        for name, state in (("web", "running"), ("idle", "running"), ("user-paused", "paused")):
            self.suspendd.wait_machine(name, timeout=40, run_state=state)
        # Its agent may come back late from what was done to libvirt.
        self.suspendd.wait_machine("web", timeout=40, at_sleep="suspend")

    def assert_all_as_before(self):
        """Once libvirt is back: nobody is left stopped, and nobody was started that was not ours."""
        self.libvirt.wait_up()
        self.web.wait_state("running", timeout=45)
        self.idle.wait_state("running", timeout=45)
        self.assertEqual(self.user_paused.state(), ("paused", "user"))
        self.suspendd.wait_machine("web", timeout=45, run_state="running")
        self.suspendd.wait_machine("idle", timeout=45, run_state="running")

    def kill_and_wait(self):
        pid = self.libvirt.pid()
        self.libvirt.kill()
        self.libvirt.wait_restarted(pid)

    def test_killed_before_the_cycle(self):
        self.kill_and_wait()
        self.suspendd.wait_machine("web", timeout=20, at_sleep="suspend")
        record = self.suspendd.suspend()
        self.assert_in_time(record)
        self.assertEqual(of(record, "idle")["stood"], "paused")
        self.assert_all_as_before()

    def test_killed_while_preparing(self):
        self.idle.freeze()  # keeps the cycle preparing, and its pause under way
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.suspendd.wait_state("preparing")
        wait_for(lambda: self.web.state()[0] == "pmsuspended", 5, "web suspended", interval=0.02)
        pid = self.libvirt.pid()
        self.libvirt.kill()
        self.idle.thaw()
        self.libvirt.wait_restarted(pid)
        record = self.suspendd.wait_record(number, 60)
        self.assert_in_time(record)
        self.assert_all_as_before()

    def test_killed_while_asleep(self):
        number = self.hold()
        self.kill_and_wait()
        self.host.wake()
        self.suspendd.wait_record(number, 60)
        self.assert_all_as_before()

    def test_killed_at_the_wake(self):
        number = self.hold()
        pid = self.libvirt.pid()
        self.libvirt.kill()
        self.host.wake()
        self.libvirt.wait_restarted(pid)
        self.suspendd.wait_record(number, 60)
        self.assert_all_as_before()

    def test_killed_while_restoring(self):
        number = self.hold()
        self.idle.freeze()  # so that its resume is under way
        self.host.wake()
        self.suspendd.wait_state("restoring")
        pid = self.libvirt.pid()
        self.libvirt.kill()
        self.idle.thaw()
        self.libvirt.wait_restarted(pid)
        self.suspendd.wait_record(number, 60)
        self.assert_all_as_before()

    def test_restarted_as_by_an_upgrade_while_asleep(self):
        number = self.hold()
        self.libvirt.restart()
        self.host.wake()
        self.suspendd.wait_record(number, 60)
        self.assert_all_as_before()

    def test_domain_that_was_started_again_is_known_as_what_it_is(self):
        vm = Domain(self.libvirt, "again", kind="none").start(persistent=True)
        self.addCleanup(vm.undefine)
        self.addCleanup(vm.destroy)
        self.suspendd.wait_machine("again", run_state="running")
        self.assertEqual(of(self.suspendd.suspend(), "again")["stood"], "paused")
        vm.wait_state("running")
        vm.destroy()
        wait_for(lambda: self.suspendd.machine("again") is None, 5, "again gone")
        self.libvirt.virsh("start", "again")
        self.suspendd.wait_machine("again", run_state="running")

        # Its first start is still known to the connections; all are asked for while the second one is held.
        number = self.hold()
        self.assertEqual(vm.state(), ("paused", "user"))
        self.kill_and_wait()
        self.host.wake()
        self.assertEqual(of(self.suspendd.wait_record(number, 60), "again")["stood"], "paused")
        vm.wait_state("running")
        self.assert_all_as_before()

    def test_stopped_for_the_whole_cycle(self):
        self.libvirt.freeze()
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.host.wait_asleep(20)
        self.host.wait_awake()
        wait_for(lambda: "owes" in self.suspendd.manager("Troubles").get("libvirt", ""), 10, "trouble told")
        self.assertIn("owes", self.suspendd.ctl("status").stdout)
        self.libvirt.thaw()
        record = self.suspendd.wait_record(number, 60)
        self.assertLess(record["released_after_usec"], 0.91 * record["delay_max_usec"])
        for name in ("web", "idle"):
            self.assertTrue(of(record, name)["failed"])
            self.assertIn("in time", of(record, name)["why"])
        self.assert_all_as_before()
        wait_for(lambda: self.suspendd.manager("Troubles") == {}, 40, "no trouble")

    def test_away_for_the_whole_cycle(self):
        self.libvirt.stop()
        wait_for(lambda: "out of reach" in self.suspendd.manager("Troubles").get("libvirt", ""), 10, "trouble told")
        self.suspendd.wait_machine("web", run_state="unknown")
        record = self.suspendd.suspend()
        self.assertLess(record["released_after_usec"], 500000)
        for name in ("web", "idle"):
            self.assertTrue(of(record, name)["failed"])
            self.assertEqual(of(record, name)["why"], "libvirt is away")
        self.libvirt.start()
        self.assert_all_as_before()
        wait_for(lambda: self.suspendd.manager("Troubles") == {}, 10, "no trouble")


class Absent(LibvirtCase):
    """libvirtd is not there when suspendd starts."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        cls.libvirt.stop()

    def test_appears_later_and_is_not_started_to_learn_that_nothing_runs(self):
        self.suspendd.start()
        self.assertEqual(self.suspendd.json("list"), [])
        record = self.suspendd.suspend()
        self.assertEqual(record["machines"], [])
        self.assertEqual(self.suspendd.manager("Troubles"), {})

        self.libvirt.start()
        self.host.systemctl("stop", "libvirtd.service")  # its sockets stand and would start it
        self.suspendd.suspend()
        self.assertIsNone(self.libvirt.pid(), "it was started for nothing")

        vm = Domain(self.libvirt, "first", kind="none").start()
        self.suspendd.wait_machine("first", timeout=10, run_state="running")
        record = self.suspendd.suspend()
        self.assertEqual(of(record, "first")["stood"], "paused")
        vm.wait_state("running")
        self.assertGreater(self.connections(), 1)
        vm.destroy()
        wait_for(lambda: self.suspendd.json("list") == [], 10, "first forgotten")
        # It lets go of a libvirtd that has nothing to do, which may so end by itself.
        wait_for(lambda: not self.connections(), 10, "no connection")

    def connections(self):
        """How many connections suspendd has to libvirtd's socket, by what is known in its network namespace."""
        with open("/proc/%d/net/unix" % self.suspendd.pid()) as f:
            lines = [x.split() for x in f if x.rstrip().endswith("/run/libvirt/libvirt-sock")]
        return sum(1 for x in lines if x[5] == "03")  # SS_CONNECTED
