# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each mode promises a guest, measured: three kinds of busy guests are suspended, paused, or just frozen with
their VMM, as without us. The table is printed and kept as promises.txt and promises.json in the build folder."""

import concurrent.futures
import json
import os
import time

from lab import LabError, Qemu, wait_for
from lab.boards import PLAIN_SLOT, pci_address
from _suspendd import BUILD, Suspendd, SuspenddCase, of, start_host

MS = 1000000
S = 1000 * MS
# A watchdog looks each 4 s and waits for 20 s, in seconds of 2^30 ns. One that was just told that the CPU is idle
# says nothing at its next look, so a guest must have been busy for longer than that when it is stopped.
AWAY_SECONDS = 24
BUSY_SECONDS = 6
# Where RCU cries of a stall first, that silences the watchdog.
NO_OTHER_CRY = "rcupdate.rcu_cpu_stall_suppress=1"
SETTLE_SECONDS = 5
PATIENCE = 3

KINDS = {
    "x86 pc": {},
    "x86 q35, UEFI": {"machine": "q35", "firmware": "ovmf"},
    "arm64 virt": {"arch": "arm64"},
}
CLOCKS = ("monotonic", "boottime", "realtime")
CONFIG = "[Manager]\nPlugins=page\n[Plugin page]\n"


class Figures:
    """What became of one guest's clocks over a stop: what each lacks of the host's time, in ns, the error of its wall
    clock, and what its watchdogs said."""

    def __init__(self, guest):
        self.guest, self.page, self.before = guest, read_page(guest), guest.best_clocks()
        self.said = set(guest.lockups())

    def first_clocks(self):
        """Its clocks after the stop. The line to a guest that was frozen while it was let go of may lose what is said
        first, and a guest that is late by so much and shares two CPUs with five others needs its time."""
        for _ in range(PATIENCE):
            try:
                return self.guest.best_clocks()
            except LabError:
                self.guest.disconnect()
        return self.guest.best_clocks()

    def finish(self):
        """The stop is over."""
        after = self.first_clocks()
        told = read_page(self.guest)
        self.told = told and {key: told[key] - self.page[key] for key in told}
        passed = after["host_boottime"] - self.before["host_boottime"]
        self.lacks = {clock: passed - (after[clock] - self.before[clock]) for clock in CLOCKS}
        self.error = after["realtime"] - after["host_realtime"]
        self.uncertainty = after["uncertainty"]

    def listen(self):
        """Its watchdogs have had their time to speak."""
        self.lockups = [x for x in self.guest.lockups() if x not in self.said]

    def row(self):
        """For the table that is kept."""
        return dict({clock + "_lacks_ns": self.lacks[clock] for clock in CLOCKS}, realtime_error_ns=self.error,
                    uncertainty_ns=self.uncertainty, lockups=self.lockups, told=self.told)


def read_page(guest):
    """What the guest's page says that its clocks lack and that it has slept through, in ns; None: it has no page."""
    if not guest.shmem:
        return None
    device = "/sys/bus/pci/devices/" + pci_address(PLAIN_SLOT)
    words = guest.shell("echo 1 >%s/enable; page-tool show %s/resource2" % (device, device))[1].split()
    return {word.split("=")[0]: int(word.split("=")[1]) for word in words if word.startswith(("unseen=", "seen="))}


class Promises(SuspenddCase):
    """One host, two sleeps; the guests of today's world are frozen over the first."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        numbers = range(len(KINDS))
        cls.suspendd = Suspendd(cls.host, CONFIG + "".join("Page=cared-%d\n" % i for i in numbers) +
                                "".join("[Machine left-%d]\nMode=ignore\n" % i for i in numbers), sleep_clock=True)
        cls.suspendd.start()
        cls.cared = {kind: cls.machine("cared-%d" % i, kind, shmem=cls.suspendd.page_path("cared-%d" % i))
                     for i, kind in enumerate(KINDS)}
        cls.left = {kind: cls.machine("left-%d" % i, kind, append=NO_OTHER_CRY) for i, kind in enumerate(KINDS)}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda guest: guest.start().wait_up(120), [*cls.cared.values(), *cls.left.values()]))
        cls.rows, cls.figures, cls.records = {}, {}, {}
        try:
            cls.measure("suspend", with_left=True)
            cls.measure("pause")
        except BaseException:
            cls.host.scratch.keep = True
            raise
        cls.write_table()

    @classmethod
    def machine(cls, name, kind, **options):
        """A guest of that kind, not yet started."""
        guest = Qemu(cls.host.scratch, name, cls.host, **KINDS[kind], **options)
        cls.addClassCleanup(guest.kill)
        return guest

    @classmethod
    def measure(cls, mode, with_left=False):
        """One sleep of the host in that mode."""
        guests = [(mode, kind, guest) for kind, guest in cls.cared.items()]
        left = list(cls.left.values()) if with_left else []
        guests += [("nothing", kind, guest) for kind, guest in cls.left.items() if with_left]
        for guest in cls.cared.values():
            cls.suspendd.ctl("mode", guest.name, mode)
        for _, _, guest in guests:
            cls.set_right(guest)
            guest.start_busy()
        time.sleep(BUSY_SECONDS)
        for what, kind, guest in guests:
            cls.figures[what, kind] = Figures(guest)
        for guest in left:  # as all processes when a host sleeps
            guest.disconnect()
            guest.freeze()
        cls.records[mode] = cls.sleep()
        for guest in left:
            guest.thaw()
        for what, kind, _ in guests:
            cls.figures[what, kind].finish()
        time.sleep(SETTLE_SECONDS)
        for what, kind, guest in guests:
            cls.figures[what, kind].listen()
            guest.stop_busy()

    @classmethod
    def set_right(cls, guest):
        """Makes its wall clock right, so that what is left afterwards is of the stop. Its agent answers then."""
        wait_for(lambda: cls.suspendd.ctl("sync", guest.name, check=False).returncode == 0, 90,
                 "the agent of " + guest.name, interval=0.2)

    @classmethod
    def sleep(cls):
        """The host sleeps. Returns the record, which is there when the guests are as right as they become."""
        number = cls.suspendd.last_number() + 1
        cls.host.request_suspend()
        cls.host.wait_asleep()
        time.sleep(AWAY_SECONDS)
        cls.host.wake()
        return cls.suspendd.wait_record(number)

    @classmethod
    def write_table(cls):
        """Prints and keeps what was measured."""
        lines = ["%-13s %-8s %12s %12s %12s %22s %12s  %s" % (
            "guest", "mode", "MONOTONIC", "BOOTTIME", "REALTIME", "REALTIME is off by", "page: unseen", "watchdogs")]
        rows = []
        for what, kind in sorted(cls.figures, key=lambda x: (list(KINDS).index(x[1]), x[0])):
            figures = cls.figures[what, kind]
            rows.append(dict(figures.row(), guest=kind, mode=what, away_s=AWAY_SECONDS))
            lines.append("%-13s %-8s %10.3f s %10.3f s %10.3f s %9.3f +- %.3f ms %12s  %s" % (
                kind, what, *(figures.lacks[x] / -S for x in CLOCKS), figures.error / MS, figures.uncertainty / MS,
                "%.3f s" % (figures.told["unseen"] / S) if figures.told else "-",
                "soft lockup" if figures.lockups else "quiet"))
        lines.append("MONOTONIC, BOOTTIME, REALTIME: how far they came less the host's time, the host being away for %d s" %
                     AWAY_SECONDS)
        with open(os.path.join(BUILD, "promises.txt"), "w") as f:
            f.write("\n".join(lines) + "\n")
        with open(os.path.join(BUILD, "promises.json"), "w") as f:
            json.dump(rows, f, indent=1)
        print("\n".join(lines), flush=True)

    def each(self, check, *modes):
        """Calls check(kind, mode, figures) for each guest in these modes, as a subtest."""
        for (mode, kind), figures in self.figures.items():
            if mode in modes:
                with self.subTest(guest=kind, mode=mode):
                    check(kind, mode, figures)

    def report(self, kind, mode):
        """What the record says of that guest."""
        return of(self.records[mode], self.cared[kind].name)

    def assert_near(self, ns, seconds, tolerance):
        """Within the tolerance, in seconds."""
        self.assertAlmostEqual(ns / S, seconds, delta=tolerance)

    def test_monotonic_stops_with_us_and_jumps_without(self):
        def stops(kind, mode, figures):
            stopped = self.report(kind, mode)["stopped_ns"] / S
            self.assertGreater(stopped, AWAY_SECONDS - 0.5)
            # Firmware and kernel are part of a guest's own suspend.
            self.assert_near(figures.lacks["monotonic"], stopped, 5 if self.is_s3(kind, mode) else 0.2)
        self.each(stops, "suspend", "pause")
        self.each(lambda _kind, _mode, figures: self.assert_near(figures.lacks["monotonic"], 0, 0.2), "nothing")

    def test_boottime_is_right_after_a_suspend_and_lacks_a_pause(self):
        def check(kind, mode, figures):
            if self.is_s3(kind, mode):
                # By the guest's own RTC, which counts whole seconds, and was set by a hwclock that waits for a CPU as well.
                self.assert_near(figures.lacks["boottime"], 0, 2)
            else:
                self.assert_near(figures.lacks["boottime"] - figures.lacks["monotonic"], 0, 0.001)
        self.each(check, "suspend", "pause", "nothing")

    def test_realtime_is_right(self):
        self.each(lambda _kind, _mode, figures: self.assertLessEqual(abs(figures.error), 2 * MS + figures.uncertainty),
                  "suspend", "pause")
        self.each(lambda _kind, _mode, figures: self.assert_near(figures.lacks["realtime"], 0, 0.2), "nothing")
        doubt = max(figures.uncertainty for (mode, _), figures in self.figures.items() if mode != "nothing")
        if doubt > 2 * MS:
            self.skipTest("too busy a machine to read its guests' clocks: %.1f ms in doubt" % (doubt / MS))

    def test_page_tells_what_the_clocks_lack(self):
        def check(kind, mode, figures):
            report = self.report(kind, mode)
            self.assertEqual(figures.told, {"unseen": report["unseen_ns"], "seen": report["seen_ns"]})
            if self.is_s3(kind, mode):
                self.assertEqual(report["unseen_ns"], 0)
            else:
                self.assert_near(figures.lacks["monotonic"] - figures.told["unseen"], 0, 0.05)
        self.each(check, "suspend", "pause")

    def test_watchdogs_are_quiet_with_us_and_cry_without(self):
        self.each(lambda _kind, _mode, figures: self.assertEqual(figures.lockups, []), "suspend", "pause")
        self.each(lambda _kind, _mode, figures: self.assertIn("soft lockup", " ".join(figures.lockups)), "nothing")

    def test_suspend_is_a_suspend_where_there_is_one(self):
        for kind in self.cared:
            with self.subTest(guest=kind):
                self.assertEqual(self.report(kind, "suspend")["stood"],
                                 "suspended" if self.is_s3(kind, "suspend") else "paused")
                self.assertEqual(self.report(kind, "pause")["stood"], "paused")

    @staticmethod
    def is_s3(kind, mode):
        """Whether that guest suspends itself in that mode."""
        return mode == "suspend" and not kind.startswith("arm64")
