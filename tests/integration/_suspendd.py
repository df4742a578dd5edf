# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of suspendd as a service have in common."""

import os

from lab import Host, LabCase, host_root, wait_for
from lab.suspendd import BUILD, UNIT, Suspendd, of

__all__ = ["BUILD", "UNIT", "HeldCase", "Suspendd", "SuspenddCase", "is_newer", "of", "start_host"]

# Not Debian 12's systemd but that of the root with this name.
ROOT = os.environ.get("SUSPENDD_TEST_ROOT")


def is_newer():
    """Whether the host's systemd is newer than Debian 12's."""
    return bool(ROOT)


def start_host(**options):
    """A host, started, of this machine's own root or of the one that is tested on."""
    return Host(root=host_root(ROOT) if ROOT else "/", **options).start()


# What no log may have. Now and then LeakSanitizer itself dies in its search, and says so without ERROR: that tells of no leak.
EVIL_WORDS = ("Bug:", "AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer")


class SuspenddCase(LabCase):
    """A test with a host; nothing in it may make logind name us as overrun, or the engine meet a cell that it never should."""

    suspendd = None

    def locks(self, mode="delay"):
        """Our locks, as logind lists them."""
        return [x for x in self.host.inhibitors() if (x["who"], x["mode"]) == ("suspendd", mode)]

    def wait_lock(self, timeout=10):
        """Waits until logind lists our delay lock, once."""
        wait_for(lambda: len(self.locks()) == 1, timeout, "one delay lock of ours", interval=0.05)

    def tearDown(self):
        if self.suspendd and self.host.pid:
            self.assertEqual(self.suspendd.overruns(), [])
            log = self.suspendd.log()
            for bad in EVIL_WORDS:
                self.assertNotIn(bad, log)
        super().tearDown()


class HeldCase(SuspenddCase):
    """Machines .vms, which are ours to hold; .theirs was paused by its user, and is not touched in any test."""

    vms, theirs = (), None
    run_within = 10  # seconds

    def wait_ready(self):
        """Waits until all is as it should be before a sleep."""
        for vm in self.vms:
            self.suspendd.wait_machine(vm.name, run_state="running")
        self.suspendd.wait_machine(self.theirs.name, run_state="paused")
        self.suspendd.wait_state("idle", 40)
        self.wait_lock(5)
        self.mark = self.theirs.monitor.mark()

    def tearDown(self):
        self.assertEqual([e.name for e in self.theirs.monitor.events[self.mark:]], [], "not ours, not touched")
        self.assertEqual(self.theirs.status(), "paused")
        super().tearDown()

    def assert_all_run(self):
        """All of ours run."""
        for vm in self.vms:
            vm.wait_status("running", self.run_within)

    def takeovers(self):
        """How often the daemon has found machines that an earlier run of it had stopped."""
        return self.suspendd.log().count("were held when suspendd ended")
