# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the residuals are made of: a lab host with libvirtd and suspendd, domains whose clock stands in a pause, and
readings of that clock beside the host's.

The guest's clock is read by the control line of the lab's guest, not by the agent. A reading is known to half its
round trip; the tightest of many counts, and what it leaves open is told (…_known_to). When the guest ran is QEMU's own
stamp of RESUME; right is a clock from the first reading on that is certainly within 2 ms and stays there, and its
answer is when (right_after_…). One that is not within the time that is looked counts as having taken that long, and is
counted (never_right_…).

residual_agent and its peers, on the same domain in the same run: a clock that was right lacks a pause; suspendd, virsh
domtime or guest-set-time put it right; its error is |guest - host|. residual_page: a domain without an agent, whose
reader adds what the page says; what is judged is by how much more the clock is wrong than before. Under TCG
QEMU stops a guest's clock before its vCPU is brought to a stand, and stamps STOP after that: 0.25 ms on an idle machine,
more on a busy one. The qmp plugin can tell (residual_page), libvirt cannot (residual_page_libvirt)."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from parts import BenchError, Part

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

MS = 1000000
# What is called right, as in the daemon's configuration.
RIGHT_NS = 2 * MS
# Enough is known of a clock when a reading is so tight, or after so many.
TIGHT_NS = 60000
READINGS = 150
PAUSE_SECONDS = 0.4
FOLLOWED_SECONDS = 0.4
# One that is not right by then.
FOLLOWED_MAX_SECONDS = 3
# Whose user QEMU is.
OWNER = "libvirt-qemu"
CONFIG = """[Manager]
Plugins=
Plugins=%s
Plugins=page
[Plugin libvirt]
URI=qemu:///system
[Plugin page]
Page=page %s 2
"""


def more_in_initrd(initrd, folder, programs):
    """Puts programs with their libraries into the guest: {path in it: path here}."""
    for inner, outer in programs.items():
        libraries = subprocess.run(["ldd", outer], capture_output=True, text=True, check=False).stdout.split()
        for source, target in [(outer, inner)] + [(x, x) for x in libraries if x.startswith("/")]:
            path = os.path.join(folder, target.lstrip("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(source, path)
    packed = subprocess.run("find . ! -type d | cpio --quiet -o -H newc", shell=True, cwd=folder, check=True,
                            stdout=subprocess.PIPE).stdout
    with open(initrd, "ab") as f:
        f.write(packed)


class ClockHost(Part):
    """The host. Its guests have the hwclock of util-linux, as a distribution's agents call it, and the reader."""

    def __init__(self, build):
        os.environ["SUSPENDD_BUILD"] = str(build.directory)
        from lab import Host, LabUnavailable
        from lab.libvirt import Libvirt
        from lab.suspendd import Suspendd
        try:
            self.host = Host().start()
        except LabUnavailable as reason:
            raise BenchError("no host: %s" % reason) from reason
        try:
            self.libvirt = Libvirt(self.host).start()
            reader = self.host.scratch.file("suspend-guest")
            subprocess.run(["strip", "-o", reader, build.find("suspend-guest")], check=True)
            more_in_initrd(self.host.path(self.libvirt.initrd), self.host.scratch.sub("more"),
                           {"/usr/sbin/suspend-guest": reader, "/sbin/hwclock": shutil.which("hwclock")})
            self.suspendd = Suspendd(self.host, debug=False)
            shutil.chown(self.suspendd.vms, OWNER)
            self.host.write("/etc/suspendd/suspendd.conf.d/50-libvirt.conf", "")
            self.use("libvirt")
        except LabUnavailable as reason:
            self.host.stop()
            raise BenchError("no libvirt: %s" % reason) from reason
        except BaseException:
            self.host.stop()
            raise

    def use(self, plugin):
        """Has suspendd reach the machines by another plugin, of libvirt and qmp."""
        self.suspendd.configure(CONFIG % (plugin, OWNER))
        self.host.systemctl("restart", "suspendd.service")

    def close(self):
        self.host.stop()


class Clock(Part):
    """One domain; each way to pause it, run it and put its clock right is a method.

    is_relative     what is judged is not how wrong the clock is but how much more than before"""

    is_relative = False

    def __init__(self, clock_host, name, **options):
        from lab.domain import Domain
        self.suspendd, self.host, libvirt = clock_host.suspendd, clock_host.host, clock_host.libvirt
        # Beside libvirt's monitor and the tests' own: suspendd's, where it does without libvirt.
        more = "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-qmp'/>" \
               "<qemu:arg value='unix:%s/%s.qmp,server=on,wait=off'/></qemu:commandline>" % (self.suspendd.vms, name)
        self.domain = Domain(libvirt, name, monitor=True, more=more, **options).start().wait_up(180)
        self.monitor, self.virsh = self.domain.monitor, libvirt.virsh
        self.wait_managed()

    def close(self):
        self.domain.kill()

    def mode(self, mode):
        """Whether suspendd acts on it."""
        self.suspendd.ctl("mode", self.domain.name, mode)

    def wait_managed(self):
        """Waits until suspendd knows it, and has it paused in a sleep."""
        self.suspendd.wait_machine(self.domain.name, run_state="running")
        self.mode("pause")

    # reading it

    def read(self):
        """(guest - host, how far that may be wrong) in ns, the tightest of many readings."""
        best = None
        for _ in range(READINGS):
            now = self.domain.clocks()
            if best is None or now["uncertainty"] < best["uncertainty"]:
                best = now
            if best["uncertainty"] <= TIGHT_NS:
                break
        return best["realtime"] - best["host_realtime"], best["uncertainty"]

    def right_after(self, ran_ns, was_ns):
        """Follows the clock for a while. Returns by when it was certainly right, in ns after the guest ran; None: it
        was not, or not in that time."""
        right = None
        began = time.monotonic()
        while time.monotonic() < began + (FOLLOWED_MAX_SECONDS if right is None else FOLLOWED_SECONDS):
            now = self.domain.clocks()
            off, doubt = abs(now["realtime"] - now["host_realtime"] - was_ns), now["uncertainty"]
            if off > RIGHT_NS + doubt:
                right = None
            elif right is None and off + doubt <= RIGHT_NS:
                right = now["host_realtime"] + doubt - ran_ns
        return right

    # what is compared

    def rehearse(self, was_ns=0):
        """A cycle of suspendd's. Returns (right after ns, its record)."""
        number, mark = self.suspendd.last_number() + 1, self.monitor.mark()
        cycle = self.host.popen(["suspendctl", "rehearse", "--for=%dms" % (PAUSE_SECONDS * 1000)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ran_ns = int(self.monitor.wait_event("RESUME", 30, mark).realtime * 1e9)
        right = self.right_after(ran_ns, was_ns)
        if cycle.wait(30):
            raise BenchError("suspendctl rehearse failed")
        return right, self.suspendd.wait_record(number)

    def pause(self):
        """What a user's script does."""
        self.virsh("suspend", self.domain.name)
        time.sleep(PAUSE_SECONDS)
        self.virsh("resume", self.domain.name)

    def domtime(self, option):
        """The same, and virsh domtime."""
        self.pause()
        self.virsh("domtime", self.domain.name, option)

    def guest_set_time(self):
        """The same, and guest-set-time without an argument."""
        self.pause()
        self.domain.agent_command('{"execute":"guest-set-time"}')


class PagedClock(Clock):
    """A domain without an agent, whose page has a reader that waits for its interrupt."""

    is_relative = True

    def __init__(self, clock_host, name):
        path = "/run/suspendd/pages/" + name
        devices = "<iommu model='intel'/><shmem name='drift'><model type='ivshmem-doorbell'/><server path='%s.sock'/>" \
                  "<msi vectors='2' ioeventfd='on'/><address type='pci' domain='0' bus='0' slot='0x11' function='0'/></shmem>"
        super().__init__(clock_host, name, machine="q35", channel=False, devices=devices % path,
                         append="intel_iommu=on no_timer_check")
        self.domain.begin("reader", "suspend-guest --vfio --no-hooks")
        self.domain.wait_line("reader", "counting from here", 30)


class Seen:
    """What was seen of some cycles, in ns."""

    def __init__(self, name):
        self.name = name
        self.residuals, self.doubts, self.rights, self.n_never = [], [], [], 0

    def add(self, off_ns, doubt_ns):
        """One residual, and how far it may be wrong."""
        self.residuals.append(abs(off_ns))
        self.doubts.append(doubt_ns)

    def cycles(self, clock, count, warm_up=0):
        """Cycles of suspendd's. What a page's reader is to keep is how wrong the clock was."""
        for i in range(-warm_up, count):
            clock.domain.set_clock_error(0)
            was_ns, was_doubt = clock.read() if clock.is_relative else (0, 0)
            right, record = clock.rehearse(was_ns)
            off_ns, doubt = clock.read()
            told = record["machines"][0]["time"]
            print("%s %d: off by %.3f ms (known to %.3f), right after %s ms, %s by %s, %d tries" % (
                self.name, i, (off_ns - was_ns) / MS, (doubt + was_doubt) / MS, right and "%.1f" % (right / MS),
                told["verdict"], told["repaired_by"], told["tries"]), file=sys.stderr, flush=True)
            if i < 0:
                continue
            self.add(off_ns - was_ns, doubt + was_doubt)
            self.rights.append(FOLLOWED_MAX_SECONDS * 1e9 if right is None else right)
            self.n_never += right is None


def others(clock, count):
    """The same guest put right by others, in turns: a list of what was seen of each."""
    clock.mode("ignore")
    ways = {"domtime_now": lambda: clock.domtime("--now"), "domtime_sync": lambda: clock.domtime("--sync"),
            "set_time": clock.guest_set_time}
    seen = {name: Seen(name) for name in ways}
    for _ in range(count):
        for name, act in ways.items():
            clock.domain.set_clock_error(0)
            act()
            seen[name].add(*clock.read())
    return list(seen.values())
