# SPDX-License-Identifier: LGPL-2.1-or-later
"""More guest agents hang at once behind a real libvirtd than it has workers."""

import time

from lab import LabError, wait_for
from lab.domain import Domain, clone_domains
from _libvirt import CONFIG, MS, LibvirtCase
from _suspendd import of

N_HUNG = 25
N_HEALTHY = 3


class ManyHanging(LibvirtCase):
    """More agents hang at once than libvirtd has workers."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        # 25 guests that suspend themselves at once would be more than a small machine can bear; they are
        # asked to only when they hang.
        names = ["healthy%02d" % i for i in range(N_HEALTHY)] + ["hung%02d" % i for i in range(N_HUNG)]
        clones = clone_domains(cls.libvirt, names)
        cls.healthy, cls.hung = clones[:N_HEALTHY], clones[N_HEALTHY:]
        cls.idle = Domain(cls.libvirt, "idle", kind="none").start()
        cls.events = cls.libvirt.events()
        cls.addClassCleanup(cls.events.close)
        cls.own_limit = cls.libvirt.max_workers()
        cls.suspendd.start()
        for domain in clones:
            cls.suspendd.wait_machine(domain.name, timeout=60, at_sleep="suspend")

    def assert_cycle(self, record, healthy_usec):
        self.assert_in_time(record)
        self.assertLess(of(record, "idle")["stood_after_usec"], 1000000)
        for domain in self.healthy:
            machine = of(record, domain.name)
            self.assertEqual((machine["stood"], machine["failed"]), ("suspended", False), machine)
            self.assertLess(machine["stood_after_usec"], healthy_usec)
        for domain in self.hung:
            self.assertEqual(of(record, domain.name)["stood"], "paused")
        for domain in self.healthy + self.hung + [self.idle]:
            domain.wait_state("running", timeout=15)

    def wait_raised(self):
        """Each agent can be asked at once, and five calls that no guest can hold up are left beside."""
        wait_for(lambda: self.libvirt.max_workers() == N_HUNG + N_HEALTHY + 5, 10, "libvirtd's limit is raised")

    def test_limit_is_raised_again_and_left_alone_if_so_said(self):
        self.assertLess(self.own_limit, N_HUNG)
        self.libvirt.restart()
        self.wait_raised()
        self.addCleanup(self.suspendd.reload)
        self.addCleanup(self.suspendd.configure, CONFIG % "")
        self.suspendd.stop()
        self.suspendd.configure(CONFIG % "MaxWorkers=0\n")
        self.libvirt.restart()
        self.suspendd.start()
        for domain in self.healthy + self.hung:
            self.suspendd.wait_machine(domain.name, timeout=60, at_sleep="suspend", run_state="running")
        time.sleep(1)
        self.assertEqual(self.libvirt.max_workers(), self.own_limit)

    def test_many_hung_agents_hold_up_nobody(self):
        self.wait_raised()
        self.suspendd.ctl("mode", "hung*", "pause")
        usual = self.suspendd.suspend()
        usual_usec = max(of(usual, d.name)["stood_after_usec"] for d in self.healthy)
        self.assert_cycle(usual, 3000000)
        self.suspendd.ctl("mode", "hung*", "default")
        wait_for(lambda: self.suspendd.manager("State") == "idle", 40, "idle")

        for domain in self.hung:
            domain.stop_agent()
        mark = self.events.mark()
        first = self.suspendd.suspend()
        self.assert_cycle(first, usual_usec + 200000)
        second = self.suspendd.suspend()
        self.assert_cycle(second, usual_usec + 200000)
        self.assertLess(second["released_after_usec"], usual_usec + 1000000)

        for domain in self.hung:
            domain.cont_agent()
        with self.assertRaises(LabError):
            self.events.wait(self.hung[0].name, "lifecycle PMSuspended", 3, mark)
        for domain in self.hung:
            self.assertEqual(domain.state()[0], "running")
        number = self.suspendd.suspend()["number"]
        for domain in self.hung:
            self.suspendd.wait_machine(domain.name, timeout=40, at_sleep="suspend")
        self.suspendd.wait_state("idle", 60)
        # The answers that were owed have all come.
        wait_for(lambda: self.suspendd.manager("Troubles") == {}, 40, "no trouble")
        # None lacks the seconds that it was stopped; closer than that, 28 guests on few cores are not asked, nor than
        # the daemon itself says that it knows.
        record = self.suspendd.wait_record(number)
        for domain in self.hung + self.healthy:
            doubt = of(record, domain.name)["time"]["after_uncertainty_ns"] or 0
            self.assert_clock(domain, min(50 * MS + doubt, 500 * MS))
