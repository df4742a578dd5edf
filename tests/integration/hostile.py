# SPDX-License-Identifier: LGPL-2.1-or-later
"""Monitors and agents that do what no QEMU would (fakes), beside real and well-behaved ones, on real logind."""

import os
import select
import subprocess

from lab import LabError, Qemu, Qmp, wait_for
from _suspendd import BUILD, Suspendd, SuspenddCase, of, start_host

FAKE = os.path.join(BUILD, "tests", "fake", "qmp-fake")
GOOD = 8


class Hostile(SuspenddCase):
    """Each test: a cycle with one sort of villain. All others must stand in time, and the lock must go."""

    @classmethod
    def setUpClass(cls):
        cls.host = start_host(sleep=1)
        cls.addClassCleanup(cls.host.stop)
        cls.suspendd = Suspendd(cls.host)
        cls.real = Qemu(cls.host.scratch, "real", cls.host, kind="none").start()
        cls.addClassCleanup(cls.real.kill)
        cls.start_fakes(["good*%d=good" % GOOD, "friend=good+good"], cls.addClassCleanup)
        cls.suspendd.start()
        cls.names = ["real", "friend"] + ["good%d" % i for i in range(GOOD)]
        for name in cls.names:
            cls.suspendd.wait_machine(name, run_state="running")

    @classmethod
    def start_fakes(cls, specs, cleanup):
        """Runs fake machines until the cleanup; returns once their sockets are there."""
        fake = cls.host.popen([FAKE, "--dir", cls.suspendd.vms] + specs, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)

        def end():
            fake.kill()
            fake.wait(5)
            fake.stdin.close()
            fake.stdout.close()
        cleanup(end)
        if not select.select([fake.stdout], [], [], 10)[0] or fake.stdout.readline() != "ready\n":
            raise LabError("qmp-fake is not ready")
        return fake

    def cycle_with(self, spec, name="villain"):
        """A cycle with one villain more. Returns what its record says of the villain, or None."""
        wait_for(lambda: self.suspendd.machine(name) is None, 10, "the last test's %s gone" % name, interval=0.02)
        self.start_fakes(["%s=%s" % (name, spec)], self.addCleanup)
        # Announced: as what it is, or, if that cannot be found out, after its time is over.
        self.suspendd.wait_machine(name, 10)
        record = self.suspendd.suspend()
        for other in self.names:
            m = of(record, other)
            self.assertEqual(m["failed"], False, m)
            self.assertIn(m["stood"], ("paused", "suspended"))
            self.assertLess(m["stood_after_usec"], 1000000, m)
            self.assertIsNotNone(m["ran_after_usec"], m)
        self.assertLess(record["released_after_usec"], 0.9 * record["delay_max_usec"])
        self.assertEqual(self.real.status(), "running")
        found = [m for m in record["machines"] if m["name"] == name]
        return found[0] if found else None

    def assert_failed(self, villain):
        self.assertTrue(villain["failed"])
        self.assertIsNone(villain["stood"])
        self.assertTrue(villain["why"])

    def test_accepts_and_never_speaks(self):
        villain = self.cycle_with("mute")
        self.assert_failed(villain)
        self.assertIn("held by another client", villain["why"])

    def test_greets_and_answers_nothing(self):
        self.assert_failed(self.cycle_with("deaf"))

    def test_never_acts_on_stop(self):
        self.assert_failed(self.cycle_with("hung"))

    def test_answers_stop_and_runs_on(self):
        self.assert_failed(self.cycle_with("lie"))

    def test_acts_on_stop_and_never_answers(self):
        villain = self.cycle_with("noreply")
        self.assertEqual((villain["stood"], villain["failed"]), ("paused", False))

    def test_one_whose_answers_are_lost_runs_again_after_each_of_many_cycles(self):
        self.start_fakes(["villain=noreply"], self.addCleanup)
        self.suspendd.wait_machine("villain", 8, run_state="running")
        for _ in range(5):
            self.suspendd.suspend()
            self.suspendd.wait_machine("villain", 8, run_state="running")
        self.assertIn("leaves commands without an answer", self.suspendd.log())

    def end_guest(self, spec, event, state):
        """A cycle in which the guest ends before it stands. Returns the record, and what it says of the guest."""
        fake = self.start_fakes(["guest=" + spec], self.addCleanup)
        self.suspendd.wait_machine("guest", 10, run_state="running")
        number = self.suspendd.last_number() + 1
        self.host.request_suspend()
        self.suspendd.wait_state("preparing")
        fake.stdin.write("guest state %s\nguest event %s\nguest event STOP\n" % (state, event))
        fake.stdin.flush()
        record = self.suspendd.wait_record(number)
        self.assertEqual(self.suspendd.machine("guest")["detail"], state, "it is left as it is")
        return record, of(record, "guest")

    def test_guest_that_shuts_down_instead_of_suspending_is_left(self):
        record, guest = self.end_guest("good+lie", "SHUTDOWN", "shutdown")
        self.assertEqual((guest["asked"], guest["stood"]), ("suspend", None))
        self.assertLess(record["released_after_usec"], 2000000, "nobody waits for it")

    def test_guest_that_shuts_down_before_its_pause_is_left(self):
        _, guest = self.end_guest("good:2000", "SHUTDOWN", "shutdown")
        self.assertEqual((guest["asked"], guest["ran_after_usec"]), ("pause", None))

    def test_guest_that_panics_before_its_pause_is_left(self):
        _, guest = self.end_guest("good:2000", "GUEST_PANICKED", "guest-panicked")
        self.assertEqual((guest["asked"], guest["stood"]), ("pause", None))

    def test_floods(self):
        self.cycle_with("flood")
        self.suspendd.wait_state("idle", 60)

    def test_drips_a_byte_a_second(self):
        self.cycle_with("drip")

    def test_line_of_ten_megabytes(self):
        self.cycle_with("long")
        self.assert_is_run_again()

    def test_nested_a_million_deep(self):
        self.cycle_with("deep")
        self.assert_is_run_again()

    def test_invalid_utf8(self):
        self.cycle_with("badutf8")
        self.assert_is_run_again()

    def test_garbage(self):
        self.cycle_with("garbage")
        self.assert_is_run_again()

    def test_events_between_halves_of_replies(self):
        villain = self.cycle_with("split")
        self.assertEqual((villain["stood"], villain["failed"]), ("paused", False))

    def test_vanishes_at_stop(self):
        self.assertIsNone(self.cycle_with("dies"))

    def test_agent_that_takes_everything_and_answers_nothing(self):
        villain = self.cycle_with("good+hung")
        self.assertEqual(villain["stood"], "paused")

    def test_agent_that_refuses(self):
        villain = self.cycle_with("good+error")
        self.assertEqual((villain["asked"], villain["stood"]), ("suspend", "paused"))
        self.assertLess(villain["stood_after_usec"], 1000000)

    def test_agent_with_leftovers_in_its_channel(self):
        villain = self.cycle_with("good+garbage")
        self.assertFalse(villain["failed"])

    def assert_is_run_again(self):
        """Whatever came over its monitor, the machine behind it is not left stopped."""
        self.suspendd.wait_machine("villain", 30, run_state="running")

    def test_monitor_held_by_another_client(self):
        vm = Qemu(self.host.scratch, "busy", self.host, kind="none").start(wait=False)
        self.addCleanup(vm.kill)
        wait_for(lambda: os.path.exists(vm.qmp_path), 5, "the monitor's socket")
        vm.wait_started()
        # Whoever is first has it; the daemon is quick. So another machine's is taken while the daemon is not there.
        self.suspendd.stop()
        other = Qmp(vm.qmp_path)
        self.suspendd.start()
        told = self.suspendd.wait_machine("busy", 5)
        self.assertIn("held by another client", str(told))
        record = self.suspendd.suspend()
        self.assert_failed(of(record, "busy"))
        for name in self.names:
            self.assertLess(of(record, name)["stood_after_usec"], 1000000)
        self.assertLess(record["released_after_usec"], 1000000, "nobody waits for it")

        other.close()
        self.suspendd.wait_machine("busy", 5, run_state="running", at_sleep="pause")
        self.assertEqual(of(self.suspendd.suspend(), "busy")["stood"], "paused")
