# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the figures of the libvirt plugin are made of: a lab host with a real libvirtd and its domains, and the
same bus, floor and suspendd as in parts.py, all outside of that host and connected to it by its socket."""

import os
import pathlib
import subprocess
import sys
import time

from parts import BenchError, Daemon, Floor, Part, memory_of, started

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

PREFIX = "tiny"
LIBVIRTD_CONF = "/etc/libvirt/libvirtd.conf"


class Domains(Part):
    """N domains that need no CPU time, of a libvirtd with the package's configuration."""

    def __init__(self, build, count, keepalive=True):
        os.environ["SUSPENDD_BUILD"] = str(build.directory)
        from lab import Host, LabUnavailable
        from lab.domain import Domain, start_domains
        from lab.libvirt import Libvirt
        try:
            self.host = Host().start()
        except LabUnavailable as reason:
            raise BenchError("no host for libvirt: %s" % reason) from reason
        try:
            if not keepalive:
                with open(self.host.path(LIBVIRTD_CONF), "a") as f:
                    f.write("\nkeepalive_interval = -1\n")
            libvirt = Libvirt(self.host).start()
            start_domains([Domain(libvirt, "%s%02d" % (PREFIX, i), kind="none") for i in range(count)])
        except LabUnavailable as reason:
            self.host.stop()
            raise BenchError("no libvirt: %s" % reason) from reason
        except BaseException:
            self.host.stop()
            raise
        self.uri = "qemu+unix:///system?socket=" + self.host.path("/run/libvirt/libvirt-sock")

    def close(self):
        self.host.stop()


class LibvirtFloor(Floor):
    """The C program that suspends and resumes all by threads, and sees the events come."""

    def __init__(self, build, uri, connections, threads):
        self._start([build.find("libvirt-floor"), uri, PREFIX, str(connections), str(threads)])


class LibvirtDaemon(Daemon):
    """suspendd with the libvirt plugin alone."""

    def __init__(self, build, bus, directory, uri):
        plugins = directory / "plugins"
        plugins.mkdir(exist_ok=True)
        link = plugins / "libvirt.so"
        if not link.is_symlink():
            link.symlink_to(build.find("libvirt.so"))
        config = directory / "suspendd.conf"
        config.write_text("[Manager]\nPlugins=\nPlugins=libvirt\n[Plugin libvirt]\nURI=%s\n" % uri)
        self._start([build.find("suspendd"), "--config", config, "--plugin-dir", plugins], bus, directory)

    def wait_machines(self, bus, count, seconds=60):
        """Waits until it knows that many machines, and rests."""
        end = time.monotonic() + seconds
        while True:
            done = subprocess.run(
                ["busctl", "--address=" + bus.address, "get-property", "org.suspendd1", "/org/suspendd1",
                 "org.suspendd1.Manager", "NMachines"], capture_output=True, text=True, check=False)
            if done.stdout.split() and int(done.stdout.split()[1]) == count:
                break
            if time.monotonic() > end:
                raise BenchError("suspendd does not find %d domains: %s" % (count, done.stderr.strip()))
            time.sleep(0.1)
        self.settle()


def bare_client_rss(build, uri):
    """RSS in bytes of the least client that is connected and hears of events."""
    process = started([build.find("libvirt-bare"), uri], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline() != "ready\n":
            raise BenchError("libvirt-bare does not connect")
        time.sleep(1)
        return memory_of(pathlib.Path("/proc/%d" % process.pid))[0]
    finally:
        process.kill()
        process.wait(10)


def virsh_loop(uri, verb):
    """The usual answer: one virsh for each domain, one after the other. Returns seconds."""
    env = dict(os.environ, VIRSH_DEFAULT_CONNECT_URI=uri)
    begin = time.monotonic()
    subprocess.run(["sh", "-c", "for d in $(virsh list --name --all); do virsh -q %s $d; done" % verb],
                   env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=120)
    return time.monotonic() - begin
