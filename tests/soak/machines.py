# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machines of a soak: real QEMUs and fakes that behave well or badly, each a process of its own, each with a
second way in, by which its user acts and we see what becomes of it."""

import os
import signal
import subprocess
import time

from _bus import BUILD
from lab import LabError, Qemu, wait_for

FAKE = os.path.join(BUILD, "tests/fake/qmp-fake")
PATIENCE = 5
SLOW_PATIENCE = 30
# Those that stand whenever they are asked to, and run when they are asked to.
GOOD_MONITORS = ("good", "good:5", "split", "noreply")
# One that broke the protocol is tried again after a second, then two, ...: it has its time to run again.
BREAKERS = ("long:1", "deep", "badutf8", "garbage")
SLOW_MONITORS = BREAKERS + ("flood", "drip:1")
# Their answers no longer stand in the order of the commands, as QEMU's do: for the daemon another machine than it is.
LOSERS = ("hung", "noreply")
BAD_MONITORS = ("hung", "deaf", "mute", "busy", "lie", "dies") + SLOW_MONITORS
AGENTS = ("", "+good", "+good:5", "+hung", "+slow:60", "+error", "+nosuspend", "+garbage", "+lie", "+late:150",
          "+late:400")
TRUE_AGENTS = ("", "+good", "+good:5", "+nosuspend", "+error")
COMMANDS = ("stop", "cont", "system_wakeup", "guest-suspend-ram")
WAKING_COMMANDS = ("cont", "system_wakeup")
# Within what time after a suspend that was asked for it is undone, whatever has been said of the machine since.
UNDO_NS = 5 * 10 ** 9
# So long after it has suspended itself what was read of it may still be under way to the daemon.
QUIET_NS = 200 * 1000000


class Machine:
    """What all have in common. .expected: the run state that it is to be in when all is quiet; .mode: what was last
    asked of the daemon; .due: until when it may still be on its way there."""

    is_good = is_true = True
    patience = PATIENCE

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.expected, self.mode, self.due = "running", "default", None
        self.is_frozen = self.is_dropped = False

    def has_lost(self):
        """Whether an answer is missing on its line."""
        return False

    def is_quiet(self):
        """Whether nothing that has happened to it can still be under way to the daemon."""
        return True

    def is_ours(self):
        """Whether the daemon may stop it, and has to run it again."""
        return self.expected == "running" and self.mode != "ignore"

    def stands(self):
        """Whether it is stopped, as it says itself."""
        return self.status() in ("paused", "suspended")

    def set_status(self, act, status):
        """What its user does, and has seen done."""
        act()
        wait_for(lambda: self.status() == status, 10, "%s %s by its user" % (self.name, status))

    def freeze(self):
        """It does not answer any more."""
        os.kill(self.pid(), signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self):
        """It does again."""
        os.kill(self.pid(), signal.SIGCONT)
        self.is_frozen = False


class Fake(Machine):
    """A fake QEMU; its log tells each command that reaches it and each change of its run state."""

    def __init__(self, folder, own, name, monitor, agent):
        super().__init__(name, os.path.join(folder, name + ".qmp"))
        self.monitor, self.agent = monitor, agent
        self.is_good = monitor in GOOD_MONITORS
        self.is_true = self.is_good and monitor not in LOSERS and agent in TRUE_AGENTS
        self.patience = SLOW_PATIENCE if monitor in SLOW_MONITORS else PATIENCE
        self._log = os.path.join(own, name + ".log")
        self._at, self._rest, self._status, self._touches = 0, b"", "running", []
        self._has_stopped, self._struck_ns = False, None
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen([FAKE, "--dir", folder, "%s=%s%s" % (name, monitor, agent)],
                                            stdin=subprocess.PIPE, stdout=log, stderr=log)
        wait_for(lambda: os.path.exists(self.path) or not self.lives(), 10, "the socket of " + name)

    def describe(self):
        return "%s=%s%s" % (self.name, self.monitor, self.agent)

    def pid(self):
        return self.process.pid

    def lives(self):
        """Whether there is something behind its socket."""
        return self.process.poll() is None and self._status != "dead"

    def kill(self):
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        for ending in (".qmp", ".qga"):
            path = self.path[:-len(".qmp")] + ending
            if os.path.exists(path):
                os.unlink(path)

    def say(self, *words):
        """Something happens to it from elsewhere."""
        self.process.stdin.write((" ".join((self.name,) + words) + "\n").encode())
        self.process.stdin.flush()

    def turn_good(self):
        """A monitor that misbehaved does so no longer; one that loses replies gets a line on which none is missing."""
        if self.monitor in SLOW_MONITORS:
            self.say("monitor", "good")
        elif self.has_lost():
            self.drop()

    def has_lost(self):
        """Whether an answer is missing on its line."""
        self._read()
        return self.monitor in LOSERS and self._has_stopped

    def drop(self):
        """Its connections are cut; until it is found again it may miss a sleep."""
        self.say("drop")
        self._has_stopped, self.is_dropped = False, True

    def _read(self):
        with open(self._log, "rb") as log:
            log.seek(self._at)
            data = log.read()
        self._at += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            words = line.decode(errors="replace").split()
            if len(words) == 4 and words[2] == "state":
                self._status = words[3]
                if words[3] == "suspended":
                    self._struck_ns = int(words[0])
            elif len(words) == 4 and words[3] in COMMANDS:
                if not self._is_undone_by(words[3], int(words[0])):
                    self._touches.append(words[3])
                self._has_stopped |= words[3] == "stop"

    def _is_undone_by(self, command, at_ns):
        """Whether it had suspended itself, as only the daemon can have asked it to, and now the daemon undoes that."""
        return bool(self.agent) and command in WAKING_COMMANDS and self._struck_ns and at_ns - self._struck_ns < UNDO_NS

    def status(self):
        self._read()
        return self._status

    def is_quiet(self):
        """Whether it has not suspended itself just now."""
        self._read()
        return not self._struck_ns or time.monotonic_ns() - self._struck_ns > QUIET_NS

    def touches(self):
        """What the daemon has done to it since the last time."""
        self._read()
        touches, self._touches = self._touches, []
        return touches

    def stop(self):
        self.set_status(lambda: self.say("stop"), "paused")

    def cont(self):
        self.set_status(lambda: self.say("cont"), "running")

    def suspend(self):
        """The guest suspends by its own wish."""
        self.set_status(lambda: self.say("suspend"), "suspended")

    def wake(self):
        self.set_status(lambda: self.say("wake"), "running")


class Real(Machine):
    """A QEMU with -machine none, and a second monitor."""

    def __init__(self, scratch, folder, name):
        super().__init__(name, os.path.join(folder, name + ".qmp"))
        self.qemu = Qemu(scratch, name, kind="none", folder=folder)
        for path in (self.path, self.qemu.own_path("mon")):
            if os.path.exists(path):
                os.unlink(path)
        self.qemu.start()
        self._mark = self.qemu.monitor.mark()

    def describe(self):
        return self.name + "=qemu"

    def pid(self):
        return self.qemu.pid

    def lives(self):
        return self.qemu.running()

    def kill(self):
        self.qemu.kill()
        for path in (self.path, self.qemu.own_path("mon")):
            if os.path.exists(path):
                os.unlink(path)

    def turn_good(self):
        """It is."""

    def status(self):
        return self.qemu.status()

    def touches(self):
        """What was done to it since the last time, by whomever."""
        events = self.qemu.monitor.events
        since, self._mark = self._mark, len(events)
        return [e.name for e in events[since:] if e.name in ("STOP", "RESUME")]

    def stop(self):
        self.set_status(self.qemu.stop, "paused")

    def cont(self):
        self.set_status(self.qemu.cont, "running")


def reached(machine):
    """Whether it is where it is to be; notes since when it is waited for."""
    if machine.is_frozen:
        return False
    try:
        if machine.status() == machine.expected or not machine.lives():
            machine.due = None
            return True
    except LabError:
        return not machine.lives()
    if machine.due is None:
        machine.due = time.monotonic() + machine.patience
    return False
