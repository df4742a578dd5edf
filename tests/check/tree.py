#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checks as tests: the tree has no problem."""

import unittest

from _all import CHECKS, SLOW
from _tree import Tree, Unavailable


class TreeTest(unittest.TestCase):
    """One test a check."""


def make_test(check):
    """The test that one check finds nothing."""
    def test(self):
        try:
            problems = check(Tree())
        except Unavailable as reason:
            self.skipTest(str(reason))
        if problems:
            self.fail("\n" + "\n".join(problems))
    test.quick = check not in SLOW
    return test


for one in CHECKS:
    setattr(TreeTest, "test_" + one.__name__, make_test(one))

if __name__ == "__main__":
    unittest.main()
