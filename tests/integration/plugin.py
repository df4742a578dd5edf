#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a plugin and the daemon have to say to each other beside a sleep: modes, hints, troubles. The daemon as it is, with
the fake plugin (tests/engine/fake-module.c), on a bus of its own with the fake logind."""

import os
import subprocess
import unittest

from _bus import COMMAND, LIMIT, wait_for
from _daemon import DaemonCase


class Case(DaemonCase):
    """One daemon for a test, with a machine that is called web."""

    machine = "Machine=web suspend=later"
    modules = {"needy": "tests/daemon/needy.so", "fake": "tests/engine/fake.so"}

    def web(self):
        """The machine's mode, and who says so."""
        machine = self.json("show", "web")[0]
        return machine["mode"], machine["mode_source"]


OWN = "the fake's definition"


class Modes(Case):
    """Who decides."""

    def test_definition_is_before_configuration_and_after_command(self):
        policy = "[Machine web]\nMode=pause"
        self.reload("Machine=web", more=policy)
        self.assertEqual(self.web(), ("pause", self.config + ":6"))
        self.reload("Machine=web mode=ignore", more=policy)
        self.assertEqual(self.web(), ("ignore", OWN))
        self.good("mode", "web", "suspend")
        self.assertEqual(self.web(), ("suspend", "command"))
        self.good("mode", "web", "default")
        self.assertEqual(self.web(), ("ignore", OWN))
        self.reload("Machine=web mode=", more=policy)
        self.assertEqual(self.web(), ("pause", self.config + ":6"))

    def test_definition_that_blocks_holds_the_lock_and_lets_go(self):
        self.reload("Machine=web mode=block")
        self.assertIn("sleep blocked: VM web", self.wait_status("sleep blocked"))
        self.assertEqual(self.json("status")["blocking"], ["web"])
        self.reload("Machine=web mode=")
        wait_for(lambda: "blocked" not in self.json("status")["status"], "no block")
        self.assertEqual(self.json("status")["blocking"], [])

    def test_change_is_told_on_the_bus(self):
        monitor = subprocess.Popen(
            ["busctl", "--address=unix:path=" + self.bus.path, "--json=short", "monitor",
             "--match=type='signal',path='/org/suspendd1/machine/web',member='PropertiesChanged'"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (monitor.kill(), monitor.wait(), monitor.stdout.close()))
        os.set_blocking(monitor.stdout.fileno(), False)
        seen, modes = [], ["pause", "ignore"]

        def is_told():
            modes.reverse()
            self.reload("Machine=web mode=" + modes[0])
            seen.append(monitor.stdout.read() or b"")
            text = b"".join(seen).decode()
            return '"Mode":{"type":"s","data":"%s"}' % modes[1] in text and '"data":"%s"' % OWN in text
        wait_for(is_told, "the signal")

    def test_word_that_is_no_mode_is_complained_of_once(self):
        for _ in range(3):
            self.reload("Machine=web mode=sleepy")
        self.assertEqual(self.web()[0], "auto")
        self.assertEqual(self.log().count("'sleepy' is no mode, and is ignored (the fake's definition)"), 1)


class Storing(Case):
    """Modes that are to last."""

    def start(self, *arguments):
        """suspendctl mode --persistent, when the plugin has been asked."""
        n = self.log().count("asked to store a mode")
        child = self.spawn([COMMAND, "mode", "--persistent", *arguments], stderr=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(child.stderr.close)
        wait_for(lambda: self.log().count("asked to store a mode") > n, "the plugin to be asked")
        return child

    def test_stored_mode_is_the_definitions_and_ends_the_commands(self):
        for answer in ["now", "later"]:
            with self.subTest(answer=answer):
                self.reload("Machine=web mode= store=" + answer)
                self.good("mode", "web", "ignore")
                self.good("mode", "--persistent", "web", "pause")
                self.assertEqual(self.web(), ("pause", OWN))
                self.good("mode", "web", "ignore")
                self.good("mode", "--persistent", "web", "default")
                self.assertEqual(self.web(), ("auto", "default"))

    def test_refusal_changes_nothing(self):
        for answer, why in [("error", "it is told to fail"), ("refuse", "Device or resource busy")]:
            with self.subTest(answer=answer):
                self.reload("Machine=web store=" + answer)
                self.good("mode", "web", "ignore")
                done = self.ctl("mode", "--persistent", "web", "pause")
                self.assertEqual(done.returncode, 1)
                self.assertIn("Cannot store the mode of web: ", done.stderr)
                self.assertEqual(self.web(), ("ignore", "command"))

    def test_loop_runs_while_the_plugin_hangs(self):
        self.reload("Machine=web store=never")
        child = self.start("web", "pause")
        self.assertEqual(self.web(), ("auto", "default"))
        self.good("rehearse", "--for=0")
        self.assertIsNone(child.poll())

    def test_machine_that_goes_ends_it(self):
        self.reload("Machine=web store=never")
        child = self.start("web", "pause")
        self.good("notify", "fake", "stopped", "web")
        self.assertEqual(child.communicate(timeout=LIMIT)[1],
                         "suspendctl: Cannot store the mode of web: the machine is gone\n")
        self.assertEqual(child.returncode, 4)

    def test_daemon_that_ends_says_so(self):
        self.reload("Machine=web store=never")
        child = self.start("web", "pause")
        self.daemon.terminate()
        self.assertEqual(self.daemon.wait(LIMIT), 0)
        self.assertIn("suspendd is ending", child.communicate(timeout=LIMIT)[1])
        self.assertEqual(child.returncode, 1)


class Telling(Case):
    """Hints to a plugin, and what it has to complain of."""

    def test_plugin_without_its_library_is_one_line_and_the_daemon_goes_on(self):
        lines = [x for x in self.log().splitlines() if "needy" in x]
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], "Cannot load plugin .*/needy.so: libabsent.so.0: ")
        self.assertEqual(self.web()[0], "auto")

    def test_hint_reaches_the_plugin_and_the_log(self):
        self.good("notify", "fake", "started", "--", "-a \x1b[31m\n")
        self.assertIn("-a \\x1b[31m\\x0a", [x["id"] for x in self.json("list")])
        self.assertIn("fake: told that -a \\x1b[31m\\x0a is started\n", self.log())
        self.good("notify", "fake", "stopped", "--", "-a \x1b[31m\n")
        self.assertEqual([x["id"] for x in self.json("list")], ["web"])

    def test_hint_that_nobody_takes_is_refused_in_words(self):
        for plugin, why in [("needy", "no such plugin is loaded"), ("fake", "the plugin does not know the event")]:
            with self.subTest(plugin=plugin):
                done = self.ctl("notify", plugin, "hummed", "web")
                self.assertEqual((done.returncode, done.stderr), (1, "suspendctl: Cannot notify the plugin: %s\n" % why))

    def test_trouble_is_told_until_it_is_over(self):
        text = "qemu:///system does not answer"
        for _ in range(2):
            self.reload("Machine=web", "Trouble=" + text)
            self.assertEqual(self.json("status")["troubles"], {"fake": text})
        self.assertIn("1 machine, trouble with fake, lock held", self.wait_status("trouble with fake"))
        self.assertIn("Trouble: fake: " + text, self.good("status"))
        self.assertEqual(self.log().count("fake: " + text), 1)

        self.reload("Machine=web")
        self.assertEqual(self.json("status")["troubles"], {})
        self.assertNotIn("trouble", self.json("status")["status"])
        self.assertEqual(self.log().count("fake: the trouble is over"), 1)


if __name__ == "__main__":
    unittest.main()
