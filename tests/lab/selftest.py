#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's own test: what the other tests stand on does what it says."""

import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lab import Host, LabCase, LabError, Qemu, cgroup_top, host_root, wait_for  # noqa: E402
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
