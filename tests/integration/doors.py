# SPDX-License-Identifier: LGPL-2.1-or-later
"""What local users could lead the service to, in the sandbox that it is installed with, on a real host."""

import os
import re
import shutil
import socket
import tempfile
import unittest

from lab import Qemu, wait_for
from _suspendd import UNIT, Suspendd, SuspenddCase, of, start_host

JOE = 65533
# Clears a terminal, sets its title, and begins a line and a field of the journal's.
EVIL = "evil\x1b[2J\x1b]0;owned\x07\x9b31m\nMESSAGE=owned\u202ecod"
# All but the end of a line.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class UsersQemu(Qemu):
    """A QEMU of the user's, with another name than its sockets have."""

    told_name = None

    def arguments(self):
        more = ["-name", "guest=" + self.told_name] if self.told_name else []
        return ["setpriv", "--reuid=%d" % JOE, "--regid=%d" % JOE, "--clear-groups"] + super().arguments() + more


@unittest.skipIf(os.geteuid(), "users are played by root")
class Doors(SuspenddCase):
    """A host, the service as it is installed, and a user with a folder for his machines."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="sdoors-", dir="/run")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.chmod(cls.folder, 0o755)
        cls.joe = cls.make("joe", JOE)
        cls.host = start_host(sleep=1, binds=[cls.folder])
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        os.unlink(cls.host.path("/etc/systemd/system/suspendd.service.d/tmp.conf"))
        cls.host.systemctl("daemon-reload")
        cls.settings = "Socket=%s/*/*.qmp\n" % cls.folder
        cls.suspendd.configure(cls.settings)
        os.chmod(cls.host.scratch.sub("own"), 0o777)
        cls.suspendd.start()

    @classmethod
    def make(cls, name, user, mode=0o755):
        path = os.path.join(cls.folder, name)
        os.mkdir(path)
        os.chown(path, user, user)
        os.chmod(path, mode)
        return path

    def listen(self, path):
        """A socket of root's that nobody but root is to come to."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        self.addCleanup(os.unlink, path)
        listener.listen()
        listener.setblocking(False)
        return listener

    def assert_nobody_came(self, listener):
        with self.assertRaises(BlockingIOError):
            listener.accept()

    def start(self, name, told_name=None):
        vm = UsersQemu(self.host.scratch, name, self.host, kind="none", folder=self.joe)
        vm.told_name = told_name
        self.addCleanup(vm.kill)
        self.addCleanup(lambda: [os.unlink(x) for x in (vm.qmp_path, vm.own_path("mon")) if os.path.exists(x)])
        return vm.start()

    def wait_log(self, text):
        wait_for(lambda: text in self.suspendd.log(), 10, text, interval=0.1)

    def test_users_machine_sleeps_with_the_host(self):
        self.start("web")
        self.assertEqual(self.host.unit_property(UNIT, "PrivateTmp"), "yes", "as it is installed")
        self.suspendd.wait_machine("web", run_state="running")
        self.assertEqual(of(self.suspendd.suspend(), "web")["stood"], "paused")
        self.suspendd.wait_machine("web", run_state="running")

    def test_users_link_leads_to_nobody(self):
        secret = self.listen(os.path.join(self.folder, "secret"))
        for name, target in (("a.qmp", secret.getsockname()), ("b.qmp", "/run/dbus/system_bus_socket"),
                             ("c.qmp", "/run/systemd/private")):
            path = os.path.join(self.joe, name)
            os.symlink(target, path)
            self.addCleanup(os.unlink, path)
            os.chown(path, JOE, JOE, follow_symlinks=False)
            self.wait_log("joe/%s is left out: it is a symbolic link in another user's directory" % name)
        told = self.suspendd.ctl("register", os.path.join(self.joe, "a.qmp"), check=False)
        self.assertNotEqual(told.returncode, 0)
        self.assertIn("symbolic link in another user's directory", told.stderr)
        self.assert_nobody_came(secret)
        self.assertEqual(self.suspendd.json("list"), [])

    def test_agents_link_leads_to_nobody(self):
        secret = self.listen(os.path.join(self.folder, "secret"))
        path = os.path.join(self.joe, "web.qga")
        os.symlink(secret.getsockname(), path)
        self.addCleanup(os.unlink, path)
        self.start("web")
        self.suspendd.wait_machine("web", run_state="running")
        self.wait_log("Cannot connect to the guest agent at %s: it is a symbolic link" % path)
        self.assert_nobody_came(secret)

    def test_directory_that_all_may_write_is_left_out_until_it_is_mended(self):
        self.make("open", 0, 0o1777)
        self.addCleanup(shutil.rmtree, os.path.join(self.folder, "open"))
        listener = self.listen(os.path.join(self.folder, "open", "a.qmp"))
        os.chown(listener.getsockname(), JOE, JOE)
        self.wait_log("open/a.qmp is left out: it is another user's, in a directory where all may put what they like")
        self.assert_nobody_came(listener)
        os.chmod(os.path.join(self.folder, "open"), 0o755)

        def has_come():
            try:
                listener.accept()[0].close()
                return True
            except BlockingIOError:
                return False
        wait_for(has_come, 5, "the service", interval=0.05)

    def test_configuration_that_others_may_write_is_refused_by_name(self):
        path = "/etc/suspendd/suspendd.conf.d/evil.conf"
        self.host.write(path, "[Plugin qmp]\nSocket=/run/*/private\n", 0o666)
        self.addCleanup(os.unlink, self.host.path(path))
        self.assertNotEqual(self.host.systemctl("reload", UNIT, check=False).returncode, 0)
        self.wait_log("%s is not read: others may write to it" % path)
        os.chmod(self.host.path(path), 0o644)
        os.chown(self.host.path(path), JOE, JOE)
        self.assertNotEqual(self.host.systemctl("reload", UNIT, check=False).returncode, 0)
        self.wait_log("%s is not read: it is not root's" % path)

    def test_state_that_others_may_write_is_not_used(self):
        for variable, other in (("RUNTIME_DIRECTORY", "STATE_DIRECTORY"), ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")):
            for folder in ("/run/open", "/run/shut"):
                os.makedirs(self.host.path(folder), exist_ok=True)
                self.addCleanup(shutil.rmtree, self.host.path(folder), True)
            os.chmod(self.host.path("/run/open"), 0o777)
            told = self.host.run("env", variable + "=/run/open", other + "=/run/shut", "/usr/lib/suspendd/suspendd",
                                 check=False, timeout=10)
            with self.subTest(variable=variable):
                self.assertEqual(told.returncode, 1)
                self.assertIn("/run/open is not used: others may write to it", told.stderr)

    def strings(self, value):
        """All the texts in what busctl told."""
        if isinstance(value, (list, tuple)):
            return [text for x in value for text in self.strings(x)]
        return [value] if isinstance(value, str) else []

    def test_name_reaches_no_terminal_as_it_is(self):
        self.start("plain", EVIL)

        def machines():
            return [x["name"] for x in self.suspendd.json("list")]
        wait_for(lambda: any("evil" in x for x in machines()), 10, "the machine", interval=0.1)
        number = str(self.suspendd.suspend()["number"])
        told = {"log": self.suspendd.log()}
        for command in (("list",), ("show",), ("status",), ("history", number), ("list", "--json")):
            told[" ".join(command)] = self.suspendd.ctl(*command).stdout
        told["bus"] = "\n".join(self.strings(self.host.busctl(
            "call", "org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager", "ListMachines")))
        for where, text in told.items():
            with self.subTest(where=where):
                self.assertEqual(CONTROL.findall(text), [])
                if where != "status":
                    self.assertIn("evil", text)
        self.assertEqual(self.host.journal("-u", UNIT, "MESSAGE=owned", "-o", "cat").strip(), "")
