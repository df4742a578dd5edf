#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is installed, as it is installed: units, manual, the bus, and what the shells complete."""

import os
import re
import select
import subprocess
import sys
import time
import unittest

from lab import LabCase, LabUnavailable
from _packages import ALL, UNIT, Packages, start_host

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "check"))
import _docs  # noqa: E402
from _tree import Tree  # noqa: E402

EXPOSURE_MAX = 12  # tenths
UNITS = [UNIT, "suspendd-rescue.service", "suspend-guest.service"]
MACHINES = ["alpha", "alpine", "beta two"]
NAMES = r"<<([^%$>]*)>>"  # the line that is edited, as a shell told it, not as it was told to

# How each shell is told to show the line that is edited when these keys come.
SHOW = "\x18p"
BASH = ["source /usr/share/bash-completion/bash_completion",
        r"""bind -x '"\C-xp": printf "\n<<%s>>\n" "$READLINE_LINE"'"""]
ZSH = ["autoload -Uz compinit && compinit -u -D", "bindkey -e",
       "show() { print -r -- \"<<$BUFFER>>\" }; zle -N show; bindkey '^Xp' show"]
KILL_LINE = "\x15"


class Shell:
    """An interactive shell of the host on a terminal of its own, which gets keys."""

    def __init__(self, host, command, lines):
        self._process = host.popen(["script", "--quiet", "--command", command, "/dev/null"], env={"TERM": "vt100"},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in lines:
            self._press(line + "\r")
        self._seen = ""
        self.complete("")

    def _press(self, keys):
        self._process.stdin.write(keys.encode())
        self._process.stdin.flush()

    def complete(self, line, timeout=20):
        """What a line becomes by the tabulator."""
        self._press(KILL_LINE + line + ("\t" if line else "") + SHOW)
        end = time.monotonic() + timeout
        while not re.search(NAMES, self._seen):
            if not select.select([self._process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("%r: nothing but %r" % (line, self._seen))
            self._seen += os.read(self._process.stdout.fileno(), 65536).decode(errors="replace")
        shown = re.search(NAMES, self._seen)
        self._seen = self._seen[shown.end():]
        return shown[1]

    def close(self):
        """Ends it."""
        self._process.kill()
        self._process.wait(5)
        self._process.stdin.close()
        self._process.stdout.close()


class Installed(LabCase):
    """One host with all packages and some machines."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=0.1)
        cls.addClassCleanup(cls.host.stop)
        cls.packages = Packages(cls.host)
        cls.packages.install(*ALL)
        cls.packages.configure()
        cls.host.systemctl("restart", UNIT)
        for name in MACHINES:
            machine = cls.packages.qemu(name)
            cls.addClassCleanup(machine.kill)
            cls.packages.wait_machine(name, run_state="running")

    def need(self, program):
        if self.host.run("sh", "-c", "command -v " + program, check=False).returncode:
            raise LabUnavailable("no %s on the host" % program)

    # units

    def test_systemd_has_nothing_to_say_against_the_units(self):
        done = self.host.run("systemd-analyze", "verify", *UNITS, check=False)
        told = [x for x in (done.stdout + done.stderr).splitlines() if "suspend" in x]
        self.assertEqual((told, done.returncode), ([], 0), done.stderr)

    def test_service_is_exposed_as_little_as_it_was_made(self):
        done = self.host.run("systemd-analyze", "security", "--threshold=%d" % EXPOSURE_MAX, UNIT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-300:])
        self.assertLessEqual(float(re.search(r"exposure level for %s: ([0-9.]+)" % UNIT, done.stdout)[1]) * 10, EXPOSURE_MAX)

    # the manual

    def test_pages_of_the_manual_are_there_and_can_be_read(self):
        self.need("mandoc")
        listed = self.host.run("dpkg", "-L", *ALL).stdout.split("\n")
        pages = [x for x in listed if re.search(r"/man[0-9]/.*\.gz$", x)]
        sources = [x for x in Tree().files if re.search(r"^man/.*\.[1-8]$", x)]
        self.assertEqual(sorted(os.path.basename(x)[:-3] for x in pages), sorted(os.path.basename(x) for x in sources))
        for page in pages:
            with self.subTest(page=page):
                lint = self.host.run("mandoc", "-Tlint", "-Wwarning", page, check=False)
                self.assertEqual((lint.returncode, lint.stdout), (0, ""))
                text = self.host.run("mandoc", "-Tutf8", page).stdout
                self.assertIn("N\bNA\bAM\bME\bE", text)
                self.assertGreater(len(text.splitlines()), 40)

    # the bus

    def test_bus_shows_all_members(self):
        tree = Tree()
        for name, path in (("src/daemon/bus-manager.c", "/org/suspendd1"),
                           ("src/daemon/bus-machine.c", self.packages.json("list")[0]["path"])):
            with self.subTest(path=path):
                told = self.host.run("busctl", "introspect", "org.suspendd1", path).stdout
                shown = set(re.findall(r"^\.(\w+)", told, re.M))
                known = _docs.found(_docs.MEMBER, tree.text(name))
                self.assertGreater(len(known), 5)
                self.assertEqual(known - shown, set())

    def test_catalog_explains_messages(self):
        self.packages.suspend()
        told = self.host.run("journalctl", "-x", "-u", UNIT, "--no-pager").stdout
        self.assertIn("░░ Subject:", told)
        self.assertIn("░░ Documentation: man:suspendd(8)", told)

    # completions

    def assert_completes(self, shell):
        """By lines that one shell completes as any other."""
        self.addCleanup(shell.close)
        for line, whole in (
                ("reh", "rehearse "),
                ("show al", "show alp"),
                ("show alpi", "show alpine "),
                ("show bet", r"show beta\ two "),
                ("list alpha be", r"list alpha beta\ two "),
                ("mode alpi", "mode alpine "),
                ("mode alpine pau", "mode alpine pause "),
                ("sync nobod", "sync nobod"),
                ("monitor al", "monitor al"),
                ("page rem", "page remove "),
                ("page create alpi", "page create alpine "),
                ("notify libvirt sta", "notify libvirt started "),
                ("rehearse --no-l", "rehearse --no-legend "),
                ("rehearse --fo", "rehearse --for="),
                ("list --json=pre", "list --json=pretty ")):
            with self.subTest(line=line):
                self.assertEqual(shell.complete("suspendctl " + line), "suspendctl " + whole)
        with self.subTest("suspend-guest"):
            self.assertEqual(shell.complete("suspend-guest --dr"), "suspend-guest --dry-run ")

    def test_bash_completes_machines(self):
        if not self.host.exists("/usr/share/bash-completion/bash_completion"):
            raise LabUnavailable("no bash-completion on the host")
        self.assert_completes(Shell(self.host, "bash --norc -i", BASH))

    def test_zsh_completes_machines(self):
        self.need("zsh")
        self.assert_completes(Shell(self.host, "zsh -f -i", ZSH))

    def test_fish_completes_machines(self):
        self.need("fish")
        for line, offered in (
                ("reh", {"rehearse"}),
                ("show al", {"alpha", "alpine"}),
                ("show bet", {"beta two"}),
                ("list alpha be", {"beta two"}),
                ("mode alpi", {"alpine"}),
                ("mode alpine pau", {"pause"}),
                ("monitor al", set()),
                ("page rem", {"remove"}),
                ("page create alpi", {"alpine"}),
                ("notify libvirt sta", {"started"}),
                ("rehearse --no-l", {"--no-legend"}),
                ("rehearse --fo", {"--for"}),
                ("list --json=pre", {"--json=pretty"})):
            with self.subTest(line=line):
                told = self.host.run("fish", "--command", "complete -C 'suspendctl %s'" % line,
                                     env={"HOME": "/run/fish"}).stdout
                self.assertEqual({x.split("\t")[0] for x in told.splitlines()}, offered)

    def test_completion_says_nothing_where_nobody_answers(self):
        self.host.systemctl("stop", UNIT)
        self.addCleanup(self.host.systemctl, "start", UNIT)
        if self.host.exists("/usr/share/bash-completion/bash_completion"):
            shell = Shell(self.host, "bash --norc -i", BASH)
            self.addCleanup(shell.close)
            self.assertEqual(shell.complete("suspendctl show al"), "suspendctl show al")
        self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "inactive")


if __name__ == "__main__":
    unittest.main()
