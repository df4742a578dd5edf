# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as it is, with the fake plugin (tests/engine/fake-module.c), on a bus of its own with the fake logind."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from _bus import BUILD, LIMIT, BusCase, wait_for

DAEMON = os.path.join(BUILD, "src/daemon/suspendd")
LOGIN1 = os.path.join(BUILD, "tests/fake/fake-login1")


class DaemonCase(BusCase):
    """One daemon for a test, with the plugins in .modules (name: file of the build). The one that is called .plugin is
    the fake one, and has the machine .machine."""

    machine = ""
    modules = {"fake": "tests/engine/fake.so"}
    plugin = "fake"
    has_logind = True  # from the beginning

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root may change anything, and own the name")
        self.folder = tempfile.mkdtemp(prefix="suspendd-plugin-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.config, self.log_path = self.path("suspendd.conf"), self.path("log")
        os.mkdir(self.path("plugins"))
        for name, module in self.modules.items():
            shutil.copy(os.path.join(BUILD, module), self.path("plugins/%s.so" % name))
        self.configure(self.machine)
        self.status = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.status.close)
        self.status.bind(self.path("notify"))
        self.status.settimeout(LIMIT)
        if self.has_logind:
            self.start_logind()
        with open(self.log_path, "wb") as log:
            self.daemon = self.spawn([DAEMON, "--config=" + self.config, "--plugin-dir=" + self.path("plugins")],
                                     stderr=log)
        self.wait_status("READY=1")

    def path(self, name):
        """A file of this test's."""
        return os.path.join(self.folder, name)

    def spawn(self, arguments, **options):
        """Starts a program on the test's bus that ends with the test."""
        child = subprocess.Popen(arguments, env=self.bus.environment(
            NOTIFY_SOCKET=self.path("notify"), RUNTIME_DIRECTORY=self.path("run"), STATE_DIRECTORY=self.path("state")),
            **options)
        self.addCleanup(lambda: (child.kill(), child.wait()))
        return child

    def start_logind(self):
        """Starts the fake logind."""
        self.spawn([LOGIN1])
        self.wait_status("READY=1")

    def configure(self, *lines, manager="", more=""):
        """Writes the configuration: lines of the fake plugin's section, of [Manager], and what comes before."""
        with open(self.config, "w") as f:
            f.write("[Manager]\nPlugins=\nPlugins=%s\n%s\n%s\n[Plugin %s]\n%s\n" %
                    (" ".join(self.modules), manager, more, self.plugin, "\n".join(lines)))

    def reload(self, *lines, **more):
        """Has the daemon read another configuration, and waits until it has."""
        self.configure(*lines, **more)
        self.daemon.send_signal(signal.SIGHUP)
        self.wait_status("RELOADING=1")
        self.wait_status("READY=1")

    def wait_status(self, part):
        """The first word to systemd, from now on, that has @part in it."""
        while True:
            text = self.status.recv(4096).decode()
            if part in text:
                return text

    def log(self):
        """What the daemon has logged."""
        with open(self.log_path) as f:
            return f.read()

    def wait_log(self, part):
        """Waits until the daemon has logged @part."""
        wait_for(lambda: part in self.log(), part)
