# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest without an operating system (bare/guest.c) that does nothing but read its drift page, and a program around the
page plugin that tells it things (bare/host.c)."""

import json
import mmap
import os
import shutil
import struct
import subprocess
import time

from .qmp import Qmp
from .util import LabError, LabUnavailable, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = "qemu-system-x86_64"
BUILD = os.environ.get("SUSPENDD_BUILD") or os.path.join(ROOT, "build")
GUEST = os.path.join(BUILD, "tests", "lab", "bare", "bare-guest.elf")
HOST = os.path.join(BUILD, "tests", "lab", "bare", "bare-host")
PAGE_SIZE = 4096
PM_TIMER_HZ = 3579545
PM_TIMER_MASK = 0xffffff

# struct Report of bare/report.h
REPORT = struct.Struct("<4I8Q5I")
FIELDS = ("ready", "begun", "done", "pm_timer", "unseen_ns", "publishings", "tsc", "tsc_after", "utc_sec", "utc_frac_sec",
          "kvm_clock_ns", "changed_unseen_ns", "changed_at", "changed_pm_timer", "before_pm_timer", "n_bad", "stamped")
READY = 0x59444552
DONE, STAMPED = 2, 24  # as words
TSC, TSC_AFTER, UTC_SEC, UTC_FRAC_SEC = 2, 3, 4, 5  # as pairs of words, behind the first four


class Sample:
    """The guest's UTC at the moment when it read its TSC, and that moment by the host's CLOCK_REALTIME: the guest said so
    not before .after and not later than .before, and no more than .took_ticks after reading."""

    def __init__(self, utc_ns, after, before, took_ticks):
        self.utc_ns, self.after, self.before, self.took_ticks = utc_ns, after, before, took_ticks

    def error_ns(self, hz):
        """How far the guest's clock can be off at most, and how well that is known."""
        earliest = self.after - self.took_ticks * 1000000000 // hz
        return max(abs(self.utc_ns - earliest), abs(self.utc_ns - self.before)), self.before - earliest


class BareGuest:
    """One such guest and its host.

    accel   "tcg" or "kvm"
    debugfs whether the host sees debugfs, in a mount namespace of its own: the machine's may be missing, and is not the
            test's to make
    """

    def __init__(self, scratch, accel, debugfs=False):
        if not shutil.which(BINARY):
            raise LabUnavailable("no " + BINARY)
        if not os.path.exists(GUEST):
            raise LabUnavailable("no bare-metal guest: gcc cannot build for 32-bit x86 here (-m32 -ffreestanding)")
        self.accel, self.debugfs = accel, debugfs
        self.folder = scratch.sub("bare")
        self.process = self.host = self.monitor = self.report = self.words = None

    @property
    def page(self):
        """The page's file."""
        return self.path("pages/bare")

    def path(self, name):
        """The path of a file of it."""
        return os.path.join(self.folder, name)

    # life

    def arguments(self):
        """QEMU's command line: two ivshmem devices are all that the guest needs."""
        args = [BINARY, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc", "-m", "16",
                "-accel", self.accel, "-cpu", "qemu64,+kvmclock,+invtsc" if self.accel == "kvm" else "qemu64",
                "-kernel", GUEST, "-debugcon", "file:" + self.path("console"),
                "-qmp", "unix:%s,server=on,wait=off" % self.path("qmp")]
        for name, file in (("page", self.page), ("report", self.path("report"))):
            args += ["-object", "memory-backend-file,id=%s,mem-path=%s,size=%d,share=on" % (name, file, PAGE_SIZE),
                     "-device", "ivshmem-plain,memdev=" + name]
        return args

    def start(self, timeout=20):
        """Starts both; the guest has taken its first samples when this returns."""
        self._start_host()
        with open(self.path("report"), "w+b") as f:
            f.truncate(PAGE_SIZE)
            self.report = mmap.mmap(f.fileno(), PAGE_SIZE)
        self.words = memoryview(self.report).cast("I")
        with open(self.path("log"), "wb") as log:
            self.process = subprocess.Popen(self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.monitor = Qmp(self.path("qmp"))
        except (OSError, LabError):
            self._fail_at_start()
        wait_for(self._runs, timeout, "samples of the bare-metal guest")
        return self

    def _start_host(self):
        command = [HOST, self.folder]
        if self.debugfs:
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                       'mount -t debugfs none /sys/kernel/debug && exec "$@"', "sh"] + command
        with open(self.path("host.log"), "wb") as log:
            self.host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        if self.host.stdout.readline() != "ready\n":
            self.host.wait(10)
            with open(self.path("host.log"), errors="replace") as log:
                raise (LabUnavailable if self.debugfs else LabError)("no host for the page: " + log.read().strip())

    def _fail_at_start(self):
        kind = LabUnavailable if self.accel == "kvm" else LabError
        raise kind("QEMU does not start with %s: %s" % (self.accel, self.log().strip()))

    def _runs(self):
        if self.process.poll() is not None:
            raise LabError("QEMU ended: " + self.log())
        if self.status() == "internal-error" and self.accel == "kvm":
            raise LabUnavailable("this machine's KVM cannot run the bare-metal guest: " + self.log().split("\n", 1)[0])
        return self.words[0] == READY and self.words[DONE] > 2

    def kill(self):
        """Ends both."""
        if self.monitor:
            self.monitor.close()
        for process in (self.process, self.host):
            if process:
                process.kill()
                process.wait(10)
        if self.host:
            self.host.stdin.close()
            self.host.stdout.close()
        if self.words:
            self.words.release()
            self.report.close()

    def status(self):
        """QEMU's run state."""
        return self.monitor.command("query-status")["status"]

    def log(self):
        """What QEMU printed."""
        with open(self.path("log"), errors="replace") as f:
            return f.read()[-1500:]

    def console(self):
        """What the guest printed: a dict of numbers for each whole line."""
        with open(self.path("console"), errors="replace") as f:
            lines = f.read().split("\n")[:-1]
        return [{k: int(v, 16) for k, v in (x.split("=") for x in line.split())} for line in lines]

    # the host

    @property
    def run(self):
        """The VMM's start, as the daemon names it."""
        with open("/proc/%d/stat" % self.process.pid) as f:
            return "%d.%s" % (self.process.pid, f.read().rsplit(")", 1)[1].split()[19])

    def tell(self, phase):
        """Has the plugin told that the machine is "stopping", "stood", "running", "ran", "met". What it says of its page then."""
        self.host.stdin.write("%s %s\n" % (phase, self.run))
        self.host.stdin.flush()
        answer = self.host.stdout.readline()
        if not answer:
            raise LabError("bare-host has ended")
        return json.loads(answer)[0]

    def n_wakeups(self):
        """How often the plugin's process has waited for something that then came."""
        with open("/proc/%d/status" % self.host.pid) as f:
            return next(int(x.split()[1]) for x in f if x.startswith("voluntary_ctxt_switches"))

    # the guest

    def now(self):
        """All fields as they are now; those of one sample belong together only while the guest stands."""
        return dict(zip(FIELDS, REPORT.unpack_from(self.report)))

    def wait_samples(self, number, timeout=20):
        """Waits until the sample of that number is done."""
        wait_for(lambda: self.words[DONE] >= number, timeout, "sample %d" % number, interval=0.001)

    def catch(self, timeout=2):
        """A sample whose reading of the TSC is seen while it happens; None if it was not to be had whole."""
        words, clock, which = self.words, time.clock_gettime_ns, time.CLOCK_REALTIME
        now = clock(which)
        end = now + timeout * 1000000000
        first = number = words[STAMPED]
        while number == first:
            # That number was read after this, and was still the old one.
            after, now = now, clock(which)
            number = words[STAMPED]
            if now > end:
                raise LabError("the guest takes no samples")
        before = clock(which)
        while words[DONE] < number and clock(which) < end:
            pass
        tsc, tsc_after, sec, frac = (self._pair(x) for x in (TSC, TSC_AFTER, UTC_SEC, UTC_FRAC_SEC))
        if words[STAMPED] != number or sec == 0:
            return None
        return Sample(sec * 1000000000 + (frac * 1000000000 >> 64), after, before, tsc_after - tsc)

    def _pair(self, index):
        at = 4 + 2 * index
        return self.words[at] | self.words[at + 1] << 32
