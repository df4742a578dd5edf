# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspendd and suspend-guest together, with nothing played: guests without an agent, a page that suspendd writes, its
doorbell, and the guest's clock read by a line of the tests' own."""

import concurrent.futures
import os

from lab import wait_for
from _guestclock import LOG, MS, Guest
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

    def check(self, before, limit_ns, what):
        """No clock has moved by more than the limit since."""
        for guest, was, now in zip(self.guests, before, self.errors()):
            print("%s: %s off by %.3f ms" % (what, guest.name, (now - was) / MS), flush=True)
            with self.subTest(guest=guest.name):
                self.assertLess(abs(now - was), limit_ns, self.log(guest))

    def test_pause_of_20_seconds(self):
        before = self.errors()
        record = self.rehearse("20s")
        for guest in self.guests:
            self.assertGreater(of(record, guest.name)["unseen_ns"], 20000 * MS)
            wait_for(lambda: self.suspendd.machine(guest.name)["run_state"] == "running", 5, guest.name)
        self.check(before, 2 * MS, "20 s")

    def test_20_cycles_in_a_row(self):
        before = self.errors()
        self.rehearse("1s", 20)
        self.check(before, 5 * MS, "20 cycles")

    def test_pause_around_a_restart_of_the_daemon_is_counted_once(self):
        before = self.errors()
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
        self.check(before, 2 * MS, "killed amidst")
