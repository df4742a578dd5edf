#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's own test: what the other tests stand on does what it says."""

import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lab import (Domain, Host, LabCase, LabError, Libvirt, Qemu, Scratch, cgroup_top, clone_domains,  # noqa: E402
                 host_root, start_domains, wait_for)
from lab.util import children  # noqa: E402


class HostTest(LabCase):
    """systemd, logind and the sleep that tests command."""

    root = "/"

    @classmethod
    def setUpClass(cls):
        cls.host = Host(root=host_root(cls.root) if cls.root != "/" else "/").start()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def setUp(self):
        self.host.set_sleep(0.3)
        self.signals = self.host.signals()
        self.addCleanup(self.signals.close)

    def test_is_up_within_5_s_and_not_degraded(self):
        self.assertLess(self.host.ready_seconds, 5)
        self.assertEqual(self.host.systemctl("is-system-running").stdout.strip(), "running")

    def test_suspend_is_one_pair_of_signals_around_the_sleep(self):
        sleeps = self.host.sleeps()
        self.host.suspend()
        slept = self.signals.wait("PrepareForSleep", False, 5) - self.signals.wait("PrepareForSleep", True, 5)
        self.assertGreater(slept, 0.3)
        self.assertLess(slept, 3)
        self.assertEqual(len([s for s in self.signals.seen if s[0] == "PrepareForSleep"]), 2)
        self.assertEqual(self.host.sleeps(), sleeps + 1)
        self.assertEqual(int(self.host.read("/sys/power/suspend_stats/success")), sleeps + 1)

    def test_the_sleep_clock_stands_still_in_a_sleep_and_only_then(self):
        code = "import time as t\nfor c in t.CLOCK_MONOTONIC, t.CLOCK_BOOTTIME: print(t.clock_gettime_ns(c))"
        python = "/usr/bin/python3"
        if not self.host.exists(python):
            self.skipTest("this root has no Python to read the clocks with")

        def lead():
            """BOOTTIME - MONOTONIC as a process with the sleep clock sees it, and one without."""
            values = []
            for env in (self.host.sleep_clock_environment, None):
                monotonic, boottime = map(int, self.host.run(python, "-c", code, env=env).stdout.split())
                values.append((boottime - monotonic) / 1e9)
            return values

        before, before_real = lead()
        self.host.set_sleep(0.7)
        self.host.suspend()
        after, after_real = lead()
        self.assertAlmostEqual(after - before, 0.7, delta=0.2)
        self.assertAlmostEqual(after_real, before_real, delta=0.01)
        self.assertAlmostEqual(lead()[0], after, delta=0.01)

    def test_a_held_sleep_lasts_until_wake(self):
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.host.wait_asleep()
        self.assertTrue(self.host.preparing_for_sleep())
        self.host.wake()
        self.host.wait_awake()
        self.assertFalse(self.host.asleep())

    def test_a_failing_sleep_ends_with_false_and_counts_as_failed(self):
        sleeps = self.host.sleeps()
        self.host.set_sleep("fail")
        self.host.suspend()
        self.signals.wait("PrepareForSleep", False, 5)
        self.assertEqual(self.host.sleeps(), sleeps)
        self.assertGreater(int(self.host.read("/sys/power/suspend_stats/fail")), 0)

    def test_inhibit_delay_changes_by_reload(self):
        for value, usec in ((1, 1000000), (0, 0), ("infinity", 2 ** 64 - 1), (5, 5000000)):
            self.host.set_inhibit_delay(value)
            self.assertEqual(self.host.inhibit_delay_usec(), usec)

    def test_a_delay_lock_delays_until_the_limit(self):
        self.host.set_inhibit_delay(1)
        lock = self.host.popen(["systemd-inhibit", "--what=sleep", "--mode=delay", "--who=selftest", "sleep", "60"])
        self.addCleanup(lock.wait, 10)
        self.addCleanup(lock.kill)
        wait_for(lambda: any(i["who"] == "selftest" for i in self.host.inhibitors()), 5, "the lock")
        begin = time.monotonic()
        self.host.request_suspend()
        self.host.wait_asleep()
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.host.wait_awake()
        self.host.set_inhibit_delay(5)
        self.assertIn("inhibitor timeout is reached", self.host.journal("-u", "systemd-logind"))

    def test_commands_have_a_limit_inside_too(self):
        with self.assertRaises(LabError):
            self.host.run("sleep", "4711", timeout=0.2)
        self.assertNotIn("4711", self.host.run("systemctl", "list-units", "--plain").stdout)
        found = subprocess.run(["pgrep", "-x", "-f", "sleep 4711"], stdout=subprocess.PIPE)
        self.assertEqual(found.stdout, b"")


class Debian13HostTest(HostTest):
    """The same with a newer systemd."""

    root = "debian13"

    def test_systemd_is_newer_and_a_machine_of_ours_is_a_process_there(self):
        version = int(self.host.systemctl("--version").stdout.split()[1])
        self.assertGreaterEqual(version, 257)
        with Qemu(self.host.scratch, "bare", self.host, kind="none") as bare:
            inner = int(self.host.run("pgrep", "-x", "-f", "qemu.* -name bare .*").stdout)
            self.assertEqual(self.host.outer_pid(inner), bare.pid)


class CleanupTest(LabCase):
    """What remains of a host that has ended: nothing."""

    def test_stop_leaves_no_process_no_mount_no_cgroup_no_file(self):
        host = Host().start()
        sleeper = host.popen(["sleep", "600"])
        self.addCleanup(sleeper.wait, 5)
        wait_for(lambda: children(sleeper.pid), 5, "a process in the host")
        pid, scratch, cgroup = host.pid, host.scratch.path, host.cgroup
        host.write("/etc/lab-was-here", "x")
        host.stop()
        self.assertFalse(os.path.exists("/proc/%d" % pid))
        self.assertFalse(os.path.exists(cgroup))
        self.assertFalse(os.path.exists(scratch))
        self.assertFalse(os.path.exists("/etc/lab-was-here"))
        with open("/proc/self/mountinfo") as f:
            self.assertNotIn(scratch, f.read())

    def test_a_killed_test_leaves_nothing_after_the_next_start(self):
        code = "import sys; sys.path.insert(0, %r)\nfrom lab import Host\nh = Host().start()\n" \
               "print(h.pid, h.scratch.path, h.cgroup, flush=True)\nsys.stdin.read()" % sys.path[0]
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pid, scratch, cgroup = child.stdout.readline().split()
        child.kill()
        child.communicate()
        self.addCleanup(subprocess.run, ["rm", "-rf", scratch])
        wait_for(lambda: not os.path.exists("/proc/" + pid), 5, "end of PID 1")
        self.assertTrue(cgroup.startswith(cgroup_top()))
        Host().start().stop()
        self.assertFalse(os.path.exists(cgroup))


class GuestTest(LabCase):
    """Real guests on the host."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host().start()
        cls.addClassCleanup(cls.host.stop)
        cls.guest = Qemu(cls.host.scratch, "guest", cls.host).start().wait_up()

    def suspend_by_agent(self, guest):
        """Asks the agent, waits for SUSPEND, returns the seconds it took."""
        mark = guest.monitor.mark()
        agent = guest.agent()
        begin = time.monotonic()
        agent.send("guest-suspend-ram")
        agent.close()
        guest.monitor.wait_event("SUSPEND", 15, mark)
        return time.monotonic() - begin

    def wake(self, guest):
        """Wakes it, waits until it answers."""
        mark = guest.monitor.mark()
        guest.wakeup()
        guest.monitor.wait_event("WAKEUP", 5, mark)
        guest.clocks()

    def test_guest_is_up_within_10_s(self):
        self.assertLess(self.guest.boot_seconds, 10)
        self.assertEqual(self.guest.status(), "running")

    def test_agent_suspends_and_the_guest_wakes_twice(self):
        for _ in range(2):
            self.suspend_by_agent(self.guest)
            self.assertEqual(self.guest.status(), "suspended")
            self.wake(self.guest)
            self.assertEqual(self.guest.status(), "running")

    def test_a_delayed_suspend_comes_late_and_is_real(self):
        self.guest.set_suspend_delay(2)
        self.addCleanup(self.guest.set_suspend_delay, 0)
        self.assertGreater(self.suspend_by_agent(self.guest), 1.9)
        self.assertEqual(self.guest.status(), "suspended")
        self.wake(self.guest)

    def test_a_stopped_agent_is_silent_until_it_goes_on(self):
        self.guest.stop_agent()
        with self.assertRaises(LabError):
            self.guest.agent(timeout=1.5)
        self.guest.cont_agent()
        self.guest.agent().close()

    def test_set_time_by_the_agent_is_seen_in_the_guest(self):
        self.guest.set_clock_error(7 * 10 ** 9)
        self.assertGreater(self.guest.clock_error()[0], 6 * 10 ** 9)
        agent = self.guest.agent()
        self.addCleanup(agent.close)
        agent.command("guest-set-time", time=time.time_ns())
        error, uncertainty = self.guest.clock_error()
        self.assertLess(abs(error), 200 * 10 ** 6)
        self.assertLess(uncertainty, 50 * 10 ** 6)
        self.assertLess(abs(agent.command("guest-get-time") - time.time_ns()), 500 * 10 ** 6)

    def test_a_pause_is_lacking_in_all_guest_clocks(self):
        before = self.guest.clocks()
        self.guest.stop()
        time.sleep(1)
        self.guest.cont()
        after = self.guest.clocks()
        host = after["host_realtime"] - before["host_realtime"]
        for clock in ("monotonic", "boottime", "realtime"):
            self.assertAlmostEqual((host - (after[clock] - before[clock])) / 1e9, 1, delta=0.2)

    def test_guest_without_agent_has_a_channel_nobody_reads(self):
        with Qemu(self.host.scratch, "mute", self.host, agent=False) as guest:
            guest.wait_up()
            with self.assertRaises(LabError):
                guest.agent(timeout=1.5)

    def test_paused_start_and_user_pause_are_seen(self):
        with Qemu(self.host.scratch, "held", self.host, kind="none", paused=True) as bare:
            self.assertIn(bare.status(), ("prelaunch", "paused"))
            bare.cont()
            bare.monitor.wait_event("RESUME", 5)
            self.assertEqual(bare.status(), "running")
            bare.stop()
            bare.monitor.wait_event("STOP", 5)

    def test_a_killed_machine_is_gone(self):
        with Qemu(self.host.scratch, "doomed", self.host, kind="none") as bare:
            pid = bare.pid
            self.assertEqual(os.readlink("/proc/%d/ns/pid" % pid), os.readlink("/proc/%d/ns/pid" % self.host.pid))
            bare.kill()
            self.assertFalse(os.path.exists("/proc/%d" % pid))

    def test_q35_with_seabios_suspends_only_once(self):
        with Qemu(self.host.scratch, "liar", self.host, machine="q35") as guest:
            guest.wait_up()
            self.suspend_by_agent(guest)
            self.wake(guest)
            mark = guest.monitor.mark()
            agent = guest.agent()
            agent.send("guest-suspend-ram")
            agent.sync()
            agent.close()
            self.assertIsNone(guest.monitor.find("SUSPEND", mark))
            self.assertEqual(guest.status(), "running")

    def test_q35_with_ovmf_suspends_twice(self):
        with Qemu(self.host.scratch, "uefi", self.host, machine="q35", firmware="ovmf") as guest:
            guest.wait_up(120)
            for _ in range(2):
                self.suspend_by_agent(guest)
                self.wake(guest)


class KindsTest(LabCase):
    """Guests of other architectures and kernels, without a host."""

    def boot(self, **options):
        """A guest, up."""
        scratch = Scratch()
        self.addCleanup(scratch.remove)
        guest = Qemu(scratch, "guest", **options).start()
        self.addCleanup(guest.kill)
        return guest.wait_up()

    def system(self, guest):
        """What it says that it is."""
        return guest.shell("uname -m")[1].strip(), int(guest.shell("uname -r")[1].split(".")[0])

    def test_arm64_guest_with_an_agent_and_no_s3(self):
        guest = self.boot(arch="arm64")
        self.assertEqual(self.system(guest), ("aarch64", 6))
        guest.agent().close()
        self.assertFalse(guest.monitor.command("query-current-machine")["wakeup-suspend-support"])

    def test_later_kernel_has_ptp_vmclock(self):
        for arch, machine, name in (("amd64", "q35", "x86_64"), ("arm64", "pc", "aarch64")):
            guest = self.boot(arch=arch, machine=machine, kernel="7")
            self.assertEqual(self.system(guest)[0], name)
            self.assertGreaterEqual(self.system(guest)[1], 7)
            self.assertEqual(guest.shell("ls /sys/module/ptp_vmclock")[0], 0)


class LibvirtTest(LabCase):
    """A real libvirtd and its domains."""

    user = None

    @classmethod
    def setUpClass(cls):
        cls.host = Host().start()
        cls.addClassCleanup(cls.host.stop)
        cls.libvirt = Libvirt(cls.host, user=cls.user).start()
        cls.events = cls.libvirt.events()
        cls.addClassCleanup(cls.events.close)
        cls.web = Domain(cls.libvirt, "web", disk=True).start().wait_up()
        cls.addClassCleanup(cls.web.disconnect)

    def idle(self, name, **more):
        """A domain that is nothing."""
        domain = Domain(self.libvirt, name, kind="none", **more)
        self.addCleanup(self.end, domain)
        return domain

    @staticmethod
    def end(domain):
        """Ends what a test may have ended already."""
        if domain.running():
            domain.destroy()

    def cpu_ticks(self, domain):
        """What its QEMU has used."""
        with open("/proc/%d/stat" % domain.pid()) as f:
            return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))

    def test_is_up_within_3_s(self):
        self.assertLess(self.libvirt.ready_seconds, 3)

    def test_agent_suspends_and_the_guest_wakes_twice(self):
        for _ in range(2):
            mark = self.events.mark()
            self.web.pm_suspend()
            self.events.wait("web", "lifecycle PMSuspended", 10, mark)
            self.assertEqual(self.web.state()[0], "pmsuspended")
            self.web.wakeup()
            self.events.wait("web", "lifecycle Started Event wakeup", 10, mark)
            self.web.clocks()
            self.events.wait("web", "agent-lifecycle state: 'connected'", 10, mark)

    def test_control_line_and_agent_are_two(self):
        self.web.set_clock_error(7 * 10 ** 9)
        self.assertGreater(self.web.clock_error()[0], 6 * 10 ** 9)
        self.libvirt.virsh("domtime", "web", "--now")
        self.assertLess(abs(self.web.clock_error()[0]), 1500 * 10 ** 6)  # virsh sets whole seconds
        self.web.stop_agent()
        with self.assertRaises(LabError):
            self.web.agent_command('{"execute":"guest-ping"}', timeout=1)
        self.web.cont_agent()
        wait_for(self.agent_answers, 20, "the agent answers again")

    def agent_answers(self):
        """Whether it does; libvirt leaves a late answer in its way for the next call to find."""
        try:
            return self.web.agent_command('{"execute":"guest-ping"}', timeout=2)
        except LabError:
            return None

    def test_suspend_and_resume_are_told_in_order(self):
        domain = self.idle("told").start()
        mark = self.events.mark()
        domain.suspend()
        self.assertEqual(domain.state(), ("paused", "user"))
        domain.resume()
        self.assertEqual(domain.state(), ("running", "unpaused"))
        self.events.wait("told", "lifecycle Resumed Unpaused", 5, mark)
        self.assertEqual(self.events.of("told", mark), ["lifecycle Suspended Paused", "lifecycle Resumed Unpaused"])

    def test_a_machine_that_is_nothing_needs_no_cpu(self):
        domain = self.idle("still").start()
        time.sleep(1)
        before = self.cpu_ticks(domain)
        time.sleep(3)
        self.assertLessEqual(self.cpu_ticks(domain) - before, 1)

    def test_a_broken_disk_pauses_until_it_is_mended(self):
        mark = self.events.mark()
        self.web.break_disk()
        self.web.write_disk()
        self.web.wait_state("paused", "I/O error")
        self.events.wait("web", "io-error-reason", 5, mark)
        self.events.wait("web", "lifecycle Suspended I/O Error", 5, mark)
        self.web.fix_disk()
        self.web.resume()
        wait_for(self.web.written, 10, "the write's end")
        self.assertEqual(self.web.state()[0], "running")
        self.web.write_disk()
        wait_for(self.web.written, 10, "another write's end")

    def test_a_defined_domain_stays_and_can_be_renamed(self):
        domain = self.idle("before", metadata="<lab:x xmlns:lab='urn:lab'>text</lab:x>", pm=False).define()
        self.assertEqual(domain.state()[0], "shut off")
        self.assertIsNone(domain.id())
        domain.rename("after")
        domain.start(paused=True)
        self.assertEqual(domain.state()[0], "paused")
        self.assertIsNotNone(domain.id())
        dump = self.libvirt.virsh("dumpxml", "after").stdout
        for part in (">text</lab:x>", "<suspend-to-mem enabled='no'/>", domain.uuid):
            self.assertIn(part, dump)
        domain.destroy()
        self.assertEqual(domain.state()[0], "shut off")
        domain.undefine()
        self.assertEqual(domain.state(), ("gone", ""))

    def test_a_killed_machine_has_crashed(self):
        domain = self.idle("doomed").start()
        mark = self.events.mark()
        domain.kill()
        self.events.wait("doomed", "lifecycle Stopped Failed", 5, mark)
        self.assertEqual(domain.state(), ("gone", ""))

    def test_libvirtd_hangs_dies_and_comes_back_with_its_domains(self):
        libvirt = Libvirt(self.host, user=self.user)
        libvirt.uid = self.libvirt.uid
        domain = self.idle("kept").start()
        watch = libvirt.events()
        self.addCleanup(watch.close)
        libvirt.freeze()
        with self.assertRaises(LabError):
            libvirt.virsh("list", timeout=1)
        libvirt.thaw()
        libvirt.wait_up()
        pid, qemu = libvirt.pid(), domain.pid()
        libvirt.kill()
        wait_for(lambda: watch.closed, 5, "the end of the watch")
        if self.user:
            wait_for(lambda: not libvirt.pid(), 5, "the end of libvirtd")
            libvirt.start()
        libvirt.wait_restarted(pid)
        self.assertEqual(domain.state()[0], "running")
        self.assertEqual(domain.pid(), qemu)
        type(self).events = libvirt.events()
        self.addClassCleanup(self.events.close)


class LibvirtSessionTest(LibvirtTest):
    """The same for the session daemon of an ordinary user."""

    user = "alice"

    def test_root_reaches_it_if_it_may_open_the_socket(self):
        virsh = ["virsh", "-c", self.libvirt.uri_for_root, "domstate", "web"]
        self.assertIn("running", self.host.run(*virsh).stdout)
        less = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]
        self.assertIn("Permission denied", self.host.run(*less, *virsh, check=False).stderr)

    def test_its_processes_are_the_users(self):
        for pid in (self.libvirt.pid(), self.web.pid()):
            self.assertEqual(os.stat("/proc/%d" % pid).st_uid, self.libvirt.uid)


class ManyDomainsTest(LabCase):
    """Many domains, and what remains of them."""

    def test_25_guests_with_live_agents_within_a_minute_and_all_end_with_the_host(self):
        host = Host().start()
        self.addCleanup(host.stop)
        libvirt = Libvirt(host).start()
        begin = time.monotonic()
        guests = clone_domains(libvirt, ["guest%d" % i for i in range(25)])
        self.assertLess(time.monotonic() - begin, 60)
        for guest in guests:
            self.assertIn("return", guest.agent_command('{"execute":"guest-ping"}'))
            self.assertLess(abs(guest.clock_error()[0]), 100 * 10 ** 6)
        guests[7].pm_suspend()
        guests[7].wait_state("pmsuspended")
        self.assertEqual(guests[8].state()[0], "running")
        pids = [guest.pid() for guest in guests]
        for guest in guests:
            guest.disconnect()
        host.stop()
        self.assertEqual([pid for pid in pids if os.path.exists("/proc/%d" % pid)], [])

    def test_a_host_after_another_has_its_own_domains(self):
        for _ in range(2):
            with Host() as host:
                libvirt = Libvirt(host).start()
                self.assertEqual(libvirt.names(), [])
                start_domains([Domain(libvirt, "same%d" % i, kind="none") for i in range(4)])
                self.assertEqual(len(libvirt.names()), 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
