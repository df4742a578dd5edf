#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest without an operating system reads the page by its published rules, and nothing else: under TCG and KVM it finds
the totals before it can do anything after a stop; under KVM the page and the TSC are a clock, compared with the host's own."""

import json
import os
import subprocess
import tempfile
import time

from lab import LabCase, LabUnavailable, Scratch
from lab.bareguest import BUILD, PM_TIMER_HZ, PM_TIMER_MASK, BareGuest

CYCLES = 50
STOP_SECONDS = 0.05
STOP_NS = 50000000
MINUTE = 60
LONG_STOP = 5
ALLOWED_NS = 50000
# Readings that are known no better say nothing about 50 us.
USEFUL_NS = 30000


def percentile(values, part):
    """The value below which that part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


class BareCase(LabCase):
    """One guest for a class."""

    accel = "tcg"
    debugfs = "/nowhere"

    @classmethod
    def setUpClass(cls):
        cls.scratch = Scratch()
        cls.addClassCleanup(cls.scratch.remove)
        cls.guest = BareGuest(cls.scratch, cls.accel, cls.debugfs)
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.start()

    def keep_logs(self):
        self.scratch.keep = True

    def stop_and_publish(self, when="stopped"):
        """One cycle. The sample that was under way when the guest stood (a later one must have the new totals), and the one
        that had them first."""
        guest = self.guest
        guest.publish("stopping")
        guest.monitor.command("stop")
        at_stop = guest.now()
        time.sleep(STOP_SECONDS)
        self.assertEqual(guest.now(), at_stop, "the guest does not stand")
        if when == "stopped":
            guest.publish("running", STOP_NS)
        guest.monitor.command("cont")
        if when == "running":
            guest.wait_samples(at_stop["begun"] + 2)
            guest.publish("ran", STOP_NS)
        else:
            guest.publish("ran")
        guest.wait_samples(guest.now()["begun"] + 2)
        after = guest.now()
        self.assertEqual(after["changed_unseen_ns"], guest.unseen_ns)
        self.assertEqual(after["n_bad"], 0)
        return at_stop, after

    def check_first_sample_has_new_totals(self):
        """As many cycles as the promise says."""
        in_middle, stood_still = 0, 0
        for _ in range(CYCLES):
            at_stop, after = self.stop_and_publish()
            is_under_way = at_stop["begun"] != at_stop["done"]
            # Where one was under way it may have read the page before the stop, or after; the next one has not.
            allowed = {at_stop["begun"] + 1} | ({at_stop["begun"]} if is_under_way else set())
            self.assertIn(after["changed_at"], allowed)
            in_middle += is_under_way
            stood_still += (after["changed_pm_timer"] - after["before_pm_timer"]) & PM_TIMER_MASK
        seconds = stood_still / PM_TIMER_HZ
        print("%s: %d stops of %.0f ms; the first sample after each has the new totals (%d stopped within one); by the guest's "
              "clock %.3f ms from the last with the old to the first with the new"
              % (self.accel, CYCLES, 1000 * STOP_SECONDS, in_middle, 1000 * seconds / CYCLES))
        # The guest's own clock stood meanwhile: for it nothing lies between the two samples.
        self.assertLess(seconds, CYCLES * STOP_SECONDS / 5)


class Emulated(BareCase):
    """Under TCG."""

    quick = True

    def test_no_sample_after_a_stop_has_the_old_totals(self):
        self.check_first_sample_has_new_totals()

    def test_totals_that_come_after_the_first_instruction_are_seen_to_be_late(self):
        at_stop, after = self.stop_and_publish(when="running")
        self.assertGreater(after["changed_at"], at_stop["begun"] + 1)

    def test_guest_answers_by_the_rules(self):
        _, after = self.stop_and_publish()
        with open(self.guest.path("page"), "rb") as f:
            page = f.read()
        answer = [int.from_bytes(page[at:at + 8], "little") for at in range(0xc00, 0xc30, 8)]
        self.assertEqual(answer[0].to_bytes(8, "little"), b"SUSPDACK")
        self.assertEqual(answer[1:5], [1, self.guest.unseen_ns, 0, 0])
        self.assertLessEqual(answer[5], after["publishings"])

    def test_no_time_is_claimed_without_kvm(self):
        time.sleep(1.1)  # what the rate of the host's counter is measured over
        self.guest.publish("look")
        # no debugfs; or, on a host whose clocks are not made from its TSC, not even that is looked at
        self.assertIsNotNone(self.guest.publish("look"))
        self.guest.wait_samples(self.guest.now()["begun"] + 2)
        self.assertEqual(self.guest.now()["utc_sec"], 0)


class KvmCase(BareCase):
    """Under KVM, where it can run such a guest. debugfs is mounted where nobody else sees it."""

    accel = "kvm"

    @classmethod
    def setUpClass(cls):
        if not os.path.exists("/dev/kvm"):
            raise LabUnavailable("no /dev/kvm")
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise LabUnavailable("/dev/kvm is not ours to use")
        cls.mount_debugfs()
        super().setUpClass()

    @classmethod
    def mount_debugfs(cls):
        """A mount of the test's own: the machine's may be missing, and is not the test's to make."""
        folder = tempfile.mkdtemp(prefix="sdlab-debugfs-")
        cls.addClassCleanup(os.rmdir, folder)
        done = subprocess.run(["mount", "-t", "debugfs", "none", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        if done.returncode != 0:
            raise LabUnavailable("debugfs cannot be mounted: " + done.stdout.strip())
        cls.addClassCleanup(subprocess.run, ["umount", folder], check=True)
        if not os.path.isdir(os.path.join(folder, "kvm")):
            raise LabUnavailable("debugfs has nothing of KVM")
        cls.debugfs = os.path.join(folder, "kvm")


class Kvm(KvmCase):
    """Under KVM."""

    def test_no_sample_after_a_stop_has_the_old_totals(self):
        self.check_first_sample_has_new_totals()

    def wait_claim(self):
        """Publishes until the page claims time; the reason why it never does skips or fails the test."""
        end = time.monotonic() + 10
        while True:
            why = self.guest.publish("look")
            if why is None:
                return
            if "not made from its TSC" in why:
                raise LabUnavailable(why)
            if time.monotonic() > end:
                self.fail(why)
            time.sleep(0.2)

    def hz(self):
        """The guest's TSC by the host's clock, roughly: for spans of microseconds."""
        a = self.guest.now()["tsc"], time.monotonic_ns()
        time.sleep(0.5)
        b = self.guest.now()["tsc"], time.monotonic_ns()
        return (b[0] - a[0]) * 1000000000 // (b[1] - a[1])

    def watch(self, seconds, hz):
        """Catches samples for so long, a tenth of the time: the largest error of those that are known well, each second."""
        worst = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            second = time.monotonic() + 1
            errors = []
            while time.monotonic() < second - 0.9 or (len(errors) < 3 and time.monotonic() < second):
                sample = self.guest.catch()
                error, width = sample.error_ns(hz) if sample else (0, ALLOWED_NS)
                if width < USEFUL_NS:
                    errors.append(error)
            worst += [max(errors)] if errors else []
            time.sleep(max(0, second - time.monotonic()))
        self.assertTrue(worst, "the machine is too busy to see anything in %d s" % seconds)
        return worst

    def clocks(self):
        """The guest's clocks and the host's, at about the same moment."""
        now = self.guest.now()
        return {"tsc": now["tsc"], "kvm_clock_ns": now["kvm_clock_ns"], "pm_timer": now["pm_timer"],
                "host_ns": time.monotonic_ns()}

    def stop(self, publishes):
        """A stop of 5 s, told as the daemon would, or not at all. How far each of the guest's clocks moved over it."""
        guest = self.guest
        if publishes:
            guest.publish("stopping")
        guest.monitor.command("stop")
        before = self.clocks()
        time.sleep(LONG_STOP)
        if publishes:
            guest.publish("running", LONG_STOP * 1000000000)
        at_stop = guest.now()
        guest.monitor.command("cont")
        guest.wait_samples(at_stop["begun"] + 2)
        after = self.clocks()
        if publishes:
            guest.publish("ran")
        return {"host_s": (after["host_ns"] - before["host_ns"]) / 1e9,
                "tsc_ticks": after["tsc"] - before["tsc"],
                "kvm_clock_s": (after["kvm_clock_ns"] - before["kvm_clock_ns"]) / 1e9,
                "pm_timer_s": ((after["pm_timer"] - before["pm_timer"]) & PM_TIMER_MASK) / PM_TIMER_HZ}

    def test_utc_of_page_and_tsc_is_the_hosts_to_50_us_for_a_minute_with_three_stops(self):
        self.wait_claim()
        hz = self.hz()
        worst, stops = [], []
        part = (MINUTE - 3 * LONG_STOP) / 4
        for publishes in (True, True, False):
            worst += self.watch(part, hz)
            stops.append(self.stop(publishes))
        # The last stop was not published: the TSC has run on, and so has what the page said of it.
        worst += self.watch(part, hz)
        for stop in stops:
            stop["tsc_s"] = stop["tsc_ticks"] / hz
        figures = {"accel": "kvm", "seconds": MINUTE, "tsc_hz": hz, "n_seconds_seen": len(worst),
                   "error_us": {"median": percentile(worst, 0.5) / 1e3, "max": max(worst) / 1e3}, "stops": stops}
        with open(os.path.join(BUILD, "bare-kvm.json"), "w") as f:
            json.dump(figures, f, indent=1)
        print("kvm: UTC by page and TSC off by %.1f us at most (median of the seconds' worst %.1f us) in %d seconds of %d"
              % (figures["error_us"]["max"], figures["error_us"]["median"], len(worst), MINUTE))
        for stop in stops:
            print("kvm: over a stop the host's clock moved %(host_s).3f s, the guest's TSC %(tsc_s).3f s, kvm-clock "
                  "%(kvm_clock_s).3f s, the PM timer %(pm_timer_s).3f s" % stop)
        self.assertLess(max(worst), ALLOWED_NS)
        for stop in stops:
            self.assertLess(abs(stop["tsc_s"] - stop["host_s"]), 0.1)

    def test_page_that_is_a_second_off_is_seen_to_be(self):
        self.wait_claim()
        hz = self.hz()
        with open(self.guest.path("page"), "r+b") as f:
            f.seek(72)
            seconds = int.from_bytes(f.read(8), "little")
            f.seek(72)
            f.write((seconds + 1).to_bytes(8, "little"))
        self.assertGreater(min(self.watch(2, hz)), 999000000)
        self.wait_claim()
