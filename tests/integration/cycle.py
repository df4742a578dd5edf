# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whole cycles on real logind with real QEMU guests: who is stopped, who is not, and how they come back."""

import json
import subprocess
import threading
import time

from lab import LabError, Qemu, wait_for
from _suspendd import Suspendd, SuspenddCase, of, start_host

MS = 1000000


def names(vm, mark):
    """The events since the mark."""
    return [e.name for e in vm.monitor.events[mark:]]


class WithDisk(Qemu):
    """A QEMU with nothing but its firmware and a disk that holds snapshots."""

    def arguments(self):
        args = super().arguments() + ["-m", "64"]
        args[args.index("-machine") + 1] = "q35"
        return args

    def job(self, **options):
        """Makes an image, and waits until it is made."""
        self.monitor.command("blockdev-create", **{"job-id": "make", "options": options})
        wait_for(lambda: self.monitor.command("query-jobs")[0]["status"] == "concluded", 10, "an image")
        self.monitor.command("job-dismiss", id="make")

    def make_disk(self):
        """Gives it the disk."""
        path = self.own_path("qcow2")
        self.job(driver="file", filename=path, size=0)
        self.monitor.command("blockdev-add", **{"driver": "file", "node-name": "file", "filename": path})
        self.job(driver="qcow2", file="file", size=1 << 30)
        self.monitor.command("blockdev-add", **{"driver": "qcow2", "node-name": "disk", "file": "file"})

    def save(self):
        """Saves its state; that of before is deleted."""
        said = self.monitor.command("human-monitor-command", 30, **{"command-line": "savevm here"})
        if said:
            raise LabError(said)


class MixedCycle(SuspenddCase):
    """One host with every sort of machine; each test is a cycle of its own."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host, "[Machine ignored]\nMode=ignore\n", sleep_clock=True)
        cls.web = Qemu(cls.host.scratch, "web", cls.host).start()
        cls.db = Qemu(cls.host.scratch, "db", cls.host, channel=False).start()
        for vm in (cls.web, cls.db):
            cls.addClassCleanup(vm.kill)
            vm.wait_up()
        cls.suspendd.start()
        cls.suspendd.wait_machine("web", at_sleep="suspend")
        cls.suspendd.wait_machine("db", at_sleep="pause")

    def bare(self, name, **more):
        """A QEMU without a guest, known to the daemon."""
        vm = Qemu(self.host.scratch, name, self.host, kind="none", **more).start()
        self.addCleanup(vm.kill)
        self.suspendd.wait_machine(name, run_state="paused" if more.get("paused") else "running")
        return vm

    def test_s3_guest_suspends_and_its_clock_is_right_after(self):
        mark = self.web.monitor.mark()
        before = self.web.clocks()
        record = self.suspendd.suspend()

        self.web.monitor.wait_event("SUSPEND", 1, mark)
        self.web.monitor.wait_event("WAKEUP", 1, mark)
        self.assertTrue(record["host_slept"])
        self.assertEqual(record["ended"], "woke")
        self.assertGreaterEqual(record["slept_ns"], 900 * MS)
        web = of(record, "web")
        self.assertEqual((web["asked"], web["stood"], web["failed"]), ("suspend", "suspended", False))
        self.assertGreaterEqual(web["stopped_ns"], 900 * MS)
        self.assertEqual(web["seen_ns"], web["stopped_ns"])
        self.assertEqual(web["unseen_ns"], 0)
        self.assertLessEqual(abs(web["time"]["after_ns"]), 5 * MS)

        # By another way than the agent's: the guest's own words.
        error, uncertainty = self.web.clock_error()
        self.assertLessEqual(abs(error), 5 * MS + uncertainty)
        after = self.web.clocks()
        lost = (after["host_realtime"] - before["host_realtime"]) - (after["monotonic"] - before["monotonic"])
        self.assertGreaterEqual(lost, 900 * MS, "its MONOTONIC has stopped, as on bare metal")

    test_s3_guest_suspends_and_its_clock_is_right_after.quick = True

    def test_guest_without_agent_is_paused_and_runs_again(self):
        mark = self.db.monitor.mark()
        record = self.suspendd.suspend()
        self.db.monitor.wait_event("STOP", 1, mark)
        self.db.monitor.wait_event("RESUME", 1, mark)
        db = of(record, "db")
        self.assertEqual((db["asked"], db["stood"], db["why"]), ("pause", "paused", "no guest agent"))
        self.assertEqual(db["unseen_ns"], db["stopped_ns"])
        self.assertEqual(self.db.status(), "running")

    test_guest_without_agent_is_paused_and_runs_again.quick = True

    def test_all_stand_before_the_lock_goes(self):
        marks = {vm: vm.monitor.mark() for vm in (self.web, self.db)}
        self.host.set_sleep("hold")
        self.addCleanup(self.host.set_sleep, 1)
        self.host.request_suspend()
        self.host.wait_asleep()
        self.assertEqual(self.web.status(), "suspended")
        self.assertEqual(self.db.status(), "paused")
        self.web.monitor.wait_event("SUSPEND", 0.1, marks[self.web])
        number = self.suspendd.last_number() + 1
        self.host.wake()
        record = self.suspendd.wait_record(number)
        self.assertLess(record["released_after_usec"], 0.9 * record["delay_max_usec"])
        self.assertFalse(record["overdue"])

    def test_user_paused_machine_stays_paused(self):
        vm = self.bare("user-paused")
        vm.stop()
        self.suspendd.wait_machine("user-paused", run_state="paused")
        mark = vm.monitor.mark()
        record = self.suspendd.suspend()
        self.assertEqual(of(record, "user-paused")["asked"], "nothing")
        self.assertEqual(vm.status(), "paused")
        self.assertEqual(names(vm, mark), [], "no event: it was not touched")

    test_user_paused_machine_stays_paused.quick = True

    def test_ignored_machine_runs_on(self):
        vm = self.bare("ignored")
        mark = vm.monitor.mark()
        record = self.suspendd.suspend()
        self.assertEqual(of(record, "ignored")["asked"], "nothing")
        self.assertFalse(of(record, "ignored")["failed"])
        self.assertEqual(names(vm, mark), [])
        self.assertEqual(vm.status(), "running")

    test_ignored_machine_runs_on.quick = True

    def test_machine_that_dies_in_mid_cycle_is_forgotten(self):
        vm = self.bare("dying")
        self.host.set_sleep("hold")
        self.addCleanup(self.host.set_sleep, 1)
        self.host.request_suspend()
        self.host.wait_asleep()
        self.assertEqual(vm.status(), "paused")
        vm.kill()
        wait_for(lambda: self.suspendd.machine("dying") is None, 5, "dying gone", interval=0.05)
        number = self.suspendd.last_number() + 1
        self.host.wake()
        record = self.suspendd.wait_record(number)
        self.assertNotIn("dying", [m["name"] for m in record["machines"]])
        self.assertEqual((self.web.status(), self.db.status()), ("running", "running"))

    def test_machine_that_dies_while_it_is_asked(self):
        vm = self.bare("frozen")
        vm.freeze()
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.suspendd.wait_state("preparing")
        vm.kill()
        record = self.suspendd.wait_record(number)
        self.assertNotIn("frozen", [m["name"] for m in record["machines"]])
        self.assertLess(record["released_after_usec"], 0.9 * record["delay_max_usec"])

    def test_machine_started_in_mid_cycle_is_stopped_too(self):
        hung = self.bare("hung")
        hung.freeze()  # keeps the cycle preparing, to 90 % of the budget
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.suspendd.wait_state("preparing")
        late = Qemu(self.host.scratch, "late", self.host, kind="none").start()
        self.addCleanup(late.kill)
        late.wait_status("paused", 3)
        mark = late.monitor.mark()
        hung.thaw()
        record = self.suspendd.wait_record(number)
        self.assertEqual(of(record, "late")["stood"], "paused")
        late.monitor.wait_event("RESUME", 2, mark)
        self.assertEqual((late.status(), hung.status()), ("running", "running"))

    def test_machine_resumed_by_another_hand_is_left_running(self):
        vm = self.bare("meddled")
        self.host.set_sleep("hold")
        self.addCleanup(self.host.set_sleep, 1)
        self.host.request_suspend()
        self.host.wait_asleep()
        vm.cont()
        vm.stop()  # and paused again: that is no longer our pause
        number = self.suspendd.last_number() + 1
        self.host.wake()
        self.suspendd.wait_record(number)
        self.assertEqual(vm.status(), "paused")

    def test_stop_that_was_not_read_before_the_wake_is_no_less_its_users(self):
        vm = self.bare("unread")
        self.host.set_sleep("hold")
        self.addCleanup(self.host.set_sleep, 1)
        for _ in range(4):
            number = self.suspendd.last_number() + 1
            self.host.request_suspend()
            self.host.wait_asleep()
            # All of it is there at once when the daemon has a CPU again.
            self.suspendd.kill("STOP")
            try:
                vm.cont()
                vm.stop()
                self.host.wake()
                self.host.wait_awake()
            finally:
                self.suspendd.kill("CONT")
            self.suspendd.wait_record(number)
            self.assertEqual(vm.status(), "paused")
            vm.cont()
            self.suspendd.wait_machine("unread", run_state="running")

    def test_machine_whose_state_is_saved_meanwhile_runs_again(self):
        vm = WithDisk(self.host.scratch, "saved", self.host, kind="none").start()
        self.addCleanup(vm.kill)
        vm.make_disk()
        self.suspendd.wait_machine("saved", run_state="running")
        vm.save()
        for n in range(8):
            # It deletes the old state, stops, saves, and runs again; the daemon's stop comes somewhere in there.
            saving = threading.Thread(target=vm.save)
            saving.start()
            time.sleep(n / 1000)
            vm.freeze()
            number = self.suspendd.last_number() + 1
            self.host.request_suspend()
            self.suspendd.wait_state("preparing")
            vm.thaw()
            saving.join()
            self.suspendd.wait_record(number)
            vm.wait_status("running", 2)

    def test_rehearsal_does_all_but_the_sleep(self):
        marks = {vm: vm.monitor.mark() for vm in (self.web, self.db)}
        sleeps = self.host.sleeps()
        done = self.suspendd.ctl("rehearse", "--for=500ms", "--json")
        record = json.loads(done.stdout.splitlines()[-1]) if "\n{" in done.stdout else json.loads(done.stdout)
        self.assertEqual(record["kind"], "rehearsal")
        self.assertEqual(of(record, "web")["stood"], "suspended")
        self.assertEqual(of(record, "db")["stood"], "paused")
        self.assertEqual(self.host.sleeps(), sleeps)
        self.web.monitor.wait_event("WAKEUP", 1, marks[self.web])
        self.db.monitor.wait_event("RESUME", 1, marks[self.db])
        self.assertEqual(len(self.locks()), 1)

    def test_true_sleep_amidst_a_rehearsal_wins(self):
        number = self.suspendd.last_number() + 1
        rehearsal = self.host.popen(["suspendctl", "rehearse", "--for=20s"], stdout=subprocess.DEVNULL)
        self.addCleanup(rehearsal.kill)
        self.suspendd.wait_state("sleeping")
        sleeps = self.host.sleeps()
        self.host.suspend()
        record = self.suspendd.wait_record(number)
        self.assertEqual(record["kind"], "sleep")
        self.assertEqual(self.host.sleeps(), sleeps + 1)
        self.assertEqual((self.web.status(), self.db.status()), ("running", "running"))
