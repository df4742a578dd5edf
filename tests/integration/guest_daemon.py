# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspendd and suspend-guest together, with nothing played: a page that suspendd writes, its doorbell, and the guest's
clock read by a line of the tests' own; without an agent, and with one."""

import concurrent.futures
import time

from lab import wait_for
from _guestclock import BUSY_SHARE, LOG, MS, TRIES, Guest, waited_for_cpu
from _suspendd import Suspendd, SuspenddCase, of, start_host

CONFIG = "[Manager]\nPlugins=page\n[Plugin page]\nPage=x86 root\nPage=arm root\n"
OPTIONS = {"x86": {"machine": "q35"}, "arm": {"arch": "arm64"}}


class Together(SuspenddCase):
    """One host and one guest of either architecture, for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, CONFIG)
        cls.suspendd.start()
        cls.guests = [cls.make_guest(name) for name in OPTIONS]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda guest: guest.start().wait_up(120), cls.guests))
        for guest in cls.guests:
            cls.suspendd.wait_machine(guest.name, run_state="running")
            guest.shell("suspend-guest --vfio --no-hooks >>%s 2>&1 &" % LOG)
            wait_for(lambda: "<6>" in cls.log(guest), 20, "the first word of the reader of " + guest.name)

    @classmethod
    def make_guest(cls, name):
        doorbell = cls.suspendd.page_path(name) + ".sock"
        guest = Guest(cls.host.scratch, name, cls.host, agent=False, doorbell=doorbell, **OPTIONS[name])
        cls.addClassCleanup(guest.kill)
        return guest

    @classmethod
    def log(cls, guest):
        """All that the reader has said."""
        return guest.shell("cat " + LOG)[1]

    def errors(self):
        """How far each guest's clock is from the host's, in ns."""
        return [guest.clock_error(20)[0] for guest in self.guests]

    def rehearse(self, length, times=1):
        """Cycles of the daemon's, without a sleep. Returns: the last one's record."""
        for _ in range(times):
            number = self.suspendd.last_number() + 1
            self.suspendd.ctl("rehearse", "--for=" + length)
            record = self.suspendd.wait_record(number)
        return record

    def late(self, since):
        """So much, in ns, may the stamps of each guest's stops be late since that cycle: under TCG its clock stops when
        QEMU begins with the command, and the stamp is taken when the vCPU's thread has noticed."""
        records = [x for x in self.suspendd.records() if x["number"] > since]
        return [sum(of(x, guest.name)["stood_after_usec"] or 0 for x in records) * 1000 for guest in self.guests]

    def assert_kept(self, act, limit_ns):
        """No clock has moved by more than the limit over an act. A host that is too busy to run its guests does not know
        when they stood: then all is done once more, and a host that stays so shows nothing."""
        for _ in range(TRIES):
            before, since, began, waited = self.errors(), self.suspendd.last_number(), time.monotonic(), waited_for_cpu()
            act()
            moved = [now - was for was, now in zip(before, self.errors())]
            late = self.late(since)
            share = (waited_for_cpu() - waited) / (time.monotonic() - began)
            told = "off by %s ms, known to -%s, %d %% of the time something waited for a CPU" % (
                " and ".join("%.3f" % (x / MS) for x in moved), " and ".join("%.1f" % (x / MS) for x in late), 100 * share)
            print("%s: %s" % (self.id().rsplit(".", 1)[-1], told), flush=True)
            if max(map(abs, moved)) < limit_ns:
                return
            if share < BUSY_SHARE:
                for x, behind in zip(moved, late):
                    self.assertLess(x, limit_ns, told)
                    self.assertGreater(x, -limit_ns - behind, told)
        self.skipTest("too busy a machine to know when its guests stood: " + told)

    def pause_of_20_seconds(self):
        record = self.rehearse("20s")
        for guest in self.guests:
            self.assertGreater(of(record, guest.name)["unseen_ns"], 20000 * MS)

    def test_pause_of_20_seconds(self):
        self.assert_kept(self.pause_of_20_seconds, 2 * MS)

    def test_20_cycles_in_a_row(self):
        self.assert_kept(lambda: self.rehearse("1s", 20), 5 * MS)

    def kill_amidst(self):
        self.host.request_suspend()
        for guest in self.guests:
            guest.wait_status("paused", 5)
        self.host.wait_asleep()
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)
        self.host.wake()
        for guest in self.guests:
            guest.wait_status("running", 15)
        self.suspendd.wait_state("idle", 40)

    def test_pause_around_a_restart_of_the_daemon_is_counted_once(self):
        self.assert_kept(self.kill_amidst, 2 * MS)


class WithAgent(SuspenddCase):
    """A guest that has both, a reader and an agent: its clock is put right once, whoever comes first."""

    # What is asked here is who did it, not how well.
    CONFIG = CONFIG + "[Machine x86]\nMode=pause\nTimeThresholdSec=50ms\n"

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, cls.CONFIG)
        cls.suspendd.start()
        cls.guest = Guest(cls.host.scratch, "x86", cls.host, doorbell=cls.suspendd.page_path("x86") + ".sock",
                          **OPTIONS["x86"])
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.start().wait_up(120)
        cls.suspendd.wait_machine("x86", run_state="running")
        wait_for(lambda: "get-time" not in cls.suspendd.machine("x86")["lacks"], 30, "an agent that tells the time")
        cls.guest.shell("suspend-guest --vfio --no-hooks >>%s 2>&1 &" % LOG)
        wait_for(lambda: "<6>" in cls.log(), 20, "the reader's first word")

    @classmethod
    def log(cls):
        """All that the reader has said."""
        return cls.guest.shell("cat " + LOG)[1]

    def rehearse(self):
        """One cycle, from a clock that is right. Returns: what its record says of the machine."""
        self.guest.set_clock_error(0)
        self.mark, number = len(self.log()), self.suspendd.last_number() + 1
        self.suspendd.ctl("rehearse", "--for=5s")
        report = of(self.suspendd.wait_record(number), "x86")
        self.assertGreater(report["unseen_ns"], 5000 * MS)
        error, uncertainty = self.guest.clock_error(20)
        print("%s: off by %.3f ms, %s by %s" % (self.id().split(".", 1)[-1], error / MS, report["time"]["verdict"],
                                                report["time"]["repaired_by"]), flush=True)
        self.assertLess(abs(error), 50 * MS + uncertainty)
        return report

    def test_reader_comes_first(self):
        report = self.rehearse()
        self.assertIn("Stepped", self.log()[self.mark:])
        time = report["time"]
        self.assertEqual((time["verdict"], time["repaired_by"], time["tries"]), ("right", "page", 0))
        self.assertTrue(report["answer"]["current"])

    def test_agent_comes_first(self):
        # By its own clock, which stands as well.
        self.guest.shell("kill -STOP $(pidof suspend-guest); (sleep 2; kill -CONT $(pidof suspend-guest)) >/dev/null 2>&1 &")
        report = self.rehearse()
        self.assertEqual((report["time"]["verdict"], report["time"]["repaired_by"]), ("set", "agent"))
        wait_for(lambda: "has set CLOCK_REALTIME already" in self.log()[self.mark:], 10, "the reader")
        self.assertNotIn("Stepped", self.log()[self.mark:])
        error, uncertainty = self.guest.clock_error(20)
        self.assertLess(abs(error), 50 * MS + uncertainty)
