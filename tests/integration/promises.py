# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each mode promises a guest, measured: three kinds of busy guests are suspended, paused, or just frozen with
their VMM, as without us. The table is printed and kept as promises.txt and promises.json in the build folder."""

import concurrent.futures
import json
import os
import time

from lab import Qemu, wait_for
from _suspendd import BUILD, Suspendd, SuspenddCase, of, start_host

MS = 1000000
S = 1000 * MS
# Longer than a watchdog waits (20 s), with what it may be late.
AWAY_SECONDS = 26
SETTLE_SECONDS = 5  # after a stop; a watchdog looks each 4 s

KINDS = {
    "x86 pc": {},
    "x86 q35, UEFI": {"machine": "q35", "firmware": "ovmf"},
    "arm64 virt": {"arch": "arm64"},
}
CLOCKS = ("monotonic", "boottime", "realtime")


class Figures:
    """What became of one guest's clocks over a stop: what each lacks of the host's time, in ns, the error of its wall
    clock, and what its watchdogs said."""

    def __init__(self, guest):
        self.guest, self.before = guest, guest.best_clocks()
        self.said = set(guest.lockups())

    def finish(self):
        """The stop is over."""
        after = self.guest.best_clocks()
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
                    uncertainty_ns=self.uncertainty, lockups=self.lockups)


class Promises(SuspenddCase):
    """One host, two sleeps; the guests of today's world are frozen over the first."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep="hold")
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, sleep_clock=True)
        cls.cared = {kind: cls.machine("cared-%d" % i, kind) for i, kind in enumerate(KINDS)}
        cls.left = {kind: cls.machine("left-%d" % i, kind) for i, kind in enumerate(KINDS)}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda guest: guest.start().wait_up(120), [*cls.cared.values(), *cls.left.values()]))
        cls.suspendd.configure("".join("[Machine %s]\nMode=ignore\n" % x.name for x in cls.left.values()))
        cls.suspendd.start()
        cls.rows, cls.figures, cls.records = {}, {}, {}
        try:
            cls.measure("suspend", also_left=True)
            cls.measure("pause")
        except BaseException:
            cls.host.scratch.keep = True
            raise
        cls.write_table()

    @classmethod
    def machine(cls, name, kind):
        """A guest of that kind, not yet started."""
        guest = Qemu(cls.host.scratch, name, cls.host, **KINDS[kind])
        cls.addClassCleanup(guest.kill)
        return guest

    @classmethod
    def measure(cls, mode, also_left=False):
        """One sleep of the host in that mode."""
        for guest in cls.cared.values():
            cls.suspendd.ctl("mode", guest.name, mode)
            cls.suspendd.wait_machine(guest.name, mode=mode, run_state="running")
            cls.sync(guest)
        guests = [(mode, kind, guest) for kind, guest in cls.cared.items()]
        if also_left:
            guests += [("nothing", kind, guest) for kind, guest in cls.left.items()]
        for _, _, guest in guests:
            guest.start_busy()
        for what, kind, guest in guests:
            cls.figures[what, kind] = Figures(guest)
        number = cls.suspendd.last_number() + 1
        if also_left:
            cls.freeze()
        cls.host.request_suspend()
        cls.host.wait_asleep()
        time.sleep(AWAY_SECONDS)
        cls.host.wake()
        cls.records[mode] = cls.suspendd.wait_record(number)
        if also_left:
            cls.thaw()
        for what, kind, guest in guests:
            cls.figures[what, kind].finish()
        time.sleep(SETTLE_SECONDS)
        for what, kind, guest in guests:
            guest.stop_busy()
            cls.figures[what, kind].listen()

    @classmethod
    def sync(cls, guest):
        """Makes its wall clock right, so that what is left afterwards is of the stop; its agent answers then."""
        wait_for(lambda: cls.suspendd.ctl("sync", guest.name, check=False).returncode == 0, 30,
                 "the agent of %s" % guest.name, interval=0.2)

    @classmethod
    def freeze(cls):
        """The VMMs stand still, as all processes do when a host sleeps."""
        for guest in cls.left.values():
            guest.disconnect()
            guest.freeze()

    @classmethod
    def thaw(cls):
        """They go on."""
        for guest in cls.left.values():
            guest.thaw()

    @classmethod
    def write_table(cls):
        """Prints and keeps what was measured."""
        lines = ["%-14s %-8s %13s %13s %13s %20s  %s" % ("guest", "mode", "MONOTONIC", "BOOTTIME", "REALTIME",
                                                         "REALTIME is off by", "watchdogs")]
        rows = []
        for (what, kind), figures in sorted(cls.figures.items(), key=lambda x: (list(KINDS).index(x[0][1]), x[0][0])):
            rows.append(dict(figures.row(), guest=kind, mode=what, away_s=AWAY_SECONDS))
            lines.append("%-14s %-8s %11.3f s %11.3f s %11.3f s %9.3f +-%.3f ms  %s" % (
                kind, what, *(figures.lacks[x] / -S for x in CLOCKS), figures.error / MS, figures.uncertainty / MS,
                "soft lockup" if figures.lockups else "quiet"))
        lines.append("Clocks: how far they came less than the host's time, over a stop of %d s" % AWAY_SECONDS)
        with open(os.path.join(BUILD, "promises.txt"), "w") as f:
            f.write("\n".join(lines) + "\n")
        with open(os.path.join(BUILD, "promises.json"), "w") as f:
            json.dump(rows, f, indent=1)
        print("\n".join(lines), flush=True)

    def test_table(self):
        self.assertTrue(self.figures)
