#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""child.py FILE EVENTS [--quick] [--only PATTERN] [--prefix NAME]: runs the unittest cases of one file.

Each outcome is a line of JSON appended to EVENTS: [name, state, detail]; the detail of a test that passed is its
attribute "figure". With --quick only those cases run whose class or method has a true attribute "quick"."""

import argparse
import importlib.util
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from runner.results import FAILED, PASSED, SKIPPED, matches  # noqa: E402


class Recorder(unittest.TestResult):
    """Writes each outcome at once, so that what was done counts even if the process dies."""

    def __init__(self, events):
        super().__init__()
        self._events = events

    def _write(self, test, state, detail=""):
        self._events.write(json.dumps([test.id(), state, detail]) + "\n")
        self._events.flush()

    def startTest(self, test):
        super().startTest(test)
        self._subtests_failed = False

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self._subtests_failed:
            self._write(test, PASSED, getattr(test, "figure", ""))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._write(test, FAILED, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._write(test, FAILED, self.errors[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._write(test, SKIPPED, reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._subtests_failed = True
            self._write(subtest, FAILED, self._exc_info_to_string(err, test))

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._write(test, PASSED)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._write(test, FAILED, "succeeded, though it is said to fail")


def cases_of(suite):
    """All cases in a suite of suites."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases_of(item)
        else:
            yield item


def is_quick(case):
    """Whether the case says that it takes little time."""
    method = getattr(case, case._testMethodName, None)
    return getattr(method, "quick", getattr(case, "quick", False))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("events")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--prefix", default="")
    args = parser.parse_args()

    name = os.path.splitext(os.path.basename(args.file))[0]
    spec = importlib.util.spec_from_file_location(name, args.file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(os.path.abspath(args.file)))
    spec.loader.exec_module(module)

    cases = [x for x in cases_of(unittest.defaultTestLoader.loadTestsFromModule(module))
             if (not args.quick or is_quick(x)) and matches(args.only, args.prefix + x.id())]
    with open(args.events, "a") as events:
        unittest.TestSuite(cases).run(Recorder(events))


if __name__ == "__main__":
    main()
