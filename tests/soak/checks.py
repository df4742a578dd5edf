# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must hold on a host after each cycle, whatever went on in it."""

import json
import os
import time

import journal
from house import Violation, waited_ns
from lab import LabError
from machines import SLOW_MONITORS, reached

SETTLE_LIMIT = 30
# A process that waited so long for a CPU cannot be said to be late.
STARVED_NS = 25 * 1000000
EVIL_WORDS = ("Bug:", "AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer")
HELD = ("held", "asked", "paused", "suspended")


class Checks:
    """Over one house. .starved: how often a budget was missed by a process that waited for a CPU."""

    def __init__(self, house, stalls):
        self.house, self.stalls, self.starved = house, stalls, 0
        self._since = time.monotonic()
        self.last_number = 0
        self.n_records = 0
        self._records = []  # not counted against the cycles yet
        self.owed = {"sleep": 0, "rehearsal": 0}
        self.may_merge = False  # a sleep that logind forgot, and one announced before that was noticed, are one cycle
        self._waited = {}

    # before a cycle

    def begin(self, is_settled=True):
        """From here on things count; but of what was done just now the daemon need not know yet."""
        house = self.house
        for machine in house.machines.values():
            machine.touches()
        self._left = {name: m for name, m in house.machines.items() if is_settled and not m.is_ours()}
        self._waited = {m.name: waited_ns(m.pid()) for m in house.machines.values()}
        self._waited.update({name: waited_ns(pid) for name, pid in self._deliverers().items()})
        self._since = time.monotonic()

    def _deliverers(self):
        """Who must run for the lock to be let go in time, as pids: the word of a sleep goes from one to the next."""
        house = self.house
        processes = {"suspendd": house.daemon, "bus": house.bus.process, "logind": house.login1}
        return {name: process.pid for name, process in processes.items() if process}

    def _is_starved(self, name, pid):
        if waited_ns(pid) - self._waited.get(name, 0) < STARVED_NS and not self.stalls.since(self._since):
            return False
        self.starved += 1
        return True

    # all is quiet

    def settle(self):
        """Waits until all is as it is to be; a Violation if that does not come."""
        end = time.monotonic() + SETTLE_LIMIT
        while True:
            self.house.supervise()
            what = self._unsettled()
            if not what:
                self.house.is_bus_away = False
                return
            if time.monotonic() > end:
                raise Violation(*what)
            time.sleep(0.01)

    def _unsettled(self):
        house = self.house
        status = house.status()
        if not status:
            return "the daemon is on the bus", "it is not"
        pending = self._pending()
        if pending and pending[0].is_good:
            return "%s %s" % (pending[0].describe(), pending[0].expected), pending[0].status()
        if not status["LockHeld"] or house.inhibited() != "sleep":
            return "the lock is held", "LockHeld %s, logind's: %r" % (status["LockHeld"], house.inhibited())
        is_sure = not pending and not any(m.has_lost() for m in house.machines.values())
        if is_sure and (status["State"] != "idle" or status["NHeld"]):
            return "idle, none held", "%s, %d held" % (status["State"], status["NHeld"])
        return self._unlisted() or self.noted(pending)

    def _pending(self):
        """Those that are not where they are to be; good ones first. A Violation when the time of one is over."""
        pending = []
        for machine in list(self.house.machines.values()):
            if reached(machine):
                continue
            pending.append(machine)
            if machine.due and time.monotonic() > machine.due:
                raise Violation("%s %s within %d s" % (machine.describe(), machine.expected, machine.patience),
                                machine.status())
        return sorted(pending, key=lambda m: not m.is_good)

    def _unlisted(self):
        listed = self.house.listed()
        for machine in self.house.machines.values():
            _, seen, _ = listed.get(machine.name, (None, "not listed", None))
            if machine.is_good and not machine.has_lost() and seen != machine.expected:
                return "%s is listed as %s" % (machine.describe(), machine.expected), seen
        if any(not self.house.machines.get(name) for name in listed):
            return "only %s are listed" % sorted(self.house.machines), sorted(listed)
        return None

    def noted(self, pending):
        """What the journal says is held and is not excused, as what was expected and seen; None: nothing."""
        try:
            notes = journal.read(self.house.journal_path())
        except (OSError, ValueError) as error:
            return "a journal", error
        excused = {"@%d." % m.pid() for m in pending}
        # Of one whose process has ended nothing can be held; that is forgotten when the daemon does something.
        excused |= {"@%d." % pid for pid in self._noted_pids(notes) if not os.path.exists("/proc/%d" % pid)}
        excused |= {"@%d." % m.pid() for m in self.house.machines.values() if not m.lives() or m.has_lost()}
        bad = {k: v for k, v in notes.items() if v in HELD and not any(x in k for x in excused)}
        return ("a journal in which none is held", bad) if bad else None

    @staticmethod
    def _noted_pids(notes):
        return [int(key.rsplit("@", 1)[1].split(".")[0]) for key in notes]

    # after a cycle

    def end(self):
        """What must hold once all is quiet."""
        text = self.house.new_log()
        for word in EVIL_WORDS:
            if word in text:
                raise Violation("no '%s' in the log" % word, next(x for x in text.splitlines() if word in x))
        for name, machine in self._left.items():
            if self.house.machines.get(name) is not machine or machine.is_ours():
                continue
            touches = machine.touches()
            if touches:
                raise Violation("%s, %s, mode %s, is not touched" % (
                    machine.describe(), machine.expected, machine.mode), touches)

    def released(self, is_excused):
        """The lock was let go within what logind allows."""
        last = self.house.last_sleep()
        if not last["overrun"] or is_excused or any(self._is_starved(*x) for x in self._deliverers().items()):
            return
        raise Violation("the lock is let go within %d ms" % (last["delay_max_usec"] // 1000),
                        "logind went on without %s" % last["overrun_who"])

    # records

    def records(self):
        """The new records, when the daemon is idle: as many as there were cycles. None while it is not."""
        status = self.house.status()
        # While a machine that is never run again keeps it busy the history goes on, and lets go of its oldest.
        self._records += self._new_records()
        if not status or status["State"] != "idle":
            return None
        new, self._records = self._records, []
        kinds = [r["kind"] for r in new]
        owed, deaths = self.owed, self.house.deaths
        seen = {kind: kinds.count(kind) for kind in ("sleep", "rehearsal", "recovery", "unannounced")}
        told = "%s and %d deaths of the daemon" % (owed, deaths)
        least = 1 if self.may_merge else owed["sleep"]
        if not deaths and (not least <= seen["sleep"] <= owed["sleep"] or seen["recovery"] or
                           seen["rehearsal"] > owed["rehearsal"]):
            raise Violation("as many records as cycles: " + told, seen)
        if seen["sleep"] > owed["sleep"] + deaths or seen["recovery"] > deaths or seen["unannounced"]:
            raise Violation("no more records than cycles: " + told, seen)
        self.owed, self.house.deaths, self.may_merge = {"sleep": 0, "rehearsal": 0}, 0, False
        self.n_records += len(new)
        return new

    def _new_records(self):
        folder = self.house.history_path()
        numbers = sorted(int(x[:-len(".json")]) for x in os.listdir(folder) if x.endswith(".json"))
        numbers = [x for x in numbers if x > self.last_number]
        if numbers and numbers != list(range(self.last_number + 1, self.last_number + 1 + len(numbers))):
            raise Violation("records numbered on from %d" % self.last_number, numbers)
        records = []
        for number in numbers:
            with open(os.path.join(folder, "%d.json" % number)) as f:
                records.append(json.load(f))
        self.last_number = numbers[-1] if numbers else self.last_number
        return records

    def snapshot(self):
        """While the host sleeps: {name: run state} as the machines themselves say."""
        seen = {}
        for machine in self.house.machines.values():
            try:
                seen[machine.name] = machine.status()
            except LabError:
                seen[machine.name] = "gone"
        return seen

    def true_record(self, record, seen):
        """The record of a cycle that nothing has disturbed says what we saw ourselves."""
        told = {m["name"]: m for m in record["machines"]}
        for name, machine in self.house.machines.items():
            if getattr(machine, "monitor", "good") in SLOW_MONITORS + ("dies",) or name not in seen:
                continue
            m = told.get(name)
            if machine.is_good and not m:
                raise Violation("%s is in record %d" % (machine.describe(), record["number"]), sorted(told))
            # One that stood when the host had been let sleep already stood after we had looked.
            if m and not (m["stood"] and m["stood_after_usec"] >= record["released_after_usec"]):
                self._true_machine(machine, m, seen[name])
        if any(m["stood"] is None and m["asked"] == "pause" and not m["failed"] for m in record["machines"]):
            raise Violation("who was asked and did not stand has failed", record)

    def _true_machine(self, machine, m, seen):
        stood = seen if seen in ("paused", "suspended") and machine.is_ours() else None
        if m["stood"] != stood:
            raise Violation("%s: the record says that it stood as it did: %s" % (machine.describe(), stood), m)
        if not machine.is_ours() and m["asked"] != "nothing":
            raise Violation("%s, %s, mode %s, is not asked" % (machine.describe(), machine.expected, machine.mode), m)
        if machine.is_good and machine.is_ours() and not stood and not self._is_starved(machine.name, machine.pid()):
            raise Violation("%s stands while the host sleeps" % machine.describe(), m)
