# SPDX-License-Identifier: LGPL-2.1-or-later
"""What all parts of the lab need: waiting with a limit, a scratch folder that is kept when
a test fails, the reason why the lab cannot run here."""

import os
import shutil
import sys
import tempfile
import time
import unittest


class LabError(Exception):
    """Something in the lab did not happen in its time."""


class LabUnavailable(unittest.SkipTest):
    """The lab cannot run on this machine; the text says why. Skips the test that meets it."""


def wait_for(predicate, timeout, what="", interval=0.01):
    """Calls predicate() until it gives something true, and returns that. LabError after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise LabError("not within %g s: %s" % (timeout, what or getattr(predicate, "__doc__", None) or predicate))
        time.sleep(interval)


def children(pid):
    """The pids of the children of a process's main thread."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid):
    """Whether the process runs (a zombie does not)."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Scratch:
    """A short-named folder for sockets and logs. remove() spares it if keep was set."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="sdlab-", dir="/tmp")
        os.chmod(self.path, 0o755)
        self.keep = bool(os.environ.get("SUSPENDD_LAB_KEEP"))

    def sub(self, *names):
        """A folder below it, made if missing."""
        path = os.path.join(self.path, *names)
        os.makedirs(path, exist_ok=True)
        return path

    def file(self, *names):
        """The path of a file below it."""
        return os.path.join(self.path, *names)

    def remove(self):
        """Removes it, or names it where it is kept."""
        if self.keep:
            print("logs are kept in %s" % self.path, file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


class LabCase(unittest.TestCase):
    """A test whose hosts and guests are cleaned up, with their logs kept and named if it fails.

    A host for all tests of a class: make it in setUpClass, put it in cls.host, stop it in tearDownClass."""

    host = None

    def run(self, result=None):
        bad = len(result.failures) + len(result.errors) if result is not None else 0
        outcome = super().run(result)
        if result is not None and len(result.failures) + len(result.errors) > bad:
            self.keep_logs()
        return outcome

    def keep_logs(self):
        """Called after a failure: the scratch folder of the host stays."""
        if self.host:
            self.host.scratch.keep = True
            print("%s failed; logs will be in %s" % (self.id(), self.host.scratch.path), file=sys.stderr)
