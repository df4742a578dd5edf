# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a bench run is made of: a private bus with a fake logind, QEMUs, the floor, suspendd.

Each part is a context manager that ends the processes it started. Nothing here measures.
"""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
    <allow receive_type="method_return"/><allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"""
CONTROL = ["org.suspendd.FakeLogin1", "/org/suspendd/FakeLogin1", "org.suspendd.FakeLogin1"]
QUIET_USEC = 200000
UNIT_NICE = -10  # Nice= of suspendd.service
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-display", "none", "-nodefaults",
        "-machine", "none", "-S"]


class BenchError(Exception):
    """A part did not do what the measurement needs: no figure, rather than a wrong one."""


def wait_until(condition, seconds, what):
    """Polls `condition` until it holds; raises after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchError("waited %g s for %s" % (seconds, what))
        time.sleep(0.01)


def started(argv, **kwargs):
    """Starts a process that does not outlive us."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, argv)], **kwargs)


def memory_of(proc):
    """(rss, pss) in bytes of the process with this folder in /proc."""
    fields = {}
    for line in (proc / "smaps_rollup").read_text().splitlines()[1:]:
        words = line.split()
        fields[words[0]] = int(words[1]) * 1024
    return fields["Rss:"], fields["Pss:"]


def memory_on_host(build):
    """The same of the service on the lab's host, whose systemd, journald and logind map the same libraries, as
    on every host; None where the lab cannot run."""
    os.environ["SUSPENDD_BUILD"] = str(build.directory)
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    from lab import Host, LabUnavailable
    from lab.suspendd import Suspendd
    try:
        with Host() as host:
            # Without libvirt's library, which has a price of its own.
            host.write("/etc/suspendd/suspendd.conf.d/50-libvirt.conf", "")
            service = Suspendd(host, debug=False).start()
            time.sleep(1)
            return memory_of(pathlib.Path("/proc") / str(service.pid()))
    except LabUnavailable as reason:
        print("memory is measured without a host: %s" % reason, file=sys.stderr)
        return None


def ended(process, how=signal.SIGTERM):
    """Ends a process that we started and waits until it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


class Part:
    """Something that is ended by leaving its `with`."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Build:
    """Finds what meson has built, wherever it has put it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()

    def find(self, name):
        """A program of this build, not of one that lies below it (build/asan)."""
        for part in ("src", "tests"):
            for path in sorted((self.directory / part).rglob(name)):
                if path.is_file() and os.access(path, os.X_OK):
                    return path
        raise BenchError("%s is not in %s: build it first" % (name, self.directory))

    @property
    def plugin_dir(self):
        return self.find("qmp.so").parent


class Bus(Part):
    """A private system bus with the fake logind on it."""

    def __init__(self, build, directory):
        path = directory / "bus"
        config = directory / "bus.conf"
        config.write_text(BUS_CONFIG.format(path=path))
        self.address = "unix:path=%s" % path
        self.env = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.address)
        with open(directory / "bus.log", "wb") as log:
            self.daemon = started(["dbus-daemon", "--config-file", config, "--nofork"], stderr=log)
        wait_until(path.exists, 10, "the bus")
        self.login1 = started([build.find("fake-login1")], env=self.env)
        wait_until(lambda: self._try("Phase"), 10, "the fake logind")

    def _busctl(self, *args, timeout=60):
        return subprocess.run(
            ["busctl", "--address=" + self.address, "--json=short", "--timeout=%g" % timeout,
             *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def _try(self, name):
        return self._busctl("get-property", *CONTROL, name).returncode == 0

    def get(self, name):
        """A property of the fake's test interface."""
        result = self._busctl("get-property", *CONTROL, name)
        if result.returncode != 0:
            raise BenchError("%s: %s" % (name, result.stderr.strip()))
        return json.loads(result.stdout)["data"]

    def call(self, method, *args, timeout=60):
        """A method of the fake's test interface; `args` as busctl takes them."""
        result = self._busctl("call", *CONTROL, method, *map(str, args), timeout=timeout)
        if result.returncode != 0:
            raise BenchError("%s: %s" % (method, result.stderr.strip()))
        return json.loads(result.stdout)["data"] if result.stdout.strip() else None

    def cycle(self):
        """The last cycle's stamps."""
        return json.loads(self.get("LastCycle"))

    def sleep(self, sleep_usec):
        """One host sleep, with nothing of ours running while it begins or ends; its stamps."""
        number = self.cycle()["cycle"] + 1
        self.call("SleepIn", "tt", QUIET_USEC, sleep_usec)
        time.sleep(QUIET_USEC / 1e6 + 0.45)
        wait_until(lambda: self._has_slept(number, "asleep_ns"), 30, "the host to fall asleep")
        end_ns = self.cycle()["asleep_ns"] + sleep_usec * 1000
        time.sleep(max(0, end_ns - time.monotonic_ns()) / 1e9 + 0.5)
        wait_until(lambda: self._has_slept(number, "sent_false_ns"), 30, "the host to wake")
        return self.cycle()

    def _has_slept(self, number, stamp):
        cycle = self.cycle()
        return cycle["cycle"] == number and cycle[stamp] > 0

    def close(self):
        ended(self.login1)
        ended(self.daemon)


class Machines(Part):
    """N real QEMUs without a guest, each with a monitor for suspendd and one for the floor."""

    def __init__(self, directory, count):
        self.directory, self.floor_pattern = directory / "vm", str(directory / "floor/*.sock")
        self.directory.mkdir()
        (directory / "floor").mkdir()
        self.processes = []
        for i in range(count):
            self._start(directory, "vm%03d" % i)
        wait_until(lambda: self._count(directory) == count, 120, "%d QEMUs" % count)

    @staticmethod
    def _count(directory):
        return sum(1 for _ in (directory / "floor").glob("*.sock"))

    def _start(self, directory, name):
        self.processes.append(started([
            *QEMU, "-name", name,
            "-qmp", "unix:%s,server=on,wait=off" % (self.directory / (name + ".qmp")),
            "-qmp", "unix:%s,server=on,wait=off" % (directory / "floor" / (name + ".sock"))]))
        # two at a time: the starts compete with one another only
        if len(self.processes) > 2:
            before = len(self.processes) - 2
            wait_until(lambda: self._count(directory) >= before, 60, "a QEMU")

    def close(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
        for p in self.processes:
            p.wait(30)


class Floor(Part):
    """The C program that is the floor: acts on all machines, or watches somebody else do it."""

    def __init__(self, build, pattern):
        self._start([build.find("floor"), pattern])

    def _start(self, argv):
        self.process = started(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.count = int(self._read()[1])

    def _read(self, seconds=60):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise BenchError("the floor says nothing")
        line = self.process.stdout.readline().split()
        if not line:
            raise BenchError("the floor has ended")
        return line

    def order(self, line):
        self.process.stdin.write(line + "\n")

    def act(self, verb):
        """Does `stop` or `cont` to all: (ns until all events were read, ns until the last's stamp)."""
        self.order(verb)
        _, n, elapsed, last = self._read()
        if int(n) != self.count:
            raise BenchError("%s: events of %s machines instead of %d" % (verb, n, self.count))
        return int(elapsed), int(last)

    def last(self, event):
        """What somebody else did since `clear`: (machines, CLOCK_MONOTONIC ns of the last event)."""
        self.order("last " + event)
        _, n, last = self._read()
        return int(n), int(last)

    def wait_last(self, event, seconds=30):
        """Waits until `event` has come from all; the last one's stamp."""
        wait_until(lambda: self.last(event)[0] == self.count, seconds, event + " of all")
        return self.last(event)[1]

    def close(self):
        ended(self.process)


class Daemon(Part):
    """suspendd on the private bus, watching one directory."""

    def __init__(self, build, bus, directory, machines_dir):
        self._start(daemon_argv(build, directory, machines_dir), bus, directory)

    def _start(self, argv, bus, directory):
        run, state = directory / "run", directory / "state"
        run.mkdir(exist_ok=True)
        state.mkdir(exist_ok=True)
        self.argv = argv
        self.env = dict(bus.env, RUNTIME_DIRECTORY=str(run), STATE_DIRECTORY=str(state))
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(directory / "notify"))
        notify.settimeout(60)
        log = open(directory / "suspendd.log", "ab")
        self.process = started(self.argv, stderr=log, stdout=log,
                               env=dict(self.env, NOTIFY_SOCKET=str(directory / "notify")))
        log.close()
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, self.process.pid, UNIT_NICE)
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
        except TimeoutError as e:
            raise BenchError("suspendd does not get ready") from e
        finally:
            notify.close()
            os.unlink(directory / "notify")

    @property
    def _proc(self):
        return pathlib.Path("/proc/%d" % self.process.pid)

    def switches(self):
        """Context switches of all threads since the start."""
        n = 0
        for task in (self._proc / "task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if line.split(":")[0].endswith("ctxt_switches"):
                    n += int(line.split()[1])
        return n

    def memory(self):
        """(rss, pss) in bytes."""
        return memory_of(self._proc)

    def settle(self, seconds=60, still=0.3):
        """Waits until the daemon has done nothing for a while."""
        end = time.monotonic() + seconds
        last, since = self.switches(), time.monotonic()
        while time.monotonic() - since < still:
            time.sleep(0.05)
            now = self.switches()
            if now != last:
                last, since = now, time.monotonic()
            if time.monotonic() > end:
                raise BenchError("suspendd does not come to rest")

    def wait_connected(self, count, seconds=120):
        """Waits until it holds `count` sockets beside those it always has, and rests."""
        def n_sockets():
            n = 0
            for fd in (self._proc / "fd").iterdir():
                try:
                    n += os.readlink(fd).startswith("socket:")
                except FileNotFoundError:
                    pass
            return n
        wait_until(lambda: n_sockets() >= count, seconds, "%d connections" % count)
        self.settle()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        self.settle()

    def close(self):
        ended(self.process)


def daemon_argv(build, directory, machines_dir):
    """The command line of suspendd with a configuration that watches `machines_dir`."""
    config = directory / "suspendd.conf"
    config.write_text("[Plugin qmp]\nDirectory=%s\n" % machines_dir)
    return [build.find("suspendd"), "--config", config, "--plugin-dir", build.plugin_dir]


class Fakes(Part):
    """qmp-fake with misbehaving machines in a directory."""

    def __init__(self, build, directory, *specs):
        self.process = started([build.find("qmp-fake"), "--dir", directory, *specs],
                               stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise BenchError("qmp-fake does not start")
        # its log of commands is of no use here, but must not fill the pipe
        self.drain = started(["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL)
        self.process.stdout.close()

    def close(self):
        ended(self.process)
        ended(self.drain)
