# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook script, run by a real libvirtd: what it tells, and that it holds up nobody."""

import os
import signal
import statistics
import time

from lab import wait_for
from lab.domain import Domain
from _libvirt import LibvirtCase

HOOK = "/etc/libvirt/hooks/qemu.d/50-suspendd"
LIMIT_SECONDS = 1.0


class Hook(LibvirtCase):
    """One host; domains are started and stopped while suspendd is in one state or another."""

    @classmethod
    def setUpClass(cls):
        cls.set_up_host()
        cls.libvirt.restart()  # libvirtd looks for hooks when it starts
        cls.libvirt.wait_up()
        cls.suspendd.start()
        cls.usual = cls.start_seconds(cls)

    def start_seconds(self, name="timed", n=3):
        """How long it takes to start an idle domain, in the middle of some tries."""
        taken = []
        for _ in range(n):
            domain = Domain(self.libvirt, name, kind="none")
            begin = time.monotonic()
            domain.start()
            taken.append(time.monotonic() - begin)
            domain.destroy()
        return statistics.median(taken)

    def wait_told(self, event, name):
        """Waits until suspendd's log says that it was told."""
        wait_for(lambda: "told that %s is %s" % (name, event) in self.suspendd.log() or
                 "%s: %s" % (name, event) in self.suspendd.log(), 5, "%s %s" % (name, event))

    def test_start_and_stop_reach_suspendd(self):
        self.assertTrue(self.host.exists(HOOK))
        domain = self.domain("hooked")
        for event in ("prepare", "started"):
            self.wait_told(event, "hooked")
        domain.destroy()
        self.wait_told("stopped", "hooked")

    def test_hostile_name_does_no_harm(self):
        name = "-x $(touch pwned) `touch pwned` ; 'q' \"q\""
        domain = Domain(self.libvirt, "plain", kind="none")
        domain.name = name
        self.libvirt.virsh_xml("create", "plain", domain.xml())
        try:
            def is_told():
                return any("touch pwned" in line and "is started" in line for line in self.suspendd.log().splitlines())
            wait_for(is_told, 5, "told of the start")
            self.assertEqual(self.host.run("find", "/", "-xdev", "-name", "pwned").stdout, "")
        finally:
            self.libvirt.virsh("destroy", domain.uuid)

    def test_stopped_suspendd_delays_no_start_by_a_second(self):
        pid = self.suspendd.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            taken = self.start_seconds()
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertLess(taken, self.usual + LIMIT_SECONDS)
        self.suspendd.wait_state("idle")

    def test_suspendd_that_is_down_delays_no_start(self):
        self.suspendd.stop()
        try:
            self.assertLess(self.start_seconds(), self.usual + LIMIT_SECONDS)
            self.assertEqual(self.host.unit_property("suspendd.service", "ActiveState"), "inactive")
        finally:
            self.suspendd.start()

    def test_absent_suspendd_delays_no_start(self):
        self.suspendd.stop()
        self.host.run("mv", "/usr/bin/suspendctl", "/usr/bin/suspendctl.away")
        try:
            self.assertLess(self.start_seconds(), self.usual + LIMIT_SECONDS)
        finally:
            self.host.run("mv", "/usr/bin/suspendctl.away", "/usr/bin/suspendctl")
            self.suspendd.start()
