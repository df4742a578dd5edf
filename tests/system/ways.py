# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same sleep of the same guests without anything, with a script for systemd-sleep, and with suspendd."""

import collections
import unittest

from lab import LabError
from _case import SECOND, Inside, SystemCase, of
from _outer import MEDIA

SLEEP_SECONDS = 10
HUNG_SECONDS = 30  # so long a host that does not sleep is waited for
HOOK = "/usr/lib/systemd/system-sleep/lab"

# What one way was seen to do. stood: those that did before the kernel slept; web, dom: by how much the wall clocks of the
# guest with an agent and of the one without are off after it, in seconds; told: what the record says of web's; ran: from
# the kernel's wake until all run, None if they never stood; delay, hung: from the request to the host's sleep, when all is
# well and when the domain's QEMU hangs, None if not within HUNG_SECONDS.
Way = collections.namedtuple("Way", "stood web told dom ran delay hung")


class ThreeWays(SystemCase):
    """What is seen of each, and that it is as suspendd's own documents say."""

    @classmethod
    def prepare(cls):
        """Goes all ways."""
        cls.inside = Inside(cls.host)
        cls.without = cls.go(recorded=False)
        cls.host.run("install -D -m 755 %s/inside/sleep-hook.sh %s" % (MEDIA, HOOK))
        cls.script = cls.go(recorded=False)
        cls.host.run("rm " + HOOK)
        cls.inside.ask_agent("agent-set")
        cls.inside.start_suspendd()
        cls.suspendd = cls.go(recorded=True)

    @classmethod
    def go(cls, recorded):
        """A sleep as all are, and one while a QEMU hangs."""
        inside = cls.inside
        if not recorded:
            inside.ask_agent("agent-set")
        ahead = inside.dom.ahead()
        cycle = inside.cycle(SLEEP_SECONDS, recorded=recorded)
        entry = cycle.events.find("kernel", "PM: suspend entry (deep)").at
        awake = cycle.events.find("kernel", "PM: suspend exit").at
        stops = {x: cycle.events.find(x, "STOP") for x in inside.RUNNING}
        stood = [x for x in inside.RUNNING if stops[x] and stops[x].at < entry]
        web = cls.error_of_web(recorded)
        told = of(cycle.record, "web")["time"]["after_ns"] / SECOND if recorded else None
        ran = max(cycle.events.find(x, "RESUME").at for x in stood) - awake if stood else None
        return Way(stood, web, told, inside.dom.ahead() - ahead, ran and ran / SECOND, cycle.sleep.delay, cls.delay_hung())

    @classmethod
    def error_of_web(cls, is_running):
        """What its agent says; suspendd holds the line to that while it runs."""
        if is_running:
            cls.host.run("systemctl stop suspendd")
        error = float(cls.inside.ask_agent("agent-error")) / 1000
        if is_running:
            cls.host.run("systemctl start suspendd")
            cls.inside.wait_known()
        return error

    @classmethod
    def delay_hung(cls):
        """How long a host stays awake one of whose QEMUs hangs. Thaws it, and waits until all is over."""
        dom = cls.inside.dom
        dom.signal("STOP")
        begun = cls.host.begin_sleep()
        try:
            delay = cls.host.wait_asleep(begun, HUNG_SECONDS)
        except LabError:
            delay = None
            dom.signal("CONT")
        cls.host.wake(begun, 1)
        dom.signal("CONT")
        cls.inside.wait_running()
        return delay

    def tell(self, title, values):
        """A row of the table."""
        self.figure = "%s: %s without, %s with a script, %s with suspendd" % ((title,) + tuple(values))

    def ways(self, name):
        """That of all three."""
        return [getattr(x, name) for x in (self.without, self.script, self.suspendd)]

    def test_guests_stand_before_the_kernel_sleeps(self):
        self.tell("guests that stand before the sleep", [len(x) for x in self.ways("stood")])
        self.assertEqual([len(x) for x in self.ways("stood")], [0, 3, 3])

    def test_clock_is_right_after_it(self):
        self.tell("wall clock of a guest with an agent", ["%+.2f s" % x for x in self.ways("web")])
        self.assertLess(self.without.web, -SLEEP_SECONDS + 1.5)
        self.assertLess(self.script.web, -SLEEP_SECONDS + 1.5)
        self.assertLess(abs(self.suspendd.web), 1)
        self.assertLess(abs(self.suspendd.told - self.suspendd.web), 0.5)

    def test_clock_without_an_agent_is_late(self):
        self.tell("and without one", ["%+.1f s" % x for x in self.ways("dom")])
        for ahead in self.ways("dom"):
            self.assertLess(ahead, -SLEEP_SECONDS + 2)

    def test_wake_is_quick(self):
        values = self.ways("ran")
        self.tell("from the wake until all run", ["%.2f s" % x if x else "-" for x in values])
        self.assertLess(self.suspendd.ran, self.script.ran)

    def test_hung_machine_costs_the_host_a_few_seconds(self):
        values = [x and "%.1f s" % x for x in self.ways("hung")]
        self.tell("to the sleep (if a QEMU hangs)", ["%.1f s (%s)" % (x, y or "not within %d s" % HUNG_SECONDS)
                                                    for x, y in zip(self.ways("delay"), values)])
        self.assertIsNone(self.script.hung)
        self.assertLess(self.suspendd.hung - self.suspendd.delay, 6)
        self.assertEqual(self.inside.states()["dom"], "running")


if __name__ == "__main__":
    unittest.main()
