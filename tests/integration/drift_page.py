# SPDX-License-Identifier: LGPL-2.1-or-later
"""The drift page in real guests, x86 and arm64, of a stock kernel: its own driver binds, sees each wake, and never a
torn page; no instruction after a stop sees the totals of before; the doorbell interrupts."""

import concurrent.futures
import os
import re
import shutil
import struct
import subprocess
import time

from lab import LabError, Qemu, wait_for
from lab.boards import DOORBELL_SLOT, PROGRESS_SLOT, pci_address
from _suspendd import BUILD, UNIT, Suspendd, SuspenddCase, start_host

MS = 1000000
S = 1000 * MS
PAGES = "/run/suspendd/pages"
# On arm64 the driver wants an interrupt if the page says that it notifies.
CONFIG = "[Manager]\nPlugins=page\n[Plugin page]\nPage=x86 root 2 notify\nPage=arm root 2\n"
REWRITES = 100000
REWRITES_A_HINT = 10000  # tests/plugins/page-by-hint.c
STOPS = 50

# What page-tool tells of its samples: magic, begun, done, errors, changes, longest gap; then each change: sample,
# unseen_ns, publishings, monotonic_ns.
PROGRESS = struct.Struct("<6Q")
CHANGE = struct.Struct("<4Q")
PROGRESS_BYTES = 8192
PROGRESS_MAGIC = struct.unpack("<Q", b"PROGRES1")[0]


class Guest(Qemu):
    """A guest with a page by all that carries it, and programs in it that run on while a test goes on."""

    def __init__(self, host, name, table=None, **options):
        page = host.path("%s/%s" % (PAGES, name))
        self.told = host.scratch.file("own", name + ".progress")
        host.scratch.sub("own")
        with open(self.told, "wb") as f:
            f.truncate(PROGRESS_BYTES)
        super().__init__(host.scratch, name, host, machine="q35", kernel="7", page=page, page_table=table,
                         doorbell=page + ".sock", progress=self.told, **options)

    def begin(self, name, command):
        """Starts a program of the guest's, which writes what it says to a file."""
        self.shell("%s </dev/null >/run/%s.log 2>&1 & echo $! >/run/%s.pid" % (command, name, name))

    def end(self, name):
        """Ends it."""
        self.shell("kill $(cat /run/%s.pid)" % name)

    def lines(self, name):
        """What it has said."""
        return self.shell("cat /run/%s.log" % name)[1].splitlines()

    def wait_line(self, name, part, timeout=20, since=0):
        """The first of its lines with @part, from line number @since on; waits for it."""
        def find():
            return next((x for x in self.lines(name)[since:] if part in x), None)
        try:
            return wait_for(find, timeout, interval=0.05)
        except LabError:
            raise LabError("%s: %s said no %s: %s" % (self.name, name, part, self.lines(name)[-5:])) from None

    def samples(self):
        """(samples begun, samples done, errors, longest gap, the changes) of page-tool spin."""
        with open(self.told, "rb") as f:
            data = f.read()
        magic, begun, done, errors, n, longest = PROGRESS.unpack_from(data)
        if magic != PROGRESS_MAGIC:
            return None
        return begun, done, errors, longest, [CHANGE.unpack_from(data, PROGRESS.size + i * CHANGE.size)
                                              for i in range(n)]


class DriftPage(SuspenddCase):
    """One host and one guest of either architecture, for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, CONFIG)
        shutil.copy(os.path.join(BUILD, "tests/plugins/page-by-hint.so"),
                    cls.host.path("/usr/lib/suspendd/plugins/page.so"))
        cls.suspendd.start()
        cls.x86 = Guest(cls.host, "x86", table="/tmp/vc.aml")
        cls.arm = Guest(cls.host, "arm", arch="arm64")
        cls.guests = (cls.x86, cls.arm)
        for guest in cls.guests:
            cls.addClassCleanup(guest.kill)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda guest: guest.start().wait_up(), cls.guests))
        for guest in cls.guests:
            cls.suspendd.ctl("mode", guest.name, "pause")
            cls.suspendd.wait_machine(guest.name, mode="pause", run_state="running")

    def begin(self, guest, name, command):
        """Starts a program in the guest for the length of the test."""
        guest.begin(name, command)
        self.addCleanup(guest.end, name)

    def hint(self, what, guest):
        """Has the daemon do something to a guest's page (tests/plugins/page-by-hint.c)."""
        self.suspendd.ctl("notify", "page", what, guest.name)

    def rehearse(self, length="300ms"):
        """One cycle of the daemon's, without a sleep; ends when the guests run again."""
        self.suspendd.ctl("rehearse", "--for=" + length)

    # the driver

    def test_stock_driver_binds_and_reads_the_page_as_it_is(self):
        for guest in self.guests:
            with self.subTest(guest=guest.name):
                self.assertIn("registered miscdev", guest.shell("dmesg | grep vmclock")[1])
                with open(guest.page, "rb") as f:
                    epoch = struct.unpack_from("<Q", f.read(), 0x800 + 24)[0]
                shown = guest.shell("page-tool show /dev/vmclock0")[1]
                self.assertIn("record epoch=%x " % epoch, shown)
                self.assertIn("counter=255", shown)

    def test_marker_is_seen_to_move_at_each_wake(self):
        self.begin(self.x86, "watch", "page-tool watch /dev/vmclock0 poll")
        self.begin(self.arm, "watch", "page-tool watch /dev/vmclock0 read")
        for guest in self.guests:
            guest.wait_line("watch", "marker")
        for _ in range(3):
            seen = {guest: len(guest.lines("watch")) for guest in self.guests}
            self.rehearse()
            for guest in self.guests:
                guest.wait_line("watch", "marker", 5, seen[guest])
        for guest in self.guests:
            markers = [int(x.split()[1]) for x in guest.lines("watch")]
            self.assertEqual(markers, sorted(set(markers)))

    def test_no_torn_page_in_100000_rewritings(self):
        for guest in self.guests:
            self.begin(guest, "check", "page-tool check /dev/vmclock0 %d 60" % REWRITES)
            guest.wait_line("check", "ready")
        for _ in range(REWRITES // REWRITES_A_HINT):
            for guest in self.guests:
                self.hint("rewrite", guest)
        for guest in self.guests:
            line = guest.wait_line("check", "step")
            print(guest.name, line, guest.lines("check")[:-1])
