# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real domain of a real libvirtd: the lab's Linux guest, or a machine that idles."""

import concurrent.futures
import os
import shutil
import signal
import struct
import threading
import time
import uuid as uuids
from xml.sax.saxutils import escape

from .guestcontrol import GuestControl, kernel_words
from .qmp import Qmp
from .util import LabError, wait_for

# A disk is a sparse file alone on a file system that is smaller, so that a write to it can fail for real.
DISK_BYTES = 64 << 20
DISK_ROOM_BYTES = 4 << 20
BLOCK_BYTES = 4096

# An image of `virsh save`, as libvirt's qemu_saveimage.h has it: magic, version, length of XML and cookie, was
# running, compressed, where in that length the cookie begins, 14 unused words.
SAVE_MAGIC = b"LibvirtQemudSave"
SAVE_HEADER = struct.Struct("=16s5I14I")


class Domain(GuestControl):
    """One domain, known to libvirt after start().

    kind        "linux", or "none": nothing but a CPU that is halted, for which QEMU needs no CPU time
    channel     whether there is an agent channel;  agent: whether an agent listens on it
    pm          what <suspend-to-mem> says; None: no <pm>, as most domains have it
    metadata    XML for <metadata>
    append      more for the guest's kernel command line ("lab.suspend-delay=5")
    disk        a disk (vda), which break_disk() makes fail
    monitor     a monitor of the tests' own, .monitor, whose events have QEMU's stamps
    devices     XML for more of <devices>
    more        XML for the end of <domain>
    """

    def __init__(self, libvirt, name, kind="linux", machine="pc", channel=True, agent=True, pm=None, metadata=None,
                 memory=None, append="", disk=False, monitor=False, devices="", more="", uuid=None):
        self.libvirt, self.host, self.name = libvirt, libvirt.host, name
        self.kind, self.machine, self.pm, self.metadata, self.more = kind, machine, pm, metadata, more
        self.channel, self.agent_on, self.append = channel, agent, append
        self.memory = memory or (192 if kind == "linux" else 16)
        self.uuid = uuid or str(uuids.uuid4())
        self.console_path = self.own_path("console")
        self.control_path = self.own_path("ctl")
        self.disk_folder = "%s/%s.disk" % (libvirt.images, name) if disk else None
        self.monitor_path = self._make_monitor() if monitor else None
        self.devices = devices
        self.persistent = False
        self._written = 0
        self._pid = self._monitor = None

    def own_path(self, ending):
        """The path of one of the files that are the tests' own."""
        return os.path.join(self.libvirt.own, "%s.%s" % (self.name, ending))

    # what it is made of

    def xml(self):
        """The domain as libvirt is told of it."""
        parts = ["<domain type='qemu'><name>%s</name><uuid>%s</uuid>" % (escape(self.name), self.uuid),
                 "<memory unit='MiB'>%d</memory><vcpu>1</vcpu><clock offset='utc'/>" % self.memory,
                 "<on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>"]
        if self.metadata:
            parts.append("<metadata>%s</metadata>" % self.metadata)
        if self.pm is not None:
            parts.append("<pm><suspend-to-mem enabled='%s'/></pm>" % ("yes" if self.pm else "no"))
        parts.append("<os><type arch='x86_64' machine='%s'>hvm</type>" % self.machine)
        if self.kind == "linux":
            parts.append("<kernel>%s</kernel><initrd>%s</initrd><cmdline>%s</cmdline></os><features><acpi/></features>" %
                         (self.libvirt.kernel, self.libvirt.initrd, escape(kernel_words(self.agent_on, self.append))))
        else:
            parts.append("<loader readonly='yes' type='rom'>%s</loader></os>" % self.libvirt.idle_rom)
        parts += ["<devices>", *self._devices(), self.devices, "</devices>", self.more]
        if self.monitor_path:
            parts.append("<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-qmp'/>"
                         "<qemu:arg value='unix:%s,server=on,wait=off'/></qemu:commandline>" % self.monitor_path)
        parts.append("</domain>")
        return "\n".join(parts)

    def _devices(self):
        yield "<controller type='usb' model='none'/><memballoon model='none'/>"
        if self.kind == "linux":
            yield "<serial type='file'><source path='%s'/></serial>" % self.console_path
            yield self._channel("lab.control", self.control_path)
        if self.channel and self.kind == "linux":
            yield self._channel("org.qemu.guest_agent.0")
        if self.disk_folder:
            yield "<disk type='file' device='disk'><driver name='qemu' type='raw' error_policy='stop'/>" \
                  "<source file='%s/vda.raw'/><target dev='vda' bus='virtio'/></disk>" % self.disk_folder

    @staticmethod
    def _channel(name, path=None):
        source = "<source mode='bind' path='%s'/>" % path if path else ""
        return "<channel type='unix'>%s<target type='virtio' name='%s'/></channel>" % (source, name)

    def _make_monitor(self):
        """Returns the path of its socket, where QEMU's own user can make it."""
        folder = self.own_path("monitor")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o777)
        return os.path.join(folder, "qmp")

    def _make_disk(self):
        if not self.host.exists(self.disk_folder):
            self.host.run("mkdir", self.disk_folder)
            self.host.run("mount", "-t", "tmpfs", "-o", "mode=755,size=%d,uid=%d" % (DISK_ROOM_BYTES, self.libvirt.uid),
                          "disk", self.disk_folder)
        path = self.disk_folder + "/vda.raw"
        self.host.run("truncate", "-s", str(DISK_BYTES), path)
        self.host.run("chown", str(self.libvirt.uid), path)

    # life

    def start(self, paused=False, persistent=False):
        """Starts it, by `virsh create`, or to stay by define and start. Returns itself."""
        if self.disk_folder:
            self._make_disk()
        self.disconnect()
        for old in (self.console_path, self.monitor_path):
            if old and os.path.exists(old):
                os.unlink(old)
        self.started = time.monotonic()
        self.boot_seconds = self._pid = None
        how = ["--paused"] if paused else []
        if persistent or self.persistent:
            self.define()
            self.libvirt.virsh("start", self.name, *how)
        else:
            self.libvirt.virsh_xml("create", self.name, self.xml(), *how)
        self.pid()
        return self

    def define(self):
        """Makes it known for good, without a start."""
        self.libvirt.virsh_xml("define", self.name, self.xml())
        self.persistent = True
        return self

    def undefine(self):
        """Undoes that."""
        self.libvirt.virsh("undefine", self.name)
        self.persistent = False

    def pid(self):
        """Its QEMU as this machine counts, or None."""
        if not self._pid or not os.path.exists("/proc/%d" % self._pid):
            self._pid = self.libvirt.qemu_pid(self.name)
        return self._pid

    def running(self):
        """Whether its QEMU is there."""
        return self.pid() is not None

    def destroy(self):
        """Ends it as a user does who is in a hurry."""
        self.libvirt.virsh("destroy", self.name)
        self.disconnect()

    def kill(self):
        """Kills its QEMU, as a crash would."""
        if self.pid():
            os.kill(self.pid(), signal.SIGKILL)
            wait_for(lambda: not self.running(), 10, "end of " + self.name)
        self.disconnect()

    def freeze(self):
        """SIGSTOP to QEMU: libvirt's monitor and the guest stand still."""
        os.kill(self.pid(), signal.SIGSTOP)

    def thaw(self):
        """SIGCONT to QEMU."""
        os.kill(self.pid(), signal.SIGCONT)

    def rename(self, name):
        """Renames it; it must be defined and shut off."""
        self.libvirt.virsh("domrename", self.name, name)
        self.name = name

    @property
    def monitor(self):
        """That connection, made at its first use."""
        if self._monitor is None:
            self._monitor = Qmp(self.monitor_path)
        return self._monitor

    def disconnect(self):
        """Lets go of monitor and control line."""
        if self._monitor:
            self._monitor.close()
        self._monitor = None
        super().disconnect()

    def log(self):
        """What QEMU itself printed, by libvirt's log of the domain."""
        folder = "/var/log/libvirt/qemu" if not self.libvirt.user else \
            "/home/%s/.cache/libvirt/qemu/log" % self.libvirt.user
        path = "%s/%s.log" % (folder, self.name)
        return self.host.read(path)[-2000:] if self.host.exists(path) else ""

    # its state

    def state(self):
        """(state, reason) as `virsh domstate --reason` says: ("paused", "user"). ("gone", "") if libvirt
        does not know it."""
        done = self.libvirt.virsh("domstate", "--reason", self.name, check=False)
        if done.returncode:
            if "failed to get domain" in done.stderr:
                return "gone", ""
            raise LabError("%s: %s" % (self.name, done.stderr.strip()))
        state, _, reason = done.stdout.strip().partition(" (")
        return state, reason.rstrip(")")

    def wait_state(self, state, reason=None, timeout=10):
        """Waits for a state, and a reason if one is given."""
        def is_there():
            now = self.state()
            return now[0] == state and reason in (None, now[1])
        wait_for(is_there, timeout, "%s %s %s" % (self.name, state, reason or ""), interval=0.05)

    def id(self):
        """Its number, None if it is not active."""
        text = self.libvirt.virsh("domid", self.name, check=False).stdout.strip()
        return int(text) if text.isdigit() else None

    # what a user does

    def suspend(self):
        """Pauses the vCPUs."""
        self.libvirt.virsh("suspend", self.name)

    def resume(self):
        """Lets them run."""
        self.libvirt.virsh("resume", self.name)

    def pm_suspend(self, timeout=60):
        """Suspend-to-RAM by the guest agent; comes back when the agent has said yes."""
        self.libvirt.virsh("dompmsuspend", self.name, "--target", "mem", timeout=timeout)

    def wakeup(self):
        """Wakes a guest out of suspend-to-RAM."""
        self.libvirt.virsh("dompmwakeup", self.name)

    def agent_command(self, text, timeout=10):
        """What the guest agent answers to a command, as JSON text."""
        return self.libvirt.virsh("qemu-agent-command", self.name, text, "--timeout", str(timeout)).stdout

    # the disk

    def break_disk(self):
        """From now on a write to a part of the disk that was never written fails: no space on the host."""
        path = self.host.path(self.disk_folder + "/filler")
        with open(path, "wb", buffering=0) as f:
            try:
                while f.write(bytes(BLOCK_BYTES)):
                    pass
            except OSError:
                pass

    def fix_disk(self):
        """There is space again. What failed is tried again when the domain is resumed."""
        os.unlink(self.host.path(self.disk_folder + "/filler"))

    def write_disk(self):
        """Makes the guest write where nothing was written before; does not wait for the end, which may not come."""
        self._written += 1
        self.shell("dd if=/dev/urandom of=/dev/vda bs=%d count=1 seek=%d conv=notrunc,fsync </dev/null >/dev/null 2>&1 &" %
                   (BLOCK_BYTES, self._written))

    def written(self):
        """Whether the last write_disk() has come to its end."""
        return self.shell("pgrep -x dd")[0] != 0


# many domains

class SaveImage:
    """An image of `virsh save` under another name: only the XML at its start is ever rewritten."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as f:
            fields = SAVE_HEADER.unpack(f.read(SAVE_HEADER.size))
            if fields[0] != SAVE_MAGIC:
                raise LabError(path + " is no save image")
            self._fields = list(fields)
            text = f.read(fields[2])
        self._room = fields[2]
        cookie_at = fields[5] or self._room
        self._xml, self._cookie = text[:cookie_at].rstrip(b"\0").decode(), text[cookie_at:].rstrip(b"\0")

    def become(self, domain, template):
        """Makes it the image of @domain: name, UUID, console and control line are no longer @template's."""
        text = self._xml
        for old, new in (("<name>%s</name>", "name"), ("<uuid>%s</uuid>", "uuid"), ("'%s'", "console_path"),
                         ("'%s'", "control_path")):
            text = text.replace(old % getattr(template, new), old % getattr(domain, new))
        text = text.encode() + b"\0"
        body = text + (self._cookie + b"\0" if self._cookie else b"")
        if len(body) > self._room:
            raise LabError("no room for the XML of %s in a save image" % domain.name)
        self._fields[5] = len(text) if self._cookie else 0
        with open(self.path, "r+b") as f:
            f.write(SAVE_HEADER.pack(*self._fields) + body.ljust(self._room, b"\0"))


def start_domains(domains, workers=2, **how):
    """Starts all of them, some at a time, and returns them."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda domain: domain.start(**how), domains))


def clone_domains(libvirt, names, workers=3, memory=112, **options):
    """Running Linux guests with live agents in less than a second each: one boots, is saved, and is restored
    under each name. Their clocks are right. Options are Domain's, but for a disk. Returns the domains, in order."""
    template = Domain(libvirt, "template-" + max(names, key=len), memory=memory, **options).start().wait_up()
    template.disconnect()
    saved = libvirt.images + "/template.save"
    libvirt.virsh("save", template.name, saved)
    started = time.monotonic()
    local, copies = threading.local(), []

    def image():
        """This thread's own copy of the image."""
        if not hasattr(local, "image"):
            copies.append("%s.%d" % (saved, threading.get_native_id()))
            local.path = copies[-1]
            shutil.copy(libvirt.host.path(saved), libvirt.host.path(local.path))
            local.image = SaveImage(libvirt.host.path(local.path))
        return local.image

    def restore(name):
        domain = Domain(libvirt, name, memory=memory, **options)
        image().become(domain, template)
        libvirt.virsh("restore", local.path, "--running")
        domain.clocks()
        domain.boot_seconds = time.monotonic() - started
        return domain

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        domains = list(pool.map(restore, names))
    for domain in domains * 2:  # the first time is slow: its QEMU translates the code
        domain.set_clock_error(0)
    for path in [saved] + copies:
        os.unlink(libvirt.host.path(path))
    return domains
