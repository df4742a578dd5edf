# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service on a host: what it says of itself, its settings, what outlives it."""

import os

from lab import Qemu, wait_for
from _suspendd import UNIT, Suspendd, SuspenddCase, of, start_host

MS = 1000000


class Service(SuspenddCase):
    """A host and the service, with a bare QEMU."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        cls.a = Qemu(cls.host.scratch, "a", cls.host, kind="none").start()
        cls.addClassCleanup(cls.a.kill)
        cls.suspendd.start()
        cls.suspendd.wait_machine("a", run_state="running")

    def setUp(self):
        self.suspendd.configure()
        self.addCleanup(self.suspendd.reload)
        self.addCleanup(self.suspendd.configure)

    def restart(self):
        self.host.systemctl("restart", UNIT)

    def status_text(self):
        return self.host.unit_property(UNIT, "StatusText")

    def test_status_is_a_sentence(self):
        wait_for(lambda: "lock held, budget" in self.status_text(), 5, "a status with the lock", interval=0.05)
        self.assertRegex(self.status_text(), r"^\d+ machines?, ")

    def test_its_session_has_the_nice_value_of_the_unit(self):
        path = "/proc/%d/autogroup" % self.suspendd.pid()
        if not os.path.exists(path):
            self.skipTest("no " + path + ": this kernel does not share the CPU out among sessions")

        def told():
            with open(path, encoding="ascii") as f:
                return f.read()
        wait_for(lambda: told().endswith(" nice -10\n"), 5, "the unit's nice value in " + path)

    def test_reload_takes_a_mode_and_refuses_an_error_by_its_line(self):
        self.suspendd.configure("[Machine a]\nMode=ignore\n")
        self.suspendd.reload()
        told = self.suspendd.wait_machine("a", 5, mode="ignore")
        self.assertIn("suspendd.conf:", told["mode_source"])

        self.suspendd.configure("[Machine a]\nMode=sleepy\n")
        failed = self.host.systemctl("reload", UNIT, check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertRegex(self.suspendd.log(), r"suspendd\.conf:4: .*sleepy")
        self.assertEqual(self.suspendd.machine("a")["mode"], "ignore", "the old one stays")

    def test_mode_set_by_command_outlives_a_restart(self):
        self.suspendd.ctl("mode", "a", "ignore")
        self.addCleanup(self.suspendd.ctl, "mode", "a", "default")
        self.restart()
        self.assertEqual(self.suspendd.wait_machine("a", 5)["mode"], "ignore")
        self.suspendd.ctl("mode", "a", "default")
        self.assertEqual(self.suspendd.machine("a")["mode"], "auto")

    def test_registered_machine_outlives_a_restart_until_it_is_unregistered(self):
        vm = Qemu(self.host.scratch, "elsewhere", self.host, kind="none",
                  folder=self.host.scratch.sub("else")).start()
        self.addCleanup(vm.kill)
        self.assertIsNone(self.suspendd.machine("elsewhere"))
        self.suspendd.ctl("register", vm.qmp_path)
        self.suspendd.wait_machine("elsewhere", 5, run_state="running")
        self.restart()
        self.suspendd.wait_machine("elsewhere", 5, run_state="running")
        self.suspendd.ctl("unregister", vm.qmp_path)
        wait_for(lambda: self.suspendd.machine("elsewhere") is None, 5, "elsewhere gone", interval=0.05)

    def test_registered_machine_that_is_down_at_a_restart_is_found_when_it_is_back(self):
        vm = Qemu(self.host.scratch, "down", self.host, kind="none", folder=self.host.scratch.sub("else")).start()
        self.addCleanup(vm.kill)
        self.suspendd.ctl("register", vm.qmp_path)
        self.suspendd.wait_machine("down", 5, run_state="running")
        vm.kill()
        for path in (vm.qmp_path, vm.own_path("mon")):
            os.unlink(path)
        self.restart()
        vm.start()
        self.suspendd.wait_machine("down", 5, run_state="running")
        self.suspendd.ctl("unregister", vm.qmp_path)
        wait_for(lambda: self.suspendd.machine("down") is None, 5, "down gone", interval=0.05)

    def test_machines_come_and_go_with_their_sockets(self):
        for _ in range(2):
            vm = Qemu(self.host.scratch, "passing", self.host, kind="none").start()
            self.addCleanup(vm.kill)
            self.suspendd.wait_machine("passing", 5, run_state="running")
            vm.kill()
            wait_for(lambda: self.suspendd.machine("passing") is None, 5, "passing gone", interval=0.05)
            for path in (vm.qmp_path, vm.own_path("mon")):
                os.unlink(path)  # killed, it left them behind

    def test_history_is_bounded(self):
        self.suspendd.configure("[Manager]\nHistoryMax=3\n")
        self.suspendd.reload()
        for _ in range(5):
            self.suspendd.ctl("rehearse", "--for=1ms")
        numbers = [r["number"] for r in self.suspendd.records()]
        self.assertEqual(len(numbers), 3)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 3)))
        self.assertEqual(len(self.suspendd.json("history")), 3)

    def test_second_daemon_leaves_the_first_alone(self):
        second = self.host.run("env", "RUNTIME_DIRECTORY=/run/suspendd", "/usr/lib/suspendd/suspendd",
                               check=False, timeout=10)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("Another suspendd is at work", second.stderr)
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "active")

    def test_user_without_rights_reads_and_changes_nothing(self):
        def as_nobody(*arguments):
            return self.host.run("setpriv", "--reuid=65534", "--clear-groups", "suspendctl", *arguments, check=False)
        self.assertEqual(as_nobody("list").returncode, 0)
        for arguments in (("mode", "a", "ignore"), ("rehearse", "--for=1ms"), ("register", "/tmp/x.qmp"), ("sync", "a")):
            with self.subTest(arguments=arguments):
                self.assertEqual(as_nobody(*arguments).returncode, 5)
        self.assertEqual(self.suspendd.machine("a")["mode"], "auto")


class Clocks(SuspenddCase):
    """What is done about a guest's clock, by policy."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        cls.guest = Qemu(cls.host.scratch, "guest", cls.host).start()
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.wait_up()
        cls.suspendd.start()

    def cycle(self, policy, error_ns):
        """A cycle in which the guest pauses, its clock having been off by that much before."""
        self.suspendd.configure("[Machine guest]\nMode=pause\n" + policy)
        self.suspendd.reload()
        self.suspendd.wait_machine("guest", 10, at_sleep="pause", run_state="running")
        wait_for(lambda: "get-time" not in str(self.suspendd.machine("guest")["lacks"]), 10, "agent", interval=0.05)
        self.guest.set_clock_error(error_ns)
        self.before = self.guest.clock_error()[0]  # on a busy machine not that error to the millisecond
        record = of(self.suspendd.suspend(), "guest")
        return record, self.guest.clock_error()[0]

    def test_absolute_is_set_to_the_hosts(self):
        record, error = self.cycle("TimeSync=absolute\n", -3600000 * MS)
        self.assertEqual(record["time"]["verdict"], "set")
        self.assertLess(abs(error), 5 * MS)

    def test_relative_keeps_what_it_was_ahead(self):
        record, error = self.cycle("TimeSync=relative\n", 90000 * MS)
        self.assertEqual(record["time"]["verdict"], "set")
        self.assertLess(abs(error - self.before), 10 * MS)

    def test_off_is_left_behind_by_the_stop(self):
        record, error = self.cycle("TimeSync=off\n", 0)
        self.assertEqual(record["time"]["verdict"], "none")
        self.assertLess(error, -900 * MS)

    def test_step_backwards_only_as_far_as_allowed(self):
        record, error = self.cycle("TimeSync=absolute\nBackwardStepMaxSec=1s\n", 60000 * MS)
        self.assertEqual(record["time"]["verdict"], "refused")
        self.assertGreater(error, 50000 * MS)

    def test_sync_by_command(self):
        self.guest.set_clock_error(-5000 * MS)
        self.suspendd.wait_machine("guest", 10, run_state="running")
        self.suspendd.ctl("sync", "guest")
        self.assertLess(abs(self.guest.clock_error()[0]), 5 * MS)
