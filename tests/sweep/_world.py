# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a sweep needs around it: a bus with the fake logind, real QEMUs, a folder in memory; and its run."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from integration._bus import BUILD, Bus, wait_for
from lab import Qemu
from lab.qmp import outwait_youth
from lab.util import Scratch

PROGRAM = os.path.join(BUILD, "tests/sweep/sweep")
LOGIN1 = os.path.join(BUILD, "tests/fake/fake-login1")
DAEMON = os.path.join(BUILD, "src/daemon/suspendd")
PLUGINS = {"qmp": "src/plugins/qmp/qmp.so", "page": "src/plugins/page/page.so"}
OURS, THEIRS = ("a", "b"), "theirs"
# On every host /run is in memory.
MEMORY = "/dev/shm" if os.path.ismount("/dev/shm") else None
GOOD, VIOLATIONS, RIG, SKIPPED = 0, 1, 2, 77

# Short records, so that a start does not read more of them with each point.
CONFIG = """[Manager]
Plugins=page
HistoryMax=3
[Plugin qmp]
Directory=%s
[Plugin page]
Page=a
"""


def why_not():
    """Why no sweep can run here; None if one can."""
    if not os.path.exists(PROGRAM):
        return "calls are made to fail by the registers of x86-64, and not under sanitizers"
    if os.geteuid() != 0:
        return "only root may own logind's name"
    return None


class World:
    """Two machines that are suspendd's to stop, and one that its user has paused. The sweep starts the daemon."""

    def __init__(self):
        self._ends = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        self.folder = tempfile.mkdtemp(prefix="suspendd-sweep-", dir=MEMORY)
        self._ends.append(lambda: shutil.rmtree(self.folder))
        self.scratch = Scratch()
        self._ends.append(self.scratch.remove)
        self.bus = Bus()
        self._ends.append(self.bus.stop)
        login1 = subprocess.Popen([LOGIN1], env=self.bus.environment())
        self._ends.append(lambda: (login1.kill(), login1.wait()))
        self.machines = [Qemu(self.scratch, name, kind="none") for name in OURS + (THEIRS,)]
        for vm in self.machines:
            vm.start()
            self._ends.append(vm.kill)
            outwait_youth(vm.own_path("mon"))
        self.machines[-1].stop()
        self.machines[-1].disconnect()
        self._write()
        wait_for(self._has_login1, "the fake logind")

    def _write(self):
        os.mkdir(os.path.join(self.folder, "plugins"))
        for name, path in PLUGINS.items():
            shutil.copy(os.path.join(BUILD, path), os.path.join(self.folder, "plugins", name + ".so"))
        shutil.copy(DAEMON, self.folder)  # so that a build meanwhile does not matter
        with open(os.path.join(self.folder, "suspendd.conf"), "w") as f:
            f.write(CONFIG % self.machines[0].folder)

    def _has_login1(self):
        name = "org.suspendd.FakeLogin1"
        asked = subprocess.run(["busctl", "get-property", name, "/org/suspendd/FakeLogin1", name, "Phase"],
                               env=self.bus.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return asked.returncode == 0

    def stop(self):
        """Ends all that was started."""
        while self._ends:
            self._ends.pop()()

    def command(self, *options):
        """The command line of a sweep."""
        return [PROGRAM, "--daemon=" + os.path.join(self.folder, "suspendd"), "--plugin-dir=" + os.path.join(self.folder, "plugins"),
                "--config=" + os.path.join(self.folder, "suspendd.conf"), "--folder=" + self.folder, *options,
                *(vm.own_path("mon") for vm in self.machines)]

    def run(self, *options, **more):
        """A sweep; the CompletedProcess."""
        return subprocess.run(self.command(*options), env=self.bus.environment(), stdin=subprocess.DEVNULL, **more)


class SweepCase(unittest.TestCase):
    """A world for a class, and a sweep of some seconds in it."""

    @classmethod
    def setUpClass(cls):
        reason = why_not()
        if reason:
            raise unittest.SkipTest(reason)
        cls.world = World()
        cls.addClassCleanup(cls.world.stop)

    def sweep(self, seconds, seed):
        """How many points were tried, none of which broke a promise."""
        done = self.world.run("--seconds=%d" % seconds, "--seed=%d" % seed, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="backslashreplace",
                              timeout=seconds + 120)
        if done.returncode == SKIPPED:
            self.skipTest("no process may be followed here")
        if done.returncode != GOOD:
            print("seed %d\n%s" % (seed, done.stdout), file=sys.stderr)
        self.assertEqual(done.returncode, GOOD)
        self.figure = done.stdout.splitlines()[-1] + ", seed %d" % seed
        return int(re.match(r"(\d+) injection points, 0 violations", done.stdout.splitlines()[-1]).group(1))
