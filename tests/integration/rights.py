#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may what, on a real bus with the shipped policy, real polkit and the shipped example of a rule: a user without rights
changes nothing, sees nothing private, has nothing opened, and costs a sleep no time whatever he calls; a member of the
group that the rule names may what it allows."""

import os
import select
import socket
import subprocess
import time
import unittest

from lab import LabError, LabUnavailable, Qemu
from _suspendd import BUILD, UNIT, Suspendd, SuspenddCase, start_host

HERE = os.path.dirname(os.path.abspath(__file__))
NAME, PATH, MANAGER = "org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager"
POLKITD = ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd")
RULE = "/usr/share/doc/suspendd/examples/50-suspendd.rules"
GROUP, MEMBER, OTHER = "libvirt", "labmember", "labother"
NOBODY = "nobody"
MACHINES = ("a", "b")
REFUSED = 5
CALLS = 100000
# That a sleep may take longer under a flood, in which all share a few processors; logind would wait for 5 s.
MORE_USEC = (300000, 300000, 3000000)
MORE_KB = 16384


class RightsCase(SuspenddCase):
    """A host with polkit, two users and bare QEMUs."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=0.2)
        cls.addClassCleanup(cls.host.stop)
        if not any(cls.host.exists(x) for x in POLKITD):
            raise LabUnavailable("no polkitd")
        cls.host.run("groupadd", "-f", "-r", GROUP)
        cls.host.run("useradd", "-M", "-G", GROUP, MEMBER)
        cls.host.run("useradd", "-M", OTHER)
        cls.suspendd = Suspendd(cls.host, "[Manager]\nPlugins=page\n", debug=False)
        cls.give_rule()
        for name in MACHINES:
            vm = Qemu(cls.host.scratch, name, cls.host, kind="none").start()
            cls.addClassCleanup(vm.kill)
        cls.suspendd.start()
        cls.suspendd.ctl("page", "create", "secret")
        for name in MACHINES:
            cls.suspendd.wait_machine(name, run_state="running")

    @classmethod
    def give_rule(cls):
        """Puts the example where it counts."""
        cls.host.run("install", "-m", "644", RULE, "/etc/polkit-1/rules.d/")
        cls.host.run("systemctl", "try-restart", "polkit.service")

    def as_user(self, user, *command, **more):
        """Runs a command as that user, with his groups; the CompletedProcess."""
        return self.host.run("setpriv", "--reuid=" + user, "--regid=nogroup", "--init-groups", *command, check=False, **more)

    def code(self, user, *arguments):
        """suspendctl's exit status for that user, who is told why if it is not 0."""
        done = self.as_user(user, "suspendctl", *arguments)
        if done.returncode:
            self.assertRegex(done.stderr, r"\Asuspendctl: ")
        return done.returncode

    def call(self, user, member, *arguments):
        """A call of the Manager's by that user: what went wrong, in the bus's words; empty if all is well."""
        done = self.as_user(user, "busctl", "call", NAME, PATH, MANAGER, member, *arguments)
        return done.stderr.strip()

    def connections(self):
        """The daemon's own connections to the bus."""
        pid = self.host.unit_property(UNIT, "MainPID")
        rows = self.host.run("busctl", "list", "--unique", "--no-legend").stdout.splitlines()
        return [x.split()[0] for x in rows if x.split()[1] == pid]

    def state(self):
        """All that somebody could have changed."""
        return ([(m["id"], m["mode"], m["state"]) for m in self.suspendd.json("list")],
                [p["name"] for p in self.suspendd.json("page", "list")], self.suspendd.manager("CycleNumber"),
                self.suspendd.manager("LockHeld"), self.host.unit_property(UNIT, "NRestarts"))


class Users(RightsCase):
    """What users may."""

    def test_user_without_rights_changes_nothing(self):
        before = self.state()
        for user in (NOBODY, OTHER):
            for arguments in (("mode", "a", "ignore"), ("mode", "--persistent", "a", "pause"), ("rehearse", "--for=1ms"),
                              ("sync", "a"), ("register", "/tmp/x.qmp"), ("unregister", "a"), ("page", "create", "mine"),
                              ("page", "create", "mine", "--owner=nobody"), ("page", "remove", "secret", "--force"),
                              ("notify", "qmp", "started", "a"), ("--no-ask-password", "mode", "a", "ignore")):
                with self.subTest(user=user, arguments=arguments):
                    self.assertEqual(self.code(user, *arguments), REFUSED)
            self.assertNotEqual(self.call(user, "Reload"), "")
            self.assertIn("denied", self.as_user(user, "busctl", "set-property", NAME, PATH, MANAGER, "State", "s",
                                                 "sleeping").stderr)
        self.assertEqual(self.state(), before)

    def test_user_without_rights_reads_what_is_public_and_nothing_that_is_private(self):
        for arguments in (("status",), ("list",), ("show", "a"), ("history",)):
            self.assertEqual(self.code(NOBODY, *arguments), 0)
        self.assertEqual(self.code(NOBODY, "page", "list"), REFUSED)
        self.assertEqual(self.code(NOBODY, "page", "show", "secret"), REFUSED)
        folders = ("/run/suspendd", "/var/lib/suspendd")
        there = self.host.run("find", *folders, "-type", "f").stdout.split()
        self.assertIn("/run/suspendd/pages/secret", there)
        self.assertIn("/run/suspendd/cycle", there)
        self.assertEqual(self.as_user(NOBODY, "find", *folders, "-readable", "-not", "-type", "d").stdout, "")

    def test_user_cannot_play_logind_or_the_daemon(self):
        before = self.state()
        own = self.connections()
        self.assertEqual(len(own), 2)
        for destination in own:
            self.as_user(NOBODY, "busctl", "emit", "--destination=" + destination, "/org/freedesktop/login1",
                         "org.freedesktop.login1.Manager", "PrepareForSleep", "b", "true")
        self.as_user(NOBODY, "busctl", "emit", "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
                     "PrepareForSleep", "b", "true")
        # The connection to logind is called by nobody.
        for destination in own:
            for user in (NOBODY, MEMBER):
                done = self.as_user(user, "busctl", "call", destination, PATH, MANAGER, "Rehearse", "t", "0")
                self.assertEqual((user, destination, done.returncode == 0),
                                 (user, destination, user == MEMBER and destination == self.owner()))
        self.suspendd.wait_state("idle")
        after = self.state()
        self.assertEqual((after[0], after[2]), (before[0], before[2] + 1), "the member's one")

    def owner(self):
        """Which of them has the name."""
        return self.host.busctl("call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetNameOwner", "s", NAME)[0]

    def test_nothing_is_opened_for_one_without_rights(self):
        path = os.path.join(self.host.scratch.sub("theirs"), "evil.qmp")
        with socket.socket(socket.AF_UNIX) as trap:
            trap.bind(path)
            os.chmod(path, 0o777)
            trap.listen()
            for user in (NOBODY, MEMBER):
                self.assertEqual(self.code(user, "register", path), REFUSED)
                self.assertEqual(self.code(user, "register", "/tmp/x.qmp", path), REFUSED)
                self.assertEqual(self.code(user, "notify", "qmp", "started", path), REFUSED)
                self.assertNotEqual(self.call(user, "CreatePage", "ssub", "../../tmp/x", "nobody", "1", "false"), "")
            self.suspendd.ctl("list")
            self.assertEqual(select.select([trap], [], [], 0)[0], [])
            # So that the trap is one: root's is opened.
            self.suspendd.ctl("register", path)
            self.assertEqual(select.select([trap], [], [], 10)[0], [trap])
            self.suspendd.ctl("unregister", path)

    def test_member_of_the_rules_group_may_what_it_names(self):
        self.addCleanup(self.suspendd.ctl, "mode", "a", "default")
        self.assertEqual(self.code(MEMBER, "mode", "a", "ignore"), 0)
        self.assertEqual(self.suspendd.machine("a")["mode"], "ignore")
        before = self.suspendd.manager("CycleNumber")
        self.assertEqual(self.code(MEMBER, "rehearse", "--for=1ms"), 0)
        self.assertEqual(self.suspendd.manager("CycleNumber"), before + 1)
        # These have no agent; who may not does not learn that.
        self.assertEqual(self.code(MEMBER, "sync", "b"), 1)
        self.assertEqual(self.code(MEMBER, "register", "/tmp/x.qmp"), REFUSED)
        self.assertEqual(self.code(MEMBER, "mode", "--persistent", "a", "pause"), REFUSED)
        self.assertEqual(self.code(MEMBER, "page", "list"), REFUSED)

    def test_without_polkit_root_alone_may(self):
        self.addCleanup(self.suspendd.ctl, "mode", "a", "default")
        self.host.systemctl("mask", "--runtime", "--now", "polkit.service")
        self.addCleanup(self.host.systemctl, "unmask", "--runtime", "polkit.service")
        self.assertEqual(self.code(MEMBER, "mode", "a", "ignore"), REFUSED)
        self.assertNotEqual(self.suspendd.machine("a")["mode"], "ignore")
        self.suspendd.ctl("mode", "a", "ignore")
        self.assertEqual(self.suspendd.machine("a")["mode"], "ignore")


@unittest.skipIf(os.path.basename(BUILD) == "asan", "time and memory under sanitizers are their own")
class Flood(RightsCase):
    """100000 calls and more of one without rights, of all that there is to call, while the host sleeps."""

    def memory_kb(self):
        """The most that the daemon ever had of it."""
        with open("/proc/%d/status" % self.suspendd.pid()) as f:
            found = dict(line.split(":", 1) for line in f)
        return int(found["VmHWM"].split()[0])

    def cycle(self):
        """A sleep: how long the host waited for us, until the last machine ran again, and all of it as root sees it."""
        begun = time.monotonic()
        record = self.suspendd.suspend()
        seconds = time.monotonic() - begun
        for m in record["machines"]:
            self.assertEqual((m["stood"], m["failed"]), ("paused", False), m)
        return record["released_after_usec"], max(m["ran_after_usec"] for m in record["machines"]), int(seconds * 1e6)

    def ask(self):
        """How long root waits for answers, in seconds; most of it for the bus, which all calls are in line for. An error if
        one takes longer than suspendctl waits."""
        begun = time.monotonic()
        self.suspendd.ctl("status", timeout=100)
        return time.monotonic() - begun

    def start(self):
        """Starts it; returns once it is under way."""
        paths = ["/org/suspendd1/machine/" + x for x in MACHINES]
        flood = self.host.popen(["setpriv", "--reuid=" + NOBODY, "--clear-groups", "/usr/bin/python3",
                                 os.path.join(HERE, "_flood.py")] + paths,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (flood.kill(), flood.wait(), flood.stdin.close(), flood.stdout.close()))
        if not select.select([flood.stdout], [], [], 20)[0] or flood.stdout.readline() != "going\n":
            raise LabError("no flood")
        return flood

    def test_sleep_takes_no_longer_and_memory_stays(self):
        before, quiet, memory = self.state(), [self.cycle() for _ in range(3)], self.memory_kb()
        flood = self.start()
        flooded, began = [], time.monotonic()
        while len(flooded) < 2 or not select.select([flood.stdout], [], [], 0)[0]:
            self.assertLess(len(flooded), 50)
            flooded.append(self.cycle())
        self.assertEqual(flood.stdout.readline(), "enough\n")
        asked = self.ask()
        flood.stdin.close()
        n_calls = int(flood.stdout.readline())
        told = "%d calls in %.1f s; sleeps (us until let sleep, until all ran, in all): %s, when quiet %s; root waited %.2f s; " \
            "memory %d kB more" % (n_calls, time.monotonic() - began, flooded, quiet, asked,
                                   self.memory_kb() - memory)
        print(told)
        for i, more_usec in enumerate(MORE_USEC):
            self.assertLess(max(x[i] for x in flooded), max(x[i] for x in quiet) + more_usec, told)
        self.assertLess(self.memory_kb() - memory, MORE_KB, told)
        self.assertGreaterEqual(n_calls, CALLS, told)
        after = self.state()
        self.assertEqual((after[:2], after[3:]), (before[:2], before[3:]))
        self.assertEqual(after[2], before[2] + len(quiet) + len(flooded), "no cycle but ours")


if __name__ == "__main__":
    unittest.main()
