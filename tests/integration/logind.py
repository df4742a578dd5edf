# SPDX-License-Identifier: LGPL-2.1-or-later
"""What logind does to us, and what becomes of logind: on the real one, with bare QEMUs as machines."""

from lab import LabError, Qemu, wait_for
from _suspendd import UNIT, Suspendd, SuspenddCase, is_newer, of, start_host

LOGIND = "systemd-logind"


class LogindCase(SuspenddCase):
    """A host, the service, and machines a and b that run."""

    config = ""
    sleep_clock = False

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1, inhibit_delay=5)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, cls.config, sleep_clock=cls.sleep_clock)
        cls.a, cls.b = (Qemu(cls.host.scratch, n, cls.host, kind="none").start() for n in "ab")
        for vm in (cls.a, cls.b):
            cls.addClassCleanup(vm.kill)
        cls.suspendd.start()
        for name in "ab":
            cls.suspendd.wait_machine(name, run_state="running")

    def setUp(self):
        self.host.set_sleep(1)
        self.suspendd.wait_state("idle")
        self.wait_lock()

    def assert_running(self):
        """Both machines run."""
        for vm in (self.a, self.b):
            vm.wait_status("running", 5)

    def hang(self, vm):
        """Freezes a QEMU for the length of the test: the cycle prepares to the end of its budget."""
        vm.freeze()
        self.addCleanup(vm.thaw)


class Delay(LogindCase):
    """InhibitDelayMaxSec, read anew each cycle."""

    def release_with_a_hung_machine(self, delay):
        self.host.set_inhibit_delay(delay)
        self.addCleanup(self.host.set_inhibit_delay, 5)
        self.hang(self.b)
        record = self.suspendd.suspend()
        self.assertEqual(of(record, "a")["stood"], "paused")
        self.assertIsNone(of(record, "b")["stood"])
        self.assertTrue(of(record, "b")["failed"])
        return record

    def test_five_seconds_are_used_to_nine_tenths(self):
        record = self.release_with_a_hung_machine(5)
        self.assertEqual(record["delay_max_usec"], 5000000)
        self.assertLess(record["released_after_usec"], 4500000)
        self.assertGreater(record["released_after_usec"], 4000000)

    def test_one_second_changed_by_reload_between_cycles(self):
        record = self.release_with_a_hung_machine(1)
        self.assertEqual(record["delay_max_usec"], 1000000)
        self.assertLess(record["released_after_usec"], 900000)

    def test_infinity_is_capped(self):
        self.host.set_inhibit_delay("infinity")
        self.addCleanup(self.host.set_inhibit_delay, 5)
        self.hang(self.b)
        record = self.suspendd.suspend()
        self.assertIsNone(record["delay_max_usec"])
        self.assertEqual(record["budget_usec"], 10000000)
        self.assertLess(record["released_after_usec"], 9500000)
        self.assertEqual(of(record, "a")["stood"], "paused")

    def test_zero_is_unprotected_and_said_to_be(self):
        self.host.set_inhibit_delay(0)
        self.addCleanup(self.host.set_inhibit_delay, 5)
        record = self.suspendd.suspend()
        self.assertFalse(record["protected"])
        for name in "ab":
            self.assertEqual(of(record, name)["stood"], "paused")
        self.assertIn("InhibitDelayMaxSec is 0", self.suspendd.log())
        self.assert_running()


class Failures(LogindCase):
    """Sleeps that fail, and a logind that goes."""

    def test_sleep_that_fails_resumes_all(self):
        self.host.set_sleep("fail")
        mark = self.a.monitor.mark()
        record = self.suspendd.suspend()
        self.assertEqual(record["ended"], "failed")
        self.assertFalse(record["host_slept"])
        self.a.monitor.wait_event("RESUME", 1, mark)
        self.assert_running()

    def test_logind_restarted_during_the_delay(self):
        self.hang(self.b)
        number = self.suspendd.last_number() + 1
        sleeps = self.host.sleeps()
        self.host.request_suspend()
        self.suspendd.wait_state("preparing")
        self.a.wait_status("paused")
        self.host.systemctl("restart", LOGIND)
        self.a.wait_status("running", 3)
        self.b.thaw()
        record = self.suspendd.wait_record(number)
        self.assertEqual(record["ended"], "lost")
        self.assertEqual(self.host.sleeps(), sleeps, "logind has forgotten the sleep")
        self.assert_running()
        self.wait_lock()
        self.assertEqual(len(self.locks()), 1)

    def test_logind_killed_while_asleep(self):
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.host.wait_asleep()
        number = self.suspendd.last_number() + 1
        self.host.systemctl("kill", "-s", "KILL", LOGIND)
        wait_for(lambda: self.host.preparing_for_sleep() is False, 10, "logind back", interval=0.05)
        with self.assertRaises(LabError):  # the sleep is still under way: nobody may be woken
            self.a.wait_status("running", 1.5)
        self.host.wake()
        self.suspendd.wait_record(number)
        self.assert_running()
        self.wait_lock()

    def test_second_sleep_at_once_after_the_first_wake(self):
        first = self.suspendd.last_number() + 1
        self.host.suspend()
        self.host.suspend()
        records = [self.suspendd.wait_record(n) for n in (first, first + 1)]
        for record in records:
            self.assertEqual((of(record, "a")["stood"], of(record, "b")["stood"]), ("paused", "paused"))
            self.assertFalse(record["overdue"])
        self.assert_running()

    def test_second_sleep_while_machines_are_still_woken(self):
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.host.wait_asleep()
        first = self.suspendd.last_number() + 1
        self.b.freeze()
        self.host.wake()
        self.suspendd.wait_state("restoring")
        self.wait_lock()
        self.host.set_sleep(1)
        wait_for(lambda: self.host.request_suspend(check=False).returncode == 0, 5, "a second suspend")
        self.suspendd.wait_state("preparing")
        self.b.thaw()
        self.assertEqual(self.suspendd.wait_record(first)["ended"], "interrupted")
        second = self.suspendd.wait_record(first + 1)
        self.assertEqual((of(second, "a")["stood"], of(second, "b")["stood"]), ("paused", "paused"))
        self.assert_running()

    def test_suspend_requested_while_the_daemon_starts(self):
        self.suspendd.stop()
        self.host.systemctl("start", "--no-block", UNIT)
        wait_for(lambda: self.locks(), 5, "our delay lock", interval=0.001)
        mark = self.a.monitor.mark()
        self.host.suspend()
        self.suspendd.wait_state("idle")
        self.a.monitor.wait_event("STOP", 5, mark)
        self.a.monitor.wait_event("RESUME", 5, mark)
        self.assert_running()

    def test_daemon_started_in_mid_sleep_finds_nothing_of_its_own(self):
        self.suspendd.stop()
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.host.wait_asleep()
        self.host.systemctl("start", "--no-block", UNIT)
        self.suspendd.wait_machine("a")
        self.host.wake()
        self.host.wait_awake()
        self.suspendd.wait_state("idle")
        self.assert_running()
        self.wait_lock()


class PlainSuspend(LogindCase):
    """The end of a plain suspend, whose hooks take longer than its machines want to wait."""

    sleep_clock = True
    HOOK_SECONDS = 3

    def setUp(self):
        super().setUp()
        self.host.write("/run/lab/hooks", str(self.HOOK_SECONDS))
        self.addCleanup(self.host.write, "/run/lab/hooks", "0")
        self.addCleanup(self.host.wait_awake)

    def sleep_to_the_hooks(self):
        """Sends the host to sleep; returns its record when the machines run, while the hooks are at work."""
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        record = self.suspendd.wait_record(number)
        self.assertTrue(self.host.preparing_for_sleep(), "the hooks are at work")
        return record

    def test_machines_run_while_hooks_are_at_work(self):
        begun = self.suspendd.log()
        record = self.sleep_to_the_hooks()
        self.assert_running()
        self.assertTrue(self.host.preparing_for_sleep())
        self.assertEqual((record["ended"], record["host_slept"]), ("woke", True))
        self.assertEqual(self.locks(), [])
        self.wait_lock()
        self.assertFalse(self.host.preparing_for_sleep())
        self.assertNotIn("no delay lock", self.suspendd.log()[len(begun):])

    def test_second_sleep_right_after_the_hooks(self):
        self.sleep_to_the_hooks()
        self.wait_lock()
        second = self.suspendd.suspend()
        self.assertEqual((of(second, "a")["stood"], of(second, "b")["stood"]), ("paused", "paused"))
        self.assert_running()

    def test_logind_killed_while_hooks_are_at_work(self):
        self.sleep_to_the_hooks()
        self.host.systemctl("kill", "-s", "KILL", LOGIND)
        self.wait_lock()
        self.assert_running()

    def test_suspendd_killed_while_hooks_are_at_work(self):
        self.sleep_to_the_hooks()
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        self.host.wait_awake()
        self.suspendd.wait_state("idle")
        self.wait_lock()
        self.assert_running()

    def test_what_only_looks_like_a_sleep_wakes_nobody(self):
        """As an attempt does that fails after the clocks were stopped: systemd-sleep makes another one."""
        self.host.set_sleep("hold")
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.host.wait_asleep()
        self.host.run("/run/lab/sleepclock", "end")
        with self.assertRaises(LabError):
            self.a.wait_status("running", 1.5)
        self.host.wake()
        self.suspendd.wait_record(number)
        self.assert_running()

    def test_sleep_while_no_daemon_was_there_is_made_up_for(self):
        self.suspendd.stop()
        number = self.suspendd.last_number() + 1
        self.host.set_sleep(2)
        mark = self.a.monitor.mark()
        self.host.suspend()
        self.suspendd.start()
        record = self.suspendd.wait_record(number)
        self.assertEqual((record["kind"], record["host_slept"]), ("unannounced", True))
        self.assertAlmostEqual(record["slept_ns"] / 1e9, 2, delta=0.5)
        self.assertEqual([x for x in self.a.monitor.events[mark:] if x.name == "STOP"], [])

    def test_hooks_are_waited_for_if_an_admin_wants_it(self):
        self.suspendd.configure("[Manager]\nWaitForHooks=yes\n")
        self.suspendd.reload()
        self.addCleanup(self.suspendd.reload)
        self.addCleanup(self.suspendd.configure, self.config)
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.host.wait_asleep()
        wait_for(lambda: not self.host.asleep(), 5, "awake", interval=0.05)
        with self.assertRaises(LabError):
            self.a.wait_status("running", self.HOOK_SECONDS / 2)
        self.suspendd.wait_record(number)
        self.assertFalse(self.host.preparing_for_sleep())
        self.assert_running()


class Block(LogindCase):
    """The block mode."""

    config = "[Machine precious]\nMode=block\n"

    def refused_suspend(self):
        """Asks for a suspend and is refused. Root's own goes past block locks before systemd 257, and is not
        told why after, unless it asks for the locks to be looked at, as a user's does."""
        if is_newer():
            self.assertNotEqual(self.host.request_suspend(check=False).returncode, 0)
        refused = self.host.request_suspend("--check-inhibitors=yes", check=False)
        self.assertNotEqual(refused.returncode, 0)
        return refused

    def test_block_refuses_the_sleep_and_lets_it_when_the_machine_has_gone(self):
        vm = Qemu(self.host.scratch, "precious", self.host, kind="none").start()
        self.addCleanup(vm.kill)
        self.suspendd.wait_machine("precious", run_state="running")
        wait_for(lambda: self.locks("block"), 5, "block lock", interval=0.05)
        self.assertIn("precious", self.locks("block")[0]["why"])
        sleeps = self.host.sleeps()
        refused = self.refused_suspend()
        self.assertIn("precious", refused.stdout + refused.stderr)
        self.assertEqual(self.host.sleeps(), sleeps)
        self.assertEqual(vm.status(), "running")

        vm.kill()
        wait_for(lambda: not self.locks("block"), 5, "no block lock", interval=0.05)
        self.suspendd.suspend()
        self.assertEqual(self.host.sleeps(), sleeps + 1)

    def test_mode_by_command_blocks_and_unblocks(self):
        self.suspendd.ctl("mode", "a", "block")
        self.addCleanup(self.suspendd.ctl, "mode", "a", "auto")
        wait_for(lambda: self.locks("block"), 5, "block lock", interval=0.05)
        self.refused_suspend()
        self.suspendd.ctl("mode", "a", "pause")
        wait_for(lambda: not self.locks("block"), 5, "no block lock", interval=0.05)
        self.suspendd.suspend()
        self.assert_running()
