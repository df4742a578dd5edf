# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the packages have in common: a host on which dpkg installs them, with nothing else of ours."""

import glob
import os
import re
import shutil
import subprocess

from lab import Host, LabCase, LabUnavailable, Qemu, host_root, wait_for
from lab.domain import Domain
from lab.libvirt import Libvirt
from lab.suspendd import RESCUE, UNIT, Suspendd

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEB = os.environ.get("SUSPENDD_DEB", os.path.join(REPOSITORY, "build", "deb"))
ROOT = os.environ.get("SUSPENDD_TEST_ROOT")
ALL = ("suspendd", "suspendd-libvirt", "suspendd-guest", "suspendd-dev")
NEWER = "99"  # a version
VMS = "/run/vms"
CONFIG = "[Manager]\nPlugins=page\n[Plugin qmp]\nDirectory=%s\n" % VMS


def deb(name):
    """The file of a package."""
    found = [x for x in glob.glob(os.path.join(DEB, name + "_*.deb"))]
    if len(found) != 1:
        raise LabUnavailable("not one package %s in %s: ./dev deb" % (name, DEB))
    return found[0]


def start_host(**options):
    """A host, started, on which packages' scripts may start services."""
    if not shutil.which("dpkg-deb"):
        raise LabUnavailable("no dpkg")
    host = Host(root=host_root(ROOT) if ROOT else "/", **options).start()
    if host.exists("/usr/sbin/policy-rc.d"):
        os.unlink(host.path("/usr/sbin/policy-rc.d"))
    os.makedirs(host.path(VMS))
    return host


class Packages(Suspendd):
    """The service from its package on one host, with the words of Suspendd."""

    def __init__(self, host):  # not the base's: that would install the build
        self.host = host
        self.vms = host.path(VMS)

    def configure(self, config=CONFIG):
        """Tells where machines are, as an admin does."""
        self.host.write("/etc/suspendd/suspendd.conf.d/vms.conf", config)

    def dpkg(self, *arguments, timeout=120):
        """dpkg, inside; what it said."""
        done = self.host.run("dpkg", *arguments, timeout=timeout, env={"DEBIAN_FRONTEND": "noninteractive"})
        return done.stdout + done.stderr

    def install(self, *names):
        """Installs packages by their names, or files."""
        return self.dpkg("--install", *[x if "/" in x else deb(x) for x in names])

    def remove(self, *names):
        """Removes packages, and leaves their configuration."""
        self.dpkg("--remove", *names)

    def newer(self, name, version):
        """The file of a package of another version: the same files, and what depends on this version depends on that."""
        folder = self.host.scratch.sub("newer", name)
        subprocess.run(["dpkg-deb", "--raw-extract", deb(name), folder], check=True)
        control = os.path.join(folder, "DEBIAN", "control")
        with open(control) as f:
            text = f.read()
        old = re.search(r"^Version: (\S+)$", text, re.M).group(1)
        text = text.replace("Version: " + old, "Version: " + version).replace("(= %s)" % old, "(= %s)" % version)
        with open(control, "w") as f:
            f.write(text)
        path = self.host.scratch.file("%s_%s.deb" % (name, version))
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", folder, path], check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)
        return path

    def version(self, name):
        """The version of a package that is installed, None if it is not."""
        done = self.host.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name, check=False)
        status, _, version = done.stdout.partition(" ")
        return version if status == "installed" else None

    def qemu(self, name, **more):
        """A machine of QEMU, running."""
        more.setdefault("kind", "none")
        return Qemu(self.host.scratch, name, self.host, folder=self.vms, **more).start()

    def hold(self):
        """Sends the host to sleep until self.host.wake()."""
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.host.wait_asleep()

    def wake(self):
        """Wakes the host."""
        self.host.wake()
        self.host.wait_awake()

    def files(self):
        """All files of the host, but for what others write there all the time."""
        skipped = [x for path in ("/var/cache", "/var/log", "/var/lib/dpkg", "/run/systemd", "/run/log", "/run/lab",
                                  "/run/vms", "/run/udev", "/run/user") for x in ("-path", path, "-prune", "-o")]
        told = self.host.run("find", "/etc", "/run", "/usr", "/var", *skipped, "-print", timeout=120)
        return set(told.stdout.splitlines())


class PackagesCase(LabCase):
    """A test with a host of its own, and nothing installed yet."""

    make_packages = Packages

    def setUp(self):
        self.host = start_host()
        self.addCleanup(self.host.stop)
        self.packages = self.make_packages(self.host)

    def start_machines(self, *names):
        """Installs suspendd, and has it see machines of these names."""
        self.packages.install("suspendd")
        self.packages.configure()
        self.host.systemctl("restart", UNIT)
        machines = [self.packages.qemu(x) for x in names]
        for machine in machines:
            self.addCleanup(machine.kill)
            self.packages.wait_machine(machine.name, run_state="running")
        return machines

    def die_for_good(self):
        """From now on nothing starts suspendd again when it has died."""
        self.host.write("/etc/systemd/system/suspendd.service.d/dies.conf", "[Service]\nRestart=no\n")
        self.host.systemctl("daemon-reload")

    def strand(self):
        """Holds machines and has suspendd die, and no rescue come; the host is awake when this is over."""
        self.die_for_good()
        self.host.systemctl("mask", "--runtime", RESCUE)
        self.packages.hold()
        self.packages.kill()
        wait_for(lambda: self.host.unit_property(UNIT, "ActiveState") == "failed", 10, "a failure")
        self.packages.wake()
        self.host.systemctl("unmask", "--runtime", RESCUE)

    def assert_run(self, machines):
        """QEMU itself says that they run."""
        for machine in machines:
            machine.wait_status("running")


class HeldCase(PackagesCase):
    """A test with two machines, which it can hold."""

    def setUp(self):
        super().setUp()
        self.machines = self.start_machines("a", "b")

    def hold(self):
        """Sends the host to sleep, and sees that both are held."""
        self.packages.hold()
        self.packages.wait_held(2)
        for machine in self.machines:
            self.assertEqual(machine.status(), "paused")
        self.marks = [x.monitor.mark() for x in self.machines]

    def assert_goes_on(self, old):
        """A new process holds on to both, and after the wake they run and the record is whole."""
        self.packages.wait_restarted(old)
        self.packages.wait_held(2)
        for machine, mark in zip(self.machines, self.marks):
            self.assertEqual(machine.status(), "paused")
            self.assertIsNone(machine.monitor.find("RESUME", mark))
        self.packages.wake()
        self.assert_run(self.machines)
        for machine, mark in zip(self.machines, self.marks):
            self.assertIsNone(machine.monitor.find("STOP", mark))
        record = self.packages.wait_record(1)
        self.assertEqual(sorted((x["name"], x["stood"], x["failed"]) for x in record["machines"]),
                         [("a", "paused", False), ("b", "paused", False)])
        self.assertEqual(self.packages.overruns(), [])


class HeldDomainCase(PackagesCase):
    """A test with a domain of libvirt."""

    def setUp(self):
        super().setUp()
        self.domain = Domain(Libvirt(self.host).start(), "web", kind="none").start()
        self.addCleanup(self.domain.kill)
        self.packages.install("suspendd", "suspendd-libvirt")
        self.packages.wait_machine("web", run_state="running")


class DomainTests:
    """What becomes of a held domain, whatever kind the packages are of."""

    def test_domain_runs_when_its_plugin_is_removed(self):
        self.packages.hold()
        self.domain.wait_state("paused")
        self.packages.remove("suspendd-libvirt")
        self.domain.wait_state("running")
        self.packages.wake()
        self.domain.wait_state("running")

    def test_domain_of_one_that_died_runs_when_all_is_removed(self):
        self.strand()
        self.domain.wait_state("paused")
        self.packages.remove("suspendd", "suspendd-libvirt")
        self.domain.wait_state("running")
