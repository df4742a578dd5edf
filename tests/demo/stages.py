# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the demo plays: a whole host in namespaces for root, a bus of one's own for anybody else."""

import json
import os
import shutil
import subprocess

from lab import Host, LabError, LabUnavailable, Qemu, Scratch, wait_for
from lab.suspendd import BUILD, Suspendd
from screen import span

SLEEP = 5  # seconds
BUS = """<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_sender="*"/></policy></busconfig>
"""


class HostStage:
    """Real systemd and logind in namespaces, suspendd their service, `systemctl suspend`."""

    kind = "sleep"
    command = "systemctl suspend"
    words = "systemctl suspend: real, but this machine stays awake"
    title = "host"

    def __init__(self):
        self.host = Host(sleep=SLEEP)
        self.suspendd = self.signals = self.fell_asleep = None

    def start(self):
        """The surroundings; returns what they are."""
        self.host.start()
        return "systemd %s, logind, D-Bus: real, in namespaces" % self.host.systemctl("--version").stdout.split()[1]

    def start_suspendd(self):
        """Installs and starts it; returns what it is."""
        self.suspendd = Suspendd(self.host, debug=False, sleep_clock=True).start()
        return "%s, installed there from build/, as a service" % self.ctl("--version").split()[-1]

    def guest(self, name, **more):
        """Starts a QEMU where suspendd finds it."""
        return Qemu(self.host.scratch, name, self.host, **more).start()

    def sleep_begin(self, *_):
        """Has the host put to sleep; returns when it sleeps."""
        self.signals = self.host.signals()
        self.host.request_suspend()
        self.host.wait_asleep()
        self.fell_asleep = os.stat(self.host.path("/run/lab/asleep")).st_mtime

    def sleep_end(self):
        """Waits until the host is awake again."""
        self.signals.wait("PrepareForSleep", False, SLEEP + 10)

    def landmarks(self, began):
        """What else belongs into the story: (when, who, what)."""
        delay = self.host.inhibit_delay_usec() / 1e6
        return [(began, "logind", "announces the sleep, waits %g s at most" % delay),
                (self.fell_asleep, "host", "sleeps"),
                (self.signals.find("PrepareForSleep", False), "logind", "tells that the host is awake")]

    def record(self):
        """The record of the cycle."""
        return self.suspendd.wait_record(1)

    def ctl(self, *arguments):
        """What suspendctl prints."""
        return self.host.run("suspendctl", *arguments).stdout

    def show(self, *arguments):
        """suspendctl on our own standard output, as a user sees it."""
        env = {k: os.environ[k] for k in ("TERM", "COLUMNS", "NO_COLOR") if k in os.environ}
        child = self.host.popen(["suspendctl"] + list(arguments), env=dict(env, SYSTEMD_COLORS="1"))
        if child.wait(20) != 0:
            raise LabError("suspendctl %s: status %d" % (" ".join(arguments), child.returncode))

    def verdicts(self):
        """What must have held beside the guests: (whether it did, who, what was seen)."""
        delay = self.host.inhibit_delay_usec() / 1e6
        waited = self.fell_asleep - self.signals.find("PrepareForSleep", True)
        complaints = self.suspendd.overruns()
        return [(not complaints and waited < 0.9 * delay, "logind", complaints[0] if complaints else
                 "waited less than %s of %g s, and complains of nothing" % (span(waited * 1e9), delay))]

    def entrance(self):
        """How to get in."""
        return "nsenter -t %d -a -r -w bash" % self.host.pid

    def keep_logs(self):
        """Something went wrong: the logs stay."""
        self.host.scratch.keep = True

    def stop(self):
        """Ends all of it."""
        if self.signals:
            self.signals.close()
        self.host.stop()


class UserStage:
    """Without root: a private bus, a logind that is played, suspendd as a plain process, a rehearsal."""

    kind = "rehearsal"
    command = words = "suspendctl rehearse --for=%ds" % SLEEP
    title = "bus"

    def __init__(self):
        self.scratch = Scratch()
        self.children = []
        self.rehearsal = None
        self.env = dict(os.environ, LC_ALL="C.UTF-8", DBUS_SYSTEM_BUS_ADDRESS="unix:path=" + self.scratch.file("bus"),
                        RUNTIME_DIRECTORY=self.scratch.sub("run"), STATE_DIRECTORY=self.scratch.sub("state"))

    def _spawn(self, name, *command):
        with open(self.scratch.file(name + ".log"), "wb") as log:
            child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--"] + list(command), env=self.env,
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.children.append(child)
        return child

    def _write(self, name, text):
        path = self.scratch.file(name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def start(self):
        """The surroundings; returns what they are."""
        if not shutil.which("dbus-daemon"):
            raise LabUnavailable("no dbus-daemon (package dbus)")
        config = self._write("bus.conf", BUS % self.scratch.file("bus"))
        self._spawn("dbus", "dbus-daemon", "--nofork", "--config-file=" + config)
        wait_for(lambda: os.path.exists(self.scratch.file("bus")), 10, "a bus, see " + self.scratch.file("dbus.log"))
        self._spawn("login1", os.path.join(BUILD, "tests/fake/fake-login1"))
        wait_for(lambda: self._has_name("org.freedesktop.login1"), 10, "logind's name on the bus")
        return "a private D-Bus, a played logind (real ones for root)"

    def _has_name(self, name):
        done = subprocess.run(["busctl", "status", name], env=self.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=10)
        return done.returncode == 0

    def start_suspendd(self):
        """Starts it from the build; returns what it is."""
        config = self._write("suspendd.conf", "[Plugin qmp]\nDirectory=%s\n" % self.scratch.sub("vm"))
        child = self._spawn("suspendd", os.path.join(BUILD, "src/daemon/suspendd"), "--config=" + config,
                            "--plugin-dir=" + os.path.join(BUILD, "src/plugins/qmp"))
        wait_for(lambda: child.poll() is not None or self._has_name("org.suspendd1"), 10, "suspendd")
        if child.poll() is not None:
            raise LabError("suspendd ended at its start, see " + self.scratch.file("suspendd.log"))
        return "%s of build/, as a process of yours" % self.ctl("--version").split()[-1]

    def guest(self, name, **more):
        """Starts a QEMU where suspendd finds it."""
        return Qemu(self.scratch, name, **more).start()

    def sleep_begin(self, *guests):
        """Begins the rehearsal; returns when all guests stand."""
        self.rehearsal = self._spawn("rehearsal", *self._suspendctl("rehearse", "--for=%ds" % SLEEP))
        for guest in guests:
            wait_for(lambda: guest.status() != "running", 10, guest.name + " stands")

    def sleep_end(self):
        """Waits until the rehearsal is over."""
        if self.rehearsal.wait(SLEEP + 20):
            raise LabError("the rehearsal ended with status %d, see %s" %
                           (self.rehearsal.returncode, self.scratch.file("rehearsal.log")))
        return None

    def landmarks(self, began):
        """What else belongs into the story: (when, who, what)."""
        return [(began, "suspendd", "begins to rehearse a sleep")]

    def record(self):
        """The record of the cycle."""
        return json.loads(self.ctl("history", "1", "--json"))

    @staticmethod
    def _suspendctl(*arguments):
        return [os.path.join(BUILD, "src/cli/suspendctl")] + list(arguments)

    def ctl(self, *arguments):
        """What suspendctl prints."""
        done = subprocess.run(self._suspendctl(*arguments), env=self.env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        if done.returncode:
            raise LabError("suspendctl %s: %s" % (" ".join(arguments), done.stderr.strip()))
        return done.stdout

    def show(self, *arguments):
        """suspendctl on our own standard output, as a user sees it."""
        subprocess.run(self._suspendctl(*arguments), env=self.env, check=True, timeout=20)

    def verdicts(self):
        """What must have held beside the guests: here is no real logind to ask."""
        return []

    def entrance(self):
        """How to speak with this suspendd."""
        return "DBUS_SYSTEM_BUS_ADDRESS=%s %s" % (self.env["DBUS_SYSTEM_BUS_ADDRESS"], self._suspendctl()[0])

    def keep_logs(self):
        """Something went wrong: the logs stay."""
        self.scratch.keep = True

    def stop(self):
        """Ends all of it."""
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.scratch.remove()
