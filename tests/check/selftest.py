#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checks see what they are for: each is shown a broken file and the same file mended."""

import argparse
import json
import os
import re
import shutil
import tempfile
import threading
import unittest

import _docs
import _faults
import _text
import _tools
import _units
from _tree import ROOT, Tree, Unavailable
from run import Suite, run_suite
from runner import schedule
from runner.faults import IDS, count, rows_of
from runner.results import FAILED, PASSED, SKIPPED, Report

SPDX = "/* SPDX-License-Identifier: LGPL-2.1-or-later */\n"


class CheckTest(unittest.TestCase):
    """A small tree for each test."""

    quick = True

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="suspendd-check-")
        self.addCleanup(shutil.rmtree, self.root)
        for name in (".clang-format", ".clang-tidy"):
            shutil.copy(os.path.join(ROOT, name), self.root)

    def write(self, name, text):
        """Puts a file into the tree."""
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def problems(self, check):
        """What a check finds; skips the test where the check cannot be made."""
        try:
            return check(Tree(self.root))
        except Unavailable as reason:
            self.skipTest(str(reason))

    def assert_sees(self, check, name, bad, good):
        """The check finds a problem in @name as long as it holds @bad."""
        self.write(name, bad)
        found = self.problems(check)
        self.assertTrue(found and name.split("/")[-1] in found[0], found)
        self.write(name, good)
        self.assertEqual(self.problems(check), [])

    def test_licence_line(self):
        self.assert_sees(_text.licence_lines, "src/common/a.c", "int a;\n", SPDX)
        self.assert_sees(_text.licence_lines, "src/plugins/plugin-api.h", SPDX,
                         "/* SPDX-License-Identifier: MIT-0 */\n")

    def test_blanks(self):
        for bad in ("a \n", "a\t\n", "a", "a\n\n", "a\r\n"):
            self.assert_sees(_text.blanks, "x.md", bad, "a\n")

    def test_unfinished(self):
        self.assert_sees(_text.unfinished, "src/a.c", "/* TO" + "DO */\n", "/* todolist */\n")

    def test_layers(self):
        def include(name):
            return '#include "%s"\n' % name
        for name, bad, good in (
                ("common/a.c", "daemon/b.h", "common/b.h"),
                ("daemon/a.c", "plugins/qmp/b.h", "plugins/plugin-api.h"),
                ("daemon/b.c", "cli/b.h", "daemon/c.h"),
                ("cli/a.c", "daemon/b.h", "common/b.h"),
                ("plugins/qmp/a.c", "daemon/b.h", "plugins/qmp/b.h"),
                ("plugins/qmp/b.c", "plugins/libvirt/b.h", "common/b.h"),
                ("guest/a.c", "common/macro.h", "common/page-layout.h"),
                ("plugins/plugin-api.h", "common/macro.h", "-")):
            self.assert_sees(_text.layers, "src/" + name, include(bad), include(good))
        self.assert_sees(_text.layers, "src/common/a.c", "#include <syslog.h>\n", "#include <stdio.h>\n")

    def test_own_header_first(self):
        self.write("src/common/a.h", SPDX)
        self.assert_sees(_text.own_header_first, "src/common/a.c", '#include <stdio.h>\n#include "common/a.h"\n',
                         '#include "common/a.h"\n#include <stdio.h>\n')

    def test_headers_guard(self):
        self.assert_sees(_text.headers_guard, "src/a.h", SPDX, SPDX + "#pragma once\n")

    def test_settings(self):
        code = 'if (str_equal(key, "Size"))\n        return parse_size(*value ? value : "4M", &size);\n'
        self.write("src/daemon/config.c", code)
        self.write("man/suspendd.conf.5", ".It Va Size Ns =\n")
        for bad in ("", "#Size=5M\n", "#Size=4M\n#Colour=\n"):
            self.assert_sees(_docs.settings, "conf/suspendd.conf", "# one line\n" + bad, "#Size=4M\n")
        self.assert_sees(_docs.settings, "man/suspendd.conf.5", ".It Va Other Ns =\n", ".It Va Size Ns =\n")
        self.write("src/plugins/own/servers.c", 'if (!str_equal(s->key, "URI"))\n')
        self.write("conf/suspendd.conf", "#Size=4M\n#URI=\n")
        self.assertEqual(self.problems(_docs.settings), ["man/suspendd.conf.5:1: lacks setting URI"])
        self.write("man/suspendd-own.8", ".It Va URI Ns =\n")
        self.assertEqual(self.problems(_docs.settings), [])

    def test_options(self):
        self.write("src/cli/main.c", '{ "all", no_argument, NULL, 0 },\n')
        self.write("src/daemon/main.c", '{ "file", required_argument, NULL, 0 },\n')
        self.write("man/suspendctl.1", ".It Fl a , Fl -all\n")
        self.assert_sees(_docs.options, "man/suspendd.8", ".It Fl -files\n", ".It Fl -file Ns = Ns Ar x\n")

    def test_bus_members(self):
        self.write("src/daemon/bus-manager.c", 'SD_BUS_METHOD_WITH_ARGS(\n        "Reload", SD_BUS_ARGS("s", name))\n')
        self.write("src/daemon/bus-machine.c", 'CHANGING("Name", "s", property_text, name),\n')
        self.assert_sees(_docs.bus_members, "man/suspendd.8", ".Fn Reload\n", ".Fn Reload\n.Va Name\n")

    def test_bus_policy(self):
        self.write("src/daemon/bus-manager.c", 'SD_BUS_METHOD_WITH_ARGS(\n        "Reload", SD_BUS_ARGS("s", name))\n')
        self.write("src/daemon/bus-machine.c", "")
        rule = '<allow send_destination="x"\n       send_interface="org.suspendd1.Manager"\n       send_member="%s"/>\n'
        self.assert_sees(_docs.bus_policy, "conf/org.suspendd1.conf", "", rule % "Reload")
        self.assert_sees(_docs.bus_policy, "conf/org.suspendd1.conf", rule % "Reload" + rule % "Gone", rule % "Reload")

    def test_actions(self):
        self.write("src/daemon/bus-api.h", '#define ACTION_RELOAD "org.suspendd1.reload"\n')
        self.write("man/suspendd.8", ".It Sy org.suspendd1.reload\n")
        action = '<action id="org.suspendd1.%s">\n'
        self.assert_sees(_docs.actions, "conf/org.suspendd1.policy", action % "sync", action % "reload")
        self.assert_sees(_docs.actions, "man/suspendd.8", "", ".It Sy org.suspendd1.reload\n")

    def test_messages(self):
        self.write("src/daemon/messages.h", '#define SUSPENDD_MESSAGE_WOKE "%s"\n' % ("0f" * 16))
        self.write("src/daemon/a.c", "SUSPENDD_MESSAGE_WOKE\n")
        self.assert_sees(_docs.messages, "man/suspendd.8", ".It Li %s\n" % ("0e" * 16), ".It Li %s\n" % ("0f" * 16))

    def test_completions(self):
        self.write("src/cli/main.c", '        { "list", "", "All", 0 },\n        { "all", no_argument, NULL, 0 },\n')
        self.write("src/guest/main.c", "")
        shells = (("suspendctl.bash", "local verbs='%s'\nprintf --%s\n"),
                  ("_suspendctl", "        %s) x\n'--%s[x]'\n"),
                  ("suspendctl.fish", "set -l verbs %s\ncomplete -c suspendctl -l %s\n"))
        for name, text in shells:
            self.write("completions/" + name.replace("suspendctl", "suspend-guest"), "# none\n")
            self.write("completions/" + name, text % ("list", "all"))
        for name, text in shells:
            for bad in (("list", "some"), ("lists", "all"), ("show", "all")):
                self.assert_sees(_docs.completions, "completions/" + name, text % bad, text % ("list", "all"))

    def test_versions(self):
        self.write("meson.build", "project(\n        'x',\n        version: '1.2',\n")
        changelog = "suspendd (%s) unstable; urgency=medium\n\nsuspendd (1.1) unstable; urgency=medium\n"
        self.write("debian/changelog", changelog % "1.2")
        self.assert_sees(_docs.versions, "packaging/suspendd.spec", "Version:  1.1\n", "Version:  1.2\n")
        self.assert_sees(_docs.versions, "debian/changelog", changelog % "1.3", changelog % "1.2-1")

    def faults_table(self, last):
        """A table of faults with all rows, the last of which is shown by @last."""
        shown = {x: "not shown: no reason" for x in IDS}
        shown[IDS[-1]] = last
        return "".join("| %s | it fails | goes on | %s |\n" % x for x in shown.items())

    def test_faults(self):
        self.write("tests/run.py", 'ALL = [\n    Suite("unit", Suites.unit),\n    Suite("integration", Suites.integration),\n]\n')
        self.write("tests/engine/test-cycle.c", "START_TEST(test_a) {\nSTART_TEST(test_b) {\n add(t, test_a);\n")
        self.write("tests/integration/_base.py", "class Base:\n    def test_base(self):\n        pass\n")
        self.write("tests/integration/one.py",
                   "class One(Base):\n    def test_one(self):\n        pass\n    def helper(self):\n        pass\n")
        for bad, good in (
                ("`unit:engine-cycle:test_b`", "`unit:engine-cycle:test_a`"),
                ("`unit:cycle:test_a`", "`unit:engine-cycle:test_a`"),
                ("`unity:engine-cycle:test_a`", "`unit:engine-cycle:test_a`"),
                ("`unit:engine-cycle:test_a` `integration:one.One.helper`", "`integration:one.One.test_one`"),
                ("`integration:two.One.test_one`", "`integration:one.One.test_base`"),
                ("", "not shown: it takes a sun"),
                ("not shown: ", "not shown: it takes a sun"),
                ("as everybody knows", "not shown: it takes a sun")):
            self.assert_sees(_faults.faults, "tests/faults.md", self.faults_table(bad), self.faults_table(good))
        whole = self.faults_table("not shown: it takes a sun")
        lines = whole.splitlines(keepends=True)
        self.assert_sees(_faults.faults, "tests/faults.md", "".join(lines[1:]), whole)
        self.assert_sees(_faults.faults, "tests/faults.md", whole + lines[0], whole)

    def test_faults_are_counted(self):
        rows = rows_of("".join("| L%d | a | b | %s |\n" % x for x in enumerate((
            "`unit:x:test_a` `integration:m.C.test_b`", "`unit:x:test_c`", "`unit:x:test_d`", "`unit:x:test_e`",
            "not shown: why"), 1)))
        units, others = Report("unit"), Report("integration")
        units.add("x:test_a", SKIPPED)
        units.add("x:test_c[3]", PASSED)
        units.add("x:test_d", PASSED)
        units.add("x:test_d[7]", FAILED)
        units.add("x:test_e", SKIPPED)
        others.add("m.C.test_b (n=1)", PASSED)
        self.assertEqual(count([units, others], rows), "faults: 2 rows tested, 1 not shown, with their reasons, 1 failed, "
                                                       "1 not this time (tests/faults.md)")

    def test_suite_whose_build_is_broken_fails_and_others_run(self):
        ran = []
        suites = [Suite("a", lambda *_: ran.append("a"), "plain deb", False, 1),
                  Suite("b", lambda *_: ran.append("b"), "plain", False, 1)]
        reports = [run_suite(x, ["deb"], argparse.Namespace(only="b")) for x in suites]
        self.assertEqual([[x.detail for x in report.outcomes] for report in reports], [["build deb failed"], []])
        self.assertEqual(ran, ["b"])

    def test_suites_run_beside_each_other_as_far_as_the_machine_bears_it(self):
        loads = {"most": 60, "all": 100, "too much": 150, "some": 40, "no more": 1}
        running, seen, gate = set(), [], threading.Event()

        def do(task):
            running.add(task)
            seen.append(set(running))
            if task == "some":
                gate.set()
            if task == "most":
                gate.wait(5)
            running.remove(task)
            return task.upper()
        self.assertEqual(schedule.run(list(loads), loads.get, do), [x.upper() for x in loads])
        self.assertIn({"most", "some"}, seen)
        self.assertEqual(seen[0], {"most"})
        self.assertTrue(all(sum(map(loads.get, x)) <= 100 or len(x) == 1 for x in seen), seen)

    def test_layout(self):
        self.assert_sees(_tools.layout, "src/a.c", "int  a;\n", "int a;\n")

    def test_shell(self):
        self.assert_sees(_tools.shell, "x.sh", '#!/bin/bash\ncd $1\nunused=1\n', '#!/bin/bash\necho "$1"\n')

    def test_manuals(self):
        page = '.\\" x\n.Dd January 1, 2025\n.Dt X 8\n.Os\n.Sh NAME\n.Nm x\n.Nd y\n.Sh DESCRIPTION\nz\n'
        self.assert_sees(_tools.manuals, "man/x.8", page + ".Xx\n", page)

    def test_units(self):
        with open(os.path.join(ROOT, "units/suspendd.service.in")) as f:
            unit = f.read()
        for check, bad in ((_units.units, unit.replace("KillMode", "KillsMode")),
                           (_units.exposure, unit.replace("PrivateNetwork=yes", "PrivateNetwork=no")),
                           (_units.locks, unit.replace("KeyringMode=private\n", "")),
                           (_units.locks, unit.replace("ProtectClock=yes", "ProtectClock=no")),
                           (_units.locks, re.sub(r"(?m)^#.* Protect.*\n", "", unit))):
            self.assertNotEqual(bad, unit)
            self.assert_sees(check, "units/suspendd.service.in", bad, unit)

    def test_locks_whose_reasons_another_unit_has(self):
        less = "".join("%s=yes\n" % x for x in _units.LOCKS if x != "ProtectProc") + "ProtectProc=default\n"
        self.write("units/a.service.in", "# ProtectProc=: it must see them.\n" + less)
        self.assert_sees(_units.locks, "units/b.service.in", less, "# As a.service, which has the reasons.\n" + less)

    def test_cppcheck(self):
        text = SPDX + "int f(void);\nint f(void) {\n        int a[2] = { 0, 0 };\n        return a[%d];\n}\n"
        self.assert_sees(_tools.cppcheck, "src/a.c", text % 2, text % 1)

    def test_tidy_function_size(self):
        def function(n_lines, more=""):
            return SPDX + "int f(int x);\nint f(int x) {\n" + more + "        x += 1;\n" * n_lines \
                + "        return x;\n}\n"
        self.write("build/compile_commands.json", json.dumps([{
            "directory": self.root, "file": "src/a.c", "command": "cc -c src/a.c -o a.o"}]))
        self.assert_sees(_tools.tidy, "src/a.c", function(62), function(50))
        deep = "        if (x) { if (x > 1) { if (x > 2) { if (x > 3) { x = 0; } } } }\n"
        self.assert_sees(_tools.tidy, "src/a.c", function(1, deep), function(1))

    def test_analyzer(self):
        text = SPDX + "#include <stdlib.h>\nvoid f(char *p);\nvoid f(char *p) {\n        free(p);\n%s}\n"
        self.write("build/compile_commands.json", json.dumps([{
            "directory": self.root, "file": "src/a.c", "command": "cc -MD -MF a.d -o a.o -c src/a.c"}]))
        self.assert_sees(_tools.analyzer, "src/a.c", text % "        free(p);\n", text % "")
        self.write("src/a.c", text % "        free(p); /* NOANALYZE: to see whether it is seen */\n")
        self.assertEqual(self.problems(_tools.analyzer), [])


if __name__ == "__main__":
    unittest.main()
