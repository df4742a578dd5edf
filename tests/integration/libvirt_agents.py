# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guest agents behind a real libvirtd: one that hangs, one that answers late, one that lies."""

from lab import LabError, wait_for
from lab.domain import Domain
from _libvirt import LibvirtCase
from _suspendd import of


class Misbehaving(LibvirtCase):
    """One domain that misbehaves beside healthy ones: another guest with an agent, and one that is paused."""

    options = {}

    @classmethod
    def setUpClass(cls):
        if cls is Misbehaving:
            return
        cls.set_up_host()
        cls.bad = Domain(cls.libvirt, "bad", **cls.options).start()
        cls.good = Domain(cls.libvirt, "good").start()
        cls.idle = Domain(cls.libvirt, "idle", kind="none").start()
        for domain in (cls.bad, cls.good):
            domain.wait_up()
        cls.events = cls.libvirt.events()
        cls.addClassCleanup(cls.events.close)
        cls.suspendd.start()
        for name in ("bad", "good"):
            cls.suspendd.wait_machine(name, at_sleep="suspend")

    def assert_healthy(self, record):
        """The others have not noticed anything."""
        self.assert_in_time(record)
        good, idle = of(record, "good"), of(record, "idle")
        self.assertEqual((good["stood"], good["failed"]), ("suspended", False))
        self.assertLess(good["stood_after_usec"], 900000)
        self.assertEqual((idle["stood"], idle["failed"]), ("paused", False))
        self.assertLess(idle["stood_after_usec"], 500000)
        for domain in (self.good, self.idle):
            domain.wait_state("running")


class Hanging(Misbehaving):
    """The agent is stopped (SIGSTOP) in the guest."""

    def test_hung_agent_is_paused_and_known_the_next_time(self):
        self.bad.stop_agent()
        first = self.suspendd.suspend()
        self.assert_healthy(first)
        bad = of(first, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("suspend", "paused"))
        self.assertIn("agent", bad["why"])
        # Its own second is over, and no part of libvirt's thirty.
        self.assertLess(bad["stood_after_usec"], 2500000)
        self.bad.wait_state("running", timeout=5)

        self.suspendd.wait_machine("bad", at_sleep="pause", why="the guest agent does not answer")
        second = self.suspendd.suspend()
        self.assert_healthy(second)
        bad = of(second, "bad")
        self.assertEqual((bad["asked"], bad["stood"]), ("pause", "paused"))
        self.assertLess(bad["stood_after_usec"], 500000)

        # The question that it was asked first was a harmless one: nothing strikes when it is back.
        mark = self.events.mark()
        self.bad.cont_agent()
        with self.assertRaises(LabError):
            self.events.wait("bad", "lifecycle PMSuspended", 2, mark)
        self.suspendd.suspend()  # after which its clock is asked for, and it answers
        self.suspendd.wait_machine("bad", at_sleep="suspend")
        self.assertEqual(of(self.suspendd.suspend(), "bad")["stood"], "suspended")


class Late(Misbehaving):
    """The guest says yes and suspends long after."""

    options = {"append": "lab.suspend-delay=8"}

    def test_late_suspend_strikes_after_the_wake_and_is_undone(self):
        mark = self.events.mark()
        record = self.suspendd.suspend()
        self.assert_healthy(record)
        self.assertEqual(of(record, "bad")["asked"], "suspend")
        self.assertIsNotNone(self.events.find("bad", "lifecycle Suspended Paused", mark))
        struck = self.events.wait("bad", "lifecycle PMSuspended", 30, mark)
        woken = self.events.wait("bad", "lifecycle Started Event wakeup", 5, mark)
        self.assertLess(woken - struck, 1)
        self.bad.wait_state("running")
        wait_for(lambda: "suspended late" in self.suspendd.log(), 5, "the log to tell of it")


class Lying(Misbehaving):
    """q35 with SeaBIOS: the second suspend is accepted and bounces."""

    options = {"machine": "q35"}

    def test_broken_word_is_remembered(self):
        self.assertEqual(of(self.suspendd.suspend(), "bad")["stood"], "suspended")
        self.suspendd.wait_machine("bad", at_sleep="suspend")
        second = self.suspendd.suspend()
        self.assert_healthy(second)
        self.assertEqual(of(second, "bad")["stood"], "paused")
        self.suspendd.wait_machine("bad", at_sleep="pause")
        third = self.suspendd.suspend()
        self.assert_healthy(third)
        self.assertLess(of(third, "bad")["stood_after_usec"], 500000)
