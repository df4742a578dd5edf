# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real guests' clocks after the wake, when the host's own clock turns out to have been wrong."""

import time

from lab import Qemu, wait_for
from _suspendd import Suspendd, SuspenddCase, of, start_host

MS = 1000000
STEP = 700 * MS


class HostClockStepped(SuspenddCase):
    """The host's clock is set by +0.7 s, 3 s after the wake. Only the daemon sees that (lab/host/sleepclock.c): by
    this machine's clock a guest that follows it is ahead then."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, "[Machine web]\nMode=pause\n", sleep_clock=True)
        cls.web = Qemu(cls.host.scratch, "web", cls.host).start()
        cls.addClassCleanup(cls.web.kill)
        cls.web.wait_up()
        cls.suspendd.start()
        cls.suspendd.wait_machine("web", at_sleep="pause")
        wait_for(lambda: "get-time" not in cls.suspendd.machine("web")["lacks"], 15, "an agent that tells the time")

    def later(self, number):
        """What the record of the cycle says was done to the clock after it."""
        return of(self.suspendd.wait_record(number), "web")["later"]

    def test_guest_follows_once_more_and_the_history_has_both(self):
        self.web.set_clock_error(0)  # as it booted, by its RTC, it may be off by a second
        record = self.suspendd.suspend()
        first = of(record, "web")
        self.assertEqual((first["stood"], first["time"]["verdict"], first["time"]["repaired_by"], first["later"]),
                         ("paused", "set", "agent", []))
        self.assertLess(first["time"]["before_ns"], -900 * MS)
        error, uncertainty = self.web.clock_error()
        self.assertLessEqual(abs(error), 5 * MS + uncertainty)

        time.sleep(3)  # as long as a host takes to hear of the right time
        self.host.step_clock(STEP / 1e9)
        wait_for(lambda: self.later(record["number"]), 20, "a correction after the cycle", interval=0.1)
        machine = of(self.suspendd.wait_record(record["number"]), "web")
        self.assertEqual(machine["time"], first["time"])
        self.assertEqual(len(machine["later"]), 1)
        later = machine["later"][0]
        self.assertEqual((later["cause"], later["time"]["verdict"], later["time"]["repaired_by"]),
                         ("host-clock", "set", "agent"))
        self.assertLess(abs(later["host_clock_stepped_ns"] - STEP), 1 * MS)
        self.assertLess(abs(later["time"]["before_ns"] + STEP), 20 * MS)
        self.assertLessEqual(abs(later["time"]["after_ns"]), 2 * MS + later["time"]["after_uncertainty_ns"])

        error, uncertainty = self.web.clock_error()
        self.assertLessEqual(abs(error - STEP), 5 * MS + uncertainty)
        shown = self.suspendd.machine("web")
        self.assertEqual([x["cause"] for x in shown["later"]], ["host-clock"])

    test_guest_follows_once_more_and_the_history_has_both.quick = True
