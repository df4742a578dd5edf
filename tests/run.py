#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs all tests: "./dev test". The last line is "N passed, N failed, N skipped"."""

import argparse
import collections
import itertools
import os
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, TESTS)
from runner import faults, python, schedule, unit  # noqa: E402
from runner.results import FAILED, Report, print_line, summarize  # noqa: E402

JOBS = min(os.cpu_count() or 1, 4)
SYSTEM_TIMEOUT = 1200  # seconds for a file of an emulated machine
WAITING_JOBS = 3  # files of tests that mostly wait
NEWER = ("cycle", "logind", "soft_reboot")  # what a newer systemd may do otherwise
# How the names of those begin whose figures load would blur: much load, or any.
CLOCKS = ("drift_page", "guest_clock")
CLOCKS_ALONE = ("bare", "guest_daemon", "promises")
LONG = ("libvirt_hung", "logind", "libvirt_agents")  # begun first, so that nothing waits for them in the end


def integration_files(names=None):
    """The files of tests/integration whose names begin so; without names, those that are not about clocks."""
    files = [x for x in python.files_in(os.path.join(TESTS, "integration"))
             if os.path.basename(x).startswith(names or CLOCKS + CLOCKS_ALONE) == bool(names)]
    return sorted(files, key=lambda x: not os.path.basename(x).startswith(LONG))


class Suites:
    """What there is to run, each a method that fills a report."""

    def __init__(self, args):
        self.args = args

    def check(self, report):
        """The style and its kin, then the checks' own tests."""
        self._python(report, unit.PLAIN, python.files_in(os.path.join(TESTS, "check")))

    def unit(self, report):
        """Unit tests as they are."""
        unit.run(report, unit.PLAIN, self.args.only, JOBS, self.args.quick)

    def model(self, report):
        """All that the daemon and the world can come to, in small."""
        unit.run(report, unit.MODEL, self.args.only, JOBS, self.args.quick)

    def unit_asan(self, report):
        """Unit tests under the address and undefined-behaviour sanitizers."""
        unit.run(report, unit.ASAN, self.args.only, JOBS, self.args.quick)

    def unit_tsan(self, report):
        """Unit tests of what has threads under the thread sanitizer."""
        unit.run(report, unit.TSAN, self.args.only, JOBS, self.args.quick)

    def unit_valgrind(self, report):
        """Unit tests under valgrind."""
        if not shutil.which("valgrind"):
            python.skip(report, "no valgrind")
            return
        unit.run(report, unit.MEMCHECK, self.args.only, JOBS, self.args.quick)

    def lab(self, report):
        """What the integration tests stand on."""
        self._python(report, unit.PLAIN, [os.path.join(TESTS, "lab", "selftest.py")])

    def sweep(self, report):
        """The daemon killed, or given an error, at a sample of its system calls."""
        self._python(report, unit.PLAIN, python.files_in(os.path.join(TESTS, "sweep")))

    def integration(self, report):
        """The daemon with real logind and real guests, or with fakes."""
        self._python(report, unit.PLAIN, integration_files(), WAITING_JOBS)

    def clocks(self, report):
        """What clocks in real guests show."""
        self._python(report, unit.PLAIN, integration_files(CLOCKS), JOBS)

    def figures(self, report):
        """Clocks whose figures are exact, on a machine that does nothing else."""
        self._python(report, unit.PLAIN, integration_files(CLOCKS_ALONE))

    def packages(self, report):
        """The packages: what they install, how they come, are replaced in a sleep, and go."""
        self._python(report, unit.PLAIN, python.files_in(os.path.join(TESTS, "packages")), WAITING_JOBS)

    def integration_newer(self, report):
        """Some of them on the systemd of Debian 13."""
        files = [os.path.join(TESTS, "integration", x + ".py") for x in NEWER]
        self._python(report, unit.PLAIN, files, WAITING_JOBS, {"SUSPENDD_TEST_ROOT": "debian13"})

    def packages_newer(self, report):
        """How they come and go on Debian 13."""
        files = [os.path.join(TESTS, "packages", x) for x in ("held.py", "life.py")]
        self._python(report, unit.PLAIN, files, WAITING_JOBS, {"SUSPENDD_TEST_ROOT": "debian13"})

    def soak(self, report):
        """Some hosts at random for two minutes ($SUSPENDD_SOAK: seconds)."""
        self._python(report, unit.PLAIN, [os.path.join(TESTS, "soak", "selftest.py")])

    def integration_asan(self, report):
        """The same under sanitizers."""
        self._python(report, unit.ASAN, integration_files(), WAITING_JOBS + 1)

    def system(self, report):
        """A Debian 12 in a VM that really sleeps, with suspendd and VMs inside."""
        self._system(report, "12")

    def system_newer(self, report):
        """The same on Debian 13."""
        self._system(report, "13")

    def _system(self, report, version):
        # One at a time: each has an emulated machine to itself.
        files = python.files_in(os.path.join(TESTS, "system"))
        self._python(report, unit.PLAIN, files, 1, {"SUSPENDD_TEST_DEBIAN": version}, SYSTEM_TIMEOUT)

    def _python(self, report, manner, files, jobs=1, more_env=None, timeout=python.FILE_TIMEOUT):
        env = dict(unit.environment(manner), PYTHONPATH=TESTS, PYTHONDONTWRITEBYTECODE="1", **(more_env or {}))
        python.run(report, [x for x in files if os.path.exists(x)], self.args.quick, self.args.only, env, jobs, timeout)


# title: what begins with "system" is run by --system alone;  needs: its builds;  is_quick: whether --quick runs it
# load: how much of two cores it must have, in percent, lest it be too late for what it tests; see runner/schedule.py
Suite = collections.namedtuple("Suite", "title run needs is_quick load")
ALL = [
    Suite("check", Suites.check, "plain", True, 100),
    Suite("unit", Suites.unit, "plain", True, 50),
    Suite("unit, ASan+UBSan", Suites.unit_asan, "asan", True, 50),
    Suite("model", Suites.model, "plain", True, 60),
    Suite("unit, TSan", Suites.unit_tsan, "tsan", False, 60),
    Suite("unit, valgrind", Suites.unit_valgrind, "plain", False, 60),
    Suite("lab", Suites.lab, "plain", False, 40),
    Suite("integration", Suites.integration, "plain", True, 70),
    Suite("soak", Suites.soak, "plain", False, 30),
    Suite("integration, systemd 257", Suites.integration_newer, "plain", False, 20),
    Suite("integration, ASan+UBSan", Suites.integration_asan, "asan", False, 40),
    Suite("packages", Suites.packages, "plain deb", False, 60),
    Suite("sweep", Suites.sweep, "plain", True, 40),
    Suite("packages, systemd 257", Suites.packages_newer, "plain deb", False, 40),
    Suite("clocks", Suites.clocks, "plain", False, 80),
    Suite("figures", Suites.figures, "plain", False, 100),
    Suite("system", Suites.system, "plain deb", False, 100),
    Suite("system, Debian 13", Suites.system_newer, "plain deb", False, 100),
]


def chosen(args):
    """Those that are to be run."""
    return [x for x in ALL if (not args.quick or x.is_quick) and
            (x.title in args.suite if args.suite else x.title.startswith("system") == args.system)]


def build(kinds):
    """Builds what the suites need. Returns what could not be built."""
    dev = os.path.join(os.path.dirname(TESTS), "dev")
    return [x for x in kinds if subprocess.run([dev] + (["deb"] if x == "deb" else ["build", x])).returncode]


def run_suite(suite, broken, args):
    """Runs one of ALL, if none of its builds is among the broken ones. Returns its report."""
    report = Report(suite.title)
    missing = [x for x in suite.needs.split() if x in broken]
    if missing:
        report.add_line(suite.title, FAILED, "build %s failed" % " ".join(missing))
        return report.finish()
    suite.run(Suites(args), report)
    if not report.outcomes and not args.only:
        python.skip(report, "no such tests")
    return report.finish()


def main():
    parser = argparse.ArgumentParser(prog="./dev test", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="what takes less than two minutes together")
    parser.add_argument("--only", default="", metavar="PATTERN",
                        help='part of, or a glob for, "SUITE:FILE.Class.method" or "SUITE:PROGRAM:test"')
    parser.add_argument("--suite", action="append", metavar="TITLE", help="only suites of this title")
    parser.add_argument("--system", action="store_true", help="the whole-system tests, which the others are run without")
    parser.add_argument("--list", action="store_true", help="tell the suites")
    args = parser.parse_args()

    suites = chosen(args)
    if args.list:
        for suite in ALL:
            when = " (--quick as well)" if suite.is_quick else " (--system alone)" if suite.title.startswith("system") else ""
            print("%-25s %s%s" % (suite.title, suite.run.__doc__, when))
        return 0

    started = time.monotonic()
    n_steps = len(suites) + 1
    print("[1/%d] building" % n_steps, flush=True)
    broken = build(sorted({kind for x in suites for kind in x.needs.split()}, reverse=True))

    steps = itertools.count(2)

    def run(suite):
        print_line("[%d/%d] %s (%d s so far)" % (next(steps), n_steps, suite.title, time.monotonic() - started))
        return run_suite(suite, broken, args)
    reports = schedule.run(suites, lambda x: x.load, run)
    return summarize(reports, *([] if args.only or args.suite or args.system else [faults.summary(reports)]))


if __name__ == "__main__":
    sys.exit(main())
