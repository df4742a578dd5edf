# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guest agents that hang behind a real libvirtd, one and many at once; one that answers late, one that lies."""

from lab import LabError, wait_for
from lab.domain import Domain, clone_domains
from _libvirt import MS, LibvirtCase
from _suspendd import of

N_HUNG = 25
N_HEALTHY = 3


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
        self.assertIn("suspended late", self.suspendd.log())


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


class ManyHanging(LibvirtCase):
    """More agents hang at once than libvirtd has workers."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        # 25 guests that suspend themselves at once would be more than a small machine can bear; they are
        # asked to only when they hang.
        names = ["healthy%02d" % i for i in range(N_HEALTHY)] + ["hung%02d" % i for i in range(N_HUNG)]
        clones = clone_domains(cls.libvirt, names)
        cls.healthy, cls.hung = clones[:N_HEALTHY], clones[N_HEALTHY:]
        cls.idle = Domain(cls.libvirt, "idle", kind="none").start()
        cls.events = cls.libvirt.events()
        cls.addClassCleanup(cls.events.close)
        cls.suspendd.start()
        for domain in clones:
            cls.suspendd.wait_machine(domain.name, timeout=60, at_sleep="suspend")

    def assert_cycle(self, record, healthy_usec):
        self.assert_in_time(record)
        self.assertLess(of(record, "idle")["stood_after_usec"], 1000000)
        for domain in self.healthy:
            machine = of(record, domain.name)
            self.assertEqual((machine["stood"], machine["failed"]), ("suspended", False), machine)
            self.assertLess(machine["stood_after_usec"], healthy_usec)
        for domain in self.hung:
            self.assertEqual(of(record, domain.name)["stood"], "paused")
        for domain in self.healthy + self.hung + [self.idle]:
            domain.wait_state("running", timeout=15)

    def test_many_hung_agents_hold_up_nobody(self):
        self.suspendd.ctl("mode", "hung*", "pause")
        usual = self.suspendd.suspend()
        usual_usec = max(of(usual, d.name)["stood_after_usec"] for d in self.healthy)
        self.assert_cycle(usual, 3000000)
        self.suspendd.ctl("mode", "hung*", "default")
        wait_for(lambda: self.suspendd.manager("State") == "idle", 40, "idle")

        for domain in self.hung:
            domain.stop_agent()
        mark = self.events.mark()
        first = self.suspendd.suspend()
        # The first time a healthy guest may have to wait for one agent's second, if it is not among the first 15.
        self.assert_cycle(first, usual_usec + 1500000)
        second = self.suspendd.suspend()
        self.assert_cycle(second, usual_usec + 200000)
        self.assertLess(second["released_after_usec"], usual_usec + 1000000)

        for domain in self.hung:
            domain.cont_agent()
        with self.assertRaises(LabError):
            self.events.wait(self.hung[0].name, "lifecycle PMSuspended", 3, mark)
        for domain in self.hung:
            self.assertEqual(domain.state()[0], "running")
        self.suspendd.suspend()
        for domain in self.hung:
            self.suspendd.wait_machine(domain.name, timeout=40, at_sleep="suspend")
        self.suspendd.wait_state("idle", 60)
        # The answers that were owed have all come.
        wait_for(lambda: self.suspendd.manager("Troubles") == {}, 40, "no trouble")
        # None lacks the seconds that it was stopped; closer than that, 28 guests on few cores are not asked.
        for domain in self.hung + self.healthy:
            self.assert_clock(domain, 50 * MS)
