# SPDX-License-Identifier: LGPL-2.1-or-later
"""A system bus of a test's own, with the project's policy, and suspendctl on it."""

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("SUSPENDD_BUILD", os.path.join(SOURCE, "build"))
COMMAND = os.path.join(BUILD, "src/cli/suspendctl")
LIMIT = 20

BUS = """<busconfig>
<type>system</type> <listen>unix:path=%s</listen> <auth>EXTERNAL</auth>
<policy context="default">
  <allow user="*"/> <deny own="*"/> <deny send_type="method_call"/>
  <allow send_type="signal"/>
  <allow send_requested_reply="true" send_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/> <allow receive_type="method_return"/>
  <allow receive_type="error"/> <allow receive_type="signal"/>
  <allow send_destination="org.freedesktop.DBus"/>
</policy>
<policy user="root">
  <allow own="org.freedesktop.login1"/> <allow own="org.freedesktop.systemd1"/> <allow own="org.suspendd.FakeLogin1"/>
  <allow send_destination="*"/>
</policy>
<servicedir>%s</servicedir>
<include>%s/conf/org.suspendd1.conf</include>
</busconfig>
"""


def wait_for(predicate, what):
    """Calls predicate() until it gives something true, and returns that."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        value = predicate()
        if value:
            return value
        select.select([], [], [], 0.02)
    raise AssertionError("not within %d s: %s" % (LIMIT, what))


class Bus:
    """A system bus with the project's own policy."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="suspendd-cli-")
        os.chmod(self.folder, 0o755)
        self.path = os.path.join(self.folder, "bus")
        self.started = os.path.join(self.folder, "started")
        self._config = os.path.join(self.folder, "bus.conf")
        with open(self._config, "w") as f:
            f.write(BUS % (self.path, self.folder, SOURCE))
        with open(os.path.join(self.folder, "org.suspendd1.service"), "w") as f:
            f.write("[D-BUS Service]\nName=org.suspendd1\nExec=/usr/bin/touch %s\n" % self.started)
        self.start()

    def start(self):
        """Starts the bus, also in the place of one that was killed."""
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.process = subprocess.Popen(["dbus-daemon", "--nofork", "--config-file=" + self._config],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._listens, "the bus")

    def _listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.path) == 0

    def environment(self, **more):
        """For whoever shall use this bus."""
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "SYSTEMD_COLORS", "COLUMNS")}
        return {**env, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + self.path, "LC_ALL": "C.UTF-8", "TERM": "xterm", **more}

    def stop(self):
        """Ends the bus; the folder goes with it."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


class BusCase(unittest.TestCase):
    """One bus for a class."""

    quick = True

    @classmethod
    def setUpClass(cls):
        cls.bus = Bus()
        cls.addClassCleanup(cls.bus.stop)

    def ctl(self, *arguments, env=None, user=None):
        """Runs suspendctl to its end."""
        return subprocess.run([COMMAND] + list(arguments), env=self.bus.environment(**(env or {})), user=user,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT,
                              encoding="utf-8")

    def good(self, *arguments, **more):
        """What suspendctl prints, when all is well."""
        done = self.ctl(*arguments, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def json(self, *arguments):
        """What suspendctl prints with --json."""
        return json.loads(self.good("--json", *arguments))

    def code(self, *arguments, **more):
        """Exit status; whoever fails says why."""
        done = self.ctl(*arguments, **more)
        if done.returncode not in (0, 6):
            self.assertRegex(done.stderr, r"\Asuspendctl: ")
        return done.returncode
