# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults of a real host's services and of VMMs on it that have no file of their own; see tests/faults.md."""

import subprocess

from lab import Qemu, wait_for
from _suspendd import Suspendd, SuspenddCase, of, start_host


class Services(SuspenddCase):
    """A host, the service, and machines a and b that run."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1, inhibit_delay=5)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        # A disk that is nowhere, for a job that takes hours.
        disk = [x for name in ("disk", "copy")
                for x in ("-blockdev", "null-co,node-name=%s,size=%d,read-zeroes=on" % (name, 1 << 30))]
        cls.a = Qemu(cls.host.scratch, "a", cls.host, kind="none", extra=disk + ["-m", "64"]).start()
        cls.b = Qemu(cls.host.scratch, "b", cls.host, kind="none").start()
        for vm in (cls.a, cls.b):
            cls.addClassCleanup(vm.kill)
        cls.suspendd.start()

    def setUp(self):
        self.host.set_sleep(1)
        self.suspendd.wait_state("idle", 40)
        for name in "ab":
            self.suspendd.wait_machine(name, run_state="running")
        self.wait_lock()

    def assert_running(self):
        """Both machines run."""
        for vm in (self.a, self.b):
            vm.wait_status("running", 5)

    def hold(self):
        """Sends the host to sleep until self.host.wake()."""
        number = self.suspendd.last_number() + 1
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.host.wait_asleep()
        return number

    def test_other_locks_keep_machines_standing(self):
        other = self.host.popen(["systemd-inhibit", "--what=sleep", "--mode=delay", "--who=other", "cat"],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (other.stdin.close(), other.wait(5)))
        wait_for(lambda: "other" in [x["who"] for x in self.host.inhibitors()], 5, "the other lock", interval=0.05)
        number = self.suspendd.last_number() + 1
        self.host.set_sleep("hold")
        self.host.request_suspend()
        self.suspendd.wait_state("sleeping")
        mark = self.a.monitor.mark()
        self.assertEqual((self.a.status(), self.host.asleep()), ("paused", False))
        self.assertEqual(self.locks(), [])
        other.stdin.close()
        self.host.wait_asleep()
        self.assertEqual([e.name for e in self.a.monitor.events[mark:]], [], "they stand until the wake")
        self.assertEqual((self.a.status(), self.b.status()), ("paused", "paused"))
        self.host.wake()
        self.assertLess(self.suspendd.wait_record(number)["released_after_usec"], 1000000)
        self.assert_running()

    def test_vmm_that_is_frozen_over_the_wake_is_run_when_it_thaws(self):
        number = self.hold()
        self.b.freeze()
        self.addCleanup(self.b.thaw)
        self.host.wake()
        self.a.wait_status("running", 5)
        self.assertEqual(self.suspendd.manager("NHeld"), 1)
        self.b.thaw()
        self.b.wait_status("running", 10)
        self.assertFalse(of(self.suspendd.wait_record(number), "b")["failed"])

    def test_user_pause_of_what_stands_already_is_seen_by_nobody(self):
        number = self.hold()
        mark = self.a.monitor.mark()
        self.a.stop()
        self.assertEqual([e.name for e in self.a.monitor.events[mark:]], [])
        self.host.wake()
        self.suspendd.wait_record(number)
        self.assert_running()

    def test_block_job_goes_on_after_the_pause(self):
        self.a.monitor.command("blockdev-backup", device="disk", target="copy", sync="full", speed=1 << 20,
                               **{"job-id": "backup"})
        self.addCleanup(self.a.monitor.command, "block-job-cancel", device="backup", force=True)

        def offset():
            job, = self.a.monitor.command("query-block-jobs")
            return job["offset"]
        record = self.suspendd.suspend()
        self.assertEqual((of(record, "a")["stood"], of(record, "a")["failed"]), ("paused", False))
        self.assert_running()
        before = offset()
        wait_for(lambda: offset() > before, 10, "the job to go on", interval=0.1)

    def test_migration_goes_on_after_the_pause(self):
        def status():
            return self.a.monitor.command("query-migrate").get("status")
        self.a.monitor.command("migrate-set-parameters", **{"max-bandwidth": 4096})
        self.a.monitor.command("migrate", uri="exec:cat >/dev/null")
        self.addCleanup(self.a.wait_status, "running")
        self.addCleanup(self.a.monitor.command, "migrate_cancel")
        wait_for(lambda: status() == "active", 5, "the migration", interval=0.05)
        record = self.suspendd.suspend()
        self.assertEqual((of(record, "a")["stood"], of(record, "a")["failed"]), ("paused", False))
        self.assert_running()
        self.assertEqual(status(), "active")

    def test_abort_while_asleep_is_recovered_from(self):
        self.hold()
        pid = self.suspendd.pid()
        self.suspendd.kill("ABRT")
        self.suspendd.wait_restarted(pid)
        self.assertEqual((self.a.status(), self.b.status()), ("paused", "paused"), "the host sleeps on")
        self.host.wake()
        self.host.wait_awake()
        self.assert_running()

    def test_reload_in_a_sleep_waits_for_its_end(self):
        number = self.hold()
        # and no folder with machines
        self.host.write("/etc/suspendd/suspendd.conf", "[Machine a]\nMode=pause\n[Machine b]\nMode=pause\n")
        self.addCleanup(self.suspendd.reload)
        self.addCleanup(self.suspendd.configure)
        self.suspendd.reload()
        for name in "ab":
            self.assertEqual(self.suspendd.machine(name)["mode"], "auto")
        self.host.wake()
        record = self.suspendd.wait_record(number)
        self.assert_running()
        self.assertEqual([of(record, name)["failed"] for name in "ab"], [False, False])
        for name in "ab":
            wait_for(lambda name=name: self.suspendd.machine(name) is None, 10, "the configuration to be read")

    def test_bus_that_ends_is_come_back_to(self):
        pid = self.suspendd.pid()
        self.host.systemctl("kill", "--kill-whom=main", "-s", "KILL", "dbus.service")
        self.suspendd.wait_restarted(pid, 30)
        wait_for(lambda: self.host.preparing_for_sleep() is False, 20, "logind", interval=0.1)
        self.wait_lock(20)
        for name in "ab":
            self.suspendd.wait_machine(name, 10, run_state="running")
        record = self.suspendd.suspend()
        self.assertEqual((of(record, "a")["stood"], of(record, "b")["stood"]), ("paused", "paused"))
        self.assert_running()
