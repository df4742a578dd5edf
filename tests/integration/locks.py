# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our delay lock at the real logind: kept over its restart, taken anew from one that has forgotten it."""

from lab import wait_for
from _suspendd import Suspendd, SuspenddCase, start_host

LOGIND = "systemd-logind"


class Locks(SuspenddCase):
    """A host and the service, without machines."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1, inhibit_delay=5)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, "")
        cls.suspendd.start()

    def retakes(self):
        """How often the daemon has found its lock gone."""
        return self.suspendd.log().count("taking it anew")

    def test_restart_of_logind_keeps_the_one_lock(self):
        self.wait_lock()
        before = self.retakes()
        for _ in range(3):
            self.host.systemctl("restart", LOGIND)
            self.wait_lock()
        # What the daemon asked of the last logind has been answered when it answers this.
        self.suspendd.ctl("status")
        self.assertEqual(len(self.locks()), 1)
        self.assertEqual(self.retakes(), before)
        self.host.suspend()
        self.wait_lock()

    def test_logind_that_forgot_the_lock_is_asked_anew(self):
        self.wait_lock()
        before = self.retakes()
        self.host.systemctl("stop", LOGIND)
        self.host.run("sh", "-c", "rm -f /run/systemd/inhibit/*")
        self.host.systemctl("start", LOGIND)
        self.wait_lock()
        wait_for(lambda: self.retakes() > before, 10, "a line that says so", interval=0.05)
        self.host.suspend()
        self.wait_lock()
        self.assertEqual(self.suspendd.overruns(), [])
