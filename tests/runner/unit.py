# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit tests that meson knows: one executable a file, each test counted by what libcheck writes as TAP."""

import collections
import concurrent.futures
import json
import os
import re
import subprocess
import tempfile

from . import process
from .results import FAILED, PASSED, SKIPPED, matches

HERE = os.path.dirname(os.path.abspath(__file__))
SKIP_CODE = 77

# How the same executables are run: what stands before them, what they find in the environment, how much
# longer they may take; and meson's suite of those that are.
Manner = collections.namedtuple("Manner", "build prefix env slower suite", defaults=["unit"])

SANITIZERS = {
    "ASAN_OPTIONS": "strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1"
                    ":detect_leaks=1:abort_on_error=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
RACES = {
    "TSAN_OPTIONS": "halt_on_error=1:atexit_sleep_ms=0:suppressions=%s"
                    % os.path.join(os.path.dirname(HERE), "plugins", "tsan.supp"),
}
VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=99",
            "--num-callers=20"]

# Told to those tests that can do with less.
QUICK = {"SUSPENDD_TEST_QUICK": "1"}

PLAIN = Manner("build", [], {}, 1)
ASAN = Manner("build/asan", [], SANITIZERS, 4)
TSAN = Manner("build/tsan", [], dict(RACES, **QUICK), 5, "threads")
MODEL = Manner("build", [], {}, 1, "model")
MEMCHECK = Manner("build", VALGRIND, QUICK, 25)


def tests_of(build, suite):
    """What meson lists in a suite."""
    listed = subprocess.run(["meson", "introspect", "--tests", build], stdout=subprocess.PIPE, check=True, timeout=60)
    return [x for x in json.loads(listed.stdout) if any(y.split(":")[-1] == suite for y in x["suite"])]


def read_tap(text):
    """(number, {name: (passed, detail)}) of the tests that libcheck planned and saw; equal names are told apart."""
    seen = {}
    planned = 0
    for line in text.splitlines():
        plan = re.match(r"1\.\.(\d+)$", line)
        if plan:
            planned += int(plan.group(1))
        test = re.match(r"(not )?ok \d+ - ([^:]*:[^:]*:[^:]*):? ?(.*)$", line)
        if test:
            name = test.group(2).split(":")[-1].strip()
            key = name if name not in seen else "%s[%d]" % (name, len(seen))
            seen[key] = (not test.group(1), test.group(3))
    return planned, seen


def run_one(test, manner):
    """[(name, state, detail)] of one executable."""
    with tempfile.NamedTemporaryFile("r", prefix="suspendd-tap-", errors="backslashreplace") as tap:
        env = dict(test["env"], CK_TAP_LOG_FILE_NAME=tap.name, CK_VERBOSITY="normal",
                   CK_TIMEOUT_MULTIPLIER=str(manner.slower), **manner.env)
        code, output = process.run(manner.prefix + test["cmd"], test["timeout"] * manner.slower, env, test["workdir"])
        planned, seen = read_tap(tap.read())

    if code is None:
        return [(test["name"], FAILED, output + "\nnot done within %d s" % (test["timeout"] * manner.slower))]
    if not seen:
        state = {0: PASSED, SKIP_CODE: SKIPPED}.get(code, FAILED)
        return [(test["name"], state, output if state != PASSED else "")]

    outcomes = []
    for name, (passed, detail) in seen.items():
        outcomes.append(("%s:%s" % (test["name"], name), PASSED if passed else FAILED, "" if passed else detail + "\n" + output))
        # What the program said is shown once.
        output = output if passed else ""
    if planned != len(seen) or (code != 0) != any(x[1] == FAILED for x in outcomes):
        outcomes.append((test["name"], FAILED, output + "\n%d of %d tests seen, exit code %d"
                         % (len(seen), planned, code)))
    return outcomes


def is_wanted(only, name):
    """Whether --only means the program or test @name, or one of its tests. A program runs as a whole for each of them."""
    return matches(only, name) or only.startswith(name + ":")


def run(report, manner, only, jobs, quick):
    """Runs all into @report."""
    if quick:
        manner = manner._replace(env=dict(manner.env, **QUICK))
    tests = [x for x in tests_of(manner.build, manner.suite) if is_wanted(only, report.title + ":" + x["name"])]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(run_one, test, manner): test["name"] for test in tests}
        for done in concurrent.futures.as_completed(waiting):
            program = "%s:%s" % (report.title, waiting[done])
            outcomes = [x for x in done.result() if matches(only, program) or is_wanted(only, "%s:%s" % (report.title, x[0]))]
            for outcome in outcomes:
                report.add(*outcome)
            bad = [x for x in outcomes if x[1] == FAILED]
            states = FAILED if bad else PASSED if any(x[1] == PASSED for x in outcomes) else SKIPPED
            report.line(states, "%s (%d)" % (waiting[done], len(outcomes)))
            for outcome in bad:
                report.line("", outcome[0])


def environment(manner):
    """What programs of this build need in their environment."""
    return dict(manner.env, SUSPENDD_BUILD=os.path.abspath(manner.build))
