#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspendctl and the bus interface of suspendd, on a bus of their own, above an engine that does as it is told
(tests/cli/fake-engine.c)."""

import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
import unittest
from fcntl import ioctl

from _bus import BUILD, COMMAND, LIMIT, SOURCE, BusCase, wait_for

DAEMON = os.path.join(BUILD, "tests/cli/fake-suspendd")
NOBODY = 65534
VERBS = ["status", "list", "show", "history", "monitor", "rehearse", "mode", "sync", "register", "unregister",
         "notify", "page"]


class Lines:
    """Lines of a child's output as they come, each within the limit."""

    def __init__(self, test, arguments, env=None):
        self.child = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.rest = b""
        test.addCleanup(lambda: (self.child.kill(), self.child.wait(), self.child.stdout.close()))

    def waiting(self, timeout):
        """Whether something comes in this time."""
        return b"\n" in self.rest or bool(select.select([self.child.stdout], [], [], timeout)[0])

    def next(self):
        """The next line as JSON."""
        while b"\n" not in self.rest:
            if not select.select([self.child.stdout], [], [], LIMIT)[0]:
                raise AssertionError("no line came within %d s" % LIMIT)
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                raise AssertionError("no more lines come")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)


class Case(BusCase):
    """One daemon for a test."""

    has_daemon = True
    daemon_environment = {}

    def setUp(self):
        if not self.has_daemon:
            return
        if os.geteuid() != 0:
            self.skipTest("only root may change anything, and own the name")
        daemon = subprocess.Popen([DAEMON], env=self.bus.environment(**self.daemon_environment))
        self.daemon = daemon
        self.addCleanup(lambda: (daemon.kill(), daemon.wait()))
        wait_for(lambda: self.ctl("list").returncode == 0, "the daemon")

    def on_terminal(self, columns, *arguments, **env):
        """What suspendctl writes on a terminal of this width."""
        leader, follower = pty.openpty()
        ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = subprocess.Popen([COMMAND] + list(arguments), env=self.bus.environment(**env),
                                 stdin=follower, stdout=follower, stderr=subprocess.DEVNULL)
        os.close(follower)
        text = b""
        try:
            while select.select([leader], [], [], LIMIT)[0]:
                text += os.read(leader, 65536)
        except OSError:
            pass  # it has closed its end
        os.close(leader)
        child.wait(LIMIT)
        return text.decode().replace("\r\n", "\n")


class Arguments(Case):
    """What is said on the command line."""

    has_daemon = False

    def test_help_names_every_verb_and_option(self):
        text = self.good("--help")
        for verb in VERBS:
            self.assertRegex(text, r"(?m)^  %s " % verb)
        for option in ["-h --help", "--version", "--json", "--no-legend", "-n --lines", "--for", "--plugin", "--name",
                       "--persistent", "-q --quiet"]:
            self.assertIn(option, text)

    def test_every_verb_and_option_of_the_help_is_in_the_manual(self):
        with open(os.path.join(SOURCE, "man/suspendctl.1")) as f:
            manual = f.read()
        text = self.good("--help")
        for verb in re.findall(r"(?m)^  ([a-z]+) ", text):
            self.assertRegex(manual, r"(?m)^\.It Cm %s\b" % verb)
        for option in re.findall(r"--([a-z-]+)", text):
            self.assertRegex(manual, r"(?m)^\.It .*Fl -%s\b" % option)

    def test_bad_arguments_are_2(self):
        for arguments in [["nonsense"], ["--nonsense"], ["--json=xml", "list"], ["-n"], ["-n", "x", "history"],
                          ["-n", "-1", "history"], ["rehearse", "--for=x"], ["rehearse", "--for=infinity"],
                          ["status", "x"], ["monitor", "x"], ["rehearse", "x"], ["history", "1", "2"],
                          ["mode"], ["mode", "vm1"], ["register"], ["register", "a", "b", "c"], ["unregister"],
                          ["unregister", "a", "b"], ["notify"], ["notify", "a", "b"], ["notify", "a", "b", "c", "d"],
                          ["notify", "a", "b", "-c"], ["notify", "a", "b", "c", "--json"], ["list", "--for=3s"], ["status", "-n3"], ["mode", "a", "b", "--name=x"],
                          ["register", "a", "--json"], ["sync", "--persistent"]]:
            with self.subTest(arguments=arguments):
                done = self.ctl(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertNotEqual(done.stderr, "")

    def test_without_a_daemon_it_is_3(self):
        for arguments in [[], ["status"], ["list"], ["show"], ["history"], ["history", "1"], ["rehearse"],
                          ["mode", "a", "auto"], ["sync"], ["register", "/x"], ["unregister", "/x"], ["unregister", "x"],
                          ["notify", "qmp", "started", "x"]]:
            with self.subTest(arguments=arguments):
                self.assertEqual(self.code(*arguments), 3)

    def test_nothing_starts_the_daemon(self):
        """Where the bus could start it, it is not asked to, and says at once that it does not run."""
        began = time.monotonic()
        for arguments in [["status"], ["notify", "qmp", "started", "x"]]:
            with self.subTest(arguments=arguments):
                self.assertEqual(self.code(*arguments), 3)
        self.assertLess(time.monotonic() - began, 2)
        self.assertFalse(os.path.exists(self.bus.started))

    def test_without_a_bus_it_is_3(self):
        self.assertEqual(self.code("list", env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}), 3)

    def test_version_is_told(self):
        self.assertRegex(self.good("--version"), r"\Asuspendd \d")


class Reading(Case):
    """What the verbs print."""

    def test_status_is_the_default(self):
        self.assertEqual(self.good(), self.good("status"))

    def test_status_tells_what_a_person_wants(self):
        text = self.good()
        for part in ["4 machines, lock held", "State: idle", "Lock held: yes", "Budget: 10s", "logind waits: infinity",
                     "Sleep blocked by: web 1/a", "AT SLEEP", "no guest agent"]:
            self.assertIn(part, text)
        status = self.json()
        self.assertNotIn("Trouble", text)
        self.assertEqual(status["troubles"], {})
        self.assertEqual((status["lock_held"], status["budget_usec"], status["delay_max_usec"], status["last_cycle"]),
                         (True, 10000000, None, None))

    def test_list_says_the_same_as_text_and_json(self):
        rows = [re.split(r" {2,}", x.strip()) for x in self.good("list", "--no-legend").splitlines()]
        machines = [[x[k] or "-" for k in ("id", "run_state", "mode", "at_sleep", "why")] for x in self.json("list")]
        self.assertEqual(rows, machines)
        self.assertEqual(len(rows), 4)

    def test_list_has_headings(self):
        self.assertRegex(self.good("list").splitlines()[0], r"^NAME +STATE +MODE +AT SLEEP +WHY$")

    def test_globs_choose(self):
        self.assertEqual([x["id"] for x in self.json("list", "vm*")], ["vm1", "vm2"])
        self.assertEqual([x["id"] for x in self.json("list", "vm[2-9]", "web*")], ["vm2", "web 1/a"])
        self.assertEqual([x["id"] for x in self.json("show", "vm?")], ["vm1", "vm2"])

    def test_a_glob_that_matches_nothing_is_4(self):
        for arguments in [["list", "nope"], ["list", "vm1", "nope*"], ["show", "nope"], ["sync", "nope"],
                          ["mode", "nope", "auto"], ["unregister", "nope"]]:
            with self.subTest(arguments=arguments):
                self.assertEqual(self.code(*arguments), 4)

    def test_show_tells_what_is_missing(self):
        text = self.good("show", "vm2")
        self.assertIn("Cannot suspend: no guest agent", text)
        self.assertIn("Why: no guest agent", text)
        self.assertNotIn("Stood", text)
        machine = self.json("show", "vm2")[0]
        self.assertEqual(machine["lacks"], {"suspend": "no guest agent", "set-time": "no guest agent"})
        self.assertIsNone(machine["before_ns"])

    def test_nothing_a_terminal_obeys_is_printed(self):
        self.good("rehearse", "--for=0")
        for arguments in [["status"], ["list"], ["show"], ["history"], ["history", "1"], ["rehearse", "--for=0"],
                          ["mode", "evil*", "auto"]]:
            for style in ["off", "short", "pretty"]:
                with self.subTest(arguments=arguments, style=style):
                    text = self.good("--json=" + style, *arguments)
                    self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text))
                    self.assertNotIn("\\u00", text)
        self.assertIn("\\x1b[31m\\xff\\xe2\\x80\\xae", self.good("list"))

    def test_errors_are_escaped(self):
        done = self.ctl("sync", "evil*")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Cannot set the clock of evil\\x1b[31m", done.stderr)
        self.assertNotIn("\x1b", done.stderr)

    def test_names_in_arguments_are_escaped(self):
        for arguments in [["show", "\x1b[31m"], ["\x1b[31m"], ["--\x1b[31m"], ["-\x1b[31m"], ["history", "\x1b[31m"],
                          ["--json=\x1b[31m"], ["show", "\u009b31m"]]:
            with self.subTest(arguments=arguments):
                done = self.ctl(*arguments)
                self.assertIn(done.returncode, (2, 4))
                self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stderr))

    def test_history_of_nothing(self):
        self.assertEqual(self.good("history"), "")
        self.assertEqual(self.json("history"), [])
        self.assertEqual(self.code("history", "1"), 1)
        self.assertEqual(self.code("history", "x"), 2)

    def test_colours_only_where_they_are_wanted(self):
        self.assertNotIn("\x1b", self.good("status"))
        self.assertIn("\x1b[", self.on_terminal(100, "list"))
        for env in [{"NO_COLOR": "1"}, {"SYSTEMD_COLORS": "0"}, {"TERM": "dumb"}]:
            with self.subTest(env=env):
                text = self.on_terminal(100, "status", **env)
                self.assertIn("vm1", text)
                self.assertNotIn("\x1b", text)

    def test_tables_fit_the_terminal(self):
        self.good("rehearse", "--for=0")
        for columns, arguments in [(60, ["list"]), (80, ["list"]), (80, ["history", "1"]), (130, ["history"])]:
            with self.subTest(columns=columns, arguments=arguments):
                lines = self.on_terminal(columns, *arguments, NO_COLOR="1").splitlines()
                table = lines[[i for i, x in enumerate(lines) if re.match(r"(NAME|CYCLE) ", x)][0]:]
                table = table[:table.index("")] if "" in table else table
                self.assertLessEqual(max(len(x) for x in table), columns)


    def test_long_reasons_are_whole_and_stay_in_their_column(self):
        why = "/" + " ".join(["the guest agent is not connected"] * 7)
        self.good("register", "--name=long", "/run/long.qmp", why)
        self.assertIn("Why: %s\n" % why, self.good("show", "long"))
        lines = self.on_terminal(80, "list", "long", NO_COLOR="1").splitlines()
        column = lines[0].index("WHY")
        self.assertGreater(len(lines), 3)
        self.assertLessEqual(max(len(x) for x in lines), 80)
        self.assertEqual("".join(x[column:] for x in lines[1:]).replace(" ", ""), why.replace(" ", ""))
        self.assertEqual({x[:column].strip() for x in lines[2:]}, {""})

        self.good("register", "--name=longer", "/run/longer.qmp", why + "ü" * 300)
        self.assertRegex(self.json("list", "longer")[0]["why"], "connectedü*…$")


class Trouble(Case):
    """A plugin that has something to complain of."""

    daemon_environment = {"FAKE_TROUBLE": "qemu:///system does not answer\x1b[31m"}

    def test_status_tells_of_it(self):
        self.assertIn("         Trouble: qmp: qemu:///system does not answer\\x1b[31m\n", self.good("status"))
        self.assertEqual(self.json("status")["troubles"], {"qmp": "qemu:///system does not answer\\x1b[31m"})


class Acting(Case):
    """What the verbs do."""

    def test_rehearsal_prints_the_cycle(self):
        text = self.good("rehearse", "--for=50ms")
        self.assertIn("Kind: rehearsal", text)
        self.assertIn("In doubt because: it is made up\n", text)
        self.assertRegex(text, r"(?m)^vm1 +suspended +1.23ms +3s +-3s +\+150us ±50us +1 +set +agent$")
        self.assertRegex(text, r"(?m)^vm1, [-0-9]+ [:0-9]+: clock set \(host-clock set by \+700ms\): off by -3s, then \+150us ±50us$")
        self.assertRegex(text, r"(?m)^vm2 +paused ")
        self.assertIn("vm2: pause: no guest agent", text)
        self.assertEqual(self.good("history", "1"), text)

    def test_show_and_history_tell_of_page_reader_and_later_corrections(self):
        self.good("rehearse", "--for=0", "-q")
        shown = self.json("show", "vm1")[0]
        record = {x["id"]: x for x in self.json("history", "1")["machines"]}["vm1"]
        for of in (shown, record):
            self.assertEqual(of["page"], "vm1")
            self.assertEqual(of["answer"], {"corrects_realtime": True, "corrects_boottime": False, "current": True,
                                            "applied_ns": 3 * 10**9, "refused_ns": 0})
            self.assertEqual((of["seen_ns"], of["unseen_ns"]), (0, 3 * 10**9))
            self.assertEqual([(x["cause"], x["host_clock_stepped_ns"]) for x in of["later"]], [("host-clock", 700 * 10**6)])
        self.assertEqual(shown["repaired_by"], "agent")
        self.assertEqual(record["time"]["repaired_by"], "agent")
        self.assertEqual(shown["later"][0]["after_ns"], record["later"][0]["time"]["after_ns"])
        text = self.good("show", "vm1")
        for line in (r"Page: vm1", r"Repaired by: agent", r"Lacked: 3s", r"Its reader is up to date: yes",
                     r": clock set \(host-clock set by \+700ms\)"):
            self.assertRegex(text, "(?m)" + line)
        other = self.json("show", "vm2")[0]
        self.assertEqual((other["page"], other["answer"]), ("", None))
        self.assertNotIn("Its reader", self.good("show", "vm2"))

    def test_rehearsal_that_leaves_something_wrong_is_6(self):
        self.good("mode", "vm2", "suspend", "-q")
        done = self.ctl("rehearse", "--for=0")
        self.assertEqual(done.returncode, 6)
        self.assertIn("vm2: failed: no guest agent", done.stdout)
        self.assertEqual(self.code("rehearse", "--for=0", "-q"), 6)

    def test_rehearsal_shows_milestones_on_a_terminal(self):
        text = self.on_terminal(100, "rehearse", "--for=50ms")
        order = ["cycle 1 began: rehearsal", "vm1 stands, suspended after 1.23ms", "the host may sleep, after 1.5ms",
                 "the host is awake, it slept 3s", "vm1 runs, it was stopped for 3s", "cycle 1 is over: woke",
                 "Kind: rehearsal"]
        places = [text.find(x) for x in order]
        self.assertNotIn(-1, places)
        self.assertEqual(places, sorted(places))

    def test_rehearsal_json_is_the_record(self):
        record = self.json("rehearse", "--for=0")
        self.assertEqual((record["number"], record["kind"], len(record["machines"])), (1, "rehearsal", 4))
        self.assertEqual(self.json("history", "1"), record)

    def test_second_rehearsal_is_refused_while_one_runs(self):
        first = subprocess.Popen([COMMAND, "rehearse", "--for=30s"], env=self.bus.environment(),
                                 stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (first.kill(), first.wait()))
        wait_for(lambda: self.json("status")["state"] == "sleeping", "the first rehearsal")
        done = self.ctl("rehearse")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "suspendctl: Cannot rehearse a sleep: a cycle is under way\n"))

    def test_rehearsal_whose_daemon_dies_is_3(self):
        child = subprocess.Popen([COMMAND, "rehearse", "--for=30s"], env=self.bus.environment(),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
        wait_for(lambda: self.json("status")["state"] == "sleeping", "the rehearsal")
        self.daemon.kill()
        self.assertIn("went away", child.communicate(timeout=LIMIT)[1])
        self.assertEqual(child.returncode, 3)

    def test_an_hour_is_the_limit(self):
        self.assertEqual(self.code("rehearse", "--for=2h"), 2)

    def test_history_counts_and_is_limited(self):
        for _ in range(3):
            self.good("rehearse", "--for=0", "-q")
        rows = self.json("history")
        self.assertEqual([x["number"] for x in rows], [1, 2, 3])
        self.assertEqual([(x["suspended"], x["paused"], x["failed"], x["worst_residual_ns"]) for x in rows],
                         [(1, 2, 0, 150000)] * 3)
        self.assertEqual([x["number"] for x in self.json("history", "-n", "2")], [2, 3])
        self.assertEqual([x["number"] for x in self.json("history", "-n0")], [1, 2, 3])
        self.assertEqual(len(self.good("history", "-n2").splitlines()), 3)

    def test_mode_is_set_and_shown(self):
        text = self.good("mode", "vm*", "pause")
        self.assertRegex(text, r"(?m)^vm1 +running +pause +pause ")
        self.assertEqual([x["mode"] for x in self.json("list")], ["auto", "pause", "pause", "block"])
        self.assertEqual(self.json("show", "vm1")[0]["mode_source"], "command")

    def test_mode_is_stored_and_shown(self):
        self.good("register", "--name=new", "/run/new.qmp")
        text = self.good("mode", "vm1", "new", "pause", "--persistent")
        self.assertRegex(text, r"(?m)^new +running +pause +pause +-\nvm1 +running +pause +pause ")
        self.assertEqual(self.json("show", "vm1")[0]["mode_source"], "its definition")
        self.good("mode", "--persistent", "vm1", "default")
        self.assertEqual(self.json("show", "vm1")[0]["mode_source"], "default")

    def test_daemon_serves_others_while_a_mode_is_stored(self):
        jobs = [subprocess.Popen([COMMAND, "mode", "vm1", mode, "--persistent", "-q"], env=self.bus.environment())
                for mode in ["pause", "ignore", "pause"]]
        self.good("list")
        self.assertEqual([x.wait(LIMIT) for x in jobs], [0, 0, 0])

    def test_definition_that_cannot_be_written_is_1_and_says_why(self):
        done = self.ctl("mode", "vm2", "pause", "--persistent")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "suspendctl: Cannot store the mode of vm2: the VM's definition cannot be written by plugin "
                             "qmp; use suspendd.conf\n"))
        done = self.ctl("mode", "web*", "pause", "--persistent")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "suspendctl: Cannot store the mode of web 1/a: no \\x1b[31mroom\n"))
        self.assertEqual(self.code("mode", "vm1", "sleepy", "--persistent"), 2)

    def test_unknown_mode_is_2(self):
        self.assertEqual(self.code("mode", "vm1", "sleepy"), 2)
        self.assertEqual(self.json("list", "vm1")[0]["mode"], "auto")

    def test_blocking_follows_the_mode(self):
        self.assertEqual(self.json()["blocking"], ["web 1/a"])
        self.good("mode", "web*", "auto")
        self.assertEqual(self.json()["blocking"], [])

    def test_sync_waits_for_the_result(self):
        rows = self.json("sync", "vm1")
        self.assertEqual([(x["id"], x["verdict"], x["after_ns"]) for x in rows], [("vm1", "right", 1000)])

    def test_sync_of_all_leaves_out_what_cannot(self):
        done = self.ctl("sync", "--json")
        self.assertEqual([(x["id"], x["verdict"]) for x in json.loads(done.stdout)],
                         [("vm1", "right"), ("web 1/a", "gave-up")])
        self.assertEqual((done.returncode, done.stderr), (6, ""))

    def test_sync_of_one_that_cannot_says_why(self):
        done = self.ctl("sync", "vm2")
        self.assertEqual((done.returncode, done.stderr), (1, "suspendctl: Cannot set the clock of vm2: no guest agent\n"))

    def test_register_and_unregister(self):
        self.good("register", "--name=new", "relative/new.qmp")
        machine = self.json("show", "new")[0]
        self.assertEqual(machine["address"], os.path.join(os.getcwd(), "relative/new.qmp"))
        self.assertEqual(self.code("register", "relative/new.qmp"), 1)
        self.good("unregister", "new")
        self.assertEqual(self.code("list", "new"), 4)
        self.good("register", "/run//other.qmp", "/run/other.agent")
        self.good("unregister", "/run/other.qmp")
        self.assertEqual(self.code("unregister", "/run/other.qmp"), 1)

    def test_a_name_is_told_as_it_is(self):
        for name in ["web", "-name", "--help", "two words", "it's \"quoted\"", "line\nline", "\x1b[31m", "ünï", "$(id)", "--"]:
            with self.subTest(name=name):
                self.good("notify", "qmp", "started", "--", name)
                shown = re.sub("[\x00-\x1f]", lambda m: "\\x%02x" % ord(m.group()), name)
                self.assertIn(shown, [x["id"] for x in self.json("list")])
        self.assertEqual(self.good("notify", "--", "qmp", "started", "-after"), "")

    def test_a_name_that_no_bus_takes_is_refused_in_words(self):
        done = self.ctl("notify", "qmp", "started", "--", b"bad\xff")
        self.assertEqual((done.returncode, done.stderr), (2, "suspendctl: An argument is not valid UTF-8 text.\n"))
        for name in ["", "x" * 5000]:
            with self.subTest(length=len(name)):
                self.assertEqual(self.code("notify", "qmp", "started", name), 2)

    def test_a_hint_that_nobody_takes_is_1_and_says_why(self):
        for arguments, why in [(["xen", "started"], "no such plugin is loaded"),
                               (["qmp", "hummed"], "the plugin takes no hints")]:
            with self.subTest(arguments=arguments):
                done = self.ctl("notify", *arguments, "web")
                self.assertEqual((done.returncode, done.stderr), (1, "suspendctl: Cannot notify the plugin: %s\n" % why))

    def monitor(self):
        """The lines of one that listens: its matches stand once a machine that comes and goes is seen."""
        lines = Lines(self, [COMMAND, "monitor", "--json"], self.bus.environment())

        def is_listening():
            self.good("register", "--name=probe", "/run/probe.qmp")
            self.good("unregister", "/run/probe.qmp")
            return lines.waiting(0.2)
        wait_for(is_listening, "the monitor")
        return lines

    def of_a_rehearsal(self, lines):
        """What a monitor sees until one is over, and the names of that but for machines that come and go."""
        self.good("rehearse", "--for=0")
        seen = []
        while not seen or seen[-1]["event"] != "cycle-finished":
            seen.append(lines.next())
        return seen, [x["event"] for x in seen if not x["event"].startswith(("machine-added", "machine-removed"))]

    def test_monitor_prints_json_lines(self):
        seen, names = self.of_a_rehearsal(self.monitor())
        self.assertEqual(names, ["cycle-started"] + ["machine-stood"] * 3 + ["lock-released", "woke"] +
                         ["machine-ran"] * 3 + ["cycle-finished"])
        self.assertEqual(seen[-1]["record"], self.json("history", "1"))
        self.assertEqual([x["machine"] for x in seen if x["event"] == "machine-ran"][:2], ["vm1", "vm2"])

    def test_nobody_else_can_tell_the_monitor_anything(self):
        lines = self.monitor()
        busctl = ["busctl", "--address=unix:path=" + self.bus.path]
        rows = subprocess.run(busctl + ["list", "--unique", "--no-legend"], check=True, stdout=subprocess.PIPE,
                              timeout=LIMIT, encoding="utf-8").stdout.splitlines()
        own = [x.split()[0] for x in rows if x.split()[1] == str(lines.child.pid)]
        self.assertEqual(len(own), 1)
        for signal in (["/org/suspendd1", "org.suspendd1.Manager", "CycleFinished", "tss", "1", "forged", "{}"],
                       ["/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", "sss", "org.suspendd1", ":1.0", ""]):
            subprocess.run(busctl + ["emit", "--destination=" + own[0]] + signal, user=NOBODY, check=True, timeout=LIMIT)
        seen, names = self.of_a_rehearsal(lines)
        self.assertEqual((names[0], len(names)), ("cycle-started", 10), names)
        self.assertEqual(seen[-1]["ended"], "woke")

        # Another daemon is heard as the first one was.
        self.daemon.kill()
        self.daemon.wait()
        self.setUp()
        seen, names = self.of_a_rehearsal(lines)
        self.assertEqual((names[:3], len(names)), (["suspendd-stopped", "suspendd-started", "cycle-started"], 12), names)


class Rights(Case):
    """Who may do what."""

    def test_looking_is_for_everybody(self):
        for arguments in [["status"], ["list"], ["show", "vm1"], ["history"]]:
            with self.subTest(arguments=arguments):
                self.assertEqual(self.code(*arguments, user=NOBODY), 0)

    def test_changing_is_refused_with_5_and_changes_nothing(self):
        before = self.json("status")
        for arguments in [["rehearse", "--for=0"], ["mode", "vm1", "pause"], ["mode", "vm1", "pause", "--persistent"], ["sync", "vm1"], ["register", "/x"],
                          ["unregister", "/run/vm1.qmp"], ["notify", "qmp", "started", "x"]]:
            with self.subTest(arguments=arguments):
                done = self.ctl(*arguments, user=NOBODY)
                self.assertEqual((done.returncode, done.stderr), (5, "suspendctl: Only root may do this.\n"))
        self.assertEqual(self.json("status"), before)

    def busctl(self, *arguments, user=None):
        """Runs busctl on the test's bus."""
        return subprocess.run(["busctl", "--address=unix:path=" + self.bus.path] + list(arguments), user=user,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, encoding="utf-8")

    def call(self, interface, member, *arguments, user=None):
        """What dbus-send says to a call of the Manager; busctl keeps the texts of some errors to itself."""
        done = subprocess.run(["dbus-send", "--bus=unix:path=" + self.bus.path, "--print-reply", "--dest=org.suspendd1",
                               "/org/suspendd1", interface + "." + member] + list(arguments), user=user,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, encoding="utf-8")
        return done.stdout

    def test_the_policy_lets_what_it_names_through_and_nothing_else(self):
        properties, manager = "org.freedesktop.DBus.Properties", "org.suspendd1.Manager"
        said = self.call(properties, "Get", "string:" + manager, "string:State", user=NOBODY)
        self.assertIn('"idle"', said)
        self.assertIn("Only root may do this.", self.call(manager, "Reload", user=NOBODY))
        self.assertIn("Rejected send message", self.call(manager, "NoSuchThing", user=NOBODY))
        self.assertIn("Rejected send message", self.call(properties, "Set", user=NOBODY))
        self.assertIn("Cannot reload the configuration: line 3 makes no sense", self.call(manager, "Reload"))

    def test_the_policy_names_every_method(self):
        with open(os.path.join(SOURCE, "conf/org.suspendd1.conf")) as f:
            policy = f.read()
        for path in ["/org/suspendd1", "/org/suspendd1/machine/vm1"]:
            for line in self.busctl("introspect", "org.suspendd1", path).stdout.splitlines():
                words = line.split()
                if words[1] == "interface":
                    interface = words[0]
                elif words[1] == "method" and words[0] != ".Set":
                    self.assertRegex(policy, r'send_interface="%s"\s+send_member="%s"' % (interface, words[0][1:]))


class Objects(Case):
    """The objects on the bus."""

    busctl = Rights.busctl

    def test_machines_are_in_the_tree_and_managed(self):
        tree = self.busctl("tree", "--list", "org.suspendd1").stdout.split()
        self.assertIn("/org/suspendd1/machine/vm1", tree)
        self.assertEqual(len([x for x in tree if x.startswith("/org/suspendd1/machine/")]), 4)
        done = self.busctl("--json=short", "call", "org.suspendd1", "/org/suspendd1", "org.freedesktop.DBus.ObjectManager",
                           "GetManagedObjects")
        objects = json.loads(done.stdout)["data"][0]
        machine = objects["/org/suspendd1/machine/web_201_2fa"]["org.suspendd1.Machine"]
        self.assertEqual((machine["Id"]["data"], machine["Plan"]["data"]), ("web 1/a", "nothing"))

    def test_a_machine_is_found_by_its_id(self):
        done = self.busctl("call", "org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager", "GetMachine", "s", "vm2")
        self.assertEqual(done.stdout, 'o "/org/suspendd1/machine/vm2"\n')
        done = self.busctl("call", "org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager", "GetMachine", "s", "vm3")
        self.assertIn("No machine is called vm3.", done.stderr)
        done = self.busctl("get-property", "org.suspendd1", "/org/suspendd1/machine/vm3", "org.suspendd1.Machine", "Id")
        self.assertNotEqual(done.returncode, 0)

    def test_changes_are_told(self):
        lines = Lines(self, ["busctl", "--address=unix:path=" + self.bus.path, "--json=short", "monitor",
                             "--match=type='signal',sender='org.suspendd1'"])
        # What it sees first is that it listens.
        wait_for(lambda: self.good("mode", "vm2", "pause") and lines.waiting(0.2), "the monitor")
        self.good("mode", "vm1", "block")
        self.good("register", "--name=new", "/run/new.qmp")
        self.good("unregister", "new")

        wanted = {("PropertiesChanged", "/org/suspendd1/machine/vm1"), ("PropertiesChanged", "/org/suspendd1"),
                  ("InterfacesAdded", "/org/suspendd1"), ("MachineAdded", "/org/suspendd1"),
                  ("InterfacesRemoved", "/org/suspendd1"), ("MachineRemoved", "/org/suspendd1")}
        changed = {}
        while wanted:
            message = lines.next()
            wanted.discard((message.get("member"), message.get("path")))
            if message.get("member") == "PropertiesChanged":
                changed.setdefault(message["path"], {}).update(message["payload"]["data"][1])
        self.assertEqual(changed["/org/suspendd1/machine/vm1"]["Mode"]["data"], "block")
        self.assertEqual(changed["/org/suspendd1/machine/vm1"]["Plan"]["data"], "nothing")
        self.assertIn("vm1", changed["/org/suspendd1"]["Blocking"]["data"])


if __name__ == "__main__":
    unittest.main()
