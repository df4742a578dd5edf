# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens on a host, step by step: some things between two sleeps, a sleep of some kind, something in its midst.
All is decided by the seed, so that the same seed brings the same sequence."""

import random
import signal
import time

from checks import Checks
from dbus import BusError
from house import FOREVER, Violation
from machines import AGENTS, BAD_MONITORS, GOOD_MONITORS


FAKES, REALS, FAKES_MAX, REALS_MAX = 10, 3, 6, 2
DELAYS_MSEC = (300, 400, 600, 1000)
MODES = ("auto", "suspend", "pause", "ignore", "block", "default")
EMPTY_EVERY = 150

BETWEEN = {
    "add_fake": 10, "add_real": 2, "die": 5, "user_stop": 4, "user_cont": 5, "user_suspend": 2, "mode": 5, "reload": 3,
    "bad_reload": 1, "register": 3, "unregister": 2, "restart_login1": 2, "drop": 2, "kill": 3, "term": 2,
    "restart_bus": 1,
}
KINDS = {"sleep": 60, "failed": 12, "double": 12, "rehearsal": 8, "rehearsal_real": 4, "sleep_at_once": 6}
AMIDST = {
    "kill": 6, "term": 4, "freeze_daemon": 3, "restart_login1": 4, "restart_bus": 1, "die": 5, "add_fake": 4,
    "user_cont": 3, "user_cont_stop": 3, "reload": 3, "freeze": 4, "mode": 2, "unregister": 2, "kill_twice": 1,
}
DEADLY = ("kill", "term", "restart_bus", "kill_twice")
PLACES = ("preparing", "asleep", "restoring")


def choose(rng, weights):
    """A key, as often as its weight says."""
    return rng.choices(list(weights), list(weights.values()))[0]


class Steps:
    """A sequence of steps on one house. is_steady: the daemon is never ended, so that what it keeps would show."""

    def __init__(self, house, stalls, seed, is_steady):
        self.house, self.checks = house, Checks(house, stalls)
        self.seed, self.is_steady = seed, is_steady
        self.number = self.n_cycles = 0
        self.counts = {}
        self.told = []

    def step(self):
        """One of them. What was decided is in .told."""
        self.number += 1
        self.rng = random.Random("%s/%d" % (self.seed, self.number))
        self.told, self.is_disturbed, self.is_quiet = [], False, True
        for _ in range(self.rng.choice((0, 0, 1, 1, 2, 3))):
            self.do(choose(self.rng, self._allowed(BETWEEN)))
        self.sweep()
        kind = choose(self.rng, KINDS)
        if kind != "sleep_at_once":
            self.checks.settle()
        self.cycle(kind)
        self.checks.settle()
        self.checks.end()
        self.check_records()

    def _allowed(self, weights):
        return {k: v for k, v in weights.items() if not (self.is_steady and k in DEADLY)}

    def do(self, what):
        """One thing happens, if it can."""
        done = getattr(self, "do_" + what)()
        if done:
            self.told.append("%s %s" % (what, done))
            self.is_quiet &= what not in DEADLY + ("restart_login1",)
            self.counts[what] = self.counts.get(what, 0) + 1

    def some(self, predicate):
        """Any of the machines for which this holds, or None."""
        found = sorted(name for name, m in self.house.machines.items() if predicate(m))
        return self.house.machines[self.rng.choice(found)] if found else None

    def sweep(self):
        """Those that have died go, and who misbehaved does so no longer."""
        for machine in list(self.house.machines.values()):
            machine.turn_good()
            if not machine.lives():
                self.house.remove(machine)

    def empty(self):
        """All machines go."""
        for machine in list(self.house.machines.values()):
            self.house.remove(machine)
        self.checks.settle()

    # a cycle

    def cycle(self, kind):
        """A sleep of that kind, perhaps with something in its midst."""
        self.told.append(kind)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        amidst = choose(self.rng, self._allowed(AMIDST)) if self.rng.random() < 0.45 else None
        place = self.rng.choice(PLACES)
        self.is_excused = amidst in ("freeze_daemon", "restart_login1", "restart_bus")
        machines = self.house.machines.values()
        self.is_disturbed = bool(amidst) or kind != "sleep" or any(m.due or m.is_dropped for m in machines)
        for machine in machines:
            machine.is_dropped = False
        delay = self.rng.choice(DELAYS_MSEC)
        self.told.append("delay %d ms" % delay)
        self.house.control("Forget")
        self.house.control("SetDelayMax", "t", delay * 1000)
        self.checks.begin(kind != "sleep_at_once")
        self.seen = None
        if kind.startswith("rehearsal"):
            self.rehearse(amidst, place, kind == "rehearsal_real")
        else:
            self.sleep(amidst, place, is_failed=kind == "failed")
        if kind == "double":
            self.sweep()
            self.checks.may_merge |= amidst == "restart_login1"
            self.house.pause(self.rng.choice((0, 0, 0.005, 0.05)))
            self.sleep(None, None)
        for machine in list(self.house.machines.values()):
            if machine.is_frozen:
                machine.thaw()

    def amidst(self, what, place, now):
        """If it is for now, it happens."""
        if what and place == now:
            self.house.pause(self.rng.choice((0, 0, 0.002, 0.01, 0.05)))
            self.told.append("%s:" % now)
            self.do(what)

    def sleep(self, amidst, place, is_failed=False):
        """The host sleeps; is_failed: it wants to, and then does not."""
        self.house.control("Sleep", "t", FOREVER)
        self.n_cycles += 1
        self.checks.owed["sleep"] += 1
        self.amidst(amidst, place, "preparing")
        if is_failed:
            self.house.pause(self.rng.choice((0, 0.001, 0.005, 0.03)))
        elif self.wait_asleep():
            self.seen = self.checks.snapshot()
            self.amidst(amidst, place, "asleep")
            self.house.pause(self.rng.choice((0, 0, 0.005, 0.02)))
        if self.house.phase() != "idle":
            self.house.control("Wake")
            self.checks.released(self.is_excused)
        else:
            self.house.control("Wake")
        self.amidst(amidst, place, "restoring")

    def wait_asleep(self):
        """False if it does not come to that any more."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            phase = self.house.phase()
            if phase != "delaying":
                return phase == "asleep"
            self.house.pause(0.004)
        raise Violation("the host is let sleep", "it is not")

    def rehearse(self, amidst, place, is_real):
        """A rehearsal; is_real: a sleep comes amidst it."""
        try:
            self.house.manager("Rehearse", "t", 300000 if is_real else self.rng.choice((1000, 20000, 60000)))
        except BusError as error:
            if "under way" in str(error):
                self.told.append("refused")
                return
            raise
        self.n_cycles += 1
        self.checks.owed["rehearsal"] += 1
        if is_real:
            self.sweep()
            self.house.pause(self.rng.choice((0, 0.005, 0.05)))
            self.sleep(amidst, place)
        else:
            self.amidst(amidst, "amidst", "amidst")

    # records

    def check_records(self):
        """They are as many as cycles, and true where it is known what is."""
        records = self.checks.records()
        if records is None or self.is_disturbed or not self.seen:
            return
        last = [r for r in records if r["kind"] == "sleep"]
        if not last:
            raise Violation("a record of a sleep", records)
        self.checks.true_record(last[-1], self.seen)

    # what can happen: each says to whom, or None

    def do_add_fake(self):
        """A fake comes."""
        free = sorted({"f%d" % i for i in range(FAKES)} - set(self.house.machines))
        if FAKES - len(free) >= FAKES_MAX:
            return None
        monitors = GOOD_MONITORS if self.rng.random() < 0.75 else BAD_MONITORS
        return self.house.add_fake(self.rng.choice(free), self.rng.choice(monitors), self.rng.choice(AGENTS)).describe()

    def do_add_real(self):
        """A QEMU comes."""
        free = sorted({"q%d" % i for i in range(REALS)} - set(self.house.machines))
        if REALS - len(free) >= REALS_MAX:
            return None
        return self.house.add_real(self.rng.choice(free)).describe()

    def do_register(self):
        """A fake that the daemon would not find is there, and it is told."""
        if "r0" in self.house.machines:
            return None
        return self.house.add_fake("r0", self.rng.choice(GOOD_MONITORS), self.rng.choice(AGENTS), True).describe()

    def do_unregister(self):
        """It is told to forget it. Then the machine has nobody who would run it again, so it must run."""
        machine = self.some(lambda m: m.name in self.house.registered)
        if not machine or not self.house.unregister(machine):
            return None
        if machine.expected != machine.status() and machine.is_good:
            raise Violation("%s, unregistered, is %s" % (machine.describe(), machine.expected), machine.status())
        self.house.remove(machine)
        return machine.name

    def do_die(self):
        """A machine crashes."""
        machine = self.some(lambda m: not m.is_frozen)
        if not machine:
            return None
        self.house.remove(machine)
        return machine.name

    def do_user_stop(self):
        """Its user pauses a machine that runs and is quiet."""
        machine = self.some(lambda m: m.is_true and m.status() == m.expected == "running" and m.is_quiet())
        if not machine:
            return None
        machine.stop()
        machine.expected = "paused"
        machine.touches()
        return machine.name

    def do_user_cont(self):
        """Its user has a machine run: one that he paused, or that suspended by itself, or that we hold."""
        machine = self.some(lambda m: m.is_true and m.status() != "running" and m.lives())
        # While a sleep is prepared it would not run for long enough to be seen to.
        if not machine or self.house.phase() == "delaying":
            return None
        machine.wake() if machine.status() == "suspended" else machine.cont()
        machine.expected = "running"
        if not machine.is_ours():
            machine.touches()
        return machine.name

    def do_user_cont_stop(self):
        """Its user has a machine that we hold run, and pauses it again: that is no longer our pause."""
        machine = self.some(lambda m: m.is_true and m.is_ours() and m.status() == "paused")
        if not machine or self.house.phase() != "asleep":
            return None
        machine.cont()
        machine.stop()
        machine.expected = "paused"
        machine.touches()
        return machine.name

    def do_user_suspend(self):
        """A guest that is never asked to suspends by its own wish."""
        machine = self.some(lambda m: getattr(m, "agent", None) == "" and m.is_true and
                            m.status() == m.expected == "running")
        if not machine:
            return None
        machine.suspend()
        machine.expected = "suspended"
        machine.touches()
        return machine.name

    def do_mode(self):
        """A mode by command."""
        machine = self.some(lambda m: m.is_true)
        mode = self.rng.choice(MODES)
        if not machine or not self.house.set_mode(machine, mode):
            return None
        return "%s %s" % (machine.name, mode)

    def do_reload(self):
        """Another configuration."""
        share, sync = self.rng.choice((20, 60, 75)), self.rng.choice(("absolute", "relative", "off"))
        self.house.configure("SuspendShare=%d%%\nBudgetMaxSec=%ds" % (share, self.rng.choice((1, 10))),
                             "[Machine f*]\nTimeSync=" + sync)
        self.house.manager("Reload")
        return "share %d, %s" % (share, sync)

    def do_bad_reload(self):
        """A configuration that is refused."""
        self.house.configure("SuspendShare=no")
        before = self.house.status()
        try:
            self.house.manager("Reload")
            # In a cycle it is put off.
            if before and before["State"] == "idle" and self.is_quiet:
                raise Violation("a broken configuration is refused", "it is not")
        except BusError as error:
            if "has errors" not in str(error):
                raise
        self.house.configure()
        return "refused"

    def do_drop(self):
        """A fake's connections are cut."""
        machine = self.some(lambda m: m.is_good and hasattr(m, "say"))
        if machine:
            machine.drop()
        return machine and machine.name

    def do_freeze(self):
        """A machine does not answer until the cycle is over."""
        machine = self.some(lambda m: m.is_good)
        if machine:
            machine.freeze()
        return machine and machine.name

    def do_restart_login1(self):
        """logind goes and comes back, with its locks or without."""
        keep = self.rng.random() < 0.7
        self.house.control("Drop", "b", keep)
        self.house.pause(self.rng.choice((0, 0.01, 0.05)))
        self.house.control("Wake")
        self.house.control("Retake")
        return "locks kept" if keep else "locks forgotten"

    def do_restart_bus(self):
        """The bus goes, and with it all that is on it."""
        self.house.restart_bus()
        return "now"

    def do_kill(self):
        """The daemon dies."""
        self.house.signal_daemon(signal.SIGKILL)
        return "suspendd"

    def do_kill_twice(self):
        """It dies, and again while it starts."""
        self.do_kill()
        self.house.daemon.wait()
        self.house.supervise()
        time.sleep(self.rng.choice((0.001, 0.005, 0.01, 0.03)))
        self.do_kill()
        return "suspendd"

    def do_term(self):
        """The daemon is told to end."""
        self.house.signal_daemon(signal.SIGTERM)
        return "suspendd"

    def do_freeze_daemon(self):
        """The daemon does not get the CPU for a while."""
        msec = self.rng.choice((5, 40, 150))
        self.house.signal_daemon(signal.SIGSTOP)
        time.sleep(msec / 1000)
        self.house.signal_daemon(signal.SIGCONT)
        return "%d ms" % msec
