# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the suites and counts: unit tests as they are, under sanitizers and valgrind; tests in Python; checks."""
