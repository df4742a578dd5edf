# SPDX-License-Identifier: LGPL-2.1-or-later
"""suspendd as it is installed, as a service of the lab's host."""

import json
import os
import re
import shutil
import subprocess

from .util import LabError, wait_for

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SUSPENDD_BUILD", os.path.join(REPOSITORY, "build"))
UNIT = "suspendd.service"
RESCUE = "suspendd-rescue.service"
# Read after the lab's own drop-ins, which set no limit.
NO_START = "/run/systemd/system/%s.d/zz-no-start.conf" % UNIT

# What a sanitizer needs of a sandboxed service: its shadow memory, and its reports in the journal.
SANITIZER_UNIT = """[Service]
Environment=ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1:abort_on_error=0:exitcode=99:verify_asan_link_order=0
Environment=UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
MemoryDenyWriteExecute=no
SystemCallFilter=
LimitAS=infinity
CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_OVERRIDE
"""


# For LimitNICE= of its unit, which a machine's root does not get where he may raise no limit himself.
NICE_UNIT = "[Service]\nCapabilityBoundingSet=CAP_SYS_NICE\n"
CAP_SYS_RESOURCE = 24


def may_raise_limits():
    """Whether this machine's root may raise a limit of his own, and so a unit's."""
    with open("/proc/self/status", encoding="ascii") as f:
        return bool(int(re.search(r"CapEff:\s+(\w+)", f.read())[1], 16) >> CAP_SYS_RESOURCE & 1)


# libvirt's client calls its xdr_ functions. The sanitizer, which stands before them, looks for them when the
# process starts, and not again when the plugin brings them.
SANITIZER_PRELOAD = "libtirpc.so.3"


def install(root):
    """Installs the build into the folder @root, as a package would."""
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root],
                   check=True, stdout=subprocess.DEVNULL, timeout=120)


class Suspendd:
    """The service on one host. Machines are looked for in the folder `vms`, in which Qemu(...) makes them."""

    def __init__(self, host, config="", debug=True, sleep_clock=False):
        self.host = host
        self.vms = host.scratch.sub("vm")
        stage = host.scratch.sub("stage")
        install(stage)
        shutil.copytree(stage, host.path("/"), dirs_exist_ok=True, symlinks=True)
        if os.path.basename(BUILD) == "asan":
            self.drop_in("sanitizer", SANITIZER_UNIT)
        if not may_raise_limits():
            self.drop_in("nice", NICE_UNIT)
        # The lab's own machines are in /tmp, where it would see none.
        self.drop_in("tmp", "[Service]\nPrivateTmp=no\n")
        if host.root != "/":  # its systemd is newer than the one that this was built for
            host.write("/etc/systemd/system/suspendd.service.d/newer.conf", "[Service]\nRestartMode=direct\n")
        # Tests kill it more often than a service may die.
        host.write("/etc/systemd/system/suspendd.service.d/restarts.conf", "[Unit]\nStartLimitIntervalSec=0\n")
        if debug:
            self.drop_in("debug", "[Service]\nEnvironment=SUSPENDD_LOG_LEVEL=debug\nLogRateLimitIntervalSec=0\n")
        preload = [SANITIZER_PRELOAD] if os.path.basename(BUILD) == "asan" else []
        if sleep_clock:  # so that it sees how long the host slept
            preload.append(host.sleep_clock)
        if preload:
            self.drop_in("preload", "[Service]\nEnvironment=LD_PRELOAD=%s\n" % ":".join(preload))
        host.systemctl("daemon-reload")
        host.busctl("call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "ReloadConfig")
        self.configure(config)

    def drop_in(self, name, text):
        """Adds to both units, from the next `systemctl daemon-reload` on."""
        for unit in (UNIT, RESCUE):
            self.host.write("/etc/systemd/system/%s.d/%s.conf" % (unit, name), text)

    # life

    def configure(self, config=""):
        """Writes suspendd.conf; it counts from the next start or reload()."""
        self.host.write("/etc/suspendd/suspendd.conf", "[Plugin qmp]\nDirectory=%s\n%s" % (self.vms, config))

    def start(self):
        """Starts the service; returns once it has said READY."""
        self.host.systemctl("start", UNIT)
        return self

    def stop(self):
        """Stops it."""
        self.host.systemctl("stop", UNIT)

    def reload(self):
        """Makes it read its configuration again."""
        self.host.systemctl("reload", UNIT)

    def kill(self, signal="KILL"):
        """Sends its main process a signal; systemd starts it again."""
        self.host.systemctl("kill", "--kill-whom=main", "-s", signal, UNIT)

    def pid(self):
        """Its main process as this machine counts, or None."""
        return self.host.unit_pid(UNIT)

    def wait_restarted(self, old_pid, timeout=10):
        """Waits until it is up again with another process, and has said READY."""
        def is_new():
            new = self.pid()
            return new and new != old_pid and self.host.unit_property(UNIT, "ActiveState") == "active"
        wait_for(is_new, timeout, "suspendd restarted", interval=0.05)

    def break_start(self, command="/bin/false"):
        """From its next end on it cannot be started: what is started is this. systemd gives it up soon."""
        self.host.write(NO_START, "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=2\n"
                        "[Service]\nExecStart=\nExecStart=%s\n" % command)
        self.host.systemctl("daemon-reload")

    def mend_start(self):
        """It can be started again, if it could not be."""
        if self.host.exists(NO_START):
            os.unlink(self.host.path(NO_START))
            self.host.systemctl("daemon-reload")
        self.host.systemctl("reset-failed", UNIT, RESCUE, check=False)

    def log(self):
        """What it said."""
        return self.host.journal("-u", UNIT)

    # suspendctl

    def ctl(self, *arguments, check=True, timeout=30):
        """suspendctl; the CompletedProcess."""
        return self.host.run("suspendctl", *arguments, check=check, timeout=timeout)

    def json(self, *arguments, timeout=30):
        """What suspendctl prints with --json, parsed."""
        return json.loads(self.ctl(*arguments, "--json", timeout=timeout).stdout)

    def machine(self, name):
        """One machine as `show` tells it; None if it is not there."""
        found = self.ctl("show", name, "--json", check=False)
        if found.returncode:
            return None
        told = json.loads(found.stdout)
        return told[0] if isinstance(told, list) else told

    def wait_machine(self, name, timeout=15, **wanted):
        """Waits until the machine is there, and its properties are as wanted (run_state="running")."""
        def is_there():
            m = self.machine(name)
            return m if m and all(m.get(k) == v for k, v in wanted.items()) else None
        return wait_for(is_there, timeout, "machine %s %s" % (name, wanted or ""), interval=0.05)

    # pages

    def page_path(self, name):
        """The page of that name, and with .sock its doorbell, as this machine's QEMU can open it."""
        return self.host.path("/run/suspendd/pages/" + name)

    def page_table(self, vm):
        """Writes what the guest shall find its page by, an ACPI table or nodes for the device tree. Returns the VM."""
        vm.page_table = vm.own_path("table")
        self.ctl("page", "show", vm.name, *vm.board.table_options(vm, vm.page_table))
        return vm

    # cycles

    def records(self):
        """All records of the history, oldest first, as they are stored."""
        folder = self.host.path("/var/lib/suspendd/history")
        if not os.path.isdir(folder):
            return []
        out = []
        for name in sorted(os.listdir(folder), key=lambda n: (len(n), n)):
            if name.endswith(".json"):
                with open(os.path.join(folder, name)) as f:
                    out.append(json.load(f))
        return out

    def wait_record(self, number, timeout=40):
        """Waits for the record of cycle @number."""
        def find():
            return next((r for r in self.records() if r["number"] == number), None)
        return wait_for(find, timeout, "record of cycle %d" % number, interval=0.05)

    def suspend(self, timeout=60):
        """One whole cycle by `systemctl suspend`. Returns its record."""
        number = self.last_number() + 1
        self.host.suspend(timeout)
        return self.wait_record(number, timeout)

    def last_number(self):
        """The number of the last cycle that is recorded, 0 if none."""
        records = self.records()
        return records[-1]["number"] if records else 0

    def overruns(self):
        """logind's lines about locks that were not let go in time."""
        return [x for x in self.host.journal("-u", "systemd-logind").splitlines()
                if "inhibitor timeout is reached" in x]

    def wait_held(self, count, timeout=10):
        """Waits until that many machines stand because of us, by the daemon's word."""
        wait_for(lambda: self.manager("NHeld") == count, timeout, "%d machines held" % count, interval=0.02)

    def manager(self, name):
        """A property of the Manager object."""
        return self.host.get_property("org.suspendd1", "/org/suspendd1", "org.suspendd1.Manager", name)

    def wait_state(self, state, timeout=15):
        """Waits for a state of the cycle: idle, preparing, sleeping, restoring."""
        wait_for(lambda: self._state() == state, timeout, "cycle " + state, interval=0.02)

    def _state(self):
        try:
            return self.manager("State")
        except LabError:
            return None


def of(record, name):
    """What a record says of one machine."""
    found = [m for m in record["machines"] if m["name"] == name]
    if len(found) != 1:
        raise LabError("%s is %d times in %s" % (name, len(found), record))
    return found[0]
