#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The soak for a while, and that it sees what it is to see: each of these breaks one promise behind its back."""

import os
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "integration")]
import checks  # noqa: E402
import journal  # noqa: E402
from checks import Checks  # noqa: E402
from lab import wait_for  # noqa: E402
from house import FOREVER, HISTORY_MAX, UNIT_NICE, House, Violation  # noqa: E402
from meter import Meter  # noqa: E402
from stalls import Stalls  # noqa: E402
from steps import Steps  # noqa: E402

SECONDS = int(os.environ.get("SUSPENDD_SOAK", "120"))


class Soak(unittest.TestCase):
    """The whole, as "./dev soak" runs it."""

    def test_nothing_is_violated(self):
        if os.geteuid() != 0:
            self.skipTest("only root may own the daemon's name")
        done = subprocess.run([sys.executable, HERE, str(SECONDS)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=SECONDS + 120, encoding="utf-8")
        self.assertEqual(done.returncode, 0, done.stdout)
        print(done.stdout.splitlines()[-1])


class Seen(unittest.TestCase):
    """One house in which all is well, until it is not."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root may own the daemon's name")
        self.patience, checks.SETTLE_LIMIT = checks.SETTLE_LIMIT, 1
        self.addCleanup(setattr, checks, "SETTLE_LIMIT", self.patience)
        self.house = House()
        self.addCleanup(self.house.close)
        stalls = Stalls(UNIT_NICE)
        self.addCleanup(stalls.stop)
        self.steps = Steps(self.house, stalls, "selftest", True)
        self.checks = self.steps.checks
        self.vm = self.house.add_fake("f0", "good", "")
        self.vm.patience = 1
        self.checks.settle()
        self.checks.begin()

    def sleep(self):
        """A plain sleep; what was seen in it."""
        self.house.control("Sleep", "t", FOREVER)
        self.assertTrue(self.steps.wait_asleep())
        seen = self.checks.snapshot()
        self.house.control("Wake")
        self.checks.owed["sleep"] += 1
        return seen

    def refused(self, check, *words):
        """A check that must complain in these words."""
        with self.assertRaises(Violation) as caught:
            check()
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_good_cycle_is_good(self):
        seen = self.sleep()
        self.assertEqual(seen, {"f0": "paused"})
        self.checks.released(False)
        self.checks.settle()
        self.checks.end()
        record, = self.checks.records()
        self.checks.true_record(record, seen)

    def test_machine_left_stopped_is_seen(self):
        self.vm.stop()
        self.refused(self.checks.settle, "f0=good running", "paused")

    def test_machine_of_its_user_that_is_touched_is_seen(self):
        self.vm.expected = "paused"
        self.checks.begin()
        self.sleep()
        self.vm.stop()
        self.refused(self.checks.end, "is not touched", "stop")

    def test_suspend_of_an_ignored_machine_is_undone_and_that_is_no_touch(self):
        late = self.house.add_fake("f1", "good", "+late:400")
        self.checks.settle()
        self.house.control("Sleep", "t", FOREVER)
        time.sleep(0.1)
        self.house.control("Wake")  # before the guest has done what it was asked
        self.house.set_mode(late, "ignore")
        self.checks.begin()
        wait_for(lambda: not late.is_quiet(), 5, "f1 suspended late", interval=0.02)
        wait_for(lambda: late.status() == "running", 5, "f1 running again")
        self.checks.settle()
        self.checks.end()

    def test_lock_that_is_not_held_is_seen(self):
        self.house.control("Drop", "b", 0)
        self.refused(self.checks.settle, "the lock is held")

    def test_lock_that_is_not_let_go_is_seen(self):
        self.house.control("SetDelayMax", "t", 200000)
        self.house.signal_daemon(signal.SIGSTOP)
        self.addCleanup(self.house.signal_daemon, signal.SIGCONT)
        self.house.control("Sleep", "t", FOREVER)
        self.assertTrue(self.steps.wait_asleep())
        self.checks.stalls.stop()
        self.refused(lambda: self.checks.released(False), "let go within 200 ms", "suspendd")

    def test_record_that_is_missing_is_seen(self):
        self.sleep()
        self.checks.settle()
        self.checks.owed["sleep"] += 1
        self.refused(self.checks.records, "as many records as cycles")

    def test_record_that_is_not_true_is_seen(self):
        seen = self.sleep()
        self.checks.settle()
        record, = self.checks.records()
        record["machines"][0]["stood"] = "suspended"
        self.refused(lambda: self.checks.true_record(record, seen), "stood as it did")

    def test_records_of_a_daemon_that_is_long_not_idle_are_counted(self):
        self.house.control("SetDelayMax", "t", 300000)
        self.house.control("Sleep", "t", FOREVER)
        self.assertTrue(self.steps.wait_asleep())
        self.vm.freeze()  # so that it is not run again
        self.house.control("Wake")
        self.checks.owed["sleep"] += 1
        for _ in range(HISTORY_MAX + 5):
            self.assertIsNone(self.checks.records())
            self.sleep()
        self.vm.thaw()
        self.checks.settle()
        self.checks.records()
        self.assertEqual(self.checks.n_records, HISTORY_MAX + 6)

    def test_daemon_that_dies_is_seen(self):
        self.house.daemon.kill()
        self.house.daemon.wait()
        self.refused(self.house.supervise, "ended by itself")

    def test_note_of_a_held_machine_is_seen(self):
        self.house.control("Sleep", "t", FOREVER)
        self.assertTrue(self.steps.wait_asleep())
        self.assertIn("paused", journal.read(self.house.journal_path()).values())
        self.assertEqual(self.checks.noted([])[0], "a journal in which none is held")
        self.house.control("Wake")
        self.checks.settle()
        self.assertEqual(journal.read(self.house.journal_path()), {})

    def test_growth_is_seen(self):
        meter = Meter()
        for i in range(12):
            meter.samples.append({"fds": 12, "threads": 1, "pss": 900, "anonymous": 700 + 60 * i})
        self.refused(meter.check, "anonymous is flat")
        meter.samples = [dict(x, anonymous=700, fds=12 + i) for i, x in enumerate(meter.samples)]
        self.refused(meter.check, "fds are as many as before")

    def test_same_seed_brings_the_same(self):
        other = House()
        self.addCleanup(other.close)
        other.add_fake("f0", "good", "")
        told = []
        for house in (self.house, other):
            steps = Steps(house, self.checks.stalls, "same", True)
            for _ in range(3):
                steps.step()
                told.append(steps.told)
        self.assertEqual(told[:3], told[3:])


if __name__ == "__main__":
    unittest.main()
