# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real QEMU as a machine of the lab's host: a Linux guest, or a bare `-machine none`."""

import os
import shutil
import signal
import subprocess
import time
import uuid as uuids

from .boards import BOARDS, carriers, need
from .guestcontrol import GuestControl, kernel_words
from .images import guest_image, ovmf
from .qmp import Agent, Qmp
from .util import LabError, alive, children, wait_for


class Qemu(GuestControl):
    """One QEMU process.

    The daemon's sockets are FOLDER/NAME.qmp and FOLDER/NAME.qga; the tests' own monitor
    (.monitor) and the guest's control line (.control()) lie elsewhere, so that they are never in its way.
    Made with a Host it runs in that host's process namespace, else on the machine itself.

    kind      "linux", or "none": a QEMU without hardware that knows stop, cont, events
    arch      "amd64" or "arm64" (machine virt);  kernel "own" or "7", see guest/build.sh
    machine   "pc" or "q35";  firmware "seabios" or "ovmf" (q35)
    page      the file of a drift page that ptp_vmclock finds: an nvdimm, on arm64 the last page of the RAM; set
              .page_table before the start, see Suspendd.page_table();  shmem: the file for an ivshmem-plain
    doorbell  the socket of an ivshmem server, for an ivshmem-doorbell with vectors interrupts and a virtual IOMMU (q35)
    progress  a file, for an ivshmem-plain by which page-tool in the guest tells how far it is
    channel   whether there is an agent channel;  agent: whether an agent listens on it
    paused    started with -S
    append    more for the guest's kernel command line ("lab.suspend-delay=5")
    extra     more arguments for QEMU
    """

    def __init__(self, scratch, name, host=None, kind="linux", machine="pc", firmware="seabios", channel=True,
                 agent=True, paused=False, memory=None, append="", extra=(), uuid=None, folder=None, arch="amd64",
                 kernel="own", page=None, shmem=None, doorbell=None, vectors=2,
                 progress=None):
        self.board = BOARDS[arch]
        need(self.board.binary, self.board.package)
        self.scratch, self.name, self.host = scratch, name, host
        self.kind, self.machine, self.firmware = kind, machine, firmware
        self.channel, self.agent_on, self.paused = channel, agent, paused
        self.memory = memory or (192 if arch == "amd64" and kernel == "own" else 256)
        self.append, self.extra, self.kernel = append, list(extra), kernel
        self.page, self.page_table, self.shmem = page, None, shmem
        self.doorbell, self.vectors, self.progress = doorbell, vectors, progress
        self.uuid = uuid or str(uuids.uuid4())
        self.folder = folder or scratch.sub("vm")
        self._own = scratch.sub("own")
        self.qmp_path = os.path.join(self.folder, name + ".qmp")
        self.qga_path = os.path.join(self.folder, name + ".qga")
        self.console_path = self.own_path("console")
        self.control_path = self.own_path("ctl")
        self.process = self.pid = self._monitor = None

    def arguments(self):
        """QEMU's command line."""
        own = os.path.join(self._own, self.name)
        args = [self.board.binary, "-name", self.name, "-uuid", self.uuid, "-nodefaults", "-no-user-config",
                "-display", "none", "-accel", "tcg",
                "-qmp", "unix:%s,server=on,wait=off" % self.qmp_path,
                "-qmp", "unix:%s.mon,server=on,wait=off" % own]
        if self.paused:
            args.append("-S")
        if self.kind == "none":
            return args + ["-machine", "none"] + self.extra
        return args + self._linux_arguments(own) + self.extra

    def _linux_arguments(self, own):
        kernel, initrd = guest_image(self.board.arch, self.kernel)
        words = kernel_words(self.agent_on, " ".join(self.board.words(self) + [self.append]), self.board.console)
        args = self.board.arguments(self) + carriers(self)
        args += ["-rtc", "base=utc,clock=host", "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", words,
                 "-serial", "file:" + self.console_path,
                 "-device", "virtio-serial-pci",
                 "-chardev", "socket,id=ctl,path=%s.ctl,server=on,wait=off" % own,
                 "-device", "virtserialport,chardev=ctl,name=lab.control"]
        if self.channel:
            args += ["-chardev", "socket,id=qga,path=%s,server=on,wait=off" % self.qga_path,
                     "-device", "virtserialport,chardev=qga,name=org.qemu.guest_agent.0"]
        if self.firmware == "ovmf":
            code, variables = ovmf()
            shutil.copy(variables, own + ".vars")
            args += ["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + code,
                     "-drive", "if=pflash,unit=1,format=raw,file=%s.vars" % own]
        return args

    # life

    def start(self, wait=True):
        """Starts it and returns itself; with wait its sockets are there."""
        args = self.arguments()
        if self.host:
            args = self.host.enter_processes() + args
        log = open(os.path.join(self._own, self.name + ".log"), "ab")
        self.started = time.monotonic()
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        if wait:
            self.wait_started()
        return self

    def wait_started(self, timeout=20):
        """Waits until both monitors listen."""
        def ready():
            if self.process.poll() is not None:
                raise LabError("%s ended at its start: %s" % (self.name, self.log()))
            return os.path.exists(self.qmp_path) and os.path.exists(self.own_path("mon"))
        wait_for(ready, timeout, "sockets of " + self.name)
        self.pid = children(self.process.pid)[0] if self.host else self.process.pid

    def running(self):
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """Ends it at once, as a crash would, and waits for its end."""
        if self.running():
            if self.pid and alive(self.pid):
                os.kill(self.pid, signal.SIGKILL)
                self.process.send_signal(signal.SIGCONT)  # nsenter stops with what it runs
            else:
                self.process.kill()
            self.process.wait(10)
        self.disconnect()

    def disconnect(self):
        """Lets go of monitor and control line."""
        if self._monitor:
            self._monitor.close()
        self._monitor = None
        super().disconnect()

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *_):
        self.kill()

    # the process

    def freeze(self):
        """SIGSTOP to QEMU: monitor and guest stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self):
        """SIGCONT to QEMU, and to the nsenter that stopped with it."""
        os.kill(self.pid, signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    # the monitor

    @property
    def monitor(self):
        """The tests' own monitor connection, made at its first use."""
        if self._monitor is None:
            self._monitor = Qmp(self.own_path("mon"))
        return self._monitor

    def own_path(self, ending):
        """The path of one of the tests' own sockets or files of this machine."""
        return os.path.join(self._own, "%s.%s" % (self.name, ending))

    def status(self):
        """The run state: running, paused, suspended, ..."""
        return self.monitor.command("query-status")["status"]

    def wait_status(self, status, timeout=10):
        """Waits for a run state."""
        wait_for(lambda: self.status() == status, timeout, "%s %s" % (self.name, status))

    def stop(self):
        """Pauses the vCPUs."""
        self.monitor.command("stop")

    def cont(self):
        """Lets them run."""
        self.monitor.command("cont")

    def wakeup(self):
        """Wakes a suspended guest."""
        self.monitor.command("system_wakeup")

    # the guest

    def agent(self, timeout=10):
        """A client on the agent's channel, which it holds until closed."""
        return Agent(self.qga_path, timeout)

    def log(self):
        """What QEMU itself printed."""
        with open(self.own_path("log"), errors="replace") as f:
            return f.read()[-2000:]
