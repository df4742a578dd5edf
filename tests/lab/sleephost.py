# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host of its own: real systemd, dbus and logind in namespaces, whose sleep is at a test's command."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from .images import sleep_clock
from .util import LabError, LabUnavailable, Scratch, alive, children, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ENTER = os.path.join(HERE, "host", "enter.sh")
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
LOGIN1 = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
DIES_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def cgroup_top():
    """Where cgroup v2 is mounted."""
    for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if os.path.exists(path + "/cgroup.procs") and os.path.exists(path + "/cgroup.controllers"):
            return path
    raise LabUnavailable("cgroup v2 is not mounted")


def remove_cgroup(path):
    """Removes a cgroup and those below it. False while one is in use."""
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            return False
    return True


def sweep_cgroups(top):
    """Removes what hosts left behind whose maker is gone."""
    for name in os.listdir(top):
        if name.startswith("suspendd-lab-") and not os.path.exists("/proc/" + name.split("-")[2]):
            remove_cgroup(os.path.join(top, name))


class Signals:
    """The signals of logind's manager as they were seen on the host's bus: .seen = [(name, argument, realtime)]."""

    def __init__(self, host):
        self.seen = []
        self._listens = False
        self._changed = threading.Condition()
        self._process = host.popen(["busctl", "monitor", "--json=short",
                                    "--match=type='signal',interface='%s'" % LOGIN1[2]],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            wait_for(lambda: self._probe(host), 10, "busctl monitor listens")
        except LabError:
            self.close()
            raise

    def _probe(self, host):
        """Sends a signal of our own, which says that the watch has begun once it is seen."""
        host.run("busctl", "emit", "/lab", LOGIN1[2], "LabProbe")
        with self._changed:
            return self._changed.wait_for(lambda: self._listens, 0.1)

    def _read(self):
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("type") != "signal" or message.get("interface") != LOGIN1[2]:
                continue
            with self._changed:
                if message["member"] == "LabProbe":
                    self._listens = True
                else:
                    data = message["payload"]["data"]
                    self.seen.append((message["member"], data[0] if data else None,
                                      message["timestamp-realtime"] / 1e6))
                self._changed.notify_all()

    def find(self, name, argument, since=0):
        """The time (CLOCK_REALTIME, s) of the first such signal after the mark, or None."""
        return next((t for n, a, t in self.seen[since:] if (n, a) == (name, argument)), None)

    def wait(self, name, argument, timeout, since=0):
        """The time of the first such signal after the mark; waits for it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.find(name, argument, since) is not None, timeout):
                raise LabError("no %s(%s) within %g s, seen: %s" % (name, argument, timeout, self.seen[since:]))
        return self.find(name, argument, since)

    def close(self):
        """Ends the watch."""
        self._process.kill()
        self._process.wait(5)
        self._reader.join(5)
        self._process.stdout.close()


class Host:
    """Namespaces with a systemd of their own.

    root    what it is made from: "/" (this machine as it is) or the folder of another root
    binds   more folders that shall be seen inside, at the same path; the repository and the scratch folder are
    sleep   what a sleep does at first, see set_sleep()
    inhibit_delay   InhibitDelayMaxSec at first; None: the root's own

    Use it in `with`, or start() and stop(). It dies with the thread that started it.
    """

    _numbers = itertools.count(1)

    def __init__(self, root="/", binds=(), sleep=1, inhibit_delay=None, scratch=None):
        self.root, self.sleep, self.inhibit_delay = root, sleep, inhibit_delay
        self.scratch = scratch or Scratch()
        self.binds = [REPOSITORY, self.scratch.path] + [os.path.abspath(b) for b in binds]
        self.pid = self._launcher = None
        self.ready_seconds = None
        self.cgroup = None
        self._console = self.scratch.file("host.console")

    # life

    def start(self, timeout=15):
        """Starts it and waits until systemd says that it is up. LabUnavailable where that cannot be."""
        begin = time.monotonic()
        try:
            self._launch()
            self.pid = wait_for(self._find_init, timeout, "PID 1 of the host, see " + self._console)
            for name in ("sleepclock", "sleepclock.so"):
                shutil.copy(os.path.join(sleep_clock(), name), self.path("/run/lab/" + name))
            self.set_sleep(self.sleep)
            if self.inhibit_delay is not None:
                self._write_inhibit_delay(self.inhibit_delay)
            wait_for(self._is_up, timeout, "systemd up, see " + self._console, interval=0.03)
            if self.inhibit_delay is not None:
                self.set_inhibit_delay(self.inhibit_delay)
        except BaseException as error:
            self.scratch.keep |= not isinstance(error, LabUnavailable)
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - begin
        return self

    def _launch(self):
        """Starts what becomes its PID 1."""
        if os.geteuid():
            raise LabUnavailable("a host in namespaces needs root")
        top = cgroup_top()
        sweep_cgroups(top)
        self.cgroup = os.path.join(top, "suspendd-lab-%d-%d" % (os.getpid(), next(self._numbers)))
        with open(self._console, "ab") as console:
            self._launcher = subprocess.Popen(
                DIES_WITH_PARENT + [ENTER, self.root, self.scratch.sub("host"), self.cgroup] + self.binds,
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)

    def _find_init(self):
        """The pid of systemd as this machine sees it, as soon as it is systemd."""
        if self._launcher.poll() is not None:
            with open(self._console, errors="replace") as f:
                raise LabUnavailable("no namespaces for a host here: " + f.read().strip()[-300:])
        for pid in children(self._launcher.pid):
            try:
                with open("/proc/%d/comm" % pid) as f:
                    if f.read().strip() == "systemd":
                        return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=False, timeout=5).stdout.strip()
        return state in ("running", "degraded")

    def stop(self):
        """Ends all of it: every process inside, every mount, the cgroup. The journal is saved where logs are kept."""
        if self.pid and self.scratch.keep:
            self.save_journal()
        if self.pid and alive(self.pid):
            os.kill(self.pid, signal.SIGKILL)
        if self._launcher:
            if not self.pid:
                self._launcher.kill()
            self._launcher.wait(10)
        if self.cgroup and os.path.exists(self.cgroup):
            wait_for(lambda: remove_cgroup(self.cgroup), 5, "cgroup %s empty" % self.cgroup)
        self.pid = self._launcher = None
        self.scratch.remove()

    def save_journal(self):
        """Writes the host's journal to the scratch folder, for reading after a failure."""
        try:
            text = self.journal()
        except (LabError, subprocess.SubprocessError) as error:
            text = str(error)
        with open(self.scratch.file("journal.log"), "w") as f:
            f.write(text)

    def __enter__(self):
        return self.start() if self.pid is None else self

    def __exit__(self, kind, *_):
        if kind and not issubclass(kind, LabUnavailable):
            self.scratch.keep = True
        self.stop()

    # inside

    def enter(self):
        """The command prefix that runs a program inside. The program dies with the nsenter before it."""
        return ["nsenter", "-t", str(self.pid), "-a", "-r", "-w", "--"] + DIES_WITH_PARENT

    def enter_processes(self):
        """The prefix for a program of this machine with this machine's files, but as a process of the host."""
        return ["nsenter", "-t", str(self.pid), "-p", "-i", "-u", "-n", "-C", "--"] + DIES_WITH_PARENT

    def _environment(self, more=None):
        env = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        env.update(more or {})
        return env

    def popen(self, command, env=None, **more):
        """A process inside; its end is the caller's affair."""
        return subprocess.Popen(self.enter() + list(command), env=self._environment(env), **more)

    def run(self, *command, timeout=30, check=True, input=None, env=None):
        """Runs a command inside, to its end or the limit. Returns the CompletedProcess with text output."""
        limited = ["timeout", "-k", "1", str(timeout)] + list(command)
        done = subprocess.run(self.enter() + limited, env=self._environment(env), input=input, text=True,
                              stdin=subprocess.DEVNULL if input is None else None,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout + 10)
        if done.returncode == 124:
            raise LabError("%s: not within %g s" % (" ".join(command), timeout))
        if check and done.returncode:
            raise LabError("%s: status %d: %s" % (" ".join(command), done.returncode,
                                                  (done.stderr or done.stdout).strip()))
        return done

    def path(self, inner):
        """A file of the host as this machine can open it; a socket can be connected by it, too."""
        return "/proc/%d/root%s" % (self.pid, inner)

    def write(self, inner, text, mode=0o644):
        """Writes a file inside, its folder too."""
        path = self.path(inner)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def read(self, inner):
        """The text of a file inside."""
        with open(self.path(inner)) as f:
            return f.read()

    def exists(self, inner):
        """Whether a file is there inside."""
        return os.path.exists(self.path(inner))

    # services and the bus

    def systemctl(self, *arguments, **more):
        """systemctl inside."""
        return self.run("systemctl", *arguments, **more)

    def unit_property(self, unit, name):
        """A property of a unit, as text."""
        return self.systemctl("show", "-P", name, unit).stdout.strip()

    def unit_pid(self, unit):
        """The main process of a unit, as this machine counts; None without one."""
        inner = int(self.unit_property(unit, "MainPID"))
        return self.outer_pid(inner) if inner else None

    def outer_pid(self, inner):
        """The pid on this machine of a process that has the pid `inner` in the host."""
        for entry in os.listdir("/proc"):
            if entry.isdigit() and self._inner_pid(entry) == inner:
                return int(entry)
        return None

    def _inner_pid(self, entry):
        try:
            if os.readlink("/proc/%s/ns/pid" % entry) != os.readlink("/proc/%d/ns/pid" % self.pid):
                return None
            with open("/proc/%s/status" % entry) as f:
                return next(int(line.split()[-1]) for line in f if line.startswith("NSpid:"))
        except (OSError, StopIteration):
            return None

    def busctl(self, *arguments, **more):
        """busctl inside; the parsed JSON of its answer, None without one."""
        text = self.run("busctl", "--json=short", *arguments, **more).stdout.strip()
        return json.loads(text)["data"] if text else None

    def get_property(self, service, path, interface, name):
        """A property on the host's bus; the service is not started for it."""
        return self.busctl("--auto-start=no", "get-property", service, path, interface, name)

    def journal(self, *arguments):
        """The host's journal, with journalctl's arguments ("-u", UNIT, "--since=...")."""
        return self.run("journalctl", "--no-pager", "-o", "short-precise", *arguments).stdout

    def signals(self):
        """A watch on logind's signals."""
        return Signals(self)

    # sleep

    # With this a process's CLOCK_MONOTONIC stands still while the host seems to sleep (sleepclock.c).
    sleep_clock = "/run/lab/sleepclock.so"
    sleep_clock_environment = {"LD_PRELOAD": sleep_clock, "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def step_clock(self, seconds):
        """Sets CLOCK_REALTIME, as those see it that have the library."""
        self.run("/run/lab/sleepclock", "step", str(int(seconds * 1e9)))

    def set_sleep(self, how):
        """What the next sleeps do: seconds, "hold" (until wake()) or "fail"."""
        self.write("/run/lab/sleep.new", "%s\n" % how)
        os.rename(self.path("/run/lab/sleep.new"), self.path("/run/lab/sleep"))

    def wake(self):
        """Ends a sleep."""
        fd = os.open(self.path("/run/lab/wake"), os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"\n")
        os.close(fd)

    def asleep(self):
        """Whether it sleeps now."""
        return self.exists("/run/lab/asleep")

    def sleeps(self):
        """How many sleeps there were to the end."""
        return int(self.read("/run/lab/sleeps")) if self.exists("/run/lab/sleeps") else 0

    def wait_asleep(self, timeout=15):
        """Waits until it sleeps."""
        wait_for(self.asleep, timeout, "host asleep")

    def preparing_for_sleep(self):
        """logind's PreparingForSleep; None while logind is away."""
        try:
            return self.get_property(*LOGIN1, "PreparingForSleep")
        except LabError:
            return None

    def request_suspend(self, *arguments, check=True):
        """`systemctl suspend`, which comes back before the sleep."""
        return self.systemctl("suspend", *arguments, check=check)

    def wait_awake(self, timeout=30):
        """Waits until logind says that no sleep is under way."""
        wait_for(lambda: self.preparing_for_sleep() is False, timeout, "host awake", interval=0.03)

    def suspend(self, timeout=30):
        """One whole cycle by `systemctl suspend`: returns when the host is awake again."""
        self.request_suspend()
        self.wait_awake(timeout)

    # logind's settings

    def _write_inhibit_delay(self, value):
        self.write("/etc/systemd/logind.conf.d/zz-lab.conf", "[Login]\nInhibitDelayMaxSec=%s\n" % value)

    def inhibit_delay_usec(self):
        """InhibitDelayMaxUSec as logind tells it; 2^64-1 for infinity."""
        return self.get_property(*LOGIN1, "InhibitDelayMaxUSec")

    def set_inhibit_delay(self, value, timeout=5):
        """InhibitDelayMaxSec by a drop-in and a reload of logind: seconds or "infinity"."""
        usec = 2 ** 64 - 1 if value == "infinity" else int(float(value) * 1000000)
        self._write_inhibit_delay(value)
        self.systemctl("kill", "-s", "HUP", "systemd-logind")
        wait_for(lambda: self.inhibit_delay_usec() == usec, timeout, "InhibitDelayMaxSec=%s" % value, interval=0.03)

    def inhibitors(self):
        """logind's locks: a list of dicts of what, who, why, mode, uid, pid."""
        rows = self.busctl("call", *LOGIN1, "ListInhibitors")[0]
        return [dict(zip(("what", "who", "why", "mode", "uid", "pid"), row)) for row in rows]
