# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's Linux guest seen from outside: its console and its control line, whoever runs its QEMU."""

import time

from .qmp import connect
from .util import LabError, wait_for


def kernel_words(agent=True, append="", console="ttyS0"):
    """The guest's kernel command line; see guest/init.sh for what may be appended."""
    words = ["console=" + console + " quiet nokaslr mitigations=off cryptomgr.notests panic=-1", append]
    return " ".join(words + ([] if agent else ["lab.agent=0"])).strip()


class GuestControl:
    """What tests do with a running guest. Who inherits it sets name, console_path and control_path (the
    sockets and files of its QEMU), notes when it was .started and tells whether it is .running()."""

    name = console_path = control_path = None
    started = boot_seconds = None
    _control = None

    def running(self):
        """Whether there is a machine."""
        raise NotImplementedError

    def log(self):
        """What QEMU itself printed."""
        raise NotImplementedError

    def wait_up(self, timeout=90):
        """Waits until the Linux guest is up, its agent too."""
        if self.boot_seconds is not None:
            return self
        wait_for(lambda: "GUEST-UP" in self.console() or not self.running(), timeout,
                 "%s up, console in %s" % (self.name, self.console_path))
        if not self.running():
            raise LabError("%s ended while it booted: %s" % (self.name, self.log()))
        if "GUEST-ERROR" in self.console():
            raise LabError("%s: %s" % (self.name, self.console()[-500:]))
        self.boot_seconds = time.monotonic() - self.started
        return self

    def console(self):
        """All that the guest printed."""
        try:
            with open(self.console_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def disconnect(self):
        """Lets go of the control line."""
        if self._control:
            self._control.close()
        self._control = None

    def control(self, command, timeout=30):
        """One command of guest-control.c; returns what follows "ok". LabError on "error" or silence."""
        if self._control is None:
            self._control = connect(self.control_path)
        tag = b"%d " % time.monotonic_ns()
        self._control.sendall(tag + command.encode() + b"\n")
        word, _, rest = self._answer(tag, time.monotonic() + timeout, command).partition(" ")
        if word != "ok":
            raise LabError("%s: %s: %s" % (self.name, command, rest))
        return rest

    def _answer(self, tag, end, command):
        """The line that answers to the tag; older ones, which came too late, are dropped."""
        buffer = b""
        while time.monotonic() < end:
            self._control.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._control.recv(65536)
            except TimeoutError:
                break
            if not data:
                self._control.close()
                self._control = None
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                if line.startswith(tag):
                    return line[len(tag):].decode(errors="replace")
        raise LabError("%s does not answer to %s" % (self.name, command))

    def shell(self, command, timeout=30):
        """Runs a shell command in the guest: (exit status, output)."""
        status, _, output = self.control("sh " + command, timeout).partition(" ")
        return int(status), output.replace("\\n", "\n")

    def begin(self, name, command):
        """Starts a program in the guest that runs beside the test; what it says is in lines()."""
        self.shell("%s </dev/null >/run/%s.log 2>&1 & echo $! >/run/%s.pid" % (command, name, name))

    def end(self, name):
        """Ends it. Returns whether it was still there."""
        return self.shell("kill $(cat /run/%s.pid)" % name)[0] == 0

    def lines(self, name):
        """What it has said so far."""
        return self.shell("cat /run/%s.log" % name)[1].splitlines()

    def wait_line(self, name, part, timeout=20, since=0):
        """The first of its lines with @part, from line number @since on; waits for it."""
        def find():
            return next((x for x in self.lines(name)[since:] if part in x), None)
        try:
            return wait_for(find, timeout, interval=0.05)
        except LabError:
            raise LabError("%s: %s did not say %s: %s" % (self.name, name, part, self.lines(name)[-5:])) from None

    def clocks(self):
        """The guest's clocks in ns: dict of monotonic, boottime, realtime, raw; host_realtime is the middle
        of the question and the answer, host_boottime as well, uncertainty half the time between them."""
        before, boottime = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        values = self.control("clock").split()
        half = (time.time_ns() - before) // 2
        told = dict(zip(("monotonic", "boottime", "realtime", "raw"), map(int, values)))
        return dict(told, host_realtime=before + half, host_boottime=boottime + half, uncertainty=half)

    def best_clocks(self, tries=7):
        """That reading of some whose uncertainty is the smallest."""
        return min((self.clocks() for _ in range(tries)), key=lambda c: c["uncertainty"])

    def clock_error(self, tries=5):
        """(guest CLOCK_REALTIME - host's, uncertainty) in ns, the best of some readings."""
        best = self.best_clocks(tries)
        return best["realtime"] - best["host_realtime"], best["uncertainty"]

    def set_clock_error(self, error_ns):
        """Sets the guest's wall clock wrong by that much (0: right, to about a millisecond)."""
        self.control("set-clock %d" % (time.time_ns() + error_ns))

    def start_busy(self):
        """From now on its CPU is never idle: a loop in user space."""
        self.begin("busy", "sh -c 'while :; do :; done'")

    def stop_busy(self):
        """Ends that."""
        if not self.end("busy"):
            raise LabError(self.name + " was not busy")

    def lockups(self):
        """What the kernel's watchdogs have said so far: soft lockups, stalls, hung tasks."""
        said = self.shell("dmesg | grep -iE 'soft lockup|rcu.*(stall|self-detected)|hung_task|blocked for more'")[1]
        return said.splitlines()

    def stop_agent(self):
        """SIGSTOP to the guest agent: it hangs."""
        self.control("stop-agent")

    def cont_agent(self):
        """SIGCONT to it: it answers late."""
        self.control("cont-agent")

    def set_suspend_delay(self, seconds):
        """How long the guest waits after its yes before it really suspends."""
        self.control("suspend-delay %d" % seconds)
