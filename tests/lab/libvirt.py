# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real libvirtd on the lab's host, by its own units and with the configuration of its package; see domain.py
for what runs on it."""

import datetime
import os
import re
import shutil
import signal as signals
import subprocess
import threading
import time

from .images import guest_image
from .sleephost import DIES_WITH_PARENT
from .util import LabError, LabUnavailable, alive, wait_for

UNIT = "libvirtd.service"
SOCKETS = ["libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"]
IMAGES = "/var/lib/libvirt/images"  # where a user's images are, which QEMU's own user can reach
SESSION_UNIT = """[Service]
ExecStart=/usr/sbin/libvirtd --timeout=120
User={user}
Slice=user-{uid}.slice
KillMode=process
Environment=HOME=/home/{user} XDG_RUNTIME_DIR=/run/user/{uid}
"""
LINE = re.compile(r"^(\S+ [0-9:.]+[+-]\d+): event '([^']*)' for domain '(.*?)'(?:: (.*))?$")
PROBE = "lab-probe"
PROBE_XML = "<domain type='qemu'><name>%s</name><memory unit='MiB'>1</memory>" \
            "<os><type arch='x86_64'>hvm</type></os></domain>" % PROBE

# A firmware that is nothing but: stop the timer chip, halt. A machine with it needs no CPU time at all, where
# SeaBIOS without a boot device is woken 18 times a second by that chip.
IDLE_ROM_CODE = bytes.fromhex("fa b030 e643 e640 e640 f4 ebfd")


def idle_rom():
    """That firmware: 64 KiB, of which the CPU starts at the last 16 bytes."""
    rom = bytearray(b"\xf4" * 65536)
    rom[0xfff0:0xfff0 + len(IDLE_ROM_CODE)] = IDLE_ROM_CODE
    return bytes(rom)


class Events:
    """What `virsh event` has told: .seen = [(realtime, domain, "lifecycle Suspended Paused")]."""

    def __init__(self, libvirt):
        self.seen = []
        self.closed = self._listens = False
        self._changed = threading.Condition()
        self._process = libvirt.popen("event", "--all", "--loop", "--timestamp", stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            wait_for(lambda: self._probe(libvirt), 20, "virsh event listens")
        except LabError:
            self.close()
            raise

    def _probe(self, libvirt):
        """Defines and undefines a domain of our own; once that is seen, the watch has begun."""
        libvirt.virsh_xml("define", PROBE, PROBE_XML)
        libvirt.virsh("undefine", PROBE)
        with self._changed:
            return self._changed.wait_for(lambda: self._listens, 0.2)

    def _read(self):
        for line in self._process.stdout:
            found = LINE.match(line.rstrip("\n"))
            if not found:
                continue
            stamp, event, domain, more = found.groups()
            with self._changed:
                if domain == PROBE:
                    self._listens |= more.startswith("Undefined")
                else:
                    when = datetime.datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S.%f%z").timestamp()
                    self.seen.append((when, domain, ("%s %s" % (event, more or "")).strip()))
                self._changed.notify_all()
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def mark(self):
        """How many events there were until now, for since= of the others."""
        return len(self.seen)

    def find(self, domain, event, since=0):
        """The time (CLOCK_REALTIME, s) of the domain's first event after the mark that begins so, or None."""
        return next((t for t, d, e in self.seen[since:] if d == domain and e.startswith(event)), None)

    def wait(self, domain, event, timeout, since=0):
        """The time of the domain's first event after the mark that begins so ("lifecycle Suspended"); waits for it."""
        with self._changed:
            self._changed.wait_for(lambda: self.find(domain, event, since) or self.closed, timeout)
        when = self.find(domain, event, since)
        if when is None:
            raise LabError("no %s of %s within %g s, seen: %s" % (event, domain, timeout, self.seen[since:]))
        return when

    def of(self, domain, since=0):
        """The domain's events after the mark, in order, without their times."""
        return [e for _, d, e in self.seen[since:] if d == domain]

    def close(self):
        """Ends the watch."""
        self._process.kill()
        self._process.wait(5)
        self._reader.join(5)
        self._process.stdout.close()


class Libvirt:
    """libvirtd of one host: the system's, or with user= the session daemon of an ordinary user, who is made.

    Its domains' QEMUs are processes of the host and end with it. What they read lies in .images, their
    consoles and control lines in .own, a folder of the scratch folder.
    """

    def __init__(self, host, user=None):
        self.host, self.user = host, user
        self.uid = 0
        self.unit = UNIT if user is None else "libvirtd-%s.service" % user
        self.images = IMAGES
        self.own = host.scratch.sub("own" if user is None else "own-" + user)
        self.kernel, self.initrd = IMAGES + "/lab-vmlinuz", IMAGES + "/lab-initrd"
        self.idle_rom = IMAGES + "/lab-idle.rom"
        self.ready_seconds = None

    # life

    def start(self, timeout=20):
        """Starts it and waits until it answers. LabUnavailable where its packages are not installed."""
        begin = time.monotonic()
        for program in ("/usr/sbin/libvirtd", "/usr/bin/virsh", "/usr/bin/qemu-system-x86_64"):
            if not self.host.exists(program):
                raise LabUnavailable("no %s on the host" % program)
        self._put_images()
        if self.user:
            self._start_session()
        else:
            self._unmask()
            self.host.systemctl("start", "virtlogd.socket", *SOCKETS)
            self.host.systemctl("start", UNIT)
        self.wait_up(timeout)
        self.ready_seconds = time.monotonic() - begin
        return self

    def _put_images(self):
        """Copies what the domains boot to where QEMU's own user, who has no way into /root, can read it."""
        folder = self.host.path(self.images)
        os.makedirs(folder, exist_ok=True)
        for source, name in zip(guest_image(), (self.kernel, self.initrd)):
            if not self.host.exists(name):
                shutil.copy(source, self.host.path(name))
                os.chmod(self.host.path(name), 0o644)
        with open(self.host.path(self.idle_rom), "wb") as f:
            f.write(idle_rom())

    def _unmask(self):
        """Undoes what enter.sh does to services of the root that it does not know."""
        folder = self.host.path("/etc/systemd/system")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name.startswith(("libvirtd", "virtlogd", "virtlockd")) and os.path.islink(path) and \
                    os.readlink(path) == "/dev/null":
                os.unlink(path)
        # Tests kill it more often than five times in ten seconds, after which systemd would leave it dead.
        self.host.write("/run/systemd/system/libvirtd.service.d/lab.conf", "[Unit]\nStartLimitIntervalSec=0\n")
        self.host.systemctl("daemon-reload")

    def _start_session(self):
        """What the first connection of a user's virsh does, but as a unit of the user's slice. The user lingers, so
        that logind has made the runtime folder."""
        if self.host.run("id", "-u", self.user, check=False).returncode:
            self.host.run("useradd", "--create-home", self.user)
            self.host.run("loginctl", "enable-linger", self.user)
        self.uid = int(self.host.run("id", "-u", self.user).stdout)
        os.chown(self.own, self.uid, -1)
        wait_for(lambda: self.host.exists("/run/user/%d/systemd/private" % self.uid), 10, "session of " + self.user)
        self.host.write("/run/systemd/system/" + self.unit, SESSION_UNIT.format(user=self.user, uid=self.uid))
        self.host.systemctl("daemon-reload")
        self.host.systemctl("start", self.unit)

    def stop(self):
        """Stops it, and what would start it again. Domains run on."""
        self.host.systemctl("stop", self.unit, *([] if self.user else SOCKETS))

    def kill(self, signal="KILL"):
        """Sends its main process a signal. systemd starts the system's daemon again, nobody a user's."""
        self.host.systemctl("kill", "--kill-whom=main", "-s", signal, self.unit)

    def restart(self):
        """Restarts it as an upgrade does."""
        self.host.systemctl("restart", self.unit)

    def freeze(self):
        """SIGSTOP: it takes connections and answers nothing."""
        os.kill(self.pid(), signals.SIGSTOP)

    def thaw(self):
        """SIGCONT."""
        os.kill(self.pid(), signals.SIGCONT)

    def wait_up(self, timeout=20):
        """Waits until it answers."""
        def answers():
            try:
                return self.virsh("list", check=False, timeout=timeout).returncode == 0
            except LabError:
                return False
        wait_for(answers, timeout, "libvirtd answers", interval=0.05)

    def wait_restarted(self, old_pid, timeout=30):
        """Waits until another process answers."""
        wait_for(lambda: self.pid() not in (None, old_pid), timeout, "another libvirtd", interval=0.05)
        self.wait_up(timeout)

    def pid(self):
        """Its main process as this machine counts, or None."""
        return self.host.unit_pid(self.unit)

    def log(self):
        """What it said."""
        return self.host.journal("-u", self.unit)

    # clients

    @property
    def socket(self):
        """The path of its socket, on the host."""
        return "/run/user/%d/libvirt/libvirt-sock" % self.uid if self.user else "/run/libvirt/libvirt-sock"

    @property
    def uri(self):
        """What it is called by its own user."""
        return "qemu:///session" if self.user else "qemu:///system"

    @property
    def uri_for_root(self):
        """By what root reaches it; a user's needs no more than the right to open the socket."""
        return self.uri + ("?socket=" + self.socket if self.user else "")

    def _command(self, arguments):
        """virsh as its own user, whatever the words; and the environment it needs."""
        command = ["virsh", "-q", "-c", self.uri] + list(arguments)
        if not self.user:
            return command, {}
        home = {"HOME": "/home/" + self.user, "XDG_RUNTIME_DIR": "/run/user/%d" % self.uid}
        become = ["setpriv", "--reuid", self.user, "--regid", self.user, "--init-groups", "--"]
        return become + DIES_WITH_PARENT + command, home  # said anew, the kernel forgets it with the user

    def virsh(self, *arguments, timeout=60, check=True):
        """virsh on the host, as the daemon's own user; the CompletedProcess. LabError if it fails."""
        command, env = self._command(arguments)
        return self.host.run(*command, timeout=timeout, check=check, env=env)

    def virsh_xml(self, verb, name, xml, *arguments, **more):
        """virsh VERB with a domain's XML, which is kept as .own/NAME.xml."""
        path = os.path.join(self.own, name + ".xml")
        with open(path, "w") as f:
            f.write(xml)
        return self.virsh(verb, path, *arguments, **more)

    def max_workers(self):
        """How many calls the system's libvirtd carries out at a time, by its own word."""
        told = self.host.run("/usr/bin/virt-admin", "-c", "libvirtd:///system", "server-threadpool-info", "libvirtd")
        return int(re.search(r"^maxWorkers *: (\d+)$", told.stdout, re.MULTILINE).group(1))

    def popen(self, *arguments, **more):
        """virsh as a process of its own."""
        command, env = self._command(arguments)
        return self.host.popen(command, env=env, **more)

    def events(self):
        """A watch on the events of all domains."""
        return Events(self)

    def names(self):
        """The names of all active domains."""
        return [x for x in self.virsh("list", "--name").stdout.splitlines() if x]

    def qemu_pid(self, name):
        """The QEMU of a domain as this machine counts, or None."""
        run = "/run/user/%d/libvirt/qemu/run" % self.uid if self.user else "/run/libvirt/qemu"
        try:
            pid = self.host.outer_pid(int(self.host.read("%s/%s.pid" % (run, name))))
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid and alive(pid) else None
