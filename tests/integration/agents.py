# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guest agents that hang, lie or answer late: real ones, in real guests."""

from lab import LabError, Qemu, wait_for
from _suspendd import Suspendd, SuspenddCase, of, start_host


class Agents(SuspenddCase):
    """A host with one guest whose agent misbehaves, beside one that does not."""

    guest_options = {}

    @classmethod
    def setUpClass(cls):
        if cls is Agents:
            return
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        cls.good = Qemu(cls.host.scratch, "good", cls.host).start()
        cls.bad = Qemu(cls.host.scratch, "bad", cls.host, **cls.guest_options).start()
        for vm in (cls.good, cls.bad):
            cls.addClassCleanup(vm.kill)
            vm.wait_up()
        cls.suspendd.start()
        for name in ("good", "bad"):
            cls.suspendd.wait_machine(name, at_sleep="suspend")

    def assert_good(self, record):
        """The other machine has not noticed anything."""
        good = of(record, "good")
        self.assertEqual((good["stood"], good["failed"]), ("suspended", False))
        self.assertLess(good["stood_after_usec"], 2000000)
        self.assertLess(record["released_after_usec"], 0.9 * record["delay_max_usec"])


class Hanging(Agents):
    """The agent is stopped (SIGSTOP) in the guest."""

    def test_hung_agent_is_overtaken_by_a_pause_and_known_the_next_time(self):
        self.bad.stop_agent()
        first = self.suspendd.suspend()
        self.assert_good(first)
        bad = of(first, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("suspend", "paused"))
        self.assertGreater(bad["stood_after_usec"], 0.5 * first["budget_usec"])
        self.bad.wait_status("running", 5)

        second = self.suspendd.suspend()
        self.assert_good(second)
        bad = of(second, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("pause", "paused"))
        self.assertIn("does not answer", bad["why"])
        self.assertLess(second["released_after_usec"], 2000000)

        # It never had the suspend: the question before it was not answered. Nothing strikes.
        mark = self.bad.monitor.mark()
        self.bad.cont_agent()
        self.suspendd.wait_machine("bad", at_sleep="suspend")
        with self.assertRaises(LabError):
            self.bad.monitor.wait_event("SUSPEND", 1.5, mark)
        third = self.suspendd.suspend()
        self.assertEqual(of(third, "bad")["stood"], "suspended")


class Lying(Agents):
    """q35 with SeaBIOS: the second suspend is accepted and bounces."""

    guest_options = {"machine": "q35"}

    def test_broken_word_is_remembered(self):
        first = self.suspendd.suspend()
        self.assertEqual(of(first, "bad")["stood"], "suspended")
        self.suspendd.wait_machine("bad", at_sleep="suspend")

        second = self.suspendd.suspend()
        self.assert_good(second)
        bad = of(second, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("suspend", "paused"))
        self.bad.wait_status("running", 5)

        self.suspendd.wait_machine("bad", at_sleep="pause")
        third = self.suspendd.suspend()
        bad = of(third, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("pause", "paused"))
        self.assertLess(bad["stood_after_usec"], 500000)
        self.assert_good(third)

        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        self.suspendd.wait_machine("bad", at_sleep="pause")


class Late(Agents):
    """The guest says yes and suspends long after."""

    guest_options = {"append": "lab.suspend-delay=8"}

    def test_late_suspend_strikes_after_the_wake_and_is_undone(self):
        mark = self.bad.monitor.mark()
        record = self.suspendd.suspend()
        self.assert_good(record)
        bad = of(record, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("suspend", "paused"))
        self.bad.wait_status("running", 5)
        self.assertIsNone(self.bad.monitor.find("SUSPEND", mark))

        struck = self.bad.monitor.wait_event("SUSPEND", 30, mark)
        woken = self.bad.monitor.wait_event("WAKEUP", 5, mark)
        self.assertLess(woken.realtime - struck.realtime, 1)
        self.bad.wait_status("running", 5)
        wait_for(lambda: "suspended late" in self.suspendd.log(), 5, "the log to tell of it")
        self.suspendd.wait_machine("bad", run_state="running")

        # Once it has been undone, a suspend is its guest's own wish again.
        self.suspendd.wait_machine("bad", state="idle", timeout=45)
        self.bad.set_suspend_delay(0)
        mark = self.bad.monitor.mark()
        self.bad.shell("(sleep 1; echo mem > /sys/power/state) >/dev/null 2>&1 &")
        self.bad.monitor.wait_event("SUSPEND", 10, mark)
        with self.assertRaises(LabError):
            self.bad.monitor.wait_event("WAKEUP", 2, mark)
        self.bad.wakeup()
