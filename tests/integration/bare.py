#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest without an operating system reads the page by its published rules, and nothing else: under TCG and KVM it finds
the totals before it can do anything after a stop; under KVM the page and the TSC are a clock, compared with the host's own."""

import json
import os
import time

from lab import LabCase, LabUnavailable, Scratch, wait_for
from lab.bareguest import BUILD, PM_TIMER_HZ, PM_TIMER_MASK, BareGuest

CYCLES = 50
STOP_SECONDS = 0.05
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
    debugfs = False

    @classmethod
    def setUpClass(cls):
        cls.scratch = Scratch()
        cls.addClassCleanup(cls.scratch.remove)
        cls.guest = BareGuest(cls.scratch, cls.accel, cls.debugfs)
        cls.addClassCleanup(cls.guest.kill)
        cls.guest.start()

    def keep_logs(self):
        self.scratch.keep = True

    def cycle(self, tells_in_time=True):
        """One stop. What the guest reported when it stood, and when it ran again; what the plugin said last before that."""
        guest = self.guest
        before = guest.tell("stopping")["unseen_ns"]
        guest.monitor.command("stop")
        guest.tell("stood")
        at_stop = guest.now()
        time.sleep(STOP_SECONDS)
        self.assertEqual(guest.now(), at_stop, "the guest does not stand")
        if tells_in_time:
            told = guest.tell("running")
        guest.monitor.command("cont")
        guest.wait_samples(at_stop["begun"] + 2)
        if not tells_in_time:
            told = guest.tell("running")
            guest.wait_samples(guest.now()["begun"] + 2)
        after = guest.now()
        self.assertGreaterEqual(told["unseen_ns"] - before, STOP_SECONDS * 1e9)
        self.assertEqual(after["changed_unseen_ns"], told["unseen_ns"])
        self.assertEqual(after["n_bad"], 0)
        guest.tell("ran")
        return at_stop, after, told

    def check_first_sample_has_new_totals(self):
        """As many cycles as the promise says."""
        in_middle, stood_still = 0, 0
        for _ in range(CYCLES):
            at_stop, after, _ = self.cycle()
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
        at_stop, after, _ = self.cycle(tells_in_time=False)
        self.assertGreater(after["changed_at"], at_stop["begun"] + 1)

    def test_plugin_understands_the_guests_answer(self):
        self.cycle()
        self.guest.wait_samples(self.guest.now()["begun"] + 2)
        page = self.guest.tell("met")
        self.assertEqual(page["answer"]["applied_ns"], page["unseen_ns"])
        self.assertTrue(page["answer"]["is_of_epoch"])
        self.assertEqual(page["answer"]["corrects"], "nothing")

    def test_plugin_sleeps_while_no_page_claims_time(self):
        self.guest.tell("met")
        time.sleep(1.1)  # the rate of the host's counter is being measured: until then there might soon be a time
        self.guest.tell("met")
        time.sleep(0.5)  # it has gone back to waiting
        before = self.guest.n_wakeups()
        time.sleep(5)  # the shortest refresh is 2 s
        self.assertEqual(self.guest.n_wakeups(), before)

    def test_no_time_is_claimed_without_kvm(self):
        time.sleep(1.1)  # what the rate of the host's counter is measured over
        page = self.guest.tell("met")
        self.assertFalse(page["has_time"])
        # no debugfs; or, on a host whose clocks are not made from its TSC, not even that is looked at
        self.assertIn("why_no_time", page)
        self.guest.wait_samples(self.guest.now()["begun"] + 2)
        self.assertEqual(self.guest.now()["utc_sec"], 0)


class Kvm(BareCase):
    """Under KVM, where it can run such a guest."""

    accel = "kvm"
    debugfs = True

    @classmethod
    def setUpClass(cls):
        if not os.path.exists("/dev/kvm"):
            raise LabUnavailable("no /dev/kvm")
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise LabUnavailable("/dev/kvm is not ours to use")
        super().setUpClass()

    def test_no_sample_after_a_stop_has_the_old_totals(self):
        self.check_first_sample_has_new_totals()

    def wait_claim(self):
        """Waits until the page claims time. Of its own accord: the plugin has been told once that the machine is there."""
        page = self.guest.tell("met")
        why = page.get("why_no_time", "")
        if "not made from its TSC" in why or "is not mounted" in why or "of this PID namespace" in why:
            raise LabUnavailable(why)
        wait_for(lambda: self.guest.now()["utc_sec"] > 0, 10, "time in the page (%s)" % why)

    def test_plugin_wakes_seldom_for_pages_that_claim_time(self):
        self.wait_claim()
        time.sleep(0.5)  # it has gone back to waiting
        before = self.guest.n_wakeups()
        time.sleep(6)
        self.assertLessEqual(self.guest.n_wakeups() - before, 3)  # a refresh is one, every 2 s at most

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
        """A stop of 5 s, told as the daemon tells it, or not at all. How far each of the guest's clocks moved over it."""
        guest = self.guest
        if publishes:
            guest.tell("stopping")
        guest.monitor.command("stop")
        if publishes:
            guest.tell("stood")
        before = self.clocks()
        time.sleep(LONG_STOP)
        if publishes:
            self.assertTrue(guest.tell("running")["has_time"])
        at_stop = guest.now()
        guest.monitor.command("cont")
        guest.wait_samples(at_stop["begun"] + 2)
        after = self.clocks()
        if publishes:
            guest.tell("ran")
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
        # Nobody was told of the last stop: the TSC has run on, and so has what the page said of it.
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
            self.assertLess(abs(stop["tsc_s"] - stop["host_s"]), 0.5)

    def test_page_that_is_a_second_off_is_seen_to_be(self):
        self.wait_claim()
        hz = self.hz()
        with open(self.guest.page, "r+b") as f:
            f.seek(72)
            seconds = int.from_bytes(f.read(8), "little")
            f.seek(72)
            f.write((seconds + 1).to_bytes(8, "little"))
        # The plugin's own refresh mends it sooner or later; at first it is to be seen.
        self.assertGreater(self.watch(0.2, hz)[0], 999000000)
        self.guest.tell("met")
        self.assertLess(max(self.watch(2, hz)), ALLOWED_NS)
