# SPDX-License-Identifier: LGPL-2.1-or-later
"""Doorbells of the real service: VMMs that stay connected, and are rung, over its restarts and its death."""

import errno
import itertools
import os
import re
import select
import shutil
import socket
import struct
import time

from lab import Qemu, wait_for
from _suspendd import BUILD, UNIT, Suspendd, SuspenddCase, start_host

PAGES = "/run/suspendd/pages"
CONFIG = "[Manager]\nPlugins=page\n[Plugin page]\nPage=vm root 2\nPage=theirs nobody\n"


def attempt(folder, uid, name):
    """What another user gets to at a page, in a process of his own: "both" its socket and its file, "neither", or one."""
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        os.setgroups([])
        os.setresuid(uid, uid, uid)
        got = 0
        try:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(10)
            s.connect(name + ".sock")
            got = 1 if len(s.recv(8)) == 8 else 0
        except OSError:
            pass
        try:
            os.open(name, os.O_RDWR)
            got |= 2
        except OSError:
            pass
        os._exit(got)
    return ("neither", "the socket", "the file", "both")[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]


class Client:
    """A VMM as the protocol has it, but for the VM: it looks at its eventfd when it is asked to."""

    def __init__(self, path, n_vectors=2):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.told = [self.receive() for _ in range(3 + n_vectors)]
        self.id = self.told[1][0]
        self.memory = self.told[2][1]
        self.event = self.told[3][1]

    def receive(self):
        """One message: its number, and the descriptor that came with it or None."""
        data, fds, _, _ = socket.recv_fds(self.socket, 8, 2)
        if len(data) != 8:
            raise EOFError("%d bytes" % len(data))
        return struct.unpack("<q", data)[0], fds[0] if fds else None

    def is_rung(self):
        """Whether it has been since it was last asked, within a moment."""
        if not select.select([self.event], [], [], 2)[0]:
            return False
        os.read(self.event, 8)
        return True

    def is_hung_up_on(self):
        """Whether the server has ended the connection."""
        readable = select.select([self.socket], [], [], 2)[0]
        return bool(readable) and self.socket.recv(8) == b""

    def close(self):
        """Goes, with all that it was given."""
        self.socket.close()
        for _, fd in self.told:
            if fd is not None:
                os.close(fd)
        self.told = []


class Vm(Qemu):
    """A QEMU with the device, and nothing but its firmware in it."""

    def __init__(self, host, name, path, paused=True):
        super().__init__(host.scratch, name, host, kind="none", paused=paused, extra=[
            "-m", "16", "-chardev", "socket,id=bell,path=" + path,
            "-device", "ivshmem-doorbell,chardev=bell,vectors=2"])

    def arguments(self):
        return [{"none": "q35"}.get(x, x) if before == "-machine" else x
                for before, x in zip([""] + super().arguments(), super().arguments())]


def eventfds(pid):
    """What a process has open of them: how often each has been rung and nobody has read it, by its number."""
    found = {}
    for fd in os.listdir("/proc/%d/fdinfo" % pid):
        try:
            with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                text = f.read()
        except FileNotFoundError:
            continue
        number, count = (re.search(r"^eventfd-%s:\s*([0-9a-f]+)" % x, text, re.M) for x in ("id", "count"))
        if number:
            found[int(number.group(1))] = int(count.group(1), 16)
    return found


class Doorbell(SuspenddCase):
    """The service with two pages: root's, and another user's. Nobody is connected when a test begins."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, CONFIG)
        shutil.copy(os.path.join(BUILD, "tests/plugins/page-by-hint.so"),
                    cls.host.path("/usr/lib/suspendd/plugins/page.so"))
        cls.numbers = itertools.count()
        cls.path = cls.host.path(PAGES + "/vm.sock")

    def setUp(self):
        self.suspendd.configure(CONFIG)
        self.host.systemctl("start", UNIT)
        self.wait_kept(2)

    def kept(self):
        """How many descriptors systemd holds for the service."""
        return int(self.host.unit_property(UNIT, "NFileDescriptorStore"))

    def wait_kept(self, n):
        """Waits until that is so: it is told, and takes its time."""
        wait_for(lambda: self.kept() == n, 10, "%d descriptors kept" % n, interval=0.05)

    def open_fds(self):
        """How many the daemon has open."""
        return len(os.listdir("/proc/%d/fd" % self.suspendd.pid()))

    def ring(self):
        """Rings the doorbell of vm."""
        self.suspendd.ctl("notify", "page", "look", "vm")

    def client(self):
        """One that is connected, until the test ends."""
        c = Client(self.path)
        self.addCleanup(c.close)
        return c

    def vm(self):
        """A QEMU that is connected, until the test ends."""
        kept = self.kept()
        vm = Vm(self.host, "vm%d" % next(self.numbers), self.path).start()
        self.addCleanup(vm.kill)
        self.wait_kept(kept + 2)
        return vm

    def restart(self):
        self.host.systemctl("restart", UNIT)

    def kill(self):
        pid = self.suspendd.pid()
        self.suspendd.kill()
        self.suspendd.wait_restarted(pid)

    def assert_hears(self, vm):
        """Its device takes note of a ring; while it cannot, the ring stays."""
        def shared():
            return set(eventfds(vm.pid)) & set(eventfds(self.suspendd.pid()))
        wait_for(shared, 5, "an eventfd that is the VMM's and the daemon's", interval=0.02)
        number, = shared()
        vm.freeze()
        try:
            self.ring()
            self.assertEqual(eventfds(vm.pid)[number], 1)
        finally:
            vm.thaw()
        wait_for(lambda: eventfds(vm.pid)[number] == 0, 5, "the VMM to hear", interval=0.02)
        self.assertTrue(vm.running())

    def test_same_eventfd_is_rung_over_restarts_and_kills(self):
        vm, client = self.vm(), self.client()
        self.wait_kept(6)
        self.suspendd.wait_machine(vm.name)
        self.ring()
        self.assertTrue(client.is_rung())
        self.assert_hears(vm)
        client.is_rung()
        fds = self.open_fds()
        for again in (self.restart, self.kill, self.restart, self.kill, self.kill):
            with self.subTest(again=again.__name__):
                again()
                self.assertFalse(select.select([client.event, client.socket], [], [], 0)[0])
                self.ring()
                self.assertTrue(client.is_rung())
                self.assert_hears(vm)
                self.assertTrue(client.is_rung())
                self.assertEqual((self.open_fds(), self.kept()), (fds, 6))
        self.assertNotIn("Traceback", vm.log())

    def test_vmms_come_and_go_after_a_kill_as_before(self):
        first = self.vm()
        self.kill()
        second, client = self.vm(), self.client()
        self.assertEqual(client.id, 2)
        self.wait_kept(8)
        self.assert_hears(first)
        self.assert_hears(second)
        first.kill()
        self.wait_kept(6)
        self.kill()
        second.kill()
        self.wait_kept(4)
        again = self.client()
        self.assertEqual(again.id, 0)
        client.close()
        self.wait_kept(4)

    def test_vmm_that_goes_while_nobody_is_there_is_missed(self):
        vm, client = self.vm(), self.client()
        pid = self.suspendd.pid()
        self.suspendd.kill()
        vm.kill()
        self.suspendd.wait_restarted(pid)
        self.wait_kept(4)
        self.ring()
        self.assertTrue(client.is_rung())

    def test_ring_of_a_life_that_ended_is_not_lost(self):
        client = self.client()
        self.wait_kept(4)
        self.ring()
        self.kill()
        self.assertTrue(client.is_rung())

    def test_page_is_the_memory(self):
        client = self.client()
        at = os.pread(client.memory, 8, 0x800)
        self.assertEqual(at, b"SUSPDRFT")
        publishings = struct.unpack("<Q", os.pread(client.memory, 8, 0x800 + 96))[0]
        self.ring()
        self.assertEqual(struct.unpack("<Q", os.pread(client.memory, 8, 0x800 + 96))[0], publishings + 1)

    def test_owner_may_and_nobody_else(self):
        folder = self.host.path(PAGES)
        for again in range(2):
            with self.subTest(again=again):
                self.assertEqual(attempt(folder, 65534, "theirs"), "both")
                self.assertEqual(attempt(folder, 65534, "vm"), "neither")
                self.assertEqual(attempt(folder, 12345, "theirs"), "neither")
                self.assertEqual(attempt(folder, 0, "theirs"), "both")
                self.restart()

    def test_thousand_clients_leave_nothing_and_hold_up_nobody(self):
        client = self.client()
        self.wait_kept(4)
        fds, longest = self.open_fds(), 0
        for i in range(1000):
            c = socket.socket(socket.AF_UNIX)
            c.connect(self.path)
            if i % 3 == 0:
                c.send(b"x" * 100)
            if i % 3 == 1:
                c.recv(8)
            c.close()
            if i % 100 == 0:
                began = time.monotonic()
                self.assertEqual(self.host.unit_property(UNIT, "ActiveState"), "active")
                self.ring()
                longest = max(longest, time.monotonic() - began)
        self.assertTrue(client.is_rung())
        self.wait_kept(4)
        wait_for(lambda: self.open_fds() == fds, 5, "the descriptors of before", interval=0.05)
        self.assertLess(longest, 5)

    def test_what_no_plugin_wants_is_given_up(self):
        client = self.client()
        self.wait_kept(4)
        self.suspendd.configure("")
        self.restart()
        self.wait_kept(0)
        self.assertTrue(client.is_hung_up_on())
        late = socket.socket(socket.AF_UNIX)
        self.addCleanup(late.close)
        self.assertEqual(late.connect_ex(self.path), errno.ECONNREFUSED)


class Rehearsal(SuspenddCase):
    """The service as it is installed: what it tells of a machine's time rings the doorbell of its page."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, "[Manager]\nPlugins=page\n[Plugin page]\nPage=vm\n").start()

    def test_cycle_rings_and_so_does_one_after_a_kill(self):
        path = self.host.path(PAGES + "/vm.sock")
        vm = Vm(self.host, "vm", path, paused=False).start()
        self.addCleanup(vm.kill)
        client = Client(path, 1)
        self.addCleanup(client.close)
        unseen = 0
        for _ in range(2):
            self.suspendd.wait_machine("vm", run_state="running")
            self.assertFalse(select.select([client.event], [], [], 0)[0])
            self.suspendd.ctl("rehearse", "--for=200ms")
            self.assertTrue(client.is_rung())
            before, unseen = unseen, struct.unpack("<Q", os.pread(client.memory, 8, 0x800 + 40))[0]
            self.assertGreaterEqual(unseen - before, 200000000)
            pid = self.suspendd.pid()
            self.suspendd.kill()
            self.suspendd.wait_restarted(pid)
