#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""conf/libvirt-hook as libvirtd calls it: it tells the daemon, and whatever is wrong, it is soon over and has not failed. The
daemon as it is, on a bus of its own, with the fake plugin in the place of libvirt's."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from _bus import BUILD, LIMIT, SOURCE, wait_for
from _daemon import DaemonCase

HOOK = os.path.join(SOURCE, "conf/libvirt-hook")
COMMANDS = os.path.join(BUILD, "src/cli")
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"

TOLD = {"prepare": "prepare", "started": "started", "stopped": "stopped", "release": "stopped"}
UNTOLD = ["start", "migrate", "restore", "reconnect", "attach", "", "prepared", "*"]
STARTING, STOPPING = ["prepare", "start", "started"], ["stopped", "release"]

PROMISED = 1.0  # s, in which libvirtd has a domain back
NOISE = 0.15    # s, in which a busy machine lets some short processes run
LARGE = b"<domain/>\n" * (1 << 20)
HOSTILE = ["-a", "--help", "--", "", " ", "a b", "*", "'", '"', "a'b\"c", "a\nb", "$(touch owned)", "`touch owned`",
           "; touch owned", "\\", "%s%n", "\x1b[31m", "../../etc", "ü", "\udcff", "n" * 100000]


class HookCase(DaemonCase):
    """Runs the hook."""

    machine = "Machine=web"
    modules = {"libvirt": "tests/engine/fake-libvirt.so"}
    plugin = "libvirt"

    def setUp(self):
        super().setUp()
        self.cwd = self.path("cwd")
        os.mkdir(self.cwd)

    def hook(self, operation, name="web", path=COMMANDS + ":" + SYSTEM, shell=(), **stdin):
        """Runs it as libvirtd does; that it holds what is promised of it. Returns how long it took."""
        stdin = stdin or {"input": b"<domain type='qemu'/>"}
        begin = time.monotonic()
        done = subprocess.run([*shell, HOOK, name, operation, "begin", "-"], cwd=self.cwd, timeout=LIMIT,
                              env=self.bus.environment(PATH=path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **stdin)
        seconds = time.monotonic() - begin
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        self.assertLess(seconds, PROMISED + NOISE)
        self.assertEqual(os.listdir(self.cwd), [])
        return seconds

    def assert_harmless(self, **more):
        """All that libvirt may tell of one start, and of one stop, is over in the time that is promised."""
        for operations in (STARTING, STOPPING):
            with self.subTest(operations=operations):
                self.assertLess(sum(self.hook(x, **more) for x in operations), PROMISED + NOISE)

    def n_told(self):
        """How often the daemon was told of anything."""
        return self.log().count("libvirt: told that ")

    def folder_of_commands(self, *names):
        """A folder with these of the system's programs and no other."""
        folder = tempfile.mkdtemp(dir=self.folder)
        for name in names:
            os.symlink(shutil.which(name), os.path.join(folder, name))
        return folder


class Told(HookCase):
    """What the daemon hears."""

    def test_what_happens_is_told(self):
        for operation, event in TOLD.items():
            with self.subTest(operation=operation):
                line = "libvirt: told that of-%s is %s\n" % (operation, event)
                # On a busy machine a hint may come to nothing: it has a limit.
                wait_for(lambda: self.hook(operation, "of-" + operation) and line in self.log(), line)

    def test_start_and_stop_reach_the_plugin(self):
        wait_for(lambda: self.hook("started", "db") and "db" in [x["id"] for x in self.json("list")], "db to be there")
        wait_for(lambda: self.hook("release", "db") and "db" not in [x["id"] for x in self.json("list")], "db to be gone")

    def test_nothing_else_is_told(self):
        for operation in UNTOLD:
            with self.subTest(operation=operation):
                self.hook(operation)
        self.assertEqual(self.n_told(), 0)

    def test_name_is_nothing_but_a_name(self):
        for name in HOSTILE:
            with self.subTest(name=name[:40]):
                self.hook("prepare", name)
        for name in ("-a", "a b", "$(touch owned)"):
            line = "told that %s is prepare\n" % name
            wait_for(lambda: self.hook("prepare", name) and line in self.log(), line)

    def test_prepare_waits_for_the_answer(self):
        self.daemon.send_signal(signal.SIGSTOP)
        waiting = threading.Timer(0.2, self.daemon.send_signal, [signal.SIGCONT])
        waiting.start()
        self.addCleanup(waiting.join)
        self.assertGreater(self.hook("prepare"), 0.15)


class Harmless(HookCase):
    """Whatever is wrong, the domain starts."""

    def test_daemon_that_is_stopped(self):
        self.daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.send_signal, signal.SIGCONT)
        self.assert_harmless()

    def test_killing_the_command_is_silent_in_any_shell(self):
        self.daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.send_signal, signal.SIGCONT)
        for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]):
            with self.subTest(shell=shell):
                if shutil.which(shell[0]):
                    self.hook("started", shell=shell)

    def test_daemon_that_is_absent(self):
        self.daemon.kill()
        self.daemon.wait()
        self.assert_harmless()
        self.assertFalse(os.path.exists(self.bus.started), "it is not started")

    def test_bus_that_is_stopped(self):
        self.bus.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.bus.process.send_signal, signal.SIGCONT)
        self.assert_harmless()

    def test_bus_that_is_absent(self):
        os.rename(self.bus.path, self.bus.path + ".away")
        self.addCleanup(os.rename, self.bus.path + ".away", self.bus.path)
        self.assert_harmless()

    def test_command_that_is_absent(self):
        for programs in (["timeout"], []):
            with self.subTest(programs=programs):
                self.assert_harmless(path=self.folder_of_commands(*programs))
        self.assertEqual(self.n_told(), 0)

    def test_command_that_hangs_and_shrugs(self):
        folder = self.folder_of_commands("timeout", "sh", "sleep")
        with open(os.path.join(folder, "suspendctl"), "w") as f:
            f.write("#!/bin/sh\ntrap '' TERM INT HUP\nwhile echo loud; do sleep 0.1; done\n")
        os.chmod(f.name, 0o755)
        self.assert_harmless(path=folder)

    def test_stdin_that_nobody_reads(self):
        self.assert_harmless(input=LARGE)
        for operation in UNTOLD:
            self.hook(operation, input=LARGE)

    def test_stdin_that_never_ends(self):
        ours, its = os.pipe()
        self.addCleanup(os.close, its)
        self.addCleanup(os.close, ours)
        self.assert_harmless(stdin=ours)

    def test_stdin_that_is_closed(self):
        self.assert_harmless(shell=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"], stdin=subprocess.DEVNULL)

    def test_arguments_that_are_missing(self):
        for arguments in ([], ["web"], ["", "prepare"]):
            with self.subTest(arguments=arguments):
                done = subprocess.run([HOOK, *arguments], env=self.bus.environment(PATH=COMMANDS + ":" + SYSTEM), timeout=LIMIT,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual((done.returncode, done.stdout), (0, b""))


if __name__ == "__main__":
    unittest.main()
