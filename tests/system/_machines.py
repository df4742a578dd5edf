# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtual machines inside the outer machine, and what is known of them there."""

import re

from lab import wait_for
from _outer import MEDIA, OWN, VMS

CLOCKS = re.compile(r"up=([0-9a-f]+) wall=([0-9a-f]+) rtc=([0-9a-f]+)\n")
DAY_SECONDS = 86400


class Guest:
    """What is known of one from outside: .outer, .name, and .folder, where its files are."""

    def __init__(self, outer, name):
        self.outer, self.name = outer, name
        self.folder = "%s/%s" % (OWN, name)

    def own(self, ending):
        """The path of one of the tests' own files and sockets of it."""
        return "%s/%s.%s" % (self.folder, self.name, ending)

    def ahead(self):
        """Seconds by which the wall clock of a ticking guest is ahead of its real-time clock, which has whole seconds and is
        the host's: a whole day more or less does not count."""
        said = wait_for(lambda: CLOCKS.findall(self.outer.run("tail -n 3 %s" % self.own("out"))), 60,
                        "%s says something" % self.name, interval=0.5)
        _, wall, rtc = (int(x, 16) for x in said[-1])
        return (wall / 1e9 - rtc + DAY_SECONDS / 2) % DAY_SECONDS - DAY_SECONDS / 2


class Machine(Guest):
    """One QEMU inside. Two monitors: suspendd's, and the tests' own, at which inside/watch.py listens.

    kind    "none": no hardware at all; "ticking": guest/guest.c, with a wall clock and an agent
    user    whose it is: a unit of that user's session, in a folder of theirs, or root's in machine.slice
    """

    def __init__(self, outer, name, kind="none", user=None):
        super().__init__(outer, name)
        self.kind, self.user = kind, user
        self.unit = "vm-" + name
        self.sockets = "%s/%s" % (VMS, user) if user else VMS

    def arguments(self):
        """QEMU's command line."""
        args = ["qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg",
                "-qmp", "unix:%s/%s.qmp,server=on,wait=off" % (self.sockets, self.name),
                "-qmp", "unix:%s,server=on,wait=off" % self.own("ask"), "-qmp", "unix:%s,server=on,wait=off" % self.own("mon")]
        if self.kind == "none":
            return args + ["-machine", "none"]
        return args + ["-machine", "pc", "-m", "16", "-no-reboot", "-kernel", MEDIA + "/ticking-guest.elf",
                       "-rtc", "base=utc,clock=host", "-debugcon", "file:" + self.own("out"), "-serial", "null",
                       "-chardev", "socket,id=qga,path=%s/%s.qga,server=on,wait=off" % (self.sockets, self.name),
                       "-serial", "chardev:qga"]

    def start(self):
        """Starts it as a unit of its own. Returns itself."""
        self.outer.run("mkdir -p %s %s" % (self.folder, self.sockets))
        where = "systemd-run --slice=machine.slice"
        if self.user:
            self.outer.run("chown %s %s %s" % (self.user, self.folder, self.sockets))
            where = self.outer.as_user(self.user, "systemd-run --user")
        self.outer.run("%s -q --collect --unit=%s %s" % (where, self.unit, " ".join(self.arguments())))
        return self

    def signal(self, name):
        """Sends it a signal: STOP, and it hangs; CONT."""
        self.outer.run("systemctl kill -s %s %s" % (name, self.unit))

    def status(self):
        """Its run state, by the tests' own monitor."""
        return self.outer.run("python3 %s/inside/ask.py %s query-status" % (MEDIA, self.own("ask"))).strip()


class Domain(Guest):
    """A domain of libvirt inside, with the ticking guest; it has no agent, for which libvirt wants a virtio channel."""

    IMAGE = "/var/lib/libvirt/images/guest.elf"
    XML = """<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>{name}</name>
<memory unit='MiB'>16</memory><vcpu>1</vcpu><clock offset='utc'/>
<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{image}</kernel></os>
<devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg value='unix:{folder}/{name}.mon,server=on,wait=off'/>
<qemu:arg value='-debugcon'/><qemu:arg value='file:{folder}/{name}.out'/></qemu:commandline></domain>
"""

    def start(self):
        """Starts it, and libvirtd by its socket. Returns itself."""
        self.outer.run("cp %s/ticking-guest.elf %s" % (MEDIA, self.IMAGE))
        return self._create()

    def _create(self):
        self.outer.write(self.folder + "/xml", self.XML.format(name=self.name, folder=self.folder, image=self.IMAGE))
        self.outer.run("chmod 777 %s" % self.folder)
        self._virsh("create %s/xml" % self.folder, timeout=240)
        return self

    def _virsh(self, command, **more):
        return self.outer.run("virsh " + command, **more)

    def signal(self, name):
        """Sends its QEMU a signal."""
        self.outer.run("kill -%s $(cat /run/libvirt/qemu/%s.pid)" % (name, self.name))

    def status(self):
        """Its state as libvirt tells it."""
        return self._virsh("domstate " + self.name).strip()


class SessionDomain(Domain):
    """One of a user's own libvirt, whose daemon runs in that user's session."""

    IMAGE = MEDIA + "/ticking-guest.elf"

    def __init__(self, outer, name, user):
        super().__init__(outer, name)
        self.user = user

    def start(self):
        """Starts it, and before it libvirtd in the session. Returns itself."""
        self.outer.run(self.outer.as_user(self.user, "systemd-run --user -q --unit=libvirtd libvirtd"))
        wait_for(lambda: self._virsh("uri", check=False), 60, "libvirtd of %s's" % self.user, interval=1)
        return self._create()

    def uri(self):
        """Of that daemon, for root."""
        return "qemu+unix:///session?socket=/run/user/%s/libvirt/libvirt-sock" % self.outer.run("id -u " + self.user).strip()

    def _virsh(self, command, **more):
        return self.outer.run(self.outer.as_user(self.user, "virsh -q -c qemu:///session " + command), **more)
