# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the whole-system tests have in common: an outer machine with four virtual machines in it, and its sleeps."""

import collections
import json
import sys

from lab import LabCase, LabUnavailable, wait_for
from _events import Events
from _machines import Domain, Machine
from _outer import MEDIA, OWN, VMS, Outer

MS = 1000000
SECOND = 1000 * MS
RECORD_SECONDS = 60
OVERRUN = "inhibitor timeout is reached"

# One sleep: as the outer machine told it, what happened inside during it, suspendd's record (None without), and where in
# all events it began.
Cycle = collections.namedtuple("Cycle", "sleep events record mark")


def of(record, name):
    """What a record says of one machine."""
    return next(x for x in record["machines"] if x["name"] == name)


class Inside:
    """What is in an outer machine: `bare`, a QEMU without hardware; `web`, a guest with a clock and an agent; `mine`, which
    its user has paused; `dom`, a domain of libvirt."""

    RUNNING = ("bare", "web", "dom")

    def __init__(self, outer):
        self.outer = outer
        outer.run("systemd-run -q --unit=lab-watch python3 %s/inside/watch.py %s" % (MEDIA, OWN))
        self.machines = [Machine(outer, "bare"), Machine(outer, "web", kind="ticking"), Machine(outer, "mine"),
                         Domain(outer, "dom")]
        for machine in self.machines:
            machine.start()
        self.bare, self.web, self.mine, self.dom = self.machines
        self.ask(self.mine, "stop")
        self.ask_agent("agent-set")

    def ask(self, machine, *commands):
        """Gives commands to a machine's monitor, the tests' own; what was printed."""
        return self.outer.run("python3 %s/inside/ask.py %s %s" % (MEDIA, machine.own("ask"), " ".join(commands))).strip()

    def ask_agent(self, *commands):
        """The same to web's agent, whose channel is suspendd's where that runs."""
        return self.outer.run("python3 %s/inside/ask.py %s/web.qga %s" % (MEDIA, VMS, " ".join(commands))).strip()

    # suspendd

    def start_suspendd(self, config=""):
        """Installs and starts it, and waits until it knows all machines. @config is for its plugin for QEMU."""
        self.outer.install_suspendd(config)
        self.wait_known()

    def wait_known(self):
        """Waits until suspendd would pause what runs, and knows web's agent."""
        def is_known():
            listed = {x["name"]: x for x in self.outer.json("suspendctl list --json")}
            return all(listed.get(x.name, {}).get("at_sleep") == "pause" for x in self.machines if x is not self.mine) and \
                "mine" in listed and "get-time" not in str(listed["web"].get("lacks"))
        wait_for(is_known, 60, "suspendd knows all machines", interval=1)

    def wait_lock(self):
        """Waits until it holds its lock at logind."""
        command = "busctl get-property org.suspendd1 /org/suspendd1 org.suspendd1.Manager LockHeld"
        wait_for(lambda: self.outer.run(command, check=False).strip() == "b true", 30, "the lock is held", interval=0.5)

    def records(self):
        """All records of the history, oldest first."""
        text = self.outer.run("cd /var/lib/suspendd/history 2>/dev/null && for x in $(ls | sort -n); do cat $x; echo; done",
                              check=False)
        return [json.loads(x) for x in text.splitlines() if x]

    def wait_record(self, n_before):
        """Waits until there is one more record than that; returns it."""
        return wait_for(lambda: self.records()[n_before:], RECORD_SECONDS, "a record of the cycle", interval=1)[-1]

    # what happens

    def events(self):
        """All that has happened in the machine."""
        return Events(self.outer.read(OWN + "/events"))

    def cycle(self, seconds, command="systemctl suspend", recorded=True, run=RUNNING):
        """A whole sleep; until those machines that stood run again, and there is a record of it."""
        return self._cycle(lambda: self.outer.sleep(seconds, command), "PM: suspend exit", recorded, run)

    def double_cycle(self, seconds):
        """The same of suspend-then-hibernate, whose first sleep ends by itself."""
        return self._cycle(lambda: self.outer.sleep_twice(seconds), "PM: hibernation: hibernation exit")

    def _cycle(self, sleep, awake, recorded=True, run=RUNNING):
        before = self.events().mark()
        n_records = len(self.records()) if recorded else 0
        slept = sleep()
        record = self.wait_record(n_records) if recorded else None
        self.wait_running(run)
        return Cycle(slept, self.since(before, awake), record, before)

    def refused(self, command="systemctl suspend"):
        """A sleep that the kernel refuses: the same without a sleep."""
        before = self.events().mark()
        n_records = len(self.records())
        self.outer.refused_sleep(command)
        record = self.wait_record(n_records)
        self.wait_running()
        return Cycle(None, self.since(before), record, before)

    def since(self, before, awake="PM: suspend exit"):
        """The events since a mark, with the end of the kernel's sleep among them."""
        def is_awake():
            events = self.events()
            return events if events.find("kernel", awake, before) else None
        events = wait_for(is_awake, 30, "the kernel is awake", interval=0.5)
        events.all = events.all[before:]
        return events

    def states(self):
        """{name: run state}."""
        return {x.name: x.status() for x in self.machines}

    def wait_running(self, names=RUNNING):
        """Waits until these run."""
        wait_for(lambda: all(self.states()[x] == "running" for x in names), 60, "%s run" % ", ".join(names), interval=0.5)


class SystemCase(LabCase):
    """A test with an outer machine, .host, which all tests of the class share; .inside is what is in it."""

    inside = None
    version = None

    @classmethod
    def setUpClass(cls):
        cls.host = Outer(*([cls.version] if cls.version else [])).start()
        cls.addClassCleanup(cls.host.stop)
        try:
            cls.prepare()
        except BaseException as error:
            cls.host.scratch.keep |= not isinstance(error, LabUnavailable)
            print("%s: logs will be in %s" % (error, cls.host.scratch.path), file=sys.stderr)
            raise

    @classmethod
    def prepare(cls):
        """What is done once, before the tests."""
        cls.inside = Inside(cls.host)
        cls.inside.start_suspendd()

    def assert_no_overrun(self):
        """logind never waited for us in vain, and the engine met no cell that it never should."""
        self.assertNotIn(OVERRUN, self.host.run("journalctl -u systemd-logind --no-pager"))
        self.assertNotIn("Bug:", self.host.run("journalctl -u suspendd --no-pager"))

    def assert_all_run(self):
        """As before the sleep: what ran runs, what its user had paused stands."""
        self.assertEqual(self.inside.states(), {"bare": "running", "web": "running", "mine": "paused", "dom": "running"})
