# SPDX-License-Identifier: LGPL-2.1-or-later
"""The drift page in real guests, x86 and arm64, of a stock kernel: its own driver binds, sees each wake, and never a
torn page; no instruction after a stop sees the totals of before; the doorbell interrupts."""

import concurrent.futures
import os
import shutil
import struct
import subprocess

from lab import Qemu, wait_for
from lab.boards import DOORBELL_SLOT, PROGRESS_SLOT, pci_address
from _suspendd import BUILD, Suspendd, SuspenddCase, of, start_host

MS = 1000000
# On arm64 the driver wants an interrupt if the page says that it notifies.
CONFIG = "[Manager]\nPlugins=page\n[Plugin page]\nPage=x86 root 2 notify\nPage=arm root 2\n"
REWRITES = 100000
REWRITES_A_HINT = 2000  # tests/plugins/page-by-hint.c
STOPS, STOP_MS = 50, 200

# What page-tool tells of its samples: magic, begun, done, errors, changes, longest gap; then each change: sample,
# unseen_ns, publishings, monotonic_ns.
PROGRESS = struct.Struct("<6Q")
CHANGE = struct.Struct("<4Q")
PROGRESS_BYTES = 8192
PROGRESS_MAGIC = struct.unpack("<Q", b"PROGRES1")[0]


class Guest(Qemu):
    """A guest with a page by all that carries it, and memory in which page-tool tells its samples."""

    def __init__(self, suspendd, name, **options):
        host = suspendd.host
        page = suspendd.page_path(name)
        super().__init__(host.scratch, name, host, machine="q35", kernel="7", page=page, doorbell=page + ".sock",
                         progress=os.path.join(host.scratch.sub("own"), name + ".progress"), **options)
        with open(self.progress, "wb") as f:
            f.truncate(PROGRESS_BYTES)
        suspendd.page_table(self)

    def samples(self):
        """(samples begun, samples done, errors, longest gap in ns, the changes) as page-tool spin tells; None: nothing
        yet."""
        with open(self.progress, "rb") as f:
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
        cls.x86 = Guest(cls.suspendd, "x86")
        cls.arm = Guest(cls.suspendd, "arm", arch="arm64")
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
                self.assertIn("counter=255", shown, "no time is claimed")
                self.assertNotEqual(guest.shell("ls /dev/ptp0")[0], 0, "so there is no clock of it")

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
            self.hint("look", guest)  # tells of no step, so that the count begins at what the page has kept
            self.begin(guest, "check", "page-tool check /dev/vmclock0 %d 60" % REWRITES)
            guest.wait_line("check", "ready")
        for _ in range(REWRITES // REWRITES_A_HINT):
            for guest in self.guests:
                self.hint("rewrite", guest)
        for guest in self.guests:
            with self.subTest(guest=guest.name):
                guest.wait_line("check", "step")
                *torn, line = guest.lines("check")[1:]
                words = line.split()
                seen = dict(zip(words[::2], map(int, words[1::2])))
                print(guest.name, seen, flush=True)
                self.assertEqual(torn, [])
                self.assertEqual((seen["step"], seen["torn"]), (REWRITES, 0))
                # They did run beside each other.
                self.assertGreater(seen["different"], 500)
                self.assertGreater(min(seen["clocks"], seen["reads"]), 500)

    # the first instruction

    def test_no_sample_after_a_stop_has_the_totals_of_before(self):
        address = pci_address(PROGRESS_SLOT)
        for guest in self.guests:
            guest.shell("echo 1 >/sys/bus/pci/devices/%s/enable" % address)
            self.begin(guest, "spin", "page-tool spin /dev/vmclock0 /sys/bus/pci/devices/%s/resource2" % address)
            wait_for(guest.samples, 10, "samples of " + guest.name)
        for i in range(STOPS):
            with self.subTest(stop=i):
                self.stop_once()
        for guest in self.guests:
            begun, _, errors, longest, changes = guest.samples()
            print("%s: %d samples over %d stops, %d changes seen, %d not read, longest gap %.1f ms" %
                  (guest.name, begun, STOPS, len(changes), errors, longest / MS), flush=True)
            self.assertLess(errors, begun / 100)

    def stop_once(self):
        """One cycle. While it stands, what each guest has begun is read; what it sees next must be the new total."""
        before = {guest: guest.samples() for guest in self.guests}
        number = self.suspendd.last_number() + 1
        cycle = self.host.popen(["suspendctl", "rehearse", "--for=%dms" % STOP_MS], stdout=subprocess.DEVNULL)
        standing = {}
        for guest in self.guests:
            guest.wait_status("paused", 5)
            standing[guest] = guest.samples()
        for guest in self.guests:
            self.assertEqual(guest.status(), "paused", "the samples were read while it stood")
        self.assertIn(cycle.wait(20), (0, 6))  # 6: on a busy machine a clock may not be right so soon
        record = self.suspendd.wait_record(number)
        for guest in self.guests:
            begun = standing[guest][0]
            wait_for(lambda: guest.samples()[1] > begun + 2, 5, "samples after the stop")
            self.check_stop(guest, before[guest], begun, of(record, guest.name)["unseen_ns"])

    def check_stop(self, guest, before, begun, unseen_ns):
        """The sample that was under way may still have the old total, and no other. The first new total has all until
        the VM was let run, and never more than the whole stop, which the last one has."""
        changes = guest.samples()[4]
        self.assertEqual(changes[:len(before[4])], before[4])
        new = changes[len(before[4]):]
        self.assertTrue(new, "the total has grown")
        sample, total_ns = new[0][:2]
        self.assertGreaterEqual(sample, begun, "not before the stop")
        self.assertLessEqual(sample, begun + 1)
        old_ns = before[4][-1][1] if before[4] else 0
        self.assertLessEqual(total_ns - old_ns, unseen_ns)
        self.assertGreaterEqual(total_ns - old_ns, STOP_MS * MS)
        self.assertEqual(new[-1][1] - old_ns, unseen_ns)

    # the doorbell

    def test_doorbell_rung_at_a_standing_vm_is_heard_when_it_runs(self):
        for guest in self.guests:
            with self.subTest(guest=guest.name):
                self.wait_at_doorbell(guest)
                self.check_rings(guest)
                pid = self.suspendd.pid()
                self.suspendd.kill()
                self.suspendd.wait_restarted(pid)
                self.check_rings(guest)

    def wait_at_doorbell(self, guest):
        """Lets a program in the guest wait for the device's interrupts, by stock drivers alone."""
        self.begin(guest, "bell", "doorbell-wait " + pci_address(DOORBELL_SLOT))
        guest.wait_line("bell", "ready 2")

    def check_rings(self, guest):
        """A ring is heard while the VM runs, and one at a standing one on cont, not before."""
        seen = len(guest.lines("bell"))
        self.hint("look", guest)
        guest.wait_line("bell", "vector 0", 5, seen)
        seen = len(guest.lines("bell"))
        guest.stop()
        self.hint("look", guest)
        guest.cont()
        line = guest.wait_line("bell", "vector 0", 5, seen)
        self.assertIn("count 1 ", line)

    def test_cycle_rings_with_the_new_total_in_the_page(self):
        for guest in self.guests:
            self.wait_at_doorbell(guest)
        for _ in range(3):
            seen = {guest: len(guest.lines("bell")) for guest in self.guests}
            totals = {guest: self.total(guest) for guest in self.guests}
            self.rehearse()
            for guest in self.guests:
                with self.subTest(guest=guest.name):
                    self.assertGreater(self.total(guest), totals[guest])
                    guest.wait_line("bell", "unseen %d " % self.total(guest), 5, seen[guest])

    @staticmethod
    def total(guest):
        """What the page says now that it lacks."""
        with open(guest.page, "rb") as f:
            return struct.unpack_from("<Q", f.read(), 0x800 + 40)[0]
