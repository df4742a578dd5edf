# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that the table of faults is whole, and that the tests which it names are there."""

import ast
import os
import re
import sys

from _tree import Unavailable

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from runner.faults import IDS, rows_of  # noqa: E402

TABLE = "tests/faults.md"
RUNNER = "tests/run.py"

# What meson calls a folder's unit tests, before the file's own name.
PREFIXES = {"engine": "engine-", "cli": "cli-", "guest": "guest-"}


def unit_tests(tree):
    """The unit tests by their names."""
    names = set()
    for name in tree.files:
        program = re.match(r"tests/(\w+)/test-([\w-]+)\.c$", name)
        corpus = re.match(r"tests/fuzz/corpus/([\w-]+)/", name)
        if program:
            prefix = PREFIXES.get(program.group(1), "") + program.group(2)
            text = tree.text(name)
            # One that is defined, and added to a case as well.
            names |= {"%s:%s" % (prefix, x) for x in re.findall(r"^START_TEST\((\w+)\)", text, re.M)
                      if len(re.findall(r"\b%s\b" % x, text)) > 1}
        elif corpus:
            names.add("corpus-" + corpus.group(1))
    return names


def methods_of(name, classes):
    """The test methods of a class, with those of the classes that it is made from."""
    bases, methods = classes.get(name, ((), set()))
    return set(methods).union(*(methods_of(x, classes) for x in bases if x != name))


def python_tests(tree):
    """FILE.Class.method of each test in Python."""
    files = {}
    for name in tree.ending(".py"):
        if name.startswith("tests/"):
            files[name] = [(x.name, [y.id for y in x.bases if isinstance(y, ast.Name)],
                            {y.name for y in x.body if isinstance(y, ast.FunctionDef) and y.name.startswith("test_")})
                           for x in ast.parse(tree.text(name)).body if isinstance(x, ast.ClassDef)]
    shared = {x: (bases, methods) for name, own in files.items() if os.path.basename(name).startswith("_")
              for x, bases, methods in own}
    names = set()
    for name, own in files.items():
        classes = dict(shared, **{x: (bases, methods) for x, bases, methods in own})
        module = os.path.splitext(os.path.basename(name))[0]
        names |= {"%s.%s.%s" % (module, x, method) for x, _, _ in own for method in methods_of(x, classes)}
    return names


def faults(tree):
    """tests/faults.md has all rows, each with tests that there are or a reason why there are none."""
    for name in (TABLE, RUNNER):
        if name not in tree.files:
            raise Unavailable("no " + name)
    suites = re.findall(r'^ +Suite\("([^"]+)", Suites\.', tree.text(RUNNER), re.M)
    units, pythons = unit_tests(tree), python_tests(tree)
    rows = rows_of(tree.text(TABLE))
    problems = []
    if [x.id for x in rows] != IDS:
        wrong = sorted(set(IDS).symmetric_difference(x.id for x in rows)) or ["the order"]
        problems.append("%s:1: not all rows, or others: %s" % (TABLE, ", ".join(wrong)))
    for row in rows:
        where = "%s:%d: %s" % (TABLE, row.line, row.id)
        if not row.fault or not row.behaviour or not (row.tests or row.reason):
            problems.append(where + " lacks something")
        for test in row.tests:
            suite, _, name = test.partition(":")
            known = units if suite.startswith("unit") else pythons
            if suite not in suites or name not in known:
                problems.append("%s names a test that is not there: %s" % (where, test))
    return problems
