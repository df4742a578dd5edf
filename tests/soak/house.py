# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host for the soak: a bus and a logind that are fakes' or its own, the daemon as it is, started again whenever it
ends, as systemd would, and machines."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from _bus import BUILD, Bus
from dbus import BusError, Connection
from lab import Scratch
from machines import Fake, Real

DAEMON = os.path.join(BUILD, "src/daemon/suspendd")
PLUGIN = os.path.join(BUILD, "src/plugins/qmp/qmp.so")
LOGIN1 = os.path.join(BUILD, "tests/fake/fake-login1")
UNIT_NICE = -10  # Nice= of suspendd.service
STOP_LIMIT = 10  # TimeoutStopSec= of it
HISTORY_MAX = 40
LOG_MAX = 32 << 20
ABSENT = ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected")
FOREVER = (1 << 64) - 1
MANAGER = ("org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager")
CONTROL = ("org.suspendd.FakeLogin1", "/org/suspendd/FakeLogin1", "org.suspendd.FakeLogin1")
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


class Violation(Exception):
    """Something that must never be: what was expected, and what was seen."""

    def __init__(self, expected, seen):
        super().__init__("expected: %s; seen: %s" % (expected, seen))


def waited_ns(pid):
    """How long a process has been ready to run and waited for a CPU, all its threads together."""
    total = 0
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/schedstat" % (pid, thread)) as f:
                total += int(f.read().split()[1])
    except (OSError, IndexError):
        pass
    return total


class House:
    """One host. Whatever waits here goes on starting the daemon again."""

    def __init__(self):
        self.scratch = Scratch()
        self.machines, self.modes = {}, {}
        self.registered = set()
        self.deaths = 0
        # As on a host, where what must outlive a crash is in memory.
        self._run = tempfile.mkdtemp(prefix="suspendd-soak-", dir="/dev/shm")
        self.vms, self.elsewhere, self.own = (self.scratch.sub(x) for x in ("vm", "else", "own"))
        self._log_path, self._config = self.scratch.file("log"), self.scratch.file("suspendd.conf")
        os.mkdir(self.scratch.file("plugins"))
        os.symlink(PLUGIN, self.scratch.file("plugins", "qmp.so"))
        self.daemon = self.login1 = self.connection = None
        self._is_ending, self._term_at = False, None
        self._log_at, self.is_bus_away = 0, False
        self.bus = Bus()
        self.configure()
        self.start_login1()
        self.start_daemon()

    def close(self):
        """Ends all of it."""
        for machine in list(self.machines.values()):
            self.remove(machine)
        for process in (self.daemon, self.login1):
            if process:
                process.kill()
                process.wait()
        if self.connection:
            self.connection.close()
        self.bus.stop()
        if self.scratch.keep:
            shutil.copytree(self._run, self.scratch.file("run"))
        shutil.rmtree(self._run)
        self.scratch.remove()

    # processes

    def _spawn(self, arguments, **options):
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, env=self.bus.environment(
            RUNTIME_DIRECTORY=self._run, STATE_DIRECTORY=self.scratch.file("state")), **options)

    def start_login1(self):
        """The logind, and our way to it and to the daemon."""
        self.login1 = self._spawn([LOGIN1])
        end = time.monotonic() + 10
        while time.monotonic() < end:
            connection = Connection(self.bus.path)
            try:
                connection.get(*CONTROL, "Phase")
                self.connection = connection
                return
            except BusError:
                connection.close()
                time.sleep(0.02)
        raise BusError("no fake logind")

    def start_daemon(self):
        """Starts the daemon, at the unit's priority."""
        with open(self._log_path, "ab") as log:
            self.daemon = self._spawn(
                [DAEMON, "--debug", "--config=" + self._config, "--plugin-dir=" + self.scratch.file("plugins")],
                stderr=log, preexec_fn=lambda: os.setpriority(os.PRIO_PROCESS, 0, UNIT_NICE))
        self._is_ending, self._term_at = False, None

    def signal_daemon(self, number):
        """Kills it, tells it to end, freezes it."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._is_ending = True
            self.deaths += 1
        if number == signal.SIGTERM:
            self._term_at = time.monotonic()
        self.daemon.send_signal(number)

    def supervise(self):
        """Starts the daemon again if it has ended; a Violation if it had no reason to, or did not do as it was told."""
        code = self.daemon.poll()
        if code is None:
            if self._term_at and time.monotonic() > self._term_at + STOP_LIMIT:
                raise Violation("the daemon ends within %d s of SIGTERM" % STOP_LIMIT, "it does not")
            return
        if not self._is_ending and not self.is_bus_away:
            raise Violation("the daemon lives", "it ended by itself with %d" % code)
        # Before it is ready for signals it has done nothing that would have to be undone.
        if self._term_at and not self.is_bus_away and code not in (0, -signal.SIGKILL, -signal.SIGTERM):
            raise Violation("the daemon ends with 0 after SIGTERM", code)
        self.start_daemon()

    def pause(self, seconds):
        """Time passes."""
        end = time.monotonic() + seconds
        while True:
            self.supervise()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.01))

    def restart_bus(self):
        """The bus, and with it logind, end and come back with nothing of what they knew."""
        self.is_bus_away = True
        self.deaths += 1
        self.connection.close()
        self.bus.process.kill()
        self.bus.process.wait()
        self.login1.wait(10)
        self.bus.start()
        self.start_login1()

    # the bus

    def call(self, *arguments):
        """A call to the daemon, as soon as it is there."""
        end = time.monotonic() + 15
        while True:
            self.supervise()
            try:
                return self.connection.call(*arguments)
            except BusError as error:
                if not any(x in str(error) for x in ABSENT) or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def manager(self, member, signature="", *values):
        """A method of the daemon's manager."""
        return self.call(*MANAGER, member, signature, *values)

    def status(self):
        """The properties of the daemon's manager, or None while it is not there."""
        try:
            return self.connection.get_all(*MANAGER)
        except BusError:
            return None

    def listed(self):
        """What the daemon says of its machines: {name: (path, run state, state)}."""
        return {row[2]: (row[1], row[5], row[7]) for row in self.manager("ListMachines")[0]}

    def control(self, member, signature="", *values):
        """A method of the fake logind's own interface."""
        return self.connection.call(*CONTROL, member, signature, *values)

    def phase(self):
        """idle, delaying or asleep."""
        return self.connection.get(*CONTROL, "Phase")

    def last_sleep(self):
        """What the last sleep was like for logind."""
        return json.loads(self.connection.get(*CONTROL, "LastCycle"))

    def inhibited(self):
        """What delay locks are for; nothing while logind is away."""
        try:
            return self.connection.get(*LOGIND, "DelayInhibited")
        except BusError:
            return ""

    # files

    def configure(self, manager="", more=""):
        """Writes the configuration."""
        with open(self._config + ".new", "w") as f:
            f.write("[Manager]\nTimeLimitSec=200ms\nHistoryMax=%d\n%s\n%s\n[Plugin qmp]\nDirectory=%s\n" %
                    (HISTORY_MAX, manager, more, self.vms))
        # Whole at any time: a reload that was told in a cycle comes after it.
        os.rename(self._config + ".new", self._config)

    def journal_path(self):
        return os.path.join(self._run, "cycle")

    def history_path(self):
        return self.scratch.file("state", "history")

    def new_log(self):
        """What the daemon has logged since the last time."""
        with open(self._log_path, "rb") as f:
            f.seek(self._log_at)
            data = f.read()
        self._log_at += len(data)
        if self._log_at > LOG_MAX:
            with open(self._log_path, "rb") as f, open(self._log_path + ".old", "wb") as old:
                old.write(f.read())
            os.truncate(self._log_path, 0)
            self._log_at = 0
        return data.decode(errors="replace")

    # machines

    def add_fake(self, name, monitor, agent, is_registered=False):
        """A fake machine comes: into the folder that is watched, or elsewhere, and is registered."""
        machine = Fake(self.elsewhere if is_registered else self.vms, self.own, name, monitor, agent)
        return self._add(machine, is_registered)

    def add_real(self, name, is_registered=False):
        """A QEMU comes."""
        machine = Real(self.scratch, self.elsewhere if is_registered else self.vms, name)
        return self._add(machine, is_registered)

    def _add(self, machine, is_registered):
        machine.mode = self.modes.get(machine.name, "default")
        self.machines[machine.name] = machine
        if is_registered:
            self.register(machine)
        return machine

    def register(self, machine):
        """Tells the daemon of one that it would not find."""
        try:
            self.manager("Register", "ssss", "qmp", "", machine.path, "")
        except BusError as error:
            # One whose VM was started again is found by itself.
            if machine.name not in self.registered:
                raise
        self.registered.add(machine.name)

    def unregister(self, machine):
        """Takes that back; refused in a cycle."""
        try:
            self.manager("Unregister", "ss", "qmp", machine.path)
        except BusError as error:
            if "under way" in str(error) or "run again" in str(error):
                return False
            if "nothing is registered" not in str(error):
                raise
        self.registered.discard(machine.name)
        return True

    def remove(self, machine):
        """It crashes."""
        if machine.is_frozen:
            machine.thaw()
        machine.kill()
        del self.machines[machine.name]

    def set_mode(self, machine, mode):
        """By command. False if the daemon does not know it at the moment."""
        path = self.listed().get(machine.name, (None,))[0]
        try:
            if path:
                self.call("org.suspendd1", path, "org.suspendd1.Machine", "SetMode", "s", mode)
                self.modes[machine.name] = machine.mode = mode
            return bool(path)
        except BusError as error:
            if "Unknown" not in str(error):
                raise
            return False
