# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon with the libvirt plugin and a thousand domains of libvirt's test driver: whole cycles, and what they keep."""

import os
import select
import tempfile
import unittest

from _bus import BUILD, wait_for
from _daemon import DaemonCase

MODULE = "src/plugins/libvirt/libvirt.so"
N_DOMAINS, N_WARM_UP, N_CYCLES = 1000, 5, 4
DOMAIN = ("<domain type='test'><name>vm-%(i)d</name><uuid>4c4c4544-0042-3510-8052-%(i)012d</uuid>"
          "<memory>1024</memory><os><type>hvm</type></os></domain>")
# What the daemon may need of a domain, the test driver's own part of it included; and, lest a thread's first share be
# taken for a leak, of a cycle for good.
MACHINE_KIB, CYCLE_KIB = 64, 2048


@unittest.skipUnless(os.path.exists(os.path.join(BUILD, MODULE)), "built without libvirt")
class Thousand(DaemonCase):
    """All in one process: the driver's domains are the daemon's own."""

    quick = False
    modules = {"libvirt": MODULE}
    plugin = "libvirt"

    def setUp(self):
        with tempfile.NamedTemporaryFile("w", suffix=".xml", delete=False) as f:
            f.write("<node>%s</node>\n" % "\n".join(DOMAIN % {"i": i} for i in range(N_DOMAINS)))
        self.addCleanup(os.unlink, f.name)
        self.machine = "URI=test://" + f.name
        super().setUp()
        wait_for(lambda: len(self.json("list")) == N_DOMAINS, "all domains")

    def resident_kib(self):
        """What the daemon has in memory."""
        with open("/proc/%d/status" % self.daemon.pid) as f:
            return next(int(x.split()[1]) for x in f if x.startswith("VmRSS:"))

    def hear_status(self):
        """What it has said to systemd meanwhile, which must not pile up."""
        while select.select([self.status], [], [], 0)[0]:
            self.status.recv(4096)

    def test_cycles_are_right_and_keep_no_memory(self):
        resident = []
        for _ in range(N_WARM_UP + N_CYCLES):
            record = self.json("rehearse", "--for=0")
            machines = record["machines"]
            self.assertEqual(len(machines), N_DOMAINS)
            self.assertEqual({(x["asked"], x["stood"], x["failed"]) for x in machines}, {("pause", "paused", False)})
            self.assertTrue(all(x["ran_after_usec"] is not None for x in machines), machines[0])
            self.assertLess(record["released_after_usec"], record["budget_usec"])
            self.assertEqual({x["run_state"] for x in self.json("list")}, {"running"})
            resident.append(self.resident_kib())
            self.hear_status()
        print("resident after each cycle: %s KiB" % resident, flush=True)
        if not BUILD.endswith("asan"):  # which keeps what was freed
            self.assertLess(resident[-1], 32 * 1024 + N_DOMAINS * MACHINE_KIB)
            self.assertLess(resident[-1] - resident[N_WARM_UP - 1], N_CYCLES * CYCLE_KIB)
