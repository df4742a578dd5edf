# SPDX-License-Identifier: LGPL-2.1-or-later
"""The outer machine: a Debian system in a QEMU that really suspends to RAM and wakes, driven from outside by its
monitor and, through its guest agent, by commands."""

import base64
import collections
import functools
import glob
import json
import math
import os
import shlex
import shutil
import subprocess
import time

from lab import Agent, LabError, LabUnavailable, Qmp, Scratch, wait_for
from lab.images import run_build
from lab.libvirt import idle_rom
from lab.sleephost import DIES_WITH_PARENT
from lab.suspendd import BUILD

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = os.environ.get("SUSPENDD_TEST_DEBIAN", "12")
DEB = os.environ.get("SUSPENDD_DEB", os.path.join(BUILD, "deb"))
PACKAGES = ("suspendd", "suspendd-libvirt")
MEMORY_MB = 1536
BOOT_SECONDS = 240
COMMAND_SECONDS = 60
ASLEEP_SECONDS = 90
AWAKE_SECONDS = 60
WAKE_AFTER = 0.4  # the beginning of a second; by way of its firmware the kernel wakes most of a second later

# Where it puts things: what comes from outside; the tests' own monitors; suspendd's.
MEDIA = "/media/lab"
OWN = "/run/lab"
VMS = "/run/vms"

# One sleep by the outer machine's own events: seconds from the request to SUSPEND, and from there to WAKEUP.
Sleep = collections.namedtuple("Sleep", "delay length")

# Before a sleep: the mark in the monitor's events, how often it was awake, when it was told to sleep.
Begun = collections.namedtuple("Begun", "mark n_awake asked")


@functools.lru_cache(None)
def image(version):
    """The folder of the outer machine's kernel, initramfs and root disk."""
    if os.geteuid():
        raise LabUnavailable("building the outer machine needs root")
    return run_build(os.path.join(HERE, "image", "build.sh"), 1800, version)


def packages():
    """The Debian packages that are installed inside."""
    found = [x for name in PACKAGES for x in glob.glob(os.path.join(DEB, name + "_*.deb"))]
    if len(found) != len(PACKAGES):
        raise LabUnavailable("not one package each of %s in %s: ./dev deb" % (", ".join(PACKAGES), DEB))
    return found


class Outer:
    """One boot of it, of which nothing remains. Use start() and stop(), or `with`."""

    def __init__(self, version=VERSION):
        self.version = version
        self.scratch = Scratch()
        self.process = self.qmp = self.line = None
        self.boot_seconds = None
        self.second = 0  # where in this machine's seconds those of its real-time clock begin

    # life

    def start(self):
        """Boots it, and returns once its systemd has started all."""
        try:
            self._launch()
            begin = time.monotonic()
            self.qmp = wait_for(self._connect, 20, "monitor of the outer machine", interval=0.1)
            self.line = wait_for(self._connect_line, BOOT_SECONDS, "line into the outer machine", interval=0.5)
            wait_for(self._is_up, BOOT_SECONDS, "systemd of the outer machine up", interval=1)
            self.boot_seconds = time.monotonic() - begin
            self.run("mkdir -p %s %s && mount -o noatime /dev/vdb %s" % (OWN, VMS, MEDIA))
            self.run("python3 %s/inside/follow-rtc.py" % MEDIA)
            before = time.time()
            inside = float(self.run("date +%s.%N"))
            self.second = ((before + time.time()) / 2 - inside) % 1
        except BaseException as error:
            self.scratch.keep |= not isinstance(error, LabUnavailable)
            self.stop()
            raise
        return self

    def _launch(self):
        if not shutil.which("qemu-system-x86_64"):
            raise LabUnavailable("no qemu-system-x86_64")
        folder = image(self.version)
        self._make_media()
        self._make_swap()
        log = open(self.scratch.file("qemu.log"), "ab")
        self.process = subprocess.Popen(DIES_WITH_PARENT + self._arguments(folder), stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log)
        log.close()

    def _arguments(self, folder):
        """pc: on q35 QEMU sleeps but once. A bzImage: another kernel's ROM is copied over the memory at the wake. One CPU: a
        second is started anew at each wake, in ten seconds or never where this machine is busy."""
        return ["qemu-system-x86_64", "-name", "outer", "-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "Nehalem",
                "-m", str(MEMORY_MB), "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", os.path.join(folder, "vmlinuz"), "-initrd", os.path.join(folder, "initrd"),
                "-append", "console=ttyS0 no_console_suspend quiet loglevel=4 mitigations=off cryptomgr.notests",
                "-serial", "file:" + self.scratch.file("console"),
                "-qmp", "unix:%s,server=on,wait=off" % self.scratch.file("qmp"),
                "-drive", "file=%s,format=raw,if=virtio,snapshot=on" % os.path.join(folder, "root.ext4"),
                "-drive", "file=%s,format=raw,if=virtio,snapshot=on" % self.scratch.file("media"),
                "-drive", "file=%s,format=raw,if=virtio" % self.scratch.file("swap"),
                "-device", "virtio-serial-pci",
                "-chardev", "socket,id=line,path=%s,server=on,wait=off" % self.scratch.file("line"),
                "-device", "virtserialport,chardev=line,name=org.qemu.guest_agent.0",
                "-device", "virtio-rng-pci", "-rtc", "base=utc,clock=host"]

    def _make_media(self):
        """The disk with what is ours: what is to be installed, the programs for the inside, the guest."""
        folder = self.scratch.sub("files")
        guest = os.path.join(BUILD, "tests", "system", "guest", "ticking-guest.elf")
        if not os.path.exists(guest):
            raise LabUnavailable("no guest: the compiler makes no 32-bit programs")
        shutil.copy(guest, folder)
        shutil.copytree(os.path.join(HERE, "inside"), os.path.join(folder, "inside"),
                        ignore=shutil.ignore_patterns("__pycache__"))
        with open(os.path.join(folder, "idle.rom"), "wb") as f:
            f.write(idle_rom())
        for package in packages():
            shutil.copy(package, folder)
        size = sum(os.lstat(os.path.join(x, z)).st_size + 8192 for x, y, zs in os.walk(folder) for z in zs)
        subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", folder, "-O", "^has_journal", "-m", "0",
                        self.scratch.file("media"), "%dM" % (size // (1 << 20) * 5 // 4 + 16)],
                       check=True, stdout=subprocess.DEVNULL, timeout=120)
        shutil.rmtree(folder)

    def _make_swap(self):
        """The disk that a hibernation's image is written to; it takes what of that is used."""
        path = self.scratch.file("swap")
        with open(path, "wb") as f:
            f.truncate(MEMORY_MB << 20)
        subprocess.run(["/sbin/mkswap", path], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def _connect(self):
        self._check_running()
        try:
            return Qmp(self.scratch.file("qmp"), 5)
        except (OSError, LabError):
            return None

    def _connect_line(self):
        self._check_running()
        try:
            return Agent(self.scratch.file("line"), 5)
        except (OSError, LabError):
            return None

    def _check_running(self):
        if self.process.poll() is not None:
            raise LabError("the outer machine ended: see " + self.scratch.path)

    def _is_up(self):
        return self.run("systemctl is-system-running", check=False).strip() in ("running", "degraded")

    def stop(self):
        """Ends it. Where logs are kept, its journal is among them, and the records and events."""
        if self.scratch.keep and self.line:
            self._save()
        for connection in (self.line, self.qmp):
            if connection:
                connection.close()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        self.line = self.qmp = self.process = None
        for disk in ("media", "swap"):
            if os.path.exists(self.scratch.file(disk)):
                os.unlink(self.scratch.file(disk))
        self.scratch.remove()

    def _save(self):
        """Writes what may tell why something failed to the scratch folder."""
        for name, command in (("journal.log", "journalctl --no-pager -o short-monotonic"),
                              ("events", "cat %s/events" % OWN),
                              ("history.json", "cat /var/lib/suspendd/history/*.json"),
                              ("guests.log", "tail -n 5 %s/*/*.out %s/*/*.log" % (OWN, OWN))):
            try:
                text = self.run(command, check=False)
            except (LabError, OSError) as error:
                text = str(error)
            with open(self.scratch.file(name), "w") as f:
                f.write(text)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, kind, *_):
        if kind and not issubclass(kind, LabUnavailable):
            self.scratch.keep = True
        self.stop()

    # commands

    def _ask(self, name, **arguments):
        """A command for the agent. An answer that is lost, as by a sleep in between, is asked for once more."""
        try:
            return self.line.command(name, 20, **arguments)
        except LabError as error:
            if "does not answer" not in str(error):
                raise
            self.line.sync(30)
            return self.line.command(name, 20, **arguments)

    def begin(self, command):
        """Begins a shell command inside, and does not wait for its end. Returns its pid there."""
        return self.line.command("guest-exec", 20, path="/bin/sh", arg=["-c", command])["pid"]

    def run(self, command, timeout=COMMAND_SECONDS, check=True):
        """Runs a shell command inside to its end; what it printed. LabError if it fails."""
        limited = "timeout -k 2 %d sh -c %s" % (timeout, shlex.quote(command))
        pid = self._ask("guest-exec", path="/bin/sh", arg=["-c", limited], **{"capture-output": True})["pid"]
        status = wait_for(lambda: self._ended(pid), timeout + 20, command, interval=0.05)
        out, err = (base64.b64decode(status.get(x, "")).decode(errors="replace") for x in ("out-data", "err-data"))
        if check and status.get("exitcode") != 0:
            raise LabError("%s: status %s: %s" % (command, status.get("exitcode"), (err or out).strip()))
        return out

    def _ended(self, pid):
        status = self._ask("guest-exec-status", pid=pid)
        return status if status["exited"] else None

    def as_user(self, user, command):
        """The command that is this one of a user's, with the bus and the folder of their session."""
        return "runuser -u %s -- env XDG_RUNTIME_DIR=/run/user/$(id -u %s) %s" % (user, user, command)

    def write(self, path, text, mode="644"):
        """Writes a file inside, its folder too."""
        self.run("mkdir -p %s && echo %s | base64 -d >%s && chmod %s %s" %
                 (shlex.quote(os.path.dirname(path)), base64.b64encode(text.encode()).decode(), path, mode, path))

    def read(self, path):
        """The text of a file inside; empty if there is none."""
        return self.run("cat %s 2>/dev/null" % path, check=False)

    def json(self, command, **more):
        """What a command prints, parsed."""
        return json.loads(self.run(command, **more))

    # sleep

    # Nothing is said to it from when it is told to sleep until it has told by its console that it is awake: what lies in
    # the line to its agent when its devices are suspended may be lost, and sometimes the line with it.

    def sleep(self, seconds, command="systemctl suspend"):
        """A sleep of so many seconds and up to two more, which the command begins. Returns when it is awake again."""
        begun = self.begin_sleep(command)
        return self.wake(begun, seconds)

    def refused_sleep(self, command="systemctl suspend"):
        """A sleep that its kernel refuses. Returns when it has done so."""
        begun = self.begin_sleep(command)
        self._wait_awake(begun)

    def begin_sleep(self, command="systemctl suspend"):
        """Gives the command, and returns what the others want to know."""
        begun = Begun(self.qmp.mark(), self._n_awake(), time.time())
        self.begin(command)
        return begun

    def wait_asleep(self, begun, timeout=ASLEEP_SECONDS):
        """Waits until it sleeps; how many seconds after the command that was."""
        return self.qmp.wait_event("SUSPEND", timeout, begun.mark).realtime - begun.asked

    def wake(self, begun, seconds):
        """Ends a sleep, when it was so long.

        It is woken so that its kernel reads its real-time clock well within a second of that: it is all that it knows of
        a sleep's length, and has whole seconds. What the kernel takes a sleep for is wrong by how much later in such a
        second it was woken than after the sleep before."""
        delay = self.wait_asleep(begun)
        wake_at = begun.asked + delay + seconds
        if seconds >= 1:
            wake_at = math.ceil(wake_at - self.second) + self.second + WAKE_AFTER
        time.sleep(max(0, wake_at - time.time()))
        self.qmp.command("system_wakeup")
        awake = self.qmp.wait_event("WAKEUP", 20, begun.mark).realtime
        self._wait_awake(begun)
        return Sleep(delay, awake - begun.asked - delay)

    def sleep_twice(self, seconds, command="systemctl suspend-then-hibernate"):
        """A sleep that the machine's own alarm ends, and after it one of so many seconds, which the command begins too;
        see hibernate.py. Returns when it is awake for good; of Sleep the length is that of both."""
        begun = self.begin_sleep(command)
        delay = self.wait_asleep(begun)
        first = self.qmp.wait_event("WAKEUP", ASLEEP_SECONDS, begun.mark).realtime - begun.asked - delay
        mark = self.qmp.mark()
        second = self.qmp.wait_event("SUSPEND", ASLEEP_SECONDS, mark).realtime
        time.sleep(max(0, second + seconds - time.time()))
        self.qmp.command("system_wakeup")
        length = first + self.qmp.wait_event("WAKEUP", 20, mark).realtime - second
        self._wait_awake(begun, 2)
        return Sleep(delay, length)

    def _n_awake(self):
        """How often inside/watch.py has told that the kernel is awake."""
        with open(self.scratch.file("console"), errors="replace") as f:
            return f.read().count("lab-awake")

    def _wait_awake(self, begun, times=1):
        wait_for(lambda: self._n_awake() >= begun.n_awake + times, AWAKE_SECONDS, "the outer machine is awake", interval=0.05)
        self.line.sync(AWAKE_SECONDS)

    # suspendd

    def install_suspendd(self, config=""):
        """Installs its packages on the running system, which start it, with that for its plugin for QEMU."""
        self.write("/etc/suspendd/suspendd.conf.d/lab.conf", "[Plugin qmp]\nDirectory=%s\n%s" % (VMS, config))
        self.run("dpkg -i %s/*.deb" % MEDIA, timeout=240)
