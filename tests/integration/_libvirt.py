# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the libvirt plugin have in common: a host with a real libvirtd beside the real logind."""

from lab import wait_for
from lab.domain import Domain
from lab.libvirt import Libvirt
from _suspendd import Suspendd, SuspenddCase, start_host

MS = 1000000
CONFIG = "[Manager]\nPlugins=\nPlugins=libvirt\n[Plugin libvirt]\n%s"


class LibvirtCase(SuspenddCase):
    """A host with libvirtd and suspendd; domains are ended with their test."""

    uris = ()

    @classmethod
    def set_up_host(cls, config="", **options):
        """Host, libvirtd and suspendd, the latter not yet started."""
        options.setdefault("sleep", 1)
        cls.host = start_host(**options)
        cls.addClassCleanup(cls.host.stop)
        cls.libvirt = Libvirt(cls.host).start()
        cls.suspendd = Suspendd(cls.host, CONFIG % "".join("URI=%s\n" % u for u in cls.uris) + config,
                                sleep_clock=True)

    def domain(self, name, **more):
        """A domain, started, and known to the daemon; an idle one if nothing is said."""
        started = {k: more.pop(k) for k in ("paused", "persistent") if k in more}
        more.setdefault("kind", "none")
        domain = Domain(self.libvirt, name, **more).start(**started)
        self.addCleanup(self.end, domain)
        if domain.kind == "linux":
            domain.wait_up()
        self.suspendd.wait_machine(name, run_state="paused" if started.get("paused") else "running")
        return domain

    def end(self, domain):
        """Ends a domain, if the test has not."""
        if domain.running():
            domain.kill()
        if domain.persistent:
            domain.undefine()
        wait_for(lambda: self.suspendd.machine(domain.name) is None, 10, domain.name + " forgotten")

    def hold(self):
        """Sends the host to sleep until self.host.wake(); returns the number of the cycle."""
        number = self.suspendd.last_number() + 1
        self.host.set_sleep("hold")
        self.addCleanup(self.host.set_sleep, 1)
        self.host.request_suspend()
        self.host.wait_asleep()
        return number

    def assert_in_time(self, record):
        """The lock went before 90 % of the budget were over."""
        self.assertLess(record["released_after_usec"], 0.9 * record["delay_max_usec"])
        self.assertFalse(record["overdue"])

    def assert_clock(self, domain, limit_ns=5 * MS):
        """The guest's clock is right by its own words, not the agent's."""
        error, uncertainty = domain.clock_error()
        self.assertLessEqual(abs(error), limit_ns + uncertainty)
