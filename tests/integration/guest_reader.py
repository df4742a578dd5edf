#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real suspend-guest over a page in a file, on this machine, whose clock it must leave alone: nothing is owed here,
or it is told just to say what it would do."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _guestpage import ANSWER, LOWER_BOUND, RECORD, SEQUENCE, GuestPage  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SUSPENDD_BUILD", os.path.join(SOURCE, "build"))
PROGRAM = os.path.join(BUILD, "src/guest/suspend-guest")
LIMIT = 20
SEC = 10 ** 9

OK, FAILED, BAD_ARGUMENTS, NO_PAGE, BAD_PAGE, REFUSED, BUSY = range(7)


PR_CAPBSET_DROP, CAP_SYS_TIME = 24, 25


def without_clock():
    """In a child: what is wrong here may not set this machine's clock."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0):
        raise OSError("prctl")


def wall():
    """What moves only when somebody sets the clock."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Case(unittest.TestCase):
    """A page of its own, and a clock that is not touched."""

    quick = True

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="suspend-guest-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.page = GuestPage(os.path.join(self.folder, "page"))
        self.state = os.path.join(self.folder, "state")
        before = wall()
        self.addCleanup(lambda: self.assertLess(abs(wall() - before), SEC // 2, "this machine's clock was set"))

    def arguments(self, *more):
        """The command line."""
        return [PROGRAM, "--page=" + self.page.path, "--state=" + self.state, "--no-hooks", *more]

    def run_it(self, *more):
        """(exit status, standard output, standard error)."""
        done = subprocess.run(self.arguments(*more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
                              preexec_fn=without_clock)
        return done.returncode, done.stdout, done.stderr

    def show(self):
        """What --show says, as JSON."""
        status, output, errors = self.run_it("--show", "--json")
        self.assertEqual((status, errors), (OK, ""))
        return json.loads(output)


class OnceTest(Case):
    """One look."""

    def test_first_look_begins_to_count_and_answers(self):
        self.page.lose(20 * SEC)
        status, output, errors = self.run_it("--once")
        self.assertEqual((status, output), (OK, ""))
        self.assertIn("nothing applied", errors)
        self.assertEqual(self.page.answer(), {"epoch": 0x1234, "applied": 20 * SEC, "corrects": 1, "refused": 0,
                                              "publishings": self.page.values["publishings"]})
        self.assertEqual(self.run_it("--once"), (OK, "", ""))
        self.assertEqual(self.show()["verdict"], "nothing")

    def test_dry_run_says_what_it_would_do_and_leaves_no_trace(self):
        self.run_it("--once")
        answer = self.page.answer()
        self.page.lose(20 * SEC + 1350000)
        for _ in range(2):
            status, _, errors = self.run_it("--once", "--dry-run")
            self.assertEqual(status, OK)
            self.assertIn("Would have stepped CLOCK_REALTIME by 20.001350 s", errors)
        self.assertEqual(self.page.answer(), answer)

    def test_more_than_a_year_is_refused(self):
        self.run_it("--once")
        self.page.lose(367 * 86400 * SEC)
        status, _, errors = self.run_it("--once")
        self.assertEqual(status, BAD_PAGE)
        self.assertIn("more than a year", errors)
        self.assertEqual(self.page.answer()["refused"], 367 * 86400 * SEC)

    def test_own_suspend_is_told_and_not_applied(self):
        self.run_it("--once")
        self.page.sleep(30 * SEC)
        status, _, errors = self.run_it("--once")
        self.assertEqual(status, OK)
        self.assertIn("Slept for 30.000000 s by itself", errors)

    def test_another_epoch_begins_anew(self):
        self.run_it("--once")
        self.page.publish(epoch=0x999, unseen=500 * SEC)
        status, _, errors = self.run_it("--once")
        self.assertEqual(status, OK)
        self.assertIn("epoch 0000000000000999", errors)
        self.assertEqual(self.page.answer()["applied"], 500 * SEC)

    def test_levels_are_those_of_journald(self):
        self.assertTrue(self.run_it("--once")[2].startswith("<6>"))
        self.page.poke(RECORD, b"garbage")
        self.assertTrue(self.run_it("--once")[2].startswith("<3>"))


class RefusedTest(Case):
    """Pages that are none: a clear word, and nothing else."""

    def refused(self, text, status=BAD_PAGE):
        for way in ("--once", "--show"):
            code, output, errors = self.run_it(way)
            self.assertEqual((code, output), (status, ""), errors)
            self.assertIn(text, errors)
        self.assertIsNone(self.page.answer() if os.path.exists(self.page.path) and os.path.getsize(self.page.path) > ANSWER + 48
                          else None)

    def test_garbage(self):
        with open(self.page.path, "wb") as f:
            f.write(os.urandom(RECORD) + b"\xa5" * RECORD)
        self.page.poke(ANSWER, b"\0" * 64)
        self.page.poke(RECORD + SEQUENCE, b"\0" * 4)
        self.refused("no record of suspendd")

    def test_empty_and_cut_off(self):
        for size in (0, 1, RECORD, 4095):
            os.truncate(self.page.path, size)
            self.refused("shorter than a page")

    def test_unknown_revision(self):
        self.page.publish(revision=2)
        self.refused("a revision that this program does not know")

    def test_always_being_written(self):
        self.page.poke(RECORD + SEQUENCE, b"\1\0\0\0")
        self.refused("it keeps moving")

    def test_no_file(self):
        os.unlink(self.page.path)
        self.refused("No such file", NO_PAGE)

    def test_no_page_on_this_machine(self):
        if os.path.exists("/dev/vmclock0"):
            self.skipTest("this machine has one")
        done = subprocess.run([PROGRAM, "--wait=0", "--state=" + self.state], capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(done.returncode, NO_PAGE)
        self.assertIn("No drift page here", done.stderr)

    def test_bad_arguments(self):
        for bad in (["--interval=0"], ["--interval=x"], ["--wait=-1"], ["--json"], ["more"], ["--vfio"], ["--nonsense"]):
            self.assertEqual(self.run_it(*bad)[0], BAD_ARGUMENTS, bad)


class RunTest(Case):
    """The program as a service runs it."""

    def start(self, *more):
        """Starts it and waits for its first answer."""
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.addCleanup(self.log.close)
        child = subprocess.Popen(self.arguments("--interval=0.05", *more), stdin=subprocess.DEVNULL, stderr=self.log,
                                 preexec_fn=without_clock)
        self.addCleanup(lambda: (child.kill(), child.wait()))
        return child

    def wait_for(self, condition, what):
        """Polls for a while."""
        end = time.monotonic() + LIMIT
        while not condition():
            self.assertLess(time.monotonic(), end, "%s; it said: %s" % (what, self.said()))
            time.sleep(0.02)

    def said(self):
        """What it logged so far."""
        with open(self.log.name) as f:
            return f.read()

    def wait_said(self, text):
        self.wait_for(lambda: text in self.said(), text)

    def test_each_publishing_is_answered(self):
        child = self.start()
        for _ in range(5):
            self.page.publish()
            self.wait_for(lambda: (self.page.answer() or {}).get("publishings") == self.page.values["publishings"], "answer")
        child.terminate()
        self.assertEqual(child.wait(LIMIT), OK)

    def test_one_at_a_time(self):
        self.start()
        self.wait_for(self.page.answer, "answer")
        status, _, errors = self.run_it("--once")
        self.assertEqual(status, BUSY)
        self.assertIn("Another suspend-guest", errors)
        self.assertEqual(self.show()["verdict"], "nothing")

    def test_pages_that_come_and_go_are_refused_once_and_read_again(self):
        child = self.start()
        self.wait_for(self.page.answer, "answer")
        os.truncate(self.page.path, 100)
        self.wait_said("shorter than a page")
        os.unlink(self.page.path)
        self.wait_said("No such file")
        other = GuestPage(self.page.path + ".new", epoch=0x4321)
        other.lose(3600 * SEC)
        os.rename(other.path, self.page.path)
        self.wait_said("epoch 0000000000004321, counting from here; nothing applied")
        self.assertEqual(self.said().count("shorter than a page"), 1)
        self.assertIsNone(child.poll())

    def test_what_a_dead_reader_has_applied_is_not_owed_to_the_next(self):
        self.page.lose(20 * SEC)
        child = self.start()
        self.wait_for(self.page.answer, "answer")
        # It answers before it writes down that it is done.
        self.wait_for(lambda: self.show()["verdict"] == "nothing", "done")
        child.kill()
        child.wait()
        self.assertEqual(self.show()["verdict"], "nothing")
        self.assertEqual(self.show()["applied_ns"], 20 * SEC)

    def test_dry_run_follows_lower_bound_and_rest(self):
        self.start("--dry-run")
        self.wait_said("nothing applied")
        self.page.lose(2 * SEC, LOWER_BOUND)
        self.wait_said("Would have stepped CLOCK_REALTIME by 2.000000 s")
        self.page.lose(1500000, new_cycle=False)
        self.wait_said("Would have stepped CLOCK_REALTIME by 0.001500 s")

    def test_a_loss_that_this_machine_did_not_have_is_refused(self):
        self.start()
        self.wait_for(self.page.answer, "answer")
        self.page.publish()
        self.wait_for(lambda: self.page.answer()["publishings"] == self.page.values["publishings"], "answer")
        self.page.lose(20 * SEC)
        self.wait_said("Said to have missed 20.000000 s, but this machine's clock ran on; refused")
        self.wait_for(lambda: self.page.answer()["refused"] == 20 * SEC, "answer")

    def test_it_hardly_ever_runs(self):
        child = self.start("--interval=1")
        self.wait_for(self.page.answer, "answer")
        before = self.switches(child.pid)
        time.sleep(5)
        self.assertLess(self.switches(child.pid) - before, 10)

    @staticmethod
    def switches(pid):
        """How often it has waited."""
        with open("/proc/%d/status" % pid) as f:
            return int(next(x for x in f if x.startswith("voluntary")).split()[1])


class ProgramTest(unittest.TestCase):
    """The file itself."""

    quick = True

    def test_static(self):
        if "asan" in BUILD:
            self.skipTest("sanitizers are shared libraries")
        listed = subprocess.run(["readelf", "-d", PROGRAM], capture_output=True, text=True, check=True)
        self.assertNotIn("NEEDED", listed.stdout)

    def test_help_and_version(self):
        for option in ("--help", "--version"):
            done = subprocess.run([PROGRAM, option], capture_output=True, text=True, timeout=LIMIT)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("suspend-guest", done.stdout)


if __name__ == "__main__":
    unittest.main()
